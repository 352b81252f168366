"""What tests expect of any of the servers that a parent may have."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import dns.rdatatype
import pytest

from lab.daemons.server import Add, Delete, Server
from lab.daemons.servers import SERVERS
from lab.process import LabError
from lab.zones import PARENT, ParentZone, Signing

Start = Callable[..., Server]
CHILD = f"child0.{PARENT}"


@pytest.fixture
def start(tmp_path: Path, server: str) -> Iterator[Start]:
    with ExitStack() as running:
        yield lambda *zones: running.enter_context(SERVERS[server](tmp_path / "server", *zones))


def _held(server: Server, zone: str = PARENT) -> set[str]:
    return {
        f"{owner} {rdataset.ttl} {dns.rdatatype.to_text(rdataset.rdtype)} {rdata}"
        for owner, rdataset in server.axfr(zone).iterate_rdatasets()
        for rdata in rdataset
        if str(owner).endswith(CHILD)
    }


def test_a_zone_is_edited_by_hand_and_survives_sigkill_and_a_restart(start: Start) -> None:
    server = start(ParentZone("other.test."), ParentZone(PARENT, delegations=2))
    before = _held(server)
    assert len(before) == 6
    server.edit(
        Delete(CHILD, "NS", f"ns2.{CHILD}"),
        Delete(CHILD, "DS"),
        Delete(f"ns2.{CHILD}"),
        Add(CHILD, 86400, "NS", "ns.elsewhere.test."),
        Add(CHILD, 60, "DS", f"1 13 2 {'ab' * 32}"),
        zone=PARENT,
    )
    after = {record for record in before if "ns2." not in record and " DS " not in record}
    after |= {f"{CHILD} 86400 NS ns.elsewhere.test.", f"{CHILD} 60 DS 1 13 2 {'ab' * 32}"}
    assert _held(server) == after
    server.kill()
    assert not server.running
    server.start()
    assert _held(server) == after
    server.verify(PARENT)
    assert server.query("elsewhere.test.", "A").rcode() == dns.rcode.REFUSED


def test_a_signed_zone_is_signed_all_over_and_stays_so(start: Start) -> None:
    server = start(ParentZone(PARENT, delegations=20, signing=Signing.IN_PLACE))
    server.verify()
    server.edit(Delete(CHILD, "DS"))
    server.verify()
    assert dns.rdatatype.RRSIG in {rrset.rdtype for rrset in server.query(CHILD, "DS", dnssec=True, tcp=True).authority}
    server.restart()
    server.verify()


def test_a_zone_that_is_not_whole_is_found_out(start: Start) -> None:
    server = start(ParentZone(PARENT, delegations=1))
    server.verify()
    server.edit(Delete(f"ns1.{CHILD}"))
    with pytest.raises(LabError, match=CHILD[:-1]):
        server.verify()
