"""What all parts of the contract have in common: fixtures, values, and how a change is carried out."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, ip_address

import pytest

from zonecut.plugin.backend import Backend, BackendConflict, BackendMisconfigured, BackendUnavailable, Change
from zonecut.plugin.contract.looking import shows
from zonecut.plugin.contract.server import DELEGATIONS, ContractServer, Serve, ds, master_file
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.announced.svcb import Method, Svcb
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.rrset import ResourceRecord, RRset


class ContractTests:
    """Base of the parts. Holds no test itself."""

    pytestmark = pytest.mark.asyncio

    zone_name = "parent.test."
    delegations = DELEGATIONS
    """How many the large zone has."""
    listing_octets = 16 * 2**20
    """By how much the memory in use may grow while all delegations are listed, however many there are."""
    holds_orphan_glue = True
    """False for a server that cannot hold glue that no NS names."""
    signs_zones = False
    """True for a server that signs the zone itself, whoever has signed it before."""
    makes_zones = False
    """True for a system that makes the zone from what it is told, with signatures and digests."""

    @pytest.fixture
    def serve(self) -> Serve:
        raise NotImplementedError("a subclass of BackendContract has a fixture `serve`")

    @pytest.fixture
    def server(self, serve: Serve) -> ContractServer:
        """A server with ten delegations."""
        return serve(master_file(self.zone_name, 10))

    def name(self, label: str) -> bytes:
        return names.from_text(f"{label}.{self.zone_name}")

    def delegation(
        self,
        label: str,
        ns: Iterable[str] = (),
        tags: Iterable[int] = (),
        glue: Mapping[str, Iterable[str]] | None = None,
    ) -> Delegation:
        """A value: NS names absolute or below the child, DS by key tag, glue addresses by owner below the child."""
        child = self.name(label)
        records = [
            RR(child, RRType.NS, names.from_text(text) if text.endswith(".") else self.name(f"{text}.{label}"))
            for text in ns
        ]
        records += [RR(child, RRType.DS, digest) for digest in map(ds, tags)]
        for owner, addresses in (glue or {}).items():
            for address in map(ip_address, addresses):
                rtype = RRType.A if address.version == 4 else RRType.AAAA
                records.append(RR(self.name(f"{owner}.{label}"), rtype, address.packed))
        return Delegation.of(child, records)

    def full(self, label: str) -> Delegation:
        """A delegation with something of everything."""
        glue = {"ns1": ["11.2.0.1", "2610::2:1"]}
        return self.delegation(label, ["ns1", "ns2.elsewhere.test."], [4711, 4712], glue)

    def orphaned(self, server: ContractServer) -> RR:
        """Glue below child1 that no NS names, put there by somebody else."""
        if not self.holds_orphan_glue:
            pytest.skip("this server cannot hold glue that no NS names")
        record = ResourceRecord(self.name("old.child1"), RRType.A, 60, IPv4Address("11.7.7.7").packed)
        server.edit(add=[record])
        return RR(record.owner, record.rtype, record.rdata)

    def announcements(self) -> tuple[RRset, RRset, RRset, RRset]:
        """DSYNC, A, SVCB and KEY as zonecut publishes them."""
        target = self.name("updater")
        return (
            RRset(self.name("_dsync"), RRType.DSYNC, 60, (Dsync(RRType.ANY, 2, 5354, target).to_wire(),)),
            RRset(target, RRType.A, 60, (b"\x0b\0\0\1", b"\x0b\0\0\2")),
            RRset(target, RRType.SVCB, 60, (Svcb.announcing([Method.AT_APEX, Method.MANUAL]).to_wire(),)),
            RRset(target, RRType.KEY, 60, (b"\2\0\3\x0f" + bytes(range(32)),)),
        )

    async def carried_out(self, backend: Backend, changes: Sequence[Change], *, repeated: bool = False) -> None:
        """Write these changes in one transaction, and see that they are there. `repeated`: they may be so already."""
        assert backend.batch(changes) == len(changes)
        try:
            await backend.write(changes)
        except BackendConflict:
            if not repeated:
                raise
        assert await backend.verify(changes) == ()
        for change in changes:
            await shows(backend, change.after)

    async def fails(self, server: ContractServer, operation: object) -> None:
        """An operation on a server that is away raises BackendUnavailable with a reason, and in time."""
        assert asyncio.iscoroutine(operation)
        with pytest.raises(BackendUnavailable) as failed:
            await asyncio.wait_for(operation, server.patience + 10)
        assert type(failed.value) in (BackendUnavailable, BackendMisconfigured)
        assert failed.value.reason
