"""The parent zone in its two files, as they were read: afresh whenever one of them has changed."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from zonecut.plugin import MAX_NAMED_BY, BackendContext, BackendRejected, Change, Host, Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.rrset import RRset
from zonecut_zonefile import announced, edit, files
from zonecut_zonefile.explained import explained
from zonecut_zonefile.generated import Generated, file_name, include_line
from zonecut_zonefile.master.index import Index, Zone
from zonecut_zonefile.master.placed import Placed
from zonecut_zonefile.master.reader import MasterFile, read_master_file
from zonecut_zonefile.requirements import check_content
from zonecut_zonefile.transaction import holds


class LoadedZone:
    """What is read of one parent zone. All methods block, may be called by any thread, and raise BackendError only."""

    def __init__(self, context: BackendContext, zone_file: Path, directory: Path) -> None:
        self._context = context
        self._apex = context.zone
        self._zone_path = zone_file
        self._generated_path = directory / file_name(context.zone)
        self._lock = threading.Lock()
        self._file: MasterFile | None = None
        self._generated: Generated | None = None
        self._outer = Index(self._apex)
        self._zone = Zone(self._apex, self._outer)
        self._may_overlap = True

    @property
    def include_line(self) -> str:
        """The line by which the zone's file includes the generated one."""
        return include_line(self._generated_path, self._apex)

    def serial(self) -> int:
        """The serial of the zone's file."""
        with self._lock:
            self._refresh()
            file, _ = self._loaded()
            assert file.serial is not None
            return file.serial

    def reading(self, child: bytes) -> Reading:
        """What the files hold for a name below the apex."""
        if not names.is_below(child, self._apex):
            raise BackendRejected(f"{names.to_text(child)} is not below the zone {names.to_text(self._apex)}")
        with self._lock:
            self._refresh()
            return self._zone.reading(child)

    def unchanged(self, readings: Sequence[Reading]) -> frozenset[bytes]:
        """Those of these children of whom the files hold what was read."""
        with self._lock:
            self._refresh()
            same = (each for each in readings if self._zone.reading(each.delegation.child) == each)
            return frozenset(each.delegation.child for each in same)

    def cuts(self) -> list[bytes]:
        """The names of all delegations."""
        with self._lock:
            self._refresh()
            return list(self._zone.cuts())

    def readings(self, children: Sequence[bytes]) -> list[Reading]:
        """Those of these that are delegated now."""
        with self._lock:
            self._refresh()
            found = (self._zone.reading(child, orphans=True) for child in children)
            return [reading for reading in found if reading.delegation.is_delegated]

    def missing(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        """The children of those changes whose `after` does not stand in the files, which are read again."""
        with self._lock:
            self._refresh(force=True)
            return tuple(change.child for change in changes if not holds(self._zone.held(change), change))

    def hosts(self, hosts: Sequence[bytes]) -> dict[bytes, Host]:
        """Who names these hosts, and their addresses."""
        with self._lock:
            self._refresh()
            file, _ = self._loaded()
            at_apex = {r.rr.rdata for r in file.kept if r.rr.rtype == RRType.NS and r.rr.owner == self._apex}
            found = {host: self._zone.host(host) for host in hosts}
            for host in at_apex.intersection(hosts):
                found[host] = replace(found[host], named_by=(self._apex, *found[host].named_by)[:MAX_NAMED_BY])
            return found

    def rrsets(self, owners: Sequence[bytes]) -> tuple[RRset, ...]:
        """All RRsets that the files hold at these names."""
        with self._lock:
            self._refresh()
            return announced.rrsets(record for owner in owners for record in self._records_at(owner))

    def _records_at(self, owner: bytes) -> list[Placed]:
        """The records of all types at a name, those of the operator's file first."""
        file, generated = self._loaded()
        if not names.is_at_or_below(owner, self._apex):
            raise BackendRejected(f"{names.to_text(owner)} is not in the zone {names.to_text(self._apex)}")
        cut = self._zone.home(owner)
        if cut is not None:
            raise BackendRejected(f"{names.to_text(owner)} lies in the delegation of {names.to_text(cut)}")
        others = (record for record in (*file.kept, *generated.announced) if record.rr.owner == owner)
        return [*self._outer.at(owner), *others]

    def _refresh(self, *, force: bool = False) -> None:
        self._load_zone_file(force=force)
        self._load_generated(force=force)

    def _load_zone_file(self, *, force: bool = False) -> None:
        with explained(self._zone_path):
            known = self._file
            # Where it is a link, the file behind it is what is read and replaced.
            path = self._zone_path.resolve()
            if known is not None and known.source.path == path:
                source = files.refreshed(known.source, force=force)
                if source.data == known.source.data and all(
                    files.refreshed(other, force=force).data == other.data for other in known.dependencies
                ):
                    if source is not known.source:
                        self._file = edit.saved(known, source)
                    return
            else:
                source = files.read(path)
            self._file = None
            file = read_master_file(source, self._apex, generated=self._generated_path)
            check_content(file, self._apex, self.include_line)
            if self._generated is not None and (known is None or known.ours[0].origin != file.ours[0].origin):
                self._generated = None
            self._file = file
            self._outer = file.index
            self._combine()

    def _load_generated(self, *, force: bool = False) -> None:
        assert self._file is not None
        with explained(self._generated_path):
            known = self._generated
            if known is not None:
                source = files.refreshed(known.source, force=force)
                if source.data == known.source.data:
                    known.source = source
                    return
            else:
                source = files.read(self._generated_path.resolve())
            self._generated = None
            self._generated = Generated(source, self._apex, self._file.ours[0].origin, self._context.ttls)
            self._combine()

    def _combine(self) -> None:
        inner = () if self._generated is None else (self._generated.index,)
        self._zone = Zone(self._apex, self._outer, *inner)
        self._may_overlap = True

    def _loaded(self) -> tuple[MasterFile, Generated]:
        assert self._file is not None
        assert self._generated is not None
        return self._file, self._generated
