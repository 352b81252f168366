"""The roll of a key: from which stage to which, and when. Pure, as `transitions` is."""

from dataclasses import replace

from zonecut.agent.pacing import Now
from zonecut.agent.state import AgentState, Phase, Roll, Stage

_ORDER = tuple(Stage)


def begin_roll(state: AgentState, now: Now) -> AgentState:
    """A new key is to take the place of the one that signs; nothing if a roll is under way."""
    return state if state.roll is not None else replace(state, roll=Roll(Stage.PUBLISH, now.time), next_at=now.time)


def advance(state: AgentState, stage: Stage, now: Now, *, other: str | None = None) -> AgentState:
    """The roll has come to its next stage, which is worked on at once.

    What was in vain before does not count any more, unless it has been at that stage already.
    """
    assert state.roll is not None
    before = state.roll
    furthest = stage if before.furthest is None else max(before.furthest, stage, key=_ORDER.index)
    is_new = furthest is not before.furthest
    roll = replace(
        before,
        stage=stage,
        since=now.time,
        other=before.other if other is None else other,
        attempts=0 if is_new else before.attempts,
        next_at=0.0,
        furthest=furthest,
    )
    reason = f"a roll of the key is under way: {stage.value}"
    return replace(state, roll=roll, next_at=now.time, attempts=0, reason=reason, advice="")


def added(state: AgentState, now: Now, *, vouched: bool) -> AgentState:
    """The new key was sent to the parent; whether it took it is still to be found out, also if it said so."""
    asks = advance(state, Stage.ASK, now)
    assert asks.roll is not None
    return replace(asks, roll=replace(asks.roll, vouched=vouched))


def roll_failed(state: AgentState, reason: str, now: Now, advice: str = "") -> AgentState:
    """A stage of the roll could not be taken: again later, later each time, however often the delegation is right."""
    assert state.roll is not None
    attempts = state.roll.attempts + 1
    roll = replace(state.roll, attempts=attempts, next_at=now.later(attempts))
    return replace(state, roll=roll, reason=reason, advice=advice, attempts=attempts, next_at=roll.next_at)


def sleep(state: AgentState, until: float, now: Now) -> AgentState:
    """The roll has nothing to do before a point in time; the parent is looked at all the same."""
    look = max(state.checked_at + now.settings.check, now.time)
    return replace(state, next_at=min(until, look), attempts=0)


def gives_way(state: AgentState, now: Now, *, is_unreadable: bool) -> bool:
    """Whether the delegation is looked at before the roll goes on: it is time to, or something else than the roll has
    failed. What does is not in sync because the roll waits."""
    if state.roll is None:
        return False
    fails = state.attempts > 0 and (is_unreadable or state.roll.attempts == 0)
    return fails or now.time >= state.checked_at + now.settings.check


def change_key(state: AgentState, fingerprint: str, now: Now) -> AgentState:
    """Another key, which the parent trusts, signs from now on."""
    return replace(state, key=fingerprint, key_since=now.time)


def turn(state: AgentState, now: Now) -> AgentState:
    """The parent trusts the other key of the roll, and not the one that signs: they change places.

    Where the other one is the new one, the one that signed goes; where it was to go, the roll begins anew under it.
    """
    assert state.roll is not None
    assert state.roll.other is not None
    assert state.key is not None
    stage = Stage.ADD if state.roll.stage in (Stage.DELETE, Stage.UNPUBLISH) else Stage.DELETE
    return advance(change_key(state, state.roll.other, now), stage, now, other=state.key)


def end_roll(state: AgentState, reason: str, now: Now) -> AgentState:
    return replace(state, roll=None, reason=reason, next_at=now.time, attempts=0)


def abandon_roll(state: AgentState, now: Now) -> AgentState:
    """The roll is given up: the new key, which does not sign yet, is deleted at the parent if need be and put aside."""
    assert state.roll is not None
    if state.roll.other is None:
        return end_roll(state, "the roll was given up before there was a new key", now)
    was_added = state.roll.stage is not Stage.PUBLISH
    return advance(state, Stage.DELETE if was_added else Stage.UNPUBLISH, now)


def roll_is_due(state: AgentState, now: Now) -> bool:
    """True when the settings want a new key, and nothing more urgent is going on."""
    every = now.settings.key.roll_every
    return (
        every is not None
        and state.roll is None
        and state.phase is Phase.IN_SYNC
        and now.time - state.key_since >= every * 86400
    )
