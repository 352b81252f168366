"""A zone whose serial goes back is a server that has not caught up (RFC 1982)."""

import pytest

from agent_support import CHILD
from zonecut.agent.evidence.serials import acted_on, precedes, why_stale
from zonecut.agent.settings import ChildSettings, PrimarySettings
from zonecut.agent.state import AgentState, Phase
from zonecut.agent.zone.zone_content import ZoneContent

PRIMARY = PrimarySettings(server="127.0.0.1:53")
SETTINGS = ChildSettings(primary=PRIMARY)
TOP = (1 << 32) - 1


def state(serial: int | None) -> AgentState:
    return AgentState(Phase.IN_SYNC, 0.0, serial=serial)


@pytest.mark.parametrize(
    ("seen", "acted", "stale"),
    [
        (90, 100, True),
        (100, 100, False),
        (101, 100, False),
        (2026112901, 2026112900, False),
        (2026112900, 2026112901, True),
        (0, TOP, False),
        (TOP, 0, True),
        (5, TOP - 5, False),
        (1 << 31, 1, False),
        (2, (1 << 31) + 1, True),
        # RFC 1982 leaves this one undefined
        (1, (1 << 31) + 1, False),
        (None, 100, False),
        (90, None, False),
    ],
)
def test_a_version_before_the_one_acted_on_is_stale(seen: int | None, acted: int | None, stale: bool) -> None:
    content = ZoneContent(CHILD, seen)
    reason = why_stale(content, state(acted), SETTINGS)
    assert (reason is not None) is stale
    if reason is not None:
        assert f"serial {seen}" in reason
        assert f"{acted} was acted on" in reason
    assert why_stale(content, state(acted), ChildSettings(primary=PRIMARY, serial="any")) is None
    assert why_stale(content, None, SETTINGS) is None


def test_what_was_acted_on_is_kept() -> None:
    after = acted_on(state(100), ZoneContent(CHILD, 101))
    assert AgentState.from_json(after.to_json()).serial == 101
    assert acted_on(state(100), ZoneContent(CHILD)).serial == 100
    assert not precedes(7, 7)
