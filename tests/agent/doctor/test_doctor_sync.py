"""What the doctor says of what differs: whether an agent would sign for it, what is missing if not, and where what is
announced is not what the agent remembers."""

from dataclasses import replace

import pytest

from agent_support import BOGUS, CHILD, INSECURE, PARENT, TARGET, pair
from doctor_support import RECEIVER, examination, needy, receiver
from proof_support import NOW, NS_A, NS_B, UNSIGNED, Shown, parent_server, server, zone
from zonecut.agent.doctor import Severity, diagnose
from zonecut.agent.doctor.findings import Finding
from zonecut.agent.doctor.observation import Examination, Kept, ReceiverView
from zonecut.agent.evidence.zone_view import ZoneView
from zonecut.agent.learned import Learned
from zonecut.agent.parent.parent_view import ParentView
from zonecut.agent.settings import ChildSettings
from zonecut.agent.state import AgentState, Phase
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.keys import Key
from zonecut.resolve import Verdict

NS_C = names.from_text("ns.c.example.")
ROLLED = zone("old", "new", cds=["new"])
SYNC = "zonecut child sync does it"


def shown(read: Shown, other: Shown | None = None, third: Shown | None = None, kept: Kept | None = None) -> Examination:
    """A child at its servers, under a parent with the DS of the key `old`."""
    servers = [server(NS_A, read), server(NS_B, read if other is None else other, "192.0.2.2")]
    servers += [] if third is None else [server(NS_C, third, "192.0.2.3")]
    return replace(
        examination(),
        parent=ParentView(PARENT, CHILD, (parent_server("old"),)),
        zone=ZoneView(CHILD, tuple(servers)),
        now=NOW,
        settings=ChildSettings(),
        kept=kept or Kept(),
    )


def about_ds(seen: Examination) -> Finding:
    (finding,) = (each for tag in ("DS_DIFFER", "DS_UNPROVEN") for each in diagnose(seen).find(tag))
    return finding


def test_what_an_agent_does_is_left_to_it() -> None:
    finding = about_ds(shown(ROLLED))
    assert (finding.tag, SYNC in finding.advice) == ("DS_DIFFER", True)
    assert "asks by CDS" in finding.why


@pytest.mark.parametrize(
    "unproven",
    [
        replace(ROLLED, cds_by=frozenset(("new",))),
        replace(ROLLED, cds_by=frozenset()),
        replace(ROLLED, by=frozenset(("new",))),
    ],
)
def test_cds_that_prove_nothing_are_said_to_and_no_agent_is_said_to_follow_them(unproven: Shown) -> None:
    finding = about_ds(shown(unproven))
    assert (finding.tag, finding.severity) == ("DS_UNPROVEN", Severity.WARNING)
    assert "are not signed by a key that a DS at the parent names (RFC 7344 section 4.1)" in finding.why
    assert SYNC not in finding.advice
    assert "sign DNSKEY and CDS with a key that a DS at the parent names" in finding.advice


def test_which_server_a_change_waits_for_is_said() -> None:
    finding = about_ds(shown(zone("old", "ecdsa", cds=["old", "ecdsa"]), zone("old", cds=["old", "ecdsa"])))
    assert finding.tag == "DS_DIFFER"
    assert "what is missing before it can be changed: with the DS that are asked for" in finding.advice
    assert "ns.b.example." in finding.advice


def test_the_absence_of_cds_is_no_wish_for_the_ds_of_a_standby_key() -> None:
    withdrawn = zone("old", "standby")
    finding = about_ds(shown(withdrawn))
    assert "the child has no CDS" in finding.why
    assert SYNC not in finding.advice
    assert "publish CDS" in finding.advice
    # the agent remembers that the zone spoke by CDS, or that it never did
    spoke = diagnose(shown(withdrawn, kept=Kept.of(AgentState(Phase.IN_SYNC, NOW, spoke="cds"))))
    assert not spoke.find("DS_DIFFER")
    assert "says nothing (RFC 7344 section 4.1)" in spoke.find("RECORD_LEFT_OUT")[0].seen
    assert SYNC in about_ds(shown(withdrawn, kept=Kept.of(AgentState(Phase.IN_SYNC, NOW)))).advice


def test_name_servers_at_which_the_zone_is_bogus_are_not_left_to_the_agent() -> None:
    three = frozenset((NS_A, NS_B, NS_C))
    read = zone("old", cds=["old"], ns=three)
    (finding,) = diagnose(shown(read, read, UNSIGNED)).find("NS_UNPROVEN")
    assert "ns.c.example. (192.0.2.3) is not added" in finding.why
    assert SYNC not in finding.advice
    (finding,) = diagnose(shown(read, read, read)).find("NS_DIFFER")
    assert SYNC in finding.advice


# What the agent remembers

RECORD = Dsync(RRType.ANY, 2, 5354, TARGET)
OTHER = Dsync(RRType.ANY, 2, 5354, names.from_text("other.parent.example."))


def remembering(view: ReceiverView, *keys: Key, records: tuple[Dsync, ...] = (RECORD,)) -> Examination:
    return replace(examination(view), kept=Kept(Learned(keys, records, PARENT), is_known=True))


def test_what_is_as_the_agent_remembers_it_is_not_told() -> None:
    report = diagnose(remembering(receiver(), RECEIVER))
    assert not report.find("RECEIVERS_CHANGED")
    assert not report.find("RECEIVER_KEY_CHANGED")


@pytest.mark.parametrize(
    ("verdict", "severity"), [(Verdict.SECURE, Severity.NOTE), (Verdict.INSECURE, Severity.WARNING)]
)
def test_another_key_of_the_receiver_than_the_agent_remembers_is_told(verdict: Verdict, severity: Severity) -> None:
    before = pair(TARGET).key
    (finding,) = diagnose(remembering(receiver(key=verdict), before)).find("RECEIVER_KEY_CHANGED")
    assert finding.severity is severity
    assert f"KEY {RECEIVER.tag}" in finding.seen
    assert f"remembers KEY {before.tag}" in finding.seen
    assert ("goes on with what it remembers" in finding.why) is (verdict is INSECURE)
    # what cannot be told is no other key
    assert not diagnose(remembering(receiver(key=BOGUS), before)).find("RECEIVER_KEY_CHANGED")


def test_another_receiver_than_the_agent_remembers_is_told() -> None:
    seen = remembering(receiver(), RECEIVER, records=(OTHER,))
    (finding,) = diagnose(seen).find("RECEIVERS_CHANGED")
    assert finding.severity is Severity.NOTE
    assert "the child's agent remembers ANY UPDATE 5354 other.parent.example." in finding.seen
    led = replace(seen, discovery=replace(seen.discovery, verdict=INSECURE))
    assert diagnose(led).find("RECEIVERS_CHANGED")[0].severity is Severity.WARNING
    nobody = replace(seen, discovery=replace(seen.discovery, records=()))
    assert "announces no receiver of UPDATEs" in diagnose(nobody).find("RECEIVERS_CHANGED")[0].seen


def test_that_the_agent_s_memory_could_not_be_read_is_told_and_no_trouble_of_the_zone() -> None:
    report = diagnose(replace(examination(), kept=Kept(reason="the store is another user's")))
    assert needy(report) == {}
    assert "the store is another user's" in report.find("AGENT_UNREAD")[0].seen
