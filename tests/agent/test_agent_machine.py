"""What an agent does next after what it has found out (PROTOCOL: what the child agent does)."""

from dataclasses import replace

import pytest

from zonecut.agent import rollover_state, transitions
from zonecut.agent.exchange.result import Result
from zonecut.agent.pace.backoff import Courtesy, pause
from zonecut.agent.settings import ChildSettings, KeySettings, PrimarySettings
from zonecut.agent.state import AgentState, DamagedState, Phase, Stage, Watch
from zonecut.agent.transitions import Heard, Now
from zonecut.protocol.codepoints import ReceiverState

SETTINGS = ChildSettings(primary=PrimarySettings(server="127.0.0.1:53"))
DIGEST, OTHER = "aa" * 16, "bb" * 16


def now(time: float = 1000.0, settings: ChildSettings = SETTINGS) -> Now:
    return Now(time, 0.5, settings)


def state(phase: Phase, **fields: object) -> AgentState:
    return replace(AgentState(phase, 900.0, key="AAAA"), **fields)  # type: ignore[arg-type]


def asked(before: AgentState, word: int | None, result: Result = Result.ACCEPTED, text: str = "") -> AgentState:
    return transitions.after_inquiry(before, word, text, Heard(result, "said so"), now())


def sent(before: AgentState, result: Result) -> AgentState:
    return transitions.after_update(before, DIGEST, Heard(result, "said so"), now())


def test_a_zone_begins_without_a_key_and_at_once() -> None:
    begun = transitions.begin(now())
    assert (begun.phase, begun.next_at) == (Phase.NO_KEY, 1000.0)


@pytest.mark.parametrize(
    ("word", "phase", "uploaded"),
    [
        (ReceiverState.TRUSTED, Phase.TRUSTED, True),
        (ReceiverState.UNKNOWN, Phase.BOOTSTRAPPING, False),
        (ReceiverState.BOOTSTRAP_AUTO, Phase.BOOTSTRAPPING, True),
        (ReceiverState.BOOTSTRAP_MANUAL, Phase.BOOTSTRAPPING, True),
        (ReceiverState.VALIDATION_FAILED, Phase.BOOTSTRAPPING, False),
        (ReceiverState.TEMPORARY_FAILURE, Phase.ASKING, False),
        (ReceiverState.INVALID, Phase.HELD, False),
        (ReceiverState.REFUSED, Phase.HELD, False),
    ],
)
def test_the_receivers_word_of_the_key_decides(word: int, phase: Phase, uploaded: bool) -> None:
    after = asked(state(Phase.ASKING), word)
    assert (after.phase, after.uploaded) == (phase, uploaded)
    assert after.reason.startswith("the parent says KEY_")


def test_who_waits_for_an_operator_is_told_what_to_tell_him() -> None:
    after = asked(state(Phase.ASKING), ReceiverState.BOOTSTRAP_MANUAL, text="call us")
    assert "fingerprint: AAAA" in after.advice
    assert after.reason.endswith("call us")
    assert after.next_at > 1000.0


def test_a_key_that_is_still_trusted_leaves_a_zone_in_step_where_it_is() -> None:
    before = state(Phase.IN_SYNC, next_at=5000.0)
    after = asked(before, ReceiverState.TRUSTED)
    assert (after.phase, after.next_at) == (Phase.IN_SYNC, 5000.0)


@pytest.mark.parametrize("result", [Result.SILENT, Result.UNBELIEVABLE, Result.FAILED, Result.RATE_LIMITED])
def test_no_word_that_can_be_believed_changes_nothing_but_the_time(result: Result) -> None:
    after = asked(state(Phase.ASKING), None, result)
    assert (after.phase, after.attempts, after.uploaded) == (Phase.ASKING, 1, False)
    assert after.next_at == 1005.0
    assert asked(after, None, result).next_at == 1010.0


def test_a_receiver_without_keystate_gets_the_key_and_then_a_change() -> None:
    uploading = asked(state(Phase.ASKING), None, Result.UNSUPPORTED)
    assert (uploading.phase, uploading.uploaded) == (Phase.BOOTSTRAPPING, False)
    taken = transitions.after_upload(uploading, Heard(Result.ACCEPTED, ""), now())
    assert asked(taken, None, Result.UNSUPPORTED).phase is Phase.TRUSTED


def test_one_refusal_of_the_key_is_no_reason_to_stop_and_hours_of_them_are() -> None:
    before = state(Phase.BOOTSTRAPPING)
    after = transitions.after_upload(before, Heard(Result.REFUSED, "no"), now())
    assert (after.phase, after.next_at, after.doubted) == (Phase.BOOTSTRAPPING, 1005.0, True)
    assert after.advice, "what can be done is said from the beginning"
    nearly = transitions.after_upload(after, Heard(Result.REFUSED, "no"), now(1000.0 + SETTINGS.patience - 1))
    assert nearly.phase is Phase.BOOTSTRAPPING
    held = transitions.after_upload(nearly, Heard(Result.REFUSED, "no"), now(1000.0 + SETTINGS.patience))
    assert (held.phase, held.resumes) == (Phase.HELD, Phase.BOOTSTRAPPING)
    assert held.reason == "no (refused since 1970-01-01T00:16:40Z)"
    assert held.next_at >= 1000.0 + SETTINGS.patience + 0.75 * SETTINGS.check


def test_a_key_that_another_one_superseded_is_not_uploaded_for_ever() -> None:
    """The receiver says unknown, and sends its upload to an operator (PROTOCOL section 7)."""
    after = asked(state(Phase.IN_SYNC, uploaded=True), ReceiverState.UNKNOWN)
    time = 1000.0
    while after.phase is not Phase.HELD:
        assert (after.phase, after.uploaded) == (Phase.BOOTSTRAPPING, False)
        after = transitions.after_upload(after, Heard(Result.MANUAL, "it was superseded"), now(time))
        time = max(after.next_at, time + 1)
        after = transitions.after_inquiry(after, ReceiverState.UNKNOWN, "", Heard(Result.ACCEPTED, ""), now(time))
        time = max(after.next_at, time + 1)
        assert time < 1000.0 + 3 * SETTINGS.patience
    assert (after.phase, after.resumes, after.uploaded) == (Phase.HELD, Phase.BOOTSTRAPPING, False)
    assert "zonecut child keygen --new" in after.advice


def test_a_receiver_that_is_slow_to_know_an_upload_is_asked_on() -> None:
    after = state(Phase.BOOTSTRAPPING)
    for _ in range(2 * transitions.PATIENCE):
        after = asked(transitions.after_upload(after, Heard(Result.ACCEPTED, ""), now()), ReceiverState.UNKNOWN)
        assert after.phase is Phase.BOOTSTRAPPING


def test_badkey_is_answered_by_one_bootstrap_and_then_by_a_person() -> None:
    once = sent(state(Phase.OUT_OF_SYNC, uploaded=True), Result.KEY_UNKNOWN)
    assert (once.phase, once.uploaded, once.rebootstrapped) == (Phase.BOOTSTRAPPING, False, True)
    again = sent(replace(once, phase=Phase.OUT_OF_SYNC), Result.KEY_UNKNOWN)
    assert (again.phase, again.resumes) == (Phase.HELD, Phase.ASKING)
    assert again.key == "AAAA"


def test_an_accepted_change_that_is_published_makes_a_later_badkey_the_first() -> None:
    done = transitions.in_sync(state(Phase.OUT_OF_SYNC, rebootstrapped=True, sent=DIGEST), DIGEST, "00", now())
    assert not done.rebootstrapped
    idle = transitions.in_sync(state(Phase.IN_SYNC, rebootstrapped=True), DIGEST, "00", now())
    assert idle.rebootstrapped


def test_a_refused_change_is_sent_for_hours_and_then_when_the_zone_changes() -> None:
    after = sent(state(Phase.OUT_OF_SYNC), Result.REFUSED)
    assert (after.phase, after.doubted) == (Phase.OUT_OF_SYNC, True)
    after = transitions.after_update(after, DIGEST, Heard(Result.REFUSED, "said so"), now(1000.0 + SETTINGS.patience))
    assert after.phase is Phase.HELD
    awake = transitions.noticed(after, now(20000.0))
    assert (awake.phase, awake.next_at, awake.refused_since) == (Phase.OUT_OF_SYNC, 20000.0, None)


def test_what_is_refused_while_a_secondary_lags_is_sent_again_within_the_minute() -> None:
    after, time = state(Phase.OUT_OF_SYNC), 1000.0
    for _ in range(3):
        after = transitions.after_update(after, DIGEST, Heard(Result.REFUSED, "ns2 does not answer"), now(time))
        assert after.phase is Phase.OUT_OF_SYNC
        time = after.next_at
    assert 1030.0 <= time <= 1060.0


@pytest.mark.parametrize("result", [Result.SILENT, Result.UNBELIEVABLE, Result.FAILED, Result.RATE_LIMITED])
def test_what_passes_is_tried_for_ever_ever_more_seldom(result: Result) -> None:
    after = state(Phase.OUT_OF_SYNC)
    for _ in range(50):
        after = sent(after, result)
    assert after.phase is Phase.OUT_OF_SYNC
    assert after.next_at == 1000.0 + SETTINGS.retry_longest


def test_an_accepted_change_is_looked_for_soon_and_not_sent_again_meanwhile() -> None:
    accepted = sent(state(Phase.OUT_OF_SYNC, differs_since=990.0), Result.ACCEPTED)
    assert accepted.next_at == 1000.0 + transitions.FIRST_LOOK
    waits = transitions.differs(accepted, DIGEST, "differs", now(1001.0))
    assert waits.sent == DIGEST
    assert waits.next_at > 1001.0
    published = transitions.in_sync(waits, DIGEST, "00", now(1002.0))
    assert (published.phase, published.took, published.sent) == (Phase.IN_SYNC, 12.0, None)


def test_a_zone_that_changes_again_is_not_kept_waiting_for_the_change_before() -> None:
    accepted = sent(state(Phase.OUT_OF_SYNC), Result.ACCEPTED)
    again = transitions.differs(accepted, OTHER, "differs", now(1000.1))
    assert again.sent is None


def test_a_receiver_that_says_noerror_and_does_nothing_is_found_out() -> None:
    after = state(Phase.OUT_OF_SYNC)
    time = 1000.0
    for _ in range(transitions.PATIENCE):
        after = transitions.after_update(after, DIGEST, Heard(Result.ACCEPTED, ""), now(time))
        time += SETTINGS.confirm + 1
        after = transitions.differs(after, DIGEST, "differs", now(time))
        assert after.sent is None
        # as it is done when the change is sent again
        time = max(time, after.next_at)
        after = transitions.differs(after, DIGEST, "differs", now(time)) if after.phase is not Phase.HELD else after
    assert after.phase is Phase.HELD
    assert "still not published" in after.reason
    assert "NOERROR" in after.advice


def test_what_is_held_is_tried_ever_more_seldom_while_it_fails_again() -> None:
    held = again = transitions.hold(state(Phase.ASKING), "no", "do something", now())
    pauses = []
    for _ in range(12):
        time = again.next_at
        again = transitions.failed(again, "still no", now(time))
        assert (again.phase, again.resumes, again.advice) == (Phase.HELD, Phase.ASKING, "do something")
        pauses.append(again.next_at - time)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (SETTINGS.retry_first, SETTINGS.check)
    assert again.since == held.since


def test_a_change_of_the_zone_does_not_disturb_a_bootstrap() -> None:
    before = state(Phase.BOOTSTRAPPING, next_at=2000.0)
    assert transitions.noticed(before, now()) == before


def test_a_lost_key_begins_the_ceremony_anew() -> None:
    lost = transitions.key_lost(rollover_state.begin_roll(state(Phase.IN_SYNC, uploaded=True), now()), "gone", now())
    assert (lost.phase, lost.key, lost.uploaded, lost.roll) == (Phase.NO_KEY, None, False, None)


def test_a_roll_goes_through_its_stages_and_begins_once() -> None:
    rolling = rollover_state.begin_roll(state(Phase.IN_SYNC), now())
    assert rollover_state.begin_roll(rolling, now(2000.0)) == rolling
    added = rollover_state.advance(
        rollover_state.advance(rolling, Stage.PUBLISH, now(), other="BBBB"), Stage.ADD, now()
    )
    assert added.roll is not None
    assert (added.roll.stage, added.roll.other) == (Stage.ADD, "BBBB")
    assert rollover_state.end_roll(added, "done", now()).roll is None


def test_a_roll_that_is_given_up_is_undone_as_far_as_it_came() -> None:
    rolling = rollover_state.begin_roll(state(Phase.IN_SYNC), now())
    assert rollover_state.abandon_roll(rolling, now()).roll is None
    published = rollover_state.advance(rolling, Stage.PUBLISH, now(), other="BBBB")
    for stage, expected in ((Stage.PUBLISH, Stage.UNPUBLISH), (Stage.ADD, Stage.DELETE), (Stage.WAIT, Stage.DELETE)):
        given_up = rollover_state.abandon_roll(rollover_state.advance(published, stage, now()), now())
        assert given_up.roll is not None
        assert (given_up.roll.stage, given_up.roll.other, given_up.key) == (expected, "BBBB", "AAAA")


def test_a_roll_is_due_when_the_settings_say_so_and_all_is_in_step() -> None:
    settings = SETTINGS.model_copy(update={"key": KeySettings(roll_every=1)})
    old = state(Phase.IN_SYNC, key_since=0.0)
    assert rollover_state.roll_is_due(old, now(86400.0, settings))
    assert not rollover_state.roll_is_due(old, now(86399.0, settings))
    assert not rollover_state.roll_is_due(old, now(86400.0))
    assert not rollover_state.roll_is_due(replace(old, phase=Phase.OUT_OF_SYNC), now(86400.0, settings))


def test_the_document_in_the_store_gives_the_same_state() -> None:
    full = state(Phase.HELD, resumes=Phase.ASKING, receiver_keys=("updater. IN KEY 512 3 15 AAAA",), took=1.5)
    rolling = rollover_state.begin_roll(full, now())
    for each in (full, rolling):
        assert AgentState.from_json(each.to_json()) == each


def test_a_document_of_an_older_version_has_defaults_for_what_it_does_not_know() -> None:
    assert AgentState.from_json({"phase": "asking", "since": 1.0}) == AgentState(Phase.ASKING, 1.0)


@pytest.mark.parametrize(
    "damage",
    [
        {"phase": "from-the-future"},
        {"next_at": None},
        {"serial": "abc"},
        {"watch": {"subject": "x"}},
        {"roll": []},
        {"announced": 7},
        {"attempts": None},
    ],
)
def test_a_document_that_is_damaged_or_a_newer_versions_is_told_as_that(damage: dict[str, object]) -> None:
    with pytest.raises(DamagedState, match="what is kept of the zone is damaged, or a newer version's"):
        AgentState.from_json({**state(Phase.IN_SYNC).to_json(), **damage})


def test_pauses_double_up_to_the_longest_and_are_spread() -> None:
    assert [pause(attempts, 5, 60, 0.5) for attempts in range(1, 7)] == [5, 10, 20, 40, 60, 60]
    assert (pause(1, 8, 60, 0.0), pause(1, 8, 60, 1.0)) == (6, 10)
    assert pause(10_000, 5, 3600, 0.5) == 3600


def test_a_silent_receiver_is_tried_by_one_zone_at_a_time() -> None:
    courtesy = Courtesy(5, 600, lambda: 0.5)
    assert courtesy.delay("updater.", 0.0) == 0
    courtesy.silent("updater.", 0.0)
    assert courtesy.delay("updater.", 1.0) > 0
    assert courtesy.delay("other.", 1.0) == 0
    assert courtesy.delay("updater.", 6.0) == 0  # one may try
    assert courtesy.delay("updater.", 6.0) > 0  # the others wait for what it finds out
    courtesy.silent("updater.", 7.0)
    assert courtesy.delay("updater.", 7.0 + 9.0) > 0  # the pause has doubled
    courtesy.answered("updater.")
    assert courtesy.delay("updater.", 17.0) == 0


def test_those_who_find_a_receiver_silent_together_have_found_out_one_thing() -> None:
    courtesy = Courtesy(5, 600, lambda: 0.5)
    for _ in range(8):
        assert courtesy.delay("updater.", 0.0) == 0
    for _ in range(8):
        courtesy.silent("updater.", 1.0)
    assert 0 < courtesy.delay("updater.", 1.0) <= 5 * 1.125
    assert courtesy.delay("updater.", 6.5) == 0
    courtesy.silent("updater.", 7.0)
    assert 5 < courtesy.delay("updater.", 7.0) <= 10 * 1.125


def test_servers_of_the_parent_that_disagree_are_waited_for_and_not_for_ever() -> None:
    first = transitions.differs(state(Phase.IN_SYNC), DIGEST, "differs", now(1000.0))
    assert transitions.waits_for_agreement(first, now(1000.0))
    waits = transitions.disagree(first, "the servers of parent.example. do not agree", now(1000.0))
    assert (waits.phase, waits.attempts) == (Phase.OUT_OF_SYNC, 0)
    assert waits.reason == "waits until they agree, for an hour at most: the servers of parent.example. do not agree"
    assert 1000.0 < waits.next_at <= 1000.0 + transitions.LAST_LOOK
    # for how long they do is what counts, and not for how long child and parent have differed
    later = now(1000.0 + transitions.DISAGREE_FOR)
    assert transitions.waits_for_agreement(transitions.differs(waits, DIGEST, "differs", later), later)
    all_the_while = replace(waits, disagreement=Watch("", 1000.0, later.time, 60, 0.0))
    assert not transitions.waits_for_agreement(all_the_while, later)
