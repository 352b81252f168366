"""KeyState: the EDNS option with which a child asks what its key is worth, and a receiver tells.

draft-berra-dnsop-keystate. Revision -03 took two codes away from the child and gave them to the receiver; which one a
request is read by is a setting. That an answer leaves only in a signed response is for the caller to see to.
"""

import struct
from dataclasses import dataclass
from enum import StrEnum

from zonecut.protocol import message
from zonecut.protocol.codepoints import ChildState, CodePoints, ReceiverState
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.foreigntext import printable

__all__ = [
    "ChildState",
    "Inquiry",
    "KeyStateOption",
    "Malformed",
    "ReceiverState",
    "Revision",
    "answer",
    "inquire",
    "read_inquiry",
    "state_text",
]

MAX_TEXT = 255
"""EXTRA-TEXT, sent or received, is cut to so many octets of UTF-8."""

_FIXED = struct.Struct("!HBB")


class Revision(StrEnum):
    """Revisions of draft-berra-dnsop-keystate that differ on the wire."""

    KEYSTATE_03 = "keystate-03"
    KEYSTATE_02 = "keystate-02"


_FROM_CHILD: dict[Revision, dict[int, ChildState]] = {
    Revision.KEYSTATE_03: {int(ChildState.INQUIRE): ChildState.INQUIRE},
    Revision.KEYSTATE_02: {int(state): state for state in ChildState},
}

_SAME_TEXTS = {
    4: "KEY_TRUSTED",
    5: "KEY_UNKNOWN",
    6: "KEY_INVALID",
    7: "KEY_REFUSED",
    8: "KEY_VALIDATION_FAILED",
    9: "KEY_BOOTSTRAP_AUTO",
    10: "KEY_BOOTSTRAP_MANUAL",
}
_TEXTS = {
    Revision.KEYSTATE_03: {
        0: "KEY_REQUEST_MALFORMED",
        1: "KEY_TEMPORARY_FAILURE",
        2: "INTENT_INQUIRE_KEY",
        **_SAME_TEXTS,
    },
    Revision.KEYSTATE_02: {
        0: "request for automatic bootstrap",
        1: "request for manual bootstrap",
        2: "INQUIRY_KEY",
        **_SAME_TEXTS,
    },
}

_WITH_REASON = frozenset((ReceiverState.INVALID, ReceiverState.REFUSED))


@dataclass(frozen=True, slots=True)
class KeyStateOption:
    """The data of one option: KEY-ID (a key tag), KEY-STATE, KEY-DATA and EXTRA-TEXT for people.

    EXTRA-TEXT that is too long is cut at a character's boundary. Raises ValueError for a number out of its range.
    """

    key_id: int
    key_state: int
    key_data: int = 0
    extra_text: str = ""

    def __post_init__(self) -> None:
        if not (0 <= self.key_id <= 0xFFFF and 0 <= self.key_state <= 0xFF and 0 <= self.key_data <= 0xFF):
            raise ValueError(
                f"KEY-ID {self.key_id}, KEY-STATE {self.key_state}, KEY-DATA {self.key_data}: out of range"
            )
        if self.extra_text:
            text = printable(self.extra_text).encode()[:MAX_TEXT].decode(errors="ignore")
            object.__setattr__(self, "extra_text", text)

    @property
    def receiver_state(self) -> ReceiverState | None:
        """What a receiver says with it; None for a code that no receiver may send.

        The same in both revisions: in a response, 0 and 1 cannot mean what they mean in a request.
        """
        try:
            return ReceiverState(self.key_state)
        except ValueError:
            return None

    def to_data(self) -> bytes:
        """The data of the option, without code and length."""
        return _FIXED.pack(self.key_id, self.key_state, self.key_data) + self.extra_text.encode()

    def to_option(self, codepoints: CodePoints) -> bytes:
        """The EDNS option, for `message.opt_record`."""
        return message.option(codepoints.keystate_option, self.to_data())

    @classmethod
    def from_data(cls, data: bytes) -> "KeyStateOption":
        """The value of an option's data. Raises MalformedMessage if it is too short; bad UTF-8 is replaced."""
        if len(data) < _FIXED.size:
            raise MalformedMessage(_too_short(data))
        key_id, key_state, key_data = _FIXED.unpack_from(data)
        return cls(key_id, key_state, key_data, data[_FIXED.size :].decode(errors="replace"))


def _too_short(data: bytes) -> str:
    return f"a KeyState option of {len(data)} octets is shorter than {_FIXED.size}"


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A child asks about its key with tag `key_id`. `intent` is INQUIRE, or in revision -02 a bootstrap request."""

    key_id: int
    intent: ChildState = ChildState.INQUIRE


@dataclass(frozen=True, slots=True)
class Malformed:
    """An option that no child may send. `key_id` is 0 where the option is too short to read; `reason` for people."""

    key_id: int
    reason: str

    def response(self) -> KeyStateOption:
        """KEY_REQUEST_MALFORMED, with the reason as its text."""
        return KeyStateOption(self.key_id, ReceiverState.REQUEST_MALFORMED, 0, self.reason)


def read_inquiry(data: bytes, revision: Revision = Revision.KEYSTATE_03) -> Inquiry | Malformed:
    """What the option of a request asks for. KEY-DATA and EXTRA-TEXT of a request have no meaning and are not read."""
    if len(data) < _FIXED.size:
        return Malformed(0, _too_short(data))
    key_id, key_state, _ = _FIXED.unpack_from(data)
    intent = _FROM_CHILD[revision].get(key_state)
    if intent is None:
        text = state_text(key_state, revision)
        return Malformed(key_id, f"{text} is no KEY-STATE that a child may send ({revision})")
    return Inquiry(key_id, intent)


def inquire(key_id: int) -> KeyStateOption:
    """What a child sends to ask about its key; the same in both revisions."""
    return KeyStateOption(key_id, ChildState.INQUIRE)


def answer(inquiry: Inquiry, state: ReceiverState, extra_text: str = "", *, key_data: int = 0) -> KeyStateOption:
    """What a receiver answers. Raises ValueError for KEY-DATA with any state but INVALID and REFUSED."""
    if key_data and state not in _WITH_REASON:
        raise ValueError(f"KEY-DATA {key_data} has no meaning with {state_text(state)}")
    return KeyStateOption(inquiry.key_id, state, key_data, extra_text)


def state_text(state: int, revision: Revision = Revision.KEYSTATE_03) -> str:
    """The name of a KEY-STATE code, for people."""
    return _TEXTS[revision].get(state, f"KEY-STATE {state}")
