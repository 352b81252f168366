"""`zonecut check-config`: is the configuration right, and does what it names exist?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zonecut.cli import output, session
from zonecut.cli.failures import Exit
from zonecut.cli.options import ConfigOption, JsonOption

if TYPE_CHECKING:
    from zonecut.config import Loaded


def command(
    config: ConfigOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Also open the store and the server of every parent zone.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the configuration and say all that is wrong.

    Exit code 2: the file is wrong. Exit code 1, with --strict: something that it names cannot be reached.

    Example: zonecut check-config --strict --config /etc/zonecut/zonecut.yaml
    """
    from zonecut.config import DEFAULT_PATH
    from zonecut.configfile import ConfigurationError

    path = config or DEFAULT_PATH
    code = Exit.DONE
    problems: list[str] = []
    try:
        loaded = session.load(config)
    except ConfigurationError as error:
        problems, code = error.problems, Exit.USAGE
    else:
        if strict:
            problems = session.run(_unreachable(loaded))
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


async def _unreachable(loaded: "Loaded") -> list[str]:
    """What the configuration names and cannot be opened, one line each."""
    from time import monotonic

    from zonecut.plugin import BackendError
    from zonecut.receiver.tally import Tally
    from zonecut.serve.hook import Hook
    from zonecut.serve.listeners import CannotListen
    from zonecut.store import StoreError

    problems = []
    receiver = loaded.configuration.receiver
    try:
        Hook(Tally(), monotonic).prepare(receiver.hook, receiver.limits)
    except CannotListen as error:
        problems.append(str(error))
    try:
        async with session.open_store(loaded) as store:
            if store.restored:
                problems.append(f"store.url: {store.restored.reason}")
    except StoreError as error:
        problems.append(f"store.url: {error.reason}")
    for place, section in enumerate(loaded.configuration.parents):
        try:
            async with session.open_backend(loaded, section) as backend:
                problems += [f"parents[{place}].backend: {section.zone}: {each}" for each in backend.remarks()]
        except BackendError as error:
            problems.append(f"parents[{place}].backend: {section.zone}: {error.reason}")
    return problems
