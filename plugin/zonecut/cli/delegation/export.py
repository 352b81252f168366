"""`zonecut delegation export`: all delegations of a parent zone, and where they differ from the ledger."""

import errno
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from time import time
from typing import IO, Annotated

import typer

from zonecut.cli import owner, session
from zonecut.cli.delegation.comparison import Comparison, compare
from zonecut.cli.delegation.missing_glue import MissingGlue
from zonecut.cli.delegation.name_set import Listed
from zonecut.cli.failures import Exit
from zonecut.cli.options import ConfigOption, JsonOption, ZoneArgument
from zonecut.cli.terminal import output
from zonecut.cli.terminal.progress import ProgressLine
from zonecut.config import Loaded, ParentSection
from zonecut.plugin import Backend, Reading, Unreadable
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.change.policy import shortcomings
from zonecut.store import Store

BATCH = 500
"""Delegations that are compared at once, and so in memory."""


def command(
    zone: ZoneArgument,
    target: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write to a file.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Say what `policy` has against each.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write all delegations of a parent zone, and where they are not as zonecut left them.

    Those that the server holds, as the text of a zone file with comments, or as a JSON array of what `delegation show`
    prints. Children of which the ledger holds no applied change are compared with nothing.

    With --check, what the zone's `policy` has against a delegation as it stands is said, too, and which of its name
    servers lie in another delegation and have no address there. It keeps no child from changing something else, or from
    mending it step by step; a change that makes it worse is refused.

    Exit code 3: some differ, since somebody changed them through another channel; or, with --check, some are unfit.
    Exit code 1: some cannot be read, since what the server holds for them makes no sense; a comment says which and why.

    Example: zonecut delegation export parent.example. --output delegations.zone
    """
    loaded = session.load(config)
    section = session.parent_at(loaded, zone)
    with _destination(target) as file:
        count = _Count()
        wanted = target is not None or not sys.stdout.isatty()
        session.run(_export(loaded, section, file, count, as_json=as_json, wanted=wanted, check=check))
    if count.unreadable:
        some = "1 child" if count.unreadable == 1 else f"{count.unreadable} children"
        output.complain(f"{some} could not be read; {count.all} were exported")
    if count.differing:
        some = _children(count.differing)
        output.complain(f"{some} not as the last applied change left them; {count.all} were exported")
    if count.unfit:
        output.complain(f"{_children(count.unfit)} not as `policy` wants them; {count.all} were exported")
    if count.unreadable:
        raise typer.Exit(Exit.FAILED)
    if count.differing or count.unfit:
        raise typer.Exit(Exit.DIFFERENT)


def _children(count: int) -> str:
    return "1 child is" if count == 1 else f"{count} children are"


class _Count:
    def __init__(self) -> None:
        self.all = 0
        self.differing = 0
        self.unfit = 0
        self.unreadable = 0


async def _export(
    loaded: Loaded,
    section: ParentSection,
    file: IO[str] | None,
    count: _Count,
    *,
    as_json: bool,
    wanted: bool,
    check: bool,
) -> None:
    with ProgressLine("delegations", wanted=wanted) as progress:
        async with session.open_store(loaded) as store, session.open_backend(loaded, section) as backend:
            with output.JsonArray(file) if as_json else nullcontext() as array:

                def tell(unreadable: Unreadable) -> None:
                    if array is not None:
                        array.add({"zone": names.to_text(section.apex), **unreadable.to_json()})
                    else:
                        # on one line, whatever stands there: it must not become a record
                        output.say(
                            " ".join(f"; {unreadable.name} cannot be read: {unreadable.reason}".split()), file=file
                        )
                    count.unreadable += 1
                    progress.advance()

                compared = _compared(section, store, backend, tell)
                async for comparison in _checked(section, backend, compared) if check else compared:
                    if array is not None:
                        array.add(comparison.to_json(section.apex))
                    else:
                        output.say_block(comparison.to_text(time()), file=file)
                    _advance(count, progress, comparison)


def _advance(count: _Count, progress: ProgressLine, comparison: Comparison) -> None:
    count.all += 1
    count.differing += bool(comparison.difference)
    count.unfit += bool(comparison.unfit)
    progress.advance()


async def _compared(
    section: ParentSection, store: Store, backend: Backend, tell: Callable[[Unreadable], None]
) -> AsyncIterator[Comparison]:
    """All that the server lists, then what else the ledger knows of; `tell` is called with what cannot be read."""
    since = time()
    with Listed() as listed:

        def tell_listed(unreadable: Unreadable) -> None:
            if unreadable.child is not None:
                listed.add([unreadable.child])
            tell(unreadable)

        async for readings in _batches(backend, tell_listed):
            listed.add([reading.delegation.child for reading in readings])
            for comparison in await compare(store, backend, readings, since):
                yield comparison
        async for children in store.ledgers.children(section.apex):
            absent = [Reading(Delegation(child)) for child in listed.missing(children)]
            for comparison in await compare(store, backend, absent, since):
                if comparison.difference or comparison.is_under_way:
                    yield comparison


async def _checked(
    section: ParentSection, backend: Backend, compared: AsyncIterator[Comparison]
) -> AsyncIterator[Comparison]:
    """The same, with what the zone's policy has against each, and which of its name servers nobody finds."""
    rules, glue = section.rules(), MissingGlue(section.apex, backend)
    async for batch in _in_batches(compared):
        delegations = [comparison.reading.delegation for comparison in batch]
        for comparison, each, missing in zip(batch, delegations, await glue.of(delegations), strict=True):
            unfit = (*shortcomings(rules, each), *missing) if each.is_delegated else ()
            yield replace(comparison, unfit=unfit)


async def _in_batches(compared: AsyncIterator[Comparison]) -> AsyncIterator[Sequence[Comparison]]:
    batch: list[Comparison] = []
    async for comparison in compared:
        batch.append(comparison)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _batches(backend: Backend, tell: Callable[[Unreadable], None]) -> AsyncIterator[Sequence[Reading]]:
    batch: list[Reading] = []
    async for reading in backend.children():
        if isinstance(reading, Unreadable):
            tell(reading)
            continue
        batch.append(reading)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


@contextmanager
def _destination(target: Path | None) -> Iterator[IO[str] | None]:
    """The file to write to, None for standard output. A regular file takes its place when it is complete."""
    if target is None:
        yield None
        return
    with owner.as_writer(target):
        if target.exists() and not target.is_file():
            descriptor = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise FileExistsError(errno.EEXIST, "it was replaced meanwhile", str(target))
        else:
            descriptor = None
            real = Path(os.path.realpath(target))
    if descriptor is not None:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
        return
    partial = real.with_name(f".{real.name}.{os.getpid()}")
    try:
        with owner.as_writer(target):
            file = partial.open("x", encoding="utf-8")
        with file:
            yield file
        with owner.as_writer(target):
            partial.replace(real)
    except BaseException:
        with suppress(OSError), owner.as_writer(target):
            partial.unlink()
        raise
