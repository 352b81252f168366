"""The adapter `rfc2136` against real servers, and before one that does not keep to prerequisites."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bind_backend import FULL, TTLS, child, delegation
from lab.daemons.knotd import Knotd
from lab.daemons.named import Named
from lab.daemons.pdns import PowerDns
from lab.daemons.server import Add, Delete
from lab.ports import free_port
from lab.process import until
from lab.scripted.careless import Carelessness, CarelessServer
from lab.standing import StandingServer
from lab.zonecut import CHECKS_OFF, CommandFailed, ZonecutProcess
from lab.zones import PARENT, ParentZone, Signing
from signer import Signer
from world import World
from zonecut.plugin import (
    BackendConflict,
    BackendContext,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
)
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.envelope import Envelope
from zonecut.protocol.rrset import RRset
from zonecut_bind import Rfc2136Options
from zonecut_bind.anyserver.backend import AnyServerBackend

ZONE = ParentZone(PARENT, delegations=3)
SPARSE = ParentZone(
    PARENT,
    f"""$ORIGIN {PARENT}
$TTL 3600
@ SOA ns1 hostmaster 1 3600 900 604800 300
@ NS ns1
ns1 A 127.0.0.1
child0 NS ns.old.test.
""",
)
"""A zone in which no RRset has two records."""


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@asynccontextmanager
async def opened(
    server: Knotd | Named | PowerDns, at: str | None = None, patience: float = 5.0, rescan: float = 300.0
) -> AsyncIterator[AnyServerBackend]:
    options = Rfc2136Options(server=at or server.server, tsig=server.tsig_file, timeout=patience, rescan=rescan)
    backend = AnyServerBackend(BackendContext(names.from_text(PARENT), TTLS), options)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


@pytest.mark.parametrize("kind", ["knot", "pdns", "bind"])
async def test_servers_that_keep_to_prerequisites_give_no_reason_for_a_remark(
    running: ExitStack, tmp_path: Path, kind: str
) -> None:
    server = _server(kind, tmp_path)
    running.enter_context(server)
    async with opened(server) as backend:
        assert backend.remarks() == ()


@pytest.mark.parametrize(
    ("carelessness", "words"),
    [
        (Carelessness.VALUES, "does not compare what an RRset holds with prerequisites"),
        (Carelessness.ALL, "does not look at prerequisites"),
    ],
)
async def test_what_is_lost_with_a_server_that_drops_prerequisites_is_said_and_nothing_else_is(
    named: Named, carelessness: Carelessness, words: str
) -> None:
    """An edit that was there before our look is a conflict all the same, and what is read back is what is there."""
    with CarelessServer(named.port, named.tsig_key, carelessness) as careless:
        async with opened(named, careless.server) as backend:
            (remark,) = backend.remarks()
            assert words in remark
            assert "what somebody else edits between our look and our write is overwritten" in remark
            before = (await backend.read(child("child0"))).delegation
            others = delegation("child1", ["ns.other.test."])
            good = Change(Delegation(child("new")), FULL)
            named.edit(Delete(f"child1.{PARENT}", "DS"))
            stale = (await backend.read(child("child2"))).delegation
            named.edit(Add(f"child2.{PARENT}", 60, "NS", "ns.by.hand."))
            with pytest.raises(BackendConflict) as conflict:
                await backend.write([good, Change(stale, others), Change(stale, delegation("child2", ["ns.x.test."]))])
            assert child("child2") in conflict.value.children
            assert child("new") not in conflict.value.children
            assert not (await backend.read(child("new"))).delegation.is_delegated
            change = Change(before, delegation("child0", ["ns1"], [7], {"ns1": ["11.1.1.1"]}))
            await backend.write([good, change])
            assert await backend.verify([good, change]) == ()
            assert (await backend.read(child("child0"))).delegation == change.after
            assert await backend.verify([Change(before, before)]) == (child("child0"),)
            with pytest.raises(BackendConflict):
                await backend.write([change])
            assert (await backend.read(child("deep.new"))).enclosing == child("new")
            host = names.from_text(f"ns1.new.{PARENT}")
            address = RRset(host, RRType.A, 60, (b"\x0b\0\0\1",))
            with pytest.raises(BackendRejected, match="lies in the delegation"):
                await backend.read_rrsets([host])
            other = RRset(names.from_text(f"updater.{PARENT}"), RRType.A, 60, address.rdatas)
            await backend.replace_rrsets((), [other])
            with pytest.raises(BackendConflict):
                await backend.replace_rrsets((), [other])


@pytest.mark.parametrize("carelessness", [Carelessness.VALUES, Carelessness.ALL])
async def test_a_server_that_keeps_to_prerequisites_from_now_on_is_trusted_again(
    named: Named, carelessness: Carelessness
) -> None:
    """As after an upgrade, or when what stood before it is gone: it is tried again every `rescan` seconds."""
    with CarelessServer(named.port, named.tsig_key, carelessness) as careless:
        async with opened(named, careless.server, rescan=1) as backend:
            assert backend.remarks() != ()
            careless.carelessness = Carelessness.NONE
            await told_no_more(backend)
            before = (await backend.read(child("child0"))).delegation
            with edited_just_before_the_write(backend, named, "child0"), pytest.raises(BackendConflict):
                await backend.write([Change(before, delegation("child0", ["ns.x.test."]))])


@pytest.mark.parametrize("kind", ["knot", "pdns", "bind"])
async def test_where_nothing_shows_whether_values_are_compared_they_are_stated_all_the_same(
    running: ExitStack, tmp_path: Path, kind: str
) -> None:
    """An RRset of one record does not show whether it is compared as a whole: that is told until there is another."""
    server = _server(kind, tmp_path, SPARSE)
    running.enter_context(server)
    async with opened(server) as backend:
        (remark,) = backend.remarks()
        assert "whether the server at" in remark
        assert "is not known" in remark
        before = (await backend.read(child("child0"))).delegation
        with edited_just_before_the_write(backend, server, "child0"), pytest.raises(BackendConflict) as conflict:
            await backend.write([Change(before, delegation("child0", ["ns.child.test."]))])
        assert conflict.value.children == (child("child0"),)
        assert (await backend.read(child("child0"))).delegation.ns == (names.from_text("ns.operator.test."),)
        await backend.write([Change(Delegation(FULL.child), FULL)])
        assert await backend.verify([Change(FULL, FULL)]) == ()
        await told_no_more(backend)


async def test_a_server_that_is_frozen_when_we_come_is_tried_as_soon_as_it_takes_updates(named: Named) -> None:
    """On what the zone holds then: what was read before has changed meanwhile."""
    named.freeze()
    async with opened(named) as backend:
        assert [words for words in ("takes no UPDATE", "is not known") if words not in "".join(backend.remarks())] == []
        named.thaw()
        for label, edit in (
            ("child0", Add(f"child0.{PARENT}", 60, "NS", "ns.by.hand.")),
            ("child1", Delete(f"child1.{PARENT}")),
        ):
            before = (await backend.read(child(label))).delegation
            named.edit(edit)
            with pytest.raises(BackendConflict):
                await backend.write([Change(before, delegation(label, ["ns.x.test."]))])
        before = (await backend.read(child("child2"))).delegation
        with edited_just_before_the_write(backend, named, "child2"), pytest.raises(BackendConflict):
            await backend.write([Change(before, delegation("child2", ["ns.x.test."]))])
        await told_no_more(backend)
        before = (await backend.read(child("child2"))).delegation
        await backend.write([Change(before, delegation("child2", ["ns.x.test."]))])
        log = (named.directory / "named.log").read_text()
        before = (await backend.read(child("child0"))).delegation
        await backend.write([Change(before, delegation("child0", ["ns.x.test."]))])
        assert (named.directory / "named.log").read_text().count("AXFR started") == log.count("AXFR started")


async def test_a_name_server_typed_with_capitals_takes_nothing_from_the_zone_and_is_named_with_the_cure(
    running: ExitStack, tmp_path: Path
) -> None:
    """Knot compares the octets of what it holds with a prerequisite that it has put in lower case: it never holds."""
    knotd = running.enter_context(Knotd(tmp_path / "knotd", ZONE, ddns=True))
    owner = f"child0.{PARENT}"
    knotd.edit(
        Delete(owner, "NS"), *(Add(owner, 60, "NS", each) for each in ("Ns.Old.Test.", "ns2.old.test.", "ns3.x."))
    )
    async with opened(knotd) as backend:
        assert backend.remarks() == ()
        before = (await backend.read(child("child0"))).delegation
        assert names.from_text("ns.old.test.") in before.ns
        other = (await backend.read(child("child1"))).delegation
        after = Delegation(before.child, before.ns, (), before.glue)
        changes = [Change(before, after), Change(other, delegation("child1", ["ns.x.test."]))]
        with (
            edited_just_before_the_write(backend, knotd, "child1", number=2),
            pytest.raises(BackendConflict) as conflict,
        ):
            await backend.write(changes)
        assert conflict.value.children == (child("child1"),)
        await backend.write([Change(before, after)])
        assert await backend.verify([Change(before, after)]) == ()
        (remark,) = backend.remarks()
        assert f"refuses a prerequisite that states what it holds, {owner} NS ns.old.test., " in remark
        assert "have these name servers written in lower case" in remark
        await backend.write([Change(after, Delegation(after.child, (names.from_text("ns.x.test."),)))])
        assert backend.remarks() == ()


async def test_nobody_waits_long_for_a_transfer_that_stands_still(named: Named) -> None:
    """Neither a child whose delegation only a transfer shows, nor whoever has a turn after this write."""
    with StandingServer(named.port) as standing:
        named.edit(Add(f"deep.empty.{PARENT}", 60, "NS", "ns.other.test."))
        async with opened(named, standing.server) as backend:
            stale = Change(delegation("child0", ["ns.stale.test."]), delegation("child0", ["ns.x.test."]))
            standing.goes_on.clear()
            for work in (backend.read(child("empty")), backend.write([stale])):
                async with asyncio.timeout(2.5):
                    with pytest.raises(BackendUnavailable, match=r"takes longer than 1\.5 s, and the last one took"):
                        await work
            standing.goes_on.set()
            assert not (await backend.read(child("empty"))).delegation.is_delegated
            with pytest.raises(BackendConflict):
                await backend.write([stale])


async def test_an_update_that_knot_did_not_answer_in_an_open_transaction_is_found_when_it_was_carried_out(
    running: ExitStack, tmp_path: Path
) -> None:
    knotd = running.enter_context(Knotd(tmp_path / "knotd", ZONE, ddns=True))
    async with opened(knotd, patience=1.0) as backend:
        change = Change(Delegation(FULL.child), FULL)
        knotd.knotc(("zone-begin", PARENT))
        for operation in (backend.write([change]), backend.verify([change])):
            with pytest.raises(BackendUnavailable, match="transaction open or the zone is frozen") as silent:
                await operation
            assert type(silent.value) is BackendUnavailable
        knotd.knotc(("zone-abort", PARENT))
        for _ in range(50):
            if not await backend.verify([change]):
                break
            await asyncio.sleep(0.1)
        assert (await backend.read(FULL.child)).delegation == FULL


async def test_a_signed_zone_of_powerdns_stays_whole_and_its_serial_rises(running: ExitStack, tmp_path: Path) -> None:
    signed = ParentZone(PARENT, delegations=3, signing=Signing.IN_PLACE)
    pdns = running.enter_context(PowerDns(tmp_path / "pdns", signed, ddns=True))
    async with opened(pdns) as backend:
        serial = pdns.serial()
        before = (await backend.read(child("child0"))).delegation
        above = names.from_text(f"child3.{PARENT}")
        for change in (
            Change(before, delegation("child0", ["ns1", "ns.other.test."], [4], {"ns1": ["11.1.1.1", "2610::1"]})),
            Change(Delegation(FULL.child), FULL),
            Change((await backend.read(child("child1"))).delegation, Delegation(child("child1"))),
            Change(Delegation(above), Delegation.of(above, [RR(above, RRType.NS, names.from_text("ns.other.test."))])),
            Change(FULL, Delegation(FULL.child, FULL.ns, (), FULL.glue)),
        ):
            await backend.write([change])
            assert await backend.verify([change]) == ()
            pdns.verify()
            assert pdns.serial() - serial > 0
            serial = pdns.serial()


@pytest.mark.parametrize("kind", ["knot", "pdns", "bind"])
async def test_a_delegation_beside_an_alias_is_never_taken_for_written(
    running: ExitStack, tmp_path: Path, kind: str
) -> None:
    server = _server(kind, tmp_path)
    running.enter_context(server)
    server.edit(Add(f"alias.{PARENT}", 60, "CNAME", "www.other.test."))
    change = Change(Delegation(child("alias")), delegation("alias", ["ns.other.test."]))
    async with opened(server) as backend:
        if kind == "pdns":
            with pytest.raises(BackendRejected, match=r"alias\.parent\.test\. is an alias \(CNAME\)") as rejected:
                await backend.write([change])
            assert rejected.value.children == (change.child,)
        else:
            await backend.write([change])
        assert await backend.verify([change]) == (change.child,)


async def test_a_key_that_may_not_update_is_told_at_the_start(running: ExitStack, tmp_path: Path) -> None:
    knotd = Knotd(tmp_path / "knotd", ZONE, ddns=True)
    configuration = tmp_path / "knotd" / "knot.conf"
    configuration.write_text(configuration.read_text().replace("[transfer, update]", "[transfer]"))
    running.enter_context(knotd)
    with pytest.raises(BackendMisconfigured, match=r"(BADKEY|NOTAUTH).*an acl with the key and `action: "):
        async with opened(knotd):
            pass


class ByDdns(Knotd):
    """A knotd that zonecut reaches by DNS alone."""

    def __init__(self, directory: Path, *zones: ParentZone) -> None:
        super().__init__(directory, *zones, ddns=True)

    def backend(self) -> dict[str, Any]:
        return {"adapter": "rfc2136", "server": self.server, "tsig": str(self.tsig_file)}


def test_a_child_changes_its_delegation_on_a_knot_that_is_reached_by_dns_alone(tmp_path: Path) -> None:
    signer = Signer.generate("child0")
    publishing = {"target": f"updater.{PARENT}", "addresses": ["127.0.0.1"], "port": 5354, "publish": True}
    with World(tmp_path, server=ByDdns(tmp_path / "server", ZONE), keys=[signer], parents=[publishing]) as world:
        assert world.tcp(signer.fresh()).rcode == "NOERROR"
        world.wait_until_recorded()
        (change,) = world.changes()
        assert (change["state"], change["by_hand"]) == ("applied", None)
        assert len([each for each in world.records(signer.text) if " DS " in each]) == 1
        until(lambda: bool(world.records(f"_dsync.{PARENT}")), timeout=5, what="the receiver is announced")
        with pytest.raises(CommandFailed, match=f"{PARENT} is written by zonecut itself") as wrong:
            world.zonecut.cli("change", "done", str(change["id"]))
        assert wrong.value.exit_status == 2


def test_check_config_says_what_is_lost_without_prerequisites(named: Named, tmp_path: Path) -> None:
    with CarelessServer(named.port, named.tsig_key, Carelessness.VALUES) as careless:
        configuration = {
            "version": 1,
            "store": {"url": f"sqlite:///{tmp_path}/zonecut.db"},
            "receiver": {"listen": [f"127.0.0.1:{free_port()}"]},
            "parents": [
                {
                    "zone": PARENT,
                    "backend": {"adapter": "rfc2136", "server": careless.server, "tsig": str(named.tsig_file)},
                    "checks": CHECKS_OFF,
                }
            ],
        }
        (tmp_path / "zonecut").mkdir()
        zonecut = ZonecutProcess(tmp_path / "zonecut", configuration)
        with pytest.raises(CommandFailed, match="does not compare what an RRset holds with prerequisites"):
            zonecut.cli("check-config", "--strict", json=False)


@contextmanager
def edited_just_before_the_write(
    backend: AnyServerBackend, server: Knotd | Named | PowerDns, label: str, number: int = 1
) -> Iterator[None]:
    """An operator gives a child another name server just before the UPDATE of this number is sent."""
    send, sent = backend._update, itertools.count(1)
    owner = f"{label}.{PARENT}"

    async def update(wire: bytes) -> Envelope:
        if next(sent) == number:
            await asyncio.to_thread(server.edit, Delete(owner, "NS"), Add(owner, 60, "NS", "ns.operator.test."))
        return await send(wire)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "_update", update)
        yield


async def told_no_more(backend: AnyServerBackend) -> None:
    """What was remarked is over, and nobody had to open the zone anew."""
    for _ in range(100):
        if not backend.remarks():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"it is remarked still: {backend.remarks()}")


def _server(kind: str, directory: Path, zone: ParentZone = ZONE) -> Knotd | Named | PowerDns:
    if kind == "knot":
        return Knotd(directory / kind, zone, ddns=True)
    return PowerDns(directory / kind, zone, ddns=True) if kind == "pdns" else Named(directory / kind, zone)
