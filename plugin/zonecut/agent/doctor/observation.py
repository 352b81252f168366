"""All that can be seen of a child's delegation from outside: gathered here, judged in `agent.doctor`.

Nothing is sent that could change anything: no UPDATE, no NOTIFY, no signature.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

from zonecut.agent.doctor.reachability import KeyWord, Reached, reach, words
from zonecut.agent.evidence.ds_statement import Origin
from zonecut.agent.evidence.zone_view import MAX_SERVERS, ZoneView, has_route, view_zone
from zonecut.agent.learned import Learned
from zonecut.agent.parent.discovery import Discovery, discover
from zonecut.agent.parent.parent_view import ParentView, view_parent
from zonecut.agent.parent.receiver import MAX_RECEIVERS, NoReceiver, UpdateReceiver, find_parties
from zonecut.agent.settings import ChildSettings, DsSettings
from zonecut.agent.state import AgentState
from zonecut.agent.zone.zone_content import in_zone
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.announced.signalling import signalling_name
from zonecut.protocol.announced.svcb import Method, Svcb, announced
from zonecut.protocol.codepoints import DEFAULT, CodePoints, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.keys import Key, UnusableKey
from zonecut.resolve import Answer, Resolver, Verdict

PLAIN = ChildSettings(ds=DsSettings(source="cds"))
"""Of a child of which nothing is configured: a change of its DS is asked for by CDS and nothing else."""


@dataclass(frozen=True, slots=True)
class ReceiverView:
    """An UPDATE Receiver that is announced by `record`, and what was seen at its name. No `party`: see `reason`."""

    record: Dsync
    party: UpdateReceiver | None
    reason: str
    key: Answer
    svcb: Answer
    addresses: tuple[Answer, ...]
    reached: tuple[Reached, ...] = ()
    words: tuple[KeyWord, ...] = ()

    def methods(self, codepoints: CodePoints) -> tuple[Method, ...] | None:
        """How it comes to trust a key, as its SVCB record says; None: it does not say."""
        records = []
        for rdata in self.svcb.rdatas:
            try:
                records.append(Svcb.from_wire(rdata))
            except MalformedMessage:
                continue
        return announced(records, codepoints)


@dataclass(frozen=True, slots=True)
class Signal:
    """What stands below `_signal` of one name server of the child. No `owner`: no name for it is short enough."""

    server: bytes
    owner: bytes | None
    answer: Answer | None


@dataclass(frozen=True, slots=True)
class Kept:
    """What the child's agent keeps: what it has learnt of the parent's side, and by what the zone has spoken.

    `is_known`: it was read, or there is none. `reason` says why it could not be.
    """

    learned: Learned = field(default_factory=Learned)
    spoke: Origin | None = None
    is_known: bool = False
    reason: str = ""

    @classmethod
    def of(cls, state: AgentState | None, codepoints: CodePoints = DEFAULT) -> "Kept":
        spoke = None if state is None or state.spoke is None else Origin(state.spoke)
        return cls(Learned.of(state, codepoints), spoke, is_known=True)


NOTHING_KEPT = Kept()


@dataclass(frozen=True, slots=True)
class Examination:
    """What was seen at the time `now`, in seconds since 1970. No `parent`: the parent zone is not known.

    `soa` is the child's SOA record through the resolver: whether the world takes the zone for secure. `settings` say
    what the child asks for.
    """

    child: bytes
    now: float
    discovery: Discovery
    parent: ParentView | None
    zone: ZoneView
    soa: Answer
    key: Answer
    """The KEY RRset at the child's apex."""
    anchor: Answer | None
    """The SOA record of the zone where the chain of trust begins; None: no trust anchor is above the child."""
    resolvers: tuple[str, ...] = ()
    signals: tuple[Signal, ...] = ()
    unlooked_signals: tuple[bytes, ...] = ()
    """Name servers below whose `_signal` nobody looked, because there are so many."""
    receivers: tuple[ReceiverView, ...] = ()
    settings: ChildSettings = PLAIN
    codepoints: CodePoints = DEFAULT
    by_backend: bool = False
    """The agent of the child reads the zone through its backend, and sees less of it than the world does."""
    kept: Kept = NOTHING_KEPT
    unrouted: frozenset[str] = frozenset()
    """Addresses of the parent's servers to which this machine has no way."""

    @property
    def can_validate(self) -> bool:
        """With this resolver, clock and trust anchors, at least the zone of the trust anchor is secure."""
        return self.anchor is not None and self.anchor.verdict is Verdict.SECURE

    @property
    def ds(self) -> tuple[bytes, ...] | None:
        """The DS that the parent holds; None: not known."""
        if self.parent is None:
            return None
        if self.parent.held is not None:
            return self.parent.held.ds
        return self.parent.shown.ds if any(server.ds is not None for server in self.parent.servers) else None

    @property
    def ds_sets(self) -> tuple[tuple[bytes, ...], ...]:
        """All DS RRsets that servers of the parent show."""
        return () if self.parent is None else self.parent.ds_sets

    @property
    def published(self) -> tuple[Key, ...]:
        """The keys that the child publishes at its apex: as the resolver sees them, else as its servers show them."""
        shown = next((content.key for _, content in self.zone.contents if content.key), ())
        return keys_of(self.child, self.key.rdatas or shown)

    def to_json(self) -> dict[str, Any]:
        return {
            "discovery": self.discovery.to_json(),
            "parent": None if self.parent is None else self.parent.to_json(),
            "zone": self.zone.to_json(),
            "receivers": [_receiver_json(view, self.codepoints) for view in self.receivers],
            "keys": [
                {"tag": key.tag, "algorithm": key.algorithm, "fingerprint": key.fingerprint()} for key in self.published
            ],
        }


async def examine(
    resolver: Resolver,
    child: bytes,
    settings: ChildSettings = PLAIN,
    *,
    port: int = 53,
    parent_port: int = 53,
    kept: Kept = NOTHING_KEPT,
    codepoints: CodePoints = DEFAULT,
    clock: Callable[[], float] = time.time,
) -> Examination:
    """Look at a child zone from outside; raises nothing, whatever anybody answers. ValueError for the root.

    `port` is that of the child's name servers, `parent_port` that of the parent's. Bounded: some dozens of seconds
    where nobody answers.
    """
    parent_name = None if settings.parent.zone is None else names.from_text(settings.parent.zone)
    top = resolver.anchor_above(child)
    anchor = None if top is None else await resolver.lookup(top, RRType.SOA)
    discovery, soa, key = await asyncio.gather(
        discover(resolver, child, codepoints=codepoints, parent=parent_name),
        resolver.lookup(child, RRType.SOA),
        resolver.lookup(child, RRType.KEY),
    )
    receivers = asyncio.gather(
        *(
            _receiver(resolver, replace(discovery, records=(record,)), record, settings, kept.learned.keys, clock)
            for record in discovery.updates[:MAX_RECEIVERS]
        )
    )
    parent = None
    if discovery.parent is not None:
        parent = await view_parent(resolver, discovery.parent, child, port=parent_port)
    held = None if parent is None else parent.held
    start = held
    if start is None and parent is not None:
        start = await _served_beside(resolver, parent, parent_port)
    zone = await view_zone(resolver, child, start, port=port)
    named = (*(held.ns if held else ()), *(zone.newest.ns if zone.newest else ()))
    outside = [server for server in dict.fromkeys(named) if not names.is_at_or_below(server, child)]
    signals = await asyncio.gather(*(_signal(resolver, child, server) for server in outside[:MAX_SERVERS]))
    seen = Examination(
        child=child,
        now=clock(),
        discovery=discovery,
        parent=parent,
        zone=zone,
        soa=soa,
        key=key,
        anchor=anchor,
        resolvers=tuple(map(str, resolver.nameservers)),
        signals=tuple(signals),
        unlooked_signals=tuple(outside[MAX_SERVERS:]),
        settings=settings,
        codepoints=codepoints,
        unrouted=_unrouted(parent),
        kept=kept,
    )
    tags = [each.tag for each in seen.published]
    asked = await asyncio.gather(*(_with_words(view, child, tags, codepoints, clock) for view in await receivers))
    return replace(seen, receivers=tuple(asked))


def keys_of(owner: bytes, rdatas: Collection[bytes]) -> tuple[Key, ...]:
    """The KEY records among these RDATA that can be read."""
    found = []
    for rdata in rdatas:
        try:
            found.append(Key.from_rdata(owner, rdata))
        except UnusableKey:
            continue
    return tuple(found)


async def _served_beside(resolver: Resolver, parent: ParentView, port: int) -> Delegation | None:
    """The child's name servers as those servers of the parent tell that serve the child zone as well."""
    child = parent.child
    for server in parent.servers:
        if not server.hides:
            continue
        direct = await resolver.ask(server.address, port, child, RRType.NS)
        if direct.is_answer and direct.rdatas:
            questions = [
                (name, rtype)
                for name in in_zone(child, direct.rdatas[:MAX_SERVERS])
                for rtype in (RRType.A, RRType.AAAA)
            ]
            answers = await asyncio.gather(*(resolver.ask(server.address, port, *each) for each in questions))
            records = [RR(child, RRType.NS, name) for name in direct.rdatas]
            records += [RR(each.name, each.rtype, rdata) for each in answers for rdata in each.rdatas]
            return Delegation.of(child, records)
    return None


def _unrouted(parent: ParentView | None) -> frozenset[str]:
    untold = [server.address for server in parent.servers if server.delegation is None] if parent else []
    return frozenset(address for address in untold if address and not has_route(address))


async def _receiver(
    resolver: Resolver,
    discovery: Discovery,
    record: Dsync,
    settings: ChildSettings,
    remembered: Collection[Key],
    clock: Callable[[], float],
) -> ReceiverView:
    codepoints = discovery.codepoints
    types = (RRType.KEY, RRType.SVCB, RRType.A, RRType.AAAA)
    key, svcb, *addresses = await asyncio.gather(*(resolver.lookup(record.target, rtype) for rtype in types))
    try:
        (party,) = await find_parties(resolver, discovery, settings.parent, remembered, codepoints=codepoints)
    except NoReceiver as failure:
        return ReceiverView(record, None, failure.reason, key, svcb, tuple(addresses))
    reached = await reach(party, discovery.child, codepoints=codepoints, clock=clock)
    return ReceiverView(record, party, party.reason, key, svcb, tuple(addresses), reached)


async def _with_words(
    view: ReceiverView, child: bytes, tags: list[int], codepoints: CodePoints, clock: Callable[[], float]
) -> ReceiverView:
    if view.party is None or not any(each.response is not None for each in view.reached if each.transport == "tcp"):
        return view
    return replace(view, words=await words(view.party, child, tags, codepoints=codepoints, clock=clock))


async def _signal(resolver: Resolver, child: bytes, server: bytes) -> Signal:
    owner = signalling_name(child, server)
    return Signal(server, owner, None if owner is None else await resolver.lookup(owner, RRType.KEY))


def _receiver_json(view: ReceiverView, codepoints: CodePoints) -> dict[str, Any]:
    return {
        "record": view.record.to_text(codepoints),
        "party": None if view.party is None else view.party.to_json(),
        "reason": view.reason,
        "reached": [each.to_json() for each in view.reached],
        "keys": [each.to_json() for each in view.words],
    }
