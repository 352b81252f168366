"""`zonecut key end`: an operator says that delegations are gone for good: the trust in their children's keys ends."""

from typing import Annotated

import typer

from zonecut.cli import actor, session
from zonecut.cli.failures import Exit, UsageFailure
from zonecut.cli.options import ConfigOption, DryRunOption, JsonOption, OptionalChildArgument, ReasonOption, name_of
from zonecut.cli.terminal import output
from zonecut.config import Loaded
from zonecut.protocol import names
from zonecut.receiver.keys.absence import is_proven
from zonecut.store import Watch

PAGE = 1000


def command(
    child: OptionalChildArgument = None,
    gone: Annotated[
        bytes | None,
        typer.Option("--gone", parser=name_of, metavar="ZONE", help="All children of a parent zone that are gone."),
    ] = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End the trust in the keys of a child whose delegation is gone.

    zonecut ends it by itself when the delegation was away at every look of `trust.gone_after`, but not where more are
    away at a time than `trust.gone_at_most`: that is more likely a mistake, and when they come back nothing has
    happened. Those that do not are left to an operator. --gone ends it for all that were away for the whole period and
    are not there now.

    The keys may be uploaded again by whoever holds the name then.

    Example: zonecut key end --gone parent.example. --dry-run
    """
    if (child is None) == (gone is None):
        raise UsageFailure("either a CHILD, or --gone ZONE")
    loaded = session.load(config)
    raise typer.Exit(session.run(_end(loaded, child, gone, reason, dry_run=dry_run, as_json=as_json)))


async def _end(
    loaded: Loaded, child: bytes | None, gone: bytes | None, reason: str, *, dry_run: bool, as_json: bool
) -> Exit:
    ended: list[dict[str, object]] = []
    async with session.open_store(loaded) as store:
        children = [child] if child is not None else [each.child for each in await _gone(loaded, gone or b"")]
        for each in children:
            count = 0 if dry_run else await store.watches.end_by_operator(each, actor.operator(), reason)
            ended.append({"child": names.to_text(each), "keys": count})
    if as_json:
        output.say_json({"ended": ended, "dry_run": dry_run})
        return Exit.DONE
    with output.Table("CHILD", *(() if dry_run else ("KEYS ENDED",))) as table:
        for entry in ended:
            table.add(entry["child"], *(() if dry_run else (entry["keys"],)))
    return Exit.DONE


async def _gone(loaded: Loaded, zone: bytes) -> list[Watch]:
    """What was away for the whole period, and is not there now."""
    section = session.parent_at(loaded, zone)
    found = []
    async with session.open_store(loaded) as store, session.open_backend(loaded, section) as backend:
        page = await store.watches.absent(zone, b"", PAGE)
        while page:
            for watch in page:
                if is_proven(watch, section.trust.gone_after):
                    reading = await backend.read(watch.child)
                    if not reading.delegation.is_delegated:
                        found.append(watch)
            page = await store.watches.absent(zone, page[-1].child, PAGE)
    return found
