"""Whether named makes anew what a zone holds of signatures and digests (RFC 4035, RFC 8976)."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from zonecut.plugin import BackendUnavailable
from zonecut.plugin.wholezone import NSEC, NSEC3PARAM, ZONEMD, made_elsewhere
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.envelope import Envelope
from zonecut.protocol.errors import MalformedMessage
from zonecut_bind import rrsets
from zonecut_bind.answers import CONFLICTS, failure
from zonecut_bind.dialect import Operation
from zonecut_bind.server import Server

_LOG = logging.getLogger("zonecut.bind")

_SIGNED = (NSEC, NSEC3PARAM)
"""What a signed zone has at its apex, one or the other. Prerequisites do not see RRSIG."""

Asked = Sequence[tuple[bytes, Operation]]


async def check_made(zone: bytes, server: Server, ask: Callable[[Asked], Awaitable[list[Envelope]]]) -> None:
    """Raises BackendMisconfigured for a zone with a digest, which named never makes, or signatures that it cannot make.

    With inline signing, prerequisites see the unsigned zone. Where they see a signed one, named's record of how far it
    is says that it signs. Without that record an UPDATE tells, of the SOA with the next serial: named refuses every
    change of a signed zone for which it has no keys.
    """
    rtypes = (ZONEMD, *_SIGNED, rrsets.SIGNING_STATE)
    answers = await ask([(rrsets.absent_message(zone, zone, rtype), Operation.UPDATE) for rtype in rtypes])
    there = set()
    for rtype, answer in zip(rtypes, answers, strict=True):
        if answer.rcode in CONFLICTS:
            there.add(rtype)
        elif answer.rcode == Rcode.REFUSED:
            return  # whoever may not even ask writes nothing, and is told so then
        elif answer.rcode != Rcode.NOERROR:
            raise failure(answer, Operation.UPDATE, server)
    if ZONEMD in there:
        raise made_elsewhere(zone, ZONEMD, "named", "it makes none", "take the ZONEMD out of the zone")
    signed = there.intersection(_SIGNED)
    if not signed or rrsets.SIGNING_STATE in there:
        return
    (answer,) = await ask([(message.query(0, zone, RRType.SOA), Operation.QUERY)])
    try:
        (soa,) = (each for each in rrsets.seen(answer, zone) if each.rtype == RRType.SOA)
    except (MalformedMessage, ValueError):
        raise BackendUnavailable(f"named shows no SOA of {names.to_text(zone)} that could be read") from None
    (answer,) = await ask([(rrsets.next_serial_message(zone, soa), Operation.UPDATE)])
    if answer.rcode == Rcode.SERVFAIL:
        why = "it refuses a mere rise of the serial: it has no keys to sign with"
        cure = "give the zone a dnssec-policy, with the keys in its key-directory, or load it without signatures"
        raise made_elsewhere(zone, min(signed), "named", why, cure)
    if answer.rcode == Rcode.REFUSED:
        _LOG.warning(
            "whether named signs %s or somebody else did cannot be told: grant the key %s its SOA",
            names.to_text(zone),
            server.key_name,
        )
    elif answer.rcode != Rcode.NOERROR and answer.rcode not in CONFLICTS:
        raise failure(answer, Operation.UPDATE, server)
