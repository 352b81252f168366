"""`zonecut child roll`: give a child zone's agent a new key."""

from typing import Annotated

import typer

from zonecut.agent import rollover_state
from zonecut.agent.state import AgentState, Phase, Stage
from zonecut.cli import session
from zonecut.cli.child import status as child_status
from zonecut.cli.child import work as child_work
from zonecut.cli.failures import Exit, Failure
from zonecut.cli.options import ChildZoneArgument, ConfigOption, DryRunOption, JsonOption
from zonecut.cli.terminal import output
from zonecut.config import ChildSection, Loaded
from zonecut.protocol import names

AbandonOption = Annotated[bool, typer.Option("--abandon", help="Give up a roll whose new key does not sign yet.")]


def command(
    zone: ChildZoneArgument,
    dry_run: DryRunOption = False,
    abandon: AbandonOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give the zone a new key: published, added at the parent under the old one, and in use once the parent trusts it.

    The old one is deleted at the parent and taken out of the zone after that; at every moment the parent trusts one of
    them. It goes as far as it gets without waiting; a running zonecut does the rest, or this command, given again.

    Exit code 0: the new key signs and the old one is gone. 3: not yet, or --dry-run. 1: it is not possible now.

    Example: zonecut child roll child.parent.example.
    """
    loaded = session.load(config)
    section = session.child_at(loaded, zone)
    state = session.run(_roll(loaded, section, dry_run, abandon, as_json))
    if as_json:
        output.say_json(child_status.to_json(zone, state))
    if state.roll is None and not dry_run:
        raise typer.Exit(Exit.DONE)
    raise typer.Exit(Exit.FAILED if state.attempts else Exit.DIFFERENT)


async def _roll(loaded: Loaded, section: ChildSection, dry_run: bool, abandon: bool, as_json: bool) -> AgentState:
    async with child_work.agent_of(loaded, section) as agent:
        state = await agent.load()
        _check(state, names.to_text(section.apex), abandon)
        if dry_run:
            _say_plan(state, section, as_json)
            return state

        def begin(state: AgentState) -> AgentState:
            _check(state, names.to_text(section.apex), abandon)  # a daemon may have taken it further since
            now = agent.place.now()
            return rollover_state.abandon_roll(state, now) if abandon else rollover_state.begin_roll(state, now)

        def tell(state: AgentState) -> None:
            if not as_json:
                stage = "done" if state.roll is None else state.roll.stage.value
                output.say(f"{stage}: {state.reason}")

        return await child_work.work(agent, begin, lambda state: state.roll is not None, tell)


def _check(state: AgentState, zone: str, abandon: bool) -> None:
    """Raises Failure where there is nothing to roll."""
    late = (Stage.DELETE, Stage.UNPUBLISH)
    if abandon and (state.roll is None or state.roll.stage in late):
        raise Failure(f"{zone}: there is no roll that could be given up")
    if state.key is None or state.phase not in (Phase.IN_SYNC, Phase.OUT_OF_SYNC, Phase.TRUSTED):
        raise Failure(f"{zone}: the parent has to trust a key before it is rolled; it is {state.phase.value} now")


def _say_plan(state: AgentState, section: ChildSection, as_json: bool) -> None:
    if as_json:
        return
    if state.roll is not None:
        output.say(f"; a roll is under way: {state.roll.stage.value}")
        return
    output.say(f"; a new key ({section.key.algorithm}) would be made and published beside {state.key},")
    output.say(f"; added at the parent under it, used after {section.key.roll_wait:g} s, and the old one deleted")
