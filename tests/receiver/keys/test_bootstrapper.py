"""How the receiver carries keys to trust: order, pauses, ends, restarts, and what happens at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap_support import CONTRADICTED, NOT_APPLICABLE, RETRY, UNDECIDED, bench
from receiver_support import CHILD, NOW, ZONE, Clock
from trust_support import Scripted, accepts, delegation, eventually, key
from zonecut.plugin import BackendUnavailable
from zonecut.plugin.bootstrap import Candidate, Conclusion, Finding
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.keys import Key
from zonecut.receiver.keys import bootstrapper as module
from zonecut.receiver.keys.bootstrapper import CONCURRENT
from zonecut.receiver.keys.retry import Retry
from zonecut.store import Bootstrap, KeyState, Store, StoreUnavailable, Upload


async def test_methods_are_asked_in_their_order_and_the_first_that_accepts_is_enough(tmp_path: Path) -> None:
    first, second, third = Scripted(CONTRADICTED), Scripted(accepts(key(1))), Scripted(UNDECIDED)
    async with bench(tmp_path, ("at-apex", first), ("at-ns", second), ("other", third)) as here:
        trusted = await here.ends(await here.begin(key(1)), KeyState.TRUSTED)
        assert (trusted.method, trusted.reason) == ("at-ns", "it is there")
        assert [len(method.looks) for method in (first, second, third)] == [1, 1, 0]
        (candidate,) = second.looks
        assert (candidate.key, candidate.delegation) == (key(1), here.parent[CHILD])


async def test_each_pause_is_twice_the_one_before_and_bounded(tmp_path: Path) -> None:
    method = Scripted(UNDECIDED)
    async with bench(tmp_path, ("at-apex", method), retry=Retry(5, 60, 10)) as here:
        stored = await here.begin(key(1))
        pauses = []
        for attempts in range(1, 8):
            bootstrap = await here.attempted(stored, attempts)
            pauses.append(bootstrap.next_at - here.clock.now)
            here.clock.now = bootstrap.next_at - 0.01
            here.bootstrapper.wake()
            await asyncio.sleep(0.02)
            assert len(method.looks) == attempts
            here.clock.now = bootstrap.next_at
            here.bootstrapper.wake()
    for pause, full in zip(pauses, (5, 10, 20, 40, 60, 60, 60), strict=True):
        assert 0.8 * full <= pause <= full


async def test_when_attempts_are_exhausted_validation_failed_with_the_reasons_in_words(tmp_path: Path) -> None:
    methods = (("at-apex", Scripted(UNDECIDED)), ("at-ns", Scripted(CONTRADICTED)))
    async with bench(tmp_path, *methods) as here:
        await here.trust(key(9))
        failed = await here.ends(await here.begin(key(1)), KeyState.VALIDATION_FAILED)
        assert failed.reason == "at-apex: no answer; at-ns: another key is there"
        assert len(methods[0][1].looks) == RETRY.attempts
        assert [stored.key for stored in await here.trusted()] == [key(9)]


async def test_when_attempts_are_exhausted_an_operator_decides_if_that_is_listed(tmp_path: Path) -> None:
    method = Scripted(CONTRADICTED)
    async with bench(tmp_path, ("at-apex", method), manual=True) as here:
        await here.trust(key(9))
        stored = await here.begin(key(1))
        bootstrap = await here.waits(stored)
        assert bootstrap.reason == "at-apex: another key is there"
        assert len(method.looks) == RETRY.attempts
        here.clock.now += 1000
        here.bootstrapper.wake()
        await asyncio.sleep(0.02)
        assert len(method.looks) == RETRY.attempts
        await here.store.bootstraps.decide(stored.id, "ann", "compared")
        assert [each.state for each in await here.store.keys.find(CHILD)] == [KeyState.SUPERSEDED, KeyState.TRUSTED]


@pytest.mark.parametrize("manual", [False, True])
async def test_where_no_method_applies_nobody_waits_for_attempts(tmp_path: Path, manual: bool) -> None:
    method = Scripted(NOT_APPLICABLE)
    async with bench(tmp_path, ("at-apex", method), manual=manual) as here:
        stored = await here.begin(key(1))
        if manual:
            assert (await here.waits(stored)).reason == "at-apex: has no DS"
        else:
            assert (await here.ends(stored, KeyState.VALIDATION_FAILED)).reason == "at-apex: has no DS"
        assert len(method.looks) == 1


async def test_who_waits_for_an_operator_too_long_expires(tmp_path: Path) -> None:
    async with bench(tmp_path, ("at-apex", Scripted(NOT_APPLICABLE)), manual=True) as here:
        stored = await here.begin(key(1), expires_at=NOW + 50)
        await here.waits(stored)
        here.clock.now = NOW + 50
        failed = await here.ends(stored, KeyState.VALIDATION_FAILED)
        assert failed.reason == "nobody decided in time; the latest attempt: at-apex: has no DS"


async def test_after_a_restart_attempts_and_evidence_go_on_where_they_were(tmp_path: Path) -> None:
    evidence = {"since": NOW, "count": 1}
    holding = Finding(Conclusion.UNDECIDED, "so far so good", evidence=evidence, again_in=20)
    async with bench(tmp_path, ("unsigned", Scripted(holding)), ("at-ns", Scripted(UNDECIDED))) as here:
        stored = await here.begin(key(1))
        await here.reached(stored, lambda bootstrap: bool(bootstrap.evidence))
        before = (await here.now(stored))[1]
    method = Scripted(accepts(key(1)))
    clock = Clock(NOW + 19.0)
    async with bench(tmp_path, ("unsigned", method), clock=clock) as here:
        assert (await here.now(stored))[1] == before
        await asyncio.sleep(0.02)
        assert method.looks == []
        clock.now = NOW + 20.0
        await here.ends(stored, KeyState.TRUSTED)
        assert method.looks[0].evidence == evidence


async def test_an_attempt_that_a_restart_cuts_off_is_made_again(tmp_path: Path) -> None:
    cut = Scripted(accepts(key(1)), hold=asyncio.Event())
    async with bench(tmp_path, ("at-apex", cut)) as here:
        stored = await here.begin(key(1))
        await eventually(lambda: len(cut.looks) == 1)
    async with bench(tmp_path, ("at-apex", Scripted(accepts(key(1))))) as here:
        assert (await here.ends(stored, KeyState.TRUSTED)).method == "at-apex"


async def test_a_hold_period_uses_up_no_attempts_whatever_other_methods_say(tmp_path: Path) -> None:
    def hold(candidate: Candidate) -> Finding:
        count = candidate.evidence.get("count", 0) + 1
        if count > 3 * RETRY.attempts:
            return accepts(key(1))
        return Finding(Conclusion.UNDECIDED, "holding", evidence={"count": count}, again_in=100)

    for other in (UNDECIDED, CONTRADICTED, NOT_APPLICABLE):
        directory = tmp_path / other.conclusion.value
        directory.mkdir()
        async with bench(directory, ("at-ns", Scripted(other)), ("unsigned", Scripted(hold))) as here:
            await here.ends(await here.begin(key(1)), KeyState.TRUSTED)
            assert here.clock.now == NOW + 3 * RETRY.attempts * 100


async def test_a_method_that_replaces_no_trusted_key_is_not_asked_beside_one(tmp_path: Path) -> None:
    method = Scripted(accepts(key(1)), replaces_trusted=False)
    async with bench(tmp_path, ("unsigned", method), manual=True) as here:
        await here.trust(key(9))
        stored = await here.begin(key(1))
        assert (await here.waits(stored)).reason == "unsigned: a key of the child is trusted already"
        assert method.looks == []


async def test_a_key_trusted_while_such_a_method_looks_stays_the_only_one(tmp_path: Path) -> None:
    go = asyncio.Event()
    method = Scripted(accepts(key(1)), replaces_trusted=False, hold=go)
    async with bench(tmp_path, ("unsigned", method)) as here:
        stored = await here.begin(key(1))
        await eventually(lambda: len(method.looks) == 1)
        other = await here.trust(key(9))
        go.set()
        failed = await here.ends(stored, KeyState.VALIDATION_FAILED)
        assert failed.reason == "unsigned: a key of the child is trusted already"
        assert (await here.now(other))[0].state is KeyState.TRUSTED


@pytest.mark.parametrize("state", [KeyState.REVOKED, KeyState.REFUSED, KeyState.TRUSTED])
@pytest.mark.parametrize("finding", [accepts(key(1)), UNDECIDED, NOT_APPLICABLE])
async def test_an_operator_who_decides_during_an_attempt_has_the_last_word(
    tmp_path: Path, state: KeyState, finding: Finding
) -> None:
    go = asyncio.Event()
    method = Scripted(finding, hold=go)
    async with bench(tmp_path, ("at-apex", method)) as here:
        other = await here.trust(key(9))
        stored = await here.begin(key(1))
        await eventually(lambda: len(method.looks) == 1)
        await here.store.keys.set_state(stored.id, state, "ann", "decided")
        go.set()
        await asyncio.sleep(0.05)
        current, bootstrap = await here.now(stored)
        assert (current.state, current.actor, bootstrap) == (state, "ann", None)
        assert (await here.now(other))[0].state is KeyState.TRUSTED
        assert len(method.looks) == 1


async def test_a_backend_that_is_away_costs_a_child_neither_attempts_nor_evidence(tmp_path: Path) -> None:
    holding = Finding(Conclusion.UNDECIDED, "holding", evidence={"count": 1}, again_in=10)
    method = Scripted(holding)
    async with bench(tmp_path, ("unsigned", method)) as here:
        stored = await here.begin(key(1))
        await eventually(lambda: len(method.looks) == 1)
        here.parent[CHILD] = BackendUnavailable("it is away")
        for _ in range(3 * RETRY.attempts):
            here.clock.now += 1000
            here.bootstrapper.wake()
            await asyncio.sleep(0.01)
        _, bootstrap = await here.now(stored)
        assert bootstrap is not None
        assert (bootstrap.attempts, bootstrap.evidence) == (0, {"unsigned": {"count": 1}})
        assert bootstrap.reason == "the delegation cannot be read now"
        here.parent[CHILD] = delegation("ns.example.")
        method.finding = accepts(key(1))
        await here.ends(stored, KeyState.TRUSTED)


async def test_a_method_that_breaks_or_hangs_decides_nothing_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPT_LIMIT", 0.05)

    def breaks(_: Candidate) -> Finding:
        raise ZeroDivisionError

    def times_out(_: Candidate) -> Finding:
        raise TimeoutError

    hangs = Scripted(UNDECIDED, hold=asyncio.Event())
    bad = (("broken", Scripted(breaks)), ("late", Scripted(times_out)), ("hanging", hangs))
    async with bench(tmp_path, *bad, retry=Retry(5, 60, 2)) as here:
        failed = await here.ends(await here.begin(key(1)), KeyState.VALIDATION_FAILED)
        expected = "broken: internal error; late: took longer than 0 s; hanging: took longer than 0 s"
        assert failed.reason == expected
    async with bench(tmp_path, *bad, ("good", Scripted(accepts(key(2))))) as here:
        assert (await here.ends(await here.begin(key(2)), KeyState.TRUSTED)).method == "good"


@pytest.mark.parametrize("validated", [(), (key(2),)])
async def test_a_method_that_accepts_without_an_rrset_that_holds_the_key_accepts_nothing(
    tmp_path: Path, validated: Sequence[Key]
) -> None:
    async with bench(tmp_path, ("broken", Scripted(accepts(*validated)))) as here:
        other = await here.trust(key(9))
        await here.ends(await here.begin(key(1)), KeyState.VALIDATION_FAILED)
        assert (await here.now(other))[0].state is KeyState.TRUSTED


async def test_a_delegation_that_is_away_for_the_moment_ends_no_bootstrap(tmp_path: Path) -> None:
    async with bench(tmp_path, ("at-apex", Scripted(accepts(key(1))))) as here:
        here.parent[CHILD] = Delegation(CHILD)
        stored = await here.begin(key(1))
        for _ in range(3 * RETRY.attempts):
            waits = await here.reached(stored, lambda bootstrap: bootstrap.next_at > here.clock.now)
            assert (waits.reason, waits.attempts) == ("the child is not delegated", 0)
            here.clock.now = waits.next_at
            here.bootstrapper.wake()
        here.parent[CHILD] = delegation("ns.example.")
        await here.ends(stored, KeyState.TRUSTED)


async def test_no_more_attempts_than_allowed_are_under_way_at_once(tmp_path: Path) -> None:
    go = asyncio.Event()
    method = Scripted(lambda candidate: accepts(candidate.key), hold=go)
    async with bench(tmp_path, ("at-apex", method), max_trusted=1000) as here:
        stored = [await here.begin(key(number), replaces=False) for number in range(1, 3 * CONCURRENT)]
        await eventually(lambda: len(method.looks) == CONCURRENT)
        here.bootstrapper.wake()
        await asyncio.sleep(0.05)
        assert len(method.looks) == CONCURRENT
        go.set()
        for each in stored:
            await here.ends(each, KeyState.TRUSTED)
        assert len(method.looks) == len(stored)


async def test_a_store_that_cannot_be_written_does_not_make_the_world_be_asked_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STORE_RETRY", 0.2)
    method = Scripted(UNDECIDED)
    async with bench(tmp_path, ("at-apex", method)) as here:
        write = here.store.bootstraps.progress

        async def fails(_: Bootstrap) -> None:
            raise StoreUnavailable("the disk is full")

        monkeypatch.setattr(here.store.bootstraps, "progress", fails)
        stored = await here.begin(key(1))
        await asyncio.sleep(0.1)
        assert len(method.looks) == 1
        monkeypatch.setattr(here.store.bootstraps, "progress", write)
        await here.attempted(stored, 1)


async def test_a_store_that_comes_back_is_worked_on_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", 0.01)
    async with bench(tmp_path, ("at-apex", Scripted(accepts(key(1))))) as here:
        due: Callable[..., Awaitable[Sequence[Bootstrap]]] = here.store.bootstraps.due

        async def fails(*_: object) -> Sequence[Bootstrap]:
            raise StoreUnavailable("it is locked")

        monkeypatch.setattr(here.store.bootstraps, "due", fails)
        stored = await here.begin(key(1))
        await asyncio.sleep(0.05)
        assert (await here.now(stored))[0].state is KeyState.KNOWN
        monkeypatch.setattr(here.store.bootstraps, "due", due)
        await here.ends(stored, KeyState.TRUSTED)


async def test_what_another_process_put_there_is_found_without_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL", 0.01)
    async with (
        bench(tmp_path, ("at-apex", Scripted(accepts(key(1))))) as here,
        Store.open(f"sqlite:///{tmp_path}/zonecut.db", clock=here.clock) as other,
    ):
        stored = await other.bootstraps.begin(Upload(key(1), ZONE, "", True, False, NOW, NOW + 9, 9, 9, 9))
        for _ in range(500):
            current, _ = await here.now(stored)
            if current.state is KeyState.TRUSTED:
                break
            await asyncio.sleep(0.01)
        assert current.state is KeyState.TRUSTED


async def test_evidence_of_one_method_is_not_shown_to_another(tmp_path: Path) -> None:
    first = Scripted(replace(UNDECIDED, evidence={"mine": 1}))
    second = Scripted(replace(UNDECIDED, evidence={"mine": 2}))
    async with bench(tmp_path, ("one", first), ("two", second)) as here:
        await here.ends(await here.begin(key(1)), KeyState.VALIDATION_FAILED)
    assert [candidate.evidence for candidate in first.looks] == [{}] + [{"mine": 1}] * 3
    assert [candidate.evidence for candidate in second.looks] == [{}] + [{"mine": 2}] * 3
