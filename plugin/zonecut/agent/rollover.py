"""The roll of a child's key: a new one comes to be trusted beside the old one, then signs, then the old one goes.

At no moment is there none that the parent trusts. Each stage can be repeated, so a roll survives a restart anywhere.
"""

import asyncio
from dataclasses import replace

from zonecut.agent import rollover_state, transitions
from zonecut.agent.bootstrap import inquire, key_away, send
from zonecut.agent.context import AgentContext
from zonecut.agent.exchange.result import Result
from zonecut.agent.keys.child_keys import OwnKey
from zonecut.agent.outlook import KEY_AWAY
from zonecut.agent.parent.receiver import UpdateReceiver
from zonecut.agent.state import AgentState, Phase, Stage
from zonecut.agent.transitions import Heard
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import ReceiverState, RRType
from zonecut.protocol.keys import Key
from zonecut.protocol.keystate import state_text

_AWAY = "put the key's two files back, or give the roll up: `zonecut child roll --abandon`"
_ASK = "ask the parent's operator, or give the roll up: `zonecut child roll --abandon`"

_PASSING = (Result.SILENT, Result.UNBELIEVABLE, Result.FAILED, Result.RATE_LIMITED)
_DISTRUSTED = (Result.KEY_UNKNOWN, Result.KEY_PENDING, Result.KEY_FAILED, Result.MANUAL)
"""What a receiver says that does not trust the key which signs."""
_UNSPECIFIC = (Result.REFUSED, Result.BAD_SIGNATURE)
"""Refusals that may have that reason, or another one."""


async def roll(place: AgentContext, state: AgentState, own: OwnKey, party: UpdateReceiver) -> AgentState:
    """Take the next step of the roll that is under way. `own` is the key that signs now."""
    assert state.roll is not None
    if state.roll.other == own.fingerprint:
        return await _overtaken(place, state, own)
    if state.roll.other is None:
        made = await asyncio.to_thread(place.keys.beside, own, place.settings.key.algorithm, place.settings.key.ttl)
        await place.record("agent.roll-begins", own, new=made.fingerprint, file=str(made.file))
        return rollover_state.advance(state, Stage.PUBLISH, place.now(), other=made.fingerprint)
    if state.roll.stage is Stage.DELETE:
        return await _delete(place, state, own, party)
    if state.roll.stage is Stage.UNPUBLISH:
        return await _unpublish(place, state, own)
    new = await asyncio.to_thread(place.keys.find, state.roll.other)
    if new is None and (away := await key_away(place, state.roll.other)) is not None:
        return rollover_state.roll_failed(state, away, place.now(), _AWAY)
    if new is None:
        reason = f"the roll is given up: the new key {state.roll.other} was put aside"
        await place.record("agent.roll-ends", own, reason=reason)
        return rollover_state.end_roll(state, reason, place.now())
    match state.roll.stage:
        case Stage.PUBLISH:
            return await _publish(place, state, [own, new], Stage.ADD)
        case Stage.ADD:
            return await _add(place, state, own, new, party)
        case Stage.ASK:
            return await _ask(place, state, new, party, rollover_state.advance(state, Stage.WAIT, place.now()))
        case _:
            return await _wait(place, state, own, new, party)


async def _overtaken(place: AgentContext, state: AgentState, own: OwnKey) -> AgentState:
    """A bootstrap in between took the new key, which is trusted now: what is left is to take the old one away."""
    others = [each for each in await asyncio.to_thread(place.keys.all) if each.fingerprint != own.fingerprint]
    if others:
        return rollover_state.advance(state, Stage.DELETE, place.now(), other=others[0].fingerprint)
    reason = f"the roll is over: key {own.key.tag} signs already"
    await place.record("agent.roll-ends", own, reason=reason)
    return rollover_state.end_roll(state, reason, place.now())


async def _publish(place: AgentContext, state: AgentState, keys: list[OwnKey], following: Stage) -> AgentState:
    state, publication = await place.publish(state, *keys)
    if publication.failed:
        reason = "; ".join(f"{names.to_text(each.owner)}: {each.reason}" for each in publication.failed)
        return rollover_state.roll_failed(state, reason, place.now(), "see that zonecut may write KEY records there")
    return rollover_state.advance(state, following, place.now())


async def _add(place: AgentContext, state: AgentState, own: OwnKey, new: OwnKey, party: UpdateReceiver) -> AgentState:
    record = message.add(new.key.owner, RRType.KEY, place.settings.key.ttl, new.key.rdata)
    heard = await send(place, own, party, (record,))
    await place.record("agent.roll-add", own, new=new.key.tag, result=heard.result.value, reason=heard.reason)
    if heard.result is Result.ACCEPTED or heard.unvouched is not None:
        # an answer that nobody vouches for decides nothing: what the receiver says of the new key does
        return rollover_state.added(state, place.now(), vouched=heard.unvouched is None)
    return await _failed(place, state, heard, own, new, party)


async def _ask(
    place: AgentContext, state: AgentState, new: OwnKey, party: UpdateReceiver, following: AgentState
) -> AgentState:
    """Go on with `following` if the parent trusts the new key."""
    heard, word, text = await inquire(place, new, party)
    now = place.now()
    if word == ReceiverState.TRUSTED:
        return following
    if word == ReceiverState.UNKNOWN or heard.result is Result.KEY_UNKNOWN:
        again = rollover_state.advance(state, Stage.ADD, now)
        return rollover_state.roll_failed(again, "the parent does not know the new key, though it was sent", now, _ASK)
    if word is not None:
        said = f"the parent says {state_text(word)} of the new key" + (f": {text}" if text else "")
        return rollover_state.roll_failed(state, said, now, _ASK)
    assert state.roll is not None
    tells_none = heard.result in (Result.ACCEPTED, Result.MALFORMED, Result.UNSUPPORTED, Result.REFUSED)
    if tells_none and state.roll.vouched:
        # it tells no KeyState; that it accepted the key under a trusted signature has to do
        return following
    return rollover_state.roll_failed(state, heard.reason, now)


async def _wait(place: AgentContext, state: AgentState, own: OwnKey, new: OwnKey, party: UpdateReceiver) -> AgentState:
    """The parent may have forgotten the new key meanwhile: it is asked again before that one signs."""
    assert state.roll is not None
    now = place.now()
    until = state.roll.since + place.settings.key.roll_wait
    if now.time < until:
        return rollover_state.sleep(state, until, now)
    changed = rollover_state.change_key(state, new.fingerprint, now)
    signs = rollover_state.advance(changed, Stage.DELETE, now, other=own.fingerprint)
    after = await _ask(place, state, new, party, signs)
    if after is signs:
        await place.record("agent.roll-signs", new, old=own.key.tag)
    return after


async def _delete(place: AgentContext, state: AgentState, own: OwnKey, party: UpdateReceiver) -> AgentState:
    """`own` is the new key by now, and `roll.other` names the one that goes."""
    assert state.roll is not None
    assert state.roll.other is not None
    old = await _old(place, state)
    key = _published(state, state.roll.other) if old is None else old.key
    if old is None and (away := await key_away(place, state.roll.other)) is None:
        return rollover_state.advance(state, Stage.UNPUBLISH, place.now())
    if key is None:
        return rollover_state.roll_failed(state, away or "", place.now(), KEY_AWAY)
    record = message.delete_record(key.owner, RRType.KEY, key.rdata)
    heard = await send(place, own, party, (record,))
    await place.record("agent.roll-delete", own, old=key.tag, result=heard.result.value, reason=heard.reason)
    if heard.result is Result.ACCEPTED or (heard.unvouched is not None and await _is_gone(place, old, party)):
        return rollover_state.advance(state, Stage.UNPUBLISH, place.now())
    return await _failed(place, state, heard, own, old, party)


def _published(state: AgentState, fingerprint: str) -> Key | None:
    """The public half of a key of ours whose files are not there."""
    return next((key for key in map(Key.from_text, state.published) if key.fingerprint() == fingerprint), None)


async def _is_gone(place: AgentContext, old: OwnKey | None, party: UpdateReceiver) -> bool:
    """Whether the receiver says, so that it can be believed, that it does not know a key any more."""
    if old is None:
        return False
    _, word, _ = await inquire(place, old, party)
    return word == ReceiverState.UNKNOWN


async def _unpublish(place: AgentContext, state: AgentState, own: OwnKey) -> AgentState:
    old = await _old(place, state)
    if old is not None:
        # retired first: the publisher takes out what is retired
        await asyncio.to_thread(place.keys.retire, old)
    published = await _publish(place, state, [own], Stage.UNPUBLISH)
    assert state.roll is not None
    assert published.roll is not None
    if published.roll.attempts > state.roll.attempts:
        return published
    reason = f"key {own.key.tag} signs now"
    await place.record("agent.roll-ends", own, old=None if old is None else old.key.tag)
    return rollover_state.end_roll(published, reason, place.now())


async def _old(place: AgentContext, state: AgentState) -> OwnKey | None:
    assert state.roll is not None
    assert state.roll.other is not None
    return await asyncio.to_thread(place.keys.find, state.roll.other)


async def without_upload(place: AgentContext, state: AgentState, party: UpdateReceiver) -> AgentState | None:
    """Where the key that signs is to be uploaded in the midst of a roll: go on with the roll's other key instead, if
    the parent trusts that one, which an upload would evict. None if it does not, or there is none."""
    if state.roll is None or state.roll.other in (None, state.key) or (other := await _old(place, state)) is None:
        return None
    asked, word, _ = await inquire(place, other, party)
    if word == ReceiverState.TRUSTED:
        await place.record("agent.roll-turns", other, old=state.key, reason=state.reason)
        reason = f"{state.reason}; the parent trusts key {other.key.tag}, which signs from now on"
        turned = rollover_state.turn(replace(state, uploaded=True, doubted=False), place.now())
        return transitions.move(turned, Phase.TRUSTED, reason, place.now())
    if word is None and asked.result in _PASSING:
        return transitions.failed(state, asked.reason, place.now())
    return None


async def _failed(
    place: AgentContext, state: AgentState, heard: Heard, own: OwnKey, other: OwnKey | None, party: UpdateReceiver
) -> AgentState:
    """`other` is the key of the roll that does not sign: if the parent trusts that one alone, it signs from now on."""
    if other is not None and await _is_distrusted(place, heard, own, party):
        asked, word, _ = await inquire(place, other, party)
        if word == ReceiverState.TRUSTED:
            await place.record("agent.roll-turns", other, old=own.key.tag, reason=heard.reason)
            reason = f"{heard.reason}; the parent trusts key {other.key.tag}, which signs from now on"
            return rollover_state.roll_failed(rollover_state.turn(state, place.now()), reason, place.now())
        if word is None and asked.result in _PASSING:
            return rollover_state.roll_failed(state, heard.reason, place.now(), _ASK)
    now = place.now()
    if heard.result is Result.KEY_UNKNOWN:
        return transitions.forgotten(rollover_state.end_roll(state, heard.reason, now), heard.reason, now)
    return rollover_state.roll_failed(state, heard.reason, now, "" if heard.result in _PASSING else _ASK)


async def _is_distrusted(place: AgentContext, heard: Heard, own: OwnKey, party: UpdateReceiver) -> bool:
    """Whether the parent does not trust the key that signs; it is asked where the refusal alone does not say so."""
    if heard.result in _DISTRUSTED:
        return True
    said = heard.result if heard.unvouched is None else heard.unvouched
    return said in (*_DISTRUSTED, *_UNSPECIFIC) and await _is_gone(place, own, party)
