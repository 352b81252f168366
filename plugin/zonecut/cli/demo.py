"""`zonecut demo`: the guided tour."""

from typing import Annotated

import typer

from zonecut.cli import output
from zonecut.cli.options import ConfigOption, JsonOption


def command(
    adapter: Annotated[str, typer.Option("--adapter", metavar="NAME", help="The kind of server to show.")] = "zonefile",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a guided tour on loopback.

    A parent zone and two children; step by step it shows what zonecut does.

    It brings a configuration of its own and leaves nothing behind. With --json the tour goes to standard error.

    Example: zonecut demo --adapter zonefile
    """
    from rich.console import Console

    from zonecut import demo

    code = demo.run(adapter, Console(stderr=as_json, highlight=False))
    if as_json:
        output.say_json({"adapter": adapter, "passed": code == 0})
    raise typer.Exit(code)
