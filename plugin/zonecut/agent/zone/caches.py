"""What resolvers may still have of a delegation that the parent does not publish any more. Pure.

A cache keeps an RRset for its TTL (RFC 1034 section 3.6): whoever moves a zone to other keys and servers has to wait
for that between two steps (RFC 6781 section 4.3.5).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, ClassVar

from zonecut.agent.parent.parent_view import ParentView
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation
from zonecut.resolve import Verdict

KEPT = 7 * 86400
"""Seconds for which caches keep anything, whatever its TTL."""
MAX_SIGHTS = 16
"""So many delegations are remembered; the one that is over first is forgotten first."""
_MAX_GLUE = 64
"""So many addresses are remembered with one of them."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A delegation that servers of the parent showed, with the TTLs of DS and NS in seconds.

    `gone` is when a look first found that none shows it any more, in seconds since 1970; None: one does.
    """

    delegation: Delegation
    ds_ttl: int
    ns_ttl: int
    gone: float | None = None

    MOMENTS: ClassVar[tuple[str, ...]] = ("gone",)

    @property
    def ds_until(self) -> float:
        """Until when caches may have its DS."""
        return float("inf") if self.gone is None else self.gone + min(self.ds_ttl, KEPT)

    @property
    def ns_until(self) -> float:
        """Until when caches may have its NS."""
        return float("inf") if self.gone is None else self.gone + min(self.ns_ttl, KEPT)

    @property
    def until(self) -> float:
        """Until when caches may have anything of it."""
        return max(self.ds_until, self.ns_until)

    def to_json(self) -> dict[str, Any]:
        return {
            "delegation": self.delegation.to_wire().hex(),
            "ds_ttl": self.ds_ttl,
            "ns_ttl": self.ns_ttl,
            "gone": self.gone,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Sight":
        delegation = Delegation.from_wire(bytes.fromhex(document["delegation"]))
        return cls(delegation, document["ds_ttl"], document["ns_ttl"], document["gone"])


def remember(sights: Iterable[Sight], view: ParentView, ns_ttl: int, now: float) -> tuple[tuple[Sight, ...], float]:
    """What is remembered after another look, and until when what had no room would have counted (0: all had).

    `ns_ttl` is the TTL with which the child itself publishes its NS. DS that are bogus are in no cache that validates
    (RFC 4035 section 4.7): of who shows such ones, the name servers are remembered alone.
    """
    found = {sight.delegation: sight for sight in sights if sight.until > now}
    shown: dict[Delegation, Sight] = {}
    tells = False
    for server in view.servers:
        if server.delegation is None and server.ds is None:
            continue
        delegation = server.delegation or Delegation(view.child, ds=server.ds or ())
        if server.verdict is Verdict.BOGUS:
            delegation = replace(delegation, ds=())
        else:
            tells = True
        before = [each for each in (shown.get(delegation), found.get(delegation)) if each is not None]
        shown[delegation] = Sight(
            delegation,
            max([server.ds_ttl, *(each.ds_ttl for each in before)]),
            max([server.ns_ttl, ns_ttl, *(each.ns_ttl for each in before)]),
        )
    # that all are bogus, or silent, says of none that it is gone
    past = [
        replace(sight, gone=now) if tells and sight.gone is None else sight
        for delegation, sight in found.items()
        if delegation not in shown
    ]
    if len(shown) + len(past) > MAX_SIGHTS:
        past = _with_glue_merged(past)
    past.sort(key=lambda sight: sight.until, reverse=True)
    every = (*shown.values(), *past)
    # for how long one goes on to be shown that is not remembered is not known
    forgotten = (now + KEPT if sight.gone is None else sight.until for sight in every[MAX_SIGHTS:])
    return every[:MAX_SIGHTS], max(forgotten, default=0.0)


def _with_glue_merged(sights: Iterable[Sight]) -> list[Sight]:
    """Those that are gone and differ in glue alone are one, with the addresses of all, until the last is over."""
    merged: dict[tuple[tuple[bytes, ...], tuple[bytes, ...], bool], Sight] = {}
    others: list[Sight] = []
    for sight in sights:
        kind = (sight.delegation.ns, sight.delegation.ds, sight.gone is None)
        if (one := merged.get(kind)) is None:
            merged[kind] = sight
            continue
        both = Delegation.of(sight.delegation.child, {*one.delegation.records, *sight.delegation.records})
        if len(both.glue) > _MAX_GLUE:
            others.append(sight)
        elif one.gone is None or sight.gone is None:
            merged[kind] = Sight(both, max(one.ds_ttl, sight.ds_ttl), max(one.ns_ttl, sight.ns_ttl))
        else:
            gone = max(one.gone, sight.gone)
            ds_until, ns_until = max(one.ds_until, sight.ds_until), max(one.ns_until, sight.ns_until)
            merged[kind] = Sight(both, max(0, ceil(ds_until - gone)), max(0, ceil(ns_until - gone)), gone)
    return [*merged.values(), *others]


def past_ds(sights: Iterable[Sight], now: float) -> dict[tuple[bytes, ...], float]:
    """The DS RRsets that the parent does not publish any more and caches may have, and until when."""
    current = {sight.delegation.ds for sight in sights if sight.gone is None}
    found: dict[tuple[bytes, ...], float] = {}
    for sight in sights:
        ds = sight.delegation.ds
        if ds and ds not in current and sight.ds_until > now:
            found[ds] = max(found.get(ds, 0.0), sight.ds_until)
    return found


def past_delegations(sights: Iterable[Sight], now: float) -> Sequence[Sight]:
    """Those whose name servers caches may have, though the parent does not publish them any more."""
    return [sight for sight in sights if sight.gone is not None and sight.ns_until > now]


def unsigned_until(content: ZoneContent, time: float) -> float:
    """Until when caches may have answers of this version of the zone, if it is not signed; 0: it is, or may be.

    Negative answers are kept for no longer than its SOA (RFC 2308 section 5).
    """
    found = [content.rrset(rtype) for rtype in (RRType.SOA, RRType.NS)]
    if content.dnskey is None or content.dnskey:
        return 0.0
    return time + max((min(rrset.ttl, KEPT) for rrset in found if rrset is not None), default=0)
