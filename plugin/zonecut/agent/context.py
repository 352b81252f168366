"""What the steps of one zone's agent work with: its keys, the ways to read and to publish, and whom it talks to."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

import structlog

from zonecut.agent.evidence.serials import why_stale
from zonecut.agent.exchange.result import Result
from zonecut.agent.exchange.retransmission import USUAL, Patience
from zonecut.agent.exchange.update_client import UpdateClient
from zonecut.agent.keys.child_keys import ChildKeys, OwnKey
from zonecut.agent.keys.publishing import KeyPublisher, Place, Publication, Writing
from zonecut.agent.learned import Learned, find
from zonecut.agent.pace.backoff import Courtesy, Crowded
from zonecut.agent.parent.discovery import Discovery, discover
from zonecut.agent.parent.receiver import UpdateReceiver, announced_parent
from zonecut.agent.settings import ChildSettings
from zonecut.agent.state import AgentState, Stage
from zonecut.agent.transitions import Heard, Now
from zonecut.agent.zone.backends import Backends
from zonecut.agent.zone.source import Source, SourceError
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.net.endpoint import Endpoint
from zonecut.plugin import BackendError
from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints, ReceiverState
from zonecut.protocol.keys import Key, UnusableKey
from zonecut.protocol.keystate import state_text
from zonecut.resolve import Resolver
from zonecut.store import AuditEntry

KNOWN_FOR = 300.0
"""Seconds for which what was found out about the parent is used again, unless talking to it fails."""

PASSED_OVER = 300.0
"""Seconds for which a receiver that did not answer comes after the others that are announced."""

BRIEF = Patience(timeout=5.0, retries=0)
"""For a receiver beside which there is another one."""

_ELSEWHERE = frozenset((Result.SILENT, Result.UNBELIEVABLE, Result.FAILED, Result.NOT_OURS, Result.UNSUPPORTED))
"""Another receiver may do better."""

REMEMBERED = 16
"""So many KEY records of ours are known again in the zone."""

_Said = TypeVar("_Said")


async def _nothing() -> None:
    """What is kept before a message where nobody keeps anything."""


_Place: TypeAlias = tuple[bytes, tuple[Endpoint, ...]]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parent:
    """What the parent offers: a receiver of UPDATEs, or else somebody who takes NOTIFY for CDS and CSYNC.

    `others` are receivers that are announced beside `party`, and are asked where that one does not answer.
    """

    zone: bytes
    discovery: Discovery
    party: UpdateReceiver | None
    found_at: float
    others: tuple[UpdateReceiver, ...] = ()

    def with_first(self, is_passed: Callable[[UpdateReceiver], bool]) -> "Parent":
        """The same with the first receiver as `party` that is not passed over; all the same if each is."""
        if self.party is None or not is_passed(self.party):
            return self
        everyone = (self.party, *self.others)
        first = next((party for party in everyone if not is_passed(party)), self.party)
        return replace(self, party=first, others=tuple(party for party in everyone if party is not first))


def published_keys(state: AgentState | None, keys: Sequence[OwnKey]) -> tuple[OwnKey, ...]:
    """Those of our keys, the oldest first, that belong into the zone: the one that signs, and the other of a roll.

    Raises UnusableKey where the files of one of these are not there: its KEY is not to go from the zone for that.
    """
    if state is None or state.key is None:
        return tuple(keys[-1:])
    current = {state.key}
    if state.roll is not None and state.roll.other is not None and state.roll.stage is not Stage.UNPUBLISH:
        current.add(state.roll.other)
    if away := current.difference(own.fingerprint for own in keys):
        gone = ", ".join(sorted(away))
        raise UnusableKey(f"the files of key {gone} are not there: `child bootstrap` has another key take its place")
    return tuple(own for own in keys if own.fingerprint in current)


class Left(Exception):
    """The receiver is left alone for `seconds` more: other zones have tried and it is silent, or many talk to it."""

    def __init__(self, target: bytes, seconds: float, why: str = "was silent") -> None:
        super().__init__(f"{names.to_text(target)} {why}, and is left alone for {seconds:.0f} s more")
        self.seconds = seconds


@dataclass
class AgentContext:
    """The parts of one zone's agent. `clock` gives seconds since the epoch, `chance` numbers from 0 to 1, and
    `monotonic` seconds that nobody sets."""

    zone: bytes
    settings: ChildSettings
    keys: ChildKeys
    source: Source
    publisher: KeyPublisher
    doors: Backends
    resolver: Resolver
    courtesy: Courtesy
    codepoints: CodePoints
    audit: Callable[[AuditEntry], Awaitable[None]]
    clock: Callable[[], float]
    chance: Callable[[], float]
    monotonic: Callable[[], float] = time.monotonic
    ahead: Callable[[], Awaitable[None]] = field(default_factory=lambda: _nothing, init=False)
    """Awaited before each message to the parent; what it raises keeps the message from going."""
    ahead_of_monotonic: float | None = field(default=None, init=False)
    """Seconds from `monotonic` to the time by which the agent goes, which nobody sets in a step; None: the clock."""
    aside: Callable[[], AbstractAsyncContextManager[None]] = field(default=nullcontext, init=False)
    """Entered while the receiver is waited for: others may work meanwhile."""
    _parent: Parent | None = field(default=None, init=False)
    _passed: dict[_Place, float] = field(default_factory=dict, init=False)
    """Receivers that did not answer lately, and until when others come first."""

    def now(self) -> Now:
        return Now(self.time(), self.chance(), self.settings)

    def time(self) -> float:
        """The time by which the agent goes, in seconds since the epoch. What is signed is signed by `clock`."""
        return self.clock() if self.ahead_of_monotonic is None else self.monotonic() + self.ahead_of_monotonic

    # Whom to talk to

    async def parent(self, state: AgentState) -> Parent:
        """What the parent offers, looked up now and then. Raises NoParty."""
        if self._parent is None or not 0 <= self.clock() - self._parent.found_at < KNOWN_FOR:
            self._parent = await self._find(state)
        return self._parent.with_first(self._is_passed)

    async def _find(self, state: AgentState) -> Parent:
        settings = self.settings.parent
        parent = names.from_text(settings.zone) if settings.zone else None
        searched = await discover(self.resolver, self.zone, codepoints=self.codepoints, parent=parent)
        learned = Learned.of(state, self.codepoints)
        found = await find(self.resolver, searched, settings, learned, codepoints=self.codepoints)
        if not found.parties:
            return Parent(announced_parent(found.discovery, settings), found.discovery, None, self.clock())
        party, *rest = found.parties
        if party.believable(settings) and not party.is_vouched:
            # accept-and-log
            _log.warning("agent.unvouched-receiver", zone=names.to_text(self.zone), reason=party.reason)
        # the others are asked by the same standard: who silences one must not lead to another that nobody vouches for
        others = [each for each in rest if each.believable(settings) and each.is_vouched is party.is_vouched]
        return Parent(party.parent, found.discovery, party, self.clock(), tuple(others))

    def forget_parent(self) -> None:
        """Look the parent's side up again next time."""
        self._parent = None

    def _is_passed(self, party: UpdateReceiver) -> bool:
        return self.monotonic() < self._passed.get(_place(party), 0.0)

    def _has_other(self, party: UpdateReceiver) -> bool:
        """Whether another receiver is announced that has not been passed over, too."""
        parent = self._parent
        everyone = () if parent is None or parent.party is None else (parent.party, *parent.others)
        return any(not self._is_passed(each) for each in everyone if _place(each) != _place(party))

    def _pass_over(self, party: UpdateReceiver) -> bool:
        """Have the others come first for a while; False where there is none that has not been passed over, too."""
        fresh, now = self._has_other(party), self.monotonic()
        # where nobody answers, it begins with the first again
        kept = {place: until for place, until in self._passed.items() if fresh and now < until}
        self._passed = {**kept, _place(party): now + PASSED_OVER}
        return fresh

    async def say(
        self, party: UpdateReceiver, own: OwnKey, talk: Callable[[UpdateClient], Awaitable[tuple[Heard, _Said]]]
    ) -> tuple[Heard, _Said]:
        """Talk to the receiver, unless it is to be left alone. Raises Left.

        One that does not answer comes after the others that are announced, from the next step on.
        """
        # one name may have receivers at several ports
        receiver = " ".join((names.to_text(party.target), *map(str, party.addresses)))
        async with self.aside():
            heard, said = await self._talk(receiver, party, own, talk)
            if heard.result is Result.SILENT:
                self.courtesy.silent(receiver, self.monotonic())
            else:
                self.courtesy.answered(receiver)
        if heard.result in _ELSEWHERE:
            self._pass_over(party)
        if heard.result not in (Result.ACCEPTED, Result.KEY_PENDING, Result.MANUAL, Result.REFUSED):
            self.forget_parent()
        return heard, said

    async def _talk(
        self,
        receiver: str,
        party: UpdateReceiver,
        own: OwnKey,
        talk: Callable[[UpdateClient], Awaitable[tuple[Heard, _Said]]],
    ) -> tuple[Heard, _Said]:
        """Talk to it, with others if need be. Raises Left."""
        try:
            async with self.courtesy.admitted(receiver):
                wait = self.courtesy.delay(receiver, self.monotonic())
                if wait > 0:
                    raise Left(party.target, 0.0 if self._pass_over(party) else wait)
                await self.ahead()
                conversation = UpdateClient(
                    party,
                    own.pair,
                    self.settings.parent,
                    clock=self.clock,
                    codepoints=self.codepoints,
                    patience=BRIEF if self._has_other(party) else USUAL,
                )
                with self.courtesy.talking(receiver, self.monotonic()):
                    return await talk(conversation)
        except Crowded as crowded:
            raise Left(party.target, crowded.seconds, "is talked to by many zones") from None

    # What is published

    async def publish(self, state: AgentState, *keys: OwnKey) -> tuple[AgentState, Publication]:
        """Have these keys of ours published, and no others of ours; what could not be written is in `failed`.

        Raises SourceError, BackendError, UnusableKey, OSError.
        """
        wanted = [own.key for own in keys]
        ever = await asyncio.to_thread(self.keys.ever)
        content = await self.source.content()
        if (stale := why_stale(content, state, self.settings)) is not None:
            # it may name other servers: copies would come and go
            raise SourceError(stale)
        async with self.doors.opened():
            # of those whose files are lost, the state tells
            ours = [*ever, *map(Key.from_text, state.published)]
            former = [names.from_text(owner) for owner in state.copies]
            publication = await self.publisher.apply(wanted, ours, content, former)
        if publication.differing:
            changes = [place.to_json(self.codepoints) for place in publication.differing]
            await self.record("agent.key-published", keys[-1], places=changes)
        known = dict.fromkeys((*state.published, *(key.to_text() for key in wanted)))
        copies = tuple(names.to_text(place.owner) for place in publication.places[1:] if _is_copy(place, state))
        return replace(state, published=tuple(known)[-REMEMBERED:], copies=copies), publication

    async def publish_again(self, state: AgentState) -> tuple[AgentState, tuple[str, ...]]:
        """Have what should be published put back, and at the names of new name servers; what hinders, in sentences."""
        state, hindered, _ = await self.restore(state)
        return state, hindered

    async def restore(self, state: AgentState) -> tuple[AgentState, tuple[str, ...], bool]:
        """As `publish_again`, and whether anything was written, which not all servers may have yet."""
        try:
            keys = published_keys(state, await asyncio.to_thread(self.keys.all))
            if not keys:
                return state, (), False
            state, rival = await self._meet(state, keys)
            if rival is not None and not _is_put_back(state):
                return state, (rival,), False
            state = replace(state, displaced_at=None, replaced=state.replaced or rival is not None)
            state, publication = await self.publish(state, *keys)
        except (BackendError, SourceError) as error:
            return state, (f"whether the KEY is published is not known: {error.reason}",), False
        except (UnusableKey, OSError) as error:
            return state, (f"whether the KEY is published is not known: {error}",), False
        hindered = [f"KEY at {names.to_text(place.owner)}: {place.reason}" for place in publication.failed]
        if publication.places[0] in publication.by_hand:
            lines = publication.places[0].difference.to_text(self.codepoints).splitlines()
            hindered += [f"to be changed by hand: {line}" for line in lines]
        return state, tuple(hindered), bool(publication.differing)

    async def _meet(self, state: AgentState, keys: Sequence[OwnKey]) -> tuple[AgentState, str | None]:
        """Whether somebody else has taken our KEY out of the zone, where it was seen, and put his own there.

        Two agents with one key do that once one of them has rolled it. Raises SourceError, UnusableKey, OSError.
        """
        content = await self.source.content()
        if not {own.key.rdata for own in keys}.isdisjoint(content.key):
            return replace(state, seen_in_zone=state.key), None
        rival = await self._rival(content, keys) if state.key and state.seen_in_zone == state.key else None
        if rival is None or state.displaced_at is not None:
            return state, rival
        _log.warning("agent.key-shared", zone=names.to_text(self.zone), reason=rival)
        return replace(state, displaced_at=self.time()), rival

    async def _rival(self, content: ZoneContent, keys: Sequence[OwnKey]) -> str | None:
        """A sentence where KEY records stand in the zone that are none of ours; `keys` are not there."""
        ours = {key.rdata for key in await asyncio.to_thread(self.keys.ever)}
        foreign = [Key.from_rdata(self.zone, rdata) for rdata in content.key if rdata not in ours]
        if not foreign:
            return None
        tags = ", ".join(str(key.tag) for key in foreign)
        missing = ", ".join(str(key.key.tag) for key in keys)
        return (
            f"somebody else uses this key: KEY {missing} is not at {names.to_text(self.zone)} any more, and KEY {tags}"
            f" stands there, of which there are no files here"
        )

    async def close(self) -> None:
        """Release what the zone is read and written with; never raises."""
        await self.source.close()
        await self.doors.close()

    # What is kept

    async def record(self, event: str, own: OwnKey | None = None, **detail: object) -> None:
        """An event in the log and in the audit trail."""
        tag = None if own is None else own.key.tag
        _log.info(event, zone=names.to_text(self.zone), key=tag, **detail)
        await self.audit(AuditEntry(event, "zonecut", "agent", child=self.zone, key_tag=tag, detail=detail))


def _place(party: UpdateReceiver) -> _Place:
    return party.target, party.addresses


def _is_put_back(state: AgentState) -> bool:
    """Whether our KEY goes back into the zone out of which somebody else took it: once, and if the parent trusts it."""
    if state.displaced_at is None or state.word_at is None or state.replaced:
        return False
    return state.word == state_text(ReceiverState.TRUSTED) and state.word_at > state.displaced_at


def _is_copy(place: Place, state: AgentState) -> bool:
    """Whether a copy of ours stands there, or may still do."""
    if place.writing is Writing.FAILED:
        return names.to_text(place.owner) in state.copies
    return place.writing is Writing.OURS and place.wanted is not None
