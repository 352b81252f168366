"""UPDATEs that make up for a difference, as a receiver reads them."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zonecut.agent.update_section import Style, prerequisites, update_records
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut.protocol.envelope import UPDATE, walk
from zonecut.protocol.errors import Refusal
from zonecut.protocol.update import DelegationChange, check_prerequisites, read_request

PARENT, CHILD = names.from_text("parent.example."), names.from_text("child.parent.example.")
SERVERS = [names.from_text(text) for text in ("ns1.child.parent.example.", "ns2.child.parent.example.", "ns.net.")]
RECORDS = [
    *(RR(CHILD, RRType.NS, server) for server in SERVERS),
    *(RR(CHILD, RRType.DS, bytes((0, tag, 13, 2)) + bytes(32)) for tag in range(3)),
    *(RR(server, RRType.A, ip_address(f"192.0.2.{n}").packed) for server in SERVERS[:2] for n in range(2)),
    *(RR(server, RRType.AAAA, ip_address("2001:db8::1").packed) for server in SERVERS[:2]),
]
TTLS = Ttls(ns=300, ds=60, glue=200)
DELEGATIONS = st.sets(st.sampled_from(RECORDS)).map(lambda records: Delegation.of(CHILD, records))


def sent(before: Delegation, after: Delegation, style: Style) -> bytes:
    return message.update(1, PARENT, (), update_records(before, after, style, TTLS))


@pytest.mark.parametrize("style", Style)
@given(before=DELEGATIONS, after=DELEGATIONS)
def test_either_style_turns_one_delegation_into_the_other(style: Style, before: Delegation, after: Delegation) -> None:
    if before == after:
        assert update_records(before, after, style, TTLS) == ()
        return
    request = read_request(walk(sent(before, after, style)), PARENT, CHILD, b"")
    assert isinstance(request, DelegationChange)
    assert request.apply(before) == after


@given(before=DELEGATIONS, after=DELEGATIONS)
def test_a_delta_holds_each_record_that_differs_and_no_other(before: Delegation, after: Delegation) -> None:
    assert len(update_records(before, after, Style.DELTA, TTLS)) == len(set(before.records) ^ set(after.records))


def test_in_a_delta_what_comes_stands_before_what_goes() -> None:
    before, after = Delegation.of(CHILD, RECORDS[:1]), Delegation.of(CHILD, RECORDS[2:3])
    assert update_records(before, after, Style.DELTA, TTLS) == (
        message.add(CHILD, RRType.NS, 300, SERVERS[2]),
        message.delete_record(CHILD, RRType.NS, SERVERS[0]),
    )


def test_a_replacement_leaves_rrsets_alone_that_do_not_differ() -> None:
    before, after = Delegation.of(CHILD, RECORDS[:4]), Delegation.of(CHILD, [*RECORDS[:3], RECORDS[4]])
    assert update_records(before, after, Style.REPLACE, TTLS) == (
        message.delete_rrset(CHILD, RRType.DS),
        message.add(CHILD, RRType.DS, 60, RECORDS[4].rdata),
    )


def test_names_are_not_compressed_and_ttls_those_of_their_type() -> None:
    envelope = walk(sent(Delegation(CHILD), Delegation.of(CHILD, RECORDS), Style.DELTA))
    ttls = {record.rtype: record.ttl for record in envelope.section(UPDATE)}
    assert ttls == {RRType.NS: 300, RRType.DS: 60, RRType.A: 200, RRType.AAAA: 200}
    assert all(envelope.wire.startswith(envelope.name(record.start), record.start) for record in envelope.records)


def judged(before: Delegation, after: Delegation, found: Delegation) -> Delegation:
    """What a receiver that finds this makes of a change that starts from `before`. Raises Refusal."""
    wire = message.update(1, PARENT, prerequisites(before, after), update_records(before, after, Style.DELTA, TTLS))
    request = read_request(walk(wire), PARENT, CHILD, b"")
    assert isinstance(request, DelegationChange)
    assert request.says_what_it_starts_from
    check_prerequisites(request.prerequisites, found)
    return request.apply(found)


@given(before=DELEGATIONS, after=DELEGATIONS)
def test_a_change_holds_for_the_delegation_from_which_it_starts(before: Delegation, after: Delegation) -> None:
    assert judged(before, after, before) == after


@given(before=DELEGATIONS, after=DELEGATIONS, found=DELEGATIONS)
def test_a_change_that_was_held_back_undoes_nothing(before: Delegation, after: Delegation, found: Delegation) -> None:
    """On another delegation it is void, unless what it touches and the name servers are the same there."""
    try:
        result = judged(before, after, found)
    except Refusal:
        assert found != before
    else:
        assert set(found.records) - set(result.records) == set(before.records) - set(after.records)
        assert set(result.records) - set(found.records) == set(after.records) - set(before.records)
        assert found.ns == before.ns


def test_prerequisites_name_ds_only_where_ds_differ() -> None:
    ns, ds = RECORDS[0], RECORDS[3]
    assert ds.rtype == RRType.DS
    before = Delegation.of(CHILD, [ns, ds])
    assert prerequisites(before, Delegation.of(CHILD, [RECORDS[1], ds])) == (
        message.rrset_holds(CHILD, RRType.NS, ns.rdata),
    )
    assert prerequisites(Delegation.of(CHILD, [ns]), before) == (
        message.rrset_holds(CHILD, RRType.NS, ns.rdata),
        message.rrset_absent(CHILD, RRType.DS),
    )
