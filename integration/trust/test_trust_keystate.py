"""KeyState as a child sees it through real messages, from unknown to trusted or not; every answer is signed.

`TrustChild` verifies each answer with a KEY that unbound validated, by lines that share nothing with zonecut.
"""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature

from lab.zonecut import CommandFailed
from peer import Answer
from signer import Signer
from trust_child import (
    AUTO,
    FAILED,
    KEYSTATE,
    MANUAL,
    NOT_TRUSTED_YET,
    REFUSED,
    TRUSTED,
    UNKNOWN,
    VALIDATION_FAILED,
    WAITS_FOR_OPERATOR,
    TrustChild,
    assert_signed,
)
from trust_tree import Hosted, key_text
from trust_world import TrustWorld
from world import stop_cleanly
from zonecut.protocol import message
from zonecut.protocol.codepoints import RRType

APEX, MANUALLY, BOTH = "apex.test.", "manual.test.", "both.test."
PARENTS: dict[str, dict[str, Any]] = {
    APEX: {"bootstrap": ["at-apex"], "trust": {"attempts": 6}},
    MANUALLY: {"bootstrap": ["manual"]},
    BOTH: {"bootstrap": ["at-apex", "manual"]},
}
LATE = Signer.generate(f"late.{APEX}")
WRONG, RIGHT = Signer.generate(f"wrong.{APEX}"), Signer.generate(f"wrong.{APEX}")
WAITING = Signer.generate(f"waiting.{MANUALLY}")
REJECTED = Signer.generate(f"rejected.{MANUALLY}")
UNSIGNED = Signer.generate(f"unsigned.{BOTH}")
CARRIED = Signer.generate(f"carried.{MANUALLY}")
STRANGE = Signer.generate(f"strange.{MANUALLY}")
HOSTED = [
    Hosted(LATE.text, signing=()),
    Hosted(WRONG.text, key_text(RIGHT), signing=()),
    *(Hosted(signer.text) for signer in (WAITING, REJECTED, UNSIGNED, CARRIED, STRANGE)),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[TrustWorld]:
    with TrustWorld(tmp_path_factory.mktemp("keystate"), PARENTS, HOSTED, server=server) as world:
        yield world
        stop_cleanly(world)


def _begin(child: TrustChild) -> None:
    """Nothing is known of the key; then it is uploaded."""
    answer = child.change()
    assert (answer.rcode, answer.extended_error) == ("BADKEY", None)
    assert child.ask().state == UNKNOWN
    assert child.upload().rcode == "NOERROR"


def _refusal(answer: Answer) -> int:
    assert answer.rcode == "REFUSED"
    assert answer.extended_error is not None
    return answer.extended_error[0]


def test_a_key_that_is_published_late_goes_from_unknown_over_automatic_to_trusted(world: TrustWorld) -> None:
    child = TrustChild(world, LATE)
    _begin(child)
    assert child.ask().state == AUTO
    assert _refusal(child.change()) == NOT_TRUSTED_YET
    assert child.upload().rcode == "NOERROR", "repeating a bootstrap"
    assert child.ask().state == AUTO
    world.tree.change(LATE.text, key_text(LATE))
    child.wait_for(TRUSTED, since=AUTO)
    assert child.change().rcode == "NOERROR"
    assert child.upload().rcode == "NOERROR", "the key is trusted already"
    key = world.key_of(LATE)
    assert (key["state"], key["method"], key["actor"]) == ("trusted", "at-apex", "zonecut")
    steps = [entry for entry in world.audit() if (entry["child"], entry["key_tag"]) == (LATE.text, LATE.tag)]
    assert [step["event"] for step in steps[:2]] == ["key.added", "key.trusted"]
    assert steps[1]["detail"]["reason"] == key["reason"]


def test_a_key_that_waits_goes_from_unknown_over_manual_to_trusted(world: TrustWorld) -> None:
    child = TrustChild(world, WAITING)
    _begin(child)
    assert child.ask().state == MANUAL
    assert _refusal(child.change()) == WAITS_FOR_OPERATOR
    listed = world.zonecut.cli("key", "list", "--state", "known")
    assert (WAITING.text, WAITING.tag) in [(key["owner"], key["tag"]) for key in listed]
    (shown,) = world.zonecut.cli("key", "show", WAITING.text)
    # what the child's operator reads over the telephone, from the same key
    assert shown["fingerprint"] == WAITING.pair.key.fingerprint()
    assert WAITING.pair.key.fingerprint() in world.zonecut.cli("key", "show", WAITING.text, json=False)
    assert shown["bootstrap"]["manual"]
    world.zonecut.cli("key", "trust", WAITING.text, "--reason", "ticket 4711")
    child.wait_for(TRUSTED, since=MANUAL, timeout=1.0)
    assert child.change().rcode == "NOERROR"
    key = world.key_of(WAITING)
    assert (key["state"], key["method"], key["reason"]) == ("trusted", "manual", "ticket 4711")


def test_a_key_that_is_not_there_goes_from_unknown_over_automatic_to_failed(world: TrustWorld) -> None:
    child = TrustChild(world, WRONG)
    _begin(child)
    assert child.ask().state == AUTO
    assert _refusal(child.change()) == NOT_TRUSTED_YET
    told = child.wait_for(FAILED, since=AUTO)
    assert "this one is not there" in told.text
    answer = child.change()
    assert _refusal(answer) == VALIDATION_FAILED
    assert answer.extended_error is not None
    assert "this one is not there" in answer.extended_error[1]
    # it may try again
    assert child.upload().rcode == "NOERROR"
    assert child.ask().state == AUTO


def test_where_no_method_applies_an_operator_is_waited_for(world: TrustWorld) -> None:
    child = TrustChild(world, UNSIGNED)
    _begin(child)
    assert "the child has no DS" in child.wait_for(MANUAL).text
    assert _refusal(child.change()) == WAITS_FOR_OPERATOR
    world.zonecut.cli("key", "trust", UNSIGNED.text, "--fingerprint", UNSIGNED.pair.key.fingerprint())
    child.wait_for(TRUSTED, since=MANUAL, timeout=1.0)
    assert child.change().rcode == "NOERROR"


def test_a_key_that_an_operator_rejects_is_refused(world: TrustWorld) -> None:
    child = TrustChild(world, REJECTED)
    _begin(child)
    world.zonecut.cli("key", "reject", REJECTED.text, "--reason", "nobody knows him")
    child.wait_for(REFUSED, since=MANUAL, timeout=1.0)
    assert _refusal(child.change()) == 18
    assert _refusal(child.upload()) == 18
    assert child.ask().state == REFUSED
    with pytest.raises(CommandFailed):
        world.zonecut.cli("key", "reject", f"nobody.{MANUALLY}")


def test_an_update_may_carry_the_question(world: TrustWorld) -> None:
    child = TrustChild(world, CARRIED)
    question = message.option(KEYSTATE, CARRIED.tag.to_bytes(2) + b"\2\0")
    add = message.add(CARRIED.owner, RRType.KEY, 60, CARRIED.pair.key.rdata)
    answer = child.send(child.update(add, options=question))
    assert (answer.rcode, _keystate(answer)) == ("NOERROR", (CARRIED.tag, MANUAL))


@pytest.mark.parametrize("state", [0, 1, 3, 4, 9, 10, 11, 127, 128, 255])
def test_what_no_child_may_ask_is_malformed(world: TrustWorld, state: int) -> None:
    option = message.option(KEYSTATE, STRANGE.tag.to_bytes(2) + bytes((state, 0)))
    assert _keystate(TrustChild(world, STRANGE).send(_query(option))) == (STRANGE.tag, 0)


def test_a_question_that_is_cut_short_is_malformed_and_echoes_nothing(world: TrustWorld) -> None:
    assert _keystate(TrustChild(world, STRANGE).send(_query(message.option(KEYSTATE, b"\x12\x34\2")))) == (0, 0)


def test_our_check_of_signatures_is_one(world: TrustWorld) -> None:
    """An answer to another request, or with another octet, does not verify."""
    child = TrustChild(world, STRANGE)
    wire = _query(message.option(KEYSTATE, STRANGE.tag.to_bytes(2) + b"\2\0"))
    answer = child.send(wire).wire
    key, target = world.receiver_key(MANUALLY), f"updater.{MANUALLY}"
    assert_signed(answer, wire, target, key)
    with pytest.raises(InvalidSignature):
        assert_signed(answer, wire[:-1] + bytes((wire[-1] ^ 1,)), target, key)
    with pytest.raises(InvalidSignature):
        assert_signed(bytes((answer[0] ^ 1,)) + answer[1:], wire, target, key)
    with pytest.raises(InvalidSignature):
        assert_signed(answer, wire, target, world.receiver_key(APEX)[:4] + STRANGE.pair.key.public_key)


def _query(option: bytes) -> bytes:
    """An unsigned inquiry."""
    return message.query(secrets.randbits(16), STRANGE.owner, RRType.KEY, additional=[message.opt_record(option)])


def _keystate(answer: Answer) -> tuple[int, int]:
    """KEY-ID and KEY-STATE of an answer."""
    (option,) = [each for each in answer.message.options if each.otype == KEYSTATE]
    data = option.to_wire()
    assert data is not None
    return int.from_bytes(data[:2]), data[2]
