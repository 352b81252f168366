"""The roll of a child's key: a new one comes to be trusted beside the old one, then signs, then the old one goes.

At no moment is there none that the parent trusts. Each stage can be repeated, so a roll survives a restart anywhere.
"""

import asyncio

from zonecut.agent import machine, rollstate
from zonecut.agent.ceremony import inquire, send
from zonecut.agent.childkeys import OwnKey
from zonecut.agent.machine import Heard
from zonecut.agent.meaning import Result
from zonecut.agent.party import Party
from zonecut.agent.state import AgentState, Stage
from zonecut.agent.workplace import Workplace
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import ReceiverState, RRType
from zonecut.protocol.keystate import state_text

_ASK = "ask the parent's operator, or give the roll up: `zonecut child roll --abandon`"


async def roll(place: Workplace, state: AgentState, own: OwnKey, party: Party) -> AgentState:
    """Take the next step of the roll that is under way. `own` is the key that signs now."""
    assert state.roll is not None
    if state.roll.other == own.fingerprint:
        return await _overtaken(place, state, own)
    if state.roll.other is None:
        made = await asyncio.to_thread(place.keys.beside, own, place.settings.key.algorithm, place.settings.key.ttl)
        await place.record("agent.roll-begins", own, new=made.fingerprint, file=str(made.file))
        return rollstate.advance(state, Stage.PUBLISH, place.now(), other=made.fingerprint)
    if state.roll.stage is Stage.DELETE:
        return await _delete(place, state, own, party)
    if state.roll.stage is Stage.UNPUBLISH:
        return await _unpublish(place, state, own)
    new = await asyncio.to_thread(place.keys.find, state.roll.other)
    if new is None:
        reason = f"the roll is given up: the files of the new key {state.roll.other} are gone"
        await place.record("agent.roll-ends", own, reason=reason)
        return rollstate.end_roll(state, reason, place.now())
    match state.roll.stage:
        case Stage.PUBLISH:
            return await _publish(place, state, [own, new], Stage.ADD)
        case Stage.ADD:
            return await _add(place, state, own, new, party)
        case Stage.ASK:
            return await _ask(place, state, new, party)
        case _:
            return await _wait(place, state, own, new)


async def _overtaken(place: Workplace, state: AgentState, own: OwnKey) -> AgentState:
    """A bootstrap in between took the new key, which is trusted now: what is left is to take the old one away."""
    others = [each for each in await asyncio.to_thread(place.keys.all) if each.fingerprint != own.fingerprint]
    if others:
        return rollstate.advance(state, Stage.DELETE, place.now(), other=others[0].fingerprint)
    reason = f"the roll is over: key {own.key.tag} signs already"
    await place.record("agent.roll-ends", own, reason=reason)
    return rollstate.end_roll(state, reason, place.now())


async def _publish(place: Workplace, state: AgentState, keys: list[OwnKey], following: Stage) -> AgentState:
    state, publication = await place.publish(state, *keys)
    if publication.failed:
        reason = "; ".join(f"{names.to_text(each.owner)}: {each.reason}" for each in publication.failed)
        return rollstate.roll_failed(state, reason, place.now(), "see that zonecut may write KEY records there")
    return rollstate.advance(state, following, place.now())


async def _add(place: Workplace, state: AgentState, own: OwnKey, new: OwnKey, party: Party) -> AgentState:
    record = message.add(new.key.owner, RRType.KEY, place.settings.key.ttl, new.key.rdata)
    heard = await send(place, own, party, (record,))
    await place.record("agent.roll-add", own, new=new.key.tag, result=heard.result.value, reason=heard.reason)
    if heard.result is Result.ACCEPTED or heard.unvouched is not None:
        # an answer that nobody vouches for decides nothing: what the receiver says of the new key does
        return rollstate.added(state, place.now(), vouched=heard.unvouched is None)
    return _failed(place, state, heard)


async def _ask(place: Workplace, state: AgentState, new: OwnKey, party: Party) -> AgentState:
    heard, word, text = await inquire(place, new, party)
    now = place.now()
    if word == ReceiverState.TRUSTED:
        return rollstate.advance(state, Stage.WAIT, now)
    if word == ReceiverState.UNKNOWN or heard.result is Result.KEY_UNKNOWN:
        again = rollstate.advance(state, Stage.ADD, now)
        return rollstate.roll_failed(again, "the parent does not know the new key, though it was sent", now, _ASK)
    if word is not None:
        said = f"the parent says {state_text(word)} of the new key" + (f": {text}" if text else "")
        return rollstate.roll_failed(state, said, now, _ASK)
    assert state.roll is not None
    tells_none = heard.result in (Result.ACCEPTED, Result.MALFORMED, Result.UNSUPPORTED, Result.REFUSED)
    if tells_none and state.roll.vouched:
        # it tells no KeyState; that it accepted the key under a trusted signature has to do
        return rollstate.advance(state, Stage.WAIT, now)
    return rollstate.roll_failed(state, heard.reason, now)


async def _wait(place: Workplace, state: AgentState, own: OwnKey, new: OwnKey) -> AgentState:
    assert state.roll is not None
    now = place.now()
    until = state.roll.since + place.settings.key.roll_wait
    if now.time < until:
        return rollstate.sleep(state, until, now)
    await place.record("agent.roll-signs", new, old=own.key.tag)
    return rollstate.advance(
        rollstate.change_key(state, new.fingerprint, now), Stage.DELETE, now, other=own.fingerprint
    )


async def _delete(place: Workplace, state: AgentState, own: OwnKey, party: Party) -> AgentState:
    """`own` is the new key by now, and `roll.other` names the one that goes."""
    old = await _old(place, state)
    if old is None:
        return rollstate.advance(state, Stage.UNPUBLISH, place.now())
    record = message.delete_record(old.key.owner, RRType.KEY, old.key.rdata)
    heard = await send(place, own, party, (record,))
    await place.record("agent.roll-delete", own, old=old.key.tag, result=heard.result.value, reason=heard.reason)
    if heard.result is Result.ACCEPTED or (heard.unvouched is not None and await _is_gone(place, old, party)):
        return rollstate.advance(state, Stage.UNPUBLISH, place.now())
    return _failed(place, state, heard)


async def _is_gone(place: Workplace, old: OwnKey, party: Party) -> bool:
    """Whether the receiver says, so that it can be believed, that it does not know a key any more."""
    _, word, _ = await inquire(place, old, party)
    return word == ReceiverState.UNKNOWN


async def _unpublish(place: Workplace, state: AgentState, own: OwnKey) -> AgentState:
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
    return rollstate.end_roll(published, reason, place.now())


async def _old(place: Workplace, state: AgentState) -> OwnKey | None:
    assert state.roll is not None
    assert state.roll.other is not None
    return await asyncio.to_thread(place.keys.find, state.roll.other)


def _failed(place: Workplace, state: AgentState, heard: Heard) -> AgentState:
    now = place.now()
    if heard.result is Result.KEY_UNKNOWN:
        return machine.forgotten(rollstate.end_roll(state, heard.reason, now), heard.reason, now)
    patient = heard.result in (Result.SILENT, Result.UNBELIEVABLE, Result.FAILED, Result.RATE_LIMITED)
    return rollstate.roll_failed(state, heard.reason, now, "" if patient else _ASK)
