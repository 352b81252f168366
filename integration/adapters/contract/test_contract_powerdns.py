"""The adapter contract against a real PowerDNS: unsigned and signed, with and without reading by DNS."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from contract_powerdns_world import ContractPowerDns
from lab.daemons.pdns import PowerDns
from lab.zones import ParentZone, Signing
from zonecut.plugin import BackendRejected, Change
from zonecut.plugin.contract import BackendContract, ContractServer, Serve, master_file
from zonecut.plugin.contract.looking import listed, opened, unchanged
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation


class OnPowerDns(BackendContract):
    """What is the same for all of these servers."""

    signing = Signing.NONE
    by_dns = False

    @pytest.fixture
    def serve(self, tmp_path: Path) -> Iterator[Serve]:
        with ExitStack() as stack:

            def started(master_file: str) -> ContractServer:
                zone = ParentZone(self.zone_name, master_file, signing=self.signing)
                return ContractPowerDns(stack.enter_context(PowerDns(tmp_path / "pdns", zone)), by_dns=self.by_dns)

            yield started

    @pytest.mark.parametrize("label", ["CAPITALS", "xn--bcher-kva", "_under", "a/b"])
    async def test_unusual_names_are_written_and_read(self, server: ContractServer, label: str) -> None:
        """The API takes these, and no escape, in the owner of a record; where addresses are, only host names."""
        child = self.name(label)
        inside = names.from_text(f"NS-1.{label}.{self.zone_name}")
        targets = [names.from_text("Ns.Elsewhere.test."), names.from_text("xn--dmi-0na.test.")]
        records = [RR(child, RRType.NS, target) for target in targets]
        if names.is_host_name(child):
            records += [RR(child, RRType.NS, inside), RR(inside, RRType.A, b"\x0b\1\1\1")]
        after = Delegation.of(child, records)
        async with opened(server) as backend:
            await self.carried_out(backend, [Change(Delegation(child), after)])
            assert (await listed(backend))[child] == after
            await self.carried_out(backend, [Change(after, Delegation(child))])

    @pytest.mark.parametrize("label", [r"a\;b\ \"\(\007", r"x\.y", r"\200\255", r"a\\b", r"it\$\@"])
    async def test_names_that_the_server_does_not_take_are_rejected(self, server: ContractServer, label: str) -> None:
        async with opened(server) as backend:
            assert (await backend.read(self.name(label))).delegation == Delegation(self.name(label))
            with pytest.raises(BackendRejected, match="unsupported characters"):
                await backend.write([Change(Delegation(self.name(label)), self.full(label))])
            target = RR(self.name("new"), RRType.NS, self.name(label))
            with pytest.raises(BackendRejected, match=r"non-hostname content|Not in expected format"):
                await backend.write([Change(Delegation(target.owner), Delegation.of(target.owner, [target]))])
            await unchanged(backend, [Delegation(target.owner)])

    async def test_names_with_escapes_that_are_there_are_read(self, serve: Serve) -> None:
        label = r"a\;b\ \"\(\007\200x\.y\\"
        target = self.name(rf"n\;s.{label}")
        text = master_file(self.zone_name, 1) + f"{names.to_text(self.name(label))} NS {names.to_text(target)}\n"
        held = Delegation(self.name(label), (target,))
        async with opened(serve(text)) as backend:
            await unchanged(backend, [held])
            assert (await listed(backend))[held.child] == held
            assert await backend.verify([Change(held, held)]) == ()


class TestUnsigned(OnPowerDns):
    """Read by the API alone."""


class TestSigned(OnPowerDns):
    """Read by the API alone."""

    signing = Signing.IN_PLACE
    signs_zones = True


class TestUnsignedReadByDns(OnPowerDns):
    """`dns` is set."""

    by_dns = True


class TestSignedReadByDns(OnPowerDns):
    """`dns` is set."""

    signing = Signing.IN_PLACE
    signs_zones = True
    by_dns = True
