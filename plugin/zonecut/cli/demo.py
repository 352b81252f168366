"""`zonecut demo`: the guided tour."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from zonecut import demo
from zonecut.cli.failures import Exit
from zonecut.cli.options import ConfigOption, JsonOption
from zonecut.cli.terminal import output
from zonecut.cli.terminal.dig_format import render
from zonecut.protocol.codepoints import DEFAULT
from zonecut.protocol.envelope import walk


class DemoChoice(StrEnum):
    """The servers that there is a tour with, by their adapters."""

    ZONEFILE = "zonefile"
    BIND = "bind"
    KNOT = "knot"
    POWERDNS = "powerdns"


def command(
    adapter: Annotated[
        DemoChoice, typer.Option("--adapter", help="The parent's server; all but zonefile have to be installed.")
    ] = DemoChoice.ZONEFILE,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the files there, and say where.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a guided tour on loopback.

    A parent zone with a receiver, a child with an agent and one that does it by hand; each step is shown and checked.

    It brings a configuration of its own and leaves nothing behind. With --json the tour goes to standard error.
    Exit code 0: each step did what it says; 1: one did not, and it says which.

    Example: zonecut demo --adapter zonefile
    """
    console = Console(stderr=as_json, highlight=False)
    report = demo.run(adapter.value, console, _rendered, keep=keep)
    if as_json:
        output.say_json(report.to_json())
    raise typer.Exit(Exit.DONE if report.passed else Exit.FAILED)


def _rendered(message: bytes) -> str:
    return render(walk(message), DEFAULT)
