"""Delegations of all shapes: unusual names, many servers, much glue, glue that nobody names."""

import asyncio
import time
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address

import pytest

from zonecut.plugin.backend import MAX_NAMED_BY, Backend, Change, Host
from zonecut.plugin.branches import visible
from zonecut.plugin.contract.base import ContractTests
from zonecut.plugin.contract.looking import lists, opened, shows
from zonecut.plugin.contract.server import ContractServer, ds, generated
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.rrset import ResourceRecord

_LEARNT = 10.0
"""Seconds within which an adapter knows who names a host, after somebody else changed that."""


class ShapesContract(ContractTests):
    """The contract about what delegations look like."""

    @pytest.mark.parametrize(
        "label", [r"a\;b\ \"\(\007", r"x\.y", r"\200\255", r"a\\b", r"it\$\@", "CAPITALS", "xn--bcher-kva", "_under"]
    )
    async def test_unusual_names_are_written_and_read(self, server: ContractServer, label: str) -> None:
        child = self.name(label)
        inside = names.from_text(f"N\\;s.{label}.{self.zone_name}")
        glue = RR(inside, RRType.A, IPv4Address("11.1.1.1").packed)
        targets = (inside, names.from_text(r"Ns\ 1\(.Elsewhere.test."), names.from_text("xn--dmi-0na.test."))
        after = Delegation.of(child, [*(RR(child, RRType.NS, target) for target in targets), glue])
        async with opened(server) as backend:
            await self.carried_out(backend, [Change(Delegation(child), after)])
            await lists(backend, after)
            await self.carried_out(backend, [Change(after, Delegation(child))])

    async def test_capitals_of_somebody_else_are_the_same_name(self, server: ContractServer) -> None:
        child = self.name("child1")
        before = generated(self.zone_name, 1)
        target = b"\2NS\x09ELSEWHERE\4Test\0"
        server.edit(add=[ResourceRecord(child, RRType.NS, 60, target)])
        held = Delegation.of(child, [*before.records, RR(child, RRType.NS, target.lower())])
        async with opened(server) as backend:
            await shows(backend, held)
            await lists(backend, held)
            await self.carried_out(backend, [Change(held, before)])

    async def test_thirteen_servers_with_glue_in_both_families(self, server: ContractServer) -> None:
        glue = {f"ns{i}": [f"11.1.0.{i}", f"2610::1:{i}"] for i in range(13)}
        after = self.delegation("new", list(glue), [1, 2, 3], glue)
        async with opened(server) as backend:
            await self.carried_out(backend, [Change(Delegation(after.child), after)])
            await self.carried_out(backend, [Change(after, self.full("new"))])
            await lists(backend, self.full("new"))

    async def test_two_hundred_glue_records_over_several_names(self, server: ContractServer) -> None:
        glue = {
            f"ns{i}": [
                *(str(IPv4Address("11.1.0.0") + 256 * i + n) for n in range(25)),
                *(str(IPv6Address("2610::") + 256 * i + n) for n in range(25)),
            ]
            for i in range(4)
        }
        after = self.delegation("new", list(glue), [1], glue)
        assert len(after.glue) == 200
        async with opened(server) as backend:
            await self.carried_out(backend, [Change(Delegation(after.child), after)])
            fewer = Delegation(after.child, after.ns, after.ds, after.glue[::2])
            await self.carried_out(backend, [Change(after, fewer)])
            await self.carried_out(backend, [Change(fewer, Delegation(after.child))])

    async def test_orphan_glue_is_found_and_removed(self, server: ContractServer) -> None:
        child, orphan = self.name("child1"), self.orphaned(server)
        async with opened(server) as backend:
            found = Delegation.of(child, [*generated(self.zone_name, 1).records, orphan])
            await lists(backend, found)
            await self.carried_out(backend, [Change(found, visible(found))])
            await lists(backend, visible(found))

    async def test_an_address_that_no_ns_of_the_child_names_stays_whatever_else_changes(
        self, server: ContractServer
    ) -> None:
        """Two children may each name a host in the other (RFC 9471 section 2.3): one's orphan is the other's glue."""
        if not self.holds_orphan_glue:
            pytest.skip("this server cannot hold glue that no NS names")
        here, there = self.name("here"), self.name("there")
        host, other = self.name("ns.here"), self.name("ns.there")
        server.edit(
            add=[
                ResourceRecord(here, RRType.NS, 60, other),
                ResourceRecord(there, RRType.NS, 60, host),
                ResourceRecord(host, RRType.A, 60, IPv4Address("11.7.0.1").packed),
                ResourceRecord(other, RRType.A, 60, IPv4Address("11.7.0.2").packed),
            ]
        )
        addresses = {host: IPv4Address("11.7.0.1"), other: IPv4Address("11.7.0.2")}
        async with opened(server) as backend:
            for child, target in ((here, other), (there, host)):
                before = Delegation(child, (target,))
                await shows(backend, before)
                after = Delegation(child, (target,), (ds(7),))
                await self.carried_out(backend, [Change(before, after)])
                moved = Delegation(child, (target, names.from_text("ns9.elsewhere.test.")), (ds(7),))
                await self.carried_out(backend, [Change(after, moved)])
            held = await backend.hosts([host, other])
            for owner, address in addresses.items():
                assert held[owner].addresses == (RR(owner, RRType.A, address.packed),)

    async def test_those_who_name_a_host_are_told_with_its_addresses(self, server: ContractServer) -> None:
        host, nobody = self.name("ns1.child1"), self.name("nobody.child1")
        addresses = tuple(record for record in generated(self.zone_name, 1).glue if record.owner == host)
        own = self.name("child1")
        async with opened(server) as backend:
            held = await backend.hosts([host, nobody])
            assert held[host] == Host((own,), addresses)
            assert not held[nobody].named_by
            apex = self.name("ns1")
            assert (await backend.hosts([apex]))[apex].named_by == (names.from_text(self.zone_name),)
            # one by us, and one by somebody else
            new = Delegation(self.name("new"), (host,))
            await self.carried_out(backend, [Change(Delegation(new.child), new)])
            assert set((await backend.hosts([host]))[host].named_by) == {own, new.child}
            server.edit(add=[ResourceRecord(self.name("other"), RRType.NS, 60, host)])
            await shows(backend, Delegation(self.name("other"), (host,)))
            await _names(backend, host, {own, new.child, self.name("other")})
            # who needs proof does not wait until a listing is worth its cost again
            server.edit(add=[ResourceRecord(self.name("another"), RRType.NS, 60, host)])
            await shows(backend, Delegation(self.name("another"), (host,)))
            proof = await backend.hosts([host, nobody], not_before=time.monotonic(), shared=True)
            assert set(proof[host].named_by) == {own, new.child, self.name("other"), self.name("another")}
            assert nobody not in proof or not proof[nobody].named_by
            server.edit(remove=[(self.name("another"), RRType.NS)])
            await shows(backend, Delegation(self.name("another")))
            await self.carried_out(backend, [Change(new, Delegation(new.child, (names.from_text("ns.x.test."),)))])
            await _names(backend, host, {own, self.name("other")})

    async def test_a_host_that_very_many_name_is_told_with_some_of_them(self, server: ContractServer) -> None:
        host = self.name("ns1.child1")
        many = [Delegation(self.name(f"many{number}"), (host,)) for number in range(2 * MAX_NAMED_BY)]
        async with opened(server) as backend:
            await self.carried_out(backend, [Change(Delegation(each.child), each) for each in many])
            named_by = (await backend.hosts([host]))[host].named_by
            assert len(named_by) == MAX_NAMED_BY
            assert set(named_by) <= {self.name("child1"), *(each.child for each in many)}

    async def test_a_name_that_becomes_a_server_has_the_addresses_of_the_change_and_no_other_name_loses_any(
        self, server: ContractServer
    ) -> None:
        """What nobody named there goes; an address at a name that the change does not have is somebody else's."""
        child, orphan = self.name("child1"), self.orphaned(server)
        other = RR(self.name("elsewhere.child1"), RRType.A, IPv4Address("11.7.0.9").packed)
        server.edit(
            add=[
                ResourceRecord(*other[:2], 60, other.rdata),
                ResourceRecord(self.name("sibling"), RRType.NS, 60, other.owner),
            ]
        )
        before = generated(self.zone_name, 1)
        new = RR(orphan.owner, RRType.AAAA, IPv6Address("2610::99").packed)
        after = Delegation.of(child, [*before.records, RR(child, RRType.NS, orphan.owner), new])
        async with opened(server) as backend:
            await shows(backend, Delegation(self.name("sibling"), (other.owner,)))
            await self.carried_out(backend, [Change(before, after)])
            await lists(backend, Delegation.of(child, [*after.records, other]))

    async def test_addresses_that_stand_at_a_name_that_becomes_a_server_stay_where_the_change_has_them(
        self, server: ContractServer
    ) -> None:
        """Another delegation names the host: what is added to it is added."""
        child, orphan = self.name("child1"), self.orphaned(server)
        held = Delegation.of(child, [*generated(self.zone_name, 1).records, orphan])
        new = RR(orphan.owner, RRType.AAAA, IPv6Address("2610::99").packed)
        after = Delegation.of(child, [*held.records, RR(child, RRType.NS, orphan.owner), new])
        async with opened(server) as backend:
            await self.carried_out(backend, [Change(held, after)])
            await lists(backend, after)


async def _names(backend: Backend, host: bytes, owners: Collection[bytes]) -> None:
    """Return when these are told to name a host; fail if they are not in a while."""
    deadline = time.monotonic() + _LEARNT
    while (found := set((await backend.hosts([host]))[host].named_by)) != set(owners):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)
