"""The search for DSYNC records through real resolvers, in a tree of real zones: signed in every way, or broken."""

from collections.abc import Iterator

import pytest

from resolve_tree import DSYNC
from resolve_world import BOGUS, INDETERMINATE, INSECURE, SECURE, World, running
from zonecut.agent.parent.discovery import discover
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.resolve import Verdict

HERE = (Dsync.from_wire(DSYNC),)

# What the search for each child ends in: the verdict, the parent zone, the records, and in how many questions.
CASES: dict[str, tuple[Verdict, str | None, tuple[Dsync, ...], int]] = {
    "child.secure.test.": (SECURE, "secure.test.", HERE, 2),
    "child.nsec3.test.": (SECURE, "nsec3.test.", HERE, 2),
    # nothing can be proven of a name in an opt-out span, and `_dsync` is there all the same
    "child.optout.test.": (SECURE, "optout.test.", HERE, 2),
    "child.insecure.test.": (INSECURE, "insecure.test.", HERE, 2),
    # the parent zone is further up
    "a.ent.secure.test.": (SECURE, "secure.test.", HERE, 3),
    "a.b.c.nsec3.test.": (SECURE, "nsec3.test.", HERE, 3),
    "a.b.insecure.test.": (INSECURE, "insecure.test.", HERE, 4),
    # an unsigned SOA record led to the parent, after nothing was found where it was supposed to be
    "a.b.optout.test.": (INSECURE, "optout.test.", HERE, 4),
    # nobody announces anything
    "secure.test.": (SECURE, "test.", (), 2),
    "child.secure.secure.test.": (SECURE, "secure.secure.test.", (), 2),
    "child.secure.insecure.test.": (INSECURE, "secure.insecure.test.", (), 2),
    # nothing is known
    "child.expired.test.": (BOGUS, None, (), 1),
    "child.stripped.test.": (BOGUS, None, (), 1),
    "child.iterated.test.": (INDETERMINATE, None, (), 1),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("discovery")) as world:
        yield world


@pytest.mark.parametrize("server", ["unbound", "named"])
@pytest.mark.parametrize("child", CASES)
async def test_the_search_of(world: World, child: str, server: str) -> None:
    verdict, parent, records, count = CASES[child]
    discovery = await discover(world.resolver(server), names.from_text(child))
    found = None if discovery.parent is None else names.to_text(discovery.parent)
    assert (discovery.verdict, found, discovery.records) == (verdict, parent, records), discovery.to_json()
    assert len(discovery.steps) == count
