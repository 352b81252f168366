"""Where the parent only scans: it is told that there is something to see, and the operator what it could not see.

A scanner learns of DS from CDS or CDNSKEY (RFC 7344), of NS and glue from CSYNC (RFC 7477), and from nothing else.
"""

from dataclasses import dataclass, replace

from dns.rdatatype import RdataType

from zonecut.agent import transitions
from zonecut.agent.context import AgentContext, Parent
from zonecut.agent.evidence.comparison import Comparison
from zonecut.agent.exchange.notify_out import NotifyOutcome, send_notify
from zonecut.agent.exchange.result import Result
from zonecut.agent.keys.visibility import is_published
from zonecut.agent.state import AgentState, Phase
from zonecut.agent.transitions import Heard
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType

_CDNSKEY = int(RdataType.CDNSKEY)


@dataclass(frozen=True, slots=True)
class _Channel:
    """A way by which a scanner learns of a difference: by these types at the child's apex."""

    notified: RRType
    types: tuple[int, ...]
    missing: str
    advice: str


_DS = _Channel(
    RRType.CDS,
    (RRType.CDS, _CDNSKEY),
    "neither CDS nor CDNSKEY records, by which the parent's scanner learns of DS (RFC 7344)",
    "have the child's signer publish CDS records",
)
_SERVERS = _Channel(
    RRType.CSYNC,
    (RRType.CSYNC,),
    "no CSYNC record, by which the parent's scanner learns of name servers and their addresses (RFC 7477)",
    "publish one in the child zone, such as `@ CSYNC 0 1 A NS AAAA`",
)
_UNSIGNED = _Channel(
    RRType.CSYNC,
    (),
    "no signatures, and a scanner takes name servers from the CSYNC record of a signed zone only (RFC 7477)",
    "sign the child zone, or tell the parent's operator what has changed",
)


async def notify(
    place: AgentContext, state: AgentState, content: ZoneContent, seen: Comparison, parent: Parent
) -> AgentState:
    """Tell the parent's scanner what there is to be seen (RFC 9859 section 4); hold where there is nothing."""
    difference = seen.difference
    types = {record.rtype for record in (*difference.removed, *difference.added)}
    servers = _UNSIGNED if content.dnskey == () else _SERVERS
    concerned = [*([_DS] if RRType.DS in types else []), *([servers] if types - {RRType.DS} else [])]
    announced = [channel for channel in concerned if parent.discovery.notifies(channel.notified)]
    if not announced:
        kinds = ", ".join(sorted(RRType(rtype).text for rtype in types))
        advice = "the parent takes NOTIFY for other records only: tell its operator what has changed"
        reason = f"the parent takes no NOTIFY for {kinds}"
        return transitions.hold(state, reason, advice, place.now(), resumes=Phase.OUT_OF_SYNC)
    lacking = [each for each in announced if not await is_published(place.resolver, content, each.types)]
    troubles = tuple(f"{names.to_text(place.zone)} has {channel.missing}" for channel in lacking)
    if len(lacking) == len(announced):
        advice = "; ".join(channel.advice for channel in lacking)
        return transitions.hold(state, "; ".join(troubles), advice, place.now(), resumes=Phase.OUT_OF_SYNC)
    outcomes: list[NotifyOutcome] = []
    for channel in announced:
        if channel not in lacking:
            places = parent.discovery.notifies(channel.notified)
            await place.ahead()
            outcomes += await send_notify(
                place.resolver,
                place.zone,
                channel.notified,
                places,
                place.settings.parent,
                codepoints=place.codepoints,
            )
    reason = "; ".join(each.outcome.reason for each in outcomes)
    accepted = any(each.acknowledged for each in outcomes)
    await place.record("agent.notify", None, accepted=accepted, reason=reason, difference=difference.to_json())
    heard = Heard(Result.ACCEPTED if accepted else Result.FAILED, reason)
    told = replace(state, notes=tuple(dict.fromkeys((*state.notes, *troubles))))
    return transitions.after_update(told, seen.digest, heard, place.now())
