"""What resolvers may still have of a delegation that the parent does not publish any more. Pure.

A cache keeps an RRset for its TTL (RFC 1034 section 3.6): whoever moves a zone to other keys and servers has to wait
for that between two steps (RFC 6781 section 4.3.5).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from zonecut.agent.parent.parent_view import ParentView
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation

_KEPT = 7 * 86400
"""Seconds for which caches keep anything, whatever its TTL."""
MAX_SIGHTS = 16
"""So many delegations are remembered; the one that is over first is forgotten first."""


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
        return float("inf") if self.gone is None else self.gone + self.ds_ttl

    @property
    def ns_until(self) -> float:
        """Until when caches may have its NS."""
        return float("inf") if self.gone is None else self.gone + self.ns_ttl

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


def remember(sights: Iterable[Sight], view: ParentView, ns_ttl: int, now: float) -> tuple[Sight, ...]:
    """What is remembered after another look; `ns_ttl` is the TTL with which the child itself publishes its NS."""
    found = {sight.delegation: sight for sight in sights if max(sight.ds_until, sight.ns_until) > now}
    shown: dict[Delegation, Sight] = {}
    for server in view.servers:
        if server.delegation is None and server.ds is None:
            continue
        delegation = server.delegation or Delegation(view.child, ds=server.ds or ())
        before = [each for each in (shown.get(delegation), found.get(delegation)) if each is not None]
        shown[delegation] = Sight(
            delegation,
            max([server.ds_ttl, *(each.ds_ttl for each in before)]),
            max([server.ns_ttl, ns_ttl, *(each.ns_ttl for each in before)]),
        )
    if not shown:
        return tuple(found.values())
    past = [
        replace(sight, gone=now if sight.gone is None else sight.gone)
        for delegation, sight in found.items()
        if delegation not in shown
    ]
    past.sort(key=lambda sight: max(sight.ds_until, sight.ns_until), reverse=True)
    return tuple([*shown.values(), *past][:MAX_SIGHTS])


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
    return time + max((min(rrset.ttl, _KEPT) for rrset in found if rrset is not None), default=0)
