"""What follows from what: each function takes where an agent stands and what it has found out, and gives where it
stands then. Pure: the time comes as `now`, in seconds since the epoch, and chance as a number from 0 to 1.

    no-key -> key-published -> asking -> bootstrapping -> trusted -> in-sync <-> out-of-sync
                                  ^------------------- the receiver has forgotten the key ---'
    any -> held -> what it was      (by a person, by a change of the zone, or when it is tried again)
"""

from dataclasses import replace

from zonecut.agent.exchange.result import Result
from zonecut.agent.pace.allowance import CHANGES
from zonecut.agent.pacing import (
    Heard,
    Milestone,
    Now,
    at,
    clock_set,
    failed,
    hold,
    move,
    paced,
    put_off,
    reached,
    refused,
    shifted,
    talked,
    well,
)
from zonecut.agent.state import AgentState, Phase
from zonecut.protocol.codepoints import ReceiverState
from zonecut.protocol.keystate import state_text

__all__ = ["Heard", "Now", "clock_set", "failed", "hold", "move", "paced", "shifted", "well"]

PATIENCE = 3
"""So many accepted changes in a row that are not published, and a person is asked."""
FIRST_LOOK = 0.25
"""Seconds after an accepted change until the parent's servers are looked at; doubled until `LAST_LOOK`."""
LAST_LOOK = 30.0
DISAGREE_FOR = 3600.0
"""Seconds for which the parent's servers may disagree before a change is sent all the same."""

_PASSING = (Result.SILENT, Result.UNBELIEVABLE, Result.FAILED, Result.RATE_LIMITED)
"""What says nothing about the key or the change: tried again for ever."""
_PUBLISH_AND_ASK_ON = "the receiver takes no uploads and looks the KEY up itself: see that it is published"


def begin(now: Now) -> AgentState:
    """Where a zone stands that no agent has looked after before."""
    return AgentState(Phase.NO_KEY, now.time, "begins", next_at=now.time)


def key_lost(state: AgentState, reason: str, now: Now) -> AgentState:
    """There is no private key any more: a new one, and the whole ceremony."""
    fresh = replace(state, key=None, uploaded=False, roll=None, doubted=False, word=None, word_at=None)
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
    return talked(_after_word(replace(state, doubted=False), word, text, heard, now), now)


def _after_word(state: AgentState, word: int | None, text: str, heard: Heard, now: Now) -> AgentState:
    if word is None:
        return _no_word(state, heard, now)
    said = f"the parent says {state_text(word)}" + (f": {text}" if text else "")
    known = replace(state, word=state_text(word), word_at=now.time)
    match word:
        case ReceiverState.UNKNOWN:
            return _unknown(known, said, now)
        case ReceiverState.TRUSTED:
            trusted = reached(replace(known, uploaded=True), Milestone.TRUSTED)
            if state.does in (Phase.IN_SYNC, Phase.OUT_OF_SYNC):
                return trusted
            return move(trusted, Phase.TRUSTED, said, now)
        case ReceiverState.BOOTSTRAP_AUTO:
            return _waiting(known, said, "", now)
        case ReceiverState.BOOTSTRAP_MANUAL:
            return _waiting(known, said, _tell(state), now)
        case ReceiverState.VALIDATION_FAILED:
            again = replace(known, uploaded=False)
            return failed(at(again, Phase.BOOTSTRAPPING, now), said, now, "see that the KEY record is published")
        case ReceiverState.TEMPORARY_FAILURE:
            return failed(known, said, now)
        case ReceiverState.INVALID:
            advice = "the key is broken for the parent: `zonecut child keygen --new`, then `child bootstrap`"
            return hold(known, said, advice, now, resumes=Phase.ASKING, soon=True)
        case ReceiverState.REFUSED:
            return hold(known, said, "the parent's operator has to say why", now, resumes=Phase.ASKING, soon=True)
        case _:
            # it does not understand the question: find out by sending
            return _no_keystate(known, said, now)


def _unknown(state: AgentState, said: str, now: Now) -> AgentState:
    """The key is uploaded once more; ever more seldom where it was, and not for ever where an operator has it.

    That is what becomes of a key that another one of this child has superseded.
    """
    missing = replace(state, uploaded=False)
    if state.does is Phase.BOOTSTRAPPING and (state.phase is Phase.HELD or not state.uploaded):
        # why it could not be uploaded is still what is to be known
        return missing
    if not state.uploaded or state.does is not Phase.BOOTSTRAPPING:
        return move(missing, Phase.BOOTSTRAPPING, said, now)
    reason = f"{said}, though it was uploaded"
    if state.refused_since is None or now.time - state.refused_since < now.settings.patience:
        return failed(missing, reason, now, state.advice)
    return hold(missing, reason, _another_key(), now)


def _another_key() -> str:
    return "another key may have taken its place: `zonecut child keygen --new`, then `child bootstrap`"


def _no_word(state: AgentState, heard: Heard, now: Now) -> AgentState:
    match heard.result:
        case Result.KEY_UNKNOWN:
            if state.does is Phase.BOOTSTRAPPING and state.uploaded:
                return failed(replace(state, uploaded=False), heard.reason, now)
            return move(replace(state, uploaded=False), Phase.BOOTSTRAPPING, heard.reason, now)
        case Result.ACCEPTED | Result.MALFORMED | Result.UNSUPPORTED | Result.REFUSED:
            return _no_keystate(state, f"the receiver tells no KeyState: {heard.reason}", now)
        case _:
            return failed(state, heard.reason, now)


def _no_keystate(state: AgentState, reason: str, now: Now) -> AgentState:
    """A receiver without KeyState: upload the key, then see whether a change is accepted."""
    if not state.uploaded:
        return move(state, Phase.BOOTSTRAPPING, reason, now)
    if state.does in (Phase.ASKING, Phase.BOOTSTRAPPING):
        return move(state, Phase.TRUSTED, f"{reason}; a change will tell", now)
    return state


def _waiting(state: AgentState, reason: str, advice: str, now: Now) -> AgentState:
    return failed(at(replace(state, uploaded=True), Phase.BOOTSTRAPPING, now), reason, now, advice)


def _tell(state: AgentState) -> str:
    return f"tell the parent's operator the key's fingerprint: {state.key}"


# What the receiver says to the key's upload


def after_upload(state: AgentState, heard: Heard, now: Now) -> AgentState:
    """The bootstrap was sent, in both its forms where the first was refused."""
    return talked(_after_upload(state, heard, now), now)


def _after_upload(state: AgentState, heard: Heard, now: Now) -> AgentState:
    match heard.result:
        case Result.ACCEPTED | Result.KEY_PENDING:
            return _uploaded(state, "the receiver has the key", "", now)
        case Result.LOOKED_UP:
            return _uploaded(state, heard.reason, _PUBLISH_AND_ASK_ON, now)
        case Result.MANUAL:
            since = now.time if state.refused_since is None else state.refused_since
            return _waiting(replace(state, refused_since=since), heard.reason, _tell(state), now)
        case Result.NOT_OFFERED:
            return _not_offered(state, heard, now)
        case result if result in _PASSING:
            return failed(state, heard.reason, now)
        case _:
            return refused(state, heard, "the receiver does not take the key: ask the parent's operator", now)


def _uploaded(state: AgentState, reason: str, advice: str, now: Now) -> AgentState:
    taken = reached(replace(state, uploaded=True), Milestone.UPLOADED)
    moved = replace(move(taken, Phase.BOOTSTRAPPING, reason, now), advice=advice)
    return replace(moved, next_at=now.later(max(moved.attempts, 1)))


def _not_offered(state: AgentState, heard: Heard, now: Now) -> AgentState:
    advice = "the parent takes no changes of this delegation by UPDATE: ask its operator"
    return hold(state, heard.reason, advice, now)


# The delegation


def in_sync(state: AgentState, digest: str, last: str, now: Now) -> AgentState:
    """All of the parent's servers publish what the child says."""
    took = state.took if state.differs_since is None else now.time - state.differs_since
    reason = "the parent publishes what the child says"
    if state.differs_since is not None:
        reason += f", {took:.1f} s after they were seen to differ"
    fresh = replace(
        well(state),
        synced_at=now.time,
        took=took,
        differs_since=None,
        checked_at=now.time,
        settled=digest,
        last=last,
        sent=None,
        doubted=False,
        rebootstrapped=state.rebootstrapped and state.sent is None,
    )
    next_at = now.next_look() if state.roll is None else min(now.next_look(), max(now.time, state.roll.next_at))
    if state.phase is Phase.IN_SYNC and state.differs_since is None:
        if state.roll is not None:
            # whatever hinders the roll still does
            hindered = state.roll.attempts
            return replace(fresh, reason=state.reason, advice=state.advice, next_at=next_at, attempts=hindered)
        told = reason if state.attempts else state.reason
        return replace(fresh, reason=told, advice="", next_at=next_at)
    return replace(move(fresh, Phase.IN_SYNC, reason, now), next_at=next_at)


def differs(state: AgentState, digest: str, summary: str, now: Now) -> AgentState:
    """They differ. Send now, unless this very delegation was accepted and the parent still has time to publish it, or
    the receiver was talked to too much already."""
    since = now.time if state.differs_since is None else state.differs_since
    seen = replace(state, differs_since=since, checked_at=now.time)
    if state.sent != digest:
        unheeded = state.unheeded if state.accepted == digest else 0
        fresh = replace(seen, sent=None, unheeded=unheeded)
        due = fresh if state.phase is Phase.OUT_OF_SYNC else move(fresh, Phase.OUT_OF_SYNC, summary, now)
        return due if now.time >= state.quiet_until else replace(due, next_at=state.quiet_until)
    waited = max(now.time - state.sent_at, 0.0)
    # what nobody vouches for may not have been an answer of the receiver's: soon once more, then ever more seldom
    soon = now.later(state.attempts + 2) - now.time
    if waited < (now.settings.confirm if state.vouched else min(soon, now.settings.confirm)):
        pause_ = min(max(waited, FIRST_LOOK), LAST_LOOK)
        reason = f"{_word(state)}, not published yet: {summary}"
        return replace(move(seen, Phase.OUT_OF_SYNC, reason, now), next_at=now.time + pause_)
    return _unheeded(seen, f"{_word(state)} {waited:.0f} s ago and still not published: {summary}", now)


def _word(state: AgentState) -> str:
    """What became of the change that was sent last."""
    return "accepted" if state.vouched else "sent"


def _unheeded(state: AgentState, reason: str, now: Now) -> AgentState:
    again = replace(state, sent=None, unheeded=state.unheeded + 1)
    advice = (
        "the receiver answers NOERROR and the parent's servers do not follow: ask the parent's operator"
        if state.vouched
        else "the receiver answers without a signature that counts, and the parent's servers do not follow: ask the"
        " parent's operator"
    )
    since = now.time if state.differs_since is None else state.differs_since
    is_early = not state.vouched and now.time - since < PATIENCE * now.settings.confirm
    if again.unheeded < PATIENCE or is_early:
        return failed(at(again, Phase.OUT_OF_SYNC, now), reason, now, advice)
    return hold(again, f"{reason} ({again.unheeded} times)", advice, now, resumes=Phase.OUT_OF_SYNC)


def waits_for_agreement(state: AgentState, now: Now) -> bool:
    """Whether servers of the parent that disagree may come to agree still: no one of them is what the parent holds."""
    since = state.disagreement
    return since is None or now.time - since.since < DISAGREE_FOR


def disagree(state: AgentState, reason: str, now: Now) -> AgentState:
    """The parent's servers show different things: a change is sent once they agree, or after `DISAGREE_FOR`."""
    waited = 0.0 if state.differs_since is None else now.time - state.differs_since
    waits = move(state, Phase.OUT_OF_SYNC, f"waits until they agree, for an hour at most: {reason}", now)
    return replace(waits, next_at=now.time + min(max(waited, FIRST_LOOK), LAST_LOOK))


def awaits_proof(state: AgentState, reason: str, at: float | None, now: Now) -> AgentState:
    """The child's servers do not show yet what a change needs: looked at again at `at`, or else ever more seldom."""
    waited = 0.0 if state.differs_since is None else now.time - state.differs_since
    settings = now.settings
    waits = replace(state, differs_since=state.differs_since or now.time, checked_at=now.time)
    pause_ = min(max(waited / 4, settings.looks.again), max(settings.retry_longest, settings.looks.again))
    return replace(move(waits, Phase.OUT_OF_SYNC, reason, now), next_at=at or now.time + pause_)


def after_update(state: AgentState, digest: str, heard: Heard, now: Now) -> AgentState:
    """The change was sent; `digest` is of the delegation as it shall become."""
    return talked(_after_update(state, digest, heard, now), now)


def _after_update(state: AgentState, digest: str, heard: Heard, now: Now) -> AgentState:
    match heard.result:
        case Result.ACCEPTED:
            return _accepted(reached(state, Milestone.ACCEPTED), digest, "the receiver accepted the change", now)
        case Result.UNBELIEVABLE if heard.unvouched is Result.ACCEPTED:
            # it decides nothing: what the parent publishes will
            said = f"whether it was taken will show at the parent's servers: {heard.reason}"
            return _accepted(state, digest, said, now, vouched=False)
        case Result.UNBELIEVABLE if heard.unvouched is not None:
            advice = "nobody vouches for this answer: what the receiver makes of the key is asked"
            return failed(replace(state, doubted=True), heard.reason, now, advice)
        case Result.KEY_UNKNOWN:
            return forgotten(state, heard.reason, now)
        case Result.KEY_PENDING:
            return _waiting(state, heard.reason, "", now)
        case Result.MANUAL:
            return _waiting(state, heard.reason, _tell(state), now)
        case Result.NOT_OFFERED:
            return _not_offered(state, heard, now)
        case Result.KEY_FAILED:
            again = replace(state, uploaded=False)
            return failed(at(again, Phase.BOOTSTRAPPING, now), heard.reason, now, "see that the KEY is published")
        case Result.BAD_SIGNATURE:
            return refused(state, heard, "the receiver cannot verify what our key signs: ask its operator", now)
        case Result.BAD_TIME if heard.not_before is not None:
            return _stale(state, heard, heard.not_before, now)
        case Result.BAD_TIME:
            return refused(state, heard, "compare the clocks of both sides", now)
        case Result.REFUSED | Result.NOT_OURS | Result.MALFORMED | Result.UNSUPPORTED:
            advice = "mend what the reason names in the child zone, or ask the parent's operator"
            return refused(state, heard, advice, now)
        case _:
            return failed(state, heard.reason, now)


def _accepted(state: AgentState, digest: str, reason: str, now: Now, *, vouched: bool = True) -> AgentState:
    unheeded = state.unheeded if state.accepted == digest else 0
    accepted = replace(state, sent=digest, sent_at=now.time, accepted=digest, unheeded=unheeded, vouched=vouched)
    return replace(move(accepted, Phase.OUT_OF_SYNC, reason, now), next_at=now.time + FIRST_LOOK)


def _stale(state: AgentState, heard: Heard, not_before: float, now: Now) -> AgentState:
    """Something newer was accepted: as soon as what is signed is newer than that, it is sent again."""
    again = failed(state, heard.reason, now, "it is sent again when its signature is newer than what was accepted")
    if again.phase is Phase.HELD:
        return again
    until = min(max(not_before, now.time + now.settings.retry_first), now.later(32))
    return replace(again, next_at=until)


def forgotten(state: AgentState, reason: str, now: Now) -> AgentState:
    """The receiver does not know the key that it trusted: bootstrap once more, and only once."""
    if state.rebootstrapped:
        advice = "the receiver forgot the key again after a bootstrap: ask its operator, then `zonecut child bootstrap`"
        return hold(state, reason, advice, now, resumes=Phase.ASKING)
    again = replace(state, rebootstrapped=True, uploaded=False)
    return move(again, Phase.BOOTSTRAPPING, f"{reason}; the key is uploaded once more", now)


def noticed(state: AgentState, now: Now) -> AgentState:
    """The child zone has changed: whatever was wrong may be right now, unless it changes all the time."""
    if state.does not in (Phase.TRUSTED, Phase.IN_SYNC, Phase.OUT_OF_SYNC):
        return state
    if (wait := CHANGES.wait(state.stirred_until, now.time, now.settings)) > 0:
        until = min(state.next_at, now.time + wait)
        return put_off(state, until, "the zone has changed very often within the last hour", now)
    phase = Phase.OUT_OF_SYNC if state.phase is Phase.HELD else state.phase
    fresh = replace(
        state, phase=phase, resumes=None, advice="", refused_since=None, attempts=0, talks=0, quiet_until=0.0
    )
    return replace(_stirred(fresh, now), checked_at=0.0)


def readable(state: AgentState, now: Now) -> AgentState:
    """The child zone can be read again, which was what the last failure was about: it is tried at once.

    A zone that can be read now and then has not changed: all other pauses stay.
    """
    if state.attempts == 0 or CHANGES.wait(state.stirred_until, now.time, now.settings) > 0:
        return state
    return _stirred(state, now)


def _stirred(state: AgentState, now: Now) -> AgentState:
    return replace(state, next_at=now.time, stirred_until=CHANGES.taken(state.stirred_until, now.time, now.settings))


# Two agents with one key


def displaced(state: AgentState, reason: str, now: Now) -> AgentState:
    """Somebody else's KEY stands in the place of ours, and the parent does not know ours: whoever did that has the
    parent's trust, so nothing is put back or uploaded against him."""
    advice = (
        "somebody else uses this key, and has rolled it: stop one of the two agents, or give this one a key of its own:"
        " `zonecut child keygen --new`, then `child bootstrap`, which also takes up the present one again"
    )
    return hold(state, reason, advice, now, resumes=Phase.BOOTSTRAPPING)
