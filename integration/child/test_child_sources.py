"""A child zone on real servers, read by queries, by transfer, and through the adapter."""

import gc
import os
import socket
import time
import tracemalloc
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from dns.rcode import SERVFAIL

from child_world import ADDRESSES, APEX, BY_DNS, CHILD, NS, ZONE, by_backend, child_server, publish_cds, tsig_of
from lab.daemons.named import Named
from lab.daemons.server import Add, Delete, Server
from lab.daemons.servers import SERVERS
from lab.ports import LOOPBACK, free_port
from lab.process import until
from lab.zones import ParentZone, Signing
from zonecut.agent.evidence.desired import wanted
from zonecut.agent.settings import ChildSettings, DsSettings
from zonecut.agent.zone.source import QuerySource, Source, TransferSource
from zonecut.agent.zone.zone_content import SourceError, ZoneContent
from zonecut.plugin.dns.tsig_key import TsigKey
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation

SIGNED = [("bind", Signing.INLINE), ("bind", Signing.IN_PLACE), ("knot", Signing.INLINE), ("powerdns", Signing.INLINE)]

MOVED = "11.0.0.9"


def told(content: ZoneContent) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The name servers and their addresses as text."""
    return tuple(sorted(map(names.to_text, content.ns))), tuple(sorted(rr.to_text() for rr in content.addresses))


def asked_for(content: ZoneContent, **ds: object) -> Delegation:
    found = wanted(content, ChildSettings(ds=DsSettings.model_validate(ds)), time.time())
    assert found.ds_known
    assert not found.troubles
    return found.delegation


async def each_source(stack: AsyncExitStack, server: Server) -> dict[str, Source]:
    """The same zone, read in every way."""
    through_adapter = await stack.enter_async_context(by_backend(server))
    return {**{name: make(server) for name, make in BY_DNS.items()}, "backend": through_adapter}


@pytest.mark.parametrize("adapter", SERVERS)
async def test_every_source_reads_the_same_from_every_server(adapter: str, tmp_path: Path) -> None:
    with child_server(adapter, tmp_path) as server:
        async with AsyncExitStack() as stack:
            for source in (await each_source(stack, server)).values():
                content = await source.content()
                assert told(content) == (NS, ADDRESSES)
                assert content.serial == await source.serial() == server.serial()
                assert not content.cds
                assert not content.dnskey


@pytest.mark.parametrize(("adapter", "signing"), SIGNED)
async def test_ds_come_from_what_each_server_publishes_itself(adapter: str, signing: Signing, tmp_path: Path) -> None:
    with child_server(adapter, tmp_path, signing=signing) as server:
        publish_cds(server)
        until(lambda: bool(server.query(CHILD, "CDS", tcp=True).answer), timeout=20, what="CDS published")
        async with AsyncExitStack() as stack:
            sources = await each_source(stack, server)
            query, transfer, backend = [await source.content() for source in sources.values()]
        from_cds = asked_for(query)
        assert len(from_cds.ds) == 1
        assert asked_for(transfer) == from_cds
        # each of these servers makes its CDS of the keys with the SEP flag
        assert asked_for(query, source="dnskey") == asked_for(transfer, source="dnskey") == from_cds
        assert told(query) == told(transfer) == told(backend) == (NS, ADDRESSES)
        assert backend.dnskey is None
        # PowerDNS makes CDS when it is asked for them: its API knows nothing of them
        assert backend.cds == (None if adapter == "powerdns" else query.cds)


@pytest.mark.parametrize("adapter", SERVERS)
async def test_sources_follow_what_is_changed_on_the_server(adapter: str, tmp_path: Path) -> None:
    key = "512 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="
    with child_server(adapter, tmp_path) as server:
        async with AsyncExitStack() as stack:
            sources = await each_source(stack, server)
            for source in sources.values():
                await source.content()
            for edits in (
                # a name server that was an ordinary host, one that is new, and one that moves
                [
                    Add(CHILD, 60, "NS", f"www.{CHILD}"),
                    Delete(f"ns1.{CHILD}", "A"),
                    Add(f"ns1.{CHILD}", 60, "A", "11.0.0.9"),
                ],
                [Add(CHILD, 60, "NS", f"ns9.{CHILD}"), Add(f"ns9.{CHILD}", 60, "AAAA", "2610::9")],
                [Delete(CHILD, "NS", "ns.elsewhere.test."), Add(CHILD, 300, "KEY", key)],
                [Add(f"other.{CHILD}", 60, "A", "11.0.0.4")],
            ):
                server.edit(*edits)
                contents = {name: await source.content() for name, source in sources.items()}
                assert told(contents["query"]) == told(contents["transfer"]) == told(contents["backend"])
                assert len({(each.serial, each.key, each.key_ttl) for each in contents.values()}) == 1
            ns, addresses = told(contents["query"])
            assert ns == ("ns1.child.test.", "ns2.deep.child.test.", "ns9.child.test.", "www.child.test.")
            assert addresses == (
                f"ns1.child.test. A {MOVED}",
                "ns1.child.test. AAAA 2610::1",
                "ns2.deep.child.test. A 11.0.0.2",
                "ns9.child.test. AAAA 2610::9",
                "www.child.test. A 11.0.0.3",
            )
            assert (len(contents["query"].key), contents["query"].key_ttl) == (1, 300)


@pytest.mark.parametrize("adapter", SERVERS)
async def test_name_servers_without_addresses_of_their_own_are_found(adapter: str, tmp_path: Path) -> None:
    text = f"{APEX}@ NS ns.cut\ncut NS ns.cut\nns.cut A 11.0.0.7\n"
    expected = ["ns.cut.child.test."]
    if adapter != "bind":  # named loads no zone with such NS, and takes none by UPDATE
        text += "@ NS bare\n@ NS alias\nalias CNAME ns1\n"
        expected.insert(0, "alias.child.test.")
    with child_server(adapter, tmp_path, text) as server:
        async with AsyncExitStack() as stack:
            for source in (await each_source(stack, server)).values():
                content = await source.content()
                reasons = {names.to_text(each.name): each.reason for each in content.unusable}
                assert sorted(reasons) == expected
                assert "is an alias" in reasons.get("alias.child.test.", "is an alias")
                assert "has its addresses in another zone" in reasons["ns.cut.child.test."]
                assert told(content)[1] == ADDRESSES
                asked = wanted(content, ChildSettings(), time.time())
                assert {names.to_text(name) for name in asked.unfit} >= set(expected)
                assert all(trouble.startswith("child.test. NS ") for trouble in asked.troubles)


@pytest.mark.parametrize("adapter", ["bind", "knot"])
async def test_after_the_first_transfer_only_differences_are_transferred(adapter: str, tmp_path: Path) -> None:
    with child_server(adapter, tmp_path, signing=Signing.INLINE) as server:
        source = TransferSource(ZONE, server.server, tsig_of(server))
        before = await source.content()
        server.edit(Add(f"ns1.{CHILD}", 60, "A", MOVED), Add(f"other.{CHILD}", 60, "A", "11.0.0.4"))
        until(lambda: server.serial() != before.serial, timeout=5, what="the change is served")
        after = await source.content()
        assert f"ns1.child.test. A {MOVED}" in told(after)[1]
        log = server.log_text().lower()
        if adapter == "bind":
            assert log.count(": axfr started") == 1
            assert ": ixfr started" in log
        else:
            assert log.count("axfr, outgoing") <= 2  # a line where it begins and one where it ends
            assert "ixfr, outgoing" in log


async def test_what_stands_in_the_way_is_said(tmp_path: Path) -> None:
    with Named(tmp_path / "named", ParentZone(CHILD, text=APEX)) as named:
        key = tsig_of(named)
        assert key is not None
        wrong = TsigKey(key.name, b"another secret", key.algorithm)
        unknown = TsigKey("other.lab.", b"another secret", key.algorithm)
        elsewhere = names.from_text("elsewhere.test.")
        below = names.from_text("sub.child.test.")
        nobody = f"{LOOPBACK}:{free_port()}"
        cases: list[tuple[Source, str]] = [
            (QuerySource(ZONE, named.server, wrong), "TSIG error BADSIG (key update.lab)"),
            (TransferSource(ZONE, named.server, wrong), "TSIG error BADSIG (key update.lab)"),
            (QuerySource(ZONE, named.server, unknown), "TSIG error BADKEY (key other.lab)"),
            (TransferSource(ZONE, named.server), "REFUSED: it does not have the zone, or does not let us transfer it"),
            (QuerySource(elsewhere, named.server), "elsewhere.test. SOA: REFUSED: it does not have the zone"),
            (TransferSource(elsewhere, named.server, key), "NOTAUTH: it does not have the zone"),
            (QuerySource(below, named.server), f"{named.server} is not authoritative for sub.child.test."),
            (QuerySource(ZONE, nobody), f"{nobody} about child.test. SOA: Connection refused"),
            (TransferSource(ZONE, nobody), f"AXFR of child.test. from {nobody}: Connection refused"),
        ]
        for source, reason in cases:
            with pytest.raises(SourceError) as caught:
                await source.content()
            assert reason in caught.value.reason


async def test_a_secondary_whose_zone_has_expired_is_no_source(tmp_path: Path) -> None:
    named = Named(tmp_path, ParentZone("good.test."), ParentZone(CHILD, text=APEX.replace("604800", "3600")))
    configuration = tmp_path / "named.conf"
    secondary = f"type secondary; masterfile-format text; primaries port {free_port()} {{ {LOOPBACK}; }};"
    head, tail = configuration.read_text().split(f'zone "{CHILD}"')
    tail = tail.replace("type primary;", secondary).replace('allow-update { key "update.lab."; };', "")
    configuration.write_text(f'{head}zone "{CHILD}"{tail}')
    named.zones = named.zones[:1]
    with named:
        source = QuerySource(ZONE, named.server)
        assert told(await source.content()) == (NS, ADDRESSES)
        named.stop()
        os.utime(named.zone_file(CHILD), (time.time() - 86400,) * 2)
        named.start()
        until(lambda: named.query(CHILD, "SOA", tcp=True).rcode() == SERVFAIL, timeout=20, what="the zone expired")
        for each in (source, TransferSource(ZONE, named.server, tsig_of(named))):
            with pytest.raises(SourceError, match="SERVFAIL: the zone is not loaded there, or it has expired"):
                await each.content()


async def test_a_server_that_is_silent_is_given_up() -> None:
    with socket.create_server((LOOPBACK, 0)) as silent:  # whose connections nobody accepts
        server = f"{LOOPBACK}:{silent.getsockname()[1]}"
        with pytest.raises(SourceError, match=r"stood still for 0\.2 s"):
            await TransferSource(ZONE, server, patience=0.2).content()


async def test_a_zone_of_a_hundred_thousand_names_leaves_no_trace_in_memory(tmp_path: Path) -> None:
    text = APEX + "".join(
        f"host{number} A 10.{number >> 16}.{number >> 8 & 255}.{number & 255}\n" for number in range(100_000)
    )
    with Named(tmp_path, ParentZone(CHILD, text=text)) as named:
        source = TransferSource(ZONE, named.server, tsig_of(named))
        gc.collect()
        tracemalloc.start()
        try:
            content = await source.content()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert told(content) == (NS, ADDRESSES)
    assert peak < 2_000_000
