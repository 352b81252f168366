"""`zonecut delegation show`: what the server holds for a child, and what the ledger believes."""

from time import time
from typing import TYPE_CHECKING

import typer

from zonecut.cli import output, session
from zonecut.cli.failures import Exit
from zonecut.cli.options import ChildArgument, ConfigOption, JsonOption

if TYPE_CHECKING:
    from zonecut.cli.comparison import Comparison
    from zonecut.config import Loaded, ParentSection


def command(child: ChildArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what the parent's server holds for a child, with the TTLs that it has.

    It is compared with what the last change that was applied left there, and what is accepted and not yet applied is
    shown.

    Exit code 3: it differs; somebody changed it through another channel.

    Example: zonecut delegation show child.parent.example.
    """
    loaded = session.load(config)
    section = session.parent_of(loaded, child)
    comparison = session.run(_compare(loaded, section, child))
    if as_json:
        output.say_json(comparison.to_json(section.apex))
    else:
        output.say_block(comparison.to_text(time()))
        if comparison.difference is None:
            output.say("; the ledger holds no applied change of this child")
        elif not comparison.difference:
            output.say("; as the last applied change left it")
    raise typer.Exit(Exit.DIFFERENT if comparison.difference else Exit.DONE)


async def _compare(loaded: "Loaded", section: "ParentSection", child: bytes) -> "Comparison":
    from zonecut.cli.comparison import compare

    async with session.open_store(loaded) as store, session.open_backend(loaded, section) as backend:
        since = time()
        (found,) = await compare(store, backend, [await backend.read(child)], since)
        return found
