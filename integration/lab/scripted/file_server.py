"""A named whose zones are plain files that an operator edits and `rndc reload` loads; for the adapter `zonefile`."""

from pathlib import Path
from typing import Any

from lab.daemons.named import Named, forbid_updates
from lab.daemons.server import Add, Delete, Edit
from lab.zones import ParentZone


class FiledNamed(Named):
    """named that does not change its zones itself: each includes what zonecut generates."""

    def __init__(self, directory: Path, *zones: ParentZone, **options: Any) -> None:
        included = [
            ParentZone(zone.name, text=f"{zone.master_file}$INCLUDE {_generated(directory, zone.name)} {zone.name}\n")
            for zone in zones
        ]
        super().__init__(directory, *included, **options)
        forbid_updates(directory)
        for zone in zones:
            _generated(directory, zone.name).touch()

    def backend(self) -> dict[str, Any]:
        zone = self.zones[0].name
        return {
            "adapter": "zonefile",
            "zone_file": str(self.zone_file(zone)),
            "directory": str(self.directory),
            "reload": self.rndc_argv("reload", zone),
        }

    def edit(self, *edits: Edit, zone: str | None = None) -> None:
        """In an editor: additions go to the end of the zone's file, and lines out of whichever file they stand in."""
        name = self.name_of(zone)
        generated = _generated(self.directory, name)
        for edit in edits:
            if isinstance(edit, Add):
                with self.zone_file(name).open("a") as file:
                    file.write(f"{edit.owner} {edit.ttl} {edit.rtype} {edit.data}\n")
                continue
            for path in (self.zone_file(name), generated):
                lines = path.read_text().splitlines(keepends=True)
                path.write_text("".join(line for line in lines if not _is_meant(line, edit, name)))
        self.rndc("reload", name)


def _generated(directory: Path, zone: str) -> Path:
    return directory / f"{zone}delegations"


def _is_meant(line: str, edit: Delete, zone: str) -> bool:
    """Whether a line of a record, with its owner in front, is one that is to go."""
    words = line.split()
    if not words or line[0] in ";$ \t" or edit.owner not in (words[0], f"{words[0]}.{zone}"):
        return False
    rest = [word for word in words[1:] if word != "IN" and not word.isdigit()]
    return edit.rtype in (None, rest[0]) and edit.data in (None, " ".join(line.split(rest[0], 1)[1].split()))
