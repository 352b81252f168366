"""Zones that dnssec-signzone has signed, and zones that the server signs or digests although it looks alike.

That such zones are refused by every adapter, the adapter contract says.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.daemons.knotd import Knotd
from lab.daemons.named import Named
from lab.process import find_command, run
from lab.zones import PARENT, ParentZone
from zonecut.plugin import Backend, BackendContext, BackendMisconfigured, Change
from zonecut.plugin.contract.looking import opened_backend
from zonecut.plugin.contract.server import ContractServer, digest, ds, generated, master_file
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut_bind import BindOptions
from zonecut_bind.backend import BindBackend
from zonecut_knot import KnotOptions
from zonecut_knot.backend import KnotBackend

pytestmark = pytest.mark.asyncio

_CONTEXT = BackendContext(names.from_text(PARENT), ContractServer.ttls)


def signed(directory: Path, keys: Path, *options: str) -> ParentZone:
    """The contract's zone as dnssec-signzone leaves it, with keys in that directory."""
    unsigned, done = directory / "unsigned.zone", directory / "signed.zone"
    keys.mkdir(parents=True, exist_ok=True)
    unsigned.write_text(master_file(PARENT, 3))
    for flags in ([], ["-f", "KSK"]):
        run([find_command("dnssec-keygen"), "-q", "-K", keys, "-a", "ECDSAP256SHA256", *flags, PARENT])
    signer = [find_command("dnssec-signzone"), "-q", "-S", "-K", str(keys), "-o", PARENT, "-O", "full", *options]
    run([*signer, "-d", directory, "-f", done, unsigned])
    return ParentZone(PARENT, text=done.read_text())


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def on_named(named: Named) -> Backend:
    return BindBackend(_CONTEXT, BindOptions(server=named.server, tsig=named.tsig_file))


@pytest.mark.parametrize("options", [(), ("-3", "-")], ids=["NSEC", "NSEC3"])
async def test_a_zone_that_named_has_no_keys_for_is_refused(
    tmp_path: Path, running: ExitStack, options: tuple[str, ...]
) -> None:
    zone = signed(tmp_path, tmp_path / "elsewhere", *options)
    named = running.enter_context(Named(tmp_path / "named", zone))
    backend = on_named(named)
    with pytest.raises(BackendMisconfigured, match=r"no keys to sign with.*dnssec-policy"):
        await backend.open()
    await backend.close()
    assert named.serial() == 1


async def test_a_zone_that_named_took_over_with_its_keys_is_accepted(tmp_path: Path, running: ExitStack) -> None:
    """It looks the same, and has no record of named's own that says who signs it: a rise of the serial tells."""
    zone = signed(tmp_path, tmp_path / "named" / "keys")
    named = running.enter_context(Named(tmp_path / "named", zone))
    assert not named.query(PARENT, "TYPE65534").answer
    before = generated(PARENT, 1)
    after = Delegation(before.child, before.ns, (ds(7),), before.glue)
    async with opened_backend(on_named(named)) as backend:
        await backend.write([Change(before, after)])
        assert await backend.verify([Change(before, after)]) == ()
    answer = named.query(names.to_text(after.child), "DS", dnssec=True).answer
    assert [rrset.rdtype.name for rrset in answer] == ["DS", "RRSIG"]


async def test_a_digest_that_knotd_makes_is_its_own_business(tmp_path: Path, running: ExitStack) -> None:
    zone = ParentZone(PARENT, text=master_file(PARENT, 3) + digest(PARENT))
    knotd = running.enter_context(Knotd(tmp_path / "knotd", zone, options=["zonemd-generate: zonemd-sha384"]))
    async with opened_backend(KnotBackend(_CONTEXT, KnotOptions(socket=knotd.socket))) as backend:
        assert (await backend.read(names.from_text(f"child1.{PARENT}"))).delegation == generated(PARENT, 1)
