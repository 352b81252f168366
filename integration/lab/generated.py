"""A named whose zones a generator makes of a registry's tables; for the adapter `database`."""

from pathlib import Path
from typing import Any

import dns.message
import dns.zone

from lab.daemons.named import Named, forbid_updates
from lab.daemons.server import Edit
from lab.process import until
from lab.registry import Registry, SqliteRegistry
from lab.zones import ParentZone


class GeneratedNamed(Named):
    """named and the registry's tables. Before it is asked anything, the generator has caught up with the tables.

    The serial of a zone is that of the tables. What is killed is named alone.
    """

    def __init__(self, directory: Path, *zones: ParentZone, registry: Registry | None = None, **options: Any) -> None:
        self.registry = registry or SqliteRegistry(directory / "registry")
        for zone in zones:
            self.registry.add(zone)
        self._generated: dict[str, int] = {}
        super().__init__(directory, *zones, **options)
        forbid_updates(directory)

    def backend(self) -> dict[str, Any]:
        return self.registry.backend()

    def edit(self, *edits: Edit, zone: str | None = None) -> None:
        self.registry.edit(self.name_of(zone), *edits)

    def query(self, name: str, rdtype: str, **options: Any) -> dns.message.Message:
        for zone in self.zones:
            self._catch_up(zone.name)
        return super().query(name, rdtype, **options)

    def axfr(self, zone: str | None = None) -> dns.zone.Zone:
        self._catch_up(self.name_of(zone))
        return super().axfr(zone)

    def write_zone_files(self) -> None:
        for zone in self.zones:
            self._generate(zone.name)

    def _catch_up(self, zone: str) -> None:
        if self._generated[zone] == self.registry.serial(zone):
            return
        serial = self._generate(zone)
        if self.running:
            self.rndc("reload", zone)
            until(lambda: self._loaded(zone) == serial, timeout=10, what=f"{zone} is loaded with serial {serial}")

    def _generate(self, zone: str) -> int:
        """Write the zone's file, and return its serial."""
        text, serial = self.registry.generated(zone)
        self.zone_file(zone).write_text(text)
        self._generated[zone] = serial
        return serial

    def _loaded(self, zone: str) -> int:
        return int(super().query(zone, "SOA", tcp=True).answer[0][0].serial)
