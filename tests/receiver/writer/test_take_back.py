"""What is given up is taken back as far as it is proven to be ours, and nothing that an operator did with it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from receiver_support import CHILD, Site, ns_of, replace_ns, site
from writer_support import nobody
from zonecut.plugin import BackendUnavailable, Change
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.update import DelegationChange
from zonecut.receiver.change.case import Case
from zonecut.receiver.change.policy import Policy
from zonecut.receiver.writer.undo import Undo
from zonecut.receiver.writer.write_queue import Pending
from zonecut.receiver.zone_settings import ZoneSettings
from zonecut.store import ChangeState, Decision, KeyState, StoredChange

DS_A = bytes.fromhex("b40e0f02") + bytes(range(32))
DS_B = bytes.fromhex("b40f0f02") + bytes(range(32))
SETTINGS = ZoneSettings(answer_within=0.3)
Open = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setattr("zonecut.receiver.writer.waits.BACKOFF", (0.02, 0.1))
    monkeypatch.setattr("zonecut.receiver.writer.standing.SETTLED_IN", 0.0)
    monkeypatch.setattr("zonecut.receiver.zone.decisions.PERIOD", 0.02)

    @asynccontextmanager
    async def opened(policy: Policy | None = None) -> AsyncIterator[Site]:
        async with site(tmp_path, policy=policy or Policy(), settings=SETTINGS) as here:
            yield here

    return opened


async def begin(here: Site, *updates: bytes) -> None:
    """A child's first change, which is applied."""
    await here.trust(CHILD)
    assert (await here.ask(here.signed(*updates))).rcode == Rcode.NOERROR
    await ended(here, 1, ChangeState.APPLIED)
    here.clock.now += 1


def away(here: Site) -> Callable[[], None]:
    """Nothing can be written any more, until the result is called."""
    write = here.backend.write

    async def unavailable(changes: object) -> None:
        raise BackendUnavailable("timed out")

    here.backend.write = unavailable  # type: ignore[method-assign]

    def back() -> None:
        here.backend.write = write  # type: ignore[method-assign]

    return back


def by_hand(directory: Path, what: str) -> None:
    """An operator takes the lines with this text out of the zone file."""
    file = directory / "parent.example.delegations"
    lines = file.read_text().splitlines(keepends=True)
    kept = [line for line in lines if what not in line]
    assert kept != lines
    file.write_text("".join(kept))


async def ended(here: Site, number: int, *states: ChangeState) -> StoredChange:
    async with asyncio.timeout(10):
        while True:
            stored = await here.store.changes.get(number)
            if stored is not None and stored.state in states:
                return stored
            await asyncio.sleep(0.01)


async def given_up(here: Site, how: str) -> None:
    if how == "rejected":
        await here.store.decisions.decide(2, Decision.REJECTED, "ann", "")
        await asyncio.sleep(0.2)  # it is looked for
        return
    (key,) = await here.store.keys.find(CHILD)
    await here.store.keys.set_state(key.id, KeyState.REVOKED, "ann", "stolen")
    await here.store.ring.fetch([CHILD])


@pytest.mark.parametrize("how", ["revoked", "rejected"])
@pytest.mark.parametrize("what", ["stolen.ns.example.", "\tNS\t"])
async def test_what_an_operator_took_out_while_the_server_was_away_is_not_put_back(
    opened: Open, tmp_path: Path, how: str, what: str
) -> None:
    async with opened() as here:
        await begin(here, *replace_ns(CHILD, "a.ns.example.", "stolen.ns.example."))
        back = away(here)
        added = message.add(CHILD, RRType.NS, 60, names.from_text("c.ns.example."))
        assert (await here.ask(here.signed(added))).rcode == Rcode.NOERROR
        by_hand(tmp_path, what)
        left = await here.served()
        await given_up(here, how)
        back()
        stored = await ended(here, 2, ChangeState.FAILED)
        assert "taken back" not in (stored.reason or "")
        assert await here.served() == left
        assert (left.ns == ()) is (what != "stolen.ns.example.")


@pytest.mark.parametrize("going", ["hold", "deny"])
async def test_the_last_ds_does_not_go_unasked_where_another_went_by_hand_while_the_server_was_away(
    opened: Open, tmp_path: Path, going: str
) -> None:
    async with opened(Policy(going_insecure=going)) as here:
        await begin(here, message.add(CHILD, RRType.DS, 1, DS_A), message.add(CHILD, RRType.DS, 1, DS_B))
        back = away(here)
        await here.ask(here.signed(message.delete_record(CHILD, RRType.DS, DS_A)))
        by_hand(tmp_path, "46095")
        back()
        stored = await ended(here, 2, ChangeState.HELD, ChangeState.FAILED)
        assert stored.state is (ChangeState.HELD if going == "hold" else ChangeState.FAILED)
        assert (await here.served()).ds == (DS_A,)


async def test_the_last_ds_does_not_go_unasked_where_another_went_by_hand_over_a_restart(
    opened: Open, tmp_path: Path
) -> None:
    async with opened(Policy(going_insecure="hold")) as here:
        await begin(here, message.add(CHILD, RRType.DS, 1, DS_A), message.add(CHILD, RRType.DS, 1, DS_B))
        away(here)
        await here.ask(here.signed(message.delete_record(CHILD, RRType.DS, DS_A)))
    by_hand(tmp_path, "46095")
    async with opened(Policy(going_insecure="hold")) as here:
        await ended(here, 2, ChangeState.HELD)
        assert (await here.served()).ds == (DS_A,)


# What may be undone


def ns(*servers: str, ds: tuple[bytes, ...] = ()) -> Delegation:
    records = [*ns_of(CHILD, *servers).records, *(RR(CHILD, RRType.DS, rdata) for rdata in ds)]
    return Delegation.of(CHILD, records)


def pending(origin: Delegation, after: Delegation, *lost: RR) -> Pending:
    async def counts() -> None: ...

    request = DelegationChange(CHILD, (), ())
    case = Case(request, counts, None, lambda: None, None, nobody)  # type: ignore[arg-type,return-value]
    made = Pending(1, Change(origin, after), case, uncertain=True)
    made.lost = frozenset(lost)
    return made


def texts(records: frozenset[RR]) -> list[str]:
    return sorted(record.to_text().removeprefix("child.parent.example. ") for record in records)


@pytest.mark.parametrize(
    ("origin", "after", "held", "target", "left", "missing"),
    [
        # what the change added goes
        (ns("a."), ns("a.", "b.", "c."), ns("a.", "b."), ns("a."), [], []),
        # and what somebody took out meanwhile stays out
        (ns("a.", "s."), ns("a.", "s.", "c."), ns("a.", "c."), ns("a."), [], []),
        (ns("a.", "s."), ns("a.", "s.", "c."), ns("a."), ns("a."), [], []),
        (ns("a.", "s."), ns("a.", "s.", "c."), ns(), ns(), [], []),
        # what the change would have removed may have gone by its own hand, or by another
        (ns("a.", "s."), ns("a.", "c."), ns("a."), ns("a."), [], ["NS s."]),
        (ns("a.", "s."), ns("a.", "c.", "d."), ns("a.", "c."), ns("a."), [], ["NS s."]),
        # a child is left neither without name servers nor insecure
        (ns("a."), ns("b.", "c."), ns("b."), ns("b."), ["NS b."], ["NS a."]),
        (
            ns("a.", ds=(DS_A,)),
            ns("b.", ds=(DS_B,)),
            ns("a.", ds=(DS_B,)),
            ns("a.", ds=(DS_B,)),
            [RR(CHILD, RRType.DS, DS_B).to_text().removeprefix("child.parent.example. ")],
            [RR(CHILD, RRType.DS, DS_A).to_text().removeprefix("child.parent.example. ")],
        ),
        # where somebody else was there, nothing is touched
        (ns("a."), ns("b.", "c."), ns("b.", "z."), ns("b.", "z."), ["NS b."], []),
        (ns("a."), ns("b."), ns("z."), ns("z."), [], []),
    ],
)
async def test_nothing_is_undone_that_may_be_somebody_elses_doing(
    origin: Delegation, after: Delegation, held: Delegation, target: Delegation, left: list[str], missing: list[str]
) -> None:
    undo = Undo.of(pending(origin, after), held)
    assert (undo.target, texts(undo.left), texts(undo.missing)) == (target, left, missing)


async def test_what_the_server_lost_with_the_write_that_it_acknowledged_comes_back() -> None:
    given = pending(ns("a."), ns("b.", "c."), RR(CHILD, RRType.NS, names.from_text("a.")))
    assert Undo.of(given, ns("b.")) == Undo(ns("a."), frozenset(), frozenset())
    # but not where the delegation has gone as a whole
    undo = Undo.of(given, ns())
    assert (undo.target, texts(undo.missing)) == (ns(), ["NS a."])


async def test_what_may_be_there_by_half_is_told_in_the_audit_trail(opened: Open, tmp_path: Path) -> None:
    async with opened() as here:
        await begin(here, *replace_ns(CHILD, "a.ns.example.", "s.ns.example."))
        back = away(here)
        await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example.", "c.ns.example.")))
        by_hand(tmp_path, "s.ns.example.")
        await given_up(here, "revoked")
        back()
        stored = await ended(here, 2, ChangeState.FAILED)
        assert (stored.reason or "").endswith(
            "whether it is there by half is not known, and the delegation needs a look"
        )
        assert (await here.served()).ns == (names.from_text("a.ns.example."),)
        await asyncio.sleep(0.2)  # it is written beside
        told = await here.store.audit.list(child=CHILD, event="change.half-written", limit=1)
        assert told[0].entry.detail["missing"] == ["child.parent.example. NS s.ns.example."]
