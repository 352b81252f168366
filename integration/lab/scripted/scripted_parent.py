"""A parent zone on loopback that announces a receiver which is played (`lab.scripted.hostile`), and its child.

A signed tree from its own root down, on small servers (`demo.loopback`): the parent's and the child's name servers at
ports of their own, and a resolver over them. A change that the receiver takes can be put into the parent zone.
"""

from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

from lab.ports import LOOPBACK, free_port
from lab.scripted.hostile import HostileReceiver, Received
from zonecut.demo.loopback import LoopbackAuthority, LoopbackResolver, LoopbackZone
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync, generic_text
from zonecut.protocol.announced.svcb import Method, Svcb
from zonecut.protocol.codepoints import DEFAULT, RRType, type_text
from zonecut.protocol.delegation import RR, Delegation, rdata_text
from zonecut.protocol.keys import Key
from zonecut.protocol.update import DelegationChange, read_request
from zonecut.resolve import Nameserver, Resolver, TrustAnchors

PARENT = "parent.test."
CHILD = f"child.{PARENT}"
UPDATER = f"updater.{PARENT}"

_TTL = 60
_CHILD_ZONE = """\
@ NS ns1
@ NS ns2
ns1 A 127.0.0.1
ns2 A 127.0.0.1
"""


class PlayedParent:
    """Serves the tree; used as a context manager. `parent` and `child` are zones that a test may change.

    The receiver, whose name is to be `UPDATER`, is announced with its key and `methods`, unless a test withdraws it.
    """

    def __init__(
        self,
        receiver: HostileReceiver,
        *,
        signed: bool = True,
        child_signed: bool = True,
        methods: tuple[Method, ...] = (Method.AT_APEX, Method.MANUAL),
    ) -> None:
        self.receiver = receiver
        self.child = LoopbackZone(CHILD, _CHILD_ZONE, signed=child_signed)
        self.parent = LoopbackZone(PARENT, f"@ NS ns\nns A {LOOPBACK}\n", signed=signed)
        self.root = LoopbackZone(".", f"@ NS ns\nns A {LOOPBACK}\n")
        self.delegation = Delegation(names.from_text(CHILD))
        self.delegate(self._right())
        self.root.delegate(self.parent)
        self.announce(Dsync(RRType.ANY, DEFAULT.dsync_update, receiver.port, names.from_text(UPDATER)))
        self.parent.put(UPDATER, "A", receiver.address)
        self.parent.put(UPDATER, "TYPE64", Svcb.announcing(methods).to_generic_text())
        self.publish_keys(receiver.key.pair.key)
        self.parents = LoopbackAuthority([self.root, self.parent])
        self.primary = LoopbackAuthority([self.child])
        self.resolver = LoopbackResolver([self.parents, self.primary])
        self._running = ExitStack()

    def _right(self) -> Delegation:
        """The delegation that fits the child zone as it is."""
        child = names.from_text(CHILD)
        servers = [names.from_text(f"{server}.{CHILD}") for server in ("ns1", "ns2")]
        records = [RR(child, RRType.NS, server) for server in servers]
        records += [RR(server, RRType.A, ip_address(LOOPBACK).packed) for server in servers]
        records += [RR(child, RRType.DS, ds.to_digestable()) for ds in self.child.ds]
        return Delegation.of(child, records)

    def announce(self, *records: Dsync) -> None:
        """Publish these DSYNC records for all children; none: nobody is announced."""
        if records:
            self.parent.put(f"*._dsync.{PARENT}", "TYPE66", *(record.to_generic_text() for record in records), ttl=_TTL)
        else:
            self.parent.delete(f"*._dsync.{PARENT}")

    def publish_keys(self, *keys: Key) -> None:
        """Publish these at the receiver's name, instead of the key with which it signs."""
        if keys:
            self.parent.put(UPDATER, "KEY", *(generic_text(key.rdata) for key in keys), ttl=_TTL)
        else:
            self.parent.delete(UPDATER, "KEY")

    def put_key(self, *keys: Key) -> None:
        """Publish these at the child's apex."""
        self.child.put("@", "KEY", *(generic_text(key.rdata) for key in keys), ttl=_TTL)

    def apply(self, received: Received) -> None:
        """Put the change in an UPDATE into the parent zone; a message about KEY changes nothing there."""
        request = read_request(received.envelope, names.from_text(PARENT), names.from_text(CHILD), b"")
        if isinstance(request, DelegationChange):
            self.delegate(request.apply(self.delegation))

    def delegate(self, after: Delegation) -> None:
        """Make this the delegation that the parent zone holds."""
        before, self.delegation = self.delegation, after
        for owner, rtype in {*before.rrsets, *after.rrsets}:
            rdatas = after.rrsets.get((owner, rtype), ())
            if rdatas:
                texts = (rdata_text(rtype, rdata) for rdata in rdatas)
                self.parent.put(names.to_text(owner), type_text(rtype), *texts, ttl=_TTL)
            else:
                self.parent.delete(names.to_text(owner), type_text(rtype))

    @property
    def lookups(self) -> Resolver:
        """A resolver that validates from the tree's own root down."""
        anchors = TrustAnchors.from_text(self.root.trust_anchor)
        return Resolver([Nameserver(LOOPBACK, self.resolver.port)], anchors, allowed=_any)

    def configuration(self, directory: Path, **entry: Any) -> dict[str, Any]:
        """A configuration of zonecut whose one child zone has this parent; files of it go into the directory.

        `entry` are further settings of the child, and `parent` in it of its parent.
        """
        parent = {"addresses": "any", "port": self.parents.port, **entry.pop("parent", {})}
        anchors = directory / "anchors.zone"
        anchors.write_text(self.root.trust_anchor)
        return {
            "version": 1,
            "store": {"url": f"sqlite:///{directory}/zonecut.db"},
            "resolver": {"nameservers": [f"{LOOPBACK}:{self.resolver.port}"], "trust_anchors": str(anchors)},
            "agent": {"listen": [f"{LOOPBACK}:{free_port()}"]},
            "children": [
                {
                    "zone": CHILD,
                    "primary": {"server": f"{LOOPBACK}:{self.primary.port}"},
                    "parent": parent,
                    **entry,
                }
            ],
        }

    def __enter__(self) -> Self:
        with self._running:
            for server in (self.parents, self.primary, self.resolver):
                self._running.enter_context(server)
            self._running = self._running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()


def _any(_: str) -> bool:
    return True
