"""The adapter `powerdns` against a real PowerDNS: what is peculiar to it. What all adapters do is in the contract."""

import asyncio
import logging
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import dns.rdatatype
import pytest

from lab.daemons.pdns import PowerDns, StartPowerDns
from lab.process import LabError
from lab.tls import self_signed
from lab.zones import PARENT, ParentZone, Signing
from powerdns_backend import child, ds, held, inside, make_backend, plain, switched_off
from zonecut.plugin import (
    BackendConflict,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
    Reading,
)
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.announced.svcb import Method, Svcb
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.rrset import RRset
from zonecut_powerdns import PowerDnsOptions
from zonecut_powerdns.api import Api
from zonecut_powerdns.backend import PowerDnsBackend


@pytest.fixture
def start_pdns(tmp_path: Path) -> Iterator[StartPowerDns]:
    """`start_pdns(zone, ..., **options of PowerDns)`: a running PowerDNS, ended after the test."""
    with ExitStack() as running:

        def start(*zones: ParentZone, **options: Any) -> PowerDns:
            number = len(list(tmp_path.glob("pdns-*")))
            return running.enter_context(PowerDns(tmp_path / f"pdns-{number}", *zones, **options))

        yield start


@pytest.fixture
def pdns(start_pdns: StartPowerDns) -> PowerDns:
    return start_pdns(ParentZone(PARENT, delegations=3))


OpenBackend = Callable[..., Awaitable[PowerDnsBackend]]
TARGET = names.from_text(f"updater.{PARENT}")


@pytest.fixture
def signed(start_pdns: StartPowerDns) -> PowerDns:
    return start_pdns(ParentZone(PARENT, delegations=3, signing=Signing.IN_PLACE))


@pytest.fixture
async def open_backend() -> AsyncIterator[OpenBackend]:
    async with AsyncExitStack() as stack:

        async def start(pdns: PowerDns, zone: str = PARENT, **options: Any) -> PowerDnsBackend:
            backend = make_backend(pdns, zone, **options)
            stack.push_async_callback(backend.close)
            await backend.open()
            return backend

        yield start


# The zone's settings


async def test_a_zone_of_pdnsutil_gets_a_serial_that_moves(
    pdns: PowerDns, open_backend: OpenBackend, caplog: pytest.LogCaptureFixture
) -> None:
    assert pdns.api("GET", "?rrsets=false")["soa_edit_api"] == ""
    with caplog.at_level(logging.WARNING):
        backend = await open_backend(pdns)
    assert "soa_edit_api=INCREASE" in caplog.text
    assert pdns.api("GET", "?rrsets=false")["soa_edit_api"] == "INCREASE"
    was = pdns.serial()
    await backend.write([Change(Delegation(child("new")), plain("new", "ns.elsewhere.test."))])
    assert pdns.serial() == was + 1


async def test_settings_that_somebody_chose_stay(pdns: PowerDns, open_backend: OpenBackend) -> None:
    pdns.api("PUT", body={"soa_edit_api": "EPOCH"})
    await open_backend(pdns)
    assert pdns.api("GET", "?rrsets=false")["soa_edit_api"] == "EPOCH"


async def test_a_signed_zone_is_rectified_and_validates(signed: PowerDns, open_backend: OpenBackend) -> None:
    assert signed.api("GET", "?rrsets=false")["api_rectify"] is False
    backend = await open_backend(signed)
    await backend.write([Change(Delegation(child("new")), inside("new"))])
    await backend.write([Change(await held(backend, "child1"), Delegation(child("child1")))])
    content = signed.axfr()
    assert content.get_rdataset(f"new.{PARENT}", "NSEC") is not None
    assert content.get_rdataset(f"ns1.new.{PARENT}", "RRSIG") is None
    signed.verify()


async def test_a_secondary_is_no_place_to_write(pdns: PowerDns) -> None:
    pdns.api("PUT", body={"kind": "Slave", "masters": ["127.0.0.1"]})
    with pytest.raises(BackendMisconfigured, match="of kind Slave on this server"):
        await make_backend(pdns).open()


# Writing


async def test_somebody_who_writes_at_the_same_time_is_waited_for(
    start_pdns: StartPowerDns, open_backend: OpenBackend
) -> None:
    """Two PATCHes at a time: 4.7 answers a bare 500, and tells its log alone that the database is locked; 4.9 waits."""
    pdns = start_pdns(ParentZone(PARENT, delegations=300, signing=Signing.IN_PLACE))
    backend = await open_backend(pdns)
    ended = asyncio.Event()
    disturbed = [0, 0]

    def disturb(number: int) -> None:
        while not ended.is_set():
            body = {"changetype": "REPLACE", "ttl": 60, "records": [{"content": '"x"', "disabled": False}]}
            with suppress(LabError):  # it gets its 500s, too
                pdns.api("PATCH", body={"rrsets": [{"name": f"t{number}.{PARENT}", "type": "TXT", **body}]})
                disturbed[number] += 1
            time.sleep(0.03)

    others = [asyncio.create_task(asyncio.to_thread(disturb, number)) for number in range(2)]
    before = Delegation(child("new"))
    try:
        for number in range(10):
            after = plain("new", f"ns{number}.elsewhere.test.", tags=(number,))
            while True:
                try:
                    await backend.write([Change(before, after)])
                    break
                except BackendUnavailable:  # six times in a row it was somebody else's turn
                    continue
            assert await backend.verify([Change(before, after)]) == ()
            before = after
    finally:
        ended.set()
        await asyncio.gather(*others)
    assert min(disturbed) > 3


async def test_two_backends_of_one_process_take_turns(start_pdns: StartPowerDns, open_backend: OpenBackend) -> None:
    other = "other.test."
    pdns = start_pdns(ParentZone(PARENT, delegations=3), ParentZone(other, delegations=3))
    backends = [await open_backend(pdns), await open_backend(pdns, other)]

    async def write(backend: PowerDnsBackend, zone: str) -> None:
        before = Delegation(names.from_text(f"new.{zone}"))
        for number in range(20):
            after = Delegation(before.child, (names.from_text(f"ns{number}.elsewhere.test."),))
            await backend.write([Change(before, after)])
            before = after

    await asyncio.gather(write(backends[0], PARENT), write(backends[1], other))
    assert "database is locked" not in pdns.log_text()


async def test_a_locked_database_is_unavailable_after_a_while(pdns: PowerDns, open_backend: OpenBackend) -> None:
    backend = await open_backend(pdns, write_timeout=3)
    change = Change(Delegation(child("new")), plain("new", "ns.elsewhere.test."))
    locker = sqlite3.connect(pdns.database, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    # 4.7 says so, and 4.9 waits for a minute
    with pytest.raises(BackendUnavailable, match=r"(answers 500 |not answer within 3 s).*locked by another writer"):
        await backend.write([change])
    locker.execute("ROLLBACK")
    locker.close()
    # one that waits writes now what was given up
    with suppress(BackendConflict):
        await backend.write([change])
    assert await backend.verify([change]) == ()


async def test_a_batch_of_fifty_is_one_step_of_the_serial(start_pdns: StartPowerDns, open_backend: OpenBackend) -> None:
    pdns = start_pdns(ParentZone(PARENT, delegations=50, signing=Signing.IN_PLACE))
    backend = await open_backend(pdns)
    changes = [Change(await held(backend, f"child{i}"), inside(f"child{i}")) for i in range(50)]
    assert backend.batch(changes) == 50
    pdns.pdnsutil("delete-rrset", PARENT, "child31", "DS")
    was = pdns.serial()
    with pytest.raises(BackendConflict) as conflict:
        await backend.write(changes)
    assert conflict.value.children == (child("child31"),)
    assert pdns.serial() == was
    good = changes[:31] + changes[32:]
    await backend.write(good)
    assert pdns.serial() == was + 1
    assert await backend.verify(good) == ()
    assert await backend.verify(changes) == (child("child31"),)
    pdns.check_zone()


async def test_a_cname_in_the_way_is_the_servers_reason(pdns: PowerDns, open_backend: OpenBackend) -> None:
    pdns.set_rrset(f"new.{PARENT}", "CNAME", ["www.elsewhere.test."])
    backend = await open_backend(pdns, dns=pdns.server)
    with pytest.raises(BackendRejected, match=rf"RRset new\.{PARENT} IN NS: Conflicts with pre-existing RRset"):
        await backend.write([Change(Delegation(child("new")), plain("new", "ns.elsewhere.test."))])


@pytest.mark.parametrize("by_dns", [False, True])
async def test_a_digest_of_any_length_is_read_and_replaced(
    pdns: PowerDns, open_backend: OpenBackend, by_dns: bool
) -> None:
    """PowerDNS takes a digest of the wrong length; what it holds is to be seen, and mended."""
    name = child("new")
    pdns.set_rrset(f"new.{PARENT}", "NS", ["ns.elsewhere.test."])
    pdns.set_rrset(f"new.{PARENT}", "DS", ["1 13 2 abcd"])
    backend = await open_backend(pdns, dns=pdns.server if by_dns else None)
    before = await held(backend, "new")
    assert before.ds == (b"\0\1\x0d\2\xab\xcd",)
    change = Change(before, Delegation(name, before.ns, (ds(5),)))
    await backend.write([change])
    assert await backend.verify([change]) == ()


@pytest.mark.parametrize("by_dns", [False, True])
async def test_records_that_are_switched_off_are_none(pdns: PowerDns, open_backend: OpenBackend, by_dns: bool) -> None:
    """They are not served, and by name the API does not show them either."""
    backend = await open_backend(pdns, dns=pdns.server if by_dns else None)
    pdns.set_rrset(
        f"new.{PARENT}", "NS", ["ns1.elsewhere.test.", "off.elsewhere.test."], disabled=["off.elsewhere.test."]
    )
    before = await held(backend, "new")
    assert before == plain("new", "ns1.elsewhere.test.")
    pdns.set_rrset(f"off.{PARENT}", "NS", ["off.elsewhere.test."], disabled=["off.elsewhere.test."])
    assert await held(backend, "off") == Delegation(child("off"))
    change = Change(before, plain("new", "ns2.elsewhere.test."))
    await backend.write([change])
    assert await backend.verify([change]) == ()
    assert child("off") not in {each.delegation.child async for each in backend.children() if isinstance(each, Reading)}


@pytest.mark.parametrize("by_dns", [False, True])
async def test_records_that_are_switched_off_stay_when_their_rrset_changes(
    start_pdns: StartPowerDns, open_backend: OpenBackend, by_dns: bool
) -> None:
    pdns = start_pdns(ParentZone(PARENT, delegations=3, signing=Signing.IN_PLACE))
    new, server = f"new.{PARENT}", f"ns1.new.{PARENT}"
    off = {
        (new, "NS", "off.elsewhere.test."),
        (new, "DS", f"9 13 2 {'ff' * 32}"),
        (server, "AAAA", "2610::9"),
        (f"_dsync.{PARENT}", "TYPE66", "\\# 6 00ff02000200"),
    }
    pdns.set_rrset(new, "NS", [server, "off.elsewhere.test."], disabled=["off.elsewhere.test."])
    for name, rtype, content in off - {(new, "NS", "off.elsewhere.test.")}:
        pdns.set_rrset(name, rtype, [content], disabled=[content])
    pdns.set_rrset(server, "A", ["11.0.0.1"])
    backend = await open_backend(pdns, dns=pdns.server if by_dns else None)
    with_ds = inside("new")
    for before, after in (
        (await held(backend, "new"), with_ds),
        (with_ds, plain("new", "ns2.elsewhere.test.")),
        (plain("new", "ns2.elsewhere.test."), Delegation(child("new"))),
    ):
        change = Change(before, after)
        await backend.write([change])
        assert await backend.verify([change]) == ()
        assert switched_off(pdns) == off
    wanted = RRset(names.from_text(f"_dsync.{PARENT}"), 66, 60, (bytes.fromhex("00ff02000100"),))
    await backend.replace_rrsets([], [wanted])
    await backend.replace_rrsets([wanted], [])
    assert switched_off(pdns) == off
    pdns.verify()


async def test_a_record_that_was_just_switched_off_stays_when_its_rrset_changes(
    pdns: PowerDns, open_backend: OpenBackend
) -> None:
    """That is a conflict first: the RRset is not what it was when the change was judged."""
    backend = await open_backend(pdns)
    pdns.set_rrset(f"new.{PARENT}", "NS", ["ns1.elsewhere.test.", "off.elsewhere.test."])
    before = await held(backend, "new")
    pdns.set_rrset(
        f"new.{PARENT}", "NS", ["ns1.elsewhere.test.", "off.elsewhere.test."], disabled=["off.elsewhere.test."]
    )
    with pytest.raises(BackendConflict):
        await backend.write([Change(before, plain("new", "ns2.elsewhere.test."))])
    change = Change(await held(backend, "new"), plain("new", "ns2.elsewhere.test."))
    await backend.write([change])
    assert await backend.verify([change]) == ()
    assert switched_off(pdns) == {(f"new.{PARENT}", "NS", "off.elsewhere.test.")}


async def test_records_get_the_ttls_of_their_types(pdns: PowerDns, open_backend: OpenBackend) -> None:
    backend = await open_backend(pdns)
    await backend.write([Change(Delegation(child("new")), inside("new"))])
    zone = pdns.axfr()
    for owner, rtype, ttl in (("new", "NS", 7200), ("new", "DS", 1800), ("ns1.new", "A", 900)):
        assert zone.find_rdataset(f"{owner}.{PARENT}", rtype).ttl == ttl


async def test_a_request_too_large_for_the_server_is_rejected(
    start_pdns: StartPowerDns, open_backend: OpenBackend
) -> None:
    pdns = start_pdns(ParentZone(PARENT), settings="webserver-max-bodysize=1")
    backend = await open_backend(pdns, batch_octets=5_000_000)
    huge = plain("new", *(f"ns{i}.{'x' * 60}.{'y' * 60}.elsewhere.test." for i in range(9000)))
    assert backend.batch([Change(Delegation(child("new")), huge)]) == 1
    with pytest.raises((BackendRejected, BackendUnavailable)):
        await backend.write([Change(Delegation(child("new")), huge)])


# Our own records


async def test_dsync_is_written_by_number_and_served(pdns: PowerDns, open_backend: OpenBackend) -> None:
    backend = await open_backend(pdns)
    rdata = Dsync(RRType.ANY, 2, 5354, TARGET).to_wire()
    ours = (
        RRset(child("_dsync"), RRType.DSYNC, 60, (rdata,)),
        RRset(child("*._dsync"), RRType.DSYNC, 60, (rdata,)),
        RRset(TARGET, RRType.SVCB, 60, (Svcb.announcing([Method.AT_APEX, Method.MANUAL], interval=60).to_wire(),)),
        RRset(TARGET, RRType.KEY, 60, (b"\2\0\3\x0f" + bytes(32),)),
    )
    await backend.replace_rrsets((), ours)
    assert set(await backend.read_rrsets([child("_dsync"), child("*._dsync"), TARGET])) == set(ours)
    stored = {(each["name"], each["type"]): each["records"][0]["content"] for each in pdns.api("GET")["rrsets"]}
    assert stored[f"_dsync.{PARENT}", "TYPE66"] == f"\\# {len(rdata)} {rdata.hex()}"
    assert stored[f"updater.{PARENT}", "SVCB"].startswith('1 . key65282="at-apex,manual"')
    for name in (f"_dsync.{PARENT}", f"child1._dsync.{PARENT}"):
        assert [data.to_wire() for data in pdns.query(name, "TYPE66").answer[0]] == [rdata]


async def test_records_of_others_beside_ours_keep_their_text(pdns: PowerDns, open_backend: OpenBackend) -> None:
    """PowerDNS takes SVCB parameters that have names in its own form only."""
    pdns.set_rrset(f"updater.{PARENT}", "SVCB", ["1 . alpn=h2,h3 port=53"], ttl=60)
    backend = await open_backend(pdns)
    (foreign,) = await backend.read_rrsets([TARGET])
    ours = Svcb.announcing([Method.MANUAL], priority=2).to_wire()
    both = RRset(TARGET, RRType.SVCB, 60, (*foreign.rdatas, ours))
    await backend.replace_rrsets([foreign], [both])
    assert await backend.read_rrsets([TARGET]) == (both,)
    await backend.replace_rrsets([both], [foreign])
    assert await backend.read_rrsets([TARGET]) == (foreign,)


async def test_types_of_powerdns_alone_are_seen(pdns: PowerDns, open_backend: OpenBackend) -> None:
    pdns.set_rrset(f"updater.{PARENT}", "LUA", ["A \"ifportup(443, {'11.0.0.1'})\""])
    backend = await open_backend(pdns)
    (lua,) = await backend.read_rrsets([TARGET])
    assert lua.rtype == 65402


# Reading by DNS


async def test_what_pdnsutil_changed_is_seen_through_the_caches(pdns: PowerDns, open_backend: OpenBackend) -> None:
    backend = await open_backend(pdns, dns=pdns.server)
    before = await held(backend, "child0")
    assert await backend.verify([Change(before, before)]) == ()
    pdns.query(f"child0.{PARENT}", "NS")
    pdns.pdnsutil("add-record", PARENT, "ns1.child0", "A", "60", "11.9.9.9")
    assert await backend.verify([Change(before, before)]) == (before.child,)
    with pytest.raises(BackendConflict):
        await backend.write([Change(before, plain("child0", "ns.elsewhere.test."))])


@pytest.mark.parametrize("by_dns", [False, True])
async def test_a_child_zone_on_the_same_server_does_not_hide_the_parents_data(
    start_pdns: StartPowerDns, open_backend: OpenBackend, by_dns: bool
) -> None:
    served = "$TTL 60\n@ SOA ns1 h 1 3600 900 604800 300\n@ NS ns1\n@ NS ns2\nns1 A 11.99.99.99\nns2 A 11.0.0.1\n"
    pdns = start_pdns(ParentZone(PARENT, delegations=2), ParentZone(f"child0.{PARENT}", served))
    backend = await open_backend(pdns, dns=pdns.server if by_dns else None)
    before = await held(backend, "child0")
    addresses = {record.to_text().split(" ", 1)[1] for record in before.glue}
    assert (len(before.ns), len(before.ds), addresses) == (2, 1, {"A 11.0.0.0", "A 11.0.0.1", "AAAA 2610::"})
    change = Change(before, inside("child0"))
    await backend.write([change])
    assert await backend.verify([change]) == ()
    assert await held(backend, "child0") == change.after


async def test_a_dns_service_without_the_zone_is_named(pdns: PowerDns, start_pdns: StartPowerDns) -> None:
    other = start_pdns(ParentZone("other.test."))
    with pytest.raises(BackendMisconfigured, match=r"not authoritative for parent\.test\.: look at `dns`"):
        await make_backend(pdns, dns=other.server).open()


# Trouble


async def test_a_wrong_key_is_named_with_its_file(pdns: PowerDns, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.key"
    wrong.touch(mode=0o600)
    wrong.write_text("wrong\n")
    with pytest.raises(BackendMisconfigured, match=r"answers 401 .*wrong\.key has to be the server's api-key"):
        await make_backend(pdns, api_key=wrong).open()
    wrong.chmod(0o644)
    with pytest.raises(BackendMisconfigured, match="chmod 600"):
        await make_backend(pdns, api_key=wrong).open()


async def test_a_zone_or_a_server_that_is_not_there_is_named(pdns: PowerDns) -> None:
    with pytest.raises(BackendMisconfigured, match=r"no zone other\.test\. on a server 'localhost'"):
        await make_backend(pdns, "other.test.").open()
    with pytest.raises(BackendMisconfigured, match="a server 'elsewhere'"):
        await make_backend(pdns, server_id="elsewhere").open()


@asynccontextmanager
async def proxy(pdns: PowerDns, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A proxy before the API that, while the event is set, passes a PATCH on and closes instead of answering."""
    lose = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, to_api = await asyncio.open_connection("127.0.0.1", pdns.api_port)

        start = await reader.read(65536)
        to_api.write(start)

        async def forth() -> None:
            while octets := await reader.read(65536):
                to_api.write(octets)

        task = asyncio.create_task(forth())
        answer = await upstream.read()
        if not (lose.is_set() and start.startswith(b"PATCH ")):
            writer.write(answer)
        writer.close()
        to_api.close()
        task.cancel()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1], lose


def denying_ds(pdns: PowerDns, name: str) -> set[str]:
    """The owners of the NSEC records that deny a name's DS. A transfer would not do: it makes its own NSEC."""
    answer = pdns.query(name, "DS", dnssec=True, tcp=True)
    return {str(rrset.name) for rrset in answer.authority if rrset.rdtype == dns.rdatatype.NSEC}


@pytest.mark.parametrize("repeated", [False, True])
async def test_a_write_whose_answer_was_lost_is_rectified_and_found(
    signed: PowerDns, open_backend: OpenBackend, repeated: bool
) -> None:
    async with proxy(signed) as (port, lose):
        backend = await open_backend(signed, url=f"http://127.0.0.1:{port}")
        change = Change(Delegation(child("new")), inside("new"))
        lose.set()
        with pytest.raises(BackendUnavailable, match="connection was lost"):
            await backend.write([change])
        await asyncio.sleep(0.3)
        lose.clear()
        # as if the server had died after its commit, and before it rectified
        signed.api("PUT", body={"api_rectify": False})
        signed.set_rrset(f"newer.{PARENT}", "NS", ["ns.elsewhere.test."])
        assert denying_ds(signed, f"newer.{PARENT}") != {f"newer.{PARENT}"}
        if repeated:
            with pytest.raises(BackendConflict):
                await backend.write([change])
        else:
            assert await backend.verify([change]) == ()
        assert denying_ds(signed, f"newer.{PARENT}") == {f"newer.{PARENT}"}
        await backend.close()


async def test_tls_needs_a_certificate_that_is_trusted(
    pdns: PowerDns, open_backend: OpenBackend, tmp_path: Path
) -> None:
    key, certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with proxy(pdns, context) as (port, _):
        url = f"https://127.0.0.1:{port}"
        backend = await open_backend(pdns, url=url, ca=certificate)
        assert (await held(backend, "child1")).is_delegated
        await backend.close()
        with pytest.raises(BackendMisconfigured, match=r"cannot prove who it is.*look at `ca`"):
            await make_backend(pdns, url=url).open()
        with pytest.raises(BackendMisconfigured, match="holds no certificates"):
            await make_backend(pdns, url=url, ca=key.with_name("none.pem")).open()


async def test_each_answer_closes_its_connection_and_one_client_goes_on(
    pdns: PowerDns, open_backend: OpenBackend
) -> None:
    backend = await open_backend(pdns)
    for _ in range(30):
        await held(backend, "child1")
    assert all(found.is_delegated for found in await asyncio.gather(*(held(backend, "child2") for _ in range(100))))


async def test_a_delegation_nested_later_is_found_by_a_rescan(pdns: PowerDns, open_backend: OpenBackend) -> None:
    backend = await open_backend(pdns, rescan=1)
    assert not (await backend.read(child("child0"))).nested
    pdns.set_rrset(f"below.child0.{PARENT}", "NS", ["ns.elsewhere.test."])
    await asyncio.sleep(1.6)
    assert (await backend.read(child("child0"))).nested == (child("below.child0"),)


async def test_nested_delegations_with_the_same_glue_go_one_after_the_other(
    pdns: PowerDns, open_backend: OpenBackend
) -> None:
    backend = await open_backend(pdns)
    server = child("ns.low.top")
    glue = RR(server, RRType.A, b"\x0b\1\1\1")
    changes = [
        Change(Delegation(name), Delegation.of(name, [RR(name, RRType.NS, server), glue]))
        for name in (child("top"), child("low.top"))
    ]
    assert backend.batch(changes) == 1
    await backend.write(changes[:1])
    assert await backend.verify(changes[:1]) == ()


# A zone that is being filled


async def test_a_zone_without_soa_holds_no_absence(pdns: PowerDns, open_backend: OpenBackend) -> None:
    """As a script shows it that empties the tables before it fills them anew."""
    backend = await open_backend(pdns)
    change = Change(plain("new"), plain("new", "ns.elsewhere.test."))
    with closing(sqlite3.connect(pdns.database)) as database:
        with database:
            database.execute("UPDATE records SET domain_id = -domain_id")
        for operation in (
            lambda: backend.read(child("child0")),
            lambda: backend.read(child("new")),
            lambda: backend.verify([change]),
            lambda: anext(backend.children()),
            lambda: backend.write([change]),
        ):
            with pytest.raises(BackendUnavailable, match=f"no SOA of {PARENT}"):
                await operation()
        with database:
            database.execute("UPDATE records SET domain_id = -domain_id")
    await backend.write([change])
    assert await backend.verify([change]) == ()


async def test_a_long_export_is_taken_before_it_is_looked_at(start_pdns: StartPowerDns) -> None:
    """PowerDNS 4.9 ends the connection of one who takes some seconds, as who looks at very many delegations does."""
    strings = " ".join(['"' + 250 * "x" + '"'] * 200)
    zone = ParentZone(PARENT, delegations=3)
    long = "".join(f"t{number} TXT {strings}\n" for number in range(400))
    pdns = start_pdns(ParentZone(PARENT, text=zone.master_file + long))
    options = PowerDnsOptions(url=pdns.url, api_key=pdns.api_key_file, timeout=30)
    api = Api(names.from_text(PARENT), options, pdns.api_key_file.read_text().strip())
    async with aclosing(api.export()) as parts:
        lines = len(await anext(parts))
        pdns.kill()
        lines += sum([len(part) async for part in parts])
    assert lines >= 400
