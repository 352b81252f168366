"""A record of a master file and where it stands; and many of them in few octets, for zones with many delegations."""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import NamedTuple

from zonecut.protocol.delegation import RR

_HEAD = Struct("!BBIIHH")
"""Type, whether there is a TTL, the TTL, line, which place, and the length of the RDATA that follows."""


class Placed(NamedTuple):
    """A record and where it stands. `line` counts from 1; `fixed` says why it cannot be moved."""

    rr: RR
    ttl: int | None
    file: str
    line: int
    fixed: str | None


class Packing:
    """Turns records of one owner into octets and back: an object each takes eight times as much memory."""

    def __init__(self) -> None:
        self._places: list[tuple[str, str | None]] = []
        self._numbers: dict[tuple[str, str | None], int] = {}

    def packed(self, records: Iterable[Placed]) -> bytes:
        """The octets for records of one owner, to be appended to others of that owner."""
        parts = []
        for rr, ttl, file, line, fixed in records:
            place = self._numbers.setdefault((file, fixed), len(self._places))
            if place == len(self._places):
                self._places.append((file, fixed))
            parts.append(_HEAD.pack(rr.rtype, ttl is not None, ttl or 0, line, place, len(rr.rdata)))
            parts.append(rr.rdata)
        return b"".join(parts)

    def unpacked(self, owner: bytes, octets: bytes) -> Iterator[Placed]:
        """The records of an owner, in their order."""
        at = 0
        while at < len(octets):
            rtype, has_ttl, ttl, line, place, length = _HEAD.unpack_from(octets, at)
            at += _HEAD.size
            file, fixed = self._places[place]
            rr = RR(owner, rtype, octets[at : at + length])
            yield Placed(rr, ttl if has_ttl else None, file, line, fixed)
            at += length
