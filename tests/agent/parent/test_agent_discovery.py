"""The search for DSYNC records: where it asks, what it makes of the answers, and what it never uses (RFC 9859)."""

from dataclasses import replace

import pytest

from agent_support import BOGUS, CHILD, INDETERMINATE, INSECURE, PARENT, SECURE, Question, Told, absent, failing, found
from zonecut.agent.parent.discovery import Discovery, discover
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.codepoints import RRType
from zonecut.resolve import Answer, Status, Verdict

DSYNC, SOA = RRType.DSYNC, RRType.SOA
UPDATE = Dsync.from_text("ANY UPDATE 5354 updater.parent.example.")
CDS = Dsync.from_text("CDS NOTIFY 5300 scanner.parent.example.")
OTHER = Dsync.from_text("ANY UPDATE 5354 other.example.")
FIRST = "child._dsync.parent.example."
LAST = "_dsync.parent.example."
DEEP = names.from_text("a.b.parent.example.")


async def search(
    answers: dict[Question, Answer], child: bytes = CHILD, parent: bytes | None = None, rest: Answer | None = None
) -> tuple[Discovery, list[str]]:
    told = Told(answers, rest)
    return await discover(told, child, parent=parent), told.asked


async def test_the_first_step_asks_for_the_child_and_a_wildcard_may_answer() -> None:
    answer = found(UPDATE.to_wire(), CDS.to_wire(), status=Status.WILDCARD)
    discovery, asked = await search({(FIRST, DSYNC): answer})
    assert asked == [f"{FIRST} DSYNC"]
    assert (discovery.verdict, discovery.parent) == (SECURE, PARENT)
    assert discovery.updates == (UPDATE,)
    assert discovery.notifies(RRType.CDS) == (CDS,)
    assert discovery.notifies(RRType.CSYNC) == ()
    assert "ANY UPDATE 5354 updater.parent.example." in discovery.steps[0].learned
    assert "wildcard" in discovery.steps[0].learned


async def test_the_last_step_asks_for_all_children() -> None:
    discovery, asked = await search({(LAST, DSYNC): found(UPDATE.to_wire())})
    assert asked == [f"{FIRST} DSYNC", f"{LAST} DSYNC"]
    assert (discovery.verdict, discovery.parent, discovery.updates) == (SECURE, PARENT, (UPDATE,))
    assert [step.learned for step in discovery.steps] == [
        "secure: no such name in the zone parent.example.",
        "secure: ANY UPDATE 5354 updater.parent.example.",
    ]


async def test_a_parent_further_up_is_found_by_its_soa() -> None:
    discovery, asked = await search({(LAST, DSYNC): found(UPDATE.to_wire())}, DEEP)
    assert asked == ["a._dsync.b.parent.example. DSYNC", "a.b._dsync.parent.example. DSYNC", f"{LAST} DSYNC"]
    assert (discovery.verdict, discovery.parent, discovery.updates) == (SECURE, PARENT, (UPDATE,))


async def test_nobody_announces_anything() -> None:
    discovery, asked = await search({})
    assert asked == [f"{FIRST} DSYNC", f"{LAST} DSYNC"]
    assert (discovery.verdict, discovery.records, discovery.parent) == (SECURE, (), PARENT)
    assert discovery.is_known
    assert "nothing is announced" in discovery.reason


@pytest.mark.parametrize("verdict", [BOGUS, INDETERMINATE])
@pytest.mark.parametrize("place", [FIRST, LAST])
async def test_what_cannot_be_validated_ends_the_search(verdict: Verdict, place: str) -> None:
    """Neither used nor passed over: blocking one step must not lead to another."""
    answers = {(LAST, DSYNC): found(UPDATE.to_wire()), (place, DSYNC): failing(verdict)}
    discovery, asked = await search(answers)
    assert asked[-1] == f"{place} DSYNC"
    assert (discovery.verdict, discovery.records) == (verdict, ())
    assert not discovery.is_known
    assert "because" in discovery.reason


def alias(target: str | None, verdict: Verdict = SECURE) -> Answer:
    wire = None if target is None else names.from_text(target)
    return replace(found(verdict=verdict, status=Status.ALIAS), target=wire)


async def test_a_secure_alias_leads_to_the_announcement() -> None:
    """A parent that leaves it to its registrars: `child._dsync.parent.example. CNAME registrar.test.`."""
    answers = {
        (FIRST, DSYNC): alias("one.registrar.test."),
        ("one.registrar.test.", DSYNC): alias("two.registrar.test."),
        ("two.registrar.test.", DSYNC): found(OTHER.to_wire(), signer="registrar.test."),
    }
    discovery, _ = await search(answers)
    assert (discovery.verdict, discovery.updates, discovery.parent) == (SECURE, (OTHER,), PARENT)
    assert [step.learned for step in discovery.steps[:2]] == [
        "secure: an alias, that leads to one.registrar.test.",
        "secure: an alias, that leads to two.registrar.test.",
    ]
    # nothing is there: what the parent has for all children counts
    answers = {(FIRST, DSYNC): alias("x.test."), (LAST, DSYNC): found(UPDATE.to_wire())}
    assert (await search(answers))[0].updates == (UPDATE,)


async def test_what_an_alias_leads_to_is_worth_what_its_weakest_link_is() -> None:
    leads = {(FIRST, DSYNC): alias("x.test.")}
    discovery, _ = await search({**leads, ("x.test.", DSYNC): found(OTHER.to_wire(), verdict=INSECURE)})
    assert (discovery.verdict, discovery.updates) == (INSECURE, (OTHER,))
    for verdict in (BOGUS, INDETERMINATE):
        discovery, _ = await search({**leads, ("x.test.", DSYNC): failing(verdict)})
        assert (discovery.verdict, discovery.records) == (verdict, ())


@pytest.mark.parametrize(
    "answers",
    [
        {(FIRST, DSYNC): alias("x.test.", INSECURE), ("x.test.", DSYNC): found(OTHER.to_wire())},
        {(FIRST, DSYNC): alias(None)},
        {(FIRST, DSYNC): alias(FIRST)},
        {(FIRST, DSYNC): alias("x.test."), ("x.test.", DSYNC): alias(FIRST)},
        {(FIRST, DSYNC): alias("x0.test."), **{(f"x{n}.test.", DSYNC): alias(f"x{n + 1}.test.") for n in range(9)}},
    ],
)
async def test_an_alias_that_is_not_secure_or_leads_nowhere_ends_the_search(answers: dict[Question, Answer]) -> None:
    discovery, asked = await search(answers)
    assert (discovery.verdict, discovery.records) == (INDETERMINATE, ())
    assert "alias" in discovery.reason
    assert len(asked) <= 6


async def test_a_configured_parent_needs_no_soa() -> None:
    answers = {(LAST, DSYNC): found(UPDATE.to_wire(), verdict=INSECURE)}
    discovery, asked = await search(answers, DEEP, PARENT, rest=absent("", verdict=INSECURE))
    assert asked == ["a._dsync.b.parent.example. DSYNC", "a.b._dsync.parent.example. DSYNC", f"{LAST} DSYNC"]
    assert (discovery.parent, discovery.updates, discovery.verdict) == (PARENT, (UPDATE,), INSECURE)
    with pytest.raises(ValueError, match="is not below"):
        await discover(Told({}), PARENT, parent=CHILD)
    with pytest.raises(ValueError, match="root"):
        await discover(Told({}), names.ROOT)


async def test_the_parent_of_an_insecure_announcement_is_looked_up() -> None:
    insecure = found(UPDATE.to_wire(), verdict=INSECURE)
    nothing = absent("", verdict=INSECURE)
    discovery, asked = await search(
        {(FIRST, DSYNC): insecure, ("parent.example.", SOA): found(b"\0", verdict=INSECURE)}, rest=nothing
    )
    assert asked == [f"{FIRST} DSYNC", f"{LAST} DSYNC", "parent.example. SOA"]
    assert (discovery.verdict, discovery.parent) == (INSECURE, PARENT)
    # a name between child and parent
    discovery, _ = await search(
        {("a._dsync.b.parent.example.", DSYNC): insecure}, DEEP, rest=absent(verdict=INSECURE, status=Status.NODATA)
    )
    assert discovery.parent == PARENT
    discovery, _ = await search({(FIRST, DSYNC): insecure, ("parent.example.", SOA): failing(BOGUS)}, rest=nothing)
    assert discovery.parent is None
    assert "not known" in discovery.steps[-1].learned


async def test_a_zone_of_its_own_for_dsync_is_not_the_parent() -> None:
    answers = {
        (FIRST, DSYNC): absent(LAST),
        (LAST, DSYNC): found(UPDATE.to_wire(), signer=LAST),
        ("parent.example.", SOA): found(b"\0"),
    }
    discovery, asked = await search(answers)
    assert asked[-1] == "parent.example. SOA"
    assert (discovery.parent, discovery.updates) == (PARENT, (UPDATE,))


async def test_an_unsigned_soa_that_leads_to_another_parent_makes_the_end_insecure() -> None:
    """Anybody could have written it, and a grandparent may well announce somebody securely."""
    answers = {
        ("a._dsync.b.parent.example.", DSYNC): absent("example.", verdict=INSECURE),
        ("_dsync.example.", DSYNC): found(OTHER.to_wire(), signer="example."),
        ("a.b.parent._dsync.example.", DSYNC): absent("example."),
        ("_dsync.b.parent.example.", DSYNC): absent("", verdict=INSECURE),
    }
    discovery, _ = await search(answers, DEEP)
    assert (discovery.verdict, discovery.updates) == (INSECURE, (OTHER,))


async def test_an_unsigned_soa_is_not_followed_where_another_name_proves_where_the_parent_is() -> None:
    forged = absent("example.", verdict=INSECURE)
    astray = {("_dsync.example.", DSYNC): found(OTHER.to_wire(), signer="example.")}
    answers = {(FIRST, DSYNC): forged, **astray, (LAST, DSYNC): found(UPDATE.to_wire())}
    discovery, asked = await search(answers)
    assert (discovery.verdict, discovery.updates, discovery.parent) == (SECURE, (UPDATE,), PARENT)
    assert asked == [f"{FIRST} DSYNC", f"{LAST} DSYNC"]
    # the parent is one label further up than an unsigned answer at the child's name had it
    answers = {("a._dsync.b.parent.example.", DSYNC): forged, **astray, (LAST, DSYNC): found(UPDATE.to_wire())}
    discovery, asked = await search(answers, DEEP)
    assert (discovery.verdict, discovery.updates, discovery.parent) == (SECURE, (UPDATE,), PARENT)
    assert "_dsync.b.parent.example. DSYNC" in asked
    assert "_dsync.example. DSYNC" not in asked


@pytest.mark.parametrize("soa", ["", "example.", "elsewhere.test."])
async def test_an_unsigned_absence_whatever_it_says_does_not_end_the_search(soa: str) -> None:
    answers = {(FIRST, DSYNC): absent(soa, verdict=INSECURE), (LAST, DSYNC): found(UPDATE.to_wire())}
    discovery, _ = await search(answers)
    assert (discovery.verdict, discovery.updates) == (SECURE, (UPDATE,))


async def test_a_secure_announcement_for_all_children_counts_for_more_than_an_insecure_one_for_the_child() -> None:
    """Below an opt-out span, anybody on the way can make an answer at the child's own name."""
    forged = found(OTHER.to_wire(), verdict=INSECURE)
    discovery, asked = await search({(FIRST, DSYNC): forged, (LAST, DSYNC): found(UPDATE.to_wire())})
    assert asked == [f"{FIRST} DSYNC", f"{LAST} DSYNC"]
    assert (discovery.verdict, discovery.updates, discovery.parent) == (SECURE, (UPDATE,), PARENT)
    # the parent is configured, and further up
    answers = {("a._dsync.b.parent.example.", DSYNC): forged, (LAST, DSYNC): found(UPDATE.to_wire())}
    discovery, _ = await search(answers, DEEP, PARENT)
    assert (discovery.verdict, discovery.updates) == (SECURE, (UPDATE,))


async def test_of_insecure_announcements_the_childs_own_counts() -> None:
    insecure = {(name, DSYNC): found(each.to_wire(), verdict=INSECURE) for name, each in ((FIRST, OTHER), (LAST, CDS))}
    discovery, _ = await search(insecure)
    assert (discovery.verdict, discovery.records) == (INSECURE, (OTHER,))
    # where nothing can be secure, a look-up that fails hides nothing better
    unsigned = {(FIRST, DSYNC): insecure[FIRST, DSYNC], (LAST, DSYNC): failing(INSECURE)}
    discovery, _ = await search(unsigned)
    assert (discovery.verdict, discovery.records) == (INSECURE, (OTHER,))
    # where something can, whoever blocks it gains nothing
    for verdict in (BOGUS, INDETERMINATE):
        blocked = {(FIRST, DSYNC): insecure[FIRST, DSYNC], (LAST, DSYNC): failing(verdict)}
        discovery, _ = await search(blocked)
        assert (discovery.verdict, discovery.records) == (verdict, ())


async def test_a_child_in_an_opt_out_span_may_have_a_secure_announcement() -> None:
    answers = {(FIRST, DSYNC): absent(verdict=INSECURE), (LAST, DSYNC): found(UPDATE.to_wire())}
    assert (await search(answers))[0].verdict is SECURE


async def test_absence_is_as_weak_as_its_weakest_step() -> None:
    discovery, _ = await search({(FIRST, DSYNC): absent(verdict=INSECURE)})
    assert (discovery.verdict, discovery.records) == (INSECURE, ())


async def test_what_means_nothing_is_left_out_and_ends_the_search() -> None:
    """RFC 9859 section 4.1: a positive answer is the result."""
    null, no_port = Dsync(255, 0, 53, PARENT), Dsync(255, 2, 0, PARENT)
    discovery, asked = await search({(FIRST, DSYNC): found(null.to_wire(), no_port.to_wire(), b"\0\1")})
    assert asked == [f"{FIRST} DSYNC"]
    assert discovery.records == ()
    assert "3 that mean nothing" in discovery.steps[0].learned


async def test_a_name_that_is_too_long_is_not_asked_for() -> None:
    long = b"".join(b"\x3f" + b"x" * 63 for _ in range(3)) + b"\x28" + b"y" * 40 + PARENT
    discovery, asked = await search({("parent.example.", SOA): found(b"\0")}, long)
    assert all("DSYNC" not in question for question in asked)
    assert discovery.records == ()


async def test_the_json_form_has_every_step() -> None:
    discovery, _ = await search({(LAST, DSYNC): found(UPDATE.to_wire())})
    shown = discovery.to_json()
    assert shown["child"] == "child.parent.example."
    assert shown["records"] == ["ANY UPDATE 5354 updater.parent.example."]
    assert [(step["name"], step["verdict"]) for step in shown["steps"]] == [(FIRST, "secure"), (LAST, "secure")]
