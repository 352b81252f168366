"""What somebody else did to a delegation, and what is none of it."""

from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Difference
from zonecut.receiver.keys.drift import drift

CHILD = names.from_text("child.parent.example.")
NS1, NS2 = (names.from_text(f"ns{number}.child.parent.example.") for number in (1, 2))
ELSEWHERE = names.from_text("ns.elsewhere.example.")


def delegation(*ns: bytes, ds: tuple[bytes, ...] = (), glue: tuple[RR, ...] = ()) -> Delegation:
    return Delegation.of(
        CHILD, [*(RR(CHILD, RRType.NS, each) for each in ns), *(RR(CHILD, RRType.DS, each) for each in ds), *glue]
    )


def a(owner: bytes, last: int) -> RR:
    return RR(owner, RRType.A, bytes((11, 0, 0, last)))


LEFT = delegation(NS1, ELSEWHERE, ds=(b"\0\1\x0d\2" + bytes(32),), glue=(a(NS1, 1),))
NOTHING = Difference(CHILD, (), ())


def test_what_the_ledger_knows_nothing_of_is_no_difference() -> None:
    assert drift(None, [], LEFT) is None
    assert drift(None, [delegation(NS2)], LEFT) is None


def test_what_is_as_it_was_left_is_an_empty_difference() -> None:
    assert drift(LEFT, [], LEFT) == NOTHING


def test_records_that_are_missing_and_that_came_are_named() -> None:
    held = delegation(NS1, ELSEWHERE, glue=(a(NS1, 2),))
    found = drift(LEFT, [], held)
    assert found is not None
    assert [record.to_text() for record in found.removed] == [
        "ns1.child.parent.example. A 11.0.0.1",
        f"child.parent.example. DS 1 13 2 {'00' * 32}",
    ]
    assert found.added == (a(NS1, 2),)
    assert drift(LEFT, [], Delegation(CHILD)) == Difference(CHILD, tuple(sorted(LEFT.records)), ())


def test_a_change_that_is_about_to_be_recorded_is_ours() -> None:
    after = delegation(NS2, glue=(a(NS2, 2),))
    assert drift(LEFT, [after], after) == NOTHING
    assert drift(LEFT, [after], LEFT) == NOTHING
    # but what is neither is told by what differs from the change that is known to be applied
    held = delegation(NS2, glue=(a(NS2, 3),))
    assert drift(LEFT, [after], held) == Difference.between(LEFT, held)


def test_more_glue_that_no_ns_names_is_nobody_s() -> None:
    more = Delegation.of(CHILD, [*LEFT.records, a(NS2, 2)])
    assert drift(LEFT, [], more) == NOTHING
    # glue that was ours is missing with its NS
    found = drift(LEFT, [], delegation(ELSEWHERE, ds=LEFT.ds))
    assert found is not None
    assert set(found.removed) == {RR(CHILD, RRType.NS, NS1), a(NS1, 1)}
