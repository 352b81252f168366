"""`zonecut delegation show`: what the server holds for a child, and what the ledger believes."""

from typing import TYPE_CHECKING

import typer

from zonecut.cli import output, session
from zonecut.cli.failures import Exit
from zonecut.cli.options import ChildArgument, ConfigOption, JsonOption
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation, Difference

if TYPE_CHECKING:
    from zonecut.config import Loaded, ParentSection
    from zonecut.plugin import Reading
    from zonecut.store import ChildRecord


def command(child: ChildArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what the parent's server holds for a child.

    It is compared with what the last change that was applied left there.

    Exit code 3: it differs; somebody changed it through another channel.

    Example: zonecut delegation show child.parent.example.
    """
    loaded = session.load(config)
    section = session.parent_of(loaded, child)
    reading, record = session.run(_read(loaded, section, child))
    difference = None if record.applied is None else Difference.between(record.applied, reading.delegation)
    if as_json:
        _say_json(section, reading, record, difference)
    else:
        _say(section, reading, record, difference)
    raise typer.Exit(Exit.DIFFERENT if difference else Exit.DONE)


async def _read(loaded: "Loaded", section: "ParentSection", child: bytes) -> "tuple[Reading, ChildRecord]":
    async with session.open_store(loaded) as store:
        record = await store.changes.latest(child)
    async with session.open_backend(loaded, section) as backend:
        return await backend.read(child), record


def _say_json(
    section: "ParentSection", reading: "Reading", record: "ChildRecord", difference: Difference | None
) -> None:
    output.say_json(
        {
            "zone": names.to_text(section.apex),
            **reading.delegation.to_json(),
            "enclosing": None if reading.enclosing is None else names.to_text(reading.enclosing),
            "nested": [names.to_text(name) for name in reading.nested],
            "ledger": None if record.applied is None else record.applied.to_json(),
            "difference": None if difference is None else difference.to_json(),
            "unsettled": None if record.unsettled is None else record.unsettled.to_json(),
        }
    )


def _say(section: "ParentSection", reading: "Reading", record: "ChildRecord", difference: Difference | None) -> None:
    delegation: Delegation = reading.delegation
    text = delegation.to_text(section.policy.ttl.to_ttls())
    output.say(text.rstrip("\n") if text else f"; {names.to_text(delegation.child)} is not delegated")
    if reading.enclosing is not None:
        output.say(f"; it lies below the delegation of {names.to_text(reading.enclosing)}")
    for nested in reading.nested:
        output.say(f"; it lies above the delegation of {names.to_text(nested)}")
    if record.unsettled is not None:
        output.say(f"; change {record.unsettled.id} is accepted and not yet applied")
    if difference is None:
        output.say("; the ledger holds no applied change of this child")
    elif difference:
        output.say("; the server differs from the last applied change (-: missing, +: not ours):")
        output.say("".join(f"; {line}\n" for line in difference.to_text().splitlines()).rstrip("\n"))
    else:
        output.say("; as the last applied change left it")
