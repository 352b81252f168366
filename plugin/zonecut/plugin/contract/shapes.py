"""Delegations of all shapes: unusual names, many servers, much glue, glue that nobody names."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from zonecut.plugin.backend import Change
from zonecut.plugin.branches import visible
from zonecut.plugin.contract.base import ContractTests
from zonecut.plugin.contract.looking import lists, opened, shows
from zonecut.plugin.contract.server import ContractServer, generated
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.rrset import ResourceRecord


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

    async def test_orphan_glue_is_no_condition_and_is_replaced(self, server: ContractServer) -> None:
        child, orphan = self.name("child1"), self.orphaned(server)
        before = generated(self.zone_name, 1)
        new = RR(orphan.owner, RRType.AAAA, IPv6Address("2610::99").packed)
        after = Delegation.of(child, [*before.records, RR(child, RRType.NS, orphan.owner), new])
        async with opened(server) as backend:
            await self.carried_out(backend, [Change(before, after)])
            await lists(backend, after)
