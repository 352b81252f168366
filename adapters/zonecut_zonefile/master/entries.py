"""The entries of a master file (RFC 1035 section 5.1): what each takes from those before it, in columns."""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, overload

_IS_RECORD, _STATES_OWNER, _STATES_TTL, _LEANS_ON_TTL, _HAS_TTL = 1, 2, 4, 8, 16


class Entry(NamedTuple):
    """A record or $INCLUDE of the top file: its lines (`at` is an index) and what it takes from those before it.

    `leans_on_ttl`: it has the TTL that another record stated last (RFC 1035 section 5.1), no $TTL being in force. An
    $INCLUDE inherits what the first record of the included file does.
    """

    at: int
    height: int
    is_record: bool
    owner: bytes
    states_owner: bool
    ttl: int | None
    states_ttl: bool
    leans_on_ttl: bool


def _flags(entry: Entry) -> int:
    return (
        (_IS_RECORD if entry.is_record else 0)
        | (_STATES_OWNER if entry.states_owner else 0)
        | (_STATES_TTL if entry.states_ttl else 0)
        | (_LEANS_ON_TTL if entry.leans_on_ttl else 0)
        | (_HAS_TTL if entry.ttl is not None else 0)
    )


class Entries(Sequence[Entry]):
    """Many entries, in a fifth of the memory that objects take; made of them again when asked for."""

    def __init__(self) -> None:
        self._at = array("I")
        self._height = array("I")
        self._ttl = array("I")
        self._flags = array("B")
        self._owner: list[bytes] = []
        self.any_leans = False
        """True if one of them leans on the TTL of another."""

    def append(self, entry: Entry) -> None:
        self._at.append(entry.at)
        self._height.append(entry.height)
        self._ttl.append(entry.ttl or 0)
        self._flags.append(_flags(entry))
        self._owner.append(entry.owner)
        self.any_leans |= entry.leans_on_ttl

    def beginning_at(self, lines: Iterable[int]) -> list[int]:
        """The places, in their order, of the entries that begin at these lines (counted from 1)."""
        found = []
        for line in sorted(lines):
            place = bisect_left(self._at, line - 1)
            if place < len(self) and self._at[place] == line - 1:
                found.append(place)
        return found

    def edited(self, changed: Mapping[int, Entry], gone: Collection[int]) -> "Entries":
        """A copy with other flags at some places, and without those that are gone."""
        other = Entries()
        other._at, other._height, other._ttl = self._at[:], self._height[:], self._ttl[:]
        other._flags, other._owner = self._flags[:], self._owner[:]
        other.any_leans = self.any_leans
        for place, entry in changed.items():
            other._flags[place] = _flags(entry)
        for place in sorted(gone, reverse=True):
            for column in (other._at, other._height, other._ttl, other._flags, other._owner):
                del column[place]
        return other

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        flags = self._flags[index]
        return Entry(
            self._at[index],
            self._height[index],
            bool(flags & _IS_RECORD),
            self._owner[index],
            bool(flags & _STATES_OWNER),
            self._ttl[index] if flags & _HAS_TTL else None,
            bool(flags & _STATES_TTL),
            bool(flags & _LEANS_ON_TTL),
        )
