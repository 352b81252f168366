"""What a person is told to do, and a zone as it was transferred last."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import ValidationError

from zonecut.plugin import BackendContext, BackendUnavailable, Change, Reading
from zonecut.plugin.registry import adapters, create_manager
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut.protocol.rrset import ResourceRecord, RRset
from zonecut_bind import ManualOptions
from zonecut_bind.increments import Difference
from zonecut_bind.manual.backend import ManualBackend
from zonecut_bind.manual.nsupdate import rrsets_text
from zonecut_bind.mirror import Mirror
from zonecut_bind.transfer import Transfer

ZONE = names.from_text("parent.example.")
CHILD = names.from_text("child.parent.example.")
HOST = names.from_text("ns1.child.parent.example.")
OTHER = names.from_text("ns.other.example.")
BEFORE = Delegation.of(CHILD, [RR(CHILD, RRType.NS, OTHER), RR(CHILD, RRType.DS, b"\0\1\x0d\2" + b"\xab" * 32)])
AFTER = Delegation.of(CHILD, [RR(CHILD, RRType.NS, HOST), RR(HOST, RRType.A, b"\x0b\0\0\1")])


def to_do(before: Delegation, after: Delegation) -> str | None:
    context = BackendContext(ZONE, Ttls(ns=7200, ds=1800, glue=900))
    return ManualBackend(context, ManualOptions()).by_hand([Change(before, after)])


def test_what_is_to_be_done_is_input_of_nsupdate_which_does_nothing_where_the_zone_holds_something_else() -> None:
    assert to_do(BEFORE, AFTER) == (
        "zone parent.example.\n"
        "prereq yxrrset child.parent.example. IN NS ns.other.example.\n"
        f"prereq yxrrset child.parent.example. IN DS 1 13 2 {'AB' * 32}\n"
        "update delete child.parent.example. IN NS\n"
        "update delete child.parent.example. IN DS\n"
        "update delete ns1.child.parent.example. IN A\n"
        "update delete ns1.child.parent.example. IN AAAA\n"
        "update add child.parent.example. 7200 IN NS ns1.child.parent.example.\n"
        "update add ns1.child.parent.example. 900 IN A 11.0.0.1\n"
        "send\n"
    )


def test_a_name_that_nsupdate_would_not_take_is_let_through() -> None:
    server = names.from_text("_ns.other.example.")
    lines = to_do(Delegation(CHILD), Delegation(CHILD, (server,)))
    assert lines is not None
    assert lines.splitlines()[1] == "check-names no"


def test_types_of_our_time_are_told_by_number() -> None:
    target = names.from_text("updater.parent.example.")
    dsync = RRset(names.from_text("_dsync.parent.example."), RRType.DSYNC, 60, (b"\0\xff\2\x14\xea" + target,))
    assert rrsets_text(ZONE, (), (dsync,)).splitlines()[1:-1] == [
        "prereq nxrrset _dsync.parent.example. IN TYPE66",
        f"update add _dsync.parent.example. 60 IN TYPE66 \\# {len(dsync.rdatas[0])} {dsync.rdatas[0].hex().upper()}",
    ]


def test_the_adapter_registers_under_its_name_and_says_what_is_wrong_with_its_options() -> None:
    assert adapters(create_manager())["manual"].options is ManualOptions
    assert ManualOptions().tsig is None
    assert ManualOptions(tsig=Path("/etc/key")).tsig == Path("/etc/key")
    for options in ({"tsig": "key"}, {"look": 0}, {"server": "ns.example:53"}, {"batch_octets": 512}):
        with pytest.raises(ValidationError):
            ManualOptions.model_validate(options)


class _Transfer(Transfer):
    """Of a zone that a test has."""

    def __init__(
        self, serial: int, records: Sequence[ResourceRecord], differences: Sequence[Difference] | None = None
    ) -> None:
        self.serial, self.records, self.differences = serial, records, differences

    async def since(self, soa: ResourceRecord) -> Sequence[Difference] | None:
        return self.differences

    async def everything(self) -> AsyncGenerator[Sequence[ResourceRecord], None]:
        for each in self.records:
            yield [each]


def record(owner: str, rtype: RRType, rdata: bytes) -> ResourceRecord:
    return ResourceRecord(names.from_text(f"{owner}.parent.example." if owner else "parent.example."), rtype, 60, rdata)


def version(serial: int) -> ResourceRecord:
    return record("", RRType.SOA, b"\0\0" + serial.to_bytes(4) + bytes(16))


def test_a_mirror_follows_differences_and_is_made_anew_where_one_does_not_fit() -> None:
    old, new = record("child", RRType.NS, HOST), record("child", RRType.NS, OTHER)
    fits = Difference([version(7), old], [version(8), new])
    misfit = Difference([version(8), old], [version(9)])
    transfers = iter(
        (
            _Transfer(7, [version(7), old]),
            _Transfer(8, [], [fits]),
            _Transfer(9, [], [misfit]),
            _Transfer(9, [version(9), old, new]),
            _Transfer(10, [], None),
            _Transfer(10, [version(10)]),
        )
    )

    async def look() -> None:
        with closing(Mirror(ZONE, lambda: next(transfers), 300)) as mirror:
            for serial, ns in ((7, [HOST]), (8, [OTHER]), (9, sorted((HOST, OTHER))), (10, [])):
                await mirror.refresh(serial)
                assert list(mirror.read(CHILD).delegation.ns) == ns
        assert next(transfers, None) is None

    asyncio.run(look())


def test_a_mirror_shows_delegations_their_place_and_who_names_a_host() -> None:
    records = [
        version(7),
        record("", RRType.NS, HOST),
        record("ns1.child", RRType.A, b"\x0b\0\0\1"),
        record("x.child", RRType.NS, OTHER),
        record("child", RRType.NS, HOST),
        record("child\\001", RRType.NS, OTHER),
        record("child-2", RRType.NS, HOST),
        record("a.b", RRType.NS, OTHER),
        record("updater", RRType.A, b"\x0b\0\0\2"),
    ]

    async def look() -> None:
        made: list[_Transfer] = []

        def transfer() -> Transfer:
            made.append(_Transfer(7, records))
            return made[-1]

        mirror = Mirror(ZONE, transfer, 300)
        with pytest.raises(BackendUnavailable, match="has not been transferred yet"):
            mirror.read(CHILD)
        for _ in range(2):
            await mirror.refresh(7)
        assert len(made) == 1, "the serial is the same"
        below = names.from_text("x.child.parent.example.")
        held = Delegation.of(CHILD, [RR(CHILD, RRType.NS, HOST), RR(HOST, RRType.A, b"\x0b\0\0\1")])
        assert mirror.read(CHILD) == Reading(held, None, (below,))
        assert mirror.read(below) == Reading(Delegation(below, (OTHER,)), CHILD)
        between = names.from_text("b.parent.example.")
        assert mirror.read(between).nested == (names.from_text("a.b.parent.example."),)
        assert mirror.naming(HOST, 2) == (ZONE, names.from_text("child.parent.example."))
        assert mirror.topmost_cut([names.from_text("b.parent.example."), CHILD, below]) == CHILD
        records.append(record("child", RRType.NS, OTHER))
        await mirror.refresh(7)
        assert len(mirror.read(CHILD).delegation.ns) == 1
        await mirror.refresh(8)
        assert len(mirror.read(CHILD).delegation.ns) == 2
        asked = len(made)
        await mirror.refresh(7, asyncio.get_running_loop().time() + 1)
        assert len(made) == asked + 1, "who needs proof has it made anew"
        mirror.close()

    asyncio.run(look())


class _Server:
    """A server of one zone that transfers what a test says, when it says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.serial = 6
        self.answers = asyncio.Event()
        self.answers.set()
        self.wholes = 0
        self.trouble: BackendUnavailable | None = None

    def mirror(self, patience: float = 1.5) -> Mirror:
        return Mirror(ZONE, lambda: _Served(self), 300, patience=patience, monotonic=lambda: self.now)


class _Served(Transfer):
    def __init__(self, server: _Server) -> None:
        self.server = server
        self.serial = server.serial

    async def since(self, soa: ResourceRecord) -> Sequence[Difference] | None:
        return None

    async def everything(self) -> AsyncGenerator[Sequence[ResourceRecord], None]:
        self.server.wholes += 1
        await self.server.answers.wait()
        if self.server.trouble:
            raise self.server.trouble
        yield [version(self.server.serial), record("child", RRType.NS, names.from_text(f"ns{self.server.serial}."))]


def shown(mirror: Mirror) -> str:
    (server,) = mirror.read(CHILD).delegation.ns
    return names.to_text(server)


async def test_a_zone_that_was_put_back_is_transferred_anew_at_once_and_that_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = _Server()
    with closing(server.mirror()) as mirror:
        await mirror.refresh(6)
        server.serial, server.now = 1, 60.0
        await mirror.refresh(1)
        assert shown(mirror) == "ns1."
        assert server.wholes == 2
        (told,) = caplog.messages
        assert "parent.example. went back from 6 to 1: it was put back, or one of several servers lags" in told


async def test_a_server_that_lags_behind_the_other_one_costs_no_transfer_at_each_look() -> None:
    server = _Server()
    with closing(server.mirror()) as mirror:
        await mirror.refresh(6)
        for look in range(600):
            # whoever is asked for the serial lags at every second look; who transfers does not
            server.now = float(look)
            await mirror.refresh(5 if look % 2 else 6)
            assert shown(mirror) == "ns6."
        assert server.wholes < 12
        server.now += 600
        server.serial = 5
        await mirror.refresh(5)
        assert shown(mirror) == "ns5.", "later on, a serial that goes back counts at once again"


async def test_a_serial_that_was_asked_for_before_the_last_transfer_did_not_go_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = _Server()
    with closing(server.mirror()) as mirror:
        server.now = 2.0
        await mirror.refresh(6)
        await mirror.refresh(5, asked=1.0)
        assert server.wholes == 1
        assert caplog.messages == []


async def test_nobody_waits_for_a_transfer_that_stands_still_and_it_goes_on_for_whoever_asks_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = _Server()
    with closing(server.mirror(patience=0.05)) as mirror:
        await mirror.refresh(6)
        server.serial = 7
        server.answers.clear()
        outcomes = await asyncio.gather(*(mirror.refresh(7) for _ in range(5)), return_exceptions=True)
        assert {type(each) for each in outcomes} == {BackendUnavailable}
        assert all("takes longer than an answer may wait" in str(each) for each in outcomes)
        assert shown(mirror) == "ns6.", "what it has is of then, and is there"
        await mirror.refresh(6)
        server.answers.set()
        await mirror.refresh(7)
        assert shown(mirror) == "ns7."
        assert server.wholes == 2, "one transfer for all of them"
        server.serial, server.trouble = 8, BackendUnavailable("the server sent a transfer that is none")
        for _ in range(2):
            with pytest.raises(BackendUnavailable, match="transfer that is none"):
                await mirror.refresh(8)
        await mirror.refresh(7)
        assert shown(mirror) == "ns7."
        assert caplog.messages == [
            "parent.example. cannot be brought up to date: the server sent a transfer that is none"
        ]


async def test_who_needs_proof_waits_as_long_as_the_whole_zone_takes() -> None:
    server = _Server()

    async def transferred(after: float, seconds: float) -> None:
        await asyncio.sleep(after)
        server.now += seconds
        server.answers.set()

    with closing(server.mirror(patience=0.05)) as mirror:
        server.answers.clear()
        await asyncio.gather(mirror.refresh(6, patiently=True), transferred(0.0, 3.0))
        server.answers.clear()
        server.serial = 7
        with pytest.raises(BackendUnavailable, match="takes longer"):
            await mirror.refresh(7)
        with pytest.raises(BackendUnavailable, match="takes longer"):
            await mirror.refresh(7)
        await asyncio.gather(mirror.refresh(7, server.now), transferred(0.2, 0.0))
        assert server.wholes == 2
