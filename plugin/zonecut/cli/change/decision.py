"""What `change approve` and `change reject` have in common: an operator decides about one change."""

from pathlib import Path

from zonecut.cli import actor, session
from zonecut.cli.change.show import NumberArgument, Shown, say_change, say_change_json
from zonecut.cli.terminal import output
from zonecut.config import Loaded
from zonecut.store import ChangeState, Decision, StoredChange

__all__ = ["NumberArgument", "run"]


def run(number: int, reason: str, config: Path | None, as_json: bool, *, approves: bool) -> None:
    """Record what an operator decided, and show the change. A running daemon acts on it within a second."""
    loaded = session.load(config)
    shown = session.run(_decide(loaded, number, reason, approves=approves))
    if as_json:
        say_change_json(shown, loaded)
        return
    say_change(shown, loaded)
    output.say("")
    output.say(_follows(shown.change, approves=approves))


async def _decide(loaded: Loaded, number: int, reason: str, *, approves: bool) -> Shown:
    decision = Decision.APPROVED if approves else Decision.REJECTED
    async with session.open_store(loaded) as store:
        return await Shown.of(store, await store.decisions.decide(number, decision, actor.operator(), reason))


def _follows(change: StoredChange, *, approves: bool) -> str:
    if approves:
        return (
            "it is judged again on what the server holds now, and written: within a second, or when the daemon starts;"
            " if it is another difference than this by then, it is held again"
        )
    if change.state is ChangeState.FAILED:
        return "it is not written"
    return "it is not written, unless the server has it already: change show tells, once the server can be asked"
