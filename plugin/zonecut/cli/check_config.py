"""`zonecut check-config`: is the configuration right, and does what it names exist?"""

from pathlib import Path
from typing import Annotated

import typer

from zonecut.cli import session, strictness
from zonecut.cli.failures import Exit
from zonecut.cli.options import ConfigOption, JsonOption
from zonecut.cli.terminal import output
from zonecut.config import DEFAULT_PATH
from zonecut.configfile import ConfigurationError


def command(
    config: ConfigOption = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Also open what it names: store, servers, children's zones."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the configuration and say all that is wrong.

    Exit code 2: the file is wrong. Exit code 1, with --strict: something that it names cannot be reached.

    Example: zonecut check-config --strict --config /etc/zonecut/zonecut.yaml
    """
    path = config or DEFAULT_PATH
    code = Exit.DONE
    problems: list[str] = []
    try:
        loaded = session.load(config)
    except ConfigurationError as error:
        problems, code = error.problems, Exit.USAGE
    else:
        if strict:
            problems = session.run(strictness.problems(loaded))
            code = Exit.FAILED if problems else Exit.DONE
    _say(path, problems, as_json)
    raise typer.Exit(code)


def _say(path: Path, problems: list[str], as_json: bool) -> None:
    if as_json:
        output.say_json({"file": str(path), "problems": problems})
    elif problems:
        for problem in problems:
            output.complain(f"{path}: {problem}")
    else:
        output.say(f"{path}: right")
