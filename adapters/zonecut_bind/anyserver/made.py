"""Whether a server makes signatures and digests of a zone anew with each change (RFC 4035, RFC 8976), found by trial.

A server that takes UPDATEs of a zone which somebody else has signed or digested makes it bogus with the first one.
Which it is nobody can see beforehand: so the serial is raised by one, and what stands beside it then tells.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from zonecut.plugin import BackendUnavailable
from zonecut.plugin.wholezone import RRSIG, ZONEMD, made_elsewhere
from zonecut.protocol import envelope, message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.envelope import Envelope
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.flags import DNSSEC_OK
from zonecut.protocol.rrset import RRset
from zonecut_bind import rrsets
from zonecut_bind.dialect import Operation

_LOG = logging.getLogger("zonecut.rfc2136")

_LOOKS, _BETWEEN_LOOKS = 30, 0.1  # seconds

Ask = Callable[[Sequence[tuple[bytes, Operation]]], Awaitable[list[Envelope]]]


async def check_made_here(zone: bytes, there: Collection[int], where: str, ask: Ask) -> None:
    """Raises BackendMisconfigured for a zone with records of these whole-zone types, if the server does not make them.

    `where` names the server. Where the serial cannot be raised, it is not known, and the log says so.
    """
    kinds = {each if each == ZONEMD else RRSIG: each for each in sorted(there, reverse=True)}
    if not kinds:
        return
    before, made = await _look(zone, kinds, ask)
    wire = rrsets.next_serial_message(zone, before, conditional=False)
    (answer,) = await ask([(wire, Operation.UPDATE)])
    soa, stale, looks = before, set(kinds), _LOOKS
    while answer.rcode == Rcode.NOERROR and stale and looks:
        soa, now = await _look(zone, kinds, ask)
        stale = {each for each in kinds if soa == before or not now[each] or now[each] == made[each]}
        looks -= 1
        await asyncio.sleep(_BETWEEN_LOOKS if stale else 0)
    why = "it raised the serial, and left them as they were" if soa != before else ""
    if answer.rcode == Rcode.SERVFAIL:
        why = "it refuses a mere rise of the serial: it has no keys to sign with"
    if stale and why:
        raise made_elsewhere(zone, kinds[min(stale)], where, why)
    if stale:
        text = names.to_text(zone)
        _LOG.warning("whether %s signs %s cannot be told: it does not raise the serial for us", where, text)


async def _look(zone: bytes, kinds: Collection[int], ask: Ask) -> tuple[RRset, Mapping[int, frozenset[bytes]]]:
    """The SOA, and the records of these kinds that are made of it. Raises BackendUnavailable."""
    option = message.opt_record(flags=DNSSEC_OK)
    rtypes = (int(RRType.SOA), *(each for each in kinds if each == ZONEMD))
    asked = [(message.query(0, zone, each, additional=[option]), Operation.QUERY) for each in rtypes]
    answers = await ask(asked)
    try:
        (soa,) = (each for each in rrsets.seen(answers[0], zone) if each.rtype == RRType.SOA)
    except (MalformedMessage, ValueError):
        raise BackendUnavailable(f"the server shows no SOA of {names.to_text(zone)} that could be read") from None
    records = [(each.rtype, answer.rdata(each)) for answer in answers for each in answer.section(envelope.ANSWER)]
    return soa, {kind: frozenset(rdata for rtype, rdata in records if rtype == kind) for kind in kinds}
