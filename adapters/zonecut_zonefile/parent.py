"""The parent zone in its two files: read afresh when they change, and changed together so that a crash loses nothing.

Order of a write: both new files are on disk beside the old ones; the generated one takes its place, then the zone's
own, which has the new serial. A crash in between is mended from what stands there: see `_settle`.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from zonecut.plugin import (
    MAX_NAMED_BY,
    BackendContext,
    BackendError,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
    Host,
    Reading,
)
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.rrset import RRset
from zonecut_zonefile import announced, edit, files
from zonecut_zonefile.explained import explained
from zonecut_zonefile.files import Source, Staged
from zonecut_zonefile.generated import Generated, file_name, header
from zonecut_zonefile.index import Index, Zone, owners
from zonecut_zonefile.reader import MasterFile, Placed, read_master_file
from zonecut_zonefile.requirements import check_content, check_replaceable
from zonecut_zonefile.transaction import holds, is_doubled, outstanding

_ATTEMPTS = 10


class _Changed(Exception):
    """Somebody changed a file after it was read."""


class ParentZone:
    """The files of one parent zone. All methods block, may be called by any thread, and raise BackendError only."""

    def __init__(self, context: BackendContext, zone_file: Path, directory: Path) -> None:
        self._context = context
        self._apex = context.zone
        self._zone_path = zone_file
        self._generated_path = directory / file_name(context.zone)
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._file: MasterFile | None = None
        self._generated: Generated | None = None
        self._outer = Index(self._apex)
        self._zone = Zone(self._apex, self._outer)
        self._serial_owed = False
        self._may_overlap = True
        self.reload_owed = False
        """The server may not have loaded what stands in the files."""

    @property
    def include_line(self) -> str:
        """The line by which the zone's file includes the generated one."""
        path = str(self._generated_path)
        quoted = f'"{path}"' if set(path) & set(' \t;()"') else path
        return f"$INCLUDE {quoted} {names.to_text(self._apex)}"

    def open(self) -> None:
        """Check that both files are as they must be, create the generated one, finish what a crash left half done."""
        with self._lock:
            self._load_zone_file()
        check_replaceable(self._zone_path.resolve(), self._generated_path)
        with self._writing():
            self._open_generated()

    def _open_generated(self) -> None:
        if not self._generated_path.exists():
            assert self._file is not None
            assert self._file.serial is not None
            content = header(self._apex, self._file.serial)
            Staged(self._generated_path, content, self._file.source.path).commit()
        self._load_generated(force=True)
        # Nobody knows whether whoever ran before us came to the reload.
        self.reload_owed = True
        for _ in self._attempts():
            try:
                self._refresh()
                self._settle()
            except _Changed:
                continue
            return

    def reading(self, child: bytes) -> Reading:
        """What the files hold for a name below the apex."""
        if not names.is_below(child, self._apex):
            raise BackendRejected(f"{names.to_text(child)} is not below the zone {names.to_text(self._apex)}")
        with self._lock:
            self._refresh()
            return self._zone.reading(child)

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

    def commit(self, changes: Sequence[Change]) -> None:
        """Write all of these changes or none."""
        with self._writing():
            for _ in self._attempts():
                try:
                    self._refresh()
                    self._settle()
                    self._write(changes)
                except _Changed:
                    continue
                return

    def rrsets(self, owners: Sequence[bytes]) -> tuple[RRset, ...]:
        """All RRsets that the files hold at these names."""
        with self._lock:
            self._refresh()
            return announced.rrsets(record for owner in owners for record in self._records_at(owner))

    def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        """Replace RRsets, all of them or none."""
        with self._writing():
            for _ in self._attempts():
                try:
                    self._refresh()
                    self._settle()
                    self._write_rrsets(before, after)
                except _Changed:
                    continue
                return

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """While nobody else of ours writes. Who reads waits for what is written, and not for its turn."""
        with self._turn, explained(self._generated_path), files.locked(self._generated_path.parent), self._lock:
            yield

    def _attempts(self) -> Iterator[int]:
        yield from range(_ATTEMPTS)
        raise BackendUnavailable(f"{self._zone_path} or {self._generated_path} changes whenever it is to be written")

    # --- reading -------------------------------------------------------------------------------------------------

    def _refresh(self, *, force: bool = False) -> None:
        self._load_zone_file(force=force)
        self._load_generated(force=force)

    def _load_zone_file(self, *, force: bool = False) -> None:
        with explained(self._zone_path):
            known = self._file
            # Where it is a link, the file behind it is what is read and replaced.
            path = self._zone_path.resolve()
            if known is not None and known.source.path == path:
                source = _again(known.source, force)
                if source.data == known.source.data and all(
                    _again(other, force).data == other.data for other in known.dependencies
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
            self._outer = Index(self._apex, file.placed)
            self._combine()

    def _load_generated(self, *, force: bool = False) -> None:
        assert self._file is not None
        with explained(self._generated_path):
            known = self._generated
            if known is not None:
                source = _again(known.source, force)
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

    # --- writing -------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Finish what a crash or a failure left half done, in the zone's own file.

        A generated file that was written for the next serial means that the serial did not rise, and that lines of a
        child that is in both files have yet to move out of the zone's own. At any other time such lines are an
        operator's: they count, with those of the generated file, until the child changes.
        """
        file, generated = self._loaded()
        if generated.others:
            line, what = generated.others[0]
            raise BackendMisconfigured(
                f"{generated.source.path}, line {line}: {what} would be lost with the next change, for this file is "
                f"generated; move it to {file.source.path}"
            )
        assert file.serial is not None
        following = edit.next_serial(file.serial)
        half_done = self._serial_owed or generated.serial == following
        moving: list[Placed] = []
        if half_done and self._may_overlap:
            moving = [
                record
                for record in file.placed
                if record.fixed is None and is_doubled(record, self._zone, self._outer, generated.index)
            ]
        if half_done:
            with explained(file.source.path):
                edited = self._edited(file, moving, following, BackendMisconfigured)
                if moving:
                    # Somebody else may have written what is about to be the only copy.
                    files.fsync(generated.source.path)
                    files.fsync(generated.source.path.parent)
                staged = Staged(file.source.path, edit.content(edited), file.source.path)
                self._replace(staged, edited, moving)
            self._may_overlap = False

    def _write(self, changes: Sequence[Change]) -> None:
        file, generated = self._loaded()
        needed = outstanding(self._zone, file.aliases, changes)
        if not needed:
            return
        assert file.serial is not None
        serial = edit.next_serial(file.serial)
        moving: dict[int, Placed] = {}
        gone: dict[int, Placed] = {}
        entangled = False
        for change in needed:
            reading = self._zone.reading(change.child)
            entangled |= reading.enclosing is not None or bool(reading.nested)
            outer = {id(record) for owner in (change.child, *owners(change)) for record in self._outer.at(owner)}
            for record in self._zone.concerned(change):
                (moving if id(record) in outer else gone)[id(record)] = record
        # what else stands in a block that is written anew is nothing of these changes, and stays
        standing = generated.standing({*generated.blocks_of(gone.values()), *(change.child for change in needed)})
        blocks = {
            group: generated.rest(record for record in records if id(record) not in gone)
            for group, records in standing.items()
        }
        for change in needed:
            blocks[change.child] = generated.block(change.after) + blocks[change.child]
        with explained(file.source.path):
            edited = self._edited(file, tuple(moving.values()), serial, BackendRejected)
            zone_staged = Staged(file.source.path, edit.content(edited), file.source.path)
        try:
            # Where only the serial follows, the order in which a power cut finds the two renames does not matter:
            # until both are durable nobody was told that the change is applied, and it will be written again.
            replaced = [record for records in standing.values() for record in records]
            self._replace_generated(generated, blocks, replaced, serial, durable=bool(moving))
            with explained(file.source.path):
                self._replace(zone_staged, edited, tuple(moving.values()))
                if not moving and generated.source.path.parent != file.source.path.parent:
                    files.fsync(generated.source.path.parent)
        finally:
            zone_staged.discard()
            if entangled or self._serial_owed:
                # Who owns which glue may have changed: read it all again.
                self._file = self._generated = None

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

    def _write_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        file, generated = self._loaded()
        owners = {rrset.owner for rrset in (*before, *after)}
        records = [record for owner in owners for record in self._records_at(owner)]
        difference = announced.outstanding(announced.rrsets(records), before, after)
        if not difference:
            return
        replaced = {rrset.key for rrset in (*difference.before, *difference.after)}
        ours = {id(record) for record in generated.announced}
        moving = [record for record in records if record.rr[:2] in replaced and id(record) not in ours]
        for record in moving:
            announced.check_movable(record)
        staying = [record for record in generated.announced if record.rr[:2] not in replaced]
        last = announced.written((*announced.rrsets(staying), *difference.after))
        assert file.serial is not None
        serial = edit.next_serial(file.serial)
        with explained(file.source.path):
            edited = self._edited(file, moving, serial, BackendRejected)
            zone_staged = Staged(file.source.path, edit.content(edited), file.source.path)
        try:
            self._replace_generated(generated, {}, (), serial, durable=True, last=last)
            with explained(file.source.path):
                self._replace(zone_staged, edited, moving)
        finally:
            zone_staged.discard()

    def _replace_generated(
        self,
        generated: Generated,
        blocks: dict[bytes, bytes],
        gone: Sequence[Placed],
        serial: int,
        *,
        durable: bool,
        last: bytes | None = None,
    ) -> None:
        file, _ = self._loaded()
        with explained(generated.source.path):
            staged = Staged(generated.source.path, generated.with_blocks(blocks, serial, last), generated.source.path)
            try:
                if not (files.is_unchanged(generated.source) and files.is_unchanged(file.source)):
                    raise _Changed
                self._serial_owed = self.reload_owed = True
                source = staged.commit(durable=durable)
            finally:
                staged.discard()
        generated.adopt(source, blocks, gone, serial)

    def _replace(self, staged: Staged, edited: MasterFile, moving: Sequence[Placed]) -> None:
        """Put the zone's own file in its place, unless it is no longer what was read."""
        try:
            if not files.is_unchanged(edited.source):
                raise _Changed
            self.reload_owed = True
            source = staged.commit()
        finally:
            staged.discard()
        self._file = edit.saved(edited, source)
        self._outer.discard(moving)
        self._serial_owed = False

    def _edited(
        self, file: MasterFile, moving: Sequence[Placed], serial: int, immovable: type[BackendError]
    ) -> MasterFile:
        """The zone's own file without some records and with a new serial; `immovable` if others lean on them."""
        try:
            file = edit.without(file, {record.line for record in moving})
        except edit.CannotEdit as error:
            raise immovable(str(error)) from error
        try:
            return edit.with_serial(file, serial)
        except edit.CannotEdit as error:
            raise BackendMisconfigured(str(error)) from error

    def _loaded(self) -> tuple[MasterFile, Generated]:
        assert self._file is not None
        assert self._generated is not None
        return self._file, self._generated


def _again(source: Source, force: bool) -> Source:
    return files.read(source.path) if force else files.refreshed(source)
