"""What all parties look up: a signed tree on loopback from its own root down, with a resolver in front of it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import dns.zone

from zonecut.demo.alpha import PROVIDER_ADDRESS
from zonecut.demo.loopback import LoopbackAuthority, LoopbackResolver, LoopbackZone
from zonecut.demo.processes import LOOPBACK
from zonecut.demo.report import DemoFailure
from zonecut.demo.servers.authority import PARENT
from zonecut.demo.servers.filed import FileAuthority
from zonecut.protocol.rrset import RRset
from zonecut.resolve import Nameserver, Resolver, TrustAnchors


class Tree:
    """A root, parent.example. as a signer in front of its public servers would have it, and a child, all signed.

    Nobody else's servers are asked: who looks something up has this root's trust anchor and this resolver.
    """

    def __init__(self, child: FileAuthority) -> None:
        self._child = child
        self._parent = LoopbackZone(PARENT, "@ NS ns1\nns1 A 127.0.0.1\n")
        provider = LoopbackZone("provider.example.", f"@ NS dns\ndns A {PROVIDER_ADDRESS}\n")
        self._root = LoopbackZone(".", "@ NS ns\nns A 127.0.0.1\n")
        self._root.delegate(self._parent)
        self._root.delegate(provider)
        self._resolver = LoopbackResolver([LoopbackAuthority([self._root, self._parent, provider]), child])

    @contextmanager
    def running(self) -> Iterator[None]:
        """The resolver answers, and so does the child's server, to whoever reads that zone from there."""
        with self._child, self._resolver:
            yield

    @property
    def nameserver(self) -> str:
        """The resolver, as `resolver.nameservers` has it."""
        return f"{LOOPBACK}:{self._resolver.port}"

    @property
    def trust_anchor(self) -> str:
        """What `resolver.trust_anchors` is to hold."""
        return self._root.trust_anchor

    def sign_parent(self, content: dns.zone.Zone) -> None:
        """Sign the parent zone as its server has it now, with the same keys as before."""
        self._parent.load(content)

    def look_up(self, name: bytes, rtype: int) -> RRset:
        """An RRset, validated by our own code from the trust anchor down. Raises DemoFailure if it is not secure."""
        anchors = TrustAnchors.from_text(self.trust_anchor)
        resolver = Resolver([Nameserver.from_text(self.nameserver)], anchors)
        found = asyncio.run(resolver.lookup(name, rtype))
        if not found.is_proven:
            raise DemoFailure(f"a look-up found nothing that can be trusted: {found}")
        return RRset(found.name, found.rtype, found.ttl, found.rdatas)
