"""The adapter `powerdns` where PowerDNS or what stands before it hides something: serial numbers, records that are
switched off, and a DNS service that shows other content than the API."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lab.daemons.pdns import PowerDns
from lab.zones import PARENT, ParentZone
from powerdns_backend import child, ds, held, inside, make_backend, plain, switched_off
from zonecut.net.endpoint import Endpoint
from zonecut.plugin import BackendConflict, Change
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.rrset import RRset
from zonecut_powerdns.backend import PowerDnsBackend
from zonecut_powerdns.queries import Queries


@pytest.fixture
def pdns(tmp_path: Path) -> Iterator[PowerDns]:
    with PowerDns(tmp_path / "pdns", ParentZone(PARENT, delegations=3)) as pdns:
        yield pdns


@asynccontextmanager
async def opened(pdns: PowerDns, dns: str | None = None) -> AsyncIterator[PowerDnsBackend]:
    backend = make_backend(pdns, dns=dns)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


async def carried_out(backend: PowerDnsBackend, before: Delegation, after: Delegation) -> None:
    await backend.write([Change(before, after)])
    assert await backend.verify([Change(before, after)]) == ()


def added(before: Delegation, tag: int) -> Delegation:
    return Delegation.of(before.child, [*before.records, RR(before.child, RRType.DS, ds(tag))])


# The serial number


@pytest.mark.parametrize("way", ["INCREASE", "DEFAULT", "EPOCH", "INCEPTION-INCREMENT", "OFF", "SOA-EDIT", "NONSENSE"])
async def test_the_serial_number_rises_with_every_change(pdns: PowerDns, way: str) -> None:
    pdns.api("PUT", body={"soa_edit_api": way})
    async with opened(pdns) as backend:
        before = await held(backend, "child0")
        for tag in range(3):
            was, after = pdns.serial(), added(before, tag)
            await carried_out(backend, before, after)
            assert 0 < (pdns.serial() - was) % 2**32 < 2**31
            before = after
        assert backend.remarks() == []


async def test_a_serial_number_beyond_the_clock_s_does_not_fall(pdns: PowerDns) -> None:
    pdns.set_rrset(PARENT, "SOA", [f"ns1.{PARENT} hostmaster.{PARENT} 2026112901 3600 900 604800 300"])
    pdns.api("PUT", body={"soa_edit_api": "EPOCH"})
    async with opened(pdns) as backend:
        was, before = pdns.serial(), await held(backend, "child0")
        await carried_out(backend, before, added(before, 1))
        assert 0 < (pdns.serial() - was) % 2**32 < 2**31


async def test_it_rises_also_after_the_zone_was_loaded_anew(pdns: PowerDns) -> None:
    async with opened(pdns) as backend:
        before = await held(backend, "child0")
        await carried_out(backend, before, added(before, 1))
        pdns.pdnsutil("delete-zone", PARENT)
        pdns.pdnsutil("load-zone", PARENT, pdns.zone_file(PARENT))
        deadline = time.monotonic() + 10
        while await held(backend, "child0") != before:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        was = pdns.serial()
        await carried_out(backend, before, added(before, 2))
        assert pdns.serial() > was
        was = pdns.serial()
        rrset = RRset(child("_dsync"), 66, 60, (bytes.fromhex("00ff02000100"),))
        pdns.api("PUT", body={"soa_edit_api": "OFF"})
        await backend.replace_rrsets([], [rrset])
        assert pdns.serial() > was


# Records that are switched off


async def test_records_that_were_added_switched_off_since_the_last_look_stay(pdns: PowerDns) -> None:
    """By name the API does not show them, so that nothing differs from what was read."""
    async with opened(pdns) as backend:
        await carried_out(backend, Delegation(child("new")), inside("new"))
        new, server = f"new.{PARENT}", f"ns1.new.{PARENT}"
        pdns.set_rrset(new, "NS", [server, "off.elsewhere.test."], disabled=["off.elsewhere.test."])
        pdns.set_rrset(server, "AAAA", ["2610::9"], disabled=["2610::9"])
        off = {(new, "NS", "off.elsewhere.test."), (server, "AAAA", "2610::9")}
        assert switched_off(pdns) == off
        before, after = await held(backend, "new"), plain("new", "ns2.elsewhere.test.")
        await carried_out(backend, before, after)
        assert switched_off(pdns) == off
        await carried_out(backend, after, Delegation(after.child))
        assert switched_off(pdns) == off


async def test_our_own_publication_keeps_what_was_switched_off_since_the_last_look(pdns: PowerDns) -> None:
    async with opened(pdns) as backend:
        place, content = f"_dsync.{PARENT}", "\\# 6 00ff02000200"
        pdns.set_rrset(place, "TYPE66", [content], disabled=[content])
        wanted = RRset(child("_dsync"), 66, 60, (bytes.fromhex("00ff02000100"),))
        await backend.replace_rrsets([], [wanted])
        assert switched_off(pdns) == {(place, "TYPE66", content)}
        await backend.replace_rrsets([wanted], [])
        assert switched_off(pdns) == {(place, "TYPE66", content)}


# A DNS service that shows other content


class Relay:
    """Passes questions over TCP on to a server; as a cache, it keeps the first answer to each for good."""

    def __init__(self, server: str, *, caches: bool) -> None:
        host, _, port = server.rpartition(":")
        self._server = host, int(port)
        self._caches = caches
        self._kept: dict[bytes, bytes] = {}
        self.questions = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, to_server = await asyncio.open_connection(*self._server)
        try:
            while True:
                question = await _message(reader)
                self.questions += 1
                answer = self._kept.get(question[2:])
                if answer is None:
                    to_server.write(len(question).to_bytes(2) + question)
                    answer = (await _message(upstream))[2:]
                    if self._caches:
                        self._kept[question[2:]] = answer
                writer.write((len(answer) + 2).to_bytes(2) + question[:2] + answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            to_server.close()
            writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))


@asynccontextmanager
async def relayed(server: str, *, caches: bool) -> AsyncIterator[tuple[str, Relay]]:
    relay = Relay(server, caches=caches)
    async with await asyncio.start_server(relay.handle, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        yield f"127.0.0.1:{port}", relay


async def test_behind_a_cache_changes_go_on_and_nobody_s_edit_is_overwritten(pdns: PowerDns) -> None:
    async with relayed(pdns.server, caches=True) as (address, _), opened(pdns, address) as backend:
        before = await held(backend, "child0")
        for tag in range(3):
            after = added(before, tag)
            await carried_out(backend, before, after)
            before = after
        (remark,) = backend.remarks()
        assert f"the DNS service at 127.0.0.1 port {address.rpartition(':')[2]} shows something else" in remark
        assert "leave it out" in remark
        pdns.set_rrset(f"child0.{PARENT}", "DS", [f"99 13 2 {'ab' * 32}"])
        with pytest.raises(BackendConflict):
            await backend.write([Change(before, added(before, 77))])
        assert {each[:2] for each in (await held(backend, "child0")).ds} == {b"\0\x63"}


async def test_an_edit_before_our_first_change_is_not_overwritten_behind_a_cache(pdns: PowerDns) -> None:
    async with relayed(pdns.server, caches=True) as (address, _), opened(pdns, address) as backend:
        before = await held(backend, "child0")
        # the relay has an answer of before, since somebody asked
        await Queries(names.from_text(PARENT), Endpoint.parse(address), 5).delegations([before.child])
        pdns.set_rrset(f"child0.{PARENT}", "DS", [f"99 13 2 {'ab' * 32}"])
        with pytest.raises(BackendConflict):
            await backend.write([Change(before, added(before, 77))])


async def test_another_server_s_content_is_found_at_the_start(pdns: PowerDns, tmp_path: Path) -> None:
    with PowerDns(tmp_path / "other", ParentZone(PARENT, delegations=3)) as other:
        other.set_rrset(f"child0.{PARENT}", "NS", ["ns.elsewhere.test."])
        async with opened(pdns, other.server) as backend:
            (remark,) = backend.remarks()
            assert f"of child0.{PARENT} than the API" in remark
            before = await held(backend, "child1")
            await carried_out(backend, before, added(before, 1))


async def test_a_dns_service_that_shows_what_was_written_is_asked(pdns: PowerDns) -> None:
    async with relayed(pdns.server, caches=False) as (address, relay), opened(pdns, address) as backend:
        before = await held(backend, "child0")
        for tag in range(3):
            was, after = relay.questions, added(before, tag)
            await carried_out(backend, before, after)
            assert relay.questions > was
            before = after
        assert backend.remarks() == []
