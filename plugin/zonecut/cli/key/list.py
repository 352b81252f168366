"""`zonecut key list`: the keys in the store."""

from contextlib import nullcontext
from typing import Annotated

import typer

from zonecut.cli import session
from zonecut.cli.choices import KeyStateChoice
from zonecut.cli.options import ConfigOption, JsonOption, OptionalChildArgument
from zonecut.cli.terminal import output
from zonecut.config import Loaded
from zonecut.protocol import names
from zonecut.protocol.keys import algorithm_text
from zonecut.store import KeyState


def command(
    child: OptionalChildArgument = None,
    state: Annotated[KeyStateChoice | None, typer.Option("--state", help="Only those in this state.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the keys that are in the store, the oldest first.

    Example: zonecut key list child.parent.example. --state trusted
    """
    session.run(_list(session.load(config), child, state, as_json))


async def _list(loaded: Loaded, child: bytes | None, state: KeyStateChoice | None, as_json: bool) -> None:
    codepoints = loaded.configuration.codepoints.to_codepoints()
    table = output.Table("OWNER", "TAG", "ALGORITHM", "STATE", "METHOD", "FINGERPRINT")
    async with session.open_store(loaded) as store:
        with output.JsonArray() if as_json else nullcontext() as array, table:
            async for stored in store.keys.list(child, KeyState(state) if state else None):
                if array is not None:
                    array.add(stored.to_json())
                    continue
                key = stored.key
                table.add(
                    names.to_text(key.owner),
                    key.tag,
                    algorithm_text(key.algorithm, codepoints),
                    stored.state.value,
                    stored.method,
                    key.fingerprint(),
                )
