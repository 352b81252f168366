"""The delegation as one value: comparing, differing, storing, showing."""

import dns.rrset
import pytest
from hypothesis import given

from strategies import CHILD, delegations, records
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Difference, Ttls, rdata_text


@given(delegations, delegations)
def test_a_difference_turns_one_into_the_other_and_back(before: Delegation, after: Delegation) -> None:
    difference = Difference.between(before, after)
    assert difference.apply(before) == after
    assert difference.inverse().apply(after) == before
    assert bool(difference) is (before != after)
    assert not set(difference.added) & set(difference.removed)


@given(delegations)
def test_the_order_and_number_of_mentions_do_not_matter(delegation: Delegation) -> None:
    assert Delegation.of(CHILD, reversed(delegation.records * 2)) == delegation


@given(delegations)
def test_what_is_stored_is_read_back(delegation: Delegation) -> None:
    assert Delegation.from_wire(delegation.to_wire()) == delegation


@given(delegations)
def test_a_piece_of_a_stored_value_is_never_taken_for_all_of_it(delegation: Delegation) -> None:
    wire = delegation.to_wire()
    for length in range(len(wire)):
        try:
            shorter = Delegation.from_wire(wire[:length])
        except ValueError:
            continue
        assert len(shorter.records) < len(delegation.records)


@given(delegations)
def test_its_zone_file_lines_are_read_by_others(delegation: Delegation) -> None:
    lines = delegation.to_text(Ttls(1, 2, 3)).splitlines()
    assert len(lines) == len(delegation.records)
    for line, (owner, rtype, rdata) in zip(lines, delegation.records, strict=True):
        name, ttl, _, mnemonic, text = line.split("\t")
        if rtype == RRType.DS and len(rdata) != 4 + 32:
            continue  # dnspython has no DS digest of another length
        rrset = dns.rrset.from_text(name, int(ttl), "IN", mnemonic, text)
        assert rrset.name.to_wire() == owner
        assert rrset[0].to_wire() == rdata
        assert rrset.ttl == {RRType.NS: 1, RRType.DS: 2}.get(RRType(rtype), 3)


@pytest.mark.parametrize(
    "record",
    [
        RR(b"\x03ns1" + CHILD, RRType.NS, CHILD),
        RR(b"\x03ns1" + CHILD, RRType.DS, b"12345"),
        RR(CHILD, RRType.KEY, b"12345"),
    ],
)
def test_a_record_that_is_no_part_of_a_delegation_is_refused(record: RR) -> None:
    with pytest.raises(ValueError, match="is no record of the delegation"):
        Delegation.of(CHILD, [record])


@given(records)
def test_every_record_has_a_line_of_text(record: RR) -> None:
    assert record.to_text().startswith(names.to_text(record.owner))


def test_data_that_is_no_such_data_is_shown_as_octets() -> None:
    assert rdata_text(RRType.A, b"123") == r"\# 3 313233"
    assert rdata_text(RRType.DS, b"") == r"\# 0"


def test_only_name_servers_in_the_child_zone_need_glue() -> None:
    inside, apex, outside = b"\x03ns1" + CHILD, CHILD, names.from_text("ns1.otherchild.parent.example.")
    delegation = Delegation(CHILD, tuple(sorted((inside, apex, outside))))
    assert set(delegation.in_domain_ns()) == {inside, apex}
