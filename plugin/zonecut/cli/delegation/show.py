"""`zonecut delegation show`: what the server holds for a child, and what the ledger believes."""

from collections.abc import Iterator
from time import time

import typer

from zonecut.cli import session
from zonecut.cli.delegation.comparison import Comparison, compare
from zonecut.cli.failures import Exit
from zonecut.cli.options import ChildArgument, ConfigOption, JsonOption
from zonecut.cli.terminal import output
from zonecut.config import Loaded, ParentSection
from zonecut.store import Watch, timestamps


def command(child: ChildArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what the parent's server holds for a child, with the TTLs that it has.

    It is compared with what the last change that was applied left there, and what is accepted and not yet applied is
    shown, and what of somebody else's doing keeps changes of the child out.

    Exit code 3: it differs; somebody changed it through another channel.

    Example: zonecut delegation show child.parent.example.
    """
    loaded = session.load(config)
    section = session.parent_of(loaded, child)
    comparison, watch = session.run(_compare(loaded, section, child))
    if as_json:
        document = comparison.to_json(section.apex)
        output.say_json({**document, "watch": None if watch is None else watch.to_json()})
    else:
        output.say_block(comparison.to_text(time()))
        if comparison.difference is None:
            output.say("; the ledger holds no applied change of this child")
        elif not comparison.difference:
            output.say("; as the last applied change left it")
        for line in _remarks(watch):
            output.say(f"; {line}")
    raise typer.Exit(Exit.DIFFERENT if comparison.difference else Exit.DONE)


def _remarks(watch: Watch | None) -> Iterator[str]:
    """What of somebody else's doing keeps the child's changes out."""
    if watch is not None and watch.ds_gone_since is not None:
        yield (
            f"its DS were taken out by somebody else (seen {timestamps.to_text(watch.ds_gone_since)}): by "
            "trust.foreign_ds no change of the child brings DS back before a DS set is put there by hand, or an "
            "operator trusts its keys anew: zonecut key trust"
        )
    if watch is not None and watch.suspect_since is not None:
        yield (
            "its name servers were changed by somebody else (seen "
            f"{timestamps.to_text(watch.suspect_since)}): by trust.foreign_ns its keys are to be suspended"
        )


async def _compare(loaded: Loaded, section: ParentSection, child: bytes) -> tuple[Comparison, Watch | None]:
    async with session.open_store(loaded) as store, session.open_backend(loaded, section) as backend:
        since = time()
        (found,) = await compare(store, backend, [await backend.read(child)], since)
        return found, await store.watches.of(child)
