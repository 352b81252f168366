"""`zonecut change show`: all about one accepted change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from zonecut.cli import session
from zonecut.cli.change.by_hand import ByHand, say_beside
from zonecut.cli.failures import Failure
from zonecut.cli.options import ConfigOption, JsonOption
from zonecut.cli.reached import Reached
from zonecut.cli.terminal import output
from zonecut.cli.terminal.dig_format import render
from zonecut.config import Loaded
from zonecut.protocol.delegation import Delegation, Difference
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.store import ChangeState, Chore, Decision, Store, StoredChange, StoredKey

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
    shown = session.run(_find(loaded, number))
    if as_json:
        say_change_json(shown, loaded)
    else:
        say_change(shown, loaded)


@dataclass(frozen=True, slots=True)
class Shown:
    """A change with what is told of it: the key that signed it, and who asked for the same before, the latest first."""

    change: StoredChange
    key: StoredKey | None
    asked_before: Sequence[StoredChange]
    reached: Reached
    chores: Sequence[Chore] = ()
    """What people are to do beside the changes, and for the rest of one."""

    @classmethod
    async def of(cls, store: Store, change: StoredChange) -> "Shown":
        """Raises StoreUnavailable."""
        key = None if change.key_id is None else await store.keys.get(change.key_id)
        reached = Reached.among(change, await store.consumers.all())
        return cls(change, key, await store.decisions.askers(change), reached, await store.chores.all())


async def _find(loaded: Loaded, number: int) -> Shown:
    async with session.open_store(loaded) as store:
        change = await store.changes.get(number)
        if change is None:
            raise Failure(f"there is no change number {number}")
        return await Shown.of(store, change)


def say_change_json(shown: Shown, loaded: Loaded) -> None:
    """A change as one JSON document."""
    change, hand = shown.change, ByHand(loaded, shown.chores)
    output.say_json(
        {
            **change.to_json(),
            **shown.reached.to_json(),
            "difference": Difference.between(change.before, change.after).to_json(),
            "key": None if shown.key is None else shown.key.to_json(),
            "message": change.message.hex() if change.message else None,
            "asked_before": [each.source for each in shown.asked_before],
            "by_hand": hand.lines(change),
            "by_hand_beside": hand.around(change),
        }
    )


def say_change(shown: Shown, loaded: Loaded) -> None:
    """A change for people."""
    change, key = shown.change, shown.key
    document = change.to_json()
    signer = None if key is None else f"key tag {key.key.tag}, now {key.state.value}, {key.key.fingerprint()}"
    output.say_fields(
        f"change {change.id}: {document['child']} in {document['zone']}, {shown.reached.to_text()}",
        {
            "accepted": document["accepted_at"],
            "source": change.source,
            "also asked by": ", ".join(dict.fromkeys(each.source for each in shown.asked_before)) or None,
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
    hand = ByHand(loaded, shown.chores)
    if (lines := hand.lines(change)) is not None:
        output.say_block(f"\nby hand: as input of nsupdate, then zonecut change done {change.id}\n{_indented(lines)}")
    for each in hand.around(change):
        say_beside(each)
    output.say_block(f"\nbefore\n{_indented(_records(change.before))}")
    output.say_block(f"\nafter\n{_indented(_records(change.after))}")
    if change.message:
        output.say_block(f"\nmessage\n{_indented(_rendered(change.message, loaded))}")


def _advice(change: StoredChange) -> str | None:
    """What is left for an operator to do about a change; None where that is nothing."""
    if change.state is ChangeState.HELD:
        return f"zonecut change approve {change.id}, or zonecut change reject {change.id}"
    if change.state is ChangeState.ACCEPTED and change.decision is Decision.APPROVED and change.next_at is not None:
        return f"its child's next changes wait until it can be written, or zonecut change reject {change.id}"
    return None


def _rendered(message: bytes, loaded: Loaded) -> str:
    try:
        return render(walk(message), loaded.configuration.codepoints.to_codepoints())
    except MalformedMessage as error:
        return f"{len(message)} octets that are no message: {error.reason}"


def _records(delegation: Delegation) -> str:
    return "\n".join(record.to_text() for record in delegation.records) or "not delegated"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
