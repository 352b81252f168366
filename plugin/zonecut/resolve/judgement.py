"""From a reply and what is known about its zone to an answer (RFC 4035 section 5)."""

from dataclasses import replace

from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CNAME import CNAME

from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode, rcode_text, type_text
from zonecut.resolve.delegation import verify_alias
from zonecut.resolve.denial import Denial
from zonecut.resolve.failures import Bogus, Undecided
from zonecut.resolve.nsec import Proof
from zonecut.resolve.reply import Reply, RRset, wire_name
from zonecut.resolve.signatures import label_count, verify
from zonecut.resolve.values import Answer, Status, Verdict
from zonecut.resolve.work import Work
from zonecut.resolve.zone import Unsigned, Zone


def classify(reply: Reply, name: bytes, rtype: int) -> Status:
    """What a reply claims, with nothing checked."""
    if reply.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        return Status.FAILED
    found = reply.find(name, rtype)
    if found is not None:
        return Status.WILDCARD if _looks_expanded(found) else Status.FOUND
    if any(
        (rrset.rtype == RdataType.CNAME and rrset.name == name)
        or (rrset.rtype == RdataType.DNAME and names.is_below(name, rrset.name))
        for rrset in reply.answer
    ):
        return Status.ALIAS
    return Status.NXDOMAIN if reply.rcode == Rcode.NXDOMAIN else Status.NODATA


def judge(reply: Reply, name: bytes, rtype: int, zone: Zone, now: float, work: Work) -> Answer:
    """The answer that the reply gives, where `zone` is the deepest zone that can hold the name.

    `now` is the time in seconds since 1970. A reply that does not validate becomes an answer that says so.
    """
    status = classify(reply, name, rtype)
    if status is Status.FAILED:
        return failed(name, rtype, f"the answer is {rcode_text(reply.rcode)}", reply.rcode)
    try:
        if status in (Status.FOUND, Status.WILDCARD):
            return _positive(reply, name, rtype, zone, now, work)
        if status is Status.ALIAS:
            return _alias(reply, name, rtype, zone, now, work)
        return _negative(reply, name, rtype, zone, now, work)
    except (Bogus, Undecided) as failure:
        # The records are withheld: nobody can then use them by mistake.
        verdict = Verdict.BOGUS if isinstance(failure, Bogus) else Verdict.INDETERMINATE
        return Answer(name, rtype, verdict, status, str(failure), rcode=reply.rcode)


def insecure(reply: Reply, name: bytes, rtype: int, unsigned: Unsigned) -> Answer:
    """The answer of a reply from below a cut that is proven to be unsigned."""
    return _as_received(reply, name, rtype, Verdict.INSECURE, unsigned.reason)


def vouched(reply: Reply, name: bytes, rtype: int, validates: bool) -> Answer:
    """The answer of a validating resolver that is trusted: its AD bit is the verdict (RFC 6840 section 5.8).

    `validates` tells that it does set that bit where it should; else its absence means nothing.
    """
    if reply.rcode == Rcode.SERVFAIL:
        reason = "the trusted resolver answers SERVFAIL, as it does when validation fails"
        return failed(name, rtype, reason, reply.rcode, Verdict.BOGUS)
    if classify(reply, name, rtype) is Status.FAILED:
        return failed(name, rtype, f"the trusted resolver answers {rcode_text(reply.rcode)}", reply.rcode)
    if not reply.authentic and not validates:
        reason = "the trusted resolver did not set the AD bit, not even for a trust anchor: it does not validate"
        return Answer(name, rtype, Verdict.INDETERMINATE, classify(reply, name, rtype), reason, rcode=reply.rcode)
    if not reply.authentic:
        return _as_received(reply, name, rtype, Verdict.INSECURE, "the trusted resolver did not set the AD bit")
    found = reply.find(name, rtype)
    return _as_received(
        reply,
        name,
        rtype,
        Verdict.SECURE,
        "the trusted resolver set the AD bit",
        signer=wire_name(found.signatures[0].signer) if found and found.signatures else None,
    )


def failed(
    name: bytes, rtype: int, reason: str, rcode: int | None = None, verdict: Verdict = Verdict.INDETERMINATE
) -> Answer:
    """No answer at all."""
    return Answer(name, rtype, verdict, Status.FAILED, reason, rcode=rcode)


def silence(name: bytes, rtype: int, reason: str, verdict: Verdict = Verdict.INDETERMINATE) -> Answer:
    """No resolver gave anything of use."""
    return replace(failed(name, rtype, reason, verdict=verdict), is_silence=True)


def _positive(reply: Reply, name: bytes, rtype: int, zone: Zone, now: float, work: Work) -> Answer:
    found = reply.find(name, rtype)
    assert found is not None
    verified = verify(found, zone.apex, zone.keys, now, work)
    if verified.expanded:
        Denial.read(reply.authority, zone, now, work).check_expansion(name, verified, work)
    return Answer(
        name=name,
        rtype=rtype,
        verdict=Verdict.SECURE,
        status=Status.WILDCARD if verified.expanded else Status.FOUND,
        reason=f"{type_text(rtype)} of {names.to_text(name)} is signed by key {verified.key_tag} of"
        f" {names.to_text(zone.apex)}; chain: {zone.path}",
        rdatas=found.wires,
        ttl=verified.ttl,
        signer=zone.apex,
        rcode=reply.rcode,
    )


def _alias(reply: Reply, name: bytes, rtype: int, zone: Zone, now: float, work: Work) -> Answer:
    alias = verify_alias(reply, name, zone, now, work)
    assert alias is not None
    reason = f"{names.to_text(name)} is an alias, signed by {names.to_text(zone.apex)}; chain: {zone.path}"
    return Answer(
        name=name,
        rtype=rtype,
        verdict=Verdict.SECURE,
        status=Status.ALIAS,
        reason=reason,
        ttl=alias.ttl,
        signer=zone.apex,
        rcode=reply.rcode,
        target=_target(reply, name),
    )


def _negative(reply: Reply, name: bytes, rtype: int, zone: Zone, now: float, work: Work) -> Answer:
    denial = Denial.read(reply.authority, zone, now, work)
    proof = denial.prove(name, rtype, work)
    subject = f"{names.to_text(zone.apex)} proves that {names.to_text(name)}"
    verdict, status = Verdict.SECURE, Status.NODATA
    match proof:
        case Proof.OPT_OUT:
            verdict = Verdict.INSECURE
            status = classify(reply, name, rtype)
            reason = f"{names.to_text(name)} lies in an opt-out span of {names.to_text(zone.apex)}"
        case Proof.NO_NAME:
            # The response code is not signed, so the proof decides which of the two it is.
            status = Status.NXDOMAIN
            reason = f"{subject} does not exist"
        case Proof.NO_DATA:
            reason = f"{subject} has no {type_text(rtype)}"
        case Proof.DELEGATION:
            reason = f"{subject} is delegated without {type_text(rtype)}"
    return Answer(
        name=name,
        rtype=rtype,
        verdict=verdict,
        status=status,
        reason=f"{reason}; chain: {zone.path}",
        ttl=denial.ttl,
        signer=zone.apex if verdict is Verdict.SECURE else None,
        rcode=reply.rcode,
        soa=zone.apex if verdict is Verdict.SECURE else reply.soa_above(name),
    )


def _as_received(
    reply: Reply, name: bytes, rtype: int, verdict: Verdict, reason: str, signer: bytes | None = None
) -> Answer:
    """The answer as the reply has it, with a verdict that does not come from its signatures."""
    found, status = reply.find(name, rtype), classify(reply, name, rtype)
    return Answer(
        name=name,
        rtype=rtype,
        verdict=verdict,
        status=status,
        reason=reason,
        rdatas=found.wires if found else (),
        ttl=found.ttl if found else 0,
        signer=signer,
        rcode=reply.rcode,
        soa=reply.soa_above(name) if status in (Status.NODATA, Status.NXDOMAIN) else None,
        target=_target(reply, name) if status is Status.ALIAS else None,
    )


def _target(reply: Reply, name: bytes) -> bytes | None:
    """Where the CNAME at a name leads. None below a DNAME: the CNAME made from it is not signed."""
    if any(rrset.rtype == RdataType.DNAME and names.is_below(name, rrset.name) for rrset in reply.answer):
        return None
    found = reply.find(name, RdataType.CNAME)
    (cname,) = found.rdatas if found is not None and len(found.rdatas) == 1 else (None,)
    return wire_name(cname.target) if isinstance(cname, CNAME) else None


def _looks_expanded(rrset: RRset) -> bool:
    """All signatures of an honest RRset cover the same labels. Where one of several says that a wildcard made it, the
    others may be junk that somebody put beside it, which the resolver that vouches for the RRset does not look at."""
    labels = label_count(rrset.name)
    return any(signature.labels < labels for signature in rrset.signatures)
