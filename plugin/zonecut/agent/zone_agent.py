"""One child zone's agent: takes one step after the other, keeps in the store where it stands, and watches its zone."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from zonecut.agent import damage, defects, pacing, transitions
from zonecut.agent.context import AgentContext, Left
from zonecut.agent.defects import defect
from zonecut.agent.outlook import word_of
from zonecut.agent.pace.backoff import pause
from zonecut.agent.pace.slots import Slot, Slots
from zonecut.agent.parent.receiver import NoReceiver
from zonecut.agent.state import AgentState, DamagedState, Phase
from zonecut.agent.stepping import act
from zonecut.agent.zone.source import SourceError
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.plugin import BackendError
from zonecut.protocol import names
from zonecut.protocol.keys import UnusableKey
from zonecut.store import AgentTable, StoreConflict, StoredAgent, StoreError

TOLD_PAUSE = 0.5
"""Seconds between two looks at the zone however often somebody says that it has changed: anybody can say so."""
STORE_PAUSE, STORE_LONGEST = 5.0, 60.0
"""Seconds until the next try when the store does not work; they double. A try is a write: nothing is sent before."""
CLOCK_SET = 5.0
"""Seconds by which the clock has to jump for that to count as having been set."""
_KEEPING = frozenset((Phase.TRUSTED, Phase.IN_SYNC, Phase.OUT_OF_SYNC))

_log = structlog.get_logger(__name__)


class ZoneAgent:
    """The agent of one zone. `slots` bounds how many zones are worked on at the same time."""

    def __init__(self, place: AgentContext, table: AgentTable, slots: Slots) -> None:
        self.place = place
        self._table = table
        self._slot = Slot(slots)
        self._stored: StoredAgent | None = None
        self._poke = asyncio.Event()
        self._told = False
        self._poll_at = 0.0
        self._looked_at = 0.0
        self._mark: object = None
        self._seen: ZoneContent | None = None
        self._has_news = False
        self._cannot_read = False
        self._begun: AgentState | None = None
        self._lost = 0
        self._rests_until = 0.0
        self.trouble: str | None = None
        """Why what this agent finds out cannot be kept, while that is so."""
        place.ahead, place.aside = self._keep_ahead, self._slot.aside
        self._offset, self._ahead = self._clocks_apart(), 0.0
        self._steady = self._go_by(self._offset)

    @property
    def zone(self) -> bytes:
        return self.place.zone

    @property
    def version(self) -> int:
        """Of what this agent knows to be in the store."""
        return 0 if self._stored is None else self._stored.version

    @property
    def known(self) -> AgentState | None:
        """Where the zone stood when it was last read or kept; None while that is not known."""
        return None if self._stored is None else AgentState.from_json(self._stored.document)

    def changed(self) -> None:
        """Somebody says that the zone has changed (NOTIFY)."""
        self._told = True
        self._poke.set()

    def reload(self) -> None:
        """A command has written another state into the store."""
        self._stored = None
        self._poke.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            if (wait := await self.turn()) > 0:
                await self._sleep(wait)

    async def turn(self) -> float:
        """Do what is due now, if anything is; seconds until the next turn, unless somebody says something before."""
        if (rest := self._rests_until - self.place.monotonic()) > 0:
            return rest
        try:
            state = await self.load()
            if self.trouble is not None:
                # before anything is looked at or said, it must be known that the outcome can be kept
                state, self.trouble = await self.save(state), None
            wait = self._wait(state)
            if wait > 0:
                return wait
            async with self._slot.held(is_troubled=pacing.is_troubled(state)):
                await self._work(state)
        except StoreConflict:
            # a command was faster, or another daemon always is: go on from where it has come to
            self._forget(self._lost)
        except StoreError as error:
            _log.error("agent.store", zone=names.to_text(self.zone), reason=str(error))
            self.trouble = error.reason
            self._forget(self._lost + 1)
        return 0.0

    def _forget(self, times: int) -> None:
        """What was found out is not in the store: look at it, and at the zone, again; later each time."""
        self._stored = self._mark = None
        self._told = True
        self._lost += 1
        rest = pause(times, STORE_PAUSE, STORE_LONGEST, self.place.chance()) if times else 0.0
        self._rests_until = self.place.monotonic() + rest

    def look_at_clock(self) -> None:
        """Go on at once with what was in vain, if the clock was set meanwhile."""
        if abs(self._clocks_apart() - self._offset) >= CLOCK_SET:
            self._poke.set()

    async def close(self) -> None:
        """Release what the zone is read and written with."""
        await self.place.close()

    async def load(self) -> AgentState:
        """Where the zone stands. Raises StoreUnavailable."""
        if self._stored is None:
            self._stored = await self._table.get(self.zone)
            self._offset, self._ahead = self._clocks_apart(), 0.0
            self._steady = self._go_by(self._offset)
            if self._stored is not None:
                # what was written down later than now was written by a clock that was ahead
                written = damage.read(self._stored.document).decided_at
                self._ahead = max(written - self.place.clock(), 0.0)
        self._steady = self._go_by(self._clocks_apart())
        if self._stored is None:
            return transitions.begin(self.place.now())
        state = AgentState.from_json(self._stored.document)
        jumped = self._steady - self._offset
        if abs(jumped) < CLOCK_SET:
            return transitions.shifted(state, -self._ahead)
        return transitions.clock_set(transitions.shifted(state, jumped - self._ahead), self.place.now())

    async def load_what_is_left(self) -> AgentState:
        """As `load`; what is kept and damaged is left out. Raises StoreUnavailable."""
        try:
            return await self.load()
        except DamagedState:
            assert self._stored is not None
            return damage.salvage(self._stored.document, transitions.begin(self.place.now()))

    async def save(self, state: AgentState) -> AgentState:
        """Keep where the zone stands now; the state as it was written down, to go on with.

        Raises StoreConflict when another process has kept something else.
        """
        jumped = self._clocks_apart() - self._steady
        state = await self._write(state if abs(jumped) < CLOCK_SET else transitions.clock_set(state, self.place.now()))
        self._steady = self._go_by(self._offset)
        return state

    async def _write(self, state: AgentState) -> AgentState:
        """Keep the state: what the clock was set by since it was loaded, it moves along. Raises as `save`."""
        apart = self._clocks_apart()
        if abs(jumped := apart - self._steady) >= CLOCK_SET:
            state = transitions.shifted(state, jumped)
        state = replace(state, decided_at=self.place.monotonic() + apart)
        stored = StoredAgent(self.zone, self.version, word_of(state).value, state.to_json(), 0.0)
        self._stored = await self._table.put(stored)
        self._offset, self._ahead = apart, 0.0
        return state

    def _go_by(self, apart: float) -> float:
        """From now on the agent's time, and its context's, is so far from the clock that nobody sets."""
        self.place.ahead_of_monotonic = apart
        return apart

    def _time(self) -> float:
        """The agent's time: from where it is loaded to where it is kept, a state is of one clock."""
        return self.place.monotonic() + self._steady

    def _clocks_apart(self) -> float:
        """Seconds between the clock and the one that nobody sets: another number once it was set."""
        return self.place.clock() - self.place.monotonic()

    async def step(self, state: AgentState) -> AgentState:
        """Take the step that is due, and keep where that leads. Raises StoreConflict, StoreUnavailable."""
        self._begun = state
        after = pacing.talks_too_much(state, self.place.now()) or await self._step(state)
        after = replace(after, spent_until=self._begun.spent_until)
        if after != state or self._stored is None or state != AgentState.from_json(self._stored.document):
            after = await self.save(after)
            _tell(self.zone, state, after)
        self._has_news, self._lost = False, 0
        return after

    async def _keep_ahead(self) -> None:
        """Keep that a message is about to go. Raises StoreConflict, StoreUnavailable, and then it does not."""
        now = self.place.now()
        begun = self._begun if self._begun is not None else await self.load()
        self._begun = pacing.spent(begun, now)
        await self._write(pacing.begun(self._begun, now))

    def _wait(self, state: AgentState) -> float:
        """Seconds until there is something to do."""
        now = self.place.monotonic()
        wait = state.next_at - self._time()
        # nothing is ever put off for longer
        wait = wait if wait <= 2 * self._longest else 0.0
        if state.phase in _KEEPING or state.phase is Phase.HELD:
            wait = min(wait, self._poll_at - now)
        if self._told:
            wait = min(wait, self._looked_at + TOLD_PAUSE - now)
        return min(wait, self.place.settings.poll)

    @property
    def _longest(self) -> float:
        settings = self.place.settings
        return max(settings.check, settings.retry_longest, settings.key.roll_wait)

    async def _sleep(self, seconds: float) -> None:
        self._poke.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._poke.wait()
        except TimeoutError:
            return

    async def _work(self, state: AgentState) -> None:
        """Look whether the zone has changed, if it is time to, and take the step that is due then."""
        now = self.place.monotonic()
        told = self._told and now >= self._looked_at + TOLD_PAUSE
        if told or now >= self._poll_at:
            self._told, self._looked_at = False, now
            # hundreds of zones that begin together are not to be looked at together for ever
            self._poll_at = now + self.place.settings.poll * (0.75 + self.place.chance() / 2)
            try:
                if await self._has_changed():
                    # until that is kept, nobody else knows
                    self._has_news = True
                elif self._cannot_read:
                    state = transitions.readable(state, self.place.now())
                self._cannot_read = False
            except SourceError as error:
                # what somebody told us is not forgotten because the server was busy
                self._poll_at = min(self._poll_at, self.place.monotonic() + self.place.settings.retry_first)
                state = await self._unreadable(state, error.reason)
            except Exception as error:
                state = await self._unreadable(state, defect(self.zone, error))
        if self._has_news:
            state = await self._with_news(state)
        if state.next_at <= self._time():
            await self.step(state)

    async def _with_news(self, state: AgentState) -> AgentState:
        """The zone has changed."""
        noticed = transitions.noticed(state, self.place.now())
        if noticed.next_at > self._time() and noticed != state:
            # it is not acted on yet
            noticed = await self.save(noticed)
            _tell(self.zone, state, noticed)
            self._has_news = False
        return noticed

    async def _has_changed(self) -> bool:
        """Whether what of the zone matters is another than at the last look; at the first look, it may be.

        A zone whose other records change all the time has another serial each time, and nothing to be sent. One that
        cannot be read for a while is compared with what it was before. Raises SourceError.
        """
        before, known = self._seen, self._mark
        self._mark = None  # what cannot be read is read whole when it can be again
        mark = await self.place.source.mark()
        is_same = before is not None and mark == known
        seen = before if is_same else replace(await self.place.source.content(), serial=None)
        self._seen, self._mark = seen, mark
        return before is None or seen != before

    async def _unreadable(self, state: AgentState, reason: str) -> AgentState:
        """The zone cannot be looked at: nobody is to take it for in sync meanwhile."""
        _log.warning("agent.unreadable", zone=names.to_text(self.zone), reason=reason)
        if state.phase is not Phase.IN_SYNC or state.attempts:
            return state
        self._cannot_read = True
        failing = transitions.failed(state, _cannot_be_read(reason), self.place.now())
        failing = await self.save(failing)
        _tell(self.zone, state, failing)
        return failing

    async def _step(self, state: AgentState) -> AgentState:
        place = self.place
        try:
            return transitions.paced(state, await act(place, state, is_unreadable=self._cannot_read), place.now())
        except NoReceiver as error:
            place.forget_parent()
            advice = "see `zonecut child discover`; `parent.receiver` names one that is not announced"
            return transitions.failed(state, error.reason, place.now(), advice)
        except Left as left:
            waits = replace(state, next_at=place.time() + left.seconds)
            if not left.seconds or state.phase is not Phase.IN_SYNC or state.attempts:
                return waits
            # nothing was tried here, and whether all is well is not known either
            return replace(waits, attempts=1, reason=str(left))
        except SourceError as error:
            self._cannot_read = True
            return transitions.failed(state, _cannot_be_read(error.reason), place.now())
        except BackendError as error:
            return transitions.failed(state, f"the zone's server: {error.reason}", place.now())
        except (UnusableKey, OSError) as error:
            return transitions.failed(state, str(error), place.now())
        except StoreError:
            raise
        except Exception as error:
            return transitions.failed(state, defect(self.zone, error), place.now(), defects.ADVICE)


def _cannot_be_read(reason: str) -> str:
    return f"the zone cannot be read: {reason}"


def _tell(zone: bytes, before: AgentState, after: AgentState) -> None:
    """A line in the log where the phase changes or something new is the matter."""
    word = word_of(after)
    if word is word_of(before) and after.reason == before.reason:
        return
    troubled = after.attempts > 0 or after.phase is Phase.HELD
    log: Callable[..., None] = _log.warning if troubled else _log.info
    log(
        "agent.state",
        zone=names.to_text(zone),
        phase=word.value,
        reason=after.reason,
        advice=after.advice or None,
        attempts=after.attempts or None,
    )
