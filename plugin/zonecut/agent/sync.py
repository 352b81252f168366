"""How the delegation is kept in step: compare the child with what the parent publishes, send what differs, look."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from zonecut.agent import transitions
from zonecut.agent.bootstrap import inquire, send
from zonecut.agent.context import AgentContext, Parent
from zonecut.agent.evidence.comparison import Comparison, compare
from zonecut.agent.evidence.desired import Desired, wanted, why_broken
from zonecut.agent.evidence.ds_statement import Origin
from zonecut.agent.evidence.proof import Ruling, proven_origin, rule, went_on
from zonecut.agent.evidence.serials import acted_on, advice_of, why_stale
from zonecut.agent.evidence.soundness import Unsound, find_unsound, unseen
from zonecut.agent.evidence.witnesses import Look, silent
from zonecut.agent.evidence.zone_view import view_servers
from zonecut.agent.exchange.result import Result
from zonecut.agent.keys.child_keys import OwnKey
from zonecut.agent.learned import met
from zonecut.agent.notifying import notify
from zonecut.agent.parent.parent_view import view_parent
from zonecut.agent.parent.receiver import KeyTrust, UpdateReceiver
from zonecut.agent.state import AgentState, Phase
from zonecut.agent.transitions import Now
from zonecut.agent.zone.caches import past_delegations, remember, unsigned_until
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation, Difference
from zonecut.resolve import Resolver

MAX_RECORDS = 4
"""So many records of a difference are named in a reason."""


async def keep(place: AgentContext, state: AgentState, own: OwnKey | None, parent: Parent) -> AgentState:
    """The step of TRUSTED, IN_SYNC and OUT_OF_SYNC. Without a receiver of UPDATEs, NOTIFY is sent instead."""
    now = place.now()
    content = await place.source.content()
    if (stale := why_stale(content, state, place.settings)) is not None:
        return transitions.failed(state, stale, place.now(), advice_of(place.zone))
    state = acted_on(state, content)
    aim = wanted(content, place.settings, now.time, spoke_in(state))
    view = await view_parent(
        place.resolver,
        parent.zone,
        place.zone,
        port=place.settings.parent.port,
    )
    now = place.now()
    told = filter(None, [unseen(content, place.settings.ds), view.describe()])
    sights, forgotten = remember(state.sights, view, _ns_ttl(content), now.time)
    unsigned = max(state.unsigned_until, unsigned_until(content, now.time))
    forgotten = max(state.forgotten_until, forgotten)
    state = replace(state, sights=sights, forgotten_until=forgotten, unsigned_until=unsigned)
    state = replace(state, notes=(*aim.notes, *aim.troubles, *told))
    if view.held is None and not view.is_hidden:
        return transitions.failed(state, f"nothing is known of what the parent publishes: {view.describe()}", now)
    seen = compare(aim, view, state)
    state = replace(state, disagreement=went_on(state.disagreement, "", now) if seen.is_contradictory else None)
    if aim.troubles and not (seen.missing and (aim.ns_known or aim.ds_known)):
        return _hold(state, aim, aim.troubles, now)
    if aim.ds_unfit and (broken := why_broken(content, (view.held or view.shown).ds, now.time)) is not None:
        # name servers alone would be moved to a zone that is bogus under the parent's DS
        return _hold(state, aim, (*aim.troubles, f"under the DS of the parent it is bogus: {broken}"), now)
    if not seen.missing:
        unsound = await find_unsound(place.resolver, content, place.settings.ds, view, now.time)
        spoke = proven_origin(content, aim, view, now.time) or state.spoke
        return await _rest(place, replace(state, spoke=spoke, watch=None, going=None), own, parent, seen, unsound)
    if parent.party is not None and state.sent != seen.digest and not _disagrees(seen, state, now):
        # whatever is signed, the zone's own servers have been asked
        look = Look(content, aim, view, (), seen.before)
        ruling = await judge(place.resolver, look, seen.shown, state, place.now)
        state, now = _ruled(state, ruling), place.now()
        seen = compare(ruling.aim, view, state)
        if not seen.missing:
            return await _without_change(place, state, own, parent, ruling, seen, look)
    due = transitions.differs(state, seen.digest, summarise(seen.difference), now)
    if due.phase is Phase.HELD or due.sent == seen.digest or due.next_at > now.time:
        return due
    if state.phase is not Phase.OUT_OF_SYNC:
        await place.record("agent.differs", own, difference=seen.difference.to_json())
    if parent.party is None:
        return await notify(place, due, content, seen, parent)
    assert own is not None
    if _disagrees(seen, due, now):
        return transitions.disagree(due, view.describe(), now)
    return await _send(place, due, own, parent.party, seen)


def spoke_in(state: AgentState) -> Origin | None:
    """By what the zone has said before which DS there shall be."""
    return None if state.spoke is None else Origin(state.spoke)


def _disagrees(seen: Comparison, state: AgentState, now: Now) -> bool:
    """Whether the parent's servers show different things, and may still come to agree."""
    return seen.is_contradictory and transitions.waits_for_agreement(state, now)


async def judge(
    resolver: Resolver, look: Look, delegations: Iterable[Delegation], state: AgentState, now: Callable[[], Now]
) -> Ruling:
    """Ask all name servers of the zone, as the parent has them and as they shall be, and say what may be signed.

    `look` is without them; `delegations` are what the parent may have.
    """
    port, time = now().settings.looks.port, now().time
    sights, forgotten = remember(state.sights, look.parent, _ns_ttl(look.content), time)
    present = list(delegations)
    named = {*look.content.ns, *(server for each in present for server in each.ns)}
    past = [sight.delegation for sight in past_delegations(sights, time)]
    view = await view_servers(resolver, look.content, present, past, port=port)
    look = replace(
        look,
        servers=tuple(each for each in view.servers if each.server in named),
        sights=sights,
        past=tuple(each for each in view.servers if each.server not in named),
        left_out=view.left_out,
        forgotten_until=max(state.forgotten_until, forgotten),
        unsigned_until=state.unsigned_until,
    )
    moment, quiet = now(), sorted(silent(look))
    silence = went_on(state.silence, " ".join(map(names.to_text, quiet)), moment) if quiet else None
    waited = 0.0 if silence is None else moment.time - silence.since
    # whoever serves the zone chooses what its signatures cost to verify
    ruling = await asyncio.to_thread(rule, look, state.watch, waited, moment, state.going)
    return replace(ruling, silence=silence)


def _ns_ttl(content: ZoneContent) -> int:
    """Seconds for which caches have the zone's own NS, as far as it can be seen."""
    found = content.rrset(RRType.NS)
    return 0 if found is None else found.ttl


def _ruled(state: AgentState, ruling: Ruling) -> AgentState:
    aim = ruling.aim
    speaks = ruling.proven in (Origin.CDS, Origin.DNSKEY)
    notes = dict.fromkeys((*state.notes, *aim.notes, *aim.troubles, *ruling.waits))
    state = replace(state, spoke=ruling.proven if speaks else state.spoke, notes=tuple(notes))
    return replace(state, watch=ruling.watch, going=ruling.going, silence=ruling.silence)


async def _without_change(
    place: AgentContext,
    state: AgentState,
    own: OwnKey | None,
    parent: Parent,
    ruling: Ruling,
    seen: Comparison,
    look: Look,
) -> AgentState:
    """The parent has all of what may be signed."""
    now = place.now()
    state = replace(state, settled=seen.digest, last=seen.octets)
    if ruling.aim.troubles:
        return _hold(state, ruling.aim, ruling.aim.troubles, now)
    if ruling.waits:
        return transitions.awaits_proof(state, "; ".join(ruling.waits), ruling.look_at, now)
    unsound = await find_unsound(place.resolver, look.content, place.settings.ds, look.parent, now.time)
    return await _rest(place, state, own, parent, seen, unsound)


def _hold(state: AgentState, aim: Desired, troubles: Sequence[str], now: Now) -> AgentState:
    return transitions.hold(state, "; ".join(troubles), aim.advice, now, resumes=Phase.OUT_OF_SYNC, soon=True)


async def _rest(
    place: AgentContext,
    state: AgentState,
    own: OwnKey | None,
    parent: Parent,
    seen: Comparison,
    unsound: Unsound | None,
) -> AgentState:
    """There is nothing to do; is the key still trusted?"""
    if own is not None:
        state, hindered = await place.publish_again(state)
        state = replace(state, notes=(*state.notes, *hindered))
    if parent.party is not None and parent.party.worth is KeyTrust.REMEMBERED:
        state = replace(state, notes=(*state.notes, f"the receiver's key: {parent.party.reason}"))
    now = place.now()
    rested = transitions.in_sync(state, seen.digest, seen.octets, now)
    if unsound is not None:
        # the parent has what the child says, and all is not well
        rested = replace(rested, attempts=state.attempts, milestones=state.milestones)
        if unsound.passes:
            return transitions.failed(rested, unsound.reason, now, unsound.advice)
        return transitions.hold(rested, unsound.reason, unsound.advice, now, resumes=Phase.OUT_OF_SYNC, soon=True)
    if state.phase is not Phase.IN_SYNC or state.differs_since is not None:
        await place.record("agent.in-sync", own, seconds=rested.took, delegation=seen.after.to_json())
        return rested
    if own is None or parent.party is None:
        return rested
    heard, word, text = await inquire(place, own, parent.party)
    now = place.now()
    known = replace(met(rested, parent.party), attempts=state.attempts)
    asked = transitions.after_inquiry(known, word, text, heard, now)
    if asked.phase is not rested.phase:
        return asked
    if asked.attempts > state.attempts:
        # the delegation is right; what the key is worth is not known, and asked again before the next look is due
        return replace(asked, next_at=min(asked.next_at, rested.next_at))
    return replace(asked, next_at=rested.next_at, attempts=rested.attempts)


async def _send(
    place: AgentContext, state: AgentState, own: OwnKey, party: UpdateReceiver, seen: Comparison
) -> AgentState:
    records, conditions = seen.update(place.settings.style)
    heard = await send(place, own, party, records, conditions)
    await place.record(
        "agent.change",
        own,
        result=heard.result.value,
        reason=heard.reason,
        difference=seen.differing.to_json(),
    )
    told = met(state, party)
    if heard.result is Result.ACCEPTED:
        told = replace(told, last=seen.octets)
    return transitions.after_update(told, seen.digest, heard, place.now())


def summarise(difference: Difference) -> str:
    """The difference in a sentence, its first records named."""
    signed = [f"-{record.to_text()}" for record in difference.removed]
    signed += [f"+{record.to_text()}" for record in difference.added]
    more = f" and {len(signed) - MAX_RECORDS} more" if len(signed) > MAX_RECORDS else ""
    return "the parent differs: " + "; ".join(signed[:MAX_RECORDS]) + more
