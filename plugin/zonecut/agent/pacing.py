"""How an agent goes from one phase to another, and how long it waits before: the base of all its transitions. Pure.

Pauses grow with what was in vain since all was last well, whatever phases lie between: going on to another phase
resets nothing. What does is coming somewhere for the first time since then (`Milestone`), a change of the zone, and a
delegation that is right (`well`). How many messages go within an hour is bounded whatever resets the pauses, and so is
how often a change of the zone does (`allowance`).
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from zonecut.agent.exchange.result import Result
from zonecut.agent.pace.allowance import MESSAGES, STEP
from zonecut.agent.pace.backoff import pause
from zonecut.agent.settings import ChildSettings
from zonecut.agent.state import AgentState, Phase

FREELY = 8
"""So many messages go to the receiver since all was well, or a milestone reached, before each one has its pause."""
JUMP = 2.0
"""Seconds by which a clock has to be off at once to have been set."""


@dataclass(frozen=True, slots=True)
class Now:
    """The moment in which something is decided, and the settings by which."""

    time: float
    chance: float
    settings: ChildSettings

    def later(self, attempts: int) -> float:
        settings = self.settings
        return self.time + pause(attempts, settings.retry_first, settings.retry_longest, self.chance)

    def next_look(self) -> float:
        """When the parent is looked at again though nothing is known to have changed."""
        return self.time + self.settings.check * (0.75 + self.chance / 2)


class Heard(NamedTuple):
    """What came of talking to the receiver: what it means, in a word and in a sentence.

    `unvouched` is what an answer would mean that nobody vouches for: with it, `result` is UNBELIEVABLE. `not_before` is
    the time, in seconds since the epoch, before which a message would be stale again.
    """

    result: Result
    reason: str
    unvouched: Result | None = None
    not_before: float | None = None


class Milestone(StrEnum):
    """How far an agent can come before all is well."""

    UPLOADED = "uploaded"
    TRUSTED = "trusted"
    ACCEPTED = "accepted"


def move(state: AgentState, phase: Phase, reason: str, now: Now) -> AgentState:
    """Go to a phase, whose step is taken at once."""
    since = state.since if state.phase is phase else now.time
    return replace(state, phase=phase, since=since, reason=reason, advice="", resumes=None, next_at=now.time)


def failed(state: AgentState, reason: str, now: Now, advice: str = "") -> AgentState:
    """The step could not be taken: again later, later each time."""
    if state.phase is Phase.HELD:
        # whether what held it still does is not known
        return hold(state, reason, advice or state.advice, now, soon=True)
    attempts = state.attempts + 1
    return replace(state, reason=reason, advice=advice, attempts=attempts, next_at=now.later(attempts))


def hold(
    state: AgentState, reason: str, advice: str, now: Now, *, resumes: Phase | None = None, soon: bool = False
) -> AgentState:
    """Somebody has to do something. It is tried again as seldom as the parent is checked.

    With `soon`, what holds it was seen once only, perhaps: it is looked at again after pauses that grow up to that.
    """
    since = state.since if state.phase is Phase.HELD else now.time
    attempts = state.attempts + 1 if soon else state.attempts
    return replace(
        state,
        phase=Phase.HELD,
        since=since,
        reason=reason,
        advice=advice,
        resumes=resumes or state.does,
        attempts=attempts,
        next_at=min(now.next_look(), now.later(attempts)) if soon else now.next_look(),
        quiet_until=0.0,
    )


def at(state: AgentState, phase: Phase, now: Now) -> AgentState:
    """In a phase."""
    return state if state.phase is phase else move(state, phase, state.reason, now)


def refused(state: AgentState, heard: Heard, advice: str, now: Now) -> AgentState:
    """One refusal is no reason to stop, hours of them are (draft-ietf-dnsop-delegation-mgmt-via-ddns).

    What the receiver makes of the key is asked before the next try.
    """
    since = now.time if state.refused_since is None else min(state.refused_since, now.time)
    doubted = replace(state, refused_since=since, doubted=True)
    if now.time - since < now.settings.patience:
        return failed(doubted, heard.reason, now, advice)
    return hold(doubted, f"{heard.reason} (refused since {_time(since)})", advice, now)


def talked(state: AgentState, now: Now) -> AgentState:
    """A message went to the receiver: the more there were, the later the next one."""
    talks = state.talks + 1
    if talks <= FREELY or state.phase is Phase.HELD:
        return replace(state, talks=talks)
    quiet = now.later(talks - FREELY)
    # looks at the parent's servers do not wait: they are no messages to it
    looks = state.phase is Phase.OUT_OF_SYNC and state.sent is not None
    return replace(state, talks=talks, quiet_until=quiet, next_at=state.next_at if looks else max(state.next_at, quiet))


def spent(state: AgentState, now: Now) -> AgentState:
    """A message is about to go to the receiver."""
    return replace(state, spent_until=MESSAGES.taken(state.spent_until, now.time, now.settings))


def begun(state: AgentState, now: Now) -> AgentState:
    """What is kept before a message goes: whoever goes on from there, because the outcome was lost, waits."""
    return replace(state, next_at=now.later(state.attempts + 1))


def talks_too_much(state: AgentState, now: Now) -> AgentState | None:
    """Where it stands when so many messages went within the last hour that the next step has to wait; else None."""
    wait = MESSAGES.wait(state.spent_until, now.time, now.settings, STEP)
    if wait <= 0:
        return None
    return put_off(state, now.time + wait, "the receiver was talked to very often within the last hour", now)


def put_off(state: AgentState, until: float, why: str, now: Now) -> AgentState:
    """What is due waits until then; meanwhile nobody is to take the zone for in sync."""
    note = f"{why}: the next step is due in {until - now.time:.0f} s"
    kept = tuple(each for each in state.notes if not each.startswith(why))
    waits = replace(state, next_at=until, notes=(*kept, note))
    if state.phase is not Phase.IN_SYNC or state.attempts:
        return waits
    return replace(waits, attempts=1, reason=note)


def asked_for(state: AgentState) -> AgentState:
    """A person asks for the next step: nothing of before makes him wait."""
    return replace(well(state), spent_until=0.0, stirred_until=0.0)


def reached(state: AgentState, milestone: Milestone) -> AgentState:
    """It has come that far; for the first time since all was well, what was in vain before does not count."""
    if milestone in state.milestones:
        return state
    milestones = (*state.milestones, milestone.value)
    return replace(state, milestones=milestones, attempts=0, talks=0, quiet_until=0.0)


def well(state: AgentState) -> AgentState:
    """The delegation is right: nothing counts that was in vain before."""
    return replace(
        state,
        attempts=0,
        talks=0,
        quiet_until=0.0,
        milestones=(),
        refused_since=None,
        accepted=None,
        unheeded=0,
    )


def paced(before: AgentState, after: AgentState, now: Now) -> AgentState:
    """A step that leads to itself leaves the next one in the future."""
    if after.next_at > now.time or _place(before) != _place(after):
        return after
    return replace(after, next_at=now.later(max(after.attempts, 1)))


def _place(state: AgentState) -> tuple[object, ...]:
    """Where a state stands, by what its step does."""
    stage = None if state.roll is None else (state.roll.stage, state.roll.other)
    return state.phase, state.resumes, state.uploaded, state.doubted, state.key, stage, state.sent


# The clock


def shifted(state: AgentState, seconds: float) -> AgentState:
    """The same after the clock was set by so many seconds: what is to be waited for stays as far away."""
    return state if abs(seconds) < JUMP else state.shifted(seconds)


def clock_set(state: AgentState, now: Now) -> AgentState:
    """The clock was set: what was in vain because it was wrong is tried at once."""
    if not is_troubled(state):
        return state
    return replace(state, next_at=min(state.next_at, now.time), quiet_until=0.0)


def is_troubled(state: AgentState) -> bool:
    """True while something is in vain, or a person is waited for."""
    return state.phase is Phase.HELD or state.attempts > 0


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
