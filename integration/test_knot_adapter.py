"""The adapter `knot` and the traps of a real knotd: transactions left open, failing commits, records it cannot show."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab.knotd import Knotd
from lab.zones import PARENT, ParentZone, Signing
from zonecut.plugin import (
    BackendConflict,
    BackendContext,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
)
from zonecut.plugin.contract import generated, master_file
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut.protocol.rrset import RRset
from zonecut_knot import KnotOptions
from zonecut_knot.backend import KnotBackend
from zonecut_knot.options import Client

TTLS = Ttls(ns=7200, ds=1800, glue=900)
NEW = names.from_text(f"new.{PARENT}")
NS = names.from_text(f"ns1.new.{PARENT}")
FULL = Delegation.of(
    NEW,
    [RR(NEW, RRType.NS, NS), RR(NEW, RRType.DS, bytes((1, 2, 13, 2)) + bytes(32)), RR(NS, RRType.A, b"\x0b\0\0\1")],
)
CHANGE = Change(Delegation(NEW), FULL)
Start = Callable[..., Knotd]
Open = Callable[..., Awaitable[KnotBackend]]

_PREDECESSOR = """
import os, signal, sys
from pathlib import Path
from zonecut.protocol import names
from zonecut_knot import library
from zonecut_knot.control import Command
from zonecut_knot.library import LibraryControl
from zonecut_knot.transaction import Transactions
zone, path, marked = sys.argv[1:]
module = library.load()
connect = lambda: LibraryControl(module, Path(path), zone, 5)
with Transactions(connect, names.from_text(zone), 5).begin() as transaction:
    transaction.change([Command("set", "new." + zone, "60", "NS", "half.elsewhere.test.")])
    transaction.change([Command("set", "new." + zone, "60", "NS", "ns1.new." + zone)])
    if marked != "marked":
        # what the commit does first
        transaction.change([transaction._mark._replace(name="unset", ttl="", data="")])
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(**options of Knotd)`: a running knotd with the zone of three delegations, ended after the test."""
    with ExitStack() as running:

        def started(signing: Signing = Signing.NONE, extra: str = "", **options: Any) -> Knotd:
            zone = ParentZone(PARENT, text=master_file(PARENT, 3) + extra, signing=signing)
            return running.enter_context(Knotd(tmp_path / "knotd", zone, **options))

        yield started


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def start(knotd: Knotd, **options: Any) -> KnotBackend:
            model = KnotOptions(**{"socket": knotd.socket, "timeout": 2, **options})
            backend = KnotBackend(BackendContext(names.from_text(PARENT), TTLS), model)
            stack.push_async_callback(backend.close)
            await backend.open()
            return backend

        yield start


async def leave_open(knotd: Knotd, mark: str) -> None:
    """Have a zonecut die that has begun CHANGE, and has the mark of its transaction there still, or not any more."""
    dead = await asyncio.create_subprocess_exec(sys.executable, "-c", _PREDECESSOR, PARENT, str(knotd.socket), mark)
    assert await dead.wait() == -signal.SIGKILL
    assert transaction(knotd)


def transaction(knotd: Knotd) -> bool:
    return "transaction: open" in knotd.knotc(("zone-status", PARENT))


async def test_records_get_the_ttls_of_their_types_and_the_serial_rises_once(start: Start, opened: Open) -> None:
    knotd = start()
    backend = await opened(knotd)
    await backend.write([CHANGE])
    zone = knotd.axfr()
    for owner, rtype, ttl in ((NEW, "NS", 7200), (NEW, "DS", 1800), (NS, "A", 900)):
        assert zone.find_rdataset(names.to_text(owner), rtype).ttl == ttl
    assert knotd.query(PARENT, "SOA").answer[0][0].serial == 2
    assert "_zonecut" not in zone.to_text()
    await backend.write([CHANGE])
    assert knotd.query(PARENT, "SOA").answer[0][0].serial == 2


async def test_a_signed_zone_stays_signed_all_over(start: Start, opened: Open) -> None:
    knotd = start(Signing.IN_PLACE)
    backend = await opened(knotd)
    gone = generated(PARENT, 0)
    await backend.write([CHANGE, Change(gone, Delegation(gone.child))])
    knotd.verify()


async def test_a_transaction_that_a_killed_zonecut_left_is_ended(start: Start, opened: Open) -> None:
    knotd = start()
    await leave_open(knotd, "marked")
    began = time.monotonic()
    backend = await opened(knotd)
    assert time.monotonic() - began < 2
    assert not transaction(knotd)
    assert (await backend.read(NEW)).delegation == Delegation(NEW)
    await backend.write([CHANGE])
    assert await backend.verify([CHANGE]) == ()


@pytest.mark.parametrize("client", [Client.LIBKNOT, Client.KNOTC])
async def test_a_transaction_that_was_left_between_its_mark_and_its_commit_is_ended_within_seconds(
    start: Start, opened: Open, client: Client
) -> None:
    knotd = start()
    await leave_open(knotd, "unmarked")
    backend = await opened(knotd, timeout=4, client=client)
    assert transaction(knotd)
    # nothing that it does is to be done: it may be a person's
    other = names.from_text(f"other.{PARENT}")
    with pytest.raises(BackendUnavailable, match="somebody else's transaction"):
        await backend.write([Change(Delegation(other), Delegation(other, (names.from_text("ns.elsewhere.test."),)))])
    # the successor takes up what its predecessor was about to do
    began = time.monotonic()
    await backend.write([CHANGE])
    assert time.monotonic() - began < 4
    assert await backend.verify([CHANGE]) == ()
    assert "half.elsewhere" not in knotd.axfr().to_text()


async def test_an_announcement_that_was_left_before_its_commit_is_ended_within_seconds(
    start: Start, opened: Open
) -> None:
    knotd = start()
    owner = names.from_text(f"_dsync.{PARENT}")
    wanted = RRset(owner, 66, 60, (bytes.fromhex("00ff02000100"),))
    knotd.knotc(("zone-begin", PARENT), ("zone-set", PARENT, f"_dsync.{PARENT}", "60", "TYPE66", r"\# 6 00ff02000100"))
    backend = await opened(knotd, timeout=4)
    await backend.replace_rrsets([], [wanted])
    assert await backend.read_rrsets([owner]) == (wanted,)
    assert not transaction(knotd)


async def test_an_empty_transaction_left_open_is_ended_after_a_while(start: Start, opened: Open) -> None:
    knotd = start()
    knotd.knotc(("zone-begin", PARENT))
    await opened(knotd)
    assert not transaction(knotd)


async def test_somebody_elses_transaction_is_waited_for_and_never_ended(start: Start, opened: Open) -> None:
    knotd = start()
    backend = await opened(knotd)
    knotd.knotc(("zone-begin", PARENT), ("zone-set", PARENT, f"theirs.{PARENT}", "7200", "NS", "ns.elsewhere.test."))
    with pytest.raises(BackendUnavailable, match=r"somebody else's transaction .* `knotc zone-abort"):
        await backend.write([CHANGE])
    assert (await backend.read(NEW)).delegation == Delegation(NEW)
    writing = asyncio.create_task(backend.write([CHANGE]))
    await asyncio.sleep(0.5)
    knotd.knotc(("zone-commit", PARENT))
    await writing
    assert await backend.verify([CHANGE]) == ()
    assert (await backend.read(names.from_text(f"theirs.{PARENT}"))).delegation.is_delegated


async def test_a_commit_that_fails_is_aborted_and_a_rejection(start: Start, opened: Open) -> None:
    knotd = start(extra=f"alias.{PARENT} 60 DNAME elsewhere.test.\n")
    backend = await opened(knotd)
    below = names.from_text(f"child.alias.{PARENT}")
    bad = Change(Delegation(below), Delegation(below, (names.from_text("ns.elsewhere.test."),)))
    with pytest.raises(BackendRejected, match="zone-commit"):
        await backend.write([CHANGE, bad])
    assert not transaction(knotd)
    assert (await backend.read(NEW)).delegation == Delegation(NEW)
    await backend.write([CHANGE])


async def test_a_conflict_leaves_no_transaction(start: Start, opened: Open) -> None:
    knotd = start()
    backend = await opened(knotd)
    with pytest.raises(BackendConflict, match="child0") as conflict:
        await backend.write([CHANGE, _stale()])
    assert conflict.value.children == (generated(PARENT, 0).child,)
    assert not transaction(knotd)


def _stale() -> Change:
    child = generated(PARENT, 0).child
    return Change(Delegation(child), Delegation(child, (names.from_text("ns.elsewhere.test."),)))


async def test_a_record_that_knot_cannot_show_is_told(start: Start, opened: Open) -> None:
    knotd = start()
    backend = await opened(knotd)
    child = generated(PARENT, 0).child
    knotd.transaction(("set", names.to_text(child), "60", "DS", "\\# 3 000102"))
    with pytest.raises(BackendUnavailable, match="too short for its type"):
        await backend.read(child)
    with pytest.raises(BackendRejected, match="no such data"):
        await backend.write([Change(Delegation(NEW), Delegation(NEW, FULL.ns, (b"\0\1\2",), FULL.glue))])


async def test_a_zone_of_which_knot_is_not_primary_is_a_misconfiguration(start: Start, opened: Open) -> None:
    knotd = start()
    knotd.stop()
    text = (knotd.directory / "knot.conf").read_text()
    remote = 'remote:\n  - id: primary\n    address: "127.0.0.1@9"\nzone:\n'
    (knotd.directory / "knot.conf").write_text(
        text.replace("zone:\n", remote, 1).replace("    dnssec-signing: off", "    master: primary")
    )
    knotd.start()
    with pytest.raises(BackendMisconfigured, match="not its primary"):
        await opened(knotd)


@pytest.mark.parametrize("client", [Client.LIBKNOT, Client.KNOTC])
@pytest.mark.parametrize("setting", ["journal-content: none", "zonefile-load: difference-no-serial"])
@pytest.mark.parametrize("place", ["template", "zone"])
async def test_a_knotd_that_would_forget_what_it_is_given_is_a_misconfiguration(
    start: Start, opened: Open, client: Client, setting: str, place: str
) -> None:
    knotd = start()
    configuration = knotd.directory / "knot.conf"
    item = setting.partition(":")[0]
    lines = [line for line in configuration.read_text().splitlines() if place == "zone" or f"{item}:" not in line]
    ahead = "    acl: transfer" if place == "template" else "    dnssec-signing: off"
    lines.insert(lines.index(ahead) + 1, f"    {setting}")
    text = "\n".join([*lines, ""])
    if item == "zonefile-load":
        # which knotd wants for that
        text = text.replace("journal-content: changes", "journal-content: all")
    # even if the zone file is written at once: that is after the commit was answered
    for sync in ("zonefile-sync: -1", "zonefile-sync: 0"):
        configuration.write_text(text.replace("zonefile-sync: -1", sync))
        knotd.restart()
        forgets = f"forgets what is changed in {PARENT}.*`{setting}` cannot be used"
        with pytest.raises(BackendMisconfigured, match=forgets):
            await opened(knotd, client=client)


@pytest.mark.parametrize("sync", [-1, 0, 60])
@pytest.mark.parametrize("load", ["whole", "difference"])
async def test_whatever_else_knotd_does_with_zone_files_it_keeps_what_it_is_given(
    start: Start, opened: Open, load: str, sync: int
) -> None:
    knotd = start()
    configuration = knotd.directory / "knot.conf"
    text = configuration.read_text().replace("zonefile-load: difference", f"zonefile-load: {load}")
    configuration.write_text(text.replace("zonefile-sync: -1", f"zonefile-sync: {sync}"))
    knotd.restart()
    backend = await opened(knotd)
    for change in (CHANGE, Change(CHANGE.after, CHANGE.before), CHANGE):
        await backend.write([change])
        knotd.kill()
        knotd.start()
        assert await backend.verify([change]) == ()


async def test_a_missing_knotc_is_a_misconfiguration(start: Start, opened: Open) -> None:
    with pytest.raises(BackendMisconfigured, match="cannot be run"):
        await opened(start(), client=Client.KNOTC, knotc="/nonexistent/knotc")


async def test_delegations_below_others_are_found_when_somebody_else_makes_them(start: Start, opened: Open) -> None:
    knotd = start()
    backend = await opened(knotd, rescan=1)
    child = generated(PARENT, 0).child
    assert (await backend.read(child)).nested == ()
    knotd.transaction(("set", f"x.{names.to_text(child)}", "60", "NS", "ns.elsewhere.test."))
    for _ in range(50):
        if nested := (await backend.read(child)).nested:
            break
        await asyncio.sleep(0.1)
    assert nested == (names.from_text(f"x.child0.{PARENT}"),)


async def test_a_listing_does_not_hold_the_socket(start: Start, opened: Open) -> None:
    backend = await opened(start())
    listing = backend.children()
    await anext(listing)
    await backend.write([CHANGE])
    assert await backend.verify([CHANGE]) == ()
    await listing.aclose()


async def test_fifty_changes_at_once_are_much_faster_than_one_by_one(start: Start, opened: Open) -> None:
    backend = await opened(start())
    children = [names.from_text(f"many{i}.{PARENT}") for i in range(50)]
    changes = [
        Change(Delegation(each), Delegation(each, (names.from_text("ns.elsewhere.test."),))) for each in children
    ]
    began = time.perf_counter()
    for change in changes[:10]:
        await backend.write([change])
    one_by_one = (time.perf_counter() - began) / 10
    began = time.perf_counter()
    await backend.write(changes[10:])
    assert time.perf_counter() - began < 10 * one_by_one
