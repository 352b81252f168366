"""A reply as RRsets with the signatures that came along; nothing here is believed yet.

The message is walked by `protocol.envelope`. dnspython reads the RDATA of the types whose canonical form it must know
and of those that validation is about; all others are octets, so that one record that dnspython cannot read (an SVCB
with priority 0 and parameters) does not cost the reply.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.RRSIG import RRSIG

from zonecut.protocol import names
from zonecut.protocol.codepoints import RRClass
from zonecut.protocol.envelope import (
    ADDITIONAL,
    ANSWER,
    AUTHORITY,
    HEADER_LENGTH,
    Envelope,
    Record,
    walk,
)
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.flags import AUTHENTIC_DATA, AUTHORITATIVE, QUERY_RESPONSE, TRUNCATED
from zonecut.resolve.failures import NoAnswer

_MAX_RECORDS = 512
_ADDRESS_OCTETS = {int(RdataType.A): 4, int(RdataType.AAAA): 16}

# Names in their RDATA are compressed or lower-cased in canonical form (RFC 4034 section 6.2), or validation reads them.
_READ = frozenset(
    {
        RdataType.A,
        RdataType.AAAA,
        RdataType.AFSDB,
        RdataType.CNAME,
        RdataType.DNAME,
        RdataType.DNSKEY,
        RdataType.DS,
        RdataType.KX,
        RdataType.MX,
        RdataType.NAPTR,
        RdataType.NS,
        RdataType.NSEC,
        RdataType.NSEC3,
        RdataType.PTR,
        RdataType.PX,
        RdataType.RP,
        RdataType.RRSIG,
        RdataType.RT,
        RdataType.SOA,
        RdataType.SRV,
    }
)


@dataclass(frozen=True, slots=True)
class RRset:
    """An RRset of a reply and the RRSIGs that cover it. `name` is lower-case wire form, `ttl` in seconds."""

    name: bytes
    rtype: int
    ttl: int
    rdatas: tuple[dns.rdata.Rdata, ...]
    signatures: tuple[RRSIG, ...] = ()

    @property
    def wires(self) -> tuple[bytes, ...]:
        """The RDATA in canonical form, sorted."""
        return tuple(sorted(rdata.to_digestable() for rdata in self.rdatas))


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply to one question: what its header says and the RRsets of class IN in its sections."""

    rcode: int
    authoritative: bool
    truncated: bool
    authentic: bool
    """The AD bit: whoever answered says that it validated this."""
    answer: tuple[RRset, ...]
    authority: tuple[RRset, ...]
    addresses: tuple[RRset, ...] = ()
    """A and AAAA of the additional section: the glue of a referral. Nothing else there is read."""

    def find(self, name: bytes, rtype: int) -> RRset | None:
        """The RRset of the answer section with this name and type."""
        return next((rrset for rrset in self.answer if rrset.name == name and rrset.rtype == rtype), None)

    def soa_above(self, name: bytes) -> bytes | None:
        """The owner, at or above `name`, of the one SOA record in the authority section (RFC 2308 section 2)."""
        owners = {rrset.name for rrset in self.authority if rrset.rtype == RdataType.SOA}
        return next((owner for owner in owners if len(owners) == 1 and names.is_at_or_below(name, owner)), None)


def wire_name(name: dns.name.Name) -> bytes:
    """A name of dnspython as the core holds it: lower-case wire form."""
    return name.canonicalize().to_wire() or b""


def answers(wire: bytes, identity: int, name: bytes, rtype: int) -> bool:
    """True if this datagram replies to that query: same identity, same question (RFC 5452 section 9.1)."""
    if len(wire) < HEADER_LENGTH or int.from_bytes(wire[:2]) != identity or not wire[2] & 0x80:
        return False
    try:
        return _repeats_question(walk(wire), name, rtype)
    except MalformedMessage:
        return False


def read_reply(wire: bytes, name: bytes, rtype: int) -> Reply:
    """The reply in these octets to the question for `name` and `rtype`. NoAnswer says what is wrong with them."""
    try:
        envelope = walk(wire)
        if not envelope.flags & QUERY_RESPONSE or envelope.opcode != 0:
            raise NoAnswer("no reply to a query")
        if not _repeats_question(envelope, name, rtype):
            raise NoAnswer("a reply to another question")
        sections = [list(envelope.section(section)) for section in (ANSWER, AUTHORITY)]
        if sum(len(records) for records in sections) > _MAX_RECORDS:
            raise NoAnswer(f"more than {_MAX_RECORDS} records")
        answer, authority = (_rrsets(envelope, records) for records in sections)
        addresses = _rrsets(envelope, _addresses(envelope))
    except (MalformedMessage, dns.exception.DNSException, ValueError) as error:
        raise NoAnswer(f"a malformed reply: {error}") from None
    flags = envelope.flags
    return Reply(
        rcode=envelope.rcode,
        authoritative=bool(flags & AUTHORITATIVE),
        truncated=bool(flags & TRUNCATED),
        authentic=bool(flags & AUTHENTIC_DATA),
        answer=answer,
        authority=authority,
        addresses=addresses,
    )


def _repeats_question(envelope: Envelope, name: bytes, rtype: int) -> bool:
    if len(envelope.questions) != 1:
        return False
    question = envelope.questions[0]
    return envelope.name(question.start) == name and question.qtype == rtype and question.qclass == RRClass.IN


def _addresses(envelope: Envelope) -> list[Record]:
    """Records of the additional section that can be addresses; one of a wrong length is none, and harms nobody."""
    return [
        record
        for record in envelope.section(ADDITIONAL)
        if record.rtype in _ADDRESS_OCTETS and record.end - record.rdata == _ADDRESS_OCTETS[record.rtype]
    ][:_MAX_RECORDS]


def _rrsets(envelope: Envelope, records: Iterable[Record]) -> tuple[RRset, ...]:
    rdatas: dict[tuple[bytes, int], list[dns.rdata.Rdata]] = {}
    signatures: dict[tuple[bytes, int], list[RRSIG]] = {}
    ttls: dict[tuple[bytes, int], int] = {}
    for record in records:
        if record.rclass != RRClass.IN:
            continue
        owner = envelope.name(record.start)
        rdata = _rdata(envelope, record)
        if isinstance(rdata, RRSIG):
            signatures.setdefault((owner, int(rdata.type_covered)), []).append(rdata)
            continue
        key = (owner, record.rtype)
        rdatas.setdefault(key, []).append(rdata)
        # RFC 2181 section 8: a TTL with its first bit set counts as zero.
        ttl = record.ttl if record.ttl < 0x80000000 else 0
        ttls[key] = min(ttl, ttls.get(key, ttl))
    return tuple(
        RRset(owner, rtype, ttls[owner, rtype], tuple(found), tuple(signatures.get((owner, rtype), ())))
        for (owner, rtype), found in rdatas.items()
    )


def _rdata(envelope: Envelope, record: Record) -> dns.rdata.Rdata:
    rtype = RdataType.make(record.rtype)
    if rtype in _READ:
        try:
            return dns.rdata.from_wire(dns.rdataclass.IN, rtype, envelope.wire, record.rdata, record.end - record.rdata)
        except (dns.exception.DNSException, ValueError):
            # No names in them: one that is malformed, such as a DS of the wrong length, can be signed like any other.
            if rtype not in (RdataType.DS, RdataType.DNSKEY):
                raise
    return dns.rdata.GenericRdata(dns.rdataclass.IN, rtype, envelope.rdata(record))
