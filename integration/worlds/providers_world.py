"""A zone at two providers, each of which signs it with keys of its own (RFC 8901): both serve what their operator says.

As in `rolls_world` otherwise: the agent reads the zone at the first provider, and strict resolvers are asked all the
time.
"""

import re
import signal
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import dns.dnssec
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from agent_world import CHILD
from lab.daemons.knotd import Knotd
from lab.daemons.secondary import serial_at
from lab.daemons.server import Server
from lab.process import find_command, run, until
from lab.zonecut import ZonecutProcess
from lab.zones import ParentZone
from resolve_tree import make_zone_keys, sign_zone
from rolls_world import LATE, PROMPT, RollsWorld

_ALGORITHM = "ED25519"


class Keys:
    """A provider's keys: one that signs the zone, and those that sign keys, by their tags."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True)
        make_zone_keys(directory, CHILD, _ALGORITHM)

    def add_ksk(self) -> int:
        """Another key that signs keys; its tag."""
        words = ["-q", "-K", str(self._directory), "-a", _ALGORITHM, "-f", "KSK", CHILD]
        return int(run([find_command("dnssec-keygen"), *words]).strip().rpartition("+")[2])

    def remove(self, tag: int) -> None:
        for file in self._directory.glob(f"K*+{tag:05}.*"):
            file.unlink()

    @property
    def ksks(self) -> dict[int, DNSKEY]:
        return {tag: key for tag, key in self._all().items() if key.flags & 1}

    @property
    def records(self) -> str:
        """As lines of a zone file, for the other provider, the keys that sign the zone (RFC 8901 section 2.1.2)."""
        return "".join(f"@ DNSKEY {key}\n" for key in self._all().values() if not key.flags & 1)

    def sign(self, text: str) -> str:
        """The zone signed by these keys."""
        file, signed = self._directory / "zone", self._directory / "signed"
        file.write_text(text)
        sign_zone(self._directory, CHILD, file, signed)
        return signed.read_text()

    def _all(self) -> dict[int, DNSKEY]:
        found: dict[int, DNSKEY] = {}
        for file in self._directory.glob("K*.key"):
            text = re.sub(r"^;.*\n", "", file.read_text(), flags=re.MULTILINE).split(" DNSKEY ")[1]
            rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.DNSKEY, text)
            assert isinstance(rdata, DNSKEY)
            found[dns.dnssec.key_id(rdata)] = rdata
        return found


class ProvidersWorld(RollsWorld):
    """`child` is the first provider's server, at `PROMPT`, and `other` the second one's, at `LATE`.

    Each has the other's keys that sign the zone, unless `shares` is False; its own keys that sign those are its own
    business, but that the parent has DS for those of both. In the beginning there are no CDS.
    """

    def __init__(
        self,
        directory: Path,
        *,
        ns: Sequence[str] = ("ns1", "ns2"),
        ns_ttl: int = 1,
        shares: bool = True,
        **options: Any,
    ) -> None:
        self.keys = [Keys(directory / name) for name in ("keys-first", "keys-other")]
        self._ns, self._ns_ttl, self._serial, self._shares = tuple(ns), ns_ttl, 0, shares
        first, second = self.texts([])
        self._second = second
        super().__init__(directory, lambda world, zone: self._provider("child", first, PROMPT), **options)

    def all_ksks(self) -> list[int]:
        return sorted(tag for keys in self.keys for tag in keys.ksks)

    def texts(self, cds: Collection[int], *, ns: Sequence[str] | None = None, shares: bool | None = None) -> list[str]:
        """The next version of the zone as each provider signs it, with CDS for keys with these tags."""
        self._serial += 1
        self._ns = self._ns if ns is None else tuple(ns)
        self._shares = self._shares if shares is None else shares
        ksks = {tag: key for keys in self.keys for tag, key in keys.ksks.items()}
        records = [
            f"$ORIGIN {CHILD}\n$TTL 1\n@ SOA ns1 hostmaster {self._serial} 3600 900 604800 1\n",
            *(f"@ {self._ns_ttl} NS {name}\n" for name in self._ns),
            f"ns1 A {PROMPT}\nns2 A {LATE}\nwww A 11.0.0.80\n",
            *(f"@ CDS {dns.dnssec.make_ds(CHILD, ksks[tag], 'SHA256')}\n" for tag in cds),
        ]
        text = "".join(records)
        first, second = self.keys
        return [
            first.sign(text + second.records * self._shares),
            second.sign(text + first.records * self._shares),
        ]

    def serve(self, which: int, text: str) -> None:
        """One of the providers serves another version of the zone."""
        server, address = ((self.child, PROMPT), (self.other, LATE))[which]
        assert isinstance(server, Knotd)
        server.zone_file(CHILD).write_text(text)
        server.knotc(("zone-reload", CHILD))
        until(lambda: serial_at(address, CHILD) == self._serial, timeout=5, what=f"serial {self._serial} at {address}")

    def read_from_other(self) -> None:
        """The agent reads the zone at the second provider from now on."""
        (entry,) = self.agent.configuration["children"]
        entry["primary"] = {"server": self.other.server}
        self.agent.configure(self.agent.configuration)
        self.agent.send_signal(signal.SIGHUP)
        until(lambda: bool(self.agent.log_events("reload.done")), timeout=10, what="the agent has read that")

    def _provider(self, name: str, text: str, address: str) -> Knotd:
        return Knotd(self._directory / name, ParentZone(CHILD, text), notified=self.notify_port, also_at=[address])

    def _start_secondaries(self) -> None:
        self.other: Server = self._running.enter_context(self._provider("other", self._second, LATE))

    def delegation(self, ds: Sequence[str]) -> str:
        signing = [key for keys in self.keys if keys is self.keys[0] or self._shares for key in keys.ksks.values()]
        ds = [str(dns.dnssec.make_ds(CHILD, key, "SHA256")) for key in signing]
        return (
            "".join(f"child NS {name}.child\n" for name in self._ns)
            + "".join(
                f"{name}.child A {address}\n" for name, address in (("ns1", PROMPT), ("ns2", LATE)) if name in self._ns
            )
            + "".join(f"child DS {each}\n" for each in ds)
        )

    def _make_agent(self) -> ZonecutProcess:
        agent = super()._make_agent()
        (entry,) = agent.configuration["children"]
        del entry["backend"]
        agent.configure(agent.configuration)
        return agent
