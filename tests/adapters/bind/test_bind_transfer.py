"""A transfer of which not every message is signed (RFC 8945 section 5.3.1), as NSD sends them."""

import time
from collections.abc import Sequence
from dataclasses import replace

import dns.flags
import dns.message
import dns.rrset
import pytest

from zonecut.plugin import BackendMisconfigured, BackendUnavailable
from zonecut.plugin.dns.tsig import Signed, sign
from zonecut.plugin.dns.tsig_key import parse_key
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import RRClass, RRType
from zonecut.protocol.rrset import ResourceRecord
from zonecut_bind.dialect import PRIMARY
from zonecut_bind.increments import Increments
from zonecut_bind.server import Server
from zonecut_bind.transfer import Transfer

KEY = parse_key("key zonecut. { algorithm hmac-sha256; secret AAAA; };")
ZONE = names.from_text("parent.example.")
SOA = "parent.example. 60 IN SOA ns. h. 7 1 1 1 1"
SERVER = Server("127.0.0.1", 53, KEY, 5.0, PRIMARY, 5.0)


def sent(number: int, *records: str) -> bytes:
    """One message of a transfer, not signed."""
    found = dns.message.Message(number)
    found.flags = dns.flags.QR | dns.flags.AA
    for record in records:
        owner, ttl, _, rtype, data = record.split(maxsplit=4)
        found.answer.append(dns.rrset.from_text(owner, int(ttl), "IN", rtype, data))
    return found.to_wire()


def signed(request: Signed, messages: Sequence[bytes], which: Sequence[int]) -> list[bytes]:
    """These messages, of which some are signed over all that came since the last one that was."""
    found, mac, pending = [], request.mac, b""
    for number, wire in enumerate(messages):
        pending += wire
        if number not in which:
            found.append(wire)
            continue
        now = int(time.time())
        timers = (now >> 32).to_bytes(2) + (now & 0xFFFFFFFF).to_bytes(4) + (300).to_bytes(2)
        variables = timers
        if number == which[0]:
            head = int(RRClass.ANY).to_bytes(2) + bytes(4)
            variables = KEY.owner + head + KEY.algorithm_name + timers + bytes(4)
        context = KEY.context()
        context.update(len(mac).to_bytes(2) + mac + pending + variables)
        mac, pending = context.digest(), b""
        rdata = KEY.algorithm_name + timers + len(mac).to_bytes(2) + mac + wire[:2] + bytes(4)
        record = message.record(KEY.owner, RRType.TSIG, RRClass.ANY, 0, rdata)
        found.append(wire[:10] + (1).to_bytes(2) + wire[12:] + record)
    return found


MESSAGES = (
    sent(1, SOA, "parent.example. 60 IN NS ns.parent.example."),
    sent(1, "a.parent.example. 60 IN NS ns.xx.test."),
    sent(1, "b.parent.example. 60 IN NS ns.xx.test."),
    sent(1, "c.parent.example. 60 IN NS ns.xx.test.", SOA),
)


async def taken(which: Sequence[int], messages: Sequence[bytes] = MESSAGES, changed: int | None = None) -> int:
    """How many messages of a transfer counted, of which these are signed."""
    request = sign(message.query(0, ZONE, RRType.AXFR), KEY, 1)
    stream = signed(request, messages, which)
    if changed is not None:
        stream[changed] = stream[changed].replace(b"\2xx", b"\2yy")
    coming = iter(stream)

    async def come() -> bytes:
        return next(coming)

    return len([each async for each in Transfer(SERVER, ZONE)._authentic(request, come)])


@pytest.mark.parametrize("which", [(0, 1, 2, 3), (0, 3), (0, 2, 3)])
async def test_a_transfer_counts_when_its_first_and_last_messages_are_signed(which: Sequence[int]) -> None:
    assert await taken(which) == len(MESSAGES)


@pytest.mark.parametrize("changed", [1, 2, 3])
async def test_nothing_of_a_message_counts_that_a_later_signature_does_not_cover(changed: int) -> None:
    with pytest.raises(BackendMisconfigured, match="does not verify"):
        await taken((0, 3), changed=changed)


async def test_a_transfer_whose_first_message_is_not_signed_is_none_of_the_server_s() -> None:
    with pytest.raises(BackendMisconfigured, match="is not signed"):
        await taken((1, 3))


async def test_more_than_ninety_nine_messages_without_a_signature_are_too_many() -> None:
    many = [MESSAGES[0], *([MESSAGES[1]] * 100), MESSAGES[3]]
    with pytest.raises(BackendMisconfigured, match="is not signed"):
        await taken((0, 101), many)
    assert await taken((0, 100), [MESSAGES[0], *([MESSAGES[1]] * 99), MESSAGES[3]]) == 101


async def test_without_a_key_nothing_has_to_be_signed() -> None:
    coming = iter(MESSAGES)

    async def come() -> bytes:
        return next(coming)

    transfer = Transfer(replace(SERVER, key=None), ZONE)
    request = Signed(message.query(1, ZONE, RRType.AXFR), b"")
    assert len([each async for each in transfer._authentic(request, come)]) == len(MESSAGES)
    assert transfer.serial == 7


async def test_a_transfer_of_another_zone_is_none() -> None:
    with pytest.raises(BackendUnavailable, match=r"none of parent\.example\."):
        await taken((0, 1), [sent(1, SOA.replace("parent", "other")), MESSAGES[3]])


@pytest.mark.parametrize(
    ("last", "why"),
    [
        ((SOA.replace(" 7 ", " 8 "),), "begins with the SOA of serial 7 and ends with that of 8"),
        ((SOA.replace("parent.example. 60", "x.parent.example. 60", 1),), r"has an SOA of x\.parent\.example\."),
        ((SOA.replace(" 7 ", " 7 1"),), "ends with another SOA than it begins with"),
        ((SOA, SOA.replace(" 7 ", " 8 ")), "goes on after its last SOA"),
        ((SOA, "d.parent.example. 60 IN NS ns.xx.test."), "goes on after its last SOA"),
    ],
)
async def test_a_transfer_that_does_not_end_with_the_soa_that_it_begins_with_is_refused(
    last: Sequence[str], why: str
) -> None:
    with pytest.raises(BackendUnavailable, match=rf"none of parent\.example\. \(RFC 5936 section 2.2\): it {why}"):
        await taken((0, 1), [MESSAGES[0], sent(1, *last)])


def soa(serial: int) -> ResourceRecord:
    return ResourceRecord(ZONE, RRType.SOA, 60, b"\0\0" + serial.to_bytes(4) + bytes(16))


def a(number: int) -> ResourceRecord:
    return ResourceRecord(names.from_text("www.parent.example."), RRType.A, 60, bytes([11, 0, 0, number]))


def replace_owner(record: ResourceRecord, owner: str) -> ResourceRecord:
    return record._replace(owner=names.from_text(owner))


def increments(*records: ResourceRecord) -> Increments:
    found = Increments(soa(7))
    for record in records:
        found.feed([record])
    return found


def test_an_incremental_transfer_is_one_difference_after_the_other() -> None:
    found = increments(soa(9), soa(7), a(1), soa(8), a(2), a(3), soa(8), a(2), soa(9), soa(9), a(9))
    assert found.is_complete
    assert not found.is_whole
    assert [(each.removed, each.added) for each in found.differences] == [
        ([soa(7), a(1)], [soa(8), a(2), a(3)]),
        ([soa(8), a(2)], [soa(9)]),
    ]


def test_a_zone_that_has_not_changed_is_told_by_its_soa_alone() -> None:
    found = increments(soa(7))
    assert found.is_complete
    assert found.differences == []


@pytest.mark.parametrize("serial", [6, 7 - 2**31 + 1 + 2**32])
def test_a_server_that_has_an_earlier_version_than_ours_says_so_by_its_soa_alone(serial: int) -> None:
    """RFC 1995 section 2: a zone that was put back, or one of several servers that lags."""
    found = increments(soa(serial))
    assert found.is_complete
    assert not found.is_whole
    assert found.differences == []


OTHERS = replace_owner(soa(9), "other.parent.example.")


@pytest.mark.parametrize(
    "records",
    [
        (soa(9), a(1)),
        (soa(9), soa(8)),
        (soa(9), soa(9)),
        (a(1),),
        (OTHERS,),
        (soa(9), soa(7), a(1), soa(9), OTHERS),
        (soa(9), soa(7), a(1), soa(9), soa(10)),
    ],
)
def test_a_server_that_sends_the_whole_zone_instead_is_recognized(records: tuple[ResourceRecord, ...]) -> None:
    assert increments(*records).is_whole


def test_what_is_cut_off_is_not_complete() -> None:
    for count in range(1, 6):
        found = increments(*(soa(9), soa(7), a(1), soa(9), a(2))[:count])
        assert not found.is_complete
        assert not found.is_whole
