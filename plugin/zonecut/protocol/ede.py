"""Extended DNS errors: the EDNS option that says why (RFC 8914)."""

from dataclasses import dataclass

from zonecut.protocol import message
from zonecut.protocol.codepoints import EDNS_OPTION_EDE, CodePoints, EdeCode
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.foreigntext import clip

MAX_TEXT = 400
"""EXTRA-TEXT that we send is cut to so many octets, so that a response stays one small datagram."""


@dataclass(frozen=True, slots=True)
class ExtendedError:
    """INFO-CODE and EXTRA-TEXT (RFC 8914 section 2)."""

    code: int
    text: str = ""

    def __post_init__(self) -> None:
        # what comes in is shown, and what goes out quotes what came in
        object.__setattr__(self, "text", clip(self.text, MAX_TEXT))

    def to_option(self) -> bytes:
        """The EDNS option; text that is too long is cut at a character's boundary."""
        text = self.text.encode()
        if len(text) > MAX_TEXT:
            text = text[: MAX_TEXT - 3].decode(errors="ignore").encode() + b"..."
        return message.option(EDNS_OPTION_EDE, self.code.to_bytes(2) + text)

    @classmethod
    def from_data(cls, data: bytes) -> "ExtendedError":
        """The value of an option's data. Raises MalformedMessage if it is too short; bad UTF-8 is replaced."""
        if len(data) < 2:
            raise MalformedMessage("an extended error is shorter than its INFO-CODE")
        return cls(int.from_bytes(data[:2]), data[2:].decode(errors="replace").rstrip("\0"))


def describe(code: int, codepoints: CodePoints) -> str:
    """The name of an INFO-CODE, for people."""
    experimental = {
        codepoints.ede_key_known_not_trusted: "Key Known, Not Trusted",
        codepoints.ede_key_validation_failed: "Key Validation Failed",
        codepoints.ede_manual_bootstrap_required: "Manual Bootstrap Required",
    }
    if code in experimental:
        return experimental[code]
    if code in tdns_codes(codepoints):
        # what it means stands in its text: two revisions number differently
        return "tdns"
    try:
        return EdeCode(code).name.replace("_", " ").title()
    except ValueError:
        return f"INFO-CODE {code}"


def tdns_codes(codepoints: CodePoints) -> frozenset[int]:
    """The private INFO-CODEs of the prototype `tdns`."""
    return frozenset(
        (
            codepoints.ede_tdns_key_unknown,
            codepoints.ede_tdns_key_not_trusted,
            codepoints.ede_tdns_no_delegation_sync,
            codepoints.ede_tdns_validation_failed,
            codepoints.ede_tdns_manual_bootstrap,
            codepoints.ede_tdns_incoherent,
            codepoints.ede_tdns_unverified,
            codepoints.ede_tdns_upload_not_taken,
        )
    )
