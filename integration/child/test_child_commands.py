"""`zonecut child discover` and `child inquire` against a real receiver, a real tree and played ones."""

from collections.abc import Iterator, Mapping
from json import loads
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import pytest
import yaml

from lab.commands import run_command
from lab.ports import LOOPBACK
from lab.process import until
from lab.scripted import behaviours
from lab.scripted.hostile import HostileReceiver
from lab.scripted.scripted_parent import CHILD, PARENT, UPDATER, PlayedParent
from lab.zonecut import COMMAND
from signer import Signer
from trust_child import TrustChild
from trust_tree import Hosted
from trust_world import TrustWorld
from world import stop_cleanly
from zonecut.agent.keys.child_keys import ChildKeys
from zonecut.demo.loopback import faults
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.codepoints import DEFAULT, RRType

MANUALLY = "manual.test."
ZONE = f"child.{MANUALLY}"


class Operator:
    """A child's operator, with a configuration of their own, who types commands."""

    def __init__(self, directory: Path, configuration: Mapping[str, Any]) -> None:
        self.file = directory / "zonecut.yaml"
        self.file.write_text(yaml.safe_dump(dict(configuration)))
        zone = configuration["children"][0]["zone"]
        self.keys = ChildKeys(directory / "keys", names.from_text(zone), DEFAULT)

    def type(self, *words: str) -> tuple[int, str, str]:
        argv = [str(COMMAND), *words, "--config", str(self.file)]
        done = run_command(argv, cwd=self.file.parent, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def json(self, *words: str) -> tuple[int, Any]:
        code, out, _ = self.type(*words, "--json")
        return code, loads(out)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrustWorld]:
    hosted = [Hosted(ZONE)]
    with TrustWorld(tmp_path_factory.mktemp("commands"), {MANUALLY: {"bootstrap": ["manual"]}}, hosted) as world:
        world.receiver_key(MANUALLY)
        # unbound may have concluded from an NSEC record of the time before that it is not there (RFC 8198)
        until(lambda: _is_announced(world), timeout=10, what="the DSYNC record through unbound")
        yield world
        stop_cleanly(world)


def _is_announced(world: TrustWorld) -> bool:
    query = dns.message.make_query(f"_dsync.{MANUALLY}", f"TYPE{RRType.DSYNC:d}")
    return bool(dns.query.udp(query, LOOPBACK, port=world.unbound.port, timeout=5).answer)


@pytest.fixture
def operator(world: TrustWorld, tmp_path: Path) -> Operator:
    return Operator(
        tmp_path,
        {
            "version": 1,
            "store": {"url": f"sqlite:///{tmp_path}/zonecut.db"},
            "resolver": {
                "nameservers": [f"{LOOPBACK}:{world.unbound.port}"],
                "trust_anchors": str(world.tree.anchors),
            },
            "children": [
                {
                    "zone": ZONE,
                    "primary": {"server": f"{LOOPBACK}:{world.named.port}"},
                    "parent": {"addresses": "any"},
                }
            ],
        },
    )


# A real receiver in front of a real named, through a real unbound


def test_discover_shows_every_step_the_address_the_key_and_the_methods(world: TrustWorld, operator: Operator) -> None:
    code, out, _ = operator.type("child", "discover", ZONE)
    assert code == 0
    assert f"child._dsync.{MANUALLY} DSYNC" in out
    assert f"secure: ANY UPDATE {world.port} updater.{MANUALLY}" in out
    assert f"{LOOPBACK}:{world.port}" in out
    assert "validated: DNSSEC vouches for it" in out
    code, shown = operator.json("child", "discover", ZONE)
    assert (code, shown["discovery"]["verdict"], shown["discovery"]["parent"]) == (0, "secure", MANUALLY)
    (receiver,) = shown["receivers"]
    assert (receiver["target"], receiver["worth"], receiver["methods"]) == (
        f"updater.{MANUALLY}",
        "validated",
        ["manual"],
    )
    assert receiver["believable"] is True


def test_discover_needs_no_entry_of_the_configuration(world: TrustWorld, operator: Operator) -> None:
    """But then only addresses that the world can reach count."""
    code, shown = operator.json("child", "discover", f"other.{MANUALLY}")
    assert (code, shown["discovery"]["verdict"]) == (1, "secure")
    assert f"{LOOPBACK}" in shown["reason"]
    assert "addresses: any" in shown["reason"]
    code, shown = operator.json("child", "discover", "x.nowhere.test.")
    assert (code, shown["receivers"], shown["discovery"]["records"]) == (1, [], [])


def test_inquire_says_unknown_then_waiting_then_trusted(world: TrustWorld, operator: Operator) -> None:
    code, _, err = operator.type("child", "inquire", ZONE)
    assert (code, "no key in" in err) == (1, True)
    own = operator.keys.make("ED25519")
    child = TrustChild(world, Signer(own.pair))
    code, (told,) = operator.json("child", "inquire", ZONE)
    assert (code, told["believed"], told["keystate"]["code"]) == (3, True, 5)
    assert child.upload().rcode == "NOERROR"
    code, out, _ = operator.type("child", "inquire", ZONE)
    assert (code, "KEY_BOOTSTRAP_MANUAL (10)" in out) == (3, True)
    world.zonecut.cli("key", "trust", ZONE, "--fingerprint", own.fingerprint)
    child.wait_for(4)
    code, out, _ = operator.type("child", "inquire", ZONE)
    assert (code, "KEY_TRUSTED (4)" in out) == (0, True)
    assert f"{ZONE} key {own.key.tag}" in out
    assert f"valid, by key {int(_tag(world))} of updater.{MANUALLY}" in out
    assert "believed     yes" in out
    code, (told,) = operator.json("child", "inquire", ZONE, "--keyid", str(own.key.tag))
    assert (code, told["key"]["fingerprint"]) == (0, own.fingerprint)
    assert told["outcome"]["response"]["signed"] == "valid"
    # another key that nobody knows yet
    operator.keys.make("ECDSAP256SHA256")
    code, both = operator.json("child", "inquire", ZONE)
    assert (code, [each["keystate"]["code"] for each in both]) == (3, [4, 5])


def _tag(world: TrustWorld) -> int:
    status = world.zonecut.cli("parent", "status", MANUALLY)
    return int(status["key"]["signer"]["tag"])


def test_inquire_is_for_configured_children(operator: Operator) -> None:
    code, _, err = operator.type("child", "inquire", f"other.{MANUALLY}")
    assert code == 2
    assert f"those are: {ZONE}" in err


# Played ones


@pytest.fixture
def receiver() -> Iterator[HostileReceiver]:
    with HostileReceiver(UPDATER, behaviours.telling(4)) as receiver:
        yield receiver


@pytest.fixture
def played(receiver: HostileReceiver) -> Iterator[PlayedParent]:
    with PlayedParent(receiver) as played:
        yield played


@pytest.fixture
def own(played: PlayedParent, tmp_path: Path) -> Operator:
    operator = Operator(tmp_path, played.configuration(tmp_path))
    operator.keys.make("ED25519")
    return operator


def test_an_answer_that_nobody_vouches_for_is_shown_and_not_believed(own: Operator, receiver: HostileReceiver) -> None:
    receiver.play(behaviours.unsigned(behaviours.telling(4)))
    code, out, _ = own.type("child", "inquire", CHILD)
    assert code == 1
    assert "KEY_TRUSTED (4)" in out
    assert "believed     no: " in out
    assert "not signed" in out


def test_a_receiver_whose_key_cannot_be_validated_is_not_believed(own: Operator, played: PlayedParent) -> None:
    played.parents.override(UPDATER, "KEY", faults.broken_signatures)
    code, out, _ = own.type("child", "discover", CHILD)
    assert (code, "unknown: nobody vouches for it" in out) == (1, True)
    code, (told,) = own.json("child", "inquire", CHILD)
    assert (code, told["believed"], told["receiver"]["worth"]) == (1, False, "unknown")


def test_a_key_that_the_agent_saw_validated_stays_the_measure(
    own: Operator, played: PlayedParent, receiver: HostileReceiver
) -> None:
    played.put_key(*(each.key for each in own.keys.all()))
    code, out, err = own.type("child", "bootstrap", CHILD)
    assert (code, "trusted" in out) == (0, True), out + err
    played.parents.override(UPDATER, "KEY", faults.broken_signatures)
    code, (told,) = own.json("child", "inquire", CHILD)
    assert (code, told["receiver"]["worth"]) == (0, "remembered")
    # so it does for the doctor, who writes nothing
    _, seen = own.json("doctor", CHILD)
    assert [view["party"]["worth"] for view in seen["seen"]["receivers"]] == ["remembered"]
    receiver.play(behaviours.unsigned(behaviours.telling(4)))
    code, (told,) = own.json("child", "inquire", CHILD)
    assert (code, told["believed"]) == (1, False)


def test_an_announcement_that_is_bogus_leads_nowhere(own: Operator, played: PlayedParent) -> None:
    played.parents.override(f"child._dsync.{PARENT}", "DSYNC", faults.broken_signatures)
    code, shown = own.json("child", "discover", CHILD)
    assert (code, shown["discovery"]["verdict"], shown["receivers"]) == (1, "bogus", [])
    code, _, err = own.type("child", "inquire", CHILD)
    assert (code, "nobody to ask" in err, "bogus" in err) == (1, True, True)


def test_a_parent_that_announces_only_a_scanner_is_told_apart(own: Operator, played: PlayedParent) -> None:
    played.announce(Dsync.from_text(f"CDS NOTIFY 5300 scanner.{PARENT}"))
    code, out, _ = own.type("child", "discover", CHILD)
    assert code == 1
    assert f"; scanner.{PARENT} port 5300 is notified of changes of CDS" in out
    assert "nobody to send UPDATEs to" in out


def test_what_a_receiver_writes_cannot_play_with_the_terminal(own: Operator, receiver: HostileReceiver) -> None:
    receiver.play(behaviours.telling(8, "no\x1b[2J\nbelieved     yes"))
    code, out, _ = own.type("child", "inquire", CHILD)
    assert (code, "\x1b" in out, r"no\x1b[2J\nbelieved" in out) == (3, False, True)
