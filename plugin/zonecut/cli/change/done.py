"""`zonecut change done`: an operator has made a change by hand, and the zone shows it."""

import typer

from zonecut.cli import actor, session
from zonecut.cli.change.show import NumberArgument, Shown, say_change, say_change_json
from zonecut.cli.failures import Exit, Failure, UsageFailure
from zonecut.cli.options import ConfigOption, JsonOption, ReasonOption
from zonecut.cli.terminal import output
from zonecut.config import Loaded
from zonecut.plugin import Change
from zonecut.protocol.delegation import Difference
from zonecut.store import Decision, Store, StoredChange


def command(
    number: NumberArgument, reason: ReasonOption = "", config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Say that a change is made in a zone that zonecut does not write itself (adapter manual).

    The zone is transferred, and has to hold the change. That is recorded, and counts: a daemon that runs has it applied
    within a second, else the next one that is started; what is taken out after that is an edit by somebody else. Nobody
    has to say so: the daemon looks, too (`look` of the adapter, 60 s). What is to be done is what change show has under
    "by hand".

    Exit code 3: the zone holds something else; what differs is shown, and nothing recorded.

    Example: zonecut change done 12 --reason "ticket 4711"
    """
    loaded = session.load(config)
    shown, left = session.run(_confirm(loaded, number, reason))
    if left is not None:
        if as_json:
            output.say_json({"id": shown.change.id, "done": False, "left": left.to_json()})
        else:
            output.say(f"change {number} is not made: this is left to do (- to take out, + to put in)")
            output.say_block("".join(f"  {line}\n" for line in left.to_text().splitlines()).rstrip("\n"))
        raise typer.Exit(Exit.DIFFERENT)
    if as_json:
        say_change_json(shown, loaded)
        return
    say_change(shown, loaded)
    output.say("")
    output.say("the zone holds it: it counts as applied within a second, or when the daemon starts")


async def _confirm(loaded: Loaded, number: int, reason: str) -> tuple[Shown, Difference | None]:
    """The change after this, or what the zone lacks of it."""
    async with session.open_store(loaded) as store:
        change = await _change(store, number)
        left = await _left(loaded, change)
        while left is None and (now := await _change(store, number)).after != change.after:
            # it was judged again meanwhile: what counts is what it is now
            change, left = now, await _left(loaded, now)
        if left is None:
            change = await store.decisions.decide(number, Decision.DONE, actor.operator(), reason)
        return await Shown.of(store, change), left


async def _change(store: Store, number: int) -> StoredChange:
    change = await store.changes.get(number)
    if change is None:
        raise Failure(f"there is no change number {number}")
    return change


async def _left(loaded: Loaded, change: StoredChange) -> Difference | None:
    """What the zone lacks, and has too much, of a change; None if it holds it. Raises BackendError, UsageFailure."""
    section = session.parent_at(loaded, change.zone)
    wanted = Change(change.before, change.after)
    async with session.open_backend(loaded, section) as backend:
        if backend.by_hand([wanted]) is None:
            raise UsageFailure(
                f"{section.zone} is written by zonecut itself: change {change.id} needs nobody's hand (change show "
                f"{change.id} tells what it waits for)"
            )
        if not await backend.verify([wanted]):
            return None
        held = (await backend.read(change.child)).delegation
        return Difference.between(held, change.after)
