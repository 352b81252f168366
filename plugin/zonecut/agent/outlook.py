"""Whether a zone is in sync, told from where its agent was seen last. Pure.

In sync is a zone whose last attempt found it so, not long ago, with a key that is there. An agent that fails, or that
nobody has heard of for a while, is no reason to say so: it is what was true then.
"""

from dataclasses import dataclass
from enum import StrEnum

from zonecut.agent.settings import ChildSettings
from zonecut.agent.state import AgentState, Phase

KEY_AWAY = (
    "put the key's two files back; if they are lost for good: `zonecut child keygen --new`, then `child bootstrap`"
)
"""What is to be done where the key that signs cannot be used: that it is away is no word that it is done with."""
CHECKS = 2
"""So many periods `check` without success, and what was found before does not count any more."""
AHEAD = 60.0
"""Seconds that a success may be dated ahead: further, and the clock was set back since."""


class Doubt(StrEnum):
    """Why a zone that was found in sync is not said to be."""

    FAILING = "failing"
    """The last attempt failed, at reading the zone, at the parent, at the key or at its roll, or could not be kept."""
    STALE = "stale"
    """There was no success for `CHECKS` periods: no agent runs, or it does not get that far."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """How a zone does: its phase or, in place of `in-sync`, the doubt; why, and what the operator can do."""

    word: Phase | Doubt
    reason: str
    advice: str = ""

    @property
    def in_sync(self) -> bool:
        return self.word == Phase.IN_SYNC

    @property
    def is_doubtful(self) -> bool:
        """Whether the zone is in sync is not known."""
        return isinstance(self.word, Doubt)


def word_of(state: AgentState) -> Phase | Doubt:
    """How the zone does at the moment in which this state was come to."""
    return Doubt.FAILING if state.phase is Phase.IN_SYNC and state.attempts else state.phase


def outlook(
    state: AgentState,
    settings: ChildSettings,
    now: float,
    key_trouble: str | None = None,
    store_trouble: str | None = None,
) -> Outlook:
    """How the zone does at `now`, in seconds since the epoch.

    `key_trouble` says why the key that signs cannot be used, `store_trouble` why no agent can keep what it finds, where
    somebody has looked.
    """
    if state.phase is not Phase.IN_SYNC:
        return Outlook(state.phase, state.reason, state.advice)
    if key_trouble is not None:
        return Outlook(Doubt.FAILING, key_trouble, KEY_AWAY)
    if store_trouble is not None:
        reason = f"nothing is sent or noted, since the store cannot be written: {store_trouble}"
        return Outlook(Doubt.FAILING, reason, "have it written again: what was in sync before may have changed since")
    if word_of(state) is Doubt.FAILING:
        return Outlook(Doubt.FAILING, state.reason, state.advice)
    if (told := _told_long_ago(state, settings, now)) is not None:
        return Outlook(Doubt.STALE, told, "see that `zonecut serve` runs; `zonecut child sync` looks once")
    return Outlook(state.phase, state.reason, state.advice)


def _told_long_ago(state: AgentState, settings: ChildSettings, now: float) -> str | None:
    if state.synced_at is None:
        return "it was never found in sync"
    age = now - state.synced_at
    if age < -AHEAD:
        return f"it was found in sync {-age:.0f} s from now: the clock was set back since"
    if age > CHECKS * settings.check:
        return f"it was found in sync {age:.0f} s ago, and is looked at every {settings.check:g} s (`check`)"
    return None
