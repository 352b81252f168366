"""From a trust anchor down to the zone that holds a name: at each label, is there a cut, and is it signed?

What asks is an argument, so that the walk itself knows no network.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DS import DS

from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode, rcode_text
from zonecut.resolve.anchors import TrustAnchors
from zonecut.resolve.delegation import NoCut, SignedCut, judge_delegation
from zonecut.resolve.failures import Undecided
from zonecut.resolve.reply import Reply
from zonecut.resolve.work import Limits, Work
from zonecut.resolve.zone import Unsigned, Zone, verify_keys

Step = Zone | Unsigned | NoCut
"""What stands at one name on the way down."""

Fetch = Callable[[bytes, int], Awaitable[Reply]]
"""Asks for a name and a type. May raise NoAnswer or Undecided."""


@dataclass(frozen=True, slots=True)
class _Kept:
    step: Step
    since: float
    until: float


class StepCache:
    """Verified steps by name, for as long as their records and our bounds allow. Nothing bogus is ever in it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    def get(self, name: bytes, now: float) -> Step | None:
        kept = self._kept.get(name)
        if kept is None:
            return None
        # A clock that was set back must not keep anything alive.
        if not kept.since <= now < kept.until:
            del self._kept[name]
            return None
        self._kept.move_to_end(name)
        return kept.step

    def put(self, name: bytes, step: Step, now: float) -> None:
        bound = self._limits.cache_seconds if isinstance(step, Zone) else self._limits.cache_absence_seconds
        self._kept[name] = _Kept(step, now, now + min(step.ttl, bound))
        self._kept.move_to_end(name)
        while len(self._kept) > self._limits.cache_names:
            self._kept.popitem(last=False)

    def forget(self, name: bytes) -> None:
        """Have the step at a name made anew."""
        self._kept.pop(name, None)

    def __len__(self) -> int:
        return len(self._kept)


@dataclass(frozen=True, slots=True)
class Walk:
    """The way down for one look-up."""

    anchors: TrustAnchors
    fetch: Fetch
    cache: StepCache
    clock: Callable[[], float]
    work: Work

    async def to(self, name: bytes) -> Zone | Unsigned:
        """The deepest zone at or above the name, or the first cut that is proven to be unsigned.

        Raises Bogus or Undecided, and what `fetch` raises.
        """
        anchored = self.anchors.enclosing(name)
        if anchored is None:
            raise Undecided(f"no trust anchor is at or above {names.to_text(name)}")
        zone = await self._anchored(anchored)
        for place in _from_above(name, anchored):
            match await self._step(place, zone):
                case Zone() as child:
                    zone = child
                case Unsigned() as unsigned:
                    return unsigned
                case NoCut(ends=True):
                    break
        return zone

    async def _anchored(self, apex: bytes) -> Zone:
        kept = self.cache.get(apex, self.clock())
        if isinstance(kept, Zone):
            return kept
        zone = await self._keys(apex, self.anchors.zones[apex], ())
        self.cache.put(apex, zone, self.clock())
        return zone

    async def _step(self, place: bytes, zone: Zone) -> Step:
        kept = self.cache.get(place, self.clock())
        if kept is not None:
            return kept
        reply = await self.fetch(place, RdataType.DS)
        judged = judge_delegation(reply, place, zone, self.clock(), self.work)
        if isinstance(judged, SignedCut):
            found = await self._keys(place, judged.ds, zone.chain)
            # Kept no longer than the DS that leads to it.
            step: Step = Zone(found.apex, found.keys, found.chain, min(found.ttl, judged.ttl))
        else:
            step = judged
        self.cache.put(place, step, self.clock())
        return step

    async def _keys(self, apex: bytes, ds: Iterable[DS], above: tuple[bytes, ...]) -> Zone:
        reply = await self.fetch(apex, RdataType.DNSKEY)
        if reply.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
            raise Undecided(f"DNSKEY of {names.to_text(apex)}: the resolver answers {rcode_text(reply.rcode)}")
        return verify_keys(apex, reply.find(apex, RdataType.DNSKEY), ds, above, self.clock(), self.work)


def _from_above(name: bytes, apex: bytes) -> list[bytes]:
    """The names below `apex` on the way down to `name`, which is the last."""
    way = []
    while name != apex:
        way.append(name)
        name = names.parent(name)
    return way[::-1]
