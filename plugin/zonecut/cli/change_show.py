"""`zonecut change show`: all about one accepted change."""

from typing import TYPE_CHECKING, Annotated

import typer

from zonecut.cli import output, session
from zonecut.cli.failures import Failure
from zonecut.cli.options import ConfigOption, JsonOption

if TYPE_CHECKING:
    from zonecut.config import Loaded
    from zonecut.protocol.delegation import Delegation
    from zonecut.store import StoredChange, StoredKey


NumberArgument = Annotated[
    int, typer.Argument(metavar="ID", min=1, max=2**63 - 1, help="The change's number, as in `change list`.")
]


def command(
    number: NumberArgument,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one change.

    Who asked for what, when, what the delegation was before and after, and how it ended.

    Example: zonecut change show 12
    """
    loaded = session.load(config)
    change, key = session.run(_find(loaded, number))
    if as_json:
        say_change_json(change, key)
    else:
        say_change(change, key, loaded)


async def _find(loaded: "Loaded", number: int) -> "tuple[StoredChange, StoredKey | None]":
    async with session.open_store(loaded) as store:
        change = await store.changes.get(number)
        if change is None:
            raise Failure(f"there is no change number {number}")
        key = None if change.key_id is None else await store.keys.get(change.key_id)
        return change, key


def say_change_json(change: "StoredChange", key: "StoredKey | None") -> None:
    """A change as one JSON document."""
    from zonecut.protocol.delegation import Difference

    difference = Difference.between(change.before, change.after).to_json()
    signer = None if key is None else key.to_json()
    message = change.message.hex() if change.message else None
    output.say_json({**change.to_json(), "difference": difference, "key": signer, "message": message})


def say_change(change: "StoredChange", key: "StoredKey | None", loaded: "Loaded") -> None:
    """A change for people."""
    from zonecut.protocol.delegation import Difference

    document = change.to_json()
    signer = None if key is None else f"key tag {key.key.tag}, now {key.state.value}, {key.key.fingerprint()}"
    output.say_fields(
        f"change {change.id}: {document['child']} in {document['zone']}, {change.state.value}",
        {
            "accepted": document["accepted_at"],
            "source": change.source,
            "signed by": signer,
            "signed at": document["inception"],
            "settled": document["settled_at"],
            "decided": change.verdict,
            "attempts": change.attempts,
            "last error" if change.next_at else "reason": change.reason,
            "next attempt": document["next_at"],
            "advice": _advice(change),
        },
    )
    difference = Difference.between(change.before, change.after)
    output.say_block(f"\ndifference\n{_indented(difference.to_text() or 'none')}")
    output.say_block(f"\nbefore\n{_indented(_records(change.before))}")
    output.say_block(f"\nafter\n{_indented(_records(change.after))}")
    if change.message:
        output.say_block(f"\nmessage\n{_indented(_rendered(change.message, loaded))}")


def _advice(change: "StoredChange") -> str | None:
    """What is left for an operator to do about a change; None where that is nothing."""
    from zonecut.store import ChangeState, Decision

    if change.state is ChangeState.HELD:
        return f"zonecut change approve {change.id}, or zonecut change reject {change.id}"
    if change.state is ChangeState.ACCEPTED and change.decision is Decision.APPROVED and change.next_at is not None:
        return f"its child's next changes wait until it can be written, or zonecut change reject {change.id}"
    return None


def _rendered(message: bytes, loaded: "Loaded") -> str:
    from zonecut.cli.render import render
    from zonecut.protocol.envelope import walk
    from zonecut.protocol.errors import MalformedMessage

    try:
        return render(walk(message), loaded.configuration.codepoints.to_codepoints())
    except MalformedMessage as error:
        return f"{len(message)} octets that are no message: {error.reason}"


def _records(delegation: "Delegation") -> str:
    return "\n".join(record.to_text() for record in delegation.records) or "not delegated"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
