"""What is said of a zone whose agent was in sync when it was last heard of."""

from dataclasses import replace

import pytest

from zonecut.agent import rollover_state, transitions
from zonecut.agent.outlook import Doubt, Outlook, outlook, word_of
from zonecut.agent.settings import ChildSettings, PrimarySettings
from zonecut.agent.state import AgentState, Phase, Roll, Stage
from zonecut.agent.transitions import Now

SETTINGS = ChildSettings(primary=PrimarySettings(server="127.0.0.1:53"), check=100)
NOW = 1_800_000_000.0


def now(later: float = 0.0) -> Now:
    return Now(NOW + later, 0.5, SETTINGS)


WELL = transitions.in_sync(AgentState(Phase.TRUSTED, NOW, key="AAAA"), "digest", "00", now())


def of(state: AgentState, later: float = 0.0, key_trouble: str | None = None) -> Outlook:
    return outlook(state, SETTINGS, NOW + later, key_trouble)


@pytest.mark.parametrize("later", [0, 1, 150, 200, -30])
def test_what_was_found_in_sync_not_long_ago_is_in_sync(later: float) -> None:
    assert of(WELL, later).in_sync


@pytest.mark.parametrize("later", [201, 100_000, -61])
def test_without_success_for_two_periods_it_is_not_said_to_be_in_sync(later: float) -> None:
    told = of(WELL, later)
    assert (told.word, told.in_sync, told.is_doubtful) == (Doubt.STALE, False, True)
    assert "zonecut serve" in told.advice


def test_an_attempt_that_failed_is_no_success() -> None:
    failing = transitions.failed(WELL, "the zone cannot be read: 127.0.0.1:53 is silent", now(10))
    told = of(failing, 11)
    assert (told.word, told.is_doubtful) == (Doubt.FAILING, True)
    assert told.reason == "the zone cannot be read: 127.0.0.1:53 is silent"
    assert (word_of(failing), word_of(WELL)) == (Doubt.FAILING, Phase.IN_SYNC)


def test_what_failed_and_works_again_is_in_sync_and_no_failure_is_told_any_more() -> None:
    failing = transitions.failed(WELL, "nothing is known of what the parent publishes", now(10), "ask somebody")
    again = transitions.in_sync(failing, "digest", "00", now(20))
    told = of(again, 20)
    assert told.in_sync
    assert "nothing is known" not in told.reason
    assert told.advice == ""


def test_where_no_agent_could_keep_what_it_finds_nothing_is_in_sync() -> None:
    told = outlook(WELL, SETTINGS, NOW + 1, store_trouble="the disk is full")
    assert told.word is Doubt.FAILING
    assert told.reason == "nothing is sent or noted, since the store cannot be written: the disk is full"


def test_a_key_that_is_not_there_is_no_success() -> None:
    told = of(WELL, 1, "the files of key AAAA are gone")
    assert (told.word, told.reason) == (Doubt.FAILING, "the files of key AAAA are gone")


def test_a_roll_that_is_refused_is_told_while_the_delegation_is_found_right() -> None:
    rolling = replace(WELL, roll=Roll(Stage.ADD, NOW, "BBBB"))
    reason, advice = "it answers REFUSED, Prohibited (18)", "ask the parent's operator"
    refused = rollover_state.roll_failed(rolling, reason, now(10), advice)
    looked_at = transitions.in_sync(refused, "digest", "00", now(20))
    told = of(looked_at, 20)
    assert (told.word, told.reason) == (Doubt.FAILING, "it answers REFUSED, Prohibited (18)")
    assert told.advice == "ask the parent's operator"
    assert of(rollover_state.advance(looked_at, Stage.ASK, now(30)), 30).in_sync


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.IN_SYNC])
def test_every_other_phase_is_what_it_is(phase: Phase) -> None:
    state = AgentState(phase, NOW, "because", "do this", attempts=3)
    told = of(state, 1_000_000)
    assert (told.word, told.reason, told.advice) == (phase, "because", "do this")
    assert not told.in_sync
    assert not told.is_doubtful


def test_a_state_that_was_never_found_in_sync_is_not_in_sync() -> None:
    assert of(AgentState(Phase.IN_SYNC, NOW)).word is Doubt.STALE
