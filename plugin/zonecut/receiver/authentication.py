"""Which key signed a message, does it verify, and what is that worth (RFC 2931, RFC 3007).

Everything begins as "no": only the path on which a signature verified under a trusted key returns.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints, EdeCode, Rcode
from zonecut.protocol.errors import Refusal
from zonecut.protocol.sig0 import Signature, Untimely, check_time, signed_data
from zonecut.receiver.admission import Admitted
from zonecut.store import KeyState, RingKey, StoredKey

MAX_CANDIDATES = 4
"""Keys of one owner, tag and algorithm that are tried: tags collide and can be made to."""


class SignatureSettings(BaseModel):
    """`receiver.signatures`: when a signature counts; in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fudge: NonNegativeInt = Field(300, description="How far a child's clock may differ from ours.")
    max_validity: PositiveInt = Field(3600, description="The longest validity of a signature that is accepted.")


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A request whose signature verified under a trusted key."""

    admitted: Admitted
    key: StoredKey
    signature: Signature
    identity: bytes
    """Hash of the signed data and the key: the same for a retry and for a replay, whatever they altered elsewhere."""


def candidates(keys: Sequence[RingKey], signature: Signature) -> list[RingKey]:
    """The keys that a signature may have been made with, the order kept: trusted ones first."""
    tag, algorithm = signature.key_tag, signature.algorithm
    return [each for each in keys if each.stored.key.tag == tag and each.stored.key.algorithm == algorithm][
        :MAX_CANDIDATES
    ]


def unknown_key(signer: bytes) -> Refusal:
    """The refusal of a signer none of whose keys is known."""
    return Refusal("key-known", f"no key of {names.to_text(signer)} with this tag is known here", Rcode.BADKEY, None)


def authenticate(
    admitted: Admitted, keys: Sequence[RingKey], now: int, settings: SignatureSettings, codepoints: CodePoints
) -> Authenticated:
    """The trusted key that made one of the signatures. `now` in seconds since the epoch; `keys` of the signer.

    Raises Refusal with BADKEY, BADTIME or BADSIG, or REFUSED for a key that is known and not trusted: that only after
    its own signature verified, so that nobody learns the state of a key that is not his.
    """
    wire = admitted.envelope.wire
    tried = False
    untimely: Untimely | None = None
    untrusted: StoredKey | None = None
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
            if stored.state is KeyState.TRUSTED:
                identity = hashlib.blake2b(data, digest_size=32, key=hashlib.sha256(stored.key.rdata).digest())
                return Authenticated(admitted, stored, signature, identity.digest())
            untrusted = untrusted or stored
    if untrusted is not None:
        raise _untrusted(untrusted, codepoints)
    if untimely is not None:
        raise Refusal("signature-time", untimely.reason, Rcode.BADTIME, EdeCode.OTHER)
    if tried:
        raise Refusal("signature", "the signature does not verify", Rcode.BADSIG, None)
    raise unknown_key(admitted.signer)


def _untrusted(stored: StoredKey, codepoints: CodePoints) -> Refusal:
    text = f"key {stored.key.tag} of {names.to_text(stored.key.owner)}"
    if stored.state is KeyState.REVOKED:
        return Refusal("key-trusted", f"{text} is revoked", ede=EdeCode.PROHIBITED)
    # who trusts a key here is an operator
    return Refusal(
        "key-trusted",
        f"{text} is known and waits for an operator to trust it",
        ede=codepoints.ede_manual_bootstrap_required,
    )
