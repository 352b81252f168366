"""What follows from what: each function takes where an agent stands and what it has found out, and gives where it
stands then. Pure: the time comes as `now`, in seconds since the epoch, and chance as a number from 0 to 1.

    no-key -> key-published -> asking -> bootstrapping -> trusted -> in-sync <-> out-of-sync
                                  ^------------------- the receiver has forgotten the key ---'
    any -> held -> what it was      (by a person, by a change of the zone, or when it is tried again)
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from zonecut.agent.backoff import pause
from zonecut.agent.meaning import Result
from zonecut.agent.settings import ChildSettings
from zonecut.agent.state import AgentState, Phase, Roll, Stage
from zonecut.protocol.codepoints import ReceiverState
from zonecut.protocol.keystate import state_text

PATIENCE = 3
"""So many refusals in a row, or accepted changes that are not published, and a person is asked."""
FIRST_LOOK = 0.25
"""Seconds after an accepted change until the parent's servers are looked at; doubled until `LAST_LOOK`."""
LAST_LOOK = 30.0
DISAGREE_FOR = 3600.0
"""Seconds for which the parent's servers may disagree before a change is sent all the same."""


@dataclass(frozen=True, slots=True)
class Now:
    """The moment in which something is decided, and the settings by which."""

    time: float
    chance: float
    settings: ChildSettings

    def later(self, attempts: int) -> float:
        settings = self.settings
        return self.time + pause(attempts, settings.retry_first, settings.retry_longest, self.chance)


class Heard(NamedTuple):
    """What came of talking to the receiver: what it means, in a word and in a sentence."""

    result: Result
    reason: str


def begin(now: Now) -> AgentState:
    """Where a zone stands that no agent has looked after before."""
    return AgentState(Phase.NO_KEY, now.time, "begins", next_at=now.time)


def move(state: AgentState, phase: Phase, reason: str, now: Now) -> AgentState:
    """Go to a phase, whose step is taken at once."""
    since = state.since if state.phase is phase else now.time
    return replace(
        state, phase=phase, since=since, reason=reason, advice="", resumes=None, next_at=now.time, attempts=0
    )


def failed(state: AgentState, reason: str, now: Now, advice: str = "") -> AgentState:
    """The step could not be taken: again later, later each time."""
    if state.phase is Phase.HELD:
        return hold(state, reason, advice or state.advice, now)
    attempts = state.attempts + 1
    return replace(state, reason=reason, advice=advice, attempts=attempts, next_at=now.later(attempts))


def hold(state: AgentState, reason: str, advice: str, now: Now, *, resumes: Phase | None = None) -> AgentState:
    """Somebody has to do something. It is tried again as seldom as the parent is checked."""
    since = state.since if state.phase is Phase.HELD else now.time
    return replace(
        state,
        phase=Phase.HELD,
        since=since,
        reason=reason,
        advice=advice,
        resumes=resumes or state.does,
        next_at=_next_look(now),
        attempts=0,
    )


def key_lost(state: AgentState, reason: str, now: Now) -> AgentState:
    """There is no private key any more: a new one, and the whole ceremony."""
    fresh = replace(state, key=None, uploaded=False, roll=None, refusals=0, word=None, word_at=None)
    return move(fresh, Phase.NO_KEY, reason, now)


def has_key(state: AgentState, fingerprint: str, now: Now) -> AgentState:
    """There is a key, and what we can publish of it is published."""
    since = state.key_since if state.key == fingerprint else now.time
    fresh = replace(state, key=fingerprint, key_since=since)
    return move(fresh, Phase.PUBLISHED, "the key is published as far as we can", now)


def visible(state: AgentState, now: Now) -> AgentState:
    """The world sees the key, or nobody needs to."""
    return move(state, Phase.ASKING, "the key is in place", now)


# What the receiver says of the key (draft-berra-dnsop-keystate)


def after_inquiry(state: AgentState, word: int | None, text: str, heard: Heard, now: Now) -> AgentState:
    """The receiver was asked about the key. `word` is its KEY-STATE, if it gave one that can be believed."""
    if word is None:
        return _no_word(state, heard, now)
    said = f"the parent says {state_text(word)}" + (f": {text}" if text else "")
    known = replace(state, word=state_text(word), word_at=now.time, refusals=0)
    if word == ReceiverState.UNKNOWN:
        return _unknown(replace(known, refusals=state.refusals), said, now)
    match word:
        case ReceiverState.TRUSTED:
            trusted = replace(known, uploaded=True)
            if state.does in (Phase.IN_SYNC, Phase.OUT_OF_SYNC):
                return trusted
            return move(trusted, Phase.TRUSTED, said, now)
        case ReceiverState.BOOTSTRAP_AUTO:
            return _waiting(known, said, "", now)
        case ReceiverState.BOOTSTRAP_MANUAL:
            return _waiting(known, said, _tell(state), now)
        case ReceiverState.VALIDATION_FAILED:
            again = replace(known, uploaded=False)
            return failed(_at(again, Phase.BOOTSTRAPPING, now), said, now, "see that the KEY record is published")
        case ReceiverState.TEMPORARY_FAILURE:
            return failed(known, said, now)
        case ReceiverState.INVALID:
            advice = "the key is broken for the parent: `zonecut child keygen --new`, then `child bootstrap`"
            return hold(known, said, advice, now, resumes=Phase.ASKING)
        case ReceiverState.REFUSED:
            return hold(known, said, "the parent's operator has to say why", now, resumes=Phase.ASKING)
        case _:
            # it does not understand the question: find out by sending
            return _no_keystate(known, said, now)


def _unknown(state: AgentState, said: str, now: Now) -> AgentState:
    """The key is uploaded once more; not for ever where its uploads wait for an operator who does not know it.

    That is what becomes of a key that another one of this child has superseded.
    """
    missing = replace(state, uploaded=False)
    if not state.uploaded or state.does is not Phase.BOOTSTRAPPING:
        return move(missing, Phase.BOOTSTRAPPING, said, now)
    reason = f"{said}, though it was uploaded"
    if state.refusals < PATIENCE:
        return failed(missing, reason, now)
    advice = "another key may have taken its place: `zonecut child keygen --new`, then `child bootstrap`"
    return hold(replace(missing, refusals=0), reason, advice, now)


def _no_word(state: AgentState, heard: Heard, now: Now) -> AgentState:
    match heard.result:
        case Result.KEY_UNKNOWN:
            return move(replace(state, uploaded=False), Phase.BOOTSTRAPPING, heard.reason, now)
        case Result.SILENT | Result.UNBELIEVABLE | Result.FAILED | Result.RATE_LIMITED:
            return failed(state, heard.reason, now)
        case Result.ACCEPTED | Result.MALFORMED | Result.UNSUPPORTED | Result.REFUSED:
            return _no_keystate(state, f"the receiver tells no KeyState: {heard.reason}", now)
        case _:
            return failed(state, heard.reason, now)


def _no_keystate(state: AgentState, reason: str, now: Now) -> AgentState:
    """A receiver without KeyState: upload the key, then see whether a change is accepted."""
    if not state.uploaded:
        return move(state, Phase.BOOTSTRAPPING, reason, now)
    if state.does is Phase.BOOTSTRAPPING:
        return move(state, Phase.TRUSTED, f"{reason}; a change will tell", now)
    return state


def _waiting(state: AgentState, reason: str, advice: str, now: Now) -> AgentState:
    return failed(_at(replace(state, uploaded=True), Phase.BOOTSTRAPPING, now), reason, now, advice)


def _at(state: AgentState, phase: Phase, now: Now) -> AgentState:
    """In a phase, with the failures that it has had there."""
    return state if state.phase is phase else move(state, phase, state.reason, now)


def _tell(state: AgentState) -> str:
    return f"tell the parent's operator the key's fingerprint: {state.key}"


# What the receiver says to the key's upload


def after_upload(state: AgentState, heard: Heard, now: Now) -> AgentState:
    """The bootstrap was sent, in both its forms where the first was refused."""
    match heard.result:
        case Result.ACCEPTED | Result.KEY_PENDING:
            taken = replace(state, uploaded=True, refusals=0)
            return replace(move(taken, Phase.BOOTSTRAPPING, "the receiver has the key", now), next_at=now.later(1))
        case Result.MANUAL:
            return _waiting(replace(state, refusals=state.refusals + 1), heard.reason, _tell(state), now)
        case Result.SILENT | Result.UNBELIEVABLE | Result.FAILED | Result.RATE_LIMITED:
            return failed(state, heard.reason, now)
        case _:
            return _refused(state, heard, "the receiver does not take the key: ask the parent's operator", now)


def _refused(state: AgentState, heard: Heard, advice: str, now: Now) -> AgentState:
    """One refusal is no reason to stop, repeated ones are (draft-ietf-dnsop-delegation-mgmt-via-ddns)."""
    refusals = state.refusals + 1
    if refusals < PATIENCE:
        return failed(replace(state, refusals=refusals), heard.reason, now)
    return hold(replace(state, refusals=0), f"{heard.reason} ({refusals} times)", advice, now)


# The delegation


def in_sync(state: AgentState, digest: str, last: str, now: Now) -> AgentState:
    """All of the parent's servers publish what the child says."""
    took = state.took if state.differs_since is None else now.time - state.differs_since
    reason = "the parent publishes what the child says"
    if state.differs_since is not None:
        reason += f", {took:.1f} s after they were seen to differ"
    fresh = replace(
        state,
        synced_at=now.time,
        took=took,
        differs_since=None,
        checked_at=now.time,
        settled=digest,
        last=last,
        sent=None,
        unheeded=0,
        refusals=0,
        rebootstrapped=state.rebootstrapped and state.sent is None,
    )
    next_at = now.time if state.roll is not None else _next_look(now)
    if state.phase is Phase.IN_SYNC and state.differs_since is None:
        if state.roll is not None:
            # whatever hinders the roll still does
            return replace(fresh, next_at=next_at)
        told = reason if state.attempts else state.reason
        return replace(fresh, reason=told, advice="", next_at=next_at, attempts=0)
    return replace(move(fresh, Phase.IN_SYNC, reason, now), next_at=next_at)


def _next_look(now: Now) -> float:
    """When the parent is looked at again though nothing is known to have changed."""
    return now.time + now.settings.check * (0.75 + now.chance / 2)


def differs(state: AgentState, digest: str, summary: str, now: Now) -> AgentState:
    """They differ. Send now, unless this very delegation was accepted and the parent still has time to publish it."""
    since = now.time if state.differs_since is None else state.differs_since
    seen = replace(state, differs_since=since, checked_at=now.time)
    if state.sent != digest:
        fresh = replace(seen, sent=None, unheeded=0)
        return fresh if state.phase is Phase.OUT_OF_SYNC else move(fresh, Phase.OUT_OF_SYNC, summary, now)
    waited = now.time - state.sent_at
    if waited < now.settings.confirm:
        pause_ = min(max(waited, FIRST_LOOK), LAST_LOOK)
        reason = f"accepted, not published yet: {summary}"
        return replace(move(seen, Phase.OUT_OF_SYNC, reason, now), next_at=now.time + pause_)
    unheeded = state.unheeded + 1
    reason = f"accepted {waited:.0f} s ago and still not published: {summary}"
    again = replace(seen, sent=None, unheeded=unheeded)
    if unheeded < PATIENCE:
        return failed(_at(again, Phase.OUT_OF_SYNC, now), reason, now)
    advice = "the receiver answers NOERROR and the parent's servers do not follow: ask the parent's operator"
    return hold(replace(again, unheeded=0), reason, advice, now, resumes=Phase.OUT_OF_SYNC)


def waits_for_agreement(state: AgentState, now: Now) -> bool:
    """Whether servers of the parent that disagree may come to agree still: no one of them is what the parent holds."""
    return state.differs_since is None or now.time - state.differs_since < DISAGREE_FOR


def disagree(state: AgentState, reason: str, now: Now) -> AgentState:
    """The parent's servers show different things: a change is sent once they agree, or after `DISAGREE_FOR`."""
    waited = 0.0 if state.differs_since is None else now.time - state.differs_since
    waits = move(state, Phase.OUT_OF_SYNC, f"waits until they agree, for an hour at most: {reason}", now)
    return replace(waits, next_at=now.time + min(max(waited, FIRST_LOOK), LAST_LOOK))


def after_update(state: AgentState, digest: str, heard: Heard, now: Now) -> AgentState:
    """The change was sent; `digest` is of the delegation as it shall become."""
    match heard.result:
        case Result.ACCEPTED:
            accepted = replace(state, sent=digest, sent_at=now.time, refusals=0)
            moved = move(accepted, Phase.OUT_OF_SYNC, "the receiver accepted the change", now)
            return replace(moved, next_at=now.time + FIRST_LOOK)
        case Result.KEY_UNKNOWN:
            return forgotten(state, heard.reason, now)
        case Result.KEY_PENDING:
            return _waiting(state, heard.reason, "", now)
        case Result.MANUAL:
            return _waiting(state, heard.reason, _tell(state), now)
        case Result.KEY_FAILED:
            again = replace(state, uploaded=False)
            return failed(_at(again, Phase.BOOTSTRAPPING, now), heard.reason, now, "see that the KEY is published")
        case Result.BAD_SIGNATURE:
            return _refused(state, heard, "the receiver cannot verify what our key signs: ask its operator", now)
        case Result.BAD_TIME:
            return _refused(state, heard, "compare the clocks of both sides", now)
        case Result.REFUSED | Result.NOT_OURS | Result.MALFORMED | Result.UNSUPPORTED:
            advice = "mend what the reason names in the child zone, or ask the parent's operator"
            return _refused(state, heard, advice, now)
        case _:
            return failed(state, heard.reason, now)


def forgotten(state: AgentState, reason: str, now: Now) -> AgentState:
    """The receiver does not know the key that it trusted: bootstrap once more, and only once."""
    if state.rebootstrapped:
        advice = "the receiver forgot the key again after a bootstrap: ask its operator, then `zonecut child bootstrap`"
        return hold(state, reason, advice, now, resumes=Phase.ASKING)
    again = replace(state, rebootstrapped=True, uploaded=False)
    return move(again, Phase.BOOTSTRAPPING, f"{reason}; the key is uploaded once more", now)


def noticed(state: AgentState, now: Now) -> AgentState:
    """The child zone has changed: whatever was wrong may be right now."""
    if state.does not in (Phase.TRUSTED, Phase.IN_SYNC, Phase.OUT_OF_SYNC):
        return state
    phase = Phase.OUT_OF_SYNC if state.phase is Phase.HELD else state.phase
    fresh = replace(state, phase=phase, resumes=None, advice="", refusals=0, attempts=0)
    return replace(fresh, next_at=now.time, checked_at=0.0)


# The roll of the key


def begin_roll(state: AgentState, now: Now) -> AgentState:
    """A new key is to take the place of the one that signs; nothing if a roll is under way."""
    return state if state.roll is not None else replace(state, roll=Roll(Stage.PUBLISH, now.time), next_at=now.time)


def advance(state: AgentState, stage: Stage, now: Now, *, other: str | None = None) -> AgentState:
    """The roll has come to its next stage, which is worked on at once."""
    assert state.roll is not None
    roll = Roll(stage, now.time, state.roll.other if other is None else other)
    reason = f"a roll of the key is under way: {stage.value}"
    return replace(state, roll=roll, next_at=now.time, attempts=0, reason=reason, advice="")


def sleep(state: AgentState, until: float, now: Now) -> AgentState:
    """The roll has nothing to do before a point in time; the parent is looked at all the same."""
    look = max(state.checked_at + now.settings.check, now.time)
    return replace(state, next_at=min(until, look), attempts=0)


def change_key(state: AgentState, fingerprint: str, now: Now) -> AgentState:
    """Another key, which the parent trusts, signs from now on."""
    return replace(state, key=fingerprint, key_since=now.time)


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
