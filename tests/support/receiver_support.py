"""A parent zone in a zone file, a store, and a receiver in front of them: real parts, no sockets."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from zonecut.plugin import Backend, BackendConflict, BackendContext, Change, Reading
from zonecut.plugin.bootstrap import BootstrapMethod, Lookups, Presence, Security, Sighting
from zonecut.powerdns_api.front_end import FrontEnd
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, Algorithm, RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import Envelope, read_options, walk
from zonecut.protocol.keys import Key, KeyPair
from zonecut.protocol.keystate import Revision
from zonecut.protocol.sig0 import sign_request
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.change.policy import Policy, Rules
from zonecut.receiver.checks.runner import Checks
from zonecut.receiver.consumers import Consumers
from zonecut.receiver.keys.bootstrapper import Bootstrapper
from zonecut.receiver.keys.keystate import Inquiries
from zonecut.receiver.keys.on_demand import OnDemand
from zonecut.receiver.keys.published import Published
from zonecut.receiver.keys.retry import Retry
from zonecut.receiver.keys.sweep import Sweep
from zonecut.receiver.keys.trust import Trust, TrustSettings
from zonecut.receiver.keys.watching import Watching
from zonecut.receiver.message.admission import Limits, Source, TokenBuckets
from zonecut.receiver.message.authentication import SignatureSettings
from zonecut.receiver.message.counters import Counters
from zonecut.receiver.message.key_lookup import KeyLookup
from zonecut.receiver.message.replay import ReplayMemory
from zonecut.receiver.message.responder import Responder, ResponseSettings
from zonecut.receiver.receiver import Receiver
from zonecut.receiver.refusals import Refusals
from zonecut.receiver.requests import Requests
from zonecut.receiver.served_zone import ServedZone
from zonecut.receiver.zone.parent_zone import ParentZone
from zonecut.receiver.zone_settings import ZoneSettings
from zonecut.store import ChangeState, KeyState, Store
from zonecut_zonefile import zonecut_adapters

ZONE = names.from_text("parent.example.")
CHILD = names.from_text("child.parent.example.")
OTHER = names.from_text("other.parent.example.")
SOURCE = Source("127.0.0.1", 5300, udp=True)
NOW = 1_800_000_000

ZONE_TEXT = """\
$ORIGIN parent.example.
$TTL 3600
@ SOA ns hostmaster 1 3600 600 86400 300
@ NS ns
ns A 1.1.1.1
child NS ns1.child
ns1.child A 1.1.1.2
other NS ns.elsewhere.example.
above NS ns.elsewhere.example.
below.above NS ns.elsewhere.example.
$INCLUDE {directory}/parent.example.delegations
"""


class NoLookups:
    """A world in which nothing answers."""

    vantage_points: Sequence[str] = ()

    async def keys_at(self, name: bytes) -> Sighting:
        return Sighting(names.to_text(name), Presence.FAILED, Security.INDETERMINATE, reason="no answer")

    async def keys_under(self, delegation: Delegation) -> Sighting:
        return await self.keys_at(delegation.child)

    async def ds_at(self, child: bytes) -> Sighting:
        return await self.keys_at(child)

    async def keys_from_servers(self, delegation: Delegation, vantage_point: str | None = None) -> Sequence[Sighting]:
        return [await self.keys_at(server) for server in delegation.ns]


NO_LOOKUPS = NoLookups()


@dataclass
class Clock:
    """Both clocks of a receiver, set by the test; seconds."""

    now: float = float(NOW)

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Answer:
    envelope: Envelope

    @property
    def rcode(self) -> int:
        return self.envelope.rcode

    @property
    def error(self) -> ExtendedError | None:
        opt = self.envelope.opt
        options = dict(read_options(self.envelope.rdata(opt))) if opt else {}
        return ExtendedError.from_data(options[15]) if 15 in options else None


@dataclass
class Site:
    """What a test works with."""

    receiver: Receiver
    zone: ParentZone
    backend: Backend
    store: Store
    clock: Clock
    served_zone: ServedZone
    front_end: FrontEnd
    pairs: dict[bytes, KeyPair] = field(default_factory=dict)

    async def trust(self, child: bytes, algorithm: int = Algorithm.ED25519) -> KeyPair:
        pair = KeyPair.generate(child, algorithm, DEFAULT)
        await self.add(pair.key, KeyState.TRUSTED)
        self.pairs[child] = pair
        return pair

    async def add(self, key: Key, state: KeyState) -> None:
        await self.store.keys.add(key, state, "manual", "test")
        await self.store.ring.fetch([key.owner])

    async def send(self, wire: bytes, source: Source = SOURCE) -> Answer | None:
        """The answer to a message, or None when there is none."""
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.receiver.handle(wire, source, answered.set_result)
        try:
            async with asyncio.timeout(10):
                return Answer(walk(await answered))
        except TimeoutError:
            return None

    async def ask(self, wire: bytes, source: Source = SOURCE) -> Answer:
        answer = await self.send(wire, source)
        assert answer is not None
        return answer

    def signed(
        self,
        *updates: bytes,
        child: bytes = CHILD,
        prerequisites: Iterable[bytes] = (),
        signed_at: float | None = None,
        pair: KeyPair | None = None,
        edns: bool = True,
        identity: int = 1,
    ) -> bytes:
        """An UPDATE of the parent zone, signed by the child's key as of now."""
        at = int(self.clock.now if signed_at is None else signed_at)
        plain = message.update(identity, ZONE, tuple(prerequisites), updates, [message.opt_record()] if edns else [])
        return sign_request(plain, pair or self.pairs[child], at, at + 300, signature_type=DEFAULT.signature_type)

    async def served(self, child: bytes = CHILD) -> Delegation:
        return (await self.backend.read(child)).delegation


def replace_ns(child: bytes, *servers: str) -> list[bytes]:
    """The update section that replaces the child's NS RRset."""
    return [
        message.delete_rrset(child, RRType.NS),
        *(message.add(child, RRType.NS, 3600, names.from_text(server)) for server in servers),
    ]


def ns_of(child: bytes, *servers: str) -> Delegation:
    return Delegation.of(child, [RR(child, RRType.NS, names.from_text(server)) for server in servers])


def strict(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the server refuse whatever it does not hold the `before` of, as BIND and PowerDNS do, and zone files not."""
    write = here.backend.write

    async def strictly(changes: Sequence[Change]) -> None:
        for change in changes:
            if (await here.served(change.child)) != change.before:
                raise BackendConflict("something else is held", (change.child,))
        await write(changes)

    monkeypatch.setattr(here.backend, "write", strictly)


def looked_at(here: Site, monkeypatch: pytest.MonkeyPatch) -> list[list[bytes]]:
    """The children that are looked at in the server from now on, together or each by itself."""
    looks: list[list[bytes]] = []
    read, unchanged = here.backend.read, here.backend.unchanged

    async def read_noted(child: bytes) -> Reading:
        looks.append([child])
        return await read(child)

    async def unchanged_noted(readings: Sequence[Reading]) -> frozenset[bytes]:
        looks.append([each.delegation.child for each in readings])
        return await unchanged(readings)

    monkeypatch.setattr(here.backend, "read", read_noted)
    monkeypatch.setattr(here.backend, "unchanged", unchanged_noted)
    return looks


@asynccontextmanager
async def site(
    directory: Path,
    *,
    limits: Limits | None = None,
    policy: Policy | None = None,
    settings: ZoneSettings | None = None,
    trust: TrustSettings | None = None,
    methods: Sequence[tuple[str, BootstrapMethod]] = (),
    manual: bool = True,
    lookups: Lookups = NO_LOOKUPS,
    identity: KeyPair | None = None,
    responses: ResponseSettings | None = None,
    revision: Revision = Revision.KEYSTATE_03,
    checks: Callable[[Store], Checks] | None = None,
    zones: Collection[bytes] = (ZONE,),
    monotonic: Callable[[], float] | None = None,
    boot: str = "",
) -> AsyncIterator[Site]:
    """A running receiver on a zone file in `directory`; `zones` are all the parent zones that it has.

    `monotonic` is what absences are counted by, where that is not `clock`; `boot` names the boot of the machine.
    """
    zone_file = directory / "parent.zone"
    if not zone_file.exists():
        zone_file.write_text(ZONE_TEXT.format(directory=directory))
        (directory / "parent.example.delegations").touch()  # what is asked before the backend is open is answered
    (adapter,) = zonecut_adapters()
    options = adapter.options(zone_file=zone_file, directory=directory)
    backend = adapter.create(BackendContext(ZONE, Ttls()), options)
    clock = Clock()
    limits = limits or Limits(source_burst=100_000, child_burst=100_000)
    signatures = SignatureSettings()
    async with Store.open(f"sqlite:///{directory}/zonecut.db", clock=clock) as store:
        await store.ring.start()
        remembered = [
            (each.identity, each.expires_at)
            async for each in store.changes.identities(clock())
            if each.state is not ChangeState.FAILED
        ]
        replay = ReplayMemory(remembered)
        keys = KeyLookup(store.ring)
        bootstrapper_reads: list[ParentZone] = []

        async def delegation_of(child: bytes) -> Delegation:
            return await bootstrapper_reads[0].delegation_of(child)

        trust_settings = trust or TrustSettings()
        bootstrapper = Bootstrapper(
            ZONE,
            methods,
            manual,
            Retry(
                trust_settings.retry_first,
                trust_settings.retry_longest,
                trust_settings.attempts,
                trust_settings.cool_down,
            ),
            store,
            lookups,
            delegation_of,
            max_trusted=trust_settings.trusted_per_child,
            unpublished=trust_settings.unpublished,
            clock=clock,
            jitter=random.Random(1),
        )

        async def delegated(child: bytes) -> Delegation:
            return await bootstrapper_reads[0].delegated(child)

        published = Published(ZONE, lookups, delegated, trust_settings.cool_down, DEFAULT, monotonic=clock)
        rollover = (policy or Policy()).rollover
        trusted = Trust(ZONE, trust_settings, rollover, store, keys, bootstrapper, published, DEFAULT)
        watching = Watching(ZONE, trust_settings, store, keys, lambda: zones, clock, monotonic or clock)
        zone = ParentZone(
            Rules.of(ZONE, names.from_text("updater.parent.example."), policy or Policy(), zones),
            settings or ZoneSettings(),
            backend,
            Ledger(store, ZONE, boot),
            replay,
            watching.noticed,
            watching.suspends,
            watching.ds_taken_out,
            bootstrapper.seen,
            watching.displaced,
            max_waiting=limits.max_pending_per_child,
            monotonic=clock,
            jitter=random.Random(1),
            checks=checks(store) if checks else None,
        )
        bootstrapper_reads.append(zone)
        budget = TokenBuckets(1000, 1000)
        responder = Responder(
            responses or ResponseSettings(), lambda now: identity, budget, DEFAULT, clock=clock, monotonic=clock
        )
        await zone.resume()
        running = [asyncio.create_task(zone.run()), asyncio.create_task(store.ring.run())]
        if methods:
            running += [asyncio.create_task(bootstrapper.run()), asyncio.create_task(bootstrapper.waiting.run())]
        tally = Counters()
        refusals = Refusals(store)
        on_demand = OnDemand(
            ZONE,
            published,
            lambda key, source: trusted.fetched(key, source, clock()),
            signatures,
            DEFAULT,
            clock=clock,
        )
        served_zone = ServedZone(
            zone,
            trusted,
            bootstrapper,
            responder,
            Sweep(ZONE, store, zone.look_at, watching, trust_settings),
            watching,
            Consumers(ZONE, backend, store, 900.0, clock, clock),
            on_demand if trust_settings.on_demand else None,
        )
        requests = Requests(replay, keys, limits, signatures.fudge, DEFAULT, tally, clock)
        front_end = FrontEnd({ZONE: served_zone}, requests, refusals, limits, tally, clock=clock, monotonic=clock)
        receiver = Receiver(
            {ZONE: served_zone},
            refusals,
            keys,
            requests,
            Inquiries(revision, signatures, DEFAULT),
            limits,
            signatures,
            DEFAULT,
            tally,
            clock=clock,
            monotonic=clock,
        )
        try:
            yield Site(receiver, zone, backend, store, clock, served_zone, front_end)
        finally:
            await receiver.close(5)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await zone.close(5)
