"""Zone transfers as messages: whatever the order and the cuts, the same is made of them."""

import asyncio
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from itertools import pairwise
from typing import Any, NamedTuple

import dns.message
import dns.tsig
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolve_support import NOW, Signer
from zonecut.agent.zone.axfr import Stream
from zonecut.agent.zone.delegation_records import Kept
from zonecut.agent.zone.ixfr import IncomingTransfer, StartOver
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.net.streams import framed
from zonecut.plugin.dns.tsig import NotAuthentic
from zonecut.plugin.dns.tsig_key import TsigKey
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import RRClass, RRType
from zonecut.protocol.envelope import Envelope, walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.resolve import check_dnskey_rrset

ZONE_NAME = "child.parent.example."
ZONE = names.from_text(ZONE_NAME)
RRSIG = 46


class Rec(NamedTuple):
    owner: bytes
    rtype: int
    rdata: bytes


def name(text: str) -> bytes:
    return names.from_text(f"{text}.{ZONE_NAME}")


def a(owner: bytes, last: int) -> Rec:
    return Rec(owner, RRType.A, bytes((192, 0, 2, last)))


def soa(serial: int) -> Rec:
    return Rec(ZONE, RRType.SOA, b"\2NS" + ZONE + b"\4host\0" + serial.to_bytes(4) + bytes(16))


SIGNER = Signer(ZONE_NAME)
KEYS = SIGNER.dnskeys()
SERVERS = [name("ns1"), name("a.b"), ZONE, names.from_text("ns.elsewhere.example.")]
POOL = [
    *(Rec(ZONE, RRType.NS, server) for server in SERVERS),
    *(a(owner, last) for owner in (name("ns1"), name("a.b"), ZONE, name("www"), name("x.a.b")) for last in (1, 2)),
    Rec(name("ns1"), RRType.AAAA, ip_address("2001:db8::1").packed),
    Rec(name("a.b"), RRType.CNAME, name("www")),
    Rec(name("b"), RRType.NS, name("ns1")),
    Rec(name("b"), RRType.DNAME, name("www")),
    Rec(name("www"), 16, b"\1x"),
    Rec(ZONE, 15, b"\0\1" + name("www")),
    *(Rec(ZONE, RRType.CDS, bytes((0, tag, 13, 2)) + bytes(32)) for tag in range(2)),
    *(Rec(ZONE, RRType.KEY, b"\2\0\3\x0f" + bytes((tag,))) for tag in range(2)),
    *(Rec(ZONE, RRType.DNSKEY, rdata) for rdata in KEYS.wires),
    *(Rec(ZONE, RRSIG, signature.to_wire() or b"") for signature in KEYS.signatures),
]
VERSIONS = st.lists(st.sets(st.sampled_from(POOL)), min_size=1, max_size=4)


def messages(records: Sequence[Rec], cuts: Iterable[int] = ()) -> list[Envelope]:
    """The records in messages that end at these places."""
    places = sorted({0, len(records), *(cut % (len(records) + 1) for cut in cuts)})
    found = []
    for start, end in pairwise(places):
        body = [message.record(rec.owner, rec.rtype, RRClass.IN, 60, rec.rdata) for rec in records[start:end]]
        wire = message.query(1, ZONE, RRType.AXFR, flags=0x8000, additional=body)
        found.append(walk(wire[:6] + wire[10:12] + bytes(4) + wire[12:]))  # an answer section
    return found


def receive(incoming: IncomingTransfer, records: Sequence[Rec], cuts: Iterable[int] = ()) -> IncomingTransfer:
    for envelope in messages(records, cuts):
        assert not incoming.done
        incoming.take(envelope)
    assert incoming.done
    return incoming


def whole(serial: int, records: Iterable[Rec]) -> list[Rec]:
    return [soa(serial), *records, soa(serial)]


def differences(versions: Sequence[set[Rec]], first: int = 1) -> list[Rec]:
    newest = soa(first + len(versions) - 1)
    found = [newest]
    for serial, (old, new) in enumerate(pairwise(versions), first):
        found += [soa(serial), *sorted(old - new), soa(serial + 1), *sorted(new - old)]
    return [*found, newest]


def content_of(serial: int, records: Iterable[Rec]) -> ZoneContent:
    """What a transfer makes of a zone when all name servers are known before."""
    incoming = receive(IncomingTransfer(ZONE, Kept(ZONE, SERVERS)), whole(serial, sorted(records)))
    return incoming.kept.content(incoming.serial)


@given(records=st.permutations(POOL), cuts=st.lists(st.integers(0, 100), max_size=5))
def test_the_order_of_records_and_the_size_of_messages_make_no_difference(records: list[Rec], cuts: list[int]) -> None:
    first = receive(IncomingTransfer(ZONE, Kept(ZONE)), whole(7, records), cuts).kept
    second = receive(IncomingTransfer(ZONE, Kept(ZONE, first.servers)), whole(7, records), cuts).kept
    assert not second.missed
    assert second.content(7) == content_of(7, POOL)
    if not first.missed:
        assert first.content(7) == second.content(7)


def test_apex_first_as_most_servers_send_it_one_transfer_is_enough() -> None:
    ordered = sorted(POOL, key=lambda rec: names.sort_key(rec.owner))
    assert not receive(IncomingTransfer(ZONE, Kept(ZONE)), whole(7, ordered)).kept.missed


def test_a_name_server_that_is_named_after_its_address_has_passed_is_noticed() -> None:
    late = [a(name("ns1"), 1), Rec(ZONE, RRType.NS, name("ns1"))]
    assert receive(IncomingTransfer(ZONE, Kept(ZONE)), whole(7, late)).kept.missed
    assert not receive(IncomingTransfer(ZONE, Kept(ZONE, [name("ns1")])), whole(7, late)).kept.missed


@given(versions=VERSIONS, cuts=st.lists(st.integers(0, 100), max_size=5))
def test_differences_lead_to_what_the_whole_zone_would(versions: list[set[Rec]], cuts: list[int]) -> None:
    if len(versions) == 1:
        versions *= 2
    start = receive(IncomingTransfer(ZONE, Kept(ZONE)), whole(1, sorted(versions[0]))).kept
    if start.missed:
        start = receive(IncomingTransfer(ZONE, Kept(ZONE, start.servers)), whole(1, sorted(versions[0]))).kept
    records = differences(versions)
    # a first message of one SOA record means that there is nothing newer
    try:
        after = receive(IncomingTransfer(ZONE, start, 1), records, [2 + cut % (len(records) - 2) for cut in cuts])
    except StartOver:
        assert len({frozenset(rec for rec in each if rec.rtype == RRType.NS) for each in versions}) > 1
        return
    assert after.serial == len(versions)
    if not after.kept.missed:
        assert after.kept.content(after.serial) == content_of(after.serial, versions[-1])


def test_an_ixfr_may_be_answered_by_the_whole_zone_or_by_nothing() -> None:
    kept = receive(IncomingTransfer(ZONE, Kept(ZONE)), whole(1, POOL)).kept
    other = [rec for rec in POOL if rec.rtype not in (RRType.CDS, RRType.KEY)]
    for records in (other, [POOL[-1], *other], [Rec(ZONE, 15, b"\0\1" + ZONE), *other]):
        after = receive(IncomingTransfer(ZONE, kept, 1), whole(2, records))
        assert after.kept.content(2) == content_of(2, other)
    same = receive(IncomingTransfer(ZONE, kept, 1), [soa(1)])
    assert same.kept is kept
    assert same.serial == 1
    with pytest.raises(StartOver):
        IncomingTransfer(ZONE, kept, 1).take(messages([soa(2)])[0])


def test_differences_that_do_not_fit_what_is_known_start_over() -> None:
    ns1, other = Rec(ZONE, RRType.NS, name("ns1")), Rec(ZONE, RRType.NS, name("a.b"))
    cases = {
        "from another version": [soa(3), soa(2), soa(3), soa(3)],
        "of a record that is not there": [soa(2), soa(1), other, soa(2), soa(2)],
        "with a gap": [soa(3), soa(1), ns1, soa(2), other, soa(3), soa(3)],
        "that end nowhere": [soa(3), soa(1), ns1, soa(2), other, soa(1)],
    }
    for records in cases.values():
        kept = receive(IncomingTransfer(ZONE, Kept(ZONE)), whole(1, [ns1])).kept
        with pytest.raises(StartOver):
            IncomingTransfer(ZONE, kept, 1).take(messages(records)[0])


def test_a_transfer_that_is_none_is_said_to_be_so() -> None:
    ns1 = Rec(ZONE, RRType.NS, name("ns1"))
    cases = [
        ([ns1], "does not begin with an SOA record"),
        ([Rec(name("x"), RRType.SOA, soa(1).rdata)], "is none of"),
        ([soa(1), ns1, soa(2)], "serial 2 stands where none belongs"),
        ([soa(1), ns1, soa(1), ns1], "after the last SOA record"),
        ([soa(1), Rec(ZONE, RRType.NS, name("ns1") + b"\0")], "RDATA of a wrong length"),
        ([], "is empty"),
    ]
    for records, reason in cases:
        envelope = messages(records)[0] if records else walk(message.query(1, ZONE, RRType.AXFR, flags=0x8000))
        with pytest.raises(MalformedMessage, match=reason):
            IncomingTransfer(ZONE, Kept(ZONE)).take(envelope)


def test_only_what_counts_is_kept_of_a_large_zone() -> None:
    kept = Kept(ZONE)
    incoming = IncomingTransfer(ZONE, kept)
    incoming.take(messages([soa(1), Rec(ZONE, RRType.NS, name("ns1"))])[0])
    for number in range(50):
        incoming.take(messages([a(name(f"host{number}x{each}"), 1) for each in range(100)])[0])
    incoming.take(messages([a(name("ns1"), 9), soa(1)])[0])
    assert not kept.missed
    assert len(kept) == 2
    assert [record.owner for record in kept.content(1).addresses] == [name("ns1")]


def test_name_servers_at_aliases_and_below_cuts_are_unusable_in_a_transfer_too() -> None:
    ns = [Rec(ZONE, RRType.NS, name(text)) for text in ("alias", "x.cut", "y.dname", "good")]
    zone = [
        *ns,
        Rec(name("alias"), RRType.CNAME, name("good")),
        Rec(name("cut"), RRType.NS, name("x.cut")),
        a(name("x.cut"), 1),
        Rec(name("dname"), RRType.DNAME, name("good")),
        a(name("good"), 3),
    ]
    content = receive(IncomingTransfer(ZONE, Kept(ZONE)), whole(1, zone)).kept.content(1)
    assert [record.owner for record in content.addresses] == [name("good")]
    reasons = {names.to_text(each.name): each.reason for each in content.unusable}
    assert sorted(reasons) == [f"{text}.{ZONE_NAME}" for text in ("alias", "x.cut", "y.dname")]
    assert reasons[f"x.cut.{ZONE_NAME}"].endswith(f"cut.{ZONE_NAME} is delegated")


def test_signatures_of_the_keys_come_along_and_verify() -> None:
    content = content_of(1, POOL)
    assert content.dnskey == KEYS.wires
    ds = [SIGNER.ds().to_wire() or b""]
    assert check_dnskey_rrset(ZONE, content.signed_dnskey, ds, NOW) is None


KEY = TsigKey("update.lab.", b"a secret", dns.tsig.HMAC_SHA256)


class Signing:
    """A server's side of a transfer that signs the messages that it is told to (RFC 8945 section 5.3.1)."""

    def __init__(self, request: bytes) -> None:
        self._request = dns.message.from_wire(request[2:], keyring=KEY)
        self._context: Any = None

    def answer(self, *, signed: bool) -> bytes:
        response = dns.message.make_response(self._request)
        wire: bytes
        if signed:
            wire = response.to_wire(multi=True, tsig_ctx=self._context)
            self._context = response.tsig_ctx
        else:
            response.tsig = None
            wire = response.to_wire()
            if self._context is not None:
                self._context.update(wire)
        return framed(wire)


async def received(*signed: bool, spoil: int | None = None) -> Stream:
    """The stream after these messages; the octets of one of them are not those that were signed."""
    reader = asyncio.StreamReader()
    stream = Stream(reader, KEY)
    server = Signing(stream.request(ZONE, RRType.AXFR, None))
    for number, each in enumerate(signed):
        wire = bytearray(server.answer(signed=each))
        if number == spoil:
            wire[5] ^= 0x10  # the Z bit
        reader.feed_data(bytes(wire))
    for _ in signed:
        await stream.receive()
    stream.check_end()
    return stream


async def test_messages_without_tsig_are_vouched_for_by_the_next_that_has_one() -> None:
    await received(True, True)
    await received(True, False, False, True)
    await received(True, *[False] * 99, True)


@pytest.mark.parametrize(
    ("signed", "spoil"),
    [
        ((False, True), None),  # the first has to be signed
        ((True, False), None),  # and the last
        ((True, *[False] * 100, True), None),  # and one of a hundred
        ((True, False, True), 1),
        ((True, True), 1),
    ],
)
async def test_a_transfer_that_tsig_does_not_vouch_for_is_none(signed: tuple[bool, ...], spoil: int | None) -> None:
    with pytest.raises(NotAuthentic):
        await received(*signed, spoil=spoil)
