"""What a response means to a child: RCODE and extended errors, those of the prototype `tdns` included.

Whether the response may be believed is not asked here.
"""

from enum import StrEnum

from zonecut.agent.exchange.response import Response, Signed
from zonecut.protocol.codepoints import CodePoints, EdeCode, Rcode, rcode_text
from zonecut.protocol.ede import ExtendedError, describe, tdns_codes
from zonecut.protocol.foreigntext import quoted


class Result(StrEnum):
    """What became of a message."""

    ACCEPTED = "accepted"
    KEY_UNKNOWN = "key-unknown"
    """The receiver does not know the key that signed."""
    KEY_PENDING = "key-pending"
    """The key is known, and whether it can be trusted is being found out."""
    KEY_FAILED = "key-failed"
    """The key is known, and it could not be found out that it can be trusted."""
    MANUAL = "manual"
    """The key waits for an operator of the parent."""
    LOOKED_UP = "looked-up"
    """The receiver takes no uploads: it looks the KEY up itself."""
    NOT_OFFERED = "not-offered"
    """The parent takes no changes of delegations by UPDATE."""
    BAD_SIGNATURE = "bad-signature"
    BAD_TIME = "bad-time"
    """The clocks differ, or something newer was accepted already."""
    REFUSED = "refused"
    RATE_LIMITED = "rate-limited"
    NOT_OURS = "not-ours"
    """The receiver does not answer for that zone."""
    PREREQUISITE = "prerequisite"
    MALFORMED = "malformed"
    FAILED = "failed"
    """The receiver cannot take it now."""
    UNSUPPORTED = "unsupported"
    SILENT = "silent"
    """No response came."""
    UNBELIEVABLE = "unbelievable"
    """Nobody vouches for what came."""


_BY_RCODE: dict[int, Result] = {
    Rcode.NOERROR: Result.ACCEPTED,
    Rcode.FORMERR: Result.MALFORMED,
    Rcode.SERVFAIL: Result.FAILED,
    Rcode.NXDOMAIN: Result.PREREQUISITE,
    Rcode.NOTIMP: Result.UNSUPPORTED,
    Rcode.REFUSED: Result.REFUSED,
    Rcode.YXDOMAIN: Result.PREREQUISITE,
    Rcode.YXRRSET: Result.PREREQUISITE,
    Rcode.NXRRSET: Result.PREREQUISITE,
    Rcode.NOTAUTH: Result.NOT_OURS,
    Rcode.NOTZONE: Result.NOT_OURS,
    # 16 is BADVERS, too: not in an answer to us, who send version 0
    Rcode.BADSIG: Result.BAD_SIGNATURE,
    Rcode.BADKEY: Result.KEY_UNKNOWN,
    Rcode.BADTIME: Result.BAD_TIME,
}


def judge(response: Response, codepoints: CodePoints) -> Result:
    """What a response means. An RCODE that means nothing here counts as FAILED."""
    if response.rcode == Rcode.NOERROR:
        # the rest of the message is what could have said no
        return Result.FAILED if response.truncated else Result.ACCEPTED
    by_error, tdns = _by_error(codepoints), tdns_codes(codepoints)
    for error in response.errors:
        if error.code in tdns:
            return _by_tdns(error, codepoints)
        if error.code in by_error:
            return by_error[error.code]
    if response.rcode == Rcode.NOTAUTH and not response.edns:
        # RFC 8945 section 5.3: what stands for the RCODEs that need an OPT record
        return Result.KEY_UNKNOWN
    return _BY_RCODE.get(response.rcode, Result.FAILED)


def _by_error(codepoints: CodePoints) -> dict[int, Result]:
    return {
        codepoints.ede_key_known_not_trusted: Result.KEY_PENDING,
        codepoints.ede_key_validation_failed: Result.KEY_FAILED,
        codepoints.ede_manual_bootstrap_required: Result.MANUAL,
        EdeCode.RATE_LIMITED: Result.RATE_LIMITED,
        EdeCode.OVER_QUOTA: Result.RATE_LIMITED,
    }


_TEXTS = (("not yet trusted", Result.KEY_PENDING), ("not known", Result.KEY_UNKNOWN))
"""What the texts of the prototype say of a key in either of its revisions, which number them differently."""


def _by_tdns(error: ExtendedError, codepoints: CodePoints) -> Result:
    """What an extended error of the prototype means: its text where that tells, else its number today."""
    text = error.text.lower()
    for words, result in _TEXTS:
        if words in text:
            return result
    return {
        codepoints.ede_tdns_key_unknown: Result.KEY_UNKNOWN,
        codepoints.ede_tdns_key_not_trusted: Result.KEY_PENDING,
        codepoints.ede_tdns_no_delegation_sync: Result.NOT_OFFERED,
        codepoints.ede_tdns_validation_failed: Result.KEY_FAILED,
        codepoints.ede_tdns_manual_bootstrap: Result.MANUAL,
        # mend the child: the text says what
        codepoints.ede_tdns_incoherent: Result.REFUSED,
        codepoints.ede_tdns_unverified: Result.FAILED,
        codepoints.ede_tdns_upload_not_taken: Result.LOOKED_UP,
    }[error.code]


def explain(response: Response, codepoints: CodePoints) -> str:
    """One sentence about a response: as `say`, and who signed it."""
    return f"{say(response, codepoints)}; {_signature_text(response)}"


def say(response: Response, codepoints: CodePoints) -> str:
    """Who answers what: the RCODE, and the extended errors with their texts."""
    text = f"{response.address} answers {rcode_text(response.rcode, of_signed=True)}"
    if response.truncated:
        text += ", truncated"
    for error in response.errors:
        said = f" '{quoted(error.text)}'" if error.text else ""
        text += f", {describe(error.code, codepoints)} ({error.code}){said}"
    return text


def _signature_text(response: Response) -> str:
    by = f"key {response.by.tag}" if response.by else "nobody"
    return {
        Signed.VALID: f"signed by {by}",
        Signed.MESSAGE_ONLY: f"signed by {by}, without the request",
        Signed.NONE: "not signed",
        Signed.WRONG: "with a signature that does not verify",
    }[response.signed]
