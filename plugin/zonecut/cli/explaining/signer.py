"""Who signed a captured message: which of the keys that we know made each of its signatures, and was it in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zonecut.cli.terminal.dig_format import time_text
from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints
from zonecut.protocol.keys import UnusableKey, algorithm_text, verifier
from zonecut.protocol.sig0 import Signature, Untimely, check_time, signed_data
from zonecut.receiver.message.authentication import SignatureSettings, candidates
from zonecut.store import KeyState, RingKey, StoredKey


@dataclass(frozen=True, slots=True)
class SignatureFinding:
    """One signature: the keys that may have made it, the one that did, and what is wrong with its time."""

    signature: Signature
    algorithm: str
    candidates: tuple[StoredKey, ...] | None
    """None if there was no store to look in."""
    verified_by: StoredKey | None
    untimely: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "signer": names.to_text(self.signature.signer),
            "tag": self.signature.key_tag,
            "algorithm": self.signature.algorithm,
            "inception": time_text(self.signature.inception),
            "expiration": time_text(self.signature.expiration),
            "candidates": None if self.candidates is None else [stored.to_json() for stored in self.candidates],
            "verified_by": None if self.verified_by is None else self.verified_by.to_json(),
            "untimely": self.untimely,
        }

    def to_text(self) -> str:
        """A line for people."""
        signature = self.signature
        start = f"{names.to_text(signature.signer)} key tag {signature.key_tag} {self.algorithm}"
        if self.verified_by is not None:
            worth = f"verifies; the key is {self.verified_by.state.value}, {self.verified_by.key.fingerprint()}"
        elif self.candidates:
            worth = f"does not verify with any of {len(self.candidates)} key(s) of that tag"
        elif self.candidates is None:
            worth = "keys were not looked up"
        else:
            worth = "no such key is known here"
        return f"{start}: {worth}; time: {self.untimely or 'right'}"


def ring_keys(stored: Sequence[StoredKey], codepoints: CodePoints) -> tuple[RingKey, ...]:
    """Keys of the store ready for use and in the order of the key ring: trusted ones first."""
    ordered = sorted(stored, key=lambda each: (each.state is not KeyState.TRUSTED, each.id))
    return tuple(RingKey(each, _verifier(each, codepoints)) for each in ordered)


def _verifier(stored: StoredKey, codepoints: CodePoints) -> Any:
    try:
        return verifier(stored.key, codepoints)
    except UnusableKey:
        return None


def inspect(
    wire: bytes,
    signatures: Sequence[Signature],
    keys: Sequence[RingKey] | None,
    now: int,
    settings: SignatureSettings,
    codepoints: CodePoints,
) -> list[SignatureFinding]:
    """What is to be said about each signature. Unlike the receiver it goes on after the first thing that is wrong."""
    findings = []
    for signature in signatures:
        data = signed_data(wire, signature)
        possible = candidates(keys or (), signature)
        made = [each.stored for each in possible if each.verify is not None and each.verify(signature.signature, data)]
        findings.append(
            SignatureFinding(
                signature,
                algorithm_text(signature.algorithm, codepoints),
                None if keys is None else tuple(each.stored for each in possible),
                made[0] if made else None,
                _untimely(signature, now, settings),
            )
        )
    return findings


def _untimely(signature: Signature, now: int, settings: SignatureSettings) -> str | None:
    try:
        check_time(signature, now, fudge=settings.fudge, max_validity=settings.max_validity)
    except Untimely as error:
        return error.reason
    return None
