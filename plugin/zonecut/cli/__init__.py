"""The command line: one module a command, which is imported when that command is run."""

import sys
from collections.abc import Sequence

import typer
from typer.main import get_command

from zonecut.cli.failures import report
from zonecut.cli.lazy import group_of
from zonecut.cli.version import VersionOption

PROGRAM = "zonecut"
_FIRST = f"{__name__}.without_rich"

app = typer.Typer(
    cls=group_of(__name__, "serve", "check-config", "schema", "explain", "audit", "doctor", "demo", first=_FIRST),
    help="Delegation management over DNS UPDATE, next to the authoritative server that you have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # with rich a mere --help takes three times as long, and `serve` would keep it in memory
    rich_markup_mode=None,
)


@app.callback()
def _program(version: VersionOption = False) -> None: ...


def _group(name: str, text: str, *commands: str) -> None:
    group = group_of(f"{__name__}.{name}", *commands, first=_FIRST)
    app.add_typer(typer.Typer(cls=group, help=text, no_args_is_help=True, rich_markup_mode=None), name=name)


_group("key", "The children's keys.", "import", "list", "show", "trust", "reject", "retry", "revoke", "end")
_group("parent", "What the parent zones announce.", "publish", "withdraw", "status", "roll")
_group(
    "child",
    "The child zones whose delegations we keep right.",
    *("keygen", "publish", "discover", "inquire", "bootstrap", "sync", "roll", "status"),
)
_group("change", "The changes that children made.", "list", "show", "approve", "reject", "done")
_group("store", "What zonecut remembers.", "check", "accept")
_group("delegation", "What the servers hold.", "show", "export")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. `arguments`, without the program's name, default to the process's."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = get_command(app).main(args=given, prog_name=PROGRAM, standalone_mode=False)
    except Exception as error:
        code = report(error, PROGRAM)
        if code is None:
            raise
        return code
    return result if isinstance(result, int) else 0
