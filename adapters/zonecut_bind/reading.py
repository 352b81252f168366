"""What named's answers about a child tell of the parent zone; no dnspython, and never more than they prove."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from zonecut.protocol import envelope, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.envelope import Envelope, Record
from zonecut.protocol.flags import AUTHORITATIVE, TRUNCATED


@dataclass(frozen=True, slots=True)
class Sight:
    """What two answers show of a child.

    `of_parent` is False when the zone that answered is not the parent, because the same named serves the child or
    something between: then `delegation` is a guess. `barren` is True if the parent has no name at or below the child.
    `ttls` are those of the RRsets, in seconds.
    """

    delegation: Delegation
    of_parent: bool
    barren: bool
    ttls: Mapping[tuple[bytes, int], int] = field(default_factory=dict)


def sight(child: bytes, zone: bytes, ns: Envelope, ds: Envelope) -> Sight:
    """What the answers to a child's NS and DS queries show. Raises MalformedMessage.

    Over TCP a referral carries all the glue that its NS name (RFC 9471); glue outside the child is not the child's.
    """
    own = bool(ns.flags & AUTHORITATIVE)
    records: list[RR] = []
    ttls: dict[tuple[bytes, int], int] = {}

    def take(owner: bytes, record: Record, rdata: bytes) -> None:
        records.append(RR(owner, record.rtype, rdata))
        ttls[owner, record.rtype] = record.ttl

    for record in ns.section(envelope.ANSWER if own else envelope.AUTHORITY):
        if record.rtype == RRType.NS and ns.name(record.start) == child:
            take(child, record, envelope.read_name(ns.wire, record.rdata)[0].lower())
    served_here = own and bool(records)
    targets = {record.rdata for record in records if names.is_at_or_below(record.rdata, child)}
    for record in ns.section(envelope.ADDITIONAL):
        if record.rtype in (RRType.A, RRType.AAAA) and (owner := ns.name(record.start)) in targets:
            take(owner, record, ns.rdata(record))
    for record in ds.section(envelope.ANSWER):
        if record.rtype == RRType.DS and ds.name(record.start) == child:
            take(child, record, ds.rdata(record))
    return Sight(
        delegation=Delegation.of(child, records),
        of_parent=not served_here and not (ns.flags | ds.flags) & TRUNCATED,
        # RFC 8020; the SOA tells which of named's zones says so
        barren=ns.rcode == Rcode.NXDOMAIN
        and any(
            record.rtype == RRType.SOA and ns.name(record.start) == zone for record in ns.section(envelope.AUTHORITY)
        ),
        ttls=ttls,
    )
