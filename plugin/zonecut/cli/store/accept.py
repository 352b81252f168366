"""`zonecut store accept`: an operator takes a restored store for what counts."""

from collections.abc import Sequence
from typing import Annotated

import typer

from zonecut.cli import actor, session
from zonecut.cli.failures import Failure
from zonecut.cli.options import ConfigOption, JsonOption
from zonecut.cli.store.findings import Held, Waiting, waiting
from zonecut.cli.terminal import output
from zonecut.config import Loaded
from zonecut.protocol import names
from zonecut.store import ChangeState, Settlement, timestamps

_LOST = (
    "the store was restored from a backup, so what was changed since is not known: it was not written; "
    "send it again if it is still wanted"
)


def command(
    anyway: Annotated[
        bool,
        typer.Option(
            "--anyway", help="Also where nothing shows it: the whole machine was put back to an earlier state."
        ),
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a store that was restored from a backup for what counts from now on: run `zonecut store check` first.

    Of what waits in it, what the server holds is applied. Where the server holds what a change started from, it may
    have been written and undone since: it is held, for zonecut change approve or reject. The rest fails. Messages that
    were signed before are stale. Keys are trusted as the backup says: revoke those of which you know better first.

    Example: zonecut store accept
    """
    loaded = session.load(config)
    if not session.has_store(loaded):
        raise Failure(f"store url {loaded.configuration.store.url!r}: there is no store to be accepted")
    floor, settled = session.run(_accept(loaded, anyway))
    _say(floor, settled, as_json)


async def _accept(loaded: Loaded, anyway: bool) -> tuple[float, list[tuple[Waiting, ChangeState]]]:
    daemon = session.daemon_of(loaded) if anyway else None
    if daemon is not None:
        raise Failure(
            f"store accept --anyway: zonecut serve runs on the store ({daemon}), and would go on taking what was "
            "signed before: stop it first"
        )
    async with session.open_store(loaded) as store:
        if store.restored is None and not anyway:
            raise Failure(
                "the store has all that was ever recorded: there is nothing to accept; "
                "where the whole machine was put back to an earlier state, say so with --anyway"
            )
        settled = []
        for each in await waiting(loaded, store):
            if each.held is Held.UNKNOWN and any(
                section.apex == each.change.zone for section in loaded.configuration.parents
            ):
                zone = names.to_text(each.change.zone)
                raise Failure(f"what the server of {zone} holds is not known: {each.why}; try again when it is there")
            settled.append((each, each.once_accepted))
        settlements = [
            Settlement(each.change.id, state, None if state is ChangeState.APPLIED else _LOST, each.change.attempts)
            for each, state in settled
            if state is not ChangeState.HELD
        ]
        held = [each.change for each, state in settled if state is ChangeState.HELD]
        fudge = loaded.configuration.receiver.signatures.fudge
        return await store.restores.accept(actor.operator(), settlements, held, fudge), settled


def _say(floor: float, settled: Sequence[tuple[Waiting, ChangeState]], as_json: bool) -> None:
    since = timestamps.to_text(floor)
    if as_json:
        changes = [each.to_json(state.value) for each, state in settled]
        output.say_json({"accepted": True, "signed_since": since, "changes": changes})
        return
    output.say(f"accepted; messages that were signed before {since} are stale")
    for each, state in settled:
        child = names.to_text(each.change.child)
        output.say(f"change {each.change.id} of {child}: {state.value} (the server holds {each.held.value})")
