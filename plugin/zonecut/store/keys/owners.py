"""Which owners have a key at all: a set that costs 8 to 24 octets an owner and answers without the database."""

from array import array
from collections.abc import Iterable

_EMPTY = 0
_FULL = 2 / 3


class OwnerFilter:
    """A growing set of names, kept as 64-bit fingerprints: it never forgets one, and takes another for one of them
    with a chance of one in 2^44 for a million names.

    The fingerprint is Python's hash of the name, keyed per process, so that nobody can aim at it.
    """

    __slots__ = ("_count", "_limit", "_mask", "_slots")

    def __init__(self, owners: Iterable[bytes] = ()) -> None:
        self._count = 0
        self._allocate(1024)
        self.update(owners)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, owner: bytes) -> bool:
        fingerprint = hash(owner) & 0xFFFFFFFFFFFFFFFF or 1
        slots, mask = self._slots, self._mask
        at = fingerprint & mask
        while found := slots[at]:
            if found == fingerprint:
                return True
            at = (at + 1) & mask
        return False

    def update(self, owners: Iterable[bytes]) -> None:
        """Add owners."""
        slots, mask = self._slots, self._mask
        for owner in owners:
            fingerprint = hash(owner) & 0xFFFFFFFFFFFFFFFF or 1
            at = fingerprint & mask
            while (found := slots[at]) and found != fingerprint:
                at = (at + 1) & mask
            if found:
                continue
            slots[at] = fingerprint
            self._count += 1
            if self._count > self._limit:
                self._grow()
                slots, mask = self._slots, self._mask

    def _allocate(self, size: int) -> None:
        self._slots = array("Q", [_EMPTY]) * size
        self._mask = size - 1
        self._limit = int(size * _FULL)

    def _grow(self) -> None:
        old = self._slots
        self._allocate(2 * len(old))
        slots, mask = self._slots, self._mask
        for fingerprint in old:
            if fingerprint:
                at = fingerprint & mask
                while slots[at]:
                    at = (at + 1) & mask
                slots[at] = fingerprint
