"""What the doctor makes of an examination: findings, their severity, and what each bootstrap method would come to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agent_support import BOGUS, CHILD, INDETERMINATE, INSECURE, PARENT
from doctor_support import (
    CONTENT,
    GLUE,
    HELD,
    NS1,
    NS2,
    NS_RECORDS,
    OWN,
    PARENT_NS,
    RECEIVER,
    answer,
    examination,
    needy,
    parent_of,
    receiver,
    served,
    zone_of,
)
from zonecut.agent import doctor
from zonecut.agent.doctor import Severity, diagnose, prospects
from zonecut.agent.doctor.observation import Examination, ReceiverView, Signal
from zonecut.agent.doctor.reachability import Reached
from zonecut.agent.doctor.tags import Tag
from zonecut.agent.evidence.zone_view import ChildServer, Standing, ZoneView
from zonecut.agent.exchange.response import Signed
from zonecut.agent.parent.discovery import Discovery
from zonecut.agent.parent.parent_view import ParentView, ServerView
from zonecut.agent.parent.receiver import KeyTrust
from zonecut.cli.doctor import code_of
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import names
from zonecut.protocol.announced.svcb import Method
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.resolve import Answer, Status

OUT1, OUT2 = names.from_text("ns1.operator.example."), names.from_text("ns2.operator.example.")


def test_a_child_that_is_well_needs_nothing() -> None:
    report = diagnose(examination())
    assert needy(report) == {}
    assert (report.verdict, code_of(report)) == ("all well", 0)
    assert {"DELEGATED", "SERVERS_AGREE", "IN_SYNC", "INSECURE", "NO_DSYNC", "KEY"} <= {
        finding.tag for section in report.sections for finding in section.findings
    }


def test_every_finding_that_needs_attention_says_what_to_do() -> None:
    """But for those where nothing is known, and nobody can do anything but see to that."""
    seen = replace(
        examination(receiver(worth=KeyTrust.INSECURE, signed=Signed.WRONG, state=8)),
        parent=parent_of(HELD, Delegation.of(CHILD, NS_RECORDS), None),
        zone=zone_of(
            served(),
            replace(served(server=NS2), content=None, standing=Standing.LAME),
            replace(served(server=NS2), content=None, standing=Standing.SILENT),
            replace(served(server=NS2), content=None, standing=Standing.UNASKED),
            replace(served(server=NS2), trouble="over UDP: silent for 5 s"),
            served(replace(CONTENT, ns=(NS1,)), NS2),
        ),
    )
    report = diagnose(seen)
    findings = [finding for section in report.sections for finding in section.findings]
    urgent = [each for each in findings if each.severity in (Severity.WARNING, Severity.PROBLEM)]
    assert len({each.tag for each in urgent}) >= 9
    for each in urgent:
        assert each.why, each.tag
        assert each.advice, each.tag


def test_the_worst_finding_decides_the_exit_code() -> None:
    lost = replace(
        examination(),
        discovery=Discovery(CHILD, None, (), INDETERMINATE, ()),
        parent=None,
        zone=ZoneView(CHILD, (), "no answer"),
        soa=answer(CHILD, RRType.SOA, verdict=INDETERMINATE, status=Status.FAILED),
        key=answer(CHILD, RRType.KEY, verdict=INDETERMINATE, status=Status.FAILED),
    )
    report = diagnose(lost)
    assert set(needy(report).values()) == {Severity.UNKNOWN}
    assert code_of(report) == 1
    assert "PARENT_UNKNOWN" in needy(report)
    broken = replace(lost, soa=answer(CHILD, RRType.SOA, verdict=BOGUS))
    assert code_of(diagnose(broken)) == 3


def test_a_resolver_with_which_nothing_validates_is_not_the_childs_fault() -> None:
    bogus = answer(CHILD, RRType.SOA, verdict=BOGUS)
    well = examination(receiver(worth=KeyTrust.UNKNOWN, key=BOGUS, state=4))
    seen = replace(
        well,
        discovery=replace(well.discovery, verdict=BOGUS),
        soa=bogus,
        key=bogus,
        signals=(Signal(OUT1, b"\1x\0", bogus),),
    )
    assert code_of(diagnose(seen)) == 3
    anchor = answer(names.ROOT, RRType.SOA, verdict=BOGUS)
    report = diagnose(replace(seen, anchor=anchor))
    assert set(needy(report).values()) == {Severity.UNKNOWN}
    assert "CANNOT_VALIDATE" in needy(report)
    assert "NO_TRUST_ANCHOR" in needy(diagnose(replace(seen, anchor=None)))


def test_a_name_that_is_no_zone() -> None:
    nothing = answer(CHILD, RRType.SOA, status=Status.NXDOMAIN)
    report = diagnose(replace(examination(), soa=nothing))
    assert (needy(report), report.find("SECURE")) == ({"NO_ZONE": Severity.PROBLEM}, ())


# The delegation


def test_parent_servers_that_differ_or_are_silent() -> None:
    seen = replace(examination(), parent=parent_of(HELD, Delegation.of(CHILD, [*NS_RECORDS, GLUE[0]])))
    assert needy(diagnose(seen)) == {"PARENT_SERVERS_DIFFER": Severity.WARNING}
    seen = replace(examination(), parent=parent_of(HELD, None))
    assert needy(diagnose(seen)) == {"PARENT_SERVER_SILENT": Severity.WARNING}
    seen = replace(examination(), parent=parent_of(None))
    assert needy(diagnose(seen)) == {"PARENT_UNTOLD": Severity.UNKNOWN, "SYNC_UNKNOWN": Severity.UNKNOWN}


def test_addresses_to_which_this_machine_has_no_way_are_nobodys_fault() -> None:
    away = ChildServer(NS2, "2001:db8::2", Standing.UNREACHABLE, "no way")
    seen = replace(
        examination(),
        parent=parent_of(HELD, None),
        unrouted=frozenset(("192.0.2.101",)),
        zone=zone_of(served(), served(server=NS2), away),
    )
    report = diagnose(seen)
    assert needy(report) == {}
    assert len(report.find("NO_WAY")) == 2
    nothing = replace(seen, zone=zone_of(away))
    assert needy(diagnose(nothing))["SERVERS_UNREACHED"] is Severity.UNKNOWN


def test_a_parent_that_serves_the_child_as_well_hides_what_it_holds() -> None:
    hides = ServerView(PARENT_NS, "192.0.2.100", None, "hides it", hides=True, ds=())
    report = diagnose(replace(examination(), parent=ParentView(PARENT, CHILD, (hides,))))
    assert report.find("PARENT_HIDDEN")[0].severity is Severity.NOTE
    assert needy(report) == {}
    cds = replace(CONTENT, cds=(b"\0\0\0\0\0",))
    secured = replace(hides, ds=(b"\0\1\x0d\2" + bytes(32),))
    seen = replace(examination(), parent=ParentView(PARENT, CHILD, (secured,)), zone=zone_of(served(cds)))
    assert "- child.parent.example. DS 1 13 2" in diagnose(seen).find("DS_DIFFER")[0].seen
    assert not diagnose(seen).find("NS_DIFFER")


@pytest.mark.parametrize(
    ("held", "rule"),
    [
        (Delegation.of(CHILD, [NS_RECORDS[0], GLUE[0]]), "NS_DIFFER"),
        (Delegation.of(CHILD, [*NS_RECORDS, GLUE[0], RR(NS2, RRType.A, b"\xc0\0\2\x63")]), "GLUE_DIFFERS"),
        (Delegation.of(CHILD, [*NS_RECORDS, GLUE[0]]), "GLUE_MISSING"),
        (Delegation.of(CHILD), "NOT_DELEGATED"),
    ],
)
def test_what_the_parent_holds_is_held_against_the_zone(held: Delegation, rule: str) -> None:
    report = diagnose(replace(examination(), parent=parent_of(held)))
    assert rule in needy(report)
    assert code_of(report) == 3


def test_a_difference_names_each_record() -> None:
    held = Delegation.of(CHILD, [NS_RECORDS[0], GLUE[0]])
    seen = diagnose(replace(examination(), parent=parent_of(held))).find("NS_DIFFER")[0].seen
    assert seen.splitlines()[1:] == ["+ child.parent.example. NS ns2.child.parent.example."]


def test_a_zone_that_no_parent_could_be_given() -> None:
    zone = zone_of(served(replace(CONTENT, addresses=GLUE[:1])))
    told = diagnose(replace(examination(), zone=zone)).find("ZONE_UNSUITABLE")[0].seen
    assert "NS ns2.child.parent.example." in told


# The child's servers


def test_the_newest_serial_is_the_zone_and_serials_wrap_around() -> None:
    old, new = replace(CONTENT, serial=(1 << 32) - 1), replace(CONTENT, serial=3)
    view = zone_of(served(old), served(new, NS2))
    assert view.newest == new
    assert needy(diagnose(replace(examination(), zone=view))) == {}
    assert diagnose(replace(examination(), zone=view)).find("SERIALS_DIFFER")


def test_servers_with_other_records_are_named() -> None:
    view = zone_of(served(), served(replace(CONTENT, key=()), NS2, "192.0.2.2"))
    told = diagnose(replace(examination(), zone=view)).find("SERVERS_DIFFER")[0].seen
    assert told.endswith("ns2.child.parent.example. (192.0.2.2): other KEY")


def test_a_server_without_address_is_a_problem_and_one_whose_address_is_not_known_a_question() -> None:
    nowhere = ChildServer(NS2, "", Standing.UNASKED, "has no address")
    seen = replace(examination(), zone=zone_of(served(), nowhere))
    assert needy(diagnose(seen)) == {"SERVER_WITHOUT_ADDRESS": Severity.PROBLEM}
    seen = replace(seen, zone=zone_of(served(), replace(nowhere, standing=Standing.UNKNOWN)))
    assert needy(diagnose(seen)) == {"SERVER_ADDRESS_UNKNOWN": Severity.UNKNOWN}


def test_ttls_that_differ_do_not_count() -> None:
    view = zone_of(served(), served(replace(CONTENT, key_ttl=1), NS2))
    assert needy(diagnose(replace(examination(), zone=view))) == {}


# The receiver


def test_a_receiver_that_is_well() -> None:
    report = diagnose(examination(receiver(state=4)))
    assert needy(report) == {}
    assert report.find("KEY_TRUSTED")
    assert report.find("BOOTSTRAPPED")


@pytest.mark.parametrize(
    ("view", "rule", "severity"),
    [
        (receiver(worth=KeyTrust.INSECURE, state=4), "RECEIVER_KEY_INSECURE", Severity.WARNING),
        (receiver(worth=KeyTrust.UNKNOWN, key=BOGUS, state=4), "RECEIVER_KEY_UNKNOWN", Severity.PROBLEM),
        (receiver(worth=KeyTrust.UNKNOWN, key=INDETERMINATE, state=4), "RECEIVER_KEY_UNKNOWN", Severity.UNKNOWN),
        (receiver(signed=Signed.NONE, state=4), "ANSWER_UNSIGNED", Severity.WARNING),
        (receiver(signed=Signed.WRONG, state=4), "ANSWER_WRONGLY_SIGNED", Severity.PROBLEM),
        (receiver(state=10), "KEY_WAITS", Severity.WARNING),
        (receiver(state=7), "KEY_FAILED", Severity.WARNING),
    ],
)
def test_what_is_wrong_with_a_receiver(view: ReceiverView, rule: str, severity: Severity) -> None:
    assert needy(diagnose(examination(view))) == {rule: severity}


def test_what_a_receiver_says_unsigned_about_a_key_does_not_count() -> None:
    view = receiver(state=4)
    unsigned = replace(view, words=(replace(view.words[0], signed=False),))
    report = diagnose(examination(unsigned))
    assert not report.find("KEY_TRUSTED")
    assert not report.find("BOOTSTRAPPED")


def test_one_silent_address_of_several_is_no_problem_yet() -> None:
    view, other = receiver(state=4), Endpoint("192.0.2.54", 5354)
    silent = Reached(other, "tcp", None, "192.0.2.54:5354: silent for 5 s")
    assert needy(diagnose(examination(replace(view, reached=(*view.reached, silent))))) == {
        "RECEIVER_SILENT_TCP": Severity.WARNING
    }
    alone = replace(view, reached=(view.reached[0], silent))
    assert needy(diagnose(examination(alone))) == {"RECEIVER_SILENT_TCP": Severity.PROBLEM}
    no_way = replace(view, reached=(*view.reached, replace(silent, routed=False)))
    assert needy(diagnose(examination(no_way))) == {}


# What each method would find


def takes(seen: Examination) -> dict[Method, bool | None]:
    return {each.method: each.takes for each in prospects(seen)}


def test_at_apex_needs_a_secure_key_that_the_child_signed() -> None:
    seen = examination()
    assert takes(seen)[Method.AT_APEX] is False
    secure = replace(seen, key=answer(CHILD, RRType.KEY, OWN.rdata))
    assert takes(secure)[Method.AT_APEX] is True
    assert takes(replace(secure, key=replace(secure.key, signer=PARENT)))[Method.AT_APEX] is False
    wildcard = replace(secure, key=replace(secure.key, status=Status.WILDCARD))
    assert takes(wildcard)[Method.AT_APEX] is False
    unclear = answer(CHILD, RRType.KEY, verdict=INDETERMINATE, status=Status.FAILED)
    assert takes(replace(secure, key=unclear))[Method.AT_APEX] is None


def outside(*answers: Answer) -> Examination:
    """A child on the servers of an operator, with these answers at the signalling names."""
    records = [RR(CHILD, RRType.NS, OUT1), RR(CHILD, RRType.NS, OUT2)]
    content = replace(CONTENT, ns=(OUT1, OUT2), addresses=())
    signals = tuple(Signal(server, b"\1x\0", each) for server, each in zip((OUT1, OUT2), answers, strict=True))
    servers = zone_of(served(content, OUT1), served(content, OUT2, "192.0.2.2"))
    return replace(examination(), parent=parent_of(Delegation.of(CHILD, records)), zone=servers, signals=signals)


HERE = answer(OUT1, RRType.KEY, OWN.rdata)
NOT_HERE = answer(OUT1, RRType.KEY)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((HERE, HERE), True),
        ((HERE, NOT_HERE), False),
        ((HERE, replace(HERE, verdict=INSECURE)), True),
        ((HERE, replace(HERE, verdict=BOGUS)), None),
        ((HERE, replace(HERE, verdict=INDETERMINATE)), None),
        ((replace(HERE, verdict=INSECURE),) * 2, False),
        ((HERE, replace(HERE, rdatas=(RECEIVER.rdata,))), False),
        ((HERE, replace(HERE, status=Status.WILDCARD)), False),
    ],
)
def test_at_ns_wants_every_signed_operator_to_vouch(answers: Sequence[Answer], expected: bool | None) -> None:
    assert takes(outside(*answers))[Method.AT_NS] is expected


def test_at_ns_wants_every_server_of_the_child_to_agree() -> None:
    seen = outside(HERE, HERE)
    stale = replace(seen, zone=zone_of(served(CONTENT), served(replace(CONTENT, key=()), OUT2)))
    assert takes(stale)[Method.AT_NS] is False
    silent = ChildServer(OUT2, "192.0.2.2", Standing.SILENT, "silent")
    assert takes(replace(seen, zone=zone_of(served(CONTENT), silent)))[Method.AT_NS] is None


def test_weaker_methods_are_not_for_a_child_with_ds() -> None:
    seen = outside(HERE, HERE)
    assert seen.parent is not None
    held = seen.parent.held
    assert held is not None
    secured = replace(seen, parent=parent_of(replace(held, ds=(b"\0\1\x0d\2" + bytes(32),))))
    assert (takes(secured)[Method.AT_NS], takes(secured)[Method.UNSIGNED]) == (False, False)


def test_unsigned_takes_silence_for_failure() -> None:
    seen = examination()
    assert takes(seen)[Method.UNSIGNED] is True
    silent = ChildServer(NS2, "192.0.2.2", Standing.SILENT, "silent")
    assert takes(replace(seen, zone=zone_of(served(), silent)))[Method.UNSIGNED] is False
    differs = zone_of(served(), served(replace(CONTENT, key=(RECEIVER.rdata,)), NS2))
    assert takes(replace(seen, zone=differs))[Method.UNSIGNED] is False


def test_without_a_key_no_method_finds_one() -> None:
    nothing = replace(
        examination(receiver()),
        key=answer(CHILD, RRType.KEY, verdict=INSECURE),
        zone=zone_of(served(replace(CONTENT, key=()))),
    )
    assert set(takes(nothing).values()) == {False}
    assert needy(diagnose(nothing)) == {}
    assert diagnose(nothing).find("NOTHING_TO_TRUST")


def test_what_could_not_be_looked_up_is_neither_there_nor_missing() -> None:
    away = replace(
        examination(),
        discovery=Discovery(CHILD, None, (), INDETERMINATE, ()),
        key=answer(CHILD, RRType.KEY, verdict=INDETERMINATE),
        zone=zone_of(ChildServer(NS1, "192.0.2.1", Standing.SILENT, "silent")),
    )
    assert set(takes(away).values()) == {None}
    report = diagnose(away)
    assert report.find("RECEIVER_UNKNOWN")
    assert not report.find("NO_RECEIVER")
    known = diagnose(replace(away, discovery=examination().discovery))
    assert known.find("NO_RECEIVER")
    assert not known.find("NOTHING_TO_TRUST")


def test_an_unsigned_zone_whose_servers_are_silent_is_a_zone_nevertheless() -> None:
    silent = replace(
        examination(receiver()),
        soa=answer(CHILD, RRType.SOA, verdict=INSECURE, status=Status.FAILED),
        key=answer(CHILD, RRType.KEY, verdict=INSECURE, status=Status.FAILED),
        zone=zone_of(ChildServer(NS1, "192.0.2.1", Standing.SILENT, "silent")),
    )
    report = diagnose(silent)
    assert not report.find("NO_ZONE")
    assert not report.find("NO_KEY")
    assert report.find("INSECURE")
    assert report.find("KEY_UNDETERMINED")
    assert set(takes(silent).values()) == {None}


def test_a_parent_whose_methods_find_nothing() -> None:
    report = diagnose(examination(receiver(methods=(Method.AT_APEX,), state=5)))
    assert needy(report) == {"NO_METHOD": Severity.WARNING}
    report = diagnose(examination(receiver(methods=(Method.AT_APEX, Method.MANUAL), state=5)))
    assert (needy(report), len(report.find("MANUAL_ONLY"))) == ({}, 1)
    report = diagnose(examination(receiver(methods=None, state=5)))
    assert (needy(report), len(report.find("NO_SVCB"))) == ({}, 1)


def test_a_report_is_one_json_document() -> None:
    document = diagnose(examination(receiver(state=4))).to_json()
    assert [section["title"] for section in document["sections"]] == [
        "from here",
        "delegation",
        "name servers",
        "in sync",
        "DNSSEC",
        "announcement",
        "receiver",
        "the child's KEY",
        "bootstrap",
    ]


# Tags


TABLE = Path(__file__).parents[3] / "deploy" / "findings.md"


def test_the_documentation_has_every_tag_once_with_what_it_means() -> None:
    rows = [line.split(" | ") for line in TABLE.read_text().splitlines() if line.startswith("| `")]
    assert Counter(row[0].removeprefix("| ").strip("`") for row in rows) == Counter(tag.value for tag in Tag)
    severities = {severity.value for severity in Severity}
    for tag, severity, meaning, cure in rows:
        assert set(severity.split(", ")) <= severities, tag
        assert meaning, tag
        assert cure.strip(" |") or not {"problem", "warning"} & set(severity.split(", ")), tag


def test_every_tag_is_one_that_some_finding_can_have() -> None:
    modules = Path(doctor.__file__).parent.glob("*.py")
    code = "".join(module.read_text() for module in modules if module.name != "tags.py")
    assert [tag.value for tag in Tag if f"Tag.{tag.value}" not in code] == []
    assert all(tag.value == tag.name for tag in Tag)
