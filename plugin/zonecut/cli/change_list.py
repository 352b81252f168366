"""`zonecut change list`: the ledger."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from zonecut.cli import output, session
from zonecut.cli.choices import ChangeStateChoice
from zonecut.cli.options import ChildOption, ConfigOption, JsonOption, LimitOption

if TYPE_CHECKING:
    from zonecut.store import StoredChange


def command(
    child: ChildOption = None,
    state: Annotated[ChangeStateChoice | None, typer.Option("--state", help="Only those in this state.")] = None,
    limit: LimitOption = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the changes that were accepted, the newest first.

    accepted: on its way to the server; applied: the server holds it; failed: the server would not take it. Of one that
    waits, REASON is why the last try was in vain.

    Example: zonecut change list --child child.parent.example. --limit 10
    """
    loaded = session.load(config)

    async def find() -> "Sequence[StoredChange]":
        from zonecut.store import ChangeState

        async with session.open_store(loaded) as store:
            wanted = ChangeState(state) if state else None
            return await store.changes.list(child=child, state=wanted, limit=limit)

    found = session.run(find())
    if as_json:
        output.say_json([change.to_json() for change in found])
        return
    from zonecut.protocol.delegation import Difference

    with output.Table("ID", "ACCEPTED", "CHILD", "STATE", "-", "+", "TRIED", "NEXT TRY", "REASON") as table:
        for change in found:
            document = change.to_json()
            difference = Difference.between(change.before, change.after)
            table.add(
                change.id,
                document["accepted_at"],
                document["child"],
                change.state.value,
                len(difference.removed),
                len(difference.added),
                change.attempts,
                document["next_at"],
                change.reason,
            )
