"""From which zone a negative answer comes: proven where it can be, else as the SOA record says (RFC 2308 section 2)."""

from dns.rdatatype import RdataType

from resolve_support import HOUR, NOW, Signer, reply, rrset, work
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode
from zonecut.resolve.judgement import insecure, judge, vouched
from zonecut.resolve.reply import RRset
from zonecut.resolve.values import Answer, Status, Verdict
from zonecut.resolve.zone import Unsigned

CHILD = Signer("child.test.")
NAME = "a.b.child.test."
TIMES = "ns.test. hostmaster.test. 1 3600 600 86400 60"
UNSIGNED = Unsigned(names.from_text("test."), "no DS", HOUR)
PROOF = CHILD.sign("child.test.", "NSEC", "z.child.test. NS SOA RRSIG NSEC DNSKEY")


def soa(owner: str) -> RRset:
    return rrset(owner, "SOA", TIMES)


def judged(*authority: RRset) -> Answer:
    answer = reply([], authority, Rcode.NXDOMAIN)
    return judge(answer, names.from_text(NAME), RdataType.KEY, CHILD.zone, NOW, work())


def unsigned(*authority: RRset, rcode: int = Rcode.NXDOMAIN) -> Answer:
    return insecure(reply([], authority, rcode), names.from_text(NAME), RdataType.KEY, UNSIGNED)


def test_a_proof_says_it_whatever_the_soa_record_claims() -> None:
    for records in ((), (soa("child.test."),), (soa("test."),)):
        answer = judged(PROOF, *records)
        assert (answer.verdict, answer.soa) == (Verdict.SECURE, CHILD.wire)


def test_without_a_proof_nothing_is_said() -> None:
    assert (judged(soa("child.test.")).verdict, judged(soa("child.test.")).soa) == (Verdict.INDETERMINATE, None)


def test_where_nothing_is_secure_the_soa_record_says_it() -> None:
    for rcode in (Rcode.NOERROR, Rcode.NXDOMAIN):
        assert unsigned(soa("b.child.test."), rcode=rcode).soa == names.from_text("b.child.test.")
    trusted = vouched(reply([], [soa("child.test.")], Rcode.NXDOMAIN), names.from_text(NAME), RdataType.KEY, True)
    assert (trusted.status, trusted.soa) == (Status.NXDOMAIN, CHILD.wire)


def test_a_soa_record_elsewhere_or_more_than_one_say_nothing() -> None:
    assert unsigned(soa("other.test.")).soa is None
    assert unsigned(soa("x.a.b.child.test.")).soa is None
    assert unsigned(soa("test."), soa("child.test.")).soa is None
    assert unsigned().soa is None


def test_only_a_negative_answer_has_one() -> None:
    key = rrset(NAME, "KEY", "512 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=")
    found = insecure(reply([key], [soa("child.test.")]), names.from_text(NAME), RdataType.KEY, UNSIGNED)
    assert (found.status, found.soa) == (Status.FOUND, None)
    failed = unsigned(soa("child.test."), rcode=Rcode.SERVFAIL)
    assert (failed.status, failed.soa) == (Status.FAILED, None)
