"""Name servers that say what a test tells them to. No tests of its own, no network."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

import dns.rdatatype
from dns.rdatatype import RdataType

from resolve_support import Signer, reply
from zonecut.plugin import Change
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.receiver.checks.lookups import ServerAddress
from zonecut.resolve import Direct, Status
from zonecut.resolve.reply import RRset

CHILD_NAME = "child.parent.example."
CHILD = names.from_text(CHILD_NAME)
NS1, NS2 = "ns1.child.parent.example.", "ns2.child.parent.example."
OUTSIDE = "ns.elsewhere.example."
ADDRESSES = {NS1: "1.1.1.1", NS2: "1.1.1.2", OUTSIDE: "1.1.1.3"}
SIGNER = Signer(CHILD_NAME)
DS = SIGNER.ds().to_wire() or b""
OTHER_DS = Signer(CHILD_NAME, label="another key").ds().to_wire() or b""

Say = Direct | str
"""What a server says; a text is a reason for which nothing was received."""


def delegation(*servers: str, ds: Sequence[bytes] = ()) -> Delegation:
    """The child's delegation to these servers, with glue for those in it."""
    inside = [server for server in servers if server.endswith(CHILD_NAME)]
    return Delegation.of(
        CHILD,
        [
            *(RR(CHILD, RRType.NS, names.from_text(server)) for server in servers),
            *(RR(CHILD, RRType.DS, rdata) for rdata in ds),
            *(RR(names.from_text(each), RRType.A, ip_address(ADDRESSES[each]).packed) for each in inside),
        ],
    )


BEFORE = delegation(OUTSIDE)
AFTER = delegation(NS1, NS2)


def change(after: Delegation = AFTER, before: Delegation = BEFORE) -> Change:
    return Change(before, after)


def says(
    rtype: RdataType,
    found: RRset | None = None,
    *,
    status: Status | None = None,
    rcode: Rcode = Rcode.NOERROR,
    authoritative: bool = True,
) -> Direct:
    """An answer for the child's apex, by default FOUND or, without records, NODATA."""
    status = status or (Status.FOUND if found else Status.NODATA)
    return Direct(
        address="",
        port=53,
        name=CHILD,
        rtype=rtype,
        status=status,
        reason=f"answers {rcode.name}, {status}",
        rcode=rcode,
        authoritative=authoritative,
        rdatas=found.wires if found else (),
        reply=reply([found] if found else [], rcode=rcode),
    )


def says_ns(*servers: str) -> Direct:
    return says(RdataType.NS, RRset(CHILD, RdataType.NS, 300, _ns(servers))) if servers else says(RdataType.NS)


def _ns(servers: Sequence[str]) -> tuple[dns.rdata.Rdata, ...]:
    return tuple(dns.rdata.from_text("IN", "NS", server) for server in servers)


@dataclass
class Servers:
    """All that answers: by address and type the same for ever, or one after the other, the last for ever."""

    said: Mapping[tuple[str, int], Say | Sequence[Say]] = field(default_factory=dict)
    addresses: Sequence[ServerAddress] | None = None
    """Instead of the glue and what ADDRESSES has."""
    forbidden: frozenset[str] = frozenset()
    hold: Callable[[str], Awaitable[object]] | None = None
    """Awaited before an address answers."""
    asked: Counter[tuple[str, int]] = field(default_factory=Counter)
    looked_up: int = 0

    async def server_addresses(self, delegation: Delegation) -> Sequence[ServerAddress]:
        self.looked_up += 1
        if self.addresses is not None:
            return self.addresses
        return [ServerAddress(server, ADDRESSES[names.to_text(server)]) for server in delegation.ns]

    def may_ask(self, server: ServerAddress) -> bool:
        return server.address not in self.forbidden

    async def ask(self, server: ServerAddress, name: bytes, rtype: int) -> Direct | None:
        assert server.address is not None
        place = server.address, int(rtype)
        self.asked[place] += 1
        if self.hold is not None:
            await self.hold(server.address)
        said = self.said.get(place, says(RdataType.make(rtype)))
        if isinstance(said, list):
            said = said[min(self.asked[place], len(said)) - 1]
        assert isinstance(said, Direct | str)
        if isinstance(said, str):
            return Direct(server.address, 53, name, rtype, Status.FAILED, said)
        return said


def serving(*servers: str, ns: Sequence[str] | None = None, signer: Signer | None = None) -> dict[tuple[str, int], Say]:
    """What servers say that serve the child as they should: with this NS RRset, signed by this key."""
    keys = (signer or SIGNER).dnskeys()
    said: dict[tuple[str, int], Say] = {}
    for server in servers:
        said[ADDRESSES[server], RRType.NS] = says_ns(*(servers if ns is None else ns))
        said[ADDRESSES[server], RdataType.DNSKEY] = says(RdataType.DNSKEY, keys)
    return said
