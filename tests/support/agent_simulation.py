"""A whole agent of one zone on a clock of its own, with a receiver and a parent whose answers are written down.

No network and no waiting: only the conversation, the view of the parent's servers and the zone are played.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent_support import CHILD, PARENT, TARGET, pair
from zonecut.agent import sync
from zonecut.agent.context import AgentContext, Parent
from zonecut.agent.evidence.zone_view import ChildServer, Standing, ZoneView
from zonecut.agent.exchange.result import Result
from zonecut.agent.exchange.update_client import Inquired, Outcome, UpdateClient
from zonecut.agent.keys.child_keys import OwnKey
from zonecut.agent.keys.publishing import Place, Publication, Writing
from zonecut.agent.pace.backoff import Courtesy
from zonecut.agent.pace.slots import Slots
from zonecut.agent.parent.discovery import Discovery
from zonecut.agent.parent.parent_view import ParentView, ServerView
from zonecut.agent.parent.receiver import KeyTrust, UpdateReceiver
from zonecut.agent.settings import ChildSettings, DsSettings, PrimarySettings
from zonecut.agent.state import AgentState, Phase
from zonecut.agent.zone.zone_content import SourceError, ZoneContent
from zonecut.agent.zone_agent import ZoneAgent
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.keystate import KeyStateOption
from zonecut.protocol.rrset import RRsetDifference
from zonecut.resolve import Verdict
from zonecut.store import StoredAgent, StoreError

NEW, OLD = names.from_text("ns1.other.example."), names.from_text("ns9.other.example.")
SETTINGS = ChildSettings(primary=PrimarySettings(server="127.0.0.1:53"), ds=DsSettings(source="off"))
HOUR = 3600.0


@dataclass(frozen=True)
class Said:
    """What a receiver answers. `word` is a KEY-STATE; with `vouched` False nobody signs it."""

    result: Result = Result.ACCEPTED
    word: int | None = None
    vouched: bool = True
    not_before: float | None = None

    def outcome(self) -> Outcome:
        if self.vouched:
            return Outcome(self.result, None, f"it says {self.result}", 1, 0.0, (), None, self.not_before)
        return Outcome(Result.UNBELIEVABLE, None, f"ignored: {self.result}", 1, 0.0, (), self.result)


Manner = Callable[[str, OwnKey], Said]
"""What is said to an `update`, an `upload`, a `roll` or an `inquiry` that a key signs."""


@dataclass
class Life:
    """The agent's life so far."""

    manner: Manner
    shows: Callable[[], bool]
    """Whether the parent's servers show what the child wants."""
    settings: ChildSettings
    time: float = 1_000_000.0
    wall: float = 0.0
    """By how much the clock is off."""
    messages: list[tuple[float, str]] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    published: list[float] = field(default_factory=list)
    """When the agent had its KEY records written, or wanted to."""
    cannot_read: Callable[[], bool] = lambda: False
    """Whether the zone cannot be read this time; asked at each reading of its serial, and of its content."""
    cannot_keep: Callable[[], StoreError | None] = lambda: None
    """Why the store cannot be written this time; asked at each write."""
    reads: int = 0
    """How often the zone was read."""
    content: ZoneContent = field(default_factory=lambda: ZoneContent(CHILD, 1, (NEW,)))

    def clock(self) -> float:
        return self.time + self.wall

    def count(self, kind: str = "", *, since: float = 0.0) -> int:
        """Messages of a kind since that time."""
        return sum(1 for at, each in self.messages if at >= since and each.startswith(kind))

    def most_in_an_hour(self, *, since: float = 0.0) -> int:
        """The most messages that went within one hour."""
        times = [at for at, _ in self.messages if at >= since]
        return max((sum(1 for other in times if at <= other < at + HOUR) for at in times), default=0)


class _Place(AgentContext):
    life: Life

    async def _find(self, state: AgentState) -> Parent:
        party = UpdateReceiver(
            PARENT, TARGET, (Endpoint("192.0.2.1", 53),), (), KeyTrust.VALIDATED, None, "it is played"
        )
        return Parent(PARENT, Discovery(CHILD, PARENT, (), Verdict.SECURE, ()), party, self.clock())

    async def say(self, party: UpdateReceiver, own: OwnKey, talk: Callable[[UpdateClient], Any]) -> Any:
        await self.ahead()
        return await talk(cast(UpdateClient, _Talk(self.life, own)))


@dataclass
class _Talk:
    life: Life
    own: OwnKey

    async def update(self, records: Sequence[bytes], *, prerequisites: Sequence[bytes] = ()) -> Outcome:
        if any(record.startswith(message.delete_rrset(CHILD, RRType.KEY)[:-8]) for record in records):
            kind = "upload" if len(records) == 2 or not self._knows_other(records) else "roll"
        else:
            kind = "update"
        return self._said(kind).outcome()

    def _knows_other(self, records: Sequence[bytes]) -> bool:
        return not records[0].endswith(self.own.key.rdata) or b"\x00\xfe" in records[0][: len(CHILD) + 4]

    async def inquire(self) -> Inquired:
        said = self._said("inquiry")
        told = None if said.word is None else KeyStateOption(self.own.key.tag, said.word, 0, "")
        return Inquired(said.outcome(), told, told is not None and said.vouched, f"it says {said.result}")

    def _said(self, kind: str) -> Said:
        self.life.messages.append((self.life.time, kind))
        return self.life.manner(kind, self.own)


@dataclass
class _Table:
    trouble: Callable[[], StoreError | None]
    stored: StoredAgent | None = None

    async def get(self, zone: bytes) -> StoredAgent | None:
        return self.stored

    async def put(self, agent: StoredAgent) -> StoredAgent:
        if (error := self.trouble()) is not None:
            raise error
        self.stored = replace(agent, version=agent.version + 1)
        return self.stored


class Keys:
    """The zone's keys, in memory, the oldest first."""

    path = Path("keys")

    def __init__(self) -> None:
        self._keys: list[OwnKey] = []
        self._retired: list[OwnKey] = []

    def all(self) -> tuple[OwnKey, ...]:
        return tuple(self._keys)

    def find(self, fingerprint: str) -> OwnKey | None:
        return next((own for own in self._keys if own.fingerprint == fingerprint), None)

    def make(self, *_: object) -> OwnKey:
        made = OwnKey(pair(CHILD), Path("K"))
        self._keys.append(made)
        return made

    def ensure(self, *_: object) -> tuple[OwnKey, ...]:
        return self.all() or (self.make(),)

    def beside(self, own: OwnKey, *_: object) -> OwnKey:
        return self._keys[-1] if self._keys[-1] is not own else self.make()

    def retire(self, own: OwnKey) -> None:
        self._keys = [each for each in self._keys if each is not own]
        self._retired.append(own)

    def ever(self) -> tuple[Any, ...]:
        return tuple(own.key for own in (*self._keys, *self._retired))

    def is_retired(self, fingerprint: str) -> bool:
        return any(own.fingerprint == fingerprint for own in self._retired)

    def lose(self, *keys: OwnKey) -> None:
        """Their files are not there; nobody has put them aside."""
        self._keys = [own for own in self._keys if own not in keys]

    def find_again(self, *keys: OwnKey) -> None:
        self._keys += keys

    def remark(self, *_: object) -> None:
        return None


class Simulation:
    """One zone's agent; `life` tells what it did."""

    def __init__(self, life: Life, chance: float = 0.5) -> None:
        self.life = life
        self.keys = Keys()
        self.own = self.keys.make()
        self.table = _Table(lambda: life.cannot_keep())
        self._chance = chance
        self.agent = self._agent()

    def _agent(self) -> ZoneAgent:
        life = self.life

        async def content() -> ZoneContent:
            life.reads += 1
            if life.cannot_read():
                raise SourceError("192.0.2.7:53 is busy")
            return life.content

        async def apply(keys: Collection[Any], *_: object) -> Publication:
            life.published.append(life.time)
            return Publication((Place(CHILD, Writing.BY_HAND, None, RRsetDifference((), ())),))

        async def audit(_: object) -> None:
            return None

        @asynccontextmanager
        async def opened() -> AsyncIterator[None]:
            yield

        place = _Place(
            CHILD,
            life.settings,
            cast(Any, self.keys),
            cast(Any, SimpleNamespace(mark=content, content=content)),
            cast(Any, SimpleNamespace(apply=apply)),
            cast(Any, SimpleNamespace(opened=opened)),
            cast(Any, None),
            Courtesy(5.0, 60.0, lambda: self._chance),
            DEFAULT,
            audit,
            life.clock,
            lambda: self._chance,
            lambda: life.time,
        )
        place.life = life
        return ZoneAgent(place, cast(Any, self.table), Slots(1))

    async def put(self, phase: Phase, **fields: Any) -> None:
        """Begin in a phase, with the key uploaded and trusted by somebody's word."""
        state = AgentState(phase, self.life.clock(), key=self.own.fingerprint, next_at=self.life.clock(), **fields)
        await self.agent.save(state)

    async def state(self) -> AgentState:
        return await self.agent.load()

    def restart(self) -> None:
        """The process ends and another one goes on from the store."""
        self.agent = self._agent()

    async def run(self, seconds: float, most: int = 5000) -> AgentState:
        """Let so much time pass. Fails when the agent takes more than `most` steps."""
        end = self.life.time + seconds
        state = await self.agent.load()
        for _ in range(most):
            state = await self.agent.load()
            wait = max(state.next_at - self.life.clock(), 0.0)
            if self.life.time + wait > end:
                break
            self.life.time += wait
            self.life.steps.append(self.life.time)
            await self.agent.step(state)
        else:
            raise AssertionError(f"{most} steps in {self.life.time + seconds - end:.0f} s: {state}")
        self.life.time = end
        return state

    async def serve(
        self, seconds: float, *, notify_every: float | None = None, look: Callable[[], None] = lambda: None
    ) -> AgentState:
        """Let so much time pass as in a daemon, which looks at its zone as well; each turn takes a moment.

        Somebody sends a NOTIFY every so often. `look` is called before each turn.
        """
        life = self.life
        end, notify_at = life.time + seconds, life.time
        while life.time < end:
            look()
            if notify_every is not None and life.time >= notify_at:
                self.agent.changed()
                notify_at = life.time + notify_every
            wait = await self.agent.turn()
            until = life.time + max(wait, 0.05)
            life.time = until if notify_every is None else min(until, max(notify_at, life.time + 0.05))
        return await self.agent.load()


def is_delegated(life: Life) -> Callable[..., Any]:
    """What stands for the look at the parent's servers: they show what is wanted, or what was there before."""

    async def view(*_: object, **__: object) -> ParentView:
        server = NEW if life.shows() else OLD
        held = Delegation.of(CHILD, [RR(CHILD, RRType.NS, server)])
        return ParentView(PARENT, CHILD, (ServerView(server, "192.0.2.1", held),))

    return view


async def _all_answer(_: object, content: ZoneContent, *__: object, **___: object) -> ZoneView:
    """What stands for the look at the zone's own servers: each shows the zone as it is read."""
    servers = (ChildServer(server, "192.0.2.2", Standing.ANSWERS, content=content) for server in content.ns)
    return ZoneView(content.zone, tuple(servers))


async def _at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    """What stands for `asyncio.to_thread`: nothing here blocks."""
    return function(*arguments)


@asynccontextmanager
async def living(
    manner: Manner,
    shows: Callable[[], bool] = lambda: False,
    *,
    phase: Phase = Phase.OUT_OF_SYNC,
    chance: float = 0.5,
    settings: ChildSettings = SETTINGS,
    **fields: Any,
) -> AsyncIterator[Simulation]:
    """An agent whose zone has another name server than its parent knows."""
    life = Life(manner, shows, settings)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sync, "view_parent", is_delegated(life))
        patched.setattr(sync, "view_servers", _all_answer)
        patched.setattr(asyncio, "to_thread", _at_once)
        simulation = Simulation(life, chance)
        await simulation.put(phase, **{"uploaded": True, **fields})
        yield simulation
