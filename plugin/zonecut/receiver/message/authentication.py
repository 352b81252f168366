"""Which key signed a message, does it verify, and what is that worth (RFC 2931, RFC 3007).

Everything begins as "no": only the path on which a signature verified names a key, and only a trusted key may change.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints, EdeCode, Rcode, RRClass, RRType
from zonecut.protocol.envelope import UPDATE
from zonecut.protocol.errors import MalformedMessage, Refusal
from zonecut.protocol.keys import Key, UnusableKey, verifier
from zonecut.protocol.sig0 import Signature, Untimely, check_time, signed_data
from zonecut.receiver.message.admission import Admitted
from zonecut.store import KeyState, RingKey, StoredKey

_KEY = int(RRType.KEY)

UNKNOWN_SIGNER = "key-known"
"""The rule that a message breaks which no key of its signer that is known here can have made."""
MAX_CANDIDATES = 4
"""Keys of one owner, tag and algorithm that are tried: tags collide and can be made to."""


class SignatureSettings(BaseModel):
    """`receiver.signatures`: when a signature counts; in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fudge: NonNegativeInt = Field(300, description="How far a child's clock may differ from ours.")
    max_validity: PositiveInt = Field(3600, description="The longest validity of a signature that is accepted.")


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A request with a signature that verified, and the key under which it did.

    `stored` is None for a key that only the message itself brought.
    """

    admitted: Admitted
    key: Key
    stored: StoredKey | None
    signature: Signature
    identity: bytes
    """Hash of the signed data and the key: the same for a retry and for a replay, whatever they altered elsewhere."""

    @property
    def is_trusted(self) -> bool:
        return self.stored is not None and self.stored.state is KeyState.TRUSTED


FORGOTTEN = (KeyState.ENDED, KeyState.SUPERSEDED)
"""States of keys that are unknown to who signs with them (PROTOCOL section 7: BADKEY), which is what makes an agent
upload its key: one that ended begins anew by that, one that was superseded is told then that another took its place."""


def candidates(keys: Sequence[RingKey], signature: Signature) -> list[RingKey]:
    """The keys that a signature may have been made with, the order kept: trusted ones first; none that is forgotten."""
    tag, algorithm = signature.key_tag, signature.algorithm
    return [
        each
        for each in keys
        if each.stored.key.tag == tag and each.stored.key.algorithm == algorithm and each.stored.state not in FORGOTTEN
    ][:MAX_CANDIDATES]


def authenticate(
    admitted: Admitted, keys: Sequence[RingKey], now: int, settings: SignatureSettings, codepoints: CodePoints
) -> Authenticated:
    """The key that made one of the signatures, a trusted one if there is one. `keys` are those of the signer.

    `now` in seconds since the epoch. Raises Refusal with BADKEY, BADTIME or BADSIG.
    """
    wire = admitted.envelope.wire
    tried = False
    untimely: Untimely | None = None
    untrusted: Authenticated | None = None
    for signature in admitted.signatures:
        found = candidates(keys, signature)
        if not found:
            continue
        tried = True
        try:
            check_time(signature, now, fudge=settings.fudge, max_validity=settings.max_validity)
        except Untimely as error:
            untimely = error
            continue
        data = signed_data(wire, signature)
        for stored, verify in found:
            if verify is None or not verify(signature.signature, data):
                continue
            verified = Authenticated(admitted, stored.key, stored, signature, _identity(stored.key, data))
            if verified.is_trusted:
                return verified
            untrusted = untrusted or verified
    if untrusted is not None:
        return untrusted
    if untimely is not None:
        raise Refusal("signature-time", untimely.reason, Rcode.BADTIME, EdeCode.OTHER)
    if tried:
        raise Refusal("signature", "the signature does not verify", Rcode.BADSIG, None)
    signer = names.to_text(admitted.signer)
    raise Refusal(UNKNOWN_SIGNER, f"no key of {signer} with this tag is known here", Rcode.BADKEY, None)


def brought_keys(admitted: Admitted) -> Iterator[tuple[Signature, Key]]:
    """The KEY records that a message adds at its signer's name, each with the signature that may be its own.

    Nothing is verified here; it is cheap, and empty for all but an upload. At most `MAX_CANDIDATES`.
    """
    envelope = admitted.envelope
    if _KEY not in [record.rtype for record in envelope.records]:
        return  # a flood of forgeries is mostly changes: seen at a glance
    count = 0
    for record in envelope.section(UPDATE):
        if record.rtype != _KEY or record.rclass != RRClass.IN or envelope.name(record.start) != admitted.signer:
            continue
        try:
            key = Key.from_rdata(admitted.signer, envelope.rdata(record))
        except UnusableKey as error:
            raise MalformedMessage(error.reason) from None
        for signature in admitted.signatures:
            if (key.tag, key.algorithm) == (signature.key_tag, signature.algorithm):
                yield signature, key
                count += 1
                if count >= MAX_CANDIDATES:
                    return


def authenticate_upload(
    admitted: Admitted, now: int, settings: SignatureSettings, codepoints: CodePoints
) -> Authenticated | None:
    """The key that a message both brings and is signed with; None if there is none, or it does not verify.

    That proves possession of the private key and nothing else. Raises MalformedMessage, and Refusal with BADTIME.
    """
    for signature, key in brought_keys(admitted):
        try:
            check_time(signature, now, fudge=settings.fudge, max_validity=settings.max_validity)
        except Untimely as error:
            raise Refusal("signature-time", error.reason, Rcode.BADTIME, EdeCode.OTHER) from None
        try:
            verify = verifier(key, codepoints)
        except UnusableKey as error:
            raise Refusal("key-usable", error.reason, ede=EdeCode.PROHIBITED) from None
        data = signed_data(admitted.envelope.wire, signature)
        if verify(signature.signature, data):
            return Authenticated(admitted, key, None, signature, _identity(key, data))
    return None


def untrusted(stored: StoredKey, waits_for_operator: bool, codepoints: CodePoints) -> Refusal:
    """The refusal of a request that a key signed which is known and not trusted: only its holder gets to hear it."""
    text = f"key {stored.key.tag} of {names.to_text(stored.key.owner)}"
    if stored.state is KeyState.SUSPENDED:
        ede = codepoints.ede_manual_bootstrap_required
        return Refusal("key-trusted", f"{text} is suspended until an operator trusts it anew: {stored.reason}", ede=ede)
    if stored.state is KeyState.SUPERSEDED:
        cure = "sign with the key that took its place, upload a new key, or ask the operator"
        ede = codepoints.ede_manual_bootstrap_required
        return Refusal("key-trusted", f"{text} was superseded ({stored.reason}): {cure}", ede=ede)
    if stored.state is KeyState.KNOWN and waits_for_operator:
        ede = codepoints.ede_manual_bootstrap_required
        return Refusal("key-trusted", f"{text} is known and waits for an operator to trust it", ede=ede)
    if stored.state is KeyState.KNOWN:
        ede = codepoints.ede_key_known_not_trusted
        return Refusal("key-trusted", f"{text} is known, and its bootstrap is under way", ede=ede)
    if stored.state is KeyState.VALIDATION_FAILED:
        ede = codepoints.ede_key_validation_failed
        return Refusal("key-trusted", f"{text} could not be validated: {stored.reason}", ede=ede)
    return Refusal("key-trusted", f"{text} is {stored.state.value}", ede=EdeCode.PROHIBITED)


def check_trusted(child: bytes, stored: StoredKey | None) -> None:
    """Raise Refusal unless the key that signed a child's request is trusted still; None if it is gone.

    `stored` is what it is now: between a request and its end an operator may have revoked, rejected or suspended it.
    """
    if stored is None:
        raise Refusal("key-trusted", f"the key of {names.to_text(child)} that signed it is gone")
    if stored.state is not KeyState.TRUSTED:
        state = "not trusted any more" if stored.state is KeyState.KNOWN else f"{stored.state.value} by now"
        text = f"key {stored.key.tag} of {names.to_text(child)}, which signed it, is {state}"
        raise Refusal("key-trusted", text)


def _identity(key: Key, data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32, key=hashlib.sha256(key.rdata).digest()).digest()
