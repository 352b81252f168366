"""What the parent says about a name when it is asked for DS there: a signed cut, an unsigned one, or none.

An unsigned cut needs a proof (RFC 4035 section 5.2): without one, whoever stands in the way could make everything below
insecure by leaving records out.
"""

from dataclasses import dataclass

from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DS import DS

from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode, rcode_text
from zonecut.resolve.anchors import supported
from zonecut.resolve.denial import Denial
from zonecut.resolve.failures import Bogus, Undecided
from zonecut.resolve.nsec import Proof
from zonecut.resolve.reply import Reply
from zonecut.resolve.signatures import verify
from zonecut.resolve.work import Work
from zonecut.resolve.zone import Unsigned, Zone


@dataclass(frozen=True, slots=True)
class SignedCut:
    """A zone begins here, and these DS records, all of supported kinds, name its keys. `ttl` in seconds."""

    ds: tuple[DS, ...]
    ttl: int


@dataclass(frozen=True, slots=True)
class NoCut:
    """The name belongs to the zone above; with `ends`, nothing exists at or below it. `ttl` in seconds."""

    ttl: int
    ends: bool = False


def judge_delegation(reply: Reply, name: bytes, zone: Zone, now: float, work: Work) -> SignedCut | Unsigned | NoCut:
    """What a reply for DS at `name`, strictly below the apex of `zone`, proves. Raises Bogus or Undecided."""
    if reply.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        raise Undecided(f"DS of {names.to_text(name)}: the resolver answers {rcode_text(reply.rcode)}")
    found = reply.find(name, RdataType.DS)
    if found is not None:
        verified = verify(found, zone.apex, zone.keys, now, work)
        if verified.expanded:
            raise Bogus(f"the DS of {names.to_text(name)} was made from a wildcard")
        ds = supported(found.rdatas)
        if not ds and not all(isinstance(rdata, DS) for rdata in found.rdatas):
            raise Bogus(f"the DS of {names.to_text(name)} is malformed")
        if not ds:
            # RFC 4035 section 5.2, RFC 6840 section 5.2
            reason = f"the DS of {names.to_text(name)} has only algorithms and digests that are not supported"
            return Unsigned(name, reason, verified.ttl)
        return SignedCut(ds, verified.ttl)
    alias = verify_alias(reply, name, zone, now, work)
    if alias is not None:
        return alias
    denial = Denial.read(reply.authority, zone, now, work)
    match denial.prove(name, RdataType.DS, work):
        case Proof.DELEGATION:
            reason = f"{names.to_text(zone.apex)} proves that {names.to_text(name)} is delegated without DS"
            return Unsigned(name, reason, denial.ttl)
        case Proof.OPT_OUT:
            reason = f"{names.to_text(name)} lies in an opt-out span of {names.to_text(zone.apex)}, and has no DS"
            return Unsigned(name, reason, denial.ttl)
        case Proof.NO_NAME:
            return NoCut(denial.ttl, ends=True)
        case Proof.NO_DATA:
            return NoCut(denial.ttl)


def verify_alias(reply: Reply, name: bytes, zone: Zone, now: float, work: Work) -> NoCut | None:
    """The verified alias at or above the name: no zone is cut off there (RFC 2181 section 10.1). None: no alias.

    Raises Bogus or Undecided.
    """
    for rrset in reply.answer:
        if rrset.rtype == RdataType.DNAME and names.is_below(name, rrset.name):
            # RFC 6672 section 5.3.1: the DNAME is signed, the CNAME made from it is not.
            verified = verify(rrset, zone.apex, zone.keys, now, work)
            if verified.expanded:
                raise Bogus(f"the DNAME of {names.to_text(rrset.name)} was made from a wildcard")
            return NoCut(verified.ttl, ends=True)
    cname = reply.find(name, RdataType.CNAME)
    if cname is None:
        return None
    verified = verify(cname, zone.apex, zone.keys, now, work)
    if verified.expanded:
        Denial.read(reply.authority, zone, now, work).check_expansion(name, verified, work)
    return NoCut(verified.ttl)
