"""The server of the contract of the adapter `powerdns`."""

import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.daemons.pdns import PowerDns
from zonecut.plugin import Backend, BackendContext
from zonecut.plugin.contract import ContractServer
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.rrset import ResourceRecord
from zonecut_powerdns import PowerDnsOptions
from zonecut_powerdns.backend import PowerDnsBackend
from zonecut_powerdns.content import name_text, rdata_text, type_text

_PATIENCE = 3.0


class ContractPowerDns(ContractServer):
    """A PowerDNS with the contract's zone. It is edited by pdnsutil, behind the back of its caches."""

    patience = _PATIENCE

    def __init__(self, pdns: PowerDns, *, by_dns: bool) -> None:
        self._pdns = pdns
        self._dns = pdns.server if by_dns else None
        self._kept = pdns.directory / "kept.sqlite3"

    def backend(self) -> Backend:
        return self._backend(self._pdns.zones[0].name, self._pdns.api_key_file)

    @contextmanager
    def stranger(self) -> Iterator[Backend]:
        wrong = self._pdns.directory / "wrong.key"
        shutil.copy(self._pdns.api_key_file, wrong)
        wrong.write_text("wrong\n")
        yield self._backend(self._pdns.zones[0].name, wrong)

    def misplaced(self) -> Backend:
        return self._backend("elsewhere.test.", self._pdns.api_key_file)

    def edit(self, remove: Sequence[tuple[bytes, int]] = (), add: Sequence[ResourceRecord] = ()) -> None:
        zone = self._pdns.zones[0].name
        for owner, rtype in remove:
            self._pdns.pdnsutil("delete-rrset", zone, _relative(owner, zone), type_text(rtype))
        for record in add:
            place, kind = _relative(record.owner, zone), type_text(record.rtype)
            self._pdns.pdnsutil("add-record", zone, place, kind, str(record.ttl), _as_written(record))

    def stop(self) -> None:
        self._pdns.kill()

    def start(self) -> None:
        self._pdns.start()

    def lose_zone(self) -> None:
        self._pdns.stop()
        shutil.copy(self._pdns.database, self._kept)
        self._pdns.pdnsutil("delete-zone", self._pdns.zones[0].name)
        self._pdns.start_lacking_zones()

    def find_zone(self) -> None:
        self._pdns.stop()
        shutil.copy(self._kept, self._pdns.database)
        self._pdns.start()

    def spoil(self, child: bytes) -> bool:
        """While PowerDNS cannot read one record itself, it exports none."""
        return False

    def hold(self) -> None:
        self._pdns.send_signal(signal.SIGSTOP)

    def release(self) -> None:
        self._pdns.send_signal(signal.SIGCONT)

    def _backend(self, zone: str, key: Path) -> Backend:
        options = PowerDnsOptions(url=self._pdns.url, api_key=key, dns=self._dns, timeout=_PATIENCE)
        return PowerDnsBackend(BackendContext(names.from_text(zone), self.ttls), options)


def _relative(owner: bytes, zone: str) -> str:
    """A name as pdnsutil takes it."""
    return name_text(owner).removesuffix(f".{zone}")


def _as_written(record: ResourceRecord) -> str:
    """What a record says, with its capitals."""
    if record.rtype == RRType.NS:
        return b".".join(names.labels(record.rdata)).decode() + "."
    return rdata_text(record.rtype, record.rdata)
