"""What a backend reads, whoever wrote it, and how it lists a zone."""

import gc
import tracemalloc
from ipaddress import IPv4Address

import pytest

from zonecut.plugin.backend import BackendRejected, Change, Reading, Unreadable
from zonecut.plugin.contract.base import ContractTests
from zonecut.plugin.contract.looking import lists, opened, shows
from zonecut.plugin.contract.server import ContractServer, Serve, ds, generated, master_file
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.rrset import ResourceRecord


class ReadingContract(ContractTests):
    """The contract about reading."""

    async def test_a_delegation_is_read_as_it_stands_in_the_zone(self, server: ContractServer) -> None:
        async with opened(server) as backend:
            reading = await backend.read(self.name("child3"))
            assert reading == Reading(generated(self.zone_name, 3))

    async def test_the_ttls_are_those_that_the_zone_has(self, server: ContractServer) -> None:
        child = self.name("child1")
        server.edit([(child, RRType.DS)], [ResourceRecord(child, RRType.DS, 17, ds(17))])
        changed = generated(self.zone_name, 1)
        changed = Delegation(child, changed.ns, (ds(17),), changed.glue)
        expected = {key: 17 if key[1] == RRType.DS else server.ttls.of(key[1]) for key in changed.rrsets}
        async with opened(server) as backend:
            await shows(backend, changed)
            assert (await backend.read(child)).ttls == expected
            (found,) = [
                each
                async for each in backend.children()
                if isinstance(each, Reading) and each.delegation.child == child
            ]
            assert found == Reading(changed)
            assert found.ttls == expected

    async def test_a_name_without_delegation_is_read_as_such(self, server: ContractServer) -> None:
        async with opened(server) as backend:
            reading = await backend.read(self.name("nobody"))
            assert reading.delegation == Delegation(self.name("nobody"))
            assert (reading.enclosing, reading.nested) == (None, ())

    async def test_what_somebody_else_changed_a_moment_ago_is_read(self, server: ContractServer) -> None:
        child = self.name("child1")
        async with opened(server) as backend:
            before = (await backend.read(child)).delegation
            server.edit(add=[ResourceRecord(child, RRType.NS, 7200, names.from_text("ns.elsewhere.test."))])
            after = Delegation.of(child, [*before.records, RR(child, RRType.NS, names.from_text("ns.elsewhere.test."))])
            await shows(backend, after)
            server.edit(remove=[(child, RRType.DS)])
            await shows(backend, Delegation(child, after.ns, (), after.glue))

    async def test_what_was_read_is_confirmed_in_one_go_until_somebody_changes_it(self, server: ContractServer) -> None:
        """Nothing is confirmed that is not so; who is left out is read."""
        moved, lost, glued, same, below = map(self.name, ("child1", "child2", "child4", "child5", "below.child7"))
        target = names.from_text("ns.elsewhere.test.")
        async with opened(server) as backend:
            known = [await backend.read(child) for child in (moved, lost, glued, same, below)]
            assert await backend.unchanged([]) == frozenset()
            assert {moved, lost, glued, same} <= await backend.unchanged(known) <= {moved, lost, glued, same, below}
            host = known[2].delegation.glue[0].owner
            server.edit([(moved, RRType.NS)], [ResourceRecord(moved, RRType.NS, 7200, target)])
            server.edit([(lost, RRType.DS)])
            server.edit([(host, RRType.A)], [ResourceRecord(host, RRType.A, 7200, IPv4Address("11.9.9.9").packed)])
            before = known[2].delegation
            address = RR(host, RRType.A, IPv4Address("11.9.9.9").packed)
            kept = [each for each in before.records if (each.owner, each.rtype) != (host, RRType.A)]
            await shows(backend, Delegation.of(glued, [*kept, address]))
            assert same in await backend.unchanged(known) <= {same, below}
            assert await backend.unchanged([Reading(self.full("child5"))]) == frozenset()

    async def test_the_delegation_around_a_name_is_told(self, server: ContractServer) -> None:
        async with opened(server) as backend:
            assert (await backend.read(self.name("below.child1"))).enclosing == self.name("child1")
            assert (await backend.read(self.name("far.below.child1"))).enclosing == self.name("child1")

    async def test_the_delegation_below_a_name_is_told(self, serve: Serve) -> None:
        below = f"deep.inside.{self.zone_name} NS ns.elsewhere.test.\nx.child1.{self.zone_name} NS ns.elsewhere.test.\n"
        server = serve(master_file(self.zone_name, 3) + below)
        async with opened(server) as backend:
            assert (await backend.read(self.name("inside"))).nested == (self.name("deep.inside"),)
            assert (await backend.read(self.name("child1"))).nested == (self.name("x.child1"),)

    async def test_a_delegation_that_somebody_makes_above_another_one_is_told_and_may_be_changed(
        self, serve: Serve
    ) -> None:
        """The one below is hidden by it, keeps its records, and stands in nobody's way."""
        below, above = self.name("deep.inside"), self.name("inside")
        target = names.from_text("ns.elsewhere.test.")
        server = serve(master_file(self.zone_name, 3) + f"{names.to_text(below)} 60 NS {names.to_text(target)}\n")
        hidden = Delegation(below, (target,))
        async with opened(server) as backend:
            assert await backend.read(below) == Reading(hidden)
            server.edit(add=[ResourceRecord(above, RRType.NS, 60, target)])
            made = Delegation(above, (target,))
            await shows(backend, made)
            assert (await backend.read(below)).enclosing == above
            after = self.delegation("inside", ["ns1", "ns.elsewhere.test."], [4711], {"ns1": ["11.4.0.1"]})
            await self.carried_out(backend, [Change(made, after)])
            await lists(backend, after)
            await lists(backend, hidden)

    async def test_a_name_outside_the_zone_is_rejected(self, server: ContractServer) -> None:
        async with opened(server) as backend:
            for name in (names.from_text("child.elsewhere.test."), names.from_text(self.zone_name)):
                with pytest.raises(BackendRejected):
                    await backend.read(name)

    async def test_a_delegation_that_makes_no_sense_stops_no_listing(self, server: ContractServer) -> None:
        """It stands there as unreadable, with the reason; and no other is read any worse for it."""
        child = self.name("child3")
        if not server.spoil(child):
            return  # there is nothing that could end a listing
        others = [generated(self.zone_name, number) for number in range(10) if number != 3]
        async with opened(server) as backend:
            found = [each async for each in backend.children()]
            (told,) = [each for each in found if isinstance(each, Unreadable)]
            assert (told.child, names.from_text(told.name)) == (child, child)
            assert told.reason
            assert {each for each in found if isinstance(each, Reading)} == {Reading(each) for each in others}
            for each in others:
                assert (await backend.read(each.child)).delegation == each

    async def test_all_delegations_are_listed_in_bounded_memory(self, serve: Serve) -> None:
        server = serve(master_file(self.zone_name, self.delegations))
        async with opened(server) as backend:
            wanted = {number: generated(self.zone_name, number) for number in (0, 7, self.delegations - 1)}
            count = 0
            gc.collect()
            tracemalloc.start()
            try:
                async for found in backend.children():
                    assert isinstance(found, Reading)
                    count += 1
                    for number, delegation in list(wanted.items()):
                        if found.delegation.child == delegation.child:
                            assert found == Reading(wanted.pop(number))
                grown = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert (count, wanted) == (self.delegations, {})
            assert grown <= self.listing_octets, f"{grown} octets at the most"
