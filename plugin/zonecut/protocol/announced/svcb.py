"""SVCB records at the receiver's name: how it comes to trust a key (RFC 9460).

Read liberally, since the drafts write priority 0, with which RFC 9460 gives parameters no meaning and with which
libraries and servers refuse the record; written strictly.
"""

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from zonecut.protocol import names
from zonecut.protocol.announced.dsync import GENERIC, from_generic_text, generic_text
from zonecut.protocol.codepoints import DEFAULT, CodePoints
from zonecut.protocol.envelope import read_name
from zonecut.protocol.errors import MalformedMessage

_PRIORITY = struct.Struct("!H")
_PARAM_HEAD = struct.Struct("!HH")

_WORD = re.compile(r'\s*((?:[^\s"\\]|\\.|"(?:[^"\\]|\\.)*")+)', re.DOTALL)
_ESCAPE = re.compile(rb"\\([0-9]{3}|.)", re.DOTALL)
_KEY = re.compile(r"key(0|[1-9][0-9]{0,4})", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
_SEPARATORS = re.compile(r"[\s,>]+")


class Method(StrEnum):
    """How a receiver comes to trust a child's key, as `bootstrap` announces it."""

    AT_APEX = "at-apex"
    AT_NS = "at-ns"
    UNSIGNED = "unsigned"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Svcb:
    """SVCB RDATA (RFC 9460 section 2.2). `target` is lower-case wire form, `params` are (key, value) by rising key."""

    priority: int
    target: bytes
    params: tuple[tuple[int, bytes], ...] = ()

    @classmethod
    def announcing(
        cls,
        methods: Iterable[Method],
        *,
        priority: int = 1,
        interval: int | None = None,
        codepoints: CodePoints = DEFAULT,
    ) -> "Svcb":
        """The record that a receiver publishes at its own name. `interval` in seconds.

        Raises ValueError for no method, a method named twice, or one that is none.
        """
        params = {codepoints.svcb_bootstrap: _bootstrap_value(methods)}
        if interval is not None:
            params[codepoints.svcb_interval] = str(interval).encode()
        return cls(priority, names.ROOT, tuple(sorted(params.items())))

    def value(self, key: int) -> bytes | None:
        """The value of a SvcParamKey, whatever the priority; None if it is not there."""
        return dict(self.params).get(key)

    def methods(self, codepoints: CodePoints = DEFAULT) -> tuple[Method, ...] | None:
        """The methods that `bootstrap` announces, in its order; None if it is not there. Unknown ones are left out."""
        value = self.value(codepoints.svcb_bootstrap)
        if value is None:
            return None
        tokens = _SEPARATORS.split(value.decode(errors="replace").lower())
        return tuple(dict.fromkeys(Method(token) for token in tokens if token in _METHODS))

    def interval(self, codepoints: CodePoints = DEFAULT) -> int | None:
        """The interval of the parent's scanner in seconds, for people; None if it is not there or no number.

        The draft does not say how it is written: digits are read, and a 32-bit number.
        """
        value = self.value(codepoints.svcb_interval)
        if value is None:
            return None
        text = value.decode(errors="replace").strip()
        if _NUMBER.fullmatch(text):
            return int(text)
        return int.from_bytes(value) if len(value) == 4 else None

    def to_wire(self) -> bytes:
        """The RDATA. Raises ValueError for numbers out of their range and keys that do not rise."""
        _check_order(self.params)
        try:
            params = b"".join(_PARAM_HEAD.pack(key, len(value)) + value for key, value in self.params)
            return _PRIORITY.pack(self.priority) + self.target + params
        except struct.error as error:
            raise ValueError(f"{self!r}: {error}") from None

    @classmethod
    def from_wire(cls, rdata: bytes) -> "Svcb":
        """The value of RDATA. Values are not looked into, and priority 0 may have parameters.

        Raises MalformedMessage for a target that is compressed or cut off, lengths that do not fit, and keys that do
        not strictly rise (RFC 9460 section 2.2).
        """
        if len(rdata) <= _PRIORITY.size:
            raise MalformedMessage(f"{len(rdata)} octets are no SVCB data")
        (priority,) = _PRIORITY.unpack_from(rdata)
        target, at = read_name(rdata, _PRIORITY.size)
        if at - _PRIORITY.size != len(target):
            raise MalformedMessage("the target in SVCB data is compressed (RFC 9460 section 2.2)")
        params = []
        while at < len(rdata):
            if at + _PARAM_HEAD.size > len(rdata):
                raise MalformedMessage("SVCB data ends within the head of a parameter")
            key, length = _PARAM_HEAD.unpack_from(rdata, at)
            at += _PARAM_HEAD.size + length
            if at > len(rdata):
                raise MalformedMessage(f"SVCB data ends within parameter {key}")
            params.append((key, rdata[at - length : at]))
        try:
            _check_order(params)
        except ValueError as error:
            raise MalformedMessage(str(error)) from None
        return cls(priority, target.lower(), tuple(params))

    def to_text(self) -> str:
        """The presentation form, every key by its number: `1 . key65282="at-apex,manual"` (RFC 9460 section 2.1)."""
        params = (f'key{key}="{_quoted(value)}"' if value else f"key{key}" for key, value in self.params)
        return " ".join((str(self.priority), names.to_text(self.target), *params))

    def to_generic_text(self) -> str:
        """The form for a server that refuses the record otherwise: `\\# 21 0001...` (RFC 3597 section 5)."""
        return generic_text(self.to_wire())

    @classmethod
    def from_text(cls, text: str, codepoints: CodePoints = DEFAULT) -> "Svcb":
        """The value of RDATA in presentation or in generic form; the target is taken as absolute.

        Keys are `keyN`, `bootstrap` or `interval`, in any order. Raises ValueError that says what is wrong, also for
        the keys of RFC 9460 by name: their values have forms of their own.
        """
        if text.split()[:1] == [GENERIC]:
            try:
                return cls.from_wire(from_generic_text(text))
            except MalformedMessage as error:
                raise ValueError(f"{text!r}: {error.reason}") from None
        priority, target, *words = _words(text)
        if not _NUMBER.fullmatch(priority) or int(priority) > 0xFFFF:
            raise ValueError(f"{priority!r} is no priority: 0 to {0xFFFF}")
        params = sorted(_param(word, codepoints) for word in words)
        _check_order(params)
        return cls(int(priority), names.from_text(target), tuple(params))


_METHODS = frozenset(Method)


def announced(records: Iterable[Svcb], codepoints: CodePoints = DEFAULT) -> tuple[Method, ...] | None:
    """What an RRset announces: the methods of its most preferred record that names any; None if none does."""
    found = [(record.priority, methods) for record in records if (methods := record.methods(codepoints)) is not None]
    return min(found)[1] if found else None


def _bootstrap_value(methods: Iterable[Method]) -> bytes:
    found = [Method(method) for method in methods]
    if not found or len(set(found)) != len(found):
        raise ValueError(f"bootstrap methods {', '.join(found) or '(none)'}: at least one, and each once")
    return ",".join(found).encode()


def _check_order(params: Iterable[tuple[int, bytes]]) -> None:
    previous = -1
    for key, _ in params:
        if key <= previous:
            raise ValueError(f"SVCB parameter {key} follows {previous} (RFC 9460 section 2.2)")
        previous = key


def _quoted(value: bytes) -> str:
    """The inside of a quoted character-string (RFC 1035 section 5.1)."""
    return "".join(
        "\\" + chr(octet) if octet in b'"\\' else chr(octet) if 0x20 <= octet <= 0x7E else f"\\{octet:03d}"
        for octet in value
    )


def _words(text: str) -> list[str]:
    words = []
    at, stripped = 0, text.rstrip()
    while at < len(stripped):
        match = _WORD.match(stripped, at)
        if match is None:
            raise ValueError(f"{text!r}: a quotation mark or a backslash has nothing to go with it")
        words.append(match[1])
        at = match.end()
    if len(words) < 2:
        raise ValueError(f"{text!r}: SVCB data is a priority, a target and parameters")
    return words


def _param(word: str, codepoints: CodePoints) -> tuple[int, bytes]:
    key, _, value = word.partition("=")
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        value = value[1:-1]
    mnemonics = {"bootstrap": codepoints.svcb_bootstrap, "interval": codepoints.svcb_interval}
    number = mnemonics.get(key.lower())
    if number is None:
        match = _KEY.fullmatch(key)
        if match is None or int(match[1]) > 0xFFFF:
            raise ValueError(
                f"{key!r} is no SvcParamKey that is understood here: {', '.join(mnemonics)}, key0 to key65535"
            )
        number = int(match[1])
    return number, _ESCAPE.sub(_unescaped, value.encode())


def _unescaped(match: re.Match[bytes]) -> bytes:
    escaped = match[1]
    if len(escaped) == 1:
        return escaped
    if int(escaped) > 0xFF:
        raise ValueError(f"\\{escaped.decode()}: no octet")
    return bytes((int(escaped),))
