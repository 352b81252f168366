"""The parent zone in its two files: read afresh when they change, and changed together so that a crash loses nothing.

Order of a write: both new files are on disk beside the old ones; the generated one takes its place, then the zone's
own, which has the new serial. A crash in between is mended from what stands there: see `_settle`.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from zonecut.plugin import (
    BackendContext,
    BackendError,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
)
from zonecut.protocol.rrset import RRset
from zonecut_zonefile import announced, edit, files
from zonecut_zonefile.checking import Check
from zonecut_zonefile.explained import explained
from zonecut_zonefile.files import Staged
from zonecut_zonefile.generated import Generated, header
from zonecut_zonefile.loaded import LoadedZone
from zonecut_zonefile.master.index import owners
from zonecut_zonefile.master.placed import Placed
from zonecut_zonefile.master.reader import MasterFile, read_master_file
from zonecut_zonefile.requirements import check_replaceable
from zonecut_zonefile.transaction import is_doubled, outstanding

_ATTEMPTS = 10


class _Changed(Exception):
    """Somebody changed a file after it was read."""


class Written(NamedTuple):
    """A write: the serial before and after it, and what stood in both files before and after."""

    former_serial: int
    serial: int
    zone: bytes
    generated: bytes
    zone_after: bytes
    generated_after: bytes


class ParentZone(LoadedZone):
    """The files of one parent zone. All methods block, may be called by any thread, and raise BackendError only."""

    def __init__(self, context: BackendContext, zone_file: Path, directory: Path, check: Check | None = None) -> None:
        super().__init__(context, zone_file, directory)
        self._check = check
        self._turn = threading.Lock()
        self._serial_owed = False
        self.reload_owed = False
        """The server may not have loaded what stands in the files."""

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
            break
        if self._check is not None:
            with explained(self._zone_path):
                self._check.as_it_stands(self._loaded()[0])

    def commit(self, changes: Sequence[Change]) -> Written | None:
        """Write all of these changes or none; None if there was nothing to write."""
        return self._carry_out(partial(self._write, changes))

    def _carry_out(self, write: Callable[[], None]) -> Written | None:
        with self._writing():
            for _ in self._attempts():
                try:
                    self._refresh()
                    self._settle()
                    former, older = self._loaded()
                    zone, made = former.source.data, older.source.data
                    write()
                except _Changed:
                    continue
                break
            self._refresh()
            file, generated = self._loaded()
            if file.source.data == zone:
                return None
            assert former.serial is not None
            assert file.serial is not None
            return Written(former.serial, file.serial, zone, made, file.source.data, generated.source.data)

    def take_back(self, written: Written) -> int:
        """Put back what stood in the files before, with the serial after the one that is refused; returns that.

        Raises BackendUnavailable where somebody has changed a file since.
        """
        with self._writing():
            self._refresh(force=True)
            file, generated = self._loaded()
            if (file.source.data, generated.source.data) != (written.zone_after, written.generated_after):
                raise BackendUnavailable(f"{file.source.path} has been changed since, and nothing was taken back")
            serial = edit.next_serial(written.serial)
            older = Generated(
                replace(generated.source, data=written.generated), self._apex, file.ours[0].origin, self._context.ttls
            )
            with explained(file.source.path):
                source = replace(file.source, data=written.zone)
                former = read_master_file(source, self._apex, generated=self._generated_path)
                zone = edit.content(self._edited(former, (), serial, BackendMisconfigured))
                try:
                    self._serial_owed = self.reload_owed = True
                    Staged(generated.source.path, older.with_blocks({}, serial), generated.source.path).commit()
                    Staged(file.source.path, zone, file.source.path).commit()
                    self._serial_owed = False
                finally:
                    self._file = self._generated = None
            self._refresh()
            return serial

    def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> Written | None:
        """Replace RRsets, all of them or none."""
        return self._carry_out(partial(self._write_rrsets, before, after))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """While nobody else of ours writes. Who reads waits for what is written, and not for its turn."""
        with self._turn, explained(self._generated_path), files.locked(self._generated_path.parent), self._lock:
            yield

    def _attempts(self) -> Iterator[int]:
        yield from range(_ATTEMPTS)
        raise BackendUnavailable(f"{self._zone_path} or {self._generated_path} changes whenever it is to be written")

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
                for record in self._outer
                if record.fixed is None and is_doubled(record, self._zone, self._outer, generated.index)
            ]
        if half_done or edit.ends_within_include(file):
            with explained(file.source.path):
                edited = self._edited(file, moving, following, BackendMisconfigured)
                if moving:
                    # Somebody else may have written what is about to be the only copy.
                    files.fsync(generated.source.path)
                    files.fsync(generated.source.path.parent)
                staged = Staged(file.source.path, edit.content(edited), file.source.path)
                self._replace(staged, edited, moving)
            self._may_overlap = self._may_overlap and not half_done

    def _write(self, changes: Sequence[Change]) -> None:
        file, generated = self._loaded()
        needed = outstanding(self._zone, file.aliases, changes)
        if not needed:
            return
        assert file.serial is not None
        serial = edit.next_serial(file.serial)
        moving: dict[Placed, None] = {}
        gone: dict[Placed, None] = {}
        entangled = False
        for change in needed:
            reading = self._zone.reading(change.child)
            entangled |= reading.enclosing is not None or bool(reading.nested)
            outer = {record for owner in (change.child, *owners(change)) for record in self._outer.at(owner)}
            for record in self._zone.concerned(change):
                (moving if record in outer else gone)[record] = None
        # what else stands in a block that is written anew is nothing of these changes, and stays
        standing = generated.standing({*generated.blocks_of(gone), *(change.child for change in needed)})
        blocks = {
            group: generated.rest(record for record in records if record not in gone)
            for group, records in standing.items()
        }
        for change in needed:
            blocks[change.child] = generated.block(change.after, self._zone.concerned(change)) + blocks[change.child]
        with explained(file.source.path):
            edited = self._edited(file, tuple(moving), serial, BackendRejected)
            zone_staged = Staged(file.source.path, edit.content(edited), file.source.path)
        try:
            # Where only the serial follows, the order in which a power cut finds the two renames does not matter:
            # until both are durable nobody was told that the change is applied, and it will be written again.
            replaced = [record for records in standing.values() for record in records]
            self._replace_generated(generated, edited, blocks, replaced, serial, durable=bool(moving))
            with explained(file.source.path):
                self._replace(zone_staged, edited, tuple(moving))
                if not moving and generated.source.path.parent != file.source.path.parent:
                    files.fsync(generated.source.path.parent)
        finally:
            zone_staged.discard()
            if entangled or self._serial_owed:
                # Who owns which glue may have changed: read it all again.
                self._file = self._generated = None

    def _write_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        file, generated = self._loaded()
        owners = {rrset.owner for rrset in (*before, *after)}
        records = [record for owner in owners for record in self._records_at(owner)]
        difference = announced.outstanding(announced.rrsets(records), before, after)
        if not difference:
            return
        replaced = {rrset.key for rrset in (*difference.before, *difference.after)}
        moving = [record for record in records if record.rr[:2] in replaced and record not in generated.announced]
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
            self._replace_generated(generated, edited, {}, (), serial, durable=True, last=last)
            with explained(file.source.path):
                self._replace(zone_staged, edited, moving)
        finally:
            zone_staged.discard()

    def _replace_generated(
        self,
        generated: Generated,
        edited: MasterFile,
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
                if self._check is not None:
                    self._check.change(file, edited, generated, staged.path)
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
