"""The option `--version`."""

from typing import Annotated

import typer

from zonecut.cli.terminal import output


def _show(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        output.say(f"zonecut {version('zonecut')}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_show, is_eager=True, help="Print the version and exit.")
]
