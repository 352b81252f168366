"""Examinations as values, for tests of what the doctor makes of them. No tests of its own."""

from collections.abc import Sequence
from ipaddress import ip_address

from agent_support import CHILD, INSECURE, PARENT, SECURE, TARGET, pair
from zonecut.agent.doctor import Report, Severity
from zonecut.agent.doctor.observation import Examination, ReceiverView
from zonecut.agent.doctor.reachability import KeyWord, Reached
from zonecut.agent.evidence.zone_view import ChildServer, Standing, ZoneView
from zonecut.agent.exchange.response import Response, Signed
from zonecut.agent.parent.discovery import Discovery
from zonecut.agent.parent.parent_view import ParentView, ServerView
from zonecut.agent.parent.receiver import KeyTrust, UpdateReceiver
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.announced.svcb import Method, Svcb
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.keystate import KeyStateOption
from zonecut.resolve import Answer, Status, Verdict

NS1, NS2 = names.from_text("ns1.child.parent.example."), names.from_text("ns2.child.parent.example.")

PARENT_NS = names.from_text("ns.parent.example.")

OWN, RECEIVER = pair(CHILD).key, pair(TARGET).key

ADDRESS = Endpoint("192.0.2.53", 5354)

NS_RECORDS = (RR(CHILD, RRType.NS, NS1), RR(CHILD, RRType.NS, NS2))

GLUE = (RR(NS1, RRType.A, ip_address("192.0.2.1").packed), RR(NS2, RRType.A, ip_address("192.0.2.2").packed))

HELD = Delegation.of(CHILD, [*NS_RECORDS, *GLUE])

CONTENT = ZoneContent(CHILD, 7, (NS1, NS2), GLUE, (), (), (OWN.rdata,), 60)


def answer(
    name: bytes, rtype: RRType, *rdatas: bytes, verdict: Verdict = SECURE, status: Status | None = None
) -> Answer:
    found = status or (Status.FOUND if rdatas else Status.NODATA)
    signer = (CHILD if names.is_at_or_below(name, CHILD) else PARENT) if verdict is SECURE else None
    return Answer(name, rtype, verdict, found, "because", rdatas, 60, signer, 0)


def served(content: ZoneContent = CONTENT, server: bytes = NS1, address: str = "192.0.2.1") -> ChildServer:
    return ChildServer(server, address, Standing.ANSWERS, content=content)


def parent_of(*delegations: Delegation | None) -> ParentView:
    servers = [
        ServerView(PARENT_NS, f"192.0.2.{100 + number}", each, "" if each else "does not answer")
        for number, each in enumerate(delegations)
    ]
    return ParentView(PARENT, CHILD, tuple(servers))


def zone_of(*servers: ChildServer) -> ZoneView:
    return ZoneView(CHILD, servers)


def response(signed: Signed = Signed.VALID) -> Response:
    by = RECEIVER if signed.is_good else None
    return Response(ADDRESS, 0, signed, by, (), None, False, True, 0.01)


def receiver(
    *,
    worth: KeyTrust = KeyTrust.VALIDATED,
    methods: Sequence[Method] | None = (Method.AT_APEX, Method.MANUAL),
    signed: Signed = Signed.VALID,
    state: int | None = None,
    key: Verdict = SECURE,
) -> ReceiverView:
    record = Dsync(RRType.ANY, 2, 5354, TARGET)
    keys = (RECEIVER,) if worth in (KeyTrust.VALIDATED, KeyTrust.INSECURE) else ()
    svcb = () if methods is None else (Svcb.announcing(methods).to_wire(),)
    return ReceiverView(
        record,
        UpdateReceiver(PARENT, TARGET, (ADDRESS,), keys, worth, None, "because"),
        "because",
        answer(TARGET, RRType.KEY, RECEIVER.rdata, verdict=key),
        answer(TARGET, RRType.SVCB, *svcb),
        (answer(TARGET, RRType.A, b"\xc0\0\2\x35"),),
        tuple(Reached(ADDRESS, way, response(signed), "because") for way in ("udp", "tcp")),
        () if state is None else (KeyWord(OWN.tag, KeyStateOption(OWN.tag, state), True),),
    )


def examination(*receivers: ReceiverView) -> Examination:
    """A child that is well, though not signed; with these receivers."""
    records = tuple(view.record for view in receivers)
    return Examination(
        CHILD,
        1_800_000_000.0,
        Discovery(CHILD, PARENT, (), SECURE, records),
        parent_of(HELD),
        zone_of(served(), served(server=NS2, address="192.0.2.2")),
        answer(CHILD, RRType.SOA, b"soa", verdict=INSECURE),
        answer(CHILD, RRType.KEY, OWN.rdata, verdict=INSECURE),
        answer(names.ROOT, RRType.SOA, b"soa"),
        receivers=receivers,
    )


def needy(report: Report) -> dict[str, Severity]:
    findings = [finding for section in report.sections for finding in section.findings]
    return {each.tag: each.severity for each in findings if each.severity not in (Severity.OK, Severity.NOTE)}
