"""The command line: one module a command. What a command needs is imported when it runs, so that each starts fast."""

import sys
from collections.abc import Sequence

import typer
from typer.main import get_command

from zonecut.cli import (
    audit,
    change_approve,
    change_done,
    change_list,
    change_reject,
    change_show,
    check_config,
    child_bootstrap,
    child_discover,
    child_inquire,
    child_keygen,
    child_publish,
    child_roll,
    child_status,
    child_sync,
    delegation_export,
    delegation_show,
    demo,
    doctor,
    explain,
    key_end,
    key_import,
    key_list,
    key_reject,
    key_retry,
    key_revoke,
    key_show,
    key_trust,
    parent_publish,
    parent_roll,
    parent_status,
    parent_withdraw,
    schema,
    serve,
    store_accept,
    store_check,
)
from zonecut.cli.failures import report
from zonecut.cli.version import VersionOption

PROGRAM = "zonecut"


def _group(text: str) -> typer.Typer:
    return typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None)


app = typer.Typer(
    help="Delegation management over DNS UPDATE, next to the authoritative server that you have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # with rich a mere --help takes three times as long, and `serve` would keep it in memory
    rich_markup_mode=None,
)


@app.callback()
def _program(version: VersionOption = False) -> None: ...


app.command("serve")(serve.command)
app.command("check-config")(check_config.command)
app.command("schema")(schema.command)
app.command("explain")(explain.command)
app.command("audit")(audit.command)
app.command("doctor")(doctor.command)
app.command("demo")(demo.command)

_keys = _group("The children's keys.")
_keys.command("import")(key_import.command)
_keys.command("list")(key_list.command)
_keys.command("show")(key_show.command)
_keys.command("trust")(key_trust.command)
_keys.command("reject")(key_reject.command)
_keys.command("retry")(key_retry.command)
_keys.command("revoke")(key_revoke.command)
_keys.command("end")(key_end.command)
app.add_typer(_keys, name="key")

_parents = _group("What the parent zones announce.")
_parents.command("publish")(parent_publish.command)
_parents.command("withdraw")(parent_withdraw.command)
_parents.command("status")(parent_status.command)
_parents.command("roll")(parent_roll.command)
app.add_typer(_parents, name="parent")

_children = _group("The child zones whose delegations we keep right.")
_children.command("keygen")(child_keygen.command)
_children.command("publish")(child_publish.command)
_children.command("discover")(child_discover.command)
_children.command("inquire")(child_inquire.command)
_children.command("bootstrap")(child_bootstrap.command)
_children.command("sync")(child_sync.command)
_children.command("roll")(child_roll.command)
_children.command("status")(child_status.command)
app.add_typer(_children, name="child")

_changes = _group("The changes that children made.")
_changes.command("list")(change_list.command)
_changes.command("show")(change_show.command)
_changes.command("approve")(change_approve.command)
_changes.command("reject")(change_reject.command)
_changes.command("done")(change_done.command)
app.add_typer(_changes, name="change")

_stores = _group("What zonecut remembers.")
_stores.command("check")(store_check.command)
_stores.command("accept")(store_accept.command)
app.add_typer(_stores, name="store")

_delegations = _group("What the servers hold.")
_delegations.command("show")(delegation_show.command)
_delegations.command("export")(delegation_export.command)
app.add_typer(_delegations, name="delegation")


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
