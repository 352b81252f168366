"""What the step of a zone's phase is: who is asked first, which ceremony goes on, and when the delegation is kept."""

import asyncio
from dataclasses import replace

import structlog

from zonecut.agent import rollover_state, transitions
from zonecut.agent.bootstrap import STEPS, ask, key_away, make_and_publish, own_key
from zonecut.agent.context import AgentContext, Parent
from zonecut.agent.keys.child_keys import OwnKey
from zonecut.agent.learned import learn
from zonecut.agent.outlook import KEY_AWAY
from zonecut.agent.parent.receiver import UpdateReceiver
from zonecut.agent.rollover import roll, without_upload
from zonecut.agent.state import AgentState, Phase, Stage
from zonecut.agent.sync import keep
from zonecut.protocol import names

_ASKS = frozenset((Phase.BOOTSTRAPPING, Phase.TRUSTED, Phase.IN_SYNC, Phase.OUT_OF_SYNC))
"""The phases in which the receiver is asked about the key before a person is, and while one is waited for."""

_log = structlog.get_logger(__name__)


async def act(place: AgentContext, state: AgentState, *, is_unreadable: bool) -> AgentState:
    """The step of the phase. `is_unreadable`: the zone could not be read when it was looked at last.

    Raises NoParty, Left, SourceError, BackendError, UnusableKey, OSError, StoreError.
    """
    does = state.does
    parent = await place.parent(state)
    state = learn(state, parent.discovery, parent.party, place.settings.parent)
    if parent.party is None:
        # whoever takes NOTIFY only needs no key of ours
        return await keep(place, state, None, parent)
    own = await own_key(place, state)
    if does is Phase.NO_KEY or (own is None and state.key is None):
        return await make_and_publish(place, state)
    if own is None:
        assert state.key is not None
        if (away := await key_away(place, state.key)) is not None:
            return transitions.failed(state, away, place.now(), KEY_AWAY)
        reason = f"key {state.key} was put aside: another one has to be trusted first"
        return transitions.key_lost(state, reason, place.now())
    if not parent.party.believable(place.settings.parent):
        advice = "nothing is sent to a receiver that nobody vouches for: pin its key (`parent.pins`), or ask"
        return transitions.failed(state, f"the receiver's key: {parent.party.reason}", place.now(), advice)
    stepped = await _with_key(place, state, own, parent, parent.party, is_unreadable)
    if stepped.phase is Phase.HELD and state.phase is not Phase.HELD and stepped.word_at == state.word_at:
        stepped = await _ask_before_holding(place, stepped, own, parent.party)
    remark = await asyncio.to_thread(place.keys.remark, own, place.clock())
    if remark is None or remark in stepped.notes:
        return stepped
    if remark not in state.notes:
        _log.warning("agent.key-ended", zone=names.to_text(place.zone), reason=remark)
    return replace(stepped, notes=(*stepped.notes, remark))


async def _with_key(
    place: AgentContext, state: AgentState, own: OwnKey, parent: Parent, party: UpdateReceiver, is_unreadable: bool
) -> AgentState:
    if (state.doubted or state.phase is Phase.HELD) and state.does in _ASKS:
        asked = await _ask(place, state, own, party)
        if asked.does is not state.does or (state.phase is not Phase.HELD and asked.next_at > place.time()):
            return asked
        state = asked
    is_to_upload = state.does is Phase.BOOTSTRAPPING and not state.uploaded
    if is_to_upload and (other := await without_upload(place, state, party)) is not None:
        return other
    if state.does in STEPS:
        return await STEPS[state.does](place, state, own, party)
    if rollover_state.roll_is_due(state, place.now()):
        state = rollover_state.begin_roll(state, place.now())
    if state.roll is not None and state.phase is Phase.IN_SYNC and state.differs_since is None:
        return await _roll(place, state, parent, is_unreadable)
    return await keep(place, state, own, parent)


async def _ask_before_holding(place: AgentContext, held: AgentState, own: OwnKey, party: UpdateReceiver) -> AgentState:
    """Where a zone stands that is to be held, once the receiver was asked about the key."""
    if held.does not in (*_ASKS, Phase.ASKING) or held.displaced_at is not None:
        return held
    asked = await _ask(place, held, own, party)
    if held.rebootstrapped and asked.phase is Phase.BOOTSTRAPPING and not asked.uploaded:
        # it was uploaded once more already
        return replace(held, word=asked.word, word_at=asked.word_at, talks=asked.talks)
    return asked


async def _ask(place: AgentContext, state: AgentState, own: OwnKey, party: UpdateReceiver) -> AgentState:
    """What the receiver makes of the key, after a refusal and while a person is waited for.

    If it says nothing of the key, or that it trusts it, the state stays what it was.
    """
    asked = await ask(place, state, own, party)
    if asked.word_at != state.word_at:
        return asked
    return replace(state, doubted=False, talks=asked.talks, quiet_until=asked.quiet_until)


async def _roll(place: AgentContext, state: AgentState, parent: Parent, is_unreadable: bool) -> AgentState:
    """A step of the roll, or, while it waits, a look whether all is still in step."""
    own = await own_key(place, state)
    assert own is not None
    assert parent.party is not None
    if rollover_state.gives_way(state, place.now(), is_unreadable=is_unreadable):
        return await keep(place, state, own, parent)
    if not parent.party.is_vouched and state.roll is not None and state.roll.stage is not Stage.UNPUBLISH:
        # whoever answers there may be anybody: the only key that the right receiver trusts would go
        reason = f"the roll of the key waits, since nobody vouches for the receiver: {parent.party.reason}"
        advice = "pin the receiver's key (`parent.pins`): only what can be told from a forgery retires a key"
        return rollover_state.roll_failed(state, reason, place.now(), advice)
    return await roll(place, state, own, parent.party)
