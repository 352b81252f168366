"""The tree with its resolvers, running, and what every look-up in it must end in."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dns.rdatatype import RdataType

from lab.ports import LOOPBACK
from resolve_servers import RecursiveNamed, Unbound, make_certificate
from resolve_tree import Tree
from zonecut.protocol import names
from zonecut.resolve import Nameserver, Resolver, Status, TrustAnchors, Verdict

SECURE, INSECURE, BOGUS, INDETERMINATE = Verdict.SECURE, Verdict.INSECURE, Verdict.BOGUS, Verdict.INDETERMINATE
FOUND, NODATA, NXDOMAIN, ALIAS, WILDCARD, FAILED = (
    Status.FOUND,
    Status.NODATA,
    Status.NXDOMAIN,
    Status.ALIAS,
    Status.WILDCARD,
    Status.FAILED,
)

CASES = {
    # A chain that holds, with every algorithm and both kinds of denial
    "secure.test. KEY": (SECURE, FOUND),
    "p384.test. KEY": (SECURE, FOUND),
    "ed448.test. KEY": (SECURE, FOUND),
    "nsec3.test. KEY": (SECURE, FOUND),
    "optout.test. KEY": (SECURE, FOUND),
    "iterated.test. KEY": (SECURE, FOUND),
    "secure.secure.test. KEY": (SECURE, FOUND),
    "secure.optout.test. KEY": (SECURE, FOUND),
    "_sig0key.child._signal.ns1.secure.test. KEY": (SECURE, FOUND),
    "_sig0key.child._signal.ns1.nsec3.test. KEY": (SECURE, FOUND),
    "_sig0key.child._signal.ns1.optout.test. KEY": (SECURE, FOUND),
    "svcb.secure.test. SVCB": (SECURE, FOUND),
    "secure.test. DS": (SECURE, FOUND),
    # Proven absence
    "test. KEY": (SECURE, NODATA),
    "www.secure.test. KEY": (SECURE, NODATA),
    "www.nsec3.test. KEY": (SECURE, NODATA),
    "ent.secure.test. A": (SECURE, NODATA),
    "ent.nsec3.test. A": (SECURE, NODATA),
    "nothing.secure.test. KEY": (SECURE, NXDOMAIN),
    "nothing.nsec3.test. KEY": (SECURE, NXDOMAIN),
    "a.b.nothing.nsec3.test. KEY": (SECURE, NXDOMAIN),
    "x.wild.secure.test. A": (SECURE, NODATA),
    "x.wild.nsec3.test. A": (SECURE, NODATA),
    "insecure.test. DS": (SECURE, NODATA),
    # What does not count as found
    "x.wild.secure.test. KEY": (SECURE, WILDCARD),
    "x.y.wild.nsec3.test. KEY": (SECURE, WILDCARD),
    "alias.secure.test. A": (SECURE, ALIAS),
    "x.dname.secure.test. KEY": (SECURE, ALIAS),
    "x.dname.nsec3.test. KEY": (SECURE, ALIAS),
    # Proven to be without a chain
    "insecure.test. KEY": (INSECURE, FOUND),
    "insecure.nsec3.test. KEY": (INSECURE, FOUND),
    "insecure.optout.test. KEY": (INSECURE, FOUND),
    "secure.insecure.test. KEY": (INSECURE, FOUND),
    "unknown.test. KEY": (INSECURE, FOUND),
    "nothing.insecure.test. KEY": (INSECURE, NXDOMAIN),
    "nothing.optout.test. KEY": (INSECURE, NXDOMAIN),
    "alias.insecure.test. A": (INSECURE, ALIAS),
    # Broken
    "expired.test. KEY": (BOGUS, FAILED),
    "early.test. KEY": (BOGUS, FAILED),
    "wrongds.test. KEY": (BOGUS, FAILED),
    "stripped.test. KEY": (BOGUS, FAILED),
    "broken.test. KEY": (BOGUS, FOUND),
}
# 150 iterations are more than we accept, and as many as unbound does.
OURS_ONLY = {"nothing.iterated.test. KEY": (INDETERMINATE, FAILED)}
# RFC 5155 section 9.2: behind opt-out it is not secure that there is no such name. BIND calls it validated.
DELV_DIFFERS = {"nothing.optout.test. KEY"}


@dataclass(frozen=True)
class World:
    tree: Tree
    unbound: Unbound
    named: RecursiveNamed
    certificate: Path

    @property
    def anchors(self) -> TrustAnchors:
        return TrustAnchors.from_file(self.tree.anchors)

    def port(self, server: str) -> int:
        return self.unbound.port if server == "unbound" else self.named.port

    def resolver(self, server: str = "unbound") -> Resolver:
        return Resolver([Nameserver(LOOPBACK, self.port(server))], self.anchors, allowed=_is_loopback)


def _is_loopback(address: str) -> bool:
    return address.startswith("127.")


@contextmanager
def running(directory: Path) -> Iterator[World]:
    """The tree and both resolvers, unbound with DNS over TLS for the name dns.lab."""
    certificate, key = make_certificate(directory, "dns.lab")
    tree = Tree(directory / "tree")
    with ExitStack() as processes:
        processes.enter_context(tree)
        unbound = processes.enter_context(Unbound(directory / "unbound", tree, certificate, key))
        named = processes.enter_context(RecursiveNamed(directory / "named", tree))
        yield World(tree, unbound, named, certificate)


def question(case: str) -> tuple[bytes, RdataType]:
    name, rtype = case.split()
    return names.from_text(name), RdataType[rtype]
