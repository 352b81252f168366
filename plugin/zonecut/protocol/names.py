"""Domain names in wire form: uncompressed, as the core of zonecut holds them (RFC 1035 section 3.1).

Lower-casing a whole wire-form name is safe: a length octet is at most 63 and no upper-case letter is below 65.
"""

from functools import lru_cache

ROOT = b"\0"
MAX_NAME = 255
MAX_LABEL = 63

_ESCAPED = frozenset(b'"().;\\@$')
_PLAIN = bytes(octet for octet in range(0x21, 0x7F) if octet not in _ESCAPED)
_HOST_CHARACTERS = b"abcdefghijklmnopqrstuvwxyz0123456789-"
_HYPHEN = ord("-")


def from_text(text: str) -> bytes:
    """The lower-case wire form of a name in presentation form, absolute with or without its final dot.

    Raises ValueError, naming the name and the rule, for an empty or over-long label or name, a bad escape, or
    anything outside ASCII (internationalised names are A-labels on every interface).
    """
    if text == ".":
        return ROOT
    try:
        octets = text.encode("ascii")
    except UnicodeEncodeError:
        raise ValueError(
            f"{text!r}: a name is written with A-labels (xn--...), not with letters outside ASCII"
        ) from None
    wire = bytearray()
    label = bytearray()
    at, end = 0, len(octets)
    while at < end:
        octet = octets[at]
        if octet == 0x2E:
            _close_label(wire, label, text)
            label.clear()
        elif octet == 0x5C:
            digits = octets[at + 1 : at + 4]
            if digits[:1].isdigit():
                if len(digits) != 3 or not digits.isdigit() or int(digits) > 255:
                    raise ValueError(f"{text!r}: a backslash is followed by three digits up to 255, or one character")
                label.append(int(digits))
                at += 3
            elif digits:
                label.append(digits[0])
                at += 1
            else:
                raise ValueError(f"{text!r}: ends in a backslash")
        else:
            label.append(octet)
        at += 1
    if label or not text or not octets.endswith(b"."):
        _close_label(wire, label, text)
    wire.append(0)
    if len(wire) > MAX_NAME:
        raise ValueError(f"{text!r}: longer than {MAX_NAME} octets")
    return bytes(wire).lower()


def _close_label(wire: bytearray, label: bytearray, text: str) -> None:
    if not label:
        raise ValueError(f"{text!r}: has an empty label")
    if len(label) > MAX_LABEL:
        raise ValueError(f"{text!r}: has a label of more than {MAX_LABEL} octets")
    wire.append(len(label))
    wire += label


@lru_cache(maxsize=4096)  # a change names the same few over and over, for log, ledger and audit trail
def to_text(name: bytes) -> str:
    """The presentation form of a wire-form name, with its final dot and RFC 1035 escapes."""
    if name == ROOT:
        return "."
    parts = []
    for label in labels(name):
        if not label.translate(None, _PLAIN):
            parts.append(label.decode("ascii"))
            continue
        text = []
        for octet in label:
            if octet in _ESCAPED:
                text.append("\\" + chr(octet))
            elif 0x21 <= octet <= 0x7E:
                text.append(chr(octet))
            else:
                text.append(f"\\{octet:03d}")
        parts.append("".join(text))
    return ".".join(parts) + "."


def labels(name: bytes) -> list[bytes]:
    """The labels of a wire-form name, leftmost first, without the root's."""
    found = []
    at = 0
    while length := name[at]:
        found.append(name[at + 1 : at + 1 + length])
        at += 1 + length
    return found


def parent(name: bytes) -> bytes:
    """The name without its first label. Raises ValueError for the root."""
    if name == ROOT:
        raise ValueError("the root has no parent")
    return name[name[0] + 1 :]


def between(name: bytes, zone: bytes) -> tuple[bytes, ...]:
    """The names above a name and below the apex of its zone, the topmost first."""
    found = []
    while (name := parent(name)) != zone:
        found.append(name)
    return tuple(reversed(found))


def is_at_or_below(name: bytes, ancestor: bytes) -> bool:
    """True if `name` equals `ancestor` or lies below it; both lower-case wire form."""
    if not name.endswith(ancestor):
        return False
    start = len(name) - len(ancestor)
    at = 0
    while at < start:
        at += name[at] + 1
    return at == start


def is_below(name: bytes, ancestor: bytes) -> bool:
    """True if `name` lies strictly below `ancestor`; both lower-case wire form."""
    return len(name) > len(ancestor) and is_at_or_below(name, ancestor)


def is_host_name(name: bytes) -> bool:
    """True if every label of a lower-case name is letters, digits and inner hyphens (RFC 1123 section 2.1).

    The last one has something else than digits: `192.0.2.5.` is an address that somebody took for a name.
    """
    if name == ROOT:
        return False
    parts = labels(name)
    if parts[-1].isdigit():
        return False
    for label in parts:
        if label.translate(None, _HOST_CHARACTERS) or label[0] == _HYPHEN or label[-1] == _HYPHEN:
            return False
    return True


def sort_key(name: bytes) -> list[bytes]:
    """Key for the canonical order of names (RFC 4034 section 6.1)."""
    return labels(name)[::-1]
