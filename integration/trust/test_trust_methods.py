"""Each bootstrap method in a tree of real zones: it trusts where it should, and nowhere else."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from lab.process import until
from trust_cases import (
    ANY,
    APEX,
    CASES,
    HOLD,
    HOSTILE,
    HOSTILES,
    PARENTS,
    STRICT,
    Keys,
    hosted_by_operators,
)
from trust_child import AUTO, FAILED, TRUSTED, VALIDATION_FAILED, TrustChild
from trust_world import TrustWorld
from world import stop_cleanly
from zonecut.demo.loopback import LoopbackAuthority

_METHODS = {APEX: "at-apex", STRICT: "at-ns", ANY: "at-ns", HOLD: "unsigned"}
_CHILDREN: dict[str, tuple[Keys, Sequence[str]]] = {
    **{name: (case.keys, case.hosted.ns) for name, case in CASES.items()},
    **{name: (hostile.keys, ["ns"]) for name, hostile in HOSTILES.items()},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[TrustWorld]:
    """All children have uploaded their keys at the same time."""
    elsewhere: dict[str, str] = {}
    for name, hostile in HOSTILES.items():
        parent = name.split(".", 1)[1]
        elsewhere[parent] = elsewhere.get(parent, "") + hostile.delegation
    hosted = [*(case.hosted for case in CASES.values()), *hosted_by_operators()]
    hostile_server = LoopbackAuthority([each.zone for each in HOSTILES.values()], [HOSTILE], 53)
    for name, hostile in HOSTILES.items():
        hostile_server.override(name, "KEY", hostile.fault)
    with ExitStack() as running:
        running.enter_context(hostile_server)
        world = TrustWorld(tmp_path_factory.mktemp("methods"), PARENTS, hosted, server=server, elsewhere=elsewhere)
        running.enter_context(world)
        for keys, ns in _CHILDREN.values():
            child = TrustChild(world, keys.mine, ns)
            assert child.change().rcode == "BADKEY"
            assert child.upload().rcode == "NOERROR"
        yield world
        stop_cleanly(world)


@pytest.fixture(scope="module")
def ended(world: TrustWorld) -> dict[str, dict[str, Any]]:
    """All keys as the command lists them, once none of them is under way any more."""
    for keys, _ in _CHILDREN.values():
        until(lambda: TrustChild(world, keys.mine).ask().state != AUTO, timeout=20, what=f"{keys.mine.text} ends")  # noqa: B023
    listed = {(key["owner"], key["tag"]): key for key in world.zonecut.cli("key", "list")}
    return {name: listed[name, keys.mine.tag] for name, (keys, _) in _CHILDREN.items()}


def _assert_ended(world: TrustWorld, name: str, key: dict[str, Any], state: str, words: str) -> None:
    child = TrustChild(world, _CHILDREN[name][0].mine, _CHILDREN[name][1])
    assert (key["state"], key["actor"]) == (state, "zonecut")
    assert words in key["reason"]
    told, answer = child.ask(), child.change()
    if state == "trusted":
        assert key["method"] == _METHODS[name.split(".", 1)[1]]
        assert (told.state, told.text, answer.rcode) == (TRUSTED, "", "NOERROR")
        return
    assert told.state == FAILED
    assert told.text
    assert key["reason"].startswith(told.text)
    assert answer.rcode == "REFUSED"
    assert answer.extended_error is not None
    assert answer.extended_error[0] == VALIDATION_FAILED
    assert words in answer.extended_error[1]


@pytest.mark.parametrize("name", CASES)
def test_a_key_ends_as_what_is_published_says(world: TrustWorld, ended: dict[str, dict[str, Any]], name: str) -> None:
    _assert_ended(world, name, ended[name], CASES[name].state, CASES[name].words)


@pytest.mark.parametrize("name", HOSTILES)
def test_a_server_that_lies_about_the_apex_is_not_believed(
    world: TrustWorld, ended: dict[str, dict[str, Any]], name: str
) -> None:
    _assert_ended(world, name, ended[name], HOSTILES[name].state, HOSTILES[name].words)
