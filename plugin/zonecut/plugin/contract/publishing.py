"""The zone's own records that announce the receiver."""

import pytest

from zonecut.plugin.backend import BackendConflict, BackendRejected
from zonecut.plugin.contract.base import ContractTests
from zonecut.plugin.contract.looking import listed, opened, reads
from zonecut.plugin.contract.server import ContractServer
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.rrset import RRset


class PublishingContract(ContractTests):
    """The contract about records of other types."""

    async def test_what_zonecut_publishes_is_written_read_and_removed(self, server: ContractServer) -> None:
        async with opened(server) as backend:
            ours = self.announcements()
            places = [ours[0].owner, ours[1].owner, self.name("*._dsync")]
            assert await backend.read_rrsets(places) == ()
            await backend.replace_rrsets((), ours)
            await reads(backend, places, ours)
            moved = RRset(ours[1].owner, RRType.A, 61, ours[1].rdatas[:1])
            await backend.replace_rrsets([ours[1], ours[3]], [moved])
            await reads(backend, places, [ours[0], moved, ours[2]])
            longer = RRset(moved.owner, RRType.A, 62, moved.rdatas)
            await backend.replace_rrsets([moved], [longer])
            await reads(backend, places, [ours[0], longer, ours[2]])
            await backend.replace_rrsets([ours[0], longer, ours[2]], ())
            await reads(backend, places, ())
            assert len(await listed(backend)) == 10

    async def test_other_records_than_expected_are_a_conflict_and_nothing_is_written(
        self, server: ContractServer
    ) -> None:
        async with opened(server) as backend:
            dsync, address, svcb, key = self.announcements()
            await backend.replace_rrsets((), [address])
            for before, after in (
                ((), (dsync, address)),
                ((RRset(address.owner, RRType.A, 60, address.rdatas[:1]),), (key,)),
                ((address, dsync), ()),
                ((RRset(address.owner, RRType.KEY, 60, key.rdatas),), (svcb,)),
            ):
                with pytest.raises(BackendConflict):
                    await backend.replace_rrsets(before, after)
            await reads(backend, [address.owner, dsync.owner], [address])
            # the TTL is set, and no condition
            await backend.replace_rrsets([RRset(address.owner, RRType.A, 5, address.rdatas)], ())
            await reads(backend, [address.owner, dsync.owner], ())

    async def test_what_a_wildcard_would_answer_is_not_read(self, server: ContractServer) -> None:
        async with opened(server) as backend:
            dsync = RRset(self.name("*._dsync"), RRType.DSYNC, 60, self.announcements()[0].rdatas)
            await backend.replace_rrsets((), [dsync])
            await reads(backend, [dsync.owner], [dsync])
            assert await backend.read_rrsets([self.name("child._dsync")]) == ()

    async def test_nothing_is_published_outside_the_zone_or_in_a_delegation(self, server: ContractServer) -> None:
        async with opened(server) as backend:
            for name in (names.from_text("elsewhere.test."), self.name("child1"), self.name("x.child1")):
                with pytest.raises(BackendRejected):
                    await backend.read_rrsets([name])

    async def test_the_apex_is_read_without_what_a_signer_makes(self, server: ContractServer) -> None:
        async with opened(server) as backend:
            types = {rrset.rtype for rrset in await backend.read_rrsets([names.from_text(self.zone_name)])}
            assert {RRType.SOA, RRType.NS} <= types <= {RRType.SOA, RRType.NS, RRType.CDS, 60}
