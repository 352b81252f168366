"""`zonecut change list`: the ledger, what waits in it and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import time
from typing import Annotated, Any

import typer

from zonecut.cli import session
from zonecut.cli.change.by_hand import ByHand, say_beside
from zonecut.cli.choices import ChangeStateChoice
from zonecut.cli.heard import SILENT
from zonecut.cli.options import ChildOption, ConfigOption, JsonOption, LimitOption
from zonecut.cli.reached import Reached
from zonecut.cli.terminal import output
from zonecut.config import Loaded
from zonecut.protocol import names
from zonecut.protocol.delegation import Difference
from zonecut.store import (
    ChangeState,
    Chore,
    Decision,
    ServerState,
    StoredChange,
    Waiting,
    ZoneConsumer,
    ZoneState,
    timestamps,
)


def command(
    child: ChildOption = None,
    state: Annotated[ChangeStateChoice | None, typer.Option("--state", help="Only those in this state.")] = None,
    limit: LimitOption = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the parent zones with the state of their servers, and the changes that were accepted, the newest first.

    A server is opening, ready, away or misconfigured since a time, as `zonecut serve` last saw it; halted: our own
    writer of the zone has failed and is about to be started again, and nothing is accepted until then; stopped: it does
    not run; unknown: it never did, or ended without a word. AWAY is how many delegations of children with trusted keys
    are not there just now, SUSPECT how many have name servers for which the keys are suspended if that stays so.

    Where others make the zone of the server's tables and say how far they are, an applied change is in the tables, or
    in the zone as well; one of them that stands still or fails is in its zone's REASON.

    A change is accepted: on its way to the server; applied: the server holds it; failed: the server would not take it;
    held: it waits for you, zonecut change approve or reject. In a zone that zonecut does not write (adapter manual),
    what is to be done for one that is accepted follows as input of nsupdate; zonecut change done when it is. So does
    what is to be done beside the changes, about addresses that somebody needs, or nobody any more: nobody has to say
    that this is done.
    Of one that waits, WAITS is for how many seconds and REASON why the last try was in vain, after what you have
    decided about it: a rejected one ends when the daemon runs and the server can be asked; an approved one that cannot
    be judged is tried again, and holds up its child's next changes until it can be, or zonecut change reject.

    Example: zonecut change list --state accepted
    """
    loaded = session.load(config)
    wanted = [
        section.apex for section in loaded.configuration.parents if child is None or names.is_below(child, section.apex)
    ]
    zones, found, chores = session.run(_find(loaded, wanted, child, state, limit))
    now, hand = time(), ByHand(loaded, chores)
    if as_json:
        output.say_json(
            {
                "zones": [{**zone.to_json(), "by_hand": hand.beside(zone.zone)} for zone in zones],
                "changes": [_document(each, now, hand) for each in found],
            }
        )
        return
    with output.Table("ZONE", "SERVER", "SINCE", "WAITING", "OLDEST", "AWAY", "SUSPECT", "REASON") as table:
        for zone in zones:
            document = zone.to_json()
            keys: tuple[str, ...] = ("zone", "state", "since", "waiting", "oldest_waiting_seconds")
            keys += ("delegations_away", "delegations_suspect", "reason")
            table.add(*(_rounded(document[key]) for key in keys))
    if found:
        output.say("")
    with output.Table("ID", "ACCEPTED", "CHILD", "STATE", "-", "+", "WAITS", "TRIED", "NEXT TRY", "REASON") as table:
        for reached in found:
            _add(table, reached, now, hand)
    for reached in found:
        if (lines := hand.lines(reached.change)) is not None:
            number = reached.change.id
            output.say_block(f"\nby hand: as input of nsupdate, then zonecut change done {number}\n{lines.rstrip()}")
    for each in (each for zone in zones for each in hand.beside(zone.zone)):
        say_beside(each)


@dataclass(frozen=True, slots=True)
class _Zone:
    """A parent zone as it stands; `now` in seconds since the epoch."""

    zone: bytes
    state: ZoneState | None
    waiting: Waiting | None
    away: int
    suspect: int
    now: float
    consumers: Sequence[ZoneConsumer] = ()

    def to_json(self) -> dict[str, Any]:
        state, waiting = self.state, self.waiting
        told = state is not None and (state.state is ServerState.STOPPED or self.now - state.seen_at < SILENT)
        reason = "" if state is None else state.reason
        if state is not None and not told:
            last = f"nothing was heard of zonecut serve since {timestamps.to_text(state.seen_at)}"
            reason = f"{last}, then {state.state.value}" + (f": {reason}" if reason else "")
        return {
            "zone": names.to_text(self.zone),
            "state": state.state.value if state is not None and told else "unknown",
            "since": timestamps.to_text(state.since) if state is not None and told else None,
            "reason": reason or None,
            "seen_at": None if state is None else timestamps.to_text(state.seen_at),
            "waiting": waiting.count if waiting else 0,
            "delegations_away": self.away,
            "delegations_suspect": self.suspect,
            "consumers": [each.to_json() for each in self.consumers],
            "oldest_waiting_seconds": round(max(0.0, self.now - waiting.oldest_at), 3) if waiting else None,
        }


async def _find(
    loaded: Loaded, wanted: Sequence[bytes], child: bytes | None, state: ChangeStateChoice | None, limit: int
) -> tuple[list[_Zone], list[Reached], Sequence[Chore]]:
    async with session.open_store(loaded) as store:
        states, waiting = await store.zones.all(), await store.statistics.waiting()
        away, suspect = await store.watches.all_away(), await store.watches.all_suspect()
        consumers = await store.consumers.all()
        zones = [
            _Zone(
                zone,
                states.get(zone),
                waiting.get(zone),
                away.get(zone, 0),
                suspect.get(zone, 0),
                time(),
                consumers.get(zone, ()),
            )
            for zone in wanted
        ]
        chosen = ChangeState(state) if state else None
        changes = await store.changes.list(child=child, state=chosen, limit=limit)
        return zones, [Reached.among(change, consumers) for change in changes], await store.chores.all()


def _document(reached: Reached, now: float, hand: ByHand) -> dict[str, Any]:
    change = reached.change
    waits = round(max(0.0, now - change.accepted_at), 3) if _waits(change) else None
    return {**change.to_json(), **reached.to_json(), "waiting_seconds": waits, "by_hand": hand.lines(change)}


def _waits(change: StoredChange) -> bool:
    return change.state is ChangeState.ACCEPTED


def _add(table: output.Table, reached: Reached, now: float, hand: ByHand) -> None:
    change, document = reached.change, _document(reached, now, hand)
    difference = Difference.between(change.before, change.after)
    table.add(
        change.id,
        document["accepted_at"],
        document["child"],
        reached.to_text(),
        len(difference.removed),
        len(difference.added),
        _rounded(document["waiting_seconds"]),
        change.attempts,
        document["next_at"],
        _why(change),
    )


def _why(change: StoredChange) -> str | None:
    """The reason; before it, of one that waits, what an operator has decided and the daemon has yet to do."""
    if not _waits(change) or change.verdict is None:
        return change.reason
    if change.reason is None:
        return change.verdict
    why = f"{change.verdict}; {change.reason}"
    if change.decision is not Decision.APPROVED:
        return why
    return f"{why}; its child's next changes wait, or zonecut change reject {change.id}"


def _rounded(value: Any) -> Any:
    return round(value) if isinstance(value, float) else value
