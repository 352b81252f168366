"""How the delegation is kept in step: compare the child with what the parent publishes, send what differs, look."""

from dataclasses import replace
from hashlib import sha256

from zonecut.agent import machine
from zonecut.agent.ceremony import inquire, send
from zonecut.agent.childkeys import OwnKey
from zonecut.agent.machine import Heard
from zonecut.agent.meaning import Result
from zonecut.agent.notices import NotifyOutcome, send_notify
from zonecut.agent.parent_view import ParentView, view_parent
from zonecut.agent.party import Party
from zonecut.agent.plan import Style, prerequisites, update_records
from zonecut.agent.state import AgentState, Phase
from zonecut.agent.wanted import Unsuitable, wanted
from zonecut.agent.workplace import Parent, Workplace, met
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation, Difference, Ttls

MAX_RECORDS = 4
"""So many records of a difference are named in a reason."""
SENT_TTLS = Ttls(3600, 3600, 3600)
"""The parent publishes with TTLs of its own."""


async def keep(place: Workplace, state: AgentState, own: OwnKey | None, parent: Parent) -> AgentState:
    """The step of TRUSTED, IN_SYNC and OUT_OF_SYNC. Without a receiver of UPDATEs, NOTIFY is sent instead."""
    now = place.now()
    content = await place.source.content()
    try:
        aim = wanted(content, place.settings, now.time)
    except Unsuitable as error:
        advice = "mend the zone; until then the parent keeps what it has"
        return machine.hold(state, error.reason, advice, now, resumes=Phase.OUT_OF_SYNC)
    view = await view_parent(
        place.resolver,
        parent.zone,
        place.zone,
        port=place.settings.parent.port,
    )
    now = place.now()
    state = replace(state, notes=(*aim.notes, *filter(None, [view.describe()])))
    held = view.held
    if held is None and not view.is_hidden:
        return machine.failed(state, f"nothing is known of what the parent publishes: {view.describe()}", now)
    after = aim.beside(held or view.shown)
    digest = sha256(after.to_wire()).hexdigest()[:32]
    if held is None:
        # its servers answer from the child zone: what was accepted is all that can be known
        missing = digest not in (state.settled, state.sent)
        difference = Difference.between(view.shown, after)
    else:
        behind = view.missing(after)
        missing = bool(behind)
        difference = Difference.between((behind[0].delegation if behind else None) or held, after)
    if not missing:
        return await _rest(place, state, own, parent, after, digest)
    due = machine.differs(state, digest, summarise(difference), now)
    if due.phase is Phase.HELD or due.sent == digest or due.next_at > now.time:
        return due
    if state.phase is not Phase.OUT_OF_SYNC:
        await place.record("agent.differs", own, difference=difference.to_json())
    if parent.party is None:
        return await _notify(place, due, digest, difference, parent)
    assert own is not None
    return await _send(place, due, own, parent.party, view, after, digest)


async def _rest(
    place: Workplace, state: AgentState, own: OwnKey | None, parent: Parent, after: Delegation, digest: str
) -> AgentState:
    """There is nothing to do; is the key still trusted?"""
    if own is not None:
        state, hindered = await place.publish_again(state)
        state = replace(state, notes=(*state.notes, *hindered))
    now = place.now()
    rested = machine.in_sync(state, digest, now)
    if state.phase is not Phase.IN_SYNC or state.differs_since is not None:
        await place.record("agent.in-sync", own, seconds=rested.took, delegation=after.to_json())
        return rested
    if own is None or parent.party is None:
        return rested
    heard, word, text = await inquire(place, own, parent.party)
    now = place.now()
    asked = machine.after_inquiry(met(rested, parent.party), word, text, heard, now)
    # what is unclear now is asked again at the next look; the delegation is right
    return asked if asked.phase is not rested.phase else replace(asked, next_at=rested.next_at, attempts=0)


async def _send(
    place: Workplace,
    state: AgentState,
    own: OwnKey,
    party: Party,
    view: ParentView,
    after: Delegation,
    digest: str,
) -> AgentState:
    """Send what differs, void once the delegation is another one than was seen.

    Where the parent's servers do not agree, whole RRsets are sent: right whatever is there.
    """
    before = view.agreed
    conditions = () if before is None else prerequisites(before, after)
    if before is None or place.settings.style == "replace":
        others = [each.delegation for each in view.servers if each.delegation is not None]
        before = Delegation.of(place.zone, {record for other in others for record in other.records})
        records = update_records(before, after, Style.REPLACE, SENT_TTLS)
    else:
        records = update_records(before, after, Style.DELTA, SENT_TTLS)
    heard = await send(place, own, party, records, conditions)
    await place.record(
        "agent.change",
        own,
        result=heard.result.value,
        reason=heard.reason,
        difference=Difference.between(before, after).to_json(),
    )
    return machine.after_update(met(state, party), digest, heard, place.now())


async def _notify(
    place: Workplace, state: AgentState, digest: str, difference: Difference, parent: Parent
) -> AgentState:
    """Tell the parent's scanner that there is something to be seen (RFC 9859 section 4)."""
    types = {record.rtype for record in (*difference.removed, *difference.added)}
    outcomes: list[NotifyOutcome] = []
    for rtype, concerns in ((RRType.CDS, RRType.DS in types), (RRType.CSYNC, bool(types - {RRType.DS}))):
        if concerns and (places := parent.discovery.notifies(rtype)):
            outcomes += await send_notify(
                place.resolver, place.zone, rtype, places, place.settings.parent, codepoints=place.codepoints
            )
    now = place.now()
    if not outcomes:
        kinds = ", ".join(sorted(RRType(rtype).text for rtype in types))
        advice = "the parent takes NOTIFY for other records only: tell its operator what has changed"
        return machine.hold(state, f"the parent takes no NOTIFY for {kinds}", advice, now, resumes=Phase.OUT_OF_SYNC)
    reason = "; ".join(each.outcome.reason for each in outcomes)
    accepted = any(each.acknowledged for each in outcomes)
    await place.record("agent.notify", None, accepted=accepted, reason=reason, difference=difference.to_json())
    heard = Heard(Result.ACCEPTED if accepted else Result.FAILED, reason)
    return machine.after_update(state, digest, heard, now)


def summarise(difference: Difference) -> str:
    """The difference in a sentence, its first records named."""
    signed = [f"-{record.to_text()}" for record in difference.removed]
    signed += [f"+{record.to_text()}" for record in difference.added]
    more = f" and {len(signed) - MAX_RECORDS} more" if len(signed) > MAX_RECORDS else ""
    return "the parent differs: " + "; ".join(signed[:MAX_RECORDS]) + more
