"""The child's KEY records in its own zone, and in the zones of its name servers' names (PROTOCOL: at-apex, at-ns).

At the apex, ours are put beside those of others; of ours, those that are not wanted any more go. At a signalling name
stands a copy of the apex's RRset, since a receiver wants the two to be equal; it goes when the name server is none any
more. Where we cannot write the apex, and see only what somebody answers, the copy is of our own keys alone: whoever
could forge that answer would have his key signed by the operator's zone. What we cannot write is for the zone's
operator to write.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.plugin import Backend, BackendError, BackendRejected
from zonecut.plugin.reconcile import reconcile
from zonecut.protocol import names
from zonecut.protocol.announced.signalling import signalling_name
from zonecut.protocol.codepoints import DEFAULT, CodePoints, RRType
from zonecut.protocol.keys import Key
from zonecut.protocol.rrset import RRset, RRsetDifference

_NOTHING = RRsetDifference((), ())


class Writing(StrEnum):
    """What becomes of a difference at a place."""

    OURS = "ours"
    """We can write there."""
    BY_HAND = "by-hand"
    """Somebody else has to."""
    FAILED = "failed"
    """We should be able to, and are not."""


@dataclass(frozen=True, slots=True)
class Place:
    """A name at which the KEY records belong, and what has to change there.

    `wanted` is the whole RRset; None for no records. `reason` is why it fails, or why it is somebody else's to write.
    """

    owner: bytes
    writing: Writing
    wanted: RRset | None
    difference: RRsetDifference
    reason: str = ""

    def to_text(self, codepoints: CodePoints = DEFAULT) -> str:
        """The difference, a line a record, each with its final newline; before it the reason, as a comment."""
        comment = f"; {names.to_text(self.owner)}: {self.reason}\n" if self.reason else ""
        return comment + self.difference.to_text(codepoints)

    def to_json(self, codepoints: CodePoints = DEFAULT) -> dict[str, Any]:
        return {
            "owner": names.to_text(self.owner),
            "writing": self.writing.value,
            "difference": self.difference.to_json(codepoints),
            "reason": self.reason or None,
        }


@dataclass(frozen=True, slots=True)
class Publication:
    """All places: the apex, the names for its name servers, then those where nothing belongs any more."""

    places: tuple[Place, ...]

    @property
    def differing(self) -> tuple[Place, ...]:
        """Where we can write, and something has to be written."""
        return tuple(place for place in self.places if place.writing is Writing.OURS and place.difference)

    @property
    def by_hand(self) -> tuple[Place, ...]:
        """Where somebody else has to write something."""
        return tuple(place for place in self.places if place.writing is Writing.BY_HAND and place.difference)

    @property
    def failed(self) -> tuple[Place, ...]:
        return tuple(place for place in self.places if place.writing is Writing.FAILED)

    def to_text(self, codepoints: CodePoints = DEFAULT) -> str:
        return "".join(place.to_text(codepoints) for place in self.places if place.difference or place.reason)

    def to_json(self, codepoints: CodePoints = DEFAULT) -> list[dict[str, Any]]:
        return [place.to_json(codepoints) for place in self.places]


class KeyPublisher:
    """Publishes the keys of one child zone through backends that are opened and closed by others.

    `backend` is that of the child zone, None where there is none; `signalling` those of its name servers' zones, by
    apex. `ttl` is in seconds.
    """

    def __init__(self, zone: bytes, ttl: int, backend: Backend | None, signalling: Mapping[bytes, Backend]) -> None:
        self._zone = zone
        self._ttl = ttl
        self._backend = backend
        self._signalling = dict(signalling)

    async def plan(
        self, keys: Collection[Key], ours: Collection[Key], content: ZoneContent, former: Collection[bytes] = ()
    ) -> Publication:
        """What has to change so that `keys`, and of `ours` no others, are published. Raises nothing.

        `ours` are all keys that we ever had. `content` tells the name servers, and the KEY records of a zone without
        backend. `former` are signalling names where copies were put once.
        """
        return await self._each(keys, ours, content, former, write=False)

    async def apply(
        self, keys: Collection[Key], ours: Collection[Key], content: ZoneContent, former: Collection[bytes] = ()
    ) -> Publication:
        """As `plan`, and have it written; what could not be is in `failed`. Raises nothing."""
        return await self._each(keys, ours, content, former, write=True)

    async def _each(
        self,
        keys: Collection[Key],
        ours: Collection[Key],
        content: ZoneContent,
        former: Collection[bytes],
        *,
        write: bool,
    ) -> Publication:
        added = {key.rdata for key in keys}
        removed = {key.rdata for key in ours} - added

        def wanted(held: RRset | None) -> RRset | None:
            kept = [rdata for rdata in held.rdatas if rdata not in removed] if held else []
            return self._rrset(self._zone, [*kept, *added], held)

        seen = RRset(self._zone, RRType.KEY, content.key_ttl, content.key) if content.key else None
        if self._backend is None:
            reason = f"there is no `backend` of {names.to_text(self._zone)}: its KEY records are changed by hand"
            if set(content.key) - {key.rdata for key in ours}:
                reason += "; those that are not ours are not copied below _signal, which at-ns wants to be equal"
            apex = _by_hand(self._zone, seen, wanted(seen), reason)
        else:
            apex = await _at(self._backend, self._zone, wanted, write=write)

        def copied(held: RRset | None) -> Sequence[bytes]:
            if apex.writing is Writing.OURS:
                return apex.wanted.rdatas if apex.wanted else ()
            # what stands there, until the apex can be read again
            there = held.rdatas if held and apex.writing is Writing.FAILED else ()
            return sorted({*added, *there} - removed)

        outside = [server for server in content.ns if not names.is_at_or_below(server, self._zone)]
        places = [apex, *[await self._at_server(server, copied, write=write) for server in outside]]
        left = set(former).difference(place.owner for place in places)
        copies = {*copied(None), *removed}
        places += [
            await _at(backend, owner, partial(self._without, owner, copies), write=write)
            for owner in sorted(left)
            if (backend := self._backend_of(owner)) is not None
        ]
        return Publication(tuple(places))

    async def _at_server(
        self, server: bytes, copied: Callable[[RRset | None], Sequence[bytes]], *, write: bool
    ) -> Place:
        owner, server_text = signalling_name(self._zone, server), names.to_text(server)
        if owner is None:
            reason = f"no signalling name of {names.to_text(self._zone)} fits in there: at-ns cannot be used"
            return Place(server, Writing.FAILED, None, _NOTHING, reason)
        wanted = self._rrset(owner, copied(None), None)
        backend = self._backend_of(owner)
        if backend is None:
            reason = f"for at-ns, the operator of {server_text} publishes this: its zone is none of `signalling`"
            return _by_hand(owner, None, wanted, reason)
        return await _at(backend, owner, lambda held: self._rrset(owner, copied(held), held), write=write)

    def _backend_of(self, owner: bytes) -> Backend | None:
        above = [apex for apex in self._signalling if names.is_at_or_below(owner, apex)]
        return self._signalling[max(above, key=len)] if above else None

    def _without(self, owner: bytes, copies: Collection[bytes], held: RRset | None) -> RRset | None:
        return self._rrset(owner, [rdata for rdata in held.rdatas if rdata not in copies] if held else (), held)

    def _rrset(self, owner: bytes, rdatas: Sequence[bytes], held: RRset | None) -> RRset | None:
        if not rdatas:
            return None
        wanted = RRset(owner, RRType.KEY, self._ttl, tuple(rdatas))
        # a server may keep TTLs lower than it is told
        is_there = held is not None and held.rdatas == wanted.rdatas and held.ttl < self._ttl
        return held if is_there else wanted


async def _at(backend: Backend, owner: bytes, wanted: Callable[[RRset | None], RRset | None], *, write: bool) -> Place:
    """A name in a zone that we can write to."""

    def planned(held: Sequence[RRset]) -> RRsetDifference:
        if any(rrset.owner == owner and rrset.rtype == RRType.CNAME for rrset in held):
            raise BackendRejected("it is a CNAME, and no KEY can stand beside it")
        there = _key_rrset(held, owner)
        return _difference(there, wanted(there))

    try:
        if write:
            difference, held = await reconcile(backend, [owner], planned)
        else:
            held = await backend.read_rrsets([owner])
            difference = planned(held)
    except BackendError as error:
        return Place(owner, Writing.FAILED, None, _NOTHING, error.reason)
    return Place(owner, Writing.OURS, wanted(_key_rrset(held, owner)), difference)


def _by_hand(owner: bytes, seen: RRset | None, wanted: RRset | None, reason: str) -> Place:
    difference = _difference(seen, wanted)
    return Place(owner, Writing.BY_HAND, wanted, difference, reason if difference else "")


def _difference(before: RRset | None, after: RRset | None) -> RRsetDifference:
    return RRsetDifference.between([before] if before else [], [after] if after else [])


def _key_rrset(held: Sequence[RRset], owner: bytes) -> RRset | None:
    return next((rrset for rrset in held if rrset.key == (owner, RRType.KEY)), None)
