"""`zonecut audit`: the audit trail."""

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from zonecut.cli import session
from zonecut.cli.options import ChildOption, ConfigOption, JsonOption, LimitOption
from zonecut.cli.terminal import output
from zonecut.cli.terminal.times import parse_time
from zonecut.store import AuditRecord


def _since(text: str) -> float:
    try:
        return parse_time(text, time.time())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def command(
    child: ChildOption = None,
    event: Annotated[
        str | None, typer.Option("--event", metavar="E", help="Only this event, such as change.refused.")
    ] = None,
    since: Annotated[
        float | None,
        typer.Option("--since", parser=_since, metavar="T", help="Only since then: 2026-11-24T05:38:00Z, 2h, 7d."),
    ] = None,
    limit: LimitOption = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who did what, the newest first.

    When, from where, and by which rule it was decided.

    Example: zonecut audit --child child.parent.example. --since 7d
    """
    loaded = session.load(config)

    async def find() -> Sequence[AuditRecord]:
        async with session.open_store(loaded) as store:
            return await store.audit.list(child=child, event=event, since=since, limit=limit)

    found = session.run(find())
    if as_json:
        output.say_json([record.to_json() for record in found])
        return
    with output.Table("AT", "EVENT", "CHILD", "KEY", "ACTOR", "SOURCE", "RULE", "DETAIL") as table:
        for record in found:
            document, entry = record.to_json(), record.entry
            detail = " ".join(f"{name}={value}" for name, value in entry.detail.items() if value not in (None, ""))
            table.add(
                document["at"],
                entry.event,
                document["child"],
                entry.key_tag,
                entry.actor,
                entry.source,
                entry.rule,
                detail,
            )
