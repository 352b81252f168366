"""zonecut with bootstrap methods in front of a server, its children in a tree of real servers, and an unbound."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import dns.dnssec
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdata
import dns.rdatatype

from lab.ports import LOOPBACK
from lab.process import until
from resolve_servers import Unbound
from signer import Signer
from trust_tree import VANTAGE, Hosted, TrustTree
from world import GENEROUS, World
from zonecut.store import KeyState

LIMITS = {**GENEROUS, "upload_burst": 1_000_000, "upload_rate": 100_000, "max_pending_per_child": 64}
TRUST = {"cool_down": 0.3, "retry_first": 0.3, "retry_longest": 1, "attempts": 5, "pending_per_source": 1000}
"""Given up after 2.2 to 2.8 s."""
UNVERIFIED = {"unverified_burst": 1_000_000, "unverified_rate": 100_000}

_CACHE = "  cache-max-ttl: 1\n  cache-max-negative-ttl: 1\n"


class TrustWorld(World):
    """A World whose parent zones are in a signed tree, each with an entry of the configuration that says how it trusts.

    `elsewhere` are delegations with absolute names to what others serve, by parent zone.
    """

    def __init__(
        self,
        directory: Path,
        parents: Mapping[str, Mapping[str, Any]],
        hosted: Sequence[Hosted],
        *,
        server: str = "bind",
        keys: Sequence[Signer] | Mapping[Signer, KeyState] = (),
        elsewhere: Mapping[str, str] | None = None,
        caches: bool = False,
    ) -> None:
        """With `caches`, unbound keeps what it has for as long as the TTL allows."""
        self.tree = TrustTree(directory / "tree", hosted)
        zones = [self.tree.parent_zone(name, (elsewhere or {}).get(name, "")) for name in parents]
        super().__init__(
            directory,
            *zones,
            server=server,
            keys=keys,
            parents=[_entry(entry) for entry in parents.values()],
            receiver={"limits": LIMITS, "responses": UNVERIFIED},
            further={"resolver": {}},
        )
        stubs = dict.fromkeys(parents, f"{LOOPBACK}@{self.server.port}")
        self.unbound = Unbound(directory / "unbound", self.tree, stubs=stubs, options="" if caches else _CACHE)
        self.elsewhere = Unbound(directory / "elsewhere", self.tree, stubs=stubs, options="" if caches else _CACHE)
        self.zonecut.configure(
            {
                **self.configuration,
                "resolver": {
                    "nameservers": [f"{LOOPBACK}:{self.unbound.port}"],
                    "trust_anchors": str(self.tree.anchors),
                    "vantage_points": [
                        {"name": "second", "source": VANTAGE, "resolver": f"{LOOPBACK}:{self.elsewhere.port}"}
                    ],
                },
            }
        )
        self._receiver_keys: dict[str, bytes] = {}

    def start_others(self, running: ExitStack) -> None:
        self.tree.crown({zone.name: self._ds_of(zone.name) for zone in self.server.zones})
        running.enter_context(self.tree)
        running.enter_context(self.unbound)
        running.enter_context(self.elsewhere)

    def _ds_of(self, zone: str) -> list[str]:
        origin = dns.name.from_text(zone)
        answer = self.server.query(zone, "DNSKEY", tcp=True)
        rdatas = answer.find_rrset(answer.answer, origin, dns.rdataclass.IN, dns.rdatatype.DNSKEY)
        return [str(dns.dnssec.make_ds(origin, rdata, "SHA256")) for rdata in rdatas if rdata.flags & 1]

    def receiver_key(self, zone: str) -> bytes:
        """The RDATA of the receiver's KEY as unbound finds and validates it."""
        if zone not in self._receiver_keys:
            until(lambda: self._fetch_key(zone), timeout=10, what=f"the KEY of updater.{zone} through unbound")
        return self._receiver_keys[zone]

    def finds_key(self, name: str) -> None:
        """Return when unbound has validated KEY records at a name, whatever it remembered of the time before."""
        until(lambda: all(self._keys_at(name)), timeout=20, what=f"a KEY at {name} through unbound")

    def _fetch_key(self, zone: str) -> bool:
        is_secure, keys = self._keys_at(f"updater.{zone}")
        if is_secure and keys:
            (self._receiver_keys[zone],) = keys
            return True
        return False

    def _keys_at(self, name: str) -> tuple[bool, list[bytes]]:
        """Whether unbound's answer is validated, and the KEY records in it."""
        query = dns.message.make_query(name, "KEY", want_dnssec=True)
        with suppress(dns.exception.DNSException):
            answer = dns.query.udp(query, LOOPBACK, port=self.unbound.port, timeout=2)
            rrsets = [rrset for rrset in answer.answer if rrset.rdtype == dns.rdatatype.KEY]
            return bool(answer.flags & dns.flags.AD), [rdata.to_wire() for rrset in rrsets for rdata in rrset]
        return False, []

    def key_of(self, signer: Signer) -> dict[str, Any]:
        """A key as the command shows it."""
        found: list[dict[str, Any]] = self.zonecut.cli(
            "key", "show", signer.text, "--fingerprint", signer.pair.key.fingerprint()
        )
        (key,) = found
        return key

    def events_of(self, event: str, signer: Signer) -> list[dict[str, Any]]:
        """The log's events of that name that are about this key."""
        return [
            each
            for each in self.zonecut.log_events(event)
            if (each.get("child"), each.get("key")) == (signer.text, signer.tag)
        ]


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    merged = {
        "addresses": [LOOPBACK],
        "publish": True,
        "checks": {"ds_continuity": "off", "ns_consistency": "off"},
        **entry,
    }
    return {
        **merged,
        "trust": {**TRUST, **entry.get("trust", {})},
        "policy": {"glue_addresses": "any", **entry.get("policy", {})},
    }
