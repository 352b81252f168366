"""How trust goes from key to key, and how it ends: rollover, loss of a key, end of the delegation, foreign changes."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab.daemons.server import Add, Delete
from lab.process import until
from peer import Answer
from signer import Signer
from trust_child import AUTO, FAILED, MANUAL, TRUSTED, UNKNOWN, WAITS_FOR_OPERATOR, TrustChild
from trust_tree import Hosted, key_text
from trust_world import TrustWorld
from world import stop_cleanly
from zonecut.protocol import message
from zonecut.protocol.codepoints import RRType

APEX, FIXED, GUARDED = "apex.test.", "fixed.test.", "guarded.test."
PARENTS: dict[str, dict[str, Any]] = {
    APEX: {
        "bootstrap": ["at-apex"],
        "trust": {"attempts": 12, "sweep": 0.3, "gone_after": 6, "foreign_ns": "alarm"},
    },
    FIXED: {"bootstrap": ["manual"], "policy": {"rollover": "deny"}},
    GUARDED: {"bootstrap": ["manual"], "trust": {"foreign_ns": "suspend", "sweep": 0.3, "suspend_after": 0}},
}


def _two(name: str) -> tuple[Signer, Signer]:
    return Signer.generate(name), Signer.generate(name)


OLD, NEW = _two(f"rolling.{APEX}")
ONLY, ANOTHER = _two(f"only.{APEX}")
KEPT, UNWANTED = _two(f"kept.{FIXED}")
LOST, FOUND = _two(f"lossy.{APEX}")
HELD, NEVER = _two(f"held.{APEX}")
LEAVING, PENDING = _two(f"leaving.{APEX}")
MOVED = Signer.generate(f"moved.{APEX}")
TAKEN = Signer.generate(f"taken.{GUARDED}")
TRUSTED_KEYS = (OLD, ONLY, KEPT, LOST, HELD, LEAVING, MOVED, TAKEN)
HOSTED = [
    *(Hosted(signer.text) for signer in (OLD, ONLY, KEPT, LEAVING, MOVED, TAKEN)),
    Hosted(LOST.text, key_text(LOST), signing=()),
    Hosted(HELD.text, key_text(HELD), signing=()),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[TrustWorld]:
    with TrustWorld(tmp_path_factory.mktemp("rollover"), PARENTS, HOSTED, server=server, keys=TRUSTED_KEYS) as world:
        yield world
        stop_cleanly(world, expected=["change.failed"])


def _assert_refused(answer: Answer, words: str) -> None:
    assert answer.rcode == "REFUSED"
    assert answer.extended_error is not None
    assert answer.extended_error[0] == 18
    assert words in answer.extended_error[1]


def _logged(world: TrustWorld, event: str, child: Signer) -> list[dict[str, Any]]:
    return [each for each in world.zonecut.log_events(event) if each["child"] == child.text]


def test_a_key_is_rolled_over(world: TrustWorld) -> None:
    old, new = TrustChild(world, OLD), TrustChild(world, NEW)
    assert new.change().rcode == "BADKEY"
    assert old.add_key(NEW).rcode == "NOERROR"
    assert new.ask().state == TRUSTED
    assert new.change().rcode == "NOERROR"
    assert old.change().rcode == "NOERROR"
    assert new.delete_key(OLD).rcode == "NOERROR"
    assert old.ask().state == UNKNOWN
    assert old.change().rcode == "BADKEY"
    # it comes back by an operator's hand only
    answer = old.upload()
    assert (answer.rcode, answer.extended_error and answer.extended_error[0]) == ("REFUSED", WAITS_FOR_OPERATOR)
    assert answer.extended_error is not None
    assert "upload a new key, or ask the operator" in answer.extended_error[1]
    assert new.change().rcode == "NOERROR"
    key = world.key_of(NEW)
    assert (key["method"], key["actor"]) == ("rollover", OLD.text)
    assert world.key_of(OLD)["state"] == "superseded"


def test_the_last_trusted_key_cannot_be_deleted(world: TrustWorld) -> None:
    child = TrustChild(world, ONLY)
    for updates in (
        [message.delete_record(ONLY.owner, RRType.KEY, ONLY.pair.key.rdata)],
        [message.delete_rrset(ONLY.owner, RRType.KEY)],
    ):
        _assert_refused(child.send(child.update(*updates)), "no trusted key")
    assert child.change().rcode == "NOERROR"


def test_a_key_is_replaced_by_another_in_one_message(world: TrustWorld) -> None:
    child, other = TrustChild(world, ONLY), TrustChild(world, ANOTHER)
    add = message.add(ONLY.owner, RRType.KEY, 60, ANOTHER.pair.key.rdata)
    assert child.send(child.update(message.delete_rrset(ONLY.owner, RRType.KEY), add)).rcode == "NOERROR"
    assert child.change().rcode == "BADKEY"
    assert other.change().rcode == "NOERROR"


def test_no_key_is_rolled_over_where_that_is_denied(world: TrustWorld) -> None:
    child = TrustChild(world, KEPT)
    _assert_refused(child.add_key(UNWANTED), "not rolled over here")
    assert TrustChild(world, UNWANTED).ask().state == UNKNOWN
    assert child.change().rcode == "NOERROR"


def test_after_the_loss_of_a_key_the_old_one_counts_until_the_new_one_is_validated(world: TrustWorld) -> None:
    old, new = TrustChild(world, LOST), TrustChild(world, FOUND)
    assert new.upload().rcode == "NOERROR"
    assert new.ask().state == AUTO
    assert old.change().rcode == "NOERROR"
    until(lambda: bool(world.events_of("bootstrap.attempt", FOUND)), timeout=5, what="an attempt")
    assert old.ask().state == TRUSTED
    assert old.change().rcode == "NOERROR"
    world.tree.change(LOST.text, key_text(FOUND))
    # one of its servers has no address, and cannot be asked whether the RRset that was validated is the present one
    until(lambda: "the trusted keys go when" in new.ask().text, timeout=10, what="the new one is validated")
    assert old.change().rcode == "NOERROR"
    world.zonecut.cli("key", "trust", LOST.text, "--keyid", str(FOUND.tag))
    assert new.ask().state == TRUSTED
    assert old.ask().state == UNKNOWN
    assert old.change().rcode == "BADKEY"
    assert new.change().rcode == "NOERROR"
    assert world.key_of(LOST)["reason"] == f"replaced by key {FOUND.tag}"


def test_a_bootstrap_that_fails_leaves_the_old_key_as_it_was(world: TrustWorld) -> None:
    old, new = TrustChild(world, HELD), TrustChild(world, NEVER)
    before = world.key_of(HELD)
    assert new.upload().rcode == "NOERROR"
    world.zonecut.cli("key", "reject", HELD.text, "--keyid", str(NEVER.tag))
    assert old.change().rcode == "NOERROR"
    assert old.ask().state == TRUSTED
    assert world.key_of(HELD) == before


def test_trust_ends_when_the_delegation_was_away_over_the_period(world: TrustWorld) -> None:
    child, pending = TrustChild(world, LEAVING), TrustChild(world, PENDING)
    assert child.change().rcode == "NOERROR"
    assert child.add_key(PENDING).rcode == "NOERROR"
    world.server.edit(Delete(LEAVING.text, "NS"), zone=APEX)
    _assert_refused(child.change(), "is not delegated")
    # while it is away, nothing has happened to the keys
    assert (child.ask().state, pending.ask().state) == (TRUSTED, TRUSTED)
    until(lambda: bool(_logged(world, "trust.ended", LEAVING)), timeout=20, what="the end of the period")
    (ended,) = _logged(world, "trust.ended", LEAVING)
    assert ended["keys"] == 2
    assert (child.ask().state, pending.ask().state) == (UNKNOWN, UNKNOWN)
    # the name comes back with another holder
    world.server.edit(Add(LEAVING.text, 60, "NS", "n1.elsewhere.test."), zone=APEX)
    for each in (child, pending):
        assert each.change().rcode == "BADKEY"
        key = world.key_of(each.signer)
        assert (key["state"], key["reason"]) == ("ended", "the delegation was gone over the whole period")
    assert {entry["key_tag"] for entry in world.audit("key.ended") if entry["child"] == LEAVING.text} == {
        LEAVING.tag,
        PENDING.tag,
    }
    # and may begin anew
    assert child.upload().rcode == "NOERROR"
    child.wait_for(FAILED)


def _hijack(world: TrustWorld, child: str, zone: str) -> None:
    world.server.edit(Delete(child, "NS"), Add(child, 60, "NS", "n1.foreign.test."), zone=zone)


def _have_it_noticed(world: TrustWorld, child: Signer) -> None:
    """The sweep comes by."""
    until(lambda: bool(_logged(world, "delegation.foreign-change", child)), timeout=10, what="it is noticed")


def test_a_foreign_change_of_the_name_servers_is_noticed_once(world: TrustWorld) -> None:
    child = TrustChild(world, MOVED, ns=["n1.outside.test."])
    assert child.change().rcode == "NOERROR"
    world.wait_until_recorded()
    _hijack(world, MOVED.text, APEX)
    _have_it_noticed(world, MOVED)
    time.sleep(1)
    events = [event for event in world.zonecut.log_events("delegation.foreign-change") if event["child"] == MOVED.text]
    assert len(events) == 1
    assert events[0]["level"] == "warning"
    assert events[0]["found"] == ["n1.foreign.test."]
    assert not events[0]["suspended"]
    (entry,) = [each for each in world.audit("delegation.foreign-change") if each["child"] == MOVED.text]
    assert entry["detail"]["found"] == ["n1.foreign.test."]
    assert entry["detail"]["applied"] == events[0]["applied"]
    assert child.ask().state == TRUSTED


def test_after_a_foreign_change_keys_wait_for_an_operator_where_policy_says_so(world: TrustWorld) -> None:
    child = TrustChild(world, TAKEN, ns=["n1.outside.test."])
    assert child.change().rcode == "NOERROR"
    world.wait_until_recorded()
    _hijack(world, TAKEN.text, GUARDED)
    _have_it_noticed(world, TAKEN)
    child.wait_for(MANUAL, since=TRUSTED)
    answer = child.change()
    assert answer.rcode == "REFUSED"
    assert answer.extended_error is not None
    assert answer.extended_error[0] == WAITS_FOR_OPERATOR
    world.zonecut.cli("key", "trust", TAKEN.text, "--keyid", str(TAKEN.tag), "--reason", "it was us")
    child.wait_for(TRUSTED, since=MANUAL, timeout=1.0)
    assert child.change().rcode == "NOERROR"
