"""Checks in a receiver: what warns never delays and is told, what is enforced decides, and what holds the turn."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from checks_support import ADDRESSES, AFTER, NS1, NS2, OUTSIDE, Servers, change, delegation, serving
from receiver_support import CHILD, NOW, ZONE, Site, replace_ns, site
from resolve_support import Signer
from zonecut.plugin import Change
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import EdeCode, Rcode, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.receiver.checks import CheckSettings
from zonecut.receiver.checks import runner as conducting
from zonecut.receiver.checks.lookups import ServerAddress
from zonecut.receiver.checks.runner import Checks
from zonecut.receiver.checks.survey import Looks
from zonecut.receiver.outcome import EndsEarly
from zonecut.store import AuditEntry, KeyState, StoreUnavailable

Open = Callable[..., AbstractAsyncContextManager[Site]]
FIRST = ADDRESSES[NS1]
OTHER_CHILD = names.from_text("other.parent.example.")


def settings(mode: str, **further: object) -> CheckSettings:
    return CheckSettings.model_validate({"ds_continuity": mode, "ns_consistency": mode, **further})


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def opened(looks: Looks | None, mode: str, **further: object) -> AsyncIterator[Site]:
        def checks(store: Any) -> Checks:
            return Checks(ZONE, settings(mode, **further), looks, store.audit.record, lambda: NOW)

        async with site(tmp_path, checks=checks) as here:
            await here.trust(CHILD)
            yield here

    return opened


def to_outside(here: Site) -> bytes:
    """A change of NS to a server that the fakes know."""
    return here.signed(*replace_ns(CHILD, OUTSIDE))


async def audited(here: Site, event: str = "check.warning") -> dict[str, Any]:
    """The one entry of that kind, waited for."""
    async with asyncio.timeout(5):
        while not (records := await here.store.audit.list(event=event)):  # noqa: ASYNC110 (it is written aside)
            await asyncio.sleep(0.01)
    (record,) = records
    return record.to_json()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (what is waited for sets no event)
            await asyncio.sleep(0.01)


# enforce


async def test_what_is_enforced_and_passes_is_accepted(opened: Open) -> None:
    servers = Servers(serving(OUTSIDE))
    async with opened(servers, "enforce") as here:
        assert (await here.ask(to_outside(here))).rcode == Rcode.NOERROR
        assert (await here.served()).ns == (names.from_text(OUTSIDE),)
    assert servers.looked_up == 1


async def test_what_is_enforced_and_fails_is_refused_with_what_was_seen_and_not_recorded(opened: Open) -> None:
    async with opened(Servers(serving(OUTSIDE, ns=[NS1])), "enforce") as here:
        before = await here.served()
        answer = await here.ask(to_outside(here))
        assert answer.rcode == Rcode.REFUSED
        assert answer.error is not None
        assert answer.error.code == EdeCode.PROHIBITED
        assert f"{OUTSIDE} ({ADDRESSES[OUTSIDE]}) has the NS {NS1}" in answer.error.text
        assert await here.served() == before
        assert await here.store.changes.list() == []
        entry = await audited(here, "change.refused")
        assert entry["rule"] == "ns-consistency"


async def test_a_ds_that_breaks_the_chain_is_refused(opened: Open) -> None:
    servers = Servers(serving(NS1, signer=Signer("child.parent.example.", label="other")))
    servers.addresses = [ServerAddress(names.from_text(NS1), FIRST)]
    async with opened(servers, "enforce") as here:
        ds = Signer("child.parent.example.").ds().to_wire() or b""
        answer = await here.ask(here.signed(message.add(CHILD, RRType.DS, 3600, ds)))
        assert answer.rcode == Rcode.REFUSED
        assert answer.error is not None
        assert f"{NS1} ({FIRST}) breaks the chain of trust" in answer.error.text


async def test_by_default_a_ds_that_breaks_the_chain_is_refused_and_a_change_of_ns_only_warns(opened: Open) -> None:
    servers = Servers({**serving(NS1, signer=Signer("child.parent.example.", label="other")), **serving(OUTSIDE)})
    servers.addresses = [ServerAddress(names.from_text(NS1), FIRST)]
    async with opened(servers, "off", ds_continuity="auto") as here:
        ds = Signer("child.parent.example.").ds().to_wire() or b""
        answer = await here.ask(here.signed(message.add(CHILD, RRType.DS, 3600, ds)))
        assert answer.rcode == Rcode.REFUSED
        assert answer.error is not None
        assert f"{NS1} ({FIRST}) breaks the chain of trust" in answer.error.text
        here.clock.now += 1
        assert (await here.ask(to_outside(here))).rcode == Rcode.NOERROR


async def test_what_cannot_be_seen_in_time_is_servfail_and_may_be_sent_again(opened: Open) -> None:
    right = serving(OUTSIDE)
    place = ADDRESSES[OUTSIDE], int(RRType.NS)
    servers = Servers({**right, place: ["connection refused", right[place]]})
    async with opened(servers, "enforce", time_limit=0.2) as here:
        wire = to_outside(here)
        answer = await here.ask(wire)
        assert answer.rcode == Rcode.SERVFAIL
        assert answer.error is not None
        assert "connection refused" in answer.error.text
        assert (await here.ask(wire)).rcode == Rcode.NOERROR


async def test_an_answer_may_take_longer_than_it_may_wait_for_the_backend(opened: Open) -> None:
    async def hold(address: str) -> None:
        await asyncio.sleep(2.3)

    async with opened(Servers(serving(OUTSIDE), hold=hold), "enforce") as here:
        started = time.monotonic()
        assert (await here.ask(to_outside(here))).rcode == Rcode.NOERROR
        assert time.monotonic() - started > 2.2


async def test_the_childs_turn_is_held_while_it_is_looked_at_and_others_go_on(opened: Open) -> None:
    go = asyncio.Event()
    servers = Servers(serving(OUTSIDE), hold=lambda address: go.wait())
    async with opened(servers, "enforce") as here:
        await here.trust(OTHER_CHILD)
        first = asyncio.create_task(here.ask(to_outside(here)))
        await until(lambda: bool(servers.asked))
        second = asyncio.create_task(here.ask(here.signed(message.add(CHILD, RRType.DS, 3600, bytes(36)))))
        other = here.signed(message.delete_rrset(OTHER_CHILD, RRType.DS), child=OTHER_CHILD)
        assert (await here.ask(other)).rcode == Rcode.NOERROR
        assert not second.done()
        go.set()
        assert (await first).rcode == Rcode.NOERROR
        assert (await second).rcode == Rcode.REFUSED


async def test_the_same_message_again_waits_for_the_one_look(opened: Open) -> None:
    go = asyncio.Event()
    servers = Servers(serving(OUTSIDE), hold=lambda address: go.wait())
    async with opened(servers, "enforce") as here:
        wire = to_outside(here)
        asked = [asyncio.create_task(here.ask(wire)) for _ in range(3)]
        await until(lambda: bool(servers.asked))
        go.set()
        assert {(await each).rcode for each in asked} == {Rcode.NOERROR}
        assert len(await here.store.changes.list()) == 1
    assert servers.looked_up == 1


async def test_a_key_that_is_revoked_meanwhile_changes_nothing(opened: Open) -> None:
    go = asyncio.Event()
    servers = Servers(serving(OUTSIDE), hold=lambda address: go.wait())
    async with opened(servers, "enforce") as here:
        asked = asyncio.create_task(here.ask(to_outside(here)))
        await until(lambda: bool(servers.asked))
        (stored,) = await here.store.keys.find(CHILD)
        await here.store.keys.set_state(stored.id, KeyState.REVOKED, "test", "stolen")
        await here.store.ring.fetch([CHILD])
        go.set()
        answer = await asked
        assert answer.rcode == Rcode.REFUSED
        assert await here.store.changes.list() == []


async def test_what_is_judged_again_on_another_delegation_is_looked_at_again(opened: Open, tmp_path: Path) -> None:
    lame = NS2
    servers = Servers(serving(NS1, ns=[NS1, OUTSIDE]) | serving(OUTSIDE, ns=[NS1, OUTSIDE]))
    async with opened(servers, "enforce") as here:
        await here.zone.look_at(CHILD)
        zone_file = tmp_path / "parent.zone"
        by_hand = zone_file.read_text().replace(
            "child NS ns1.child\n", f"child NS ns1.child\nchild NS {lame}\nns2.child A 1.1.1.2\n"
        )
        zone_file.write_text(by_hand)
        answer = await here.ask(here.signed(message.add(CHILD, RRType.NS, 1, names.from_text(OUTSIDE))))
        assert answer.rcode == Rcode.REFUSED
        assert answer.error is not None
        assert f"has the NS {OUTSIDE}, {NS1}, and the parent would have" in answer.error.text
        assert lame in answer.error.text
        assert names.from_text(OUTSIDE) not in (await here.served()).ns
        (change,) = await here.store.changes.list()
        assert change.state.value == "failed"
    assert servers.looked_up == 2


async def test_no_difference_is_not_looked_at(opened: Open) -> None:
    servers = Servers()
    async with opened(servers, "enforce") as here:
        assert (await here.ask(here.signed(message.delete_rrset(CHILD, RRType.DS)))).rcode == Rcode.NOERROR
    assert servers.looked_up == 0


async def test_without_a_resolver_what_is_enforced_is_servfail_at_once(opened: Open) -> None:
    async with opened(None, "enforce") as here:
        started = time.monotonic()
        answer = await here.ask(to_outside(here))
        assert answer.rcode == Rcode.SERVFAIL
        assert answer.error is not None
        assert "nothing can be looked up" in answer.error.text
        assert time.monotonic() - started < 1


async def test_more_than_may_be_looked_at_at_once_wait_within_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conducting, "ENFORCED", 1)
    go = asyncio.Event()
    servers = Servers(serving(OUTSIDE), hold=lambda address: go.wait())
    checks = Checks(ZONE, settings("enforce", time_limit=0.3), servers, _nothing, lambda: NOW)
    first = asyncio.create_task(checks.enforce(change(delegation(OUTSIDE), AFTER)))
    await until(lambda: bool(servers.asked))
    with pytest.raises(EndsEarly) as ended:
        await checks.enforce(change(delegation(OUTSIDE), AFTER))
    assert ended.value.outcome.rcode == Rcode.SERVFAIL
    assert ended.value.outcome.rule == "ns-consistency"
    with pytest.raises(EndsEarly):
        await first


# warn


async def test_a_warning_never_delays_the_answer_and_is_logged_and_audited(opened: Open) -> None:
    go = asyncio.Event()
    servers = Servers(serving(OUTSIDE, ns=[NS1]), hold=lambda address: go.wait())
    with capture_logs() as logs:
        async with opened(servers, "warn") as here:
            assert (await here.ask(to_outside(here))).rcode == Rcode.NOERROR
            assert await here.store.audit.list(event="check.warning") == []
            go.set()
            await until(lambda: any(each["event"] == "check.warning" for each in logs))
            (event,) = [each for each in logs if each["event"] == "check.warning"]
            (stored,) = await here.store.changes.list()
            assert event["log_level"] == "warning"
            assert (event["child"], event["change"]) == ("child.parent.example.", stored.id)
            assert (event["check"], event["conclusion"]) == ("ns-consistency", "failed")
            assert f"{OUTSIDE} ({ADDRESSES[OUTSIDE]}) has the NS {NS1}" in event["reason"]
            entry = await audited(here)
            assert (entry["zone"], entry["child"], entry["rule"]) == (
                "parent.example.",
                "child.parent.example.",
                "ns-consistency",
            )
            assert entry["detail"] == {"changes": [stored.id], "conclusion": "failed", "reason": event["reason"]}


async def test_what_cannot_be_seen_is_a_warning_too(opened: Open) -> None:
    with capture_logs() as logs:
        async with opened(Servers({(ADDRESSES[OUTSIDE], RRType.NS): "silent"}), "warn", time_limit=0.1) as here:
            assert (await here.ask(to_outside(here))).rcode == Rcode.NOERROR
            await until(lambda: any(each["event"] == "check.warning" for each in logs))
    (event,) = [each for each in logs if each["event"] == "check.warning"]
    assert event["conclusion"] == "undecided"
    assert "silent" in event["reason"]


async def test_what_is_right_is_no_warning(opened: Open) -> None:
    with capture_logs() as logs:
        async with opened(Servers(serving(OUTSIDE)), "warn") as here:
            assert (await here.ask(to_outside(here))).rcode == Rcode.NOERROR
            await until(lambda: any(each["event"] == "check.passed" for each in logs))
            assert await here.store.audit.list(event="check.warning") == []


async def test_without_a_resolver_a_warning_check_lets_all_pass(opened: Open) -> None:
    async with opened(None, "warn") as here:
        assert (await here.ask(to_outside(here))).rcode == Rcode.NOERROR


async def test_each_check_has_its_own_mode(opened: Open) -> None:
    servers = Servers({})
    async with opened(servers, "off", ds_continuity="enforce") as here:
        assert (await here.ask(to_outside(here))).rcode == Rcode.NOERROR
    assert servers.looked_up == 0


# In the background


async def _nothing(entry: AuditEntry) -> None:
    return None


class Trail:
    """Keeps what would be audited."""

    def __init__(self, *, broken: bool = False) -> None:
        self.entries: list[AuditEntry] = []
        self.broken = broken

    async def record(self, entry: AuditEntry) -> None:
        if self.broken:
            raise StoreUnavailable("the disk is full")
        self.entries.append(entry)


def checks_of(servers: Servers, trail: Trail, **further: object) -> Checks:
    return Checks(ZONE, settings("warn", **further), servers, trail.record, lambda: NOW)


def of_child(number: int) -> Change:
    child = names.from_text(f"child{number}.parent.example.")
    before = Delegation(child, (names.from_text("old.example."),))
    return Change(before, Delegation(child, (names.from_text(OUTSIDE),)))


async def test_identical_looks_of_one_child_are_one() -> None:
    go = asyncio.Event()
    servers, trail = Servers(hold=lambda address: go.wait()), Trail()
    checks = checks_of(servers, trail)
    for number in range(1, 4):
        checks.watch(change(), number)
        await asyncio.sleep(0.01)
    go.set()
    await until(lambda: len(trail.entries) == 1)
    assert servers.looked_up == 1
    assert trail.entries[0].detail["changes"] == [1, 2, 3]
    await checks.close()


async def test_of_what_waits_the_newest_delegation_counts_and_every_check_that_was_asked_for() -> None:
    go = asyncio.Event()
    servers, trail = Servers(hold=lambda address: go.wait()), Trail()
    checks = checks_of(servers, trail)
    checks.watch(change(), 1)
    await until(lambda: bool(servers.asked))
    checks.watch(change(delegation(NS1), AFTER), 2)
    newest = Delegation.of(CHILD, [*delegation(NS1).records, RR(CHILD, RRType.DS, bytes(36))])
    checks.watch(change(newest, delegation(NS1)), 3)
    go.set()
    await until(lambda: len(trail.entries) == 3)
    assert [(entry.rule, entry.detail["changes"]) for entry in trail.entries] == [
        ("ns-consistency", [1]),
        ("ds-continuity", [2, 3]),
        ("ns-consistency", [2, 3]),
    ]
    assert servers.looked_up == 3
    await checks.close()


async def test_only_so_many_children_are_looked_at_at_once_and_all_come_to_their_turn() -> None:
    go = asyncio.Event()
    servers, trail = Servers(hold=lambda address: go.wait()), Trail()
    checks = checks_of(servers, trail)
    for number in range(30):
        checks.watch(of_child(number), number)
    await asyncio.sleep(0.05)
    assert servers.looked_up == conducting.WATCHED == 8
    go.set()
    await until(lambda: len(trail.entries) == 30)
    await checks.close()


async def test_more_than_can_be_kept_are_dropped_and_that_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conducting, "MAX_WAITING", 2)
    servers = Servers(hold=lambda address: asyncio.sleep(60))
    checks = checks_of(servers, Trail())
    with capture_logs() as logs:
        for number in range(20):
            checks.watch(of_child(number), number)
    assert [each["event"] for each in logs] == ["check.overflow"]
    await checks.close()


async def test_closing_gives_up_what_is_looked_at() -> None:
    servers, trail = Servers(hold=lambda address: asyncio.sleep(60)), Trail()
    checks = checks_of(servers, trail)
    for number in range(10):
        checks.watch(of_child(number), number)
    await until(lambda: bool(servers.asked))
    async with asyncio.timeout(1):
        await checks.close()
    assert trail.entries == []


async def test_neither_a_defect_nor_a_store_that_is_away_stops_the_checks() -> None:
    class Broken(Servers):
        async def server_addresses(self, delegation: Delegation) -> Any:
            self.looked_up += 1
            if self.looked_up == 1:
                raise RuntimeError("a defect")
            return await super().server_addresses(delegation)

    servers = Broken()
    with capture_logs() as logs:
        checks = checks_of(servers, Trail(broken=True))
        checks.watch(of_child(1), 1)
        await until(lambda: [each["event"] for each in logs] == ["check.defect"])
        checks.watch(of_child(2), 2)
        await until(lambda: len(logs) == 3)
    assert [each["event"] for each in logs[1:]] == ["check.warning", "audit.lost"]
    await checks.close()
