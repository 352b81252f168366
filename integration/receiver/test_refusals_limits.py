"""Who sends too much is told so, and nobody else notices."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.child import make_key
from lab.zones import PARENT, ParentZone
from peer import TcpPeer
from refusals import CHILD, OTHER, STRANGER
from signer import ZONE
from world import GENEROUS, World
from zonecut.protocol import message

RATE_LIMITED, OVER_QUOTA = 31, 32


@pytest.fixture
def world(tmp_path: Path, server: str, request: pytest.FixtureRequest) -> Iterator[World]:
    """A zonecut with the limits that a test asks for, and generous others."""
    limits = {**GENEROUS, **request.param}
    with World(tmp_path, server=server, keys=[CHILD, OTHER], receiver={"limits": limits}) as world:
        yield world


@pytest.mark.parametrize("world", [{"source_burst": 20, "source_rate": 2}], indirect=True)
def test_a_source_is_limited_whatever_it_sends(world: World) -> None:
    time.sleep(1)  # the questions with which the lab waited for the start
    with TcpPeer(world.port) as connection:
        wires = [STRANGER.fresh(), CHILD.fresh(), message.query(7, ZONE, 6, additional=[message.opt_record()])] * 20
        start = time.monotonic()
        connection.send(*wires)
        answers = [answer for _ in wires if (answer := connection.receive()) is not None]
        limited = [answer for answer in answers if answer.extended_error and answer.extended_error[0] == RATE_LIMITED]
        assert len(answers) == 60
        # the burst, and two a second for as long as it took
        assert 5 <= 60 - len(limited) <= 20 + 2 * (time.monotonic() - start) + 1
        assert {answer.rcode for answer in limited} == {"REFUSED"}
        # one or another may be let through first where answers are slow
        assert "REFUSED" in {connection.ask(CHILD.fresh(edns=False)).rcode for _ in range(5)}
        # two a second, so that one is there soon
        time.sleep(0.6)
        assert connection.ask(CHILD.fresh()).rcode == "NOERROR"
    # An IPv6 source has a bucket of its own.
    with TcpPeer(world.port6, "::1") as connection:
        assert connection.ask(OTHER.fresh()).rcode == "NOERROR"
    assert not world.audit("change.refused")
    assert len(world.zonecut.log_events("request.refused")) <= 4


@pytest.mark.parametrize("world", [{"child_burst": 5, "child_rate": 2}], indirect=True)
def test_a_child_is_limited_and_no_other_pays_for_it(world: World) -> None:
    # What only says that it came from the child costs the child nothing.
    for _ in range(20):
        assert world.udp(STRANGER.fresh()).rcode == "BADKEY"
        assert world.udp(CHILD.fresh()[:-1] + b"?").rcode == "BADSIG"
    repeated = CHILD.fresh()
    first = [world.udp(wire) for wire in [repeated] * 20]
    assert {answer.rcode for answer in first} == {"NOERROR"}, "the same message again is no other change"
    answers = [world.udp(CHILD.fresh()) for _ in range(20)]
    rcodes = Counter(answer.rcode for answer in answers)
    assert set(rcodes) == {"NOERROR", "REFUSED"}
    assert 4 <= rcodes["NOERROR"] <= 6
    before = world.snapshot()
    answer = world.udp(CHILD.fresh())
    assert answer.rcode == "REFUSED"
    assert answer.extended_error is not None
    assert answer.extended_error[0] == RATE_LIMITED
    assert world.udp(CHILD.fresh(edns=False)).rcode == "REFUSED"
    assert world.snapshot() == before
    assert world.udp(OTHER.fresh()).rcode == "NOERROR"
    time.sleep(0.6)
    assert world.udp(CHILD.fresh()).rcode == "NOERROR"
    limited = world.zonecut.log_events("change.refused")
    assert {event["rule"] for event in limited} == {"child-rate"}
    assert [entry["rule"] for entry in world.audit("change.refused")] == [event["rule"] for event in limited]


@pytest.mark.parametrize("world", [{"max_pending_per_child": 2}], indirect=True)
def test_a_child_whose_changes_pile_up_is_over_quota(world: World) -> None:
    with TcpPeer(world.port) as connection:
        wires = [CHILD.fresh() for _ in range(30)]
        connection.send(*wires)
        answers = [answer for _ in wires if (answer := connection.receive()) is not None]
    rcodes = Counter(answer.rcode for answer in answers)
    assert set(rcodes) == {"NOERROR", "REFUSED"}
    assert rcodes["NOERROR"] >= 3
    errors = {answer.extended_error and answer.extended_error[0] for answer in answers if answer.rcode == "REFUSED"}
    assert errors == {OVER_QUOTA}
    assert world.udp(CHILD.fresh()).rcode == "NOERROR"


@pytest.mark.parametrize("world", [{"max_records": 10}], indirect=True)
def test_a_message_of_too_many_records_is_refused_before_its_signature_is_looked_at(world: World) -> None:
    updates = [message.delete_rrset(CHILD.owner, 43)] * 20
    for signer in (CHILD, STRANGER):
        answer = world.udp(signer.update(*updates))
        assert answer.rcode == "REFUSED"
        assert answer.extended_error is not None
        assert "10" in answer.extended_error[1]


def test_keys_that_are_worth_nothing_are_refused_at_import(tmp_path: Path) -> None:
    good = make_key(tmp_path / "keys", f"child0.{PARENT}")
    weak = make_key(tmp_path / "keys", f"child0.{PARENT}", "RSASHA256", bits=1024)
    text = good.public_file.read_text()
    expected = [(weak.public_file, "1024")]
    for number, (old, new, word) in enumerate(
        (
            (" KEY ", " DNSKEY ", "DNSKEY"),
            (" KEY 512 ", " KEY 49664 ", "flags"),
            (" KEY 512 ", " KEY 4608 ", "flags"),
            (" 3 15 ", " 3 5 ", "algorithm"),
            (f"child0.{PARENT}", PARENT, PARENT),
            (f"child0.{PARENT}", f"*.{PARENT}", "wildcard"),
            (f"child0.{PARENT}", f"_dsync.{PARENT}", "_dsync"),
            (f"child0.{PARENT}", f"updater.{PARENT}", "receiver"),
            (f"child0.{PARENT}", "child0.elsewhere.test.", "elsewhere"),
        )
    ):
        file = tmp_path / f"K{number}.key"
        assert old in text
        file.write_text(text.replace(old, new))
        expected.append((file, word))
    with World(tmp_path, ParentZone(PARENT, delegations=1)) as world:
        files = [file for file, _ in expected]
        document = world.zonecut.cli("key", "import", "--trust", *files, good.public_file, expect=1)
        assert [key["tag"] for key in document["keys"]] == [good.keyid]
        for (file, word), error in zip(expected, document["errors"], strict=True):
            assert error["file"] == str(file)
            assert word in error["reason"]
