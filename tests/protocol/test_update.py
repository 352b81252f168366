"""UPDATE messages and typed requests (RFC 2136; the kinds of delegation management)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import BELOW, CHILD, delegations, records
from vectors_of import VECTORS, Vector
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRClass, RRType, type_text
from zonecut.protocol.delegation import RR, Delegation, Difference
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import MalformedMessage, Refusal
from zonecut.protocol.update import (
    DelegationChange,
    KeyRoll,
    KeyUpload,
    Request,
    check_prerequisites,
    read_request,
    zone_of,
)

ZONE = names.from_text("parent.example.")
KEY = b"\x02\x00\x03\x0f" + b"k" * 32
OTHER_KEY = b"\x02\x00\x03\x0f" + b"o" * 32
NS1, NS2 = b"\x03ns1" + CHILD, b"\x03ns2" + CHILD


def read(*updates: bytes, prerequisites: tuple[bytes, ...] = ()) -> Request:
    wire = message.update(1, ZONE, prerequisites, updates)
    return read_request(walk(wire), ZONE, CHILD, KEY)


def change(*updates: bytes, prerequisites: tuple[bytes, ...] = ()) -> DelegationChange:
    request = read(*updates, prerequisites=prerequisites)
    assert isinstance(request, DelegationChange)
    return request


def add(record: RR) -> bytes:
    return message.add(record.owner, record.rtype, 3600, record.rdata)


def delete(record: RR) -> bytes:
    return message.delete_record(record.owner, record.rtype, record.rdata)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_a_real_client_s_message_is_a_delegation_change(vector: Vector) -> None:
    envelope = vector.envelope
    assert zone_of(envelope) == names.from_text("sig0.test.")
    request = read_request(envelope, zone_of(envelope), vector.signature.signer, vector.key.rdata)
    assert isinstance(request, DelegationChange)
    assert bool(request.prerequisites) is ("prereq" in vector.name)
    assert request.apply(Delegation(request.child)).records


@given(delegations, delegations)
def test_every_style_of_update_gives_the_same_delegation(before: Delegation, after: Delegation) -> None:
    difference = Difference.between(before, after)
    delta = [delete(record) for record in difference.removed] + [add(record) for record in difference.added]
    changed = {(record.owner, record.rtype) for record in (*difference.removed, *difference.added)}
    replacement = [message.delete_rrset(owner, rtype) for owner, rtype in sorted(changed)]
    replacement += [add(record) for record in after.records if (record.owner, record.rtype) in changed]
    owners = {record.owner for record in before.records}
    anew = [message.delete_name(owner) for owner in sorted(owners)] + [add(record) for record in after.records]
    for style in (delta, replacement, anew):
        assert change(*style).apply(before) == after


@given(delegations)
def test_deleting_all_at_the_child_touches_nothing_below_it(before: Delegation) -> None:
    after = change(message.delete_name(CHILD)).apply(before)
    assert after == Delegation.of(CHILD, [record for record in before.records if record.owner != CHILD])


def test_the_update_section_is_taken_in_its_order() -> None:
    record = RR(CHILD, RRType.NS, NS1)
    assert change(add(record), message.delete_rrset(CHILD, RRType.NS)).apply(Delegation(CHILD)) == Delegation(CHILD)
    assert change(delete(record), add(record)).apply(Delegation(CHILD)).ns == (NS1,)


def test_names_in_the_data_are_compared_without_case_and_compression() -> None:
    upper = b"\x03NS1\x05ChilD" + ZONE.upper()
    assert change(message.add(CHILD.upper(), RRType.NS, 1, upper)).apply(Delegation(CHILD)).ns == (NS1,)
    # a pointer to the zone section's name
    wire = message.update(1, ZONE, [], [message.add(CHILD, RRType.NS, 1, b"\x03ns1\x05child\xc0\x0c")])
    request = read_request(walk(wire), ZONE, CHILD, KEY)
    assert isinstance(request, DelegationChange)
    assert request.apply(Delegation(CHILD)).ns == (NS1,)


@given(delegations, st.lists(records, max_size=4))
def test_prerequisites_hold_exactly_when_rfc_2136_says_so(held: Delegation, asked: list[RR]) -> None:
    rrsets = {(record.owner, record.rtype) for record in held.records}
    names_used = {record.owner for record in held.records}

    def rcode(*prerequisites: bytes) -> Rcode:
        try:
            check_prerequisites(change(prerequisites=prerequisites).prerequisites, held)
        except Refusal as refusal:
            return refusal.rcode
        return Rcode.NOERROR

    for owner, rtype, _ in asked:
        exists = (owner, rtype) in rrsets
        assert rcode(message.rrset_exists(owner, rtype)) == (Rcode.NOERROR if exists else Rcode.NXRRSET)
        assert rcode(message.rrset_absent(owner, rtype)) == (Rcode.YXRRSET if exists else Rcode.NOERROR)
        used = owner in names_used
        assert rcode(message.name_in_use(owner)) == (Rcode.NOERROR if used else Rcode.NXDOMAIN)
        assert rcode(message.name_not_in_use(owner)) == (Rcode.YXDOMAIN if used else Rcode.NOERROR)
    theirs = {key: {record.rdata for record in asked if (record.owner, record.rtype) == key} for key in rrsets}
    theirs |= {(record.owner, record.rtype): set() for record in asked if (record.owner, record.rtype) not in rrsets}
    equal = all(
        set(held.rrsets.get((record.owner, record.rtype), ()))
        == {each.rdata for each in asked if (each.owner, each.rtype) == (record.owner, record.rtype)}
        for record in asked
    )
    values = [message.rrset_holds(owner, rtype, rdata) for owner, rtype, rdata in asked]
    assert rcode(*values) == (Rcode.NOERROR if equal else Rcode.NXRRSET)


@pytest.mark.parametrize(
    ("updates", "rule", "rcode"),
    [
        ([message.add(names.from_text("other.parent.example."), RRType.NS, 1, NS1)], "owner-is-child", 5),
        ([message.add(ZONE, RRType.NS, 1, NS1)], "owner-is-child", 5),
        ([message.add(names.from_text("child.elsewhere."), RRType.NS, 1, NS1)], "owner-in-zone", 10),
        ([message.add(NS1, RRType.NS, 1, NS2)], "cut-at-child", 5),
        ([message.add(NS1, RRType.DS, 1, b"12345")], "cut-at-child", 5),
        ([message.add(CHILD, 16, 1, b"\1a")], "delegation-types", 5),
        ([message.delete_rrset(CHILD, RRType.CNAME)], "delegation-types", 5),
        ([message.add(CHILD, RRType.NS, 1, NS1), message.add(CHILD, RRType.KEY, 1, KEY)], "kinds-mixed", 5),
        ([message.add(NS1, RRType.KEY, 1, KEY)], "key-at-child", 5),
    ],
)
def test_what_is_not_the_child_s_to_change_is_refused(updates: list[bytes], rule: str, rcode: int) -> None:
    with pytest.raises(Refusal) as refused:
        read(*updates)
    assert (refused.value.rule, refused.value.rcode) == (rule, rcode)


def test_prerequisites_on_other_names_and_types_are_refused_before_any_is_looked_at() -> None:
    for prerequisite in (
        message.rrset_exists(names.from_text("other.parent.example."), RRType.NS),
        message.name_in_use(ZONE),
        message.rrset_exists(CHILD, RRType.KEY),
        message.rrset_absent(CHILD, 16),
    ):
        with pytest.raises(Refusal) as refused:
            read(message.add(CHILD, RRType.NS, 1, NS1), prerequisites=(prerequisite,))
        assert refused.value.rule in ("owner-is-child", "delegation-types")
        assert refused.value.rcode == Rcode.REFUSED


@pytest.mark.parametrize(
    "record",
    [
        message.record(CHILD, RRType.NS, RRClass.ANY, 1),
        message.record(CHILD, RRType.NS, RRClass.ANY, 0, NS1),
        message.record(CHILD, RRType.NS, RRClass.NONE, 1, NS1),
        message.record(CHILD, RRType.ANY, RRClass.NONE, 0, NS1),
        message.record(CHILD, RRType.ANY, RRClass.IN, 0, NS1),
        message.record(CHILD, RRType.AXFR, RRClass.ANY, 0),
        message.record(CHILD, RRType.NS, 3, 0, NS1),
        message.record(CHILD, RRType.NS, RRClass.IN, 2**31, NS1),
        message.record(CHILD, RRType.NS, RRClass.IN, 1),
        message.record(CHILD, RRType.NS, RRClass.IN, 1, NS1 + b"\0"),
        message.record(CHILD, RRType.NS, RRClass.IN, 1, NS1[:-1]),
        message.record(NS1, RRType.A, RRClass.IN, 1, b"123"),
        message.record(NS1, RRType.AAAA, RRClass.IN, 1, b"1234"),
        message.record(CHILD, RRType.DS, RRClass.IN, 1, b"1234"),
    ],
)
def test_format_errors_in_the_update_section_are_malformed(record: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read(record)


@pytest.mark.parametrize(
    "record",
    [
        message.record(CHILD, RRType.NS, RRClass.IN, 1, NS1),
        message.record(CHILD, RRType.NS, RRClass.ANY, 0, NS1),
        message.record(CHILD, RRType.NS, RRClass.NONE, 0, NS1),
        message.record(CHILD, RRType.NS, RRClass.ANY, 1),
        message.record(CHILD, RRType.NS, 4, 0),
    ],
)
def test_format_errors_in_the_prerequisite_section_are_malformed(record: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read(message.add(CHILD, RRType.NS, 1, NS1), prerequisites=(record,))


def test_keys_are_uploaded_under_their_own_signature_and_rolled_under_another() -> None:
    upload = read(message.delete_rrset(CHILD, RRType.KEY), message.add(CHILD, RRType.KEY, 1, KEY))
    assert isinstance(upload, KeyUpload)
    assert (upload.replace, upload.keys) == (True, (KEY,))
    single = read(message.add(CHILD, RRType.KEY, 1, KEY))
    assert isinstance(single, KeyUpload)
    assert (single.replace, single.keys) == (False, (KEY,))
    assert isinstance(read(message.add(CHILD, RRType.KEY, 1, OTHER_KEY)), KeyRoll)
    assert isinstance(read(message.delete_record(CHILD, RRType.KEY, OTHER_KEY)), KeyRoll)
    assert isinstance(read(message.delete_rrset(CHILD, RRType.KEY)), KeyRoll)


@given(BELOW)
def test_an_update_that_changes_nothing_is_a_change_all_the_same(owner: bytes) -> None:
    assert change(message.delete_rrset(owner, RRType.A)).apply(Delegation(CHILD)) == Delegation(CHILD)
    assert change().operations == ()


@pytest.mark.parametrize(
    ("zone_section", "reason"),
    [
        (b"", "0 records"),
        ((ZONE + b"\0\x06\0\x01") * 2, "2 records"),
        (ZONE + b"\0\x01\0\x01", "type in the zone section is A"),
        (ZONE + b"\0\x06\0\x03", "class"),
    ],
)
def test_the_zone_section_is_one_soa_of_class_in(zone_section: bytes, reason: str) -> None:
    count = zone_section.count(ZONE)
    wire = b"\0\1\x28\0" + count.to_bytes(2) + bytes(6) + zone_section
    with pytest.raises(MalformedMessage, match=reason):
        zone_of(walk(wire))


@pytest.mark.parametrize(
    ("rtype", "text"), [(2, "NS"), (16, "TXT"), (15, "MX"), (60, "CDNSKEY"), (257, "CAA"), (65_280, "TYPE65280")]
)
def test_a_well_known_type_is_told_by_its_mnemonic(rtype: int, text: str) -> None:
    assert type_text(rtype) == text
