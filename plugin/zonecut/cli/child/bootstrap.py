"""`zonecut child bootstrap`: have a child zone's key trusted by its parent."""

from dataclasses import replace

import typer

from zonecut.agent import pacing, transitions
from zonecut.agent.keys.child_keys import ChildKeys
from zonecut.agent.state import AgentState, Phase
from zonecut.cli import session
from zonecut.cli.child import status as child_status
from zonecut.cli.child import work as child_work
from zonecut.cli.failures import Exit, Failure
from zonecut.cli.options import ChildZoneArgument, ConfigOption, DryRunOption, JsonOption
from zonecut.cli.terminal import output
from zonecut.config import ChildSection, Loaded
from zonecut.protocol import names


def command(
    zone: ChildZoneArgument, dry_run: DryRunOption = False, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Make a key if there is none, publish it, ask the parent's receiver what it is worth, and upload it if need be.

    It goes as far as it gets without waiting; a running zonecut does the rest, or this command, given again. What was
    held begins anew.

    Exit code 0: the key is trusted. 3: not yet, or --dry-run. 1: something is in the way.

    Example: zonecut child bootstrap child.parent.example.
    """
    loaded = session.load(config)
    section = session.child_at(loaded, zone)
    if dry_run:
        _say_plan(loaded, section, as_json)
        raise typer.Exit(Exit.DIFFERENT)
    state = session.run(_bootstrap(loaded, section, as_json))
    if as_json:
        output.say_json(child_status.to_json(zone, state))
    raise typer.Exit(_code(state))


async def _bootstrap(loaded: Loaded, section: ChildSection, as_json: bool) -> AgentState:
    before = frozenset((Phase.NO_KEY, Phase.PUBLISHED, Phase.ASKING, Phase.BOOTSTRAPPING))

    async with child_work.agent_of(loaded, section) as agent:

        def begin(state: AgentState) -> AgentState:
            now = agent.place.now()
            fresh = replace(
                pacing.asked_for(state), rebootstrapped=False, doubted=False, displaced_at=None, replaced=False
            )
            return transitions.move(fresh, Phase.NO_KEY, "asked for by an operator", now)

        def tell(state: AgentState) -> None:
            if not as_json:
                output.say(f"{state.phase.value}: {state.reason}")

        state = await child_work.work(agent, begin, lambda state: state.phase in before, tell, anew=True)
    if not as_json and state.advice:
        output.say_block(state.advice)
    return state


def _code(state: AgentState) -> Exit:
    if state.phase in (Phase.TRUSTED, Phase.IN_SYNC, Phase.OUT_OF_SYNC):
        return Exit.DONE
    waits = state.phase is Phase.BOOTSTRAPPING and state.uploaded
    return Exit.DIFFERENT if waits or (not state.attempts and state.phase is not Phase.HELD) else Exit.FAILED


def _say_plan(loaded: Loaded, section: ChildSection, as_json: bool) -> None:
    configuration = loaded.configuration
    if configuration.key_directory is None:
        raise Failure("keys.directory is not configured")
    own = ChildKeys(configuration.key_directory, section.apex, configuration.codepoints.to_codepoints())
    keys = own.all()
    key = keys[-1].key if keys else None
    zone = names.to_text(section.apex)
    if as_json:
        records = [] if key is None else [f"{zone} 0 ANY KEY", key.to_text(section.key.ttl)]
        output.say_json({"zone": zone, "key": None if key is None else key.fingerprint(), "update": records})
        return
    if key is None:
        output.say(f"; a key ({section.key.algorithm}) would be made in {own.path}, published at {zone}, and uploaded:")
        output.say(f"; update delete {zone} KEY; update add {zone} KEY (the new one), signed by the new key itself")
        return
    output.say(f"; unless the receiver trusts it already, key {key.tag}  {key.fingerprint()} would be uploaded,")
    output.say("; signed by itself:")
    output.say(f"update delete {zone} KEY")
    output.say(f"update add {key.to_text(section.key.ttl)}")
