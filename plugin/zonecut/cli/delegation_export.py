"""`zonecut delegation export`: all delegations of a parent zone."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from zonecut.cli import output, session
from zonecut.cli.options import ConfigOption, JsonOption, ZoneArgument
from zonecut.cli.progress import ProgressLine

if TYPE_CHECKING:
    from zonecut.config import Loaded, ParentSection


def command(
    zone: ZoneArgument,
    target: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write to a file.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write all delegations of a parent zone.

    Those that the server holds, as the text of a zone file, or as a JSON array.

    Example: zonecut delegation export parent.example. --output delegations.zone
    """
    loaded = session.load(config)
    section = session.parent_at(loaded, zone)
    with _destination(target) as file:
        session.run(_export(loaded, section, file, as_json, wanted=target is not None or not sys.stdout.isatty()))


async def _export(
    loaded: "Loaded", section: "ParentSection", file: IO[str] | None, as_json: bool, *, wanted: bool
) -> None:
    ttls = section.policy.ttl.to_ttls()
    with ProgressLine("delegations", wanted=wanted) as progress:
        async with session.open_backend(loaded, section) as backend:
            if as_json:
                with output.JsonArray(file) as array:
                    async for delegation in backend.children():
                        array.add(delegation.to_json())
                        progress.advance()
            else:
                async for delegation in backend.children():
                    typer.echo(delegation.to_text(ttls), nl=False, file=file)
                    progress.advance()


@contextmanager
def _destination(target: Path | None) -> Iterator[IO[str] | None]:
    """The file to write to, None for standard output. A regular file takes its place when it is complete."""
    if target is None:
        yield None
        return
    if target.exists() and not target.is_file():
        with target.open("w", encoding="utf-8") as file:
            yield file
        return
    real = Path(os.path.realpath(target))
    partial = real.with_name(f".{real.name}.{os.getpid()}")
    try:
        with partial.open("x", encoding="utf-8") as file:
            yield file
        partial.replace(real)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
