"""What alpha and zonecut look up: a signed tree on loopback from its own root down, with a resolver in front of it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import dns.zone

from zonecut.demo.authority import ALPHA, PARENT
from zonecut.demo.loopback import LoopbackAuthority, LoopbackResolver, LoopbackZone, faults
from zonecut.demo.processes import LOOPBACK
from zonecut.demo.report import DemoFailure
from zonecut.protocol.dsync import generic_text
from zonecut.protocol.keys import Key
from zonecut.protocol.rrset import RRset
from zonecut.resolve import Nameserver, Resolver, TrustAnchors

SLOW = 1.0
"""Seconds by which an answer can be made to come later: less than the patience of who looks it up."""

_APEX = """\
@   NS ns1
@   NS ns2
ns1 A  192.0.2.11
ns2 A  192.0.2.12
"""


class Tree:
    """A root, parent.example. as a signer in front of its public servers would have it, and alpha, all of them signed.

    Nobody else's servers are asked: who looks something up has this root's trust anchor and this resolver.
    """

    def __init__(self) -> None:
        self._alpha = LoopbackZone(ALPHA, _APEX)
        self._parent = LoopbackZone(PARENT, "@ NS ns1\nns1 A 192.0.2.1\n")
        self._root = LoopbackZone(".", "@ NS ns\nns A 192.0.2.2\n")
        self._root.delegate(self._parent)
        self._authority = LoopbackAuthority([self._root, self._parent, self._alpha])
        self.resolver = LoopbackResolver([self._authority])
        """To be entered before anything is looked up."""

    @property
    def nameserver(self) -> str:
        """The resolver, as `resolver.nameservers` has it."""
        return f"{LOOPBACK}:{self.resolver.port}"

    @property
    def trust_anchor(self) -> str:
        """What `resolver.trust_anchors` is to hold."""
        return self._root.trust_anchor

    @property
    def alpha_ds(self) -> str:
        """The data of the DS record that the parent has for alpha."""
        return str(self._alpha.ds[0])

    def sign_parent(self, content: dns.zone.Zone) -> None:
        """Sign the parent zone as its server has it now, with the same keys as before."""
        self._parent.load(content)

    def publish_key(self, key: Key) -> None:
        """Put a KEY record at alpha's apex."""
        self._alpha.put("@", "KEY", generic_text(key.rdata))

    @contextmanager
    def slow_key(self) -> Iterator[None]:
        """Let whoever asks for alpha's KEY wait for `SLOW` seconds."""
        self._authority.override(ALPHA, "KEY", faults.slow(SLOW))
        try:
            yield
        finally:
            self._authority.override(ALPHA, "KEY")

    def look_up(self, name: bytes, rtype: int) -> RRset:
        """An RRset, validated by our own code from the trust anchor down. Raises DemoFailure if it is not secure."""
        anchors = TrustAnchors.from_text(self.trust_anchor)
        resolver = Resolver([Nameserver.from_text(self.nameserver)], anchors)
        found = asyncio.run(resolver.lookup(name, rtype))
        if not found.is_proven:
            raise DemoFailure(f"a look-up found nothing that can be trusted: {found}")
        return RRset(found.name, found.rtype, found.ttl, found.rdatas)
