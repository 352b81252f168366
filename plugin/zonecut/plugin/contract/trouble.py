"""Servers that are gone, slow, or will not have us: errors of the interface, in time."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest

from zonecut.plugin.backend import Backend, BackendMisconfigured, BackendUnavailable, Change
from zonecut.plugin.contract.base import ContractTests
from zonecut.plugin.contract.looking import listed, opened, shows, unchanged
from zonecut.plugin.contract.server import ContractServer, Serve, digest, generated, master_file, signature
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.rrset import ResourceRecord


class TroubleContract(ContractTests):
    """The contract about what goes wrong."""

    async def test_a_server_that_is_gone_is_unavailable_and_comes_back(self, server: ContractServer) -> None:
        change = Change(Delegation(self.name("new")), self.full("new"))
        async with opened(server) as backend:
            await backend.read(self.name("child1"))
            server.stop()
            await self.fails(server, backend.write([change]))
            late = server.backend()
            with suppress(BackendUnavailable):
                await late.open()
            await late.close()
            server.start()
            await self.carried_out(backend, [change], repeated=True)
            server.stop()
            server.start()
            assert await backend.verify([change]) == ()

    async def test_a_server_that_does_not_answer_is_unavailable_in_time(self, server: ContractServer) -> None:
        change = Change(Delegation(self.name("new")), self.full("new"))
        async with opened(server) as backend:
            server.hold()
            try:
                began = time.monotonic()
                await self.fails(server, backend.write([change]))
                assert time.monotonic() - began < server.patience + 2
            finally:
                server.release()
            await self.carried_out(backend, [change], repeated=True)

    async def test_wrong_credentials_are_a_misconfiguration(self, server: ContractServer) -> None:
        with server.stranger() as backend:
            with pytest.raises(BackendMisconfigured) as refused:
                await _open_and_write(backend, Change(Delegation(self.name("new")), self.full("new")))
            assert refused.value.reason
            await backend.close()
        async with opened(server) as rightful:
            await unchanged(rightful, [Delegation(self.name("new"))])

    async def test_a_zone_that_the_server_does_not_have_is_a_misconfiguration(self, server: ContractServer) -> None:
        backend = server.misplaced()
        with pytest.raises(BackendMisconfigured) as refused:
            await backend.open()
        assert refused.value.reason
        await backend.close()

    @pytest.mark.parametrize("made", [signature, digest])
    async def test_a_zone_that_somebody_else_has_signed_or_digested_is_refused(
        self, serve: Serve, made: Callable[[str], str]
    ) -> None:
        """It would be bogus with the first change: nobody makes its signatures, or its digest, anew."""
        if self.makes_zones or (self.signs_zones and made is signature):
            return  # this server makes them itself
        backend = serve(master_file(self.zone_name, 2) + made(self.zone_name)).backend()
        with pytest.raises(BackendMisconfigured, match=r"RRSIG|NSEC|DNSKEY|ZONEMD"):
            await backend.open()
        await backend.close()

    async def test_after_every_kind_of_change_the_server_starts_with_it(self, server: ContractServer) -> None:
        """Also where somebody has another TTL in an RRset that is changed."""
        child = self.name("child1")
        glue = {"ns1": ["11.3.0.1"], "ns2": ["11.3.0.2", "2610::3:2"]}
        states = [
            generated(self.zone_name, 1),
            self.delegation("child1", ["ns1", "ns2", "ns.elsewhere.test."], [7, 8], {**glue, "ns1": ["11.3.0.9"]}),
            self.delegation("child1", ["ns1", "ns2"], [8], glue),
            self.delegation("child1", ["ns.elsewhere.test."]),
            Delegation(child),
            generated(self.zone_name, 1),
        ]
        async with opened(server) as backend:
            for before, after in pairwise(states):
                await shows(backend, before)
                if before.is_delegated:
                    server.edit([(child, RRType.NS)], [ResourceRecord(child, RRType.NS, 17, ns) for ns in before.ns])
                    await shows(backend, before)
                change = Change(before, after)
                await self.carried_out(backend, [change])
                server.stop()
                server.start()
                assert await backend.verify([change]) == ()

    async def test_a_zone_that_is_gone_is_no_zone_without_delegations(self, server: ContractServer) -> None:
        """What is missing says something only where it could have been seen."""
        there, nobody = generated(self.zone_name, 1), Delegation(self.name("nobody"))
        async with opened(server) as backend:
            assert (await backend.read(there.child)).delegation == there
            server.lose_zone()
            try:
                for operation in (
                    backend.read(there.child),
                    backend.read(nobody.child),
                    backend.read(self.name("below.nobody")),
                    backend.verify([Change(there, Delegation(there.child))]),
                    backend.verify([Change(nobody, self.full("nobody"))]),
                    listed(backend),
                    backend.read_rrsets([self.name("updater")]),
                    backend.write([Change(there, Delegation(there.child))]),
                    backend.replace_rrsets((), self.announcements()),
                ):
                    await self.fails(server, operation)
                late = server.backend()
                await self.fails(server, late.open())
                await late.close()
            finally:
                server.find_zone()
            await shows(backend, there)

    async def test_a_backend_may_be_opened_again_and_closed_twice(self, server: ContractServer) -> None:
        backend = server.backend()
        await backend.close()
        for _ in range(2):
            await backend.open()
            assert (await backend.read(self.name("child1"))).delegation == generated(self.zone_name, 1)
        await backend.close()
        await backend.close()

    async def test_reads_overlap_with_writes(self, server: ContractServer) -> None:
        async with opened(server) as backend:
            reading = asyncio.gather(*(backend.read(self.name(f"child{i % 10}")) for i in range(200)))
            before = Delegation(self.name("new"))
            known = [await backend.read(self.name(f"child{i}")) for i in range(10)]
            looking = asyncio.gather(*(backend.unchanged(known) for _ in range(5)))
            for _ in range(5):
                await backend.write([Change(before, self.full("new"))])
                await backend.write([Change(self.full("new"), before)])
            assert all(found.delegation.ns for found in await reading)
            assert await looking == [{each.delegation.child for each in known}] * 5


async def _open_and_write(backend: Backend, change: Change) -> None:
    await backend.open()
    await backend.write([change])
