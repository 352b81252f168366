"""The guided tour, as far as it needs no server: what it prints, and when it says that all went well."""

import io
from pathlib import Path

import dns.message
import dns.zone
import pytest
from rich.console import Console

from zonecut import demo
from zonecut.demo.answers import Answer, is_signed
from zonecut.demo.child import Child, next_ds, replace
from zonecut.demo.daemon import Daemon
from zonecut.demo.loopback import Transport
from zonecut.demo.narrator import WIDTH, Narrator
from zonecut.demo.report import Check, DemoFailure, Report, Step
from zonecut.demo.servers import server
from zonecut.demo.servers.authority import ALPHA, BETA, PARENT, master_file, of_child, without_ttls
from zonecut.demo.servers.filed import FileAuthority, FiledZone
from zonecut.demo.tour import run
from zonecut.demo.tree import Tree
from zonecut.protocol import message, names
from zonecut.protocol.announced.dsync import generic_text
from zonecut.protocol.codepoints import DEFAULT, Algorithm, ReceiverState, RRType
from zonecut.protocol.envelope import read_options, walk
from zonecut.protocol.keys import KeyPair, verifier
from zonecut.protocol.keystate import KeyStateOption, inquire
from zonecut.protocol.sig0 import sign_response, signatures, signed_data


@pytest.fixture
def printed() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def report() -> Report:
    return Report("zonefile")


@pytest.fixture
def tell(printed: io.StringIO, report: Report) -> Narrator:
    return Narrator(Console(file=printed, highlight=False), report)


def test_a_claim_that_holds_is_told_and_kept(tell: Narrator, report: Report, printed: io.StringIO) -> None:
    tell.step("A step", "It does something.", "RFC 2136")
    tell.check("the answer is NOERROR", "NOERROR", "NOERROR")
    tell.complete()
    assert report.passed
    assert report.steps[0].checks == [Check("the answer is NOERROR", "NOERROR", "NOERROR", True)]
    assert "ok  the answer is NOERROR" in printed.getvalue()


def test_a_claim_that_does_not_hold_ends_the_tour_with_what_was_expected_and_found(
    tell: Narrator, report: Report
) -> None:
    tell.step("A step", "It does something.")
    with pytest.raises(DemoFailure, match=r"step 1, A step: the answer(.|\n)*expected: REFUSED\n *found: +NOERROR"):
        tell.check("the answer is REFUSED", "REFUSED", "NOERROR")
    assert not report.passed


@pytest.mark.parametrize(
    "step",
    [
        Step(1, "checks nothing", "", (), complete=True),
        Step(1, "was cut off", "", (), checks=[Check("", "", "", True)]),
        Step(1, "found something else", "", (), checks=[Check("", "", "", False)], complete=True),
    ],
    ids=lambda step: step.title,
)
def test_a_step_has_not_passed_that(step: Step) -> None:
    assert not Report("zonefile", [step]).passed


def test_a_tour_without_steps_has_not_passed(report: Report) -> None:
    assert not report.passed


def test_no_line_is_wider_than_the_limit_and_nothing_of_it_is_lost(tell: Narrator, printed: io.StringIO) -> None:
    record = "alpha.parent.example. 3600 IN DS 1 13 2 " + "0123456789ABCDEF" * 20
    tell.step("A step", "word " * 100)
    tell.show("A record", record, "dig " + "x" * 200)
    lines = printed.getvalue().splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "".join(record.split()) in "".join("".join(lines).split())


def test_markup_in_what_is_shown_is_left_alone(tell: Narrator, printed: io.StringIO) -> None:
    tell.step("A step", "It shows.")
    tell.show("", "[bold]no markup[/bold]")
    assert "[bold]no markup[/bold]" in printed.getvalue()
    assert "\x1b" not in printed.getvalue()


@pytest.mark.parametrize(
    ("adapter", "words"),
    [
        ("bind", "needs named, which is neither in PATH nor in : install BIND 9 (Debian: apt-get install bind9)"),
        ("knot", "needs knotd, which is neither in PATH nor in : install Knot DNS (Debian: apt-get install knot)"),
        ("powerdns", "needs pdns_server, which is neither in PATH nor in : install PowerDNS"),
    ],
)
def test_a_missing_server_is_named_and_ends_the_tour(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, printed: io.StringIO, adapter: str, words: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(server, "PLACES", ())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    report = run(adapter, Console(file=printed), lambda wire: "")
    assert not report.passed
    assert report.failure is not None
    assert words in report.failure
    assert words in " ".join(printed.getvalue().split())
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_too_long_for_a_socket_ends_the_tour(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, printed: io.StringIO
) -> None:
    program = tmp_path / "knotd"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    directory = tmp_path / ("x" * 90)
    directory.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    report = run("knot", Console(file=printed), lambda wire: "")
    assert "knot.sock is too long for the path of a socket (107 octets): TMPDIR" in str(report.failure)
    assert list(directory.iterdir()) == []


def test_there_is_a_tour_with_each_of_the_servers_and_with_none() -> None:
    assert sorted(demo.AUTHORITIES) == ["bind", "knot", "powerdns", "zonefile"]


def test_lines_of_a_child_are_those_at_and_below_it() -> None:
    lines = ["a.example. 1 IN NS b.", "ns.a.example. 1 IN A 192.0.2.1", "aa.example. 1 IN NS b.", "example. 1 IN NS b."]
    assert of_child(lines, "a.example.") == lines[:2]
    assert without_ttls(lines[:1]) == ["a.example. NS b."]


def test_an_update_of_the_child_verifies_with_its_key() -> None:
    child = Child(names.from_text("alpha.parent.example."))
    wire = child.update(names.from_text("parent.example."), replace(child.name, RRType.DS, next_ds(child.name)))
    (signature,) = signatures(walk(wire), DEFAULT.signature_type)
    assert verifier(child.key, DEFAULT)(signature.signature, signed_data(wire, signature))
    assert [len(next_ds(child.name, 1)), len(next_ds(child.name, 2))] == [4 + 20, 4 + 32]


def test_an_inquiry_of_the_child_asks_about_its_key_and_is_signed_with_it() -> None:
    child = Child(names.from_text("alpha.parent.example."))
    envelope = walk(child.inquire())
    (signature,) = signatures(envelope, DEFAULT.signature_type)
    assert verifier(child.key, DEFAULT)(signature.signature, signed_data(envelope.wire, signature))
    assert envelope.opt is not None
    assert list(read_options(envelope.rdata(envelope.opt))) == [
        (DEFAULT.keystate_option, inquire(child.key.tag).to_data())
    ]


RECEIVER = KeyPair.generate(names.from_text("updater.parent.example."), Algorithm.ED25519, DEFAULT)
QUESTION = message.query(7, names.from_text("alpha.parent.example."), RRType.KEY)


def _signed(pair: KeyPair, request: bytes = QUESTION) -> bytes:
    state = KeyStateOption(1, ReceiverState.UNKNOWN).to_option(DEFAULT)
    response = QUESTION[:2] + b"\x80" + QUESTION[3:11] + b"\1" + QUESTION[12:] + message.opt_record(state)
    return sign_response(response, pair, 0, 300, request=request, signature_type=DEFAULT.signature_type)


def test_an_answer_counts_as_signed_by_the_key_that_signed_it_over_the_question() -> None:
    wire = _signed(RECEIVER)
    assert Answer.of(wire).keystate == KeyStateOption(1, ReceiverState.UNKNOWN)
    assert is_signed(wire, RECEIVER.key, QUESTION)


@pytest.mark.parametrize(
    "wire",
    [
        QUESTION,
        _signed(KeyPair.generate(RECEIVER.key.owner, Algorithm.ED25519, DEFAULT)),
        _signed(RECEIVER, b"\0\x08" + QUESTION[2:]),
    ],
    ids=["nobody signed", "somebody else signed", "was signed in answer to something else"],
)
def test_an_answer_does_not_count_as_signed_that(wire: bytes) -> None:
    assert not is_signed(wire, RECEIVER.key, QUESTION)


CONTENT = f"$ORIGIN {ALPHA}\n$TTL 60\n@ SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ NS ns1\nns1 A 127.0.0.1\n"


@pytest.fixture
def filed(tmp_path: Path) -> FiledZone:
    """alpha, with an empty file where the adapter makes one."""
    made = FiledZone(ALPHA, tmp_path, CONTENT, signed=True)
    made.write()
    made.generated.touch()
    return made


def _edit(filed: FiledZone, serial: int) -> None:
    filed.file.write_text(filed.file.read_text().replace("hostmaster 1", f"hostmaster {serial}"))


def _served(server: FileAuthority) -> int:
    question = dns.message.make_query(ALPHA, "SOA")
    response = server.exchange(question, "127.0.0.1", Transport.TCP).response
    assert response is not None
    return int(response.answer[0][0].serial)


def test_an_edited_zone_is_served_when_the_server_is_told_and_not_before(filed: FiledZone) -> None:
    server = FileAuthority(filed)
    _edit(filed, 2)
    assert _served(server) == 1
    filed.reload()
    assert _served(server) == 2
    _edit(filed, 3)
    assert _served(server) == 2


def test_the_adapter_reloads_the_zone_as_a_person_does(filed: FiledZone, tmp_path: Path) -> None:
    assert filed.backend["reload"] == ["touch", str(tmp_path / "alpha.parent.example.reload")]


def test_a_zone_file_that_no_server_would_load_ends_the_tour(filed: FiledZone) -> None:
    filed.file.write_text("nonsense")
    with pytest.raises(DemoFailure, match=r"no server would load alpha.parent.example.zone"):
        filed.read()


def test_the_events_of_a_log_are_those_whose_lines_are_whole(tmp_path: Path) -> None:
    daemon = Daemon("zonecut", "zonecut.yaml", tmp_path)
    assert daemon.events() == []
    (tmp_path / "zonecut.log").write_text('{"event":"a"}\nno event\n{"event":"b","n":1}\n{"event":"b","n"')
    assert daemon.events() == [{"event": "a"}, {"event": "b", "n": 1}]
    assert daemon.events("b") == daemon.wait("b") == [{"event": "b", "n": 1}]


def test_an_event_that_does_not_come_ends_the_tour(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("zonecut.demo.daemon._EVENT_SECONDS", 0.05)
    with pytest.raises(DemoFailure, match=r"alpha did not log what it should of agent\.state within 0\.05 s"):
        Daemon("alpha", "zonecut.yaml", tmp_path).wait("agent.state")


def test_a_command_that_ends_otherwise_ends_the_tour(tmp_path: Path) -> None:
    with pytest.raises(
        DemoFailure, match=r"zonecut check-config --config none.yaml\n *expected: exit status 0\n *found: +2"
    ):
        Daemon("alpha", "none.yaml", tmp_path).run("check-config")


def test_the_tree_proves_what_the_child_publishes_and_what_the_parent_holds(filed: FiledZone) -> None:
    tree = Tree(FileAuthority(filed))
    content = dns.zone.from_text(master_file(str(filed.zone.ds[0])), PARENT, relativize=False)
    child = Child(names.from_text(ALPHA))
    tree.sign_parent(content)
    filed.zone.put("@", "KEY", generic_text(child.key.rdata))
    with tree.running():
        assert tree.look_up(child.name, RRType.KEY).rdatas == (child.key.rdata,)
        assert tree.look_up(names.from_text(PARENT), RRType.SOA).ttl == 3600
        with pytest.raises(DemoFailure, match="nothing that can be trusted"):
            tree.look_up(names.from_text(BETA), RRType.KEY)
