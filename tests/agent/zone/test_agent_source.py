"""A child zone read through an adapter: what is there, and what cannot be known."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import cast

import pytest

from zonecut.agent.settings import PrimarySettings
from zonecut.agent.zone.source import BackendSource, QuerySource, make_source
from zonecut.agent.zone.zone_content import SourceError, UnusableServer
from zonecut.plugin import Backend, BackendError, BackendRejected, BackendUnavailable
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR
from zonecut.protocol.rrset import RRset

CHILD = names.from_text("child.parent.example.")
NS1, OUTSIDE = names.from_text("ns1.child.parent.example."), names.from_text("ns.elsewhere.example.")
DEEP = names.from_text("ns.sub.child.parent.example.")
ADDRESS, ADDRESS6 = ip_address("192.0.2.1").packed, ip_address("2001:db8::1").packed
CDS = b"\0\1\x0d\2" + bytes(32)


def soa(serial: int) -> RRset:
    return RRset(CHILD, RRType.SOA, 60, (b"\2ns\0\4host\0" + serial.to_bytes(4) + bytes(16),))


APEX = (soa(7), RRset(CHILD, RRType.NS, 60, (NS1, OUTSIDE)))
AT_NS1 = (RRset(NS1, RRType.A, 60, (ADDRESS,)), RRset(NS1, RRType.AAAA, 60, (ADDRESS6,)))


class Server:
    """Holds RRsets; an error stands for what is raised at its name."""

    def __init__(self, *held: RRset, errors: Mapping[bytes, BackendError] | None = None) -> None:
        self.held: Sequence[RRset] = held
        self.errors: Mapping[bytes, BackendError] = errors or {}
        self.serials: Iterable[int] | None = None

    async def read_rrsets(self, wanted: Sequence[bytes]) -> tuple[RRset, ...]:
        for name in wanted:
            if name in self.errors:
                raise self.errors[name]
        found = tuple(rrset for rrset in self.held if rrset.owner in wanted)
        if self.serials is not None and CHILD in wanted:
            self.held = (soa(self.held[0].rdatas[0][-17] + 1), *self.held[1:])
        return found


def source(server: Server) -> BackendSource:
    return BackendSource(CHILD, cast(Backend, server))


async def test_all_that_is_about_the_delegation_is_read() -> None:
    key = RRset(CHILD, RRType.KEY, 300, (b"\2\0\3\x0fkey",))
    cds = RRset(CHILD, RRType.CDS, 60, (CDS,))
    content = await source(Server(*APEX, *AT_NS1, key, cds)).content()
    assert content.serial == 7
    assert content.ns == tuple(sorted((NS1, OUTSIDE)))
    assert content.addresses == (RR(NS1, RRType.A, ADDRESS), RR(NS1, RRType.AAAA, ADDRESS6))
    assert content.cds == (CDS,)
    assert content.key == key.rdatas
    assert content.key_ttl == 300
    assert await source(Server(*APEX)).serial() == 7


async def test_what_an_adapter_may_not_show_is_not_known() -> None:
    content = await source(Server(*APEX, *AT_NS1)).content()
    assert content.cds is None
    assert content.dnskey is None


async def test_aliases_at_and_above_a_name_server_are_found() -> None:
    at = Server(*APEX, RRset(NS1, RRType.CNAME, 60, (OUTSIDE,)))
    above = Server(*APEX, *AT_NS1, RRset(CHILD, RRType.DNAME, 60, (OUTSIDE,)))
    for server in (at, above):
        content = await source(server).content()
        assert content.addresses == ()
        assert [each.name for each in content.unusable] == [NS1]
        assert "alias" in content.unusable[0].reason


async def test_a_name_server_below_a_delegation_has_no_address_in_the_zone() -> None:
    apex = (soa(7), RRset(CHILD, RRType.NS, 60, (NS1, DEEP)))
    rejected = {DEEP: BackendRejected("sub.child is delegated")}
    content = await source(Server(*apex, *AT_NS1, errors=rejected)).content()
    assert content.unusable == (UnusableServer(DEEP, "has its addresses in another zone: sub.child is delegated"),)
    assert len(content.addresses) == 2


async def test_a_server_that_cannot_be_reached_is_an_error_with_its_reason() -> None:
    server = Server(*APEX, *AT_NS1, errors={NS1: BackendUnavailable("named is away")})
    with pytest.raises(SourceError, match="named is away"):
        await source(server).content()
    server.errors = {CHILD: BackendUnavailable("named is away")}
    with pytest.raises(SourceError, match="named is away"):
        await source(server).serial()


async def test_a_zone_that_never_stands_still_is_not_read_by_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zonecut.agent.zone.source._PAUSE", 0)
    server = Server(*APEX, *AT_NS1)
    server.serials = ()
    with pytest.raises(SourceError, match="changes faster than it can be read"):
        await source(server).content()


def test_the_primary_is_read_where_there_is_one() -> None:
    backend = cast(Backend, Server())
    assert isinstance(make_source(CHILD, PrimarySettings(server="127.0.0.1:53"), backend), QuerySource)
    assert isinstance(make_source(CHILD, None, backend), BackendSource)


def test_a_tsig_key_that_cannot_be_read_is_an_error_of_the_source() -> None:
    with pytest.raises(SourceError, match=r"/nowhere/tsig\.key cannot be read"):
        make_source(CHILD, PrimarySettings(server="127.0.0.1:53", tsig=Path("/nowhere/tsig.key")), None)
