"""`zonecut doctor` looks at children whose parents, servers and receivers are well, broken, silent or strange."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import dns.dnssec
import pytest
from dns.rdataclass import IN
from dns.rdatatype import DNSKEY

from agent_world import AgentWorld
from doctor_world import (
    CHILD,
    NOBODY,
    ONE,
    OPERATOR,
    OTHER,
    PARENT,
    PARENTS,
    UPDATER,
    DoctorWorld,
    attention,
    facts,
    rr,
)
from lab.daemons.server import Add
from lab.ports import LOOPBACK, free_port
from lab.scripted import behaviours
from lab.scripted.hostile import HostileReceiver, Manner
from signer import Signer
from zonecut.agent.doctor import Severity
from zonecut.agent.doctor.reachability import Reached, reach
from zonecut.agent.exchange.retransmission import Patience
from zonecut.agent.parent.discovery import discover
from zonecut.agent.parent.receiver import find_parties
from zonecut.agent.settings import ParentSettings
from zonecut.cli import main
from zonecut.cli.doctor import code_of
from zonecut.demo.loopback import LoopbackAuthority, LoopbackZone, Transport, faults
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.announced.svcb import Method
from zonecut.protocol.codepoints import Opcode, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.sig0 import signatures

TRUSTED, MANUAL = 4, 10


@pytest.fixture
def receiver() -> Iterator[HostileReceiver]:
    """Whatever becomes of a child: nobody has sent anything that could change anything."""
    with HostileReceiver(UPDATER, behaviours.telling(TRUSTED)) as receiver:
        yield receiver
    for received in receiver.received:
        envelope = received.envelope
        assert envelope.opcode == Opcode.QUERY
        assert not signatures(envelope, int(RRType.SIG))


@pytest.fixture
def key() -> Signer:
    return Signer.generate(CHILD)


def test_a_child_that_is_well(tmp_path: Path, receiver: HostileReceiver, key: Signer) -> None:
    with DoctorWorld(receiver) as world:
        world.put_key(key.pair.key)
        code, page, complaints = world.run(tmp_path)
        assert (code, complaints) == (0, "")
        assert page.startswith(f"{CHILD}  all well\n")
        for line in (
            f"ns1.{CHILD} ({ONE})  serial",
            f"{PARENT} delegates it, the same at the one server address",
            "2 of 2 addresses answer with authority",
            "the parent holds what the child asks for",
            f"{CHILD} is secure",
            f"DSYNC  ANY UPDATE {receiver.port} {UPDATER}",
            f"RECEIVER {UPDATER}\n",
            "its KEY is validated",
            "it answers over UDP and TCP",
            "its answers are signed by its KEY",
            f"the receiver trusts key {key.tag} of the child",
        ):
            assert line in page
        assert max(map(len, page.splitlines())) <= 120
        code, out, _ = world.run(tmp_path, "--json")
        document = json.loads(out)
        assert (code, document["severity"], document["verdict"], document["child"]) == (0, "ok", "all well", CHILD)
        (seen,) = document["seen"]["receivers"]
        assert {(each["transport"], each["signed"], each["by"]) for each in seen["reached"]} == {
            ("udp", "valid", receiver.key.tag),
            ("tcp", "valid", receiver.key.tag),
        }
        assert [each["state"] for each in seen["keys"]] == ["KEY_TRUSTED"]
        assert document["seen"]["keys"][0]["fingerprint"] == key.pair.key.fingerprint()


def test_nothing_that_a_stranger_wrote_reaches_the_terminal_as_it_is(
    tmp_path: Path, receiver: HostileReceiver, key: Signer
) -> None:
    receiver.play(behaviours.telling(MANUAL, "\x1b[2Jcall\x07\nVERDICT all well"))
    with DoctorWorld(receiver) as world:
        world.put_key(key.pair.key)
        code, page, _ = world.run(tmp_path)
        assert code == 3
        assert "KEY_BOOTSTRAP_MANUAL (10)" in page
        assert all(character == "\n" or character.isprintable() for character in page)
        assert not [line for line in page.splitlines() if line.startswith("VERDICT")]


def test_wrong_usage_and_a_resolver_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "."]) == 2
    assert main(["doctor", CHILD, "--resolver", "resolver.example"]) == 2
    assert main(["doctor", CHILD, "--resolver", "127.0.0.1:53", "--trust-anchors", str(tmp_path / "none")]) == 2
    assert main(["doctor", "no..name"]) == 2
    assert main(["doctor", CHILD, "--config", str(tmp_path / "none.yaml")]) == 2
    capsys.readouterr()
    assert main(["doctor", CHILD, "--resolver", f"{LOOPBACK}:{free_port()}"]) == 1
    page = capsys.readouterr().out
    assert f"the parent zone of {CHILD} could not be found out" in page
    assert "--resolver" in page


def test_a_resolver_that_passes_no_signatures_on(receiver: HostileReceiver, key: Signer) -> None:
    with DoctorWorld(receiver) as world:
        world.put_key(key.pair.key)
        for authority in (world.parents, world.primary):
            authority.override(None, None, faults.without_signatures)
        report = world.look()
        assert (report.severity, code_of(report)) == (Severity.UNKNOWN, 1)
        assert "--resolver" in report.find("CANNOT_VALIDATE")[0].advice


# The child's name servers


def test_a_server_that_does_not_have_the_zone_is_lame(receiver: HostileReceiver) -> None:
    world = DoctorWorld(receiver)
    world.secondary = LoopbackAuthority([], (OTHER,), world.port)
    with world:
        report = world.look()
        assert set(attention(report)) == {"SERVER_LAME"}
        assert f"ns2.{CHILD} ({OTHER})" in attention(report)["SERVER_LAME"]
        assert "REFUSED" in attention(report)["SERVER_LAME"]
        assert code_of(report) == 3


def test_a_server_that_answers_nobody_or_only_over_tcp(receiver: HostileReceiver) -> None:
    with DoctorWorld(receiver) as world:
        world.secondary.override(None, None, faults.over(Transport.UDP, faults.silent))
        told = attention(world.look())
        assert set(told) == {"SERVER_TROUBLE"}
        assert "over UDP" in told["SERVER_TROUBLE"]
        world.child.put("ns2", "A", NOBODY)
        world.delegate(
            Delegation.of(
                names.from_text(CHILD), [*world.own_records()[:3], *world.ds(), rr(f"ns2.{CHILD}", RRType.A, NOBODY)]
            )
        )
        report = world.look()
        assert set(attention(report)) == {"SERVER_SILENT"}
        assert report.severity is Severity.PROBLEM


def test_servers_that_do_not_say_the_same(receiver: HostileReceiver) -> None:
    world = DoctorWorld(receiver, child_signed=False)
    stale = LoopbackZone(CHILD, f"@ NS ns1\nns1 A {ONE}\n", signed=False)
    world.secondary = LoopbackAuthority([stale], (OTHER,), world.port)
    with world:
        told = attention(world.look())
        assert set(told) == {"SERVERS_DIFFER"}
        assert f"ns2.{CHILD} ({OTHER}): other NS and addresses" in told["SERVERS_DIFFER"]


# The delegation


def test_name_servers_and_glue_that_the_parent_does_not_have(tmp_path: Path, receiver: HostileReceiver) -> None:
    with DoctorWorld(receiver) as world:
        world.child.put("@", "NS", "ns1", "ns3")
        world.child.put("ns3", "A", OTHER)
        world.child.put("ns1", "AAAA", "::1")
        code, page, _ = world.run(tmp_path)
        assert code == 3
        assert f"- {CHILD} NS ns2.{CHILD}\n" in page
        assert f"+ {CHILD} NS ns3.{CHILD}\n" in page
        assert f"+ ns1.{CHILD} AAAA ::1\n" in page
        assert f"ns3.{CHILD} ({OTHER})  serial" in page  # asked, although the parent does not name it
        world.delegate(Delegation.of(names.from_text(CHILD), [*world.own_records()[:3], *world.ds()]))
        told = attention(world.look())
        assert f"no address for ns2.{CHILD}" in told["GLUE_MISSING"]


def test_a_child_that_is_not_delegated(receiver: HostileReceiver) -> None:
    with DoctorWorld(receiver) as world:
        world.delegate(Delegation(names.from_text(CHILD)))
        report = world.look()
        assert report.find("NOT_DELEGATED")[0].severity is Severity.PROBLEM


def test_a_parent_on_the_same_server_shows_its_ds_and_no_more(tmp_path: Path, receiver: HostileReceiver) -> None:
    world = DoctorWorld(receiver)
    world.parents = LoopbackAuthority([world.root, world.parent, world.child], (PARENTS,), world.port)
    with world:
        code, page, _ = world.run(tmp_path)
        assert code == 0
        words = " ".join(page.split())
        assert "which hides the NS and glue" in words
        assert "the parent holds the DS that the child asks for" in words
        world.child.replace_keys()
        assert "CHAIN_BROKEN" in attention(world.look())


def test_a_parent_whose_server_is_away(receiver: HostileReceiver) -> None:
    with DoctorWorld(receiver) as world:
        world.parent.put("@", "NS", "ns", "ns9")
        world.parent.put("ns9", "A", NOBODY)
        told = attention(world.look())
        assert set(told) == {"PARENT_SERVER_SILENT"}
        world.parent.put("@", "NS", "ns9")
        told = attention(world.look())
        assert {"PARENT_UNTOLD", "SYNC_UNKNOWN"} <= set(told)
        assert NOBODY in told["PARENT_UNTOLD"]


# DNSSEC


def test_ds_that_no_key_of_the_zone_fits(receiver: HostileReceiver, key: Signer) -> None:
    with DoctorWorld(receiver) as world:
        world.put_key(key.pair.key)
        world.child.replace_keys()
        report = world.look()
        assert {"BOGUS", "CHAIN_BROKEN", "KEY_BOGUS"} <= set(attention(report))
        assert facts(report, "bootstrap")["at-apex"].startswith("offered, would not")


def test_signatures_out_of_their_time_make_one_look_at_the_clock(receiver: HostileReceiver) -> None:
    with DoctorWorld(receiver) as world:
        world.child.sign_for(1577836800, 1580515200)
        (finding,) = world.look().find("BOGUS")
        assert "expired 2020-02-01" in finding.seen
        assert "clock" in finding.advice


def test_what_holds_now_and_not_for_long_or_not_for_everybody(receiver: HostileReceiver) -> None:
    with DoctorWorld(receiver) as world:
        now = int(time.time())
        world.child.sign_for(now - 86400, now + 100)
        assert set(attention(world.look())) == {"DNSKEY_SIGNATURE_ENDS_SOON"}
        world.child.sign_for(now - 86400, now + 86400 * 7)
        keys = world.child.get(world.child.origin, DNSKEY)
        assert keys is not None
        (ksk,) = (rdata for rdata in keys if rdata.flags & 1)
        old = dns.dnssec.make_ds(world.child.origin, ksk, "SHA1", validating=True).to_digestable()
        child = names.from_text(CHILD)
        world.delegate(Delegation.of(child, [*world.own_records(), RR(child, RRType.DS, old)]))
        report = world.look()
        assert set(attention(report)) == {"DS_UNSUPPORTED"}
        assert report.find("INSECURE")
        other = RR(child, RRType.DS, b"\0\1\x08" + world.ds()[0].rdata[3:])
        world.delegate(Delegation.of(child, [*world.own_records(), *world.ds(), other]))
        assert set(attention(world.look())) == {"DS_ALGORITHM_SIGNS_NOTHING"}


def test_more_addresses_than_are_asked_are_named(receiver: HostileReceiver) -> None:
    with DoctorWorld(receiver) as world:
        world.child.put("ns1", "A", ONE, *(f"127.53.1.{number}" for number in range(1, 11)))
        told = attention(world.look())
        assert "GLUE_DIFFERS" in told
        assert "NOT_ALL_LOOKED_AT" in told
        assert f"ns1.{CHILD} (127.53.1." in told["NOT_ALL_LOOKED_AT"]


def test_cds_asks_for_another_ds(receiver: HostileReceiver) -> None:
    with DoctorWorld(receiver) as world:
        keys = world.child.get(world.child.origin, DNSKEY)
        assert keys is not None
        (ksk,) = (rdata for rdata in keys if rdata.flags & 1)
        cds = dns.dnssec.make_ds(world.child.origin, ksk, "SHA384")
        assert cds.rdclass == IN
        world.child.put("@", "CDS", str(cds))
        told = attention(world.look())
        assert set(told) == {"DS_DIFFER"}
        assert f"+ {CHILD} DS {cds}".upper() in told["DS_DIFFER"].upper()


def test_a_signed_child_without_ds(receiver: HostileReceiver) -> None:
    with DoctorWorld(receiver) as world:
        world.delegate(Delegation.of(names.from_text(CHILD), world.own_records()))
        assert set(attention(world.look())) == {"DS_MISSING"}


# What the parent announces


def test_a_parent_that_announces_nothing_or_a_scanner(receiver: HostileReceiver) -> None:
    with DoctorWorld(receiver) as world:
        world.announce()
        report = world.look()
        assert (code_of(report), attention(report)) == (0, {})
        assert "announces nothing" in report.find("NO_DSYNC")[0].seen
        world.announce(Dsync(RRType.CDS, 1, 5359, names.from_text(f"scanner.{PARENT}")))
        report = world.look()
        assert code_of(report) == 0
        assert report.find("DSYNC")[0].seen == "secure: NOTIFY of CDS"
    assert not receiver.received


def test_a_receiver_that_cannot_be_reached(receiver: HostileReceiver) -> None:
    with DoctorWorld(receiver) as world:
        world.parent.put(UPDATER, "A", NOBODY)
        report = world.look()
        assert set(attention(report)) == {"RECEIVER_SILENT_TCP", "RECEIVER_SILENT_UDP"}
        assert f"{NOBODY}:{receiver.port}: Connection refused" in attention(report)["RECEIVER_SILENT_TCP"]
        world.parent.delete(UPDATER, "A")
        assert set(attention(world.look())) == {"RECEIVER_LOST"}
        world.parent.put(UPDATER, "A", LOOPBACK)
        receiver.play(behaviours.unsigned(behaviours.accepting))
        assert set(attention(world.look())) == {"ANSWER_UNSIGNED"}
        receiver.play(behaviours.signed_by(Signer.generate(UPDATER), behaviours.accepting))
        assert set(attention(world.look())) == {"ANSWER_WRONGLY_SIGNED"}


@pytest.mark.parametrize(
    ("manner", "said"),
    [
        (behaviours.garbage, "sent something that is no answer"),
        (behaviours.wrong_id, "it has another ID than the request"),
        (behaviours.echoing, "it is no response"),
        (behaviours.babbling_for_ever, "it has another ID than the request"),
        (behaviours.closing, "the connection was closed before an answer came"),
    ],
)
def test_what_is_no_answer_does_not_count_as_one(receiver: HostileReceiver, manner: Manner, said: str) -> None:
    with DoctorWorld(receiver) as world:
        child, settings = names.from_text(CHILD), ParentSettings(addresses="any")

        async def look() -> tuple[Reached, ...]:
            party, *_ = await find_parties(world.lookups, await discover(world.lookups, child), settings)
            receiver.play(manner)
            return await reach(party, child, patience=Patience(0.5, 0))

        udp, tcp = asyncio.run(look())
        assert (udp.response, tcp.response) == (None, None)
        assert said in udp.reason + tcp.reason


def test_a_receiver_whose_key_is_bogus_or_missing(receiver: HostileReceiver) -> None:
    with DoctorWorld(receiver) as world:
        world.parents.override(UPDATER, "KEY", faults.broken_signatures)
        report = world.look()
        (finding,) = report.find("RECEIVER_KEY_UNKNOWN")
        assert (finding.severity, "does not verify" in finding.seen) == (Severity.PROBLEM, True)
        assert set(attention(world.look(receiver.key.pair.key))) == {"RECEIVER_KEY_BOGUS"}
        world.parents.override(UPDATER, "KEY")
        world.publish_keys()
        assert set(attention(world.look())) == {"RECEIVER_KEY_MISSING"}


def test_an_insecure_parent(receiver: HostileReceiver, key: Signer) -> None:
    with DoctorWorld(receiver, signed=False) as world:
        world.put_key(key.pair.key)
        report = world.look()
        assert set(attention(report)) == {"RECEIVER_KEY_INSECURE"}
        assert {"INSECURE", "DSYNC_INSECURE"} <= {each.tag for section in report.sections for each in section.findings}
        assert facts(report, "bootstrap")["at-apex"] == "offered, would not: the KEY at the apex: found, insecure"


# The child's KEY


def test_keys_at_signalling_names(receiver: HostileReceiver, key: Signer) -> None:
    receiver.play(behaviours.telling(5))
    with DoctorWorld(receiver, child_signed=False, methods=(Method.AT_NS,)) as world:
        world.hosted_elsewhere()
        own = key.pair.key
        world.put_key(own)
        report = world.look()
        assert set(attention(report)) == {"NO_METHOD"}
        assert "nxdomain, secure" in facts(report, "bootstrap")["at-ns"]
        world.signal("ns1", own)
        world.signal("ns2", own)
        report = world.look()
        assert (code_of(report), attention(report)) == (0, {})
        assert facts(report, "bootstrap")["at-ns"].startswith("offered, would take it: 2 signalling name(s)")
        assert facts(report, "bootstrap")["unsigned"].startswith("not offered, would take it")
        assert facts(report, "the child's KEY")[f"ns1.{OPERATOR}"].endswith("found, secure")
        world.signal("ns2", Signer.generate(CHILD).pair.key)
        assert set(attention(world.look())) == {"SIGNAL_DIFFERS", "NO_METHOD"}
        world.parents.override(f"_sig0key.{CHILD}_signal.ns2.{OPERATOR}", "KEY", faults.broken_signatures)
        report = world.look()
        assert "SIGNAL_BOGUS" in attention(report)
        assert "cannot be told" in facts(report, "bootstrap")["at-ns"]


# Real servers, a real receiver and a real agent


def test_a_child_that_an_agent_looks_after(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, addresses=(LOOPBACK, LOOPBACK)) as world:
        world.wait_for("in-sync")
        world.agent.stop()
        ports = ["--port", str(world.child.port)]
        document = world.agent.cli("doctor", CHILD, *ports)
        rules = {each["tag"] for section in document["sections"] for each in section["findings"]}
        assert {"DELEGATED", "SERVERS_AGREE", "IN_SYNC", "SECURE", "RECEIVER_KEY", "KEY_TRUSTED", "KEY"} <= rules
        world.child.edit(Add(CHILD, 60, "NS", f"ns4.{CHILD}"), Add(f"ns4.{CHILD}", 60, "A", LOOPBACK))
        through = ["--resolver", world.resolver["nameservers"][0], "--trust-anchors", world.tree.anchors]
        page = world.agent.cli("doctor", CHILD, *ports, *through, json=False, expect=3)
        assert f"+ {CHILD} NS ns4.{CHILD}" in page
        assert f"+ ns4.{CHILD} A {LOOPBACK}" in page
