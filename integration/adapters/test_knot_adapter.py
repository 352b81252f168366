"""The adapter `knot` and the traps of a real knotd: transactions left open, failing commits, records it cannot show."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lab.daemons.knotd import Knotd
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
from zonecut_knot.note import Note
from zonecut_knot.transaction import Transactions
zone, path, state, moment = sys.argv[1:]
module = library.load()

class Dying(LibraryControl):
    def run(self, commands):
        if moment == "begun" and commands[0].rtype == "TXT":
            os.kill(os.getpid(), signal.SIGKILL)
        if moment == "unmarked" and commands[0].name == "unset" and commands[0].rtype == "TXT":
            super().run(commands[:1])
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(commands)

connect = lambda: Dying(module, Path(path), zone, 5)
note = Note(Path(state) if state else None, zone, Path(path))
with Transactions(connect, names.from_text(zone), 5, note).begin() as transaction:
    transaction.read([])
    transaction.change([Command("set", "new." + zone, "60", "TYPE2", "half.elsewhere.test.")])
    transaction.change([Command("set", "new." + zone, "60", "TYPE2", "ns1.new." + zone)])
    if moment == "marked":
        os.kill(os.getpid(), signal.SIGKILL)
    transaction.commit()
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

        async def start(knotd: Knotd, *, state: bool = True, **options: Any) -> KnotBackend:
            model = KnotOptions(**{"socket": knotd.socket, "timeout": 2, **options})
            context = BackendContext(names.from_text(PARENT), TTLS, knotd.directory if state else None)
            backend = KnotBackend(context, model)
            stack.push_async_callback(backend.close)
            await backend.open()
            return backend

        yield start


async def leave_open(knotd: Knotd, moment: str, *, state: bool = True) -> None:
    """Have a zonecut die in a transaction: just `begun`, `marked` as ours, or `unmarked` for its commit."""
    argv = (PARENT, str(knotd.socket), str(knotd.directory) if state else "", moment)
    dead = await asyncio.create_subprocess_exec(sys.executable, "-c", _PREDECESSOR, *argv)
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


@pytest.mark.parametrize("client", [Client.LIBKNOT, Client.KNOTC])
@pytest.mark.parametrize("moment", ["begun", "marked", "unmarked"])
async def test_a_transaction_that_a_killed_zonecut_left_is_ended(
    start: Start, opened: Open, client: Client, moment: str
) -> None:
    knotd = start()
    await leave_open(knotd, moment)
    began = time.monotonic()
    backend = await opened(knotd, client=client, timeout=4)
    assert time.monotonic() - began < 3
    assert not transaction(knotd)
    assert (await backend.read(NEW)).delegation == Delegation(NEW)
    await backend.write([CHANGE])
    assert await backend.verify([CHANGE]) == ()
    assert "half.elsewhere" not in knotd.axfr().to_text()


@pytest.mark.parametrize("moment", ["begun", "unmarked"])
async def test_what_cannot_be_proved_to_be_ours_is_waited_for(start: Start, opened: Open, moment: str) -> None:
    """Where zonecut may keep nothing, some microseconds of a crash look like a person at work."""
    knotd = start()
    await leave_open(knotd, moment, state=False)
    backend = await opened(knotd, state=False)
    assert transaction(knotd)
    with pytest.raises(BackendUnavailable, match="somebody else's transaction"):
        await backend.write([CHANGE])
    knotd.knotc(("zone-abort", PARENT))
    await backend.write([CHANGE])


@pytest.mark.parametrize("moment", ["begun", "unmarked"])
async def test_what_was_left_open_proves_nothing_in_the_next_knotd(start: Start, opened: Open, moment: str) -> None:
    """It ended with the knotd that had it: a person may be at work on the same records now."""
    knotd = start()
    await leave_open(knotd, moment)
    knotd.stop()
    knotd.start()
    theirs = () if moment == "begun" else (("zone-set", PARENT, "new", "7200", "NS", "ns.elsewhere.test."),)
    knotd.knotc(("zone-begin", PARENT), *theirs)
    backend = await opened(knotd)
    with pytest.raises(BackendUnavailable, match="somebody else's transaction"):
        await backend.write([CHANGE])
    assert transaction(knotd)


@pytest.mark.parametrize("client", [Client.LIBKNOT, Client.KNOTC])
@pytest.mark.parametrize(
    ("records", "named"),
    [
        ([], "it changes nothing yet"),
        ([("set", "new", "7200", "NS", "ns1.new")], rf"new\.{PARENT} NS"),
        (
            [("set", "new", "7200", "NS", "ns1.new"), ("unset", "child0", "DS"), ("unset", "child1", "DS")],
            rf"child0\.{PARENT} DS, child1\.{PARENT} DS, new\.{PARENT} NS",
        ),
        ([("set", "_dsync", "60", "TYPE66", r"\# 6 00ff02000100")], rf"_dsync\.{PARENT} "),
    ],
)
async def test_somebody_elses_transaction_is_waited_for_and_never_ended(
    start: Start, opened: Open, records: list[tuple[str, ...]], named: str, client: Client
) -> None:
    """Also one that does just what we are about to do, or nothing yet: who began it is about to go on."""
    knotd = start()
    backend = await opened(knotd, client=client)
    # whatever we were about to do before proves nothing now
    await backend.write([CHANGE])
    await backend.write([Change(CHANGE.after, CHANGE.before)])
    knotd.knotc(("zone-begin", PARENT), *((f"zone-{command}", PARENT, *words) for command, *words in records))
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match=rf"somebody else's transaction .*{named}.* `knotc zone-abort"):
            await backend.write([CHANGE])
    late = await opened(knotd, client=client)
    assert transaction(knotd)
    assert (await late.read(NEW)).delegation == Delegation(NEW)
    knotd.knotc(("zone-set", PARENT, "theirs", "7200", "NS", "ns.elsewhere.test."), ("zone-commit", PARENT))
    assert (await late.read(names.from_text(f"theirs.{PARENT}"))).delegation.is_delegated


async def test_a_change_goes_on_when_somebody_elses_transaction_ends(start: Start, opened: Open) -> None:
    knotd = start()
    backend = await opened(knotd)
    knotd.knotc(("zone-begin", PARENT), ("zone-set", PARENT, "theirs", "7200", "NS", "ns.elsewhere.test."))
    writing = asyncio.create_task(backend.write([CHANGE]))
    await asyncio.sleep(0.5)
    knotd.knotc(("zone-commit", PARENT))
    await writing
    assert await backend.verify([CHANGE]) == ()
    assert (await backend.read(names.from_text(f"theirs.{PARENT}"))).delegation.is_delegated


async def test_two_zonecuts_take_turns(start: Start, opened: Open) -> None:
    knotd = start()
    one, other = await opened(knotd), await opened(knotd, client=Client.KNOTC)
    for _ in range(5):
        children = [names.from_text(f"by{i}.{PARENT}") for i in range(2)]
        changes = [
            Change(Delegation(each), Delegation(each, (names.from_text("ns.elsewhere.test."),))) for each in children
        ]
        await asyncio.gather(one.write(changes[:1]), other.write(changes[1:]))
        assert await one.verify(changes) == ()
        back = [Change(change.after, change.before) for change in changes]
        await asyncio.gather(one.write(back[1:]), other.write(back[:1]))


async def test_a_zone_that_is_not_loaded_holds_no_absence(start: Start, opened: Open) -> None:
    knotd = start()
    backend = await opened(knotd)
    gone = generated(PARENT, 0)
    file = knotd.zone_file(PARENT)
    text = file.read_text()
    knotd.kill()
    file.write_text(text + "this is ( no zone\n")
    knotd.start_lacking_zones()
    for operation in (
        lambda: backend.read(gone.child),
        lambda: backend.read(NEW),
        lambda: backend.write([CHANGE]),
        lambda: backend.write([Change(gone, Delegation(gone.child))]),
        lambda: backend.verify([Change(gone, Delegation(gone.child))]),
        lambda: backend.read_rrsets([names.from_text(f"updater.{PARENT}")]),
        lambda: anext(backend.children()),
        lambda: opened(knotd),
    ):
        with pytest.raises(BackendUnavailable, match=f"has not loaded {PARENT}"):
            await operation()
    assert not transaction(knotd)
    knotd.kill()
    file.write_text(text)
    knotd.start()
    assert (await backend.read(gone.child)).delegation == gone


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
@pytest.mark.parametrize(
    "setting", ["journal-content: none", "zonefile-load: difference-no-serial", "zonefile-load: whole"]
)
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
        # which knotd wants for the first, and which does not go with the other
        text = text.replace("journal-content: changes", "journal-content: all")
    # even if the zone file is written at once: that is after the commit was answered
    for sync in ("zonefile-sync: -1", "zonefile-sync: 0"):
        configuration.write_text(text.replace("zonefile-sync: -1", sync))
        knotd.restart()
        forgets = f"forgets what is changed in {PARENT}.*`{setting}` cannot be used"
        with pytest.raises(BackendMisconfigured, match=forgets):
            await opened(knotd, client=client)


def _steps() -> list[Change]:
    """Every kind of change, one after the other, on RRsets whose TTLs are not ours."""
    child = generated(PARENT, 0).child
    ns = [names.from_text(f"ns{i}.child0.{PARENT}") for i in range(1, 4)]
    ds = [bytes((0, tag, 13, 2)) + bytes(32) for tag in (1, 2)]
    address, other = b"\x0b\0\0\x07", b"\x0b\0\0\x08"

    def delegation(servers: list[bytes], digests: list[bytes], *glue: tuple[bytes, bytes]) -> Delegation:
        return Delegation.of(
            child,
            [
                *(RR(child, RRType.NS, server) for server in servers),
                *(RR(child, RRType.DS, digest) for digest in digests),
                *(RR(owner, RRType.A, octets) for owner, octets in glue),
            ],
        )

    states = [
        generated(PARENT, 0),
        delegation(ns[:2], [], (ns[0], address), (ns[1], address)),
        delegation(ns[:2], ds[:1], (ns[0], address), (ns[1], address)),
        delegation(ns[:2], ds, (ns[0], address), (ns[1], address)),
        delegation(ns, ds, (ns[0], address), (ns[0], other), (ns[1], address), (ns[2], address)),
        delegation(ns[1:], ds[1:], (ns[1], address), (ns[2], other)),
        delegation(ns[1:2], ds[1:], (ns[1], address)),
        Delegation(child),
        generated(PARENT, 0),
    ]
    return [Change(before, after) for before, after in pairwise(states)]


@pytest.mark.parametrize("sync", [-1, 0, 60])
@pytest.mark.parametrize(
    ("load", "journal"),
    [("whole", "changes"), ("difference", "changes"), ("difference", "all"), ("none", "all")],
)
async def test_after_every_change_the_zone_is_one_that_loads(
    start: Start, opened: Open, load: str, journal: str, sync: int
) -> None:
    """Whatever knotd does with zone files and its journal, it keeps what it is given, over a kill and over a stop."""
    knotd = start()
    configuration = knotd.directory / "knot.conf"
    text = configuration.read_text().replace("journal-content: changes", f"journal-content: {journal}")
    # first into the journal, for one that loads no zone file
    for place in ("difference", load):
        text = text.replace("zonefile-load: difference", f"zonefile-load: {place}")
        configuration.write_text(text.replace("zonefile-sync: -1", f"zonefile-sync: {sync}"))
        knotd.restart()
    child = names.to_text(generated(PARENT, 0).child)
    backend = await opened(knotd)
    owner = names.from_text(f"_dsync.{PARENT}")
    announced: tuple[RRset, ...] = ()
    for number, change in enumerate(_steps()):
        # somebody has TTLs of their own
        for command, ttl in (("NS", "60"), ("DS", "61"), ("A", "62")):
            _retime(knotd, child, command, ttl)
        await backend.write([change])
        publish = (
            RRset(owner, 66, 60 + number // 2, (bytes.fromhex("00ff02000100"), bytes((0, 255, 2, number, 1, 0)))),
        )
        await backend.replace_rrsets(announced, publish)
        announced = publish
        held = knotd.axfr().to_text()
        (knotd.kill if number % 2 else knotd.stop)()
        knotd.start()
        assert knotd.axfr().to_text() == held
        assert await backend.verify([change]) == ()
        assert await backend.read_rrsets([owner]) == announced


def _retime(knotd: Knotd, child: str, rtype: str, ttl: str) -> None:
    """As a person does it who knows Knot: the RRsets of this type at and below the child are made anew."""
    zone = knotd.axfr()
    owners = [child, *(f"ns{i}.{child}" for i in range(1, 4))]
    for owner in owners:
        found = zone.get_rdataset(owner, rtype)
        if found is not None:
            knotd.transaction(
                ("unset", owner, rtype),
                *(("set", owner, ttl, rtype, rdata.to_text(origin=zone.origin, relativize=False)) for rdata in found),
            )


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


@pytest.mark.parametrize("signing", [Signing.NONE, Signing.IN_PLACE])
async def test_what_was_removed_stays_away_though_the_journal_was_merged(
    start: Start, opened: Open, signing: Signing
) -> None:
    knotd = start(signing=signing)
    backend = await opened(knotd)
    now = Delegation(NEW)
    for number in range(30):
        after = Delegation.of(NEW, [RR(NEW, RRType.NS, names.from_text(f"{each}-{number}.test.")) for each in "ab"])
        await backend.write([Change(now, after)])
        now = after
    knotd.kill()
    knotd.start()
    assert (await backend.read(NEW)).delegation == now
