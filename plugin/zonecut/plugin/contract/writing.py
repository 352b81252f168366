"""What a backend writes: all of it or nothing, and only on what it believes to be there."""

import asyncio
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import pytest

from zonecut.plugin.backend import BackendConflict, BackendRejected, Change, Reading, Withdrawal
from zonecut.plugin.contract.base import ContractTests
from zonecut.plugin.contract.looking import differs, listed, opened, shows, unchanged
from zonecut.plugin.contract.server import ContractServer, ds, generated
from zonecut.plugin.told import names_a_place
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.rrset import ResourceRecord


def _is_later(serial: int | None, before: int) -> bool:
    """By serial number arithmetic (RFC 1982 section 3.2)."""
    return serial is not None and 0 < (serial - before) % 2**32 < 2**31


class WritingContract(ContractTests):
    """The contract about writing."""

    async def test_many_children_change_in_one_transaction(self, server: ContractServer) -> None:
        async with opened(server) as backend:
            befores = [(await backend.read(self.name(f"child{i}"))).delegation for i in range(6)]
            afters = [
                Delegation(befores[0].child),
                self.delegation(
                    "child1", ["ns1", "ns9"], [1, 2], {"ns1": ["11.1.1.1"], "ns9": ["11.1.1.9", "2610::9"]}
                ),
                self.delegation("child2", ["ns.elsewhere.test."]),
                Delegation(befores[3].child, befores[3].ns, (), befores[3].glue),
                Delegation(befores[4].child, befores[4].ns, self.delegation("child4", tags=[7, 8]).ds, befores[4].glue),
                self.delegation("child5", ["ns1", "ns2"], [], {"ns1": ["2610::77"], "ns2": ["11.1.1.77"]}),
                *(self.full(f"new{i}") for i in range(20)),
            ]
            befores += [Delegation(after.child) for after in afters[6:]]
            changes = [Change(before, after) for before, after in zip(befores, afters, strict=True)]
            await self.carried_out(backend, changes)
            back = [Change(change.after, change.before) for change in changes]
            await self.carried_out(backend, back)
            assert await listed(backend) == {i.child: i for i in (generated(self.zone_name, n) for n in range(10))}

    async def test_the_serial_rises_with_what_is_written(self, server: ContractServer) -> None:
        """Secondaries ask for nothing else; as far as the server tells it. A signer may raise it a moment later."""
        async with opened(server) as backend:
            before, others = await backend.serial(), self.delegation("child1", ["ns3.elsewhere.test."])
            await self.carried_out(backend, [Change((await backend.read(others.child)).delegation, others)])
            for _ in range(100):
                if before is None or _is_later(await backend.serial(), before):
                    return
                await asyncio.sleep(0.1)
            pytest.fail(f"the serial stays at {before}")

    async def test_who_makes_the_zone_of_what_is_written_is_told_how_far_he_is(self, server: ContractServer) -> None:
        """What is written is in the zone, or has a number up to which somebody says that it is."""
        async with opened(server) as backend:
            before = await backend.progress()
            change = Change(Delegation(self.name("new")), self.full("new"))
            await self.carried_out(backend, [change])
            written = await backend.progress()
            assert (before is None) == (written is None) == (not server.consume("maker", 0))
            if before is None or written is None:
                return
            assert before.number < written.number == await backend.history_number()
            assert (before.consumers, written.consumers) == ((), ())
            for number, failure in ((before.number, ""), (written.number, ""), (before.number, "no room")):
                server.consume("maker", number, failure)
                now = await backend.progress()
                assert now is not None
                (consumer,) = now.consumers
                told = (now.number, consumer.name, consumer.number, consumer.failed, consumer.reason)
                assert told == (written.number, "maker", number, bool(failure), failure)
                assert consumer.idle is not None
                assert consumer.idle < 60
                assert (consumer.owing is None) == (number == written.number)
                assert (consumer.owing or 0.0) < 60

    async def test_records_are_published_with_the_ttls_of_the_context(self, server: ContractServer) -> None:
        """The TTL is not part of the interface; what can be seen is that somebody else's record takes no harm."""
        async with opened(server) as backend:
            before = (await backend.read(self.name("child1"))).delegation
            extra = self.delegation("child1", ["ns3.elsewhere.test."]).records
            await self.carried_out(backend, [Change(before, Delegation.of(before.child, [*before.records, *extra]))])

    async def test_rrsets_that_a_change_leaves_alone_keep_their_ttls(self, server: ContractServer) -> None:
        """Somebody has lowered them, for a move, say. As far as the server tells them at all."""
        before = generated(self.zone_name, 1)
        child, first, last = before.child, before.in_domain_ns()[0], before.in_domain_ns()[1]
        lowered = [(child, RRType.NS), (first, RRType.A), (last, RRType.A)]
        records = [each for each in before.records if (each.owner, each.rtype) in lowered]
        server.edit(lowered, [ResourceRecord(each.owner, each.rtype, 61, each.rdata) for each in records])
        with_ds = Delegation(child, before.ns, (*before.ds, ds(77)), before.glue)
        kept = tuple(each for each in before.glue if each.owner == first)
        fewer = Delegation(child, (first,), with_ds.ds, kept)
        async with opened(server) as backend:
            await shows(backend, before)
            ttls = (await backend.read(child)).ttls
            for key in lowered:
                assert ttls.get(key, 61) == 61
            await self.carried_out(backend, [Change(before, with_ds)])
            found = (await backend.read(child)).ttls
            for key in lowered:
                assert found.get(key) == ttls.get(key)
            await self.carried_out(backend, [Change(with_ds, fewer)])
            assert (await backend.read(child)).ttls.get(lowered[1]) == ttls.get(lowered[1])

    async def test_an_address_that_stands_where_a_server_comes_keeps_its_ttl(self, server: ContractServer) -> None:
        child, orphan = self.name("child1"), self.orphaned(server)
        held = Delegation.of(child, [*generated(self.zone_name, 1).records, orphan])
        new = RR(orphan.owner, RRType.AAAA, IPv6Address("2610::99").packed)
        after = Delegation.of(child, [*held.records, RR(child, RRType.NS, orphan.owner), new])

        async def ttl() -> int | None:
            readings = [each async for each in backend.children() if isinstance(each, Reading)]
            (found,) = (each for each in readings if each.delegation.child == child)
            return found.ttls.get((orphan.owner, orphan.rtype))

        async with opened(server) as backend:
            was = await ttl()
            await self.carried_out(backend, [Change(held, after)])
            assert await ttl() == was

    async def test_a_stale_before_is_a_conflict_and_nothing_is_written(self, server: ContractServer) -> None:
        child = self.name("child1")
        async with opened(server) as backend:
            before = (await backend.read(child)).delegation
            server.edit(remove=[(child, RRType.DS)])
            held = Delegation(child, before.ns, (), before.glue)
            await shows(backend, held)
            other = Change(Delegation(self.name("new")), self.full("new"))
            stale = Change(before, self.delegation("child1", ["ns.elsewhere.test."]))
            with pytest.raises(BackendConflict) as conflict:
                await backend.write([other, stale])
            assert conflict.value.reason
            assert set(conflict.value.children) <= {child}
            await unchanged(backend, [held, Delegation(self.name("new"))])

    @pytest.mark.parametrize(
        "part", ["ns added", "ns removed", "ds added", "glue added", "glue removed", "undelegated"]
    )
    async def test_every_part_of_a_delegation_is_a_condition(self, server: ContractServer, part: str) -> None:
        child, glue = self.name("child1"), self.name("ns1.child1")
        target = names.from_text("ns.elsewhere.test.")
        async with opened(server) as backend:
            before = (await backend.read(child)).delegation
            match part:
                case "ns added":
                    server.edit(add=[ResourceRecord(child, RRType.NS, 60, target)])
                case "ns removed":
                    server.edit([(child, RRType.NS)], [ResourceRecord(child, RRType.NS, 60, before.ns[0])])
                case "ds added":
                    server.edit(add=[ResourceRecord(child, RRType.DS, 60, ds(77))])
                case "glue added":
                    server.edit(add=[ResourceRecord(glue, RRType.A, 60, IPv4Address("11.9.9.9").packed)])
                case "glue removed":
                    server.edit([(glue, RRType.A)])
                case "undelegated":
                    server.edit([(child, RRType.NS), (child, RRType.DS), (glue, RRType.A), (glue, RRType.AAAA)])
            change = Change(before, self.delegation("child1", ["ns2.elsewhere.test."]))
            await differs(backend, before)
            with pytest.raises(BackendConflict):
                await backend.write([change])
            assert await backend.verify([change]) == (child,)

    async def test_a_child_that_somebody_else_delegated_meanwhile_is_a_conflict(self, server: ContractServer) -> None:
        child = self.name("new")
        async with opened(server) as backend:
            server.edit(add=[ResourceRecord(child, RRType.NS, 60, names.from_text("ns.elsewhere.test."))])
            await differs(backend, Delegation(child))
            with pytest.raises(BackendConflict):
                await backend.write([Change(Delegation(child), self.full("new"))])

    async def test_repeating_what_is_so_does_no_harm(self, server: ContractServer) -> None:
        async with opened(server) as backend:
            before = (await backend.read(self.name("child1"))).delegation
            changes = [
                Change(before, self.delegation("child1", ["ns9"], [5], {"ns9": ["11.1.1.9"]})),
                Change(Delegation(self.name("new")), self.full("new")),
                Change(generated(self.zone_name, 2), Delegation(self.name("child2"))),
            ]
            await self.carried_out(backend, changes)
            for repeated in (changes, changes[:1], changes[1:2], changes[2:]):
                with suppress(BackendConflict):
                    await backend.write(repeated)
                assert await backend.verify(changes) == ()
            await backend.write([])
            await backend.write([Change(changes[1].after, changes[1].after)])
            assert await backend.verify(changes) == ()

    async def test_a_record_that_cannot_be_leaves_nothing_of_its_batch(self, server: ContractServer) -> None:
        good = Change(Delegation(self.name("new")), self.full("new"))
        broken = Change(Delegation(self.name("broken")), Delegation(self.name("broken"), (b"\3not-a-name",)))
        async with opened(server) as backend:
            for batch in ([good, broken], [broken, good]):
                with pytest.raises(BackendRejected) as rejected:
                    await backend.write(batch)
                assert not names_a_place(rejected.value.told), "a child is told no path and no URL"
                await unchanged(backend, [Delegation(self.name("new")), Delegation(self.name("broken"))])
            await self.carried_out(backend, [good])

    async def test_a_delegation_beside_an_alias_is_rejected_or_reported(self, server: ContractServer) -> None:
        """BIND says NOERROR and leaves such a record out: then it is `verify` that must tell."""
        alias = self.name("alias")
        server.edit(add=[ResourceRecord(alias, RRType.CNAME, 60, names.from_text("www.elsewhere.test."))])
        good = Change(Delegation(self.name("new")), self.full("new"))
        bad = Change(Delegation(alias), self.full("alias"))
        async with opened(server) as backend:
            told = ""
            try:
                await backend.write([good, bad])
            except BackendRejected as rejected:
                told = rejected.told
                await unchanged(backend, [Delegation(self.name("new"))])
            else:
                assert await backend.verify([good, bad]) == (alias,)
        assert not names_a_place(told), "a child is told no path and no URL"

    async def test_verify_names_those_that_differ_and_no_others(self, server: ContractServer) -> None:
        async with opened(server) as backend:
            changes = [Change(Delegation(self.name(f"new{i}")), self.full(f"new{i}")) for i in range(5)]
            assert set(await backend.verify(changes)) == {change.child for change in changes}
            await self.carried_out(backend, [changes[0], changes[3]])
            assert set(await backend.verify(changes)) == {self.name(f"new{i}") for i in (1, 2, 4)}
            assert await backend.verify([]) == ()

    async def test_a_change_that_is_withdrawn_leaves_the_zone_as_it_is(self, server: ContractServer) -> None:
        unwritten = Change(generated(self.zone_name, 1), self.full("child1"), b"a request")
        written = Change(generated(self.zone_name, 2), self.full("child2"), b"another")
        async with opened(server) as backend:
            answer = await backend.withdraw(unwritten)
            assert answer is not Withdrawal.CARRIED_OUT
            if answer is Withdrawal.DROPPED:
                with pytest.raises(BackendRejected):
                    await backend.write([unwritten])
            await backend.write([written])
            for _ in range(2):
                assert await backend.withdraw(written) is not Withdrawal.DROPPED
            await shows(backend, unwritten.before)
            await shows(backend, written.after)

    async def test_a_batch_has_at_least_one_change_and_no_more_than_there_are(self, server: ContractServer) -> None:
        changes = [Change(Delegation(self.name(f"new{i}")), self.full(f"new{i}")) for i in range(5)]
        async with opened(server) as backend:
            assert 1 <= backend.batch(changes) <= 5
            assert backend.batch(changes[:1]) == 1
