"""`zonecut child sync`: have the parent publish what the child zone says."""

import asyncio
import time
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import typer

from zonecut.agent import pacing, transitions
from zonecut.agent.evidence.comparison import compare
from zonecut.agent.evidence.desired import Desired, wanted
from zonecut.agent.evidence.serials import advice_of, why_stale
from zonecut.agent.evidence.soundness import Unsound, find_unsound, unseen
from zonecut.agent.evidence.witnesses import Look
from zonecut.agent.parent.parent_view import ParentView, view_parent
from zonecut.agent.state import AgentState, Phase
from zonecut.agent.sync import judge, spoke_in
from zonecut.agent.transitions import Now, begin
from zonecut.agent.zone_agent import ZoneAgent
from zonecut.cli import session
from zonecut.cli.child import status as child_status
from zonecut.cli.child import work as child_work
from zonecut.cli.child.parent import look
from zonecut.cli.failures import Exit, Failure
from zonecut.cli.options import ChildZoneArgument, ConfigOption, DryRunOption, JsonOption
from zonecut.cli.terminal import output
from zonecut.config import ChildSection, Loaded
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation, Difference
from zonecut.serve.children import make_side
from zonecut.serve.resolvers import make_resolver
from zonecut.store import StoreConflict

SerialResetOption = Annotated[
    bool,
    typer.Option("--serial-reset", help="The zone was made anew, or is read elsewhere: its serial may be lower now."),
]


def command(
    zone: ChildZoneArgument,
    dry_run: DryRunOption = False,
    serial_reset: SerialResetOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the child zone with what the parent's servers publish, send what differs, and look until it is there.

    A key that is not trusted yet goes through its bootstrap first, as far as that gets without waiting. With --dry-run
    nothing is sent, and no key is needed. A version of the zone with a lower serial than the one acted on before comes
    from a server that has not caught up, and nothing follows from it; --serial-reset forgets which one that was.

    Exit code 0: in sync. 3: not yet, or --dry-run and something differs. 1: something is in the way.

    Example: zonecut child sync child.parent.example. --dry-run
    """
    loaded = session.load(config)
    section = session.child_at(loaded, zone)
    if dry_run:
        plan = session.run(_compare(loaded, section, serial_reset))
        if as_json:
            output.say_json(plan.to_json())
        else:
            plan.say()
        if plan.wanted.troubles:
            raise Failure("; ".join(plan.wanted.troubles))
        if plan.unsound is not None:
            raise Failure(plan.unsound.reason, plan.unsound.advice)
        raise typer.Exit(Exit.DIFFERENT if plan.differs else Exit.DONE)
    state = session.run(_sync(loaded, section, as_json, serial_reset))
    if as_json:
        output.say_json(child_status.to_json(zone, state))
    raise typer.Exit(_code(state))


class Plan(NamedTuple):
    """What the child wants, what the parent publishes, and what would be sent."""

    wanted: Desired
    view: ParentView
    after: Delegation
    difference: Difference
    unseen: str | None = None
    """That the zone's source does not show which DS there shall be."""
    unsound: Unsound | None = None
    """What is wrong although both are in sync."""
    waits: tuple[str, ...] = ()
    """What has to be seen before the rest may be sent."""

    @property
    def differs(self) -> bool:
        """True if something would be sent, now or later, or one of the parent's servers is behind the others."""
        return bool(self.difference) or bool(self.view.missing(self.after)) or bool(self.waits)

    def say(self) -> None:
        zone, parent = names.to_text(self.after.child), names.to_text(self.view.parent)
        for note in self.wanted.notes:
            output.say(f"; {note}")
        for wait in self.waits:
            output.say(f"; not yet: {wait}")
        if self.unseen is not None:
            output.say(f"; {self.unseen}")
        elif not self.wanted.ds_known and not self.waits:
            output.say("; the child does not say which DS it wants: the parent's stay")
        if self.view.is_hidden:
            output.say(f"; every server of {parent} serves {zone}, too: of what {parent} holds, only DS can be seen")
        for server in self.view.servers:
            if server.delegation is None:
                output.say(f"; {server} {server.reason}")
            elif server.delegation != self.after:
                output.say(f"; {server} is behind")
        text = self.difference.to_text().rstrip("\n")
        if text:
            output.say_block(text)
        elif not self.differs and not self.wanted.troubles and self.unsound is None:
            output.say(f"; {zone} and {parent} are in sync")

    def to_json(self) -> dict[str, Any]:
        return {
            "zone": names.to_text(self.after.child),
            "parent": names.to_text(self.view.parent),
            "wanted": self.after.to_json(),
            "ds_known": self.wanted.ds_known,
            "notes": list(self.wanted.notes),
            "unseen": self.unseen,
            "troubles": [*self.wanted.troubles, *([self.unsound.reason] if self.unsound else [])],
            "waits": list(self.waits),
            "difference": self.difference.to_json(),
            "differs": self.differs,
            "servers": self.view.to_json()["servers"],
        }


async def _compare(loaded: Loaded, section: ChildSection, serial_reset: bool) -> Plan:
    settings = section.settings()

    def now() -> Now:
        return Now(time.time(), 0.5, settings)

    known = (await child_status.seen(loaded, (section,)))[section.apex]
    stored = known and known.state
    state = stored or begin(now())
    side = make_side(loaded, section)
    try:
        content = await side.source.content()
        aim = wanted(content, settings, time.time(), spoke_in(state))
    finally:
        await side.close()
    if (stale := why_stale(content, None if serial_reset else stored, settings)) is not None:
        raise Failure(stale, advice_of(section.apex))
    resolver = make_resolver(loaded, time.time, section.parent.addresses)
    parent = await _parent(loaded, section)
    view = await view_parent(resolver, parent, section.apex, port=section.parent.port)
    if view.held is None and not view.is_hidden:
        raise Failure(f"nothing is known of what {names.to_text(parent)} publishes: {view.describe()}")
    unsound = await find_unsound(resolver, content, section.ds, view, time.time())
    seen = compare(aim, view, state)
    waits: tuple[str, ...] = ()
    if seen.missing:
        ruling = await judge(resolver, Look(content, aim, view, (), seen.before), seen.shown, state, now)
        aim, waits = ruling.aim, ruling.waits
    view = aim.seen(view)
    before = view.held or view.shown
    after = aim.asked([before])
    difference = Difference.between(before, after)
    return Plan(aim, view, after, difference, unseen(content, section.ds), unsound, waits)


async def _parent(loaded: Loaded, section: ChildSection) -> bytes:
    """The parent zone, from the configuration or found. Raises Failure."""
    if section.parent.zone is not None:
        return names.from_text(section.parent.zone)

    discovery = (await look(loaded, section.apex, section.parent)).discovery
    if discovery.parent is None:
        raise Failure(f"{section.zone}: its parent zone was not found; `parent.zone` can name it")
    return discovery.parent


async def _sync(loaded: Loaded, section: ChildSection, as_json: bool, serial_reset: bool) -> AgentState:
    async with child_work.agent_of(loaded, section) as agent:
        if serial_reset:
            await agent.place.record("agent.serial-reset", serial=(await agent.load()).serial)
        run = _Run(agent, as_json, time.time() + section.confirm, serial_reset)
        return await run.to_its_end()


class _Run:
    """One agent's steps in a row, waiting only for the parent to publish what it has accepted."""

    def __init__(self, agent: ZoneAgent, quiet: bool, until: float, serial_reset: bool) -> None:
        self._agent = agent
        self._serial_reset = serial_reset
        self._quiet = quiet
        self._until = until
        self._said = ""

    async def to_its_end(self) -> AgentState:
        """The state in which it ends. Raises StoreConflict when a daemon is always faster, StoreUnavailable."""
        for attempt in range(child_work.CONFLICTS):
            try:
                return await self._steps()
            except StoreConflict:
                if attempt == child_work.CONFLICTS - 1:
                    raise
                self._agent.reload()
        raise AssertionError("unreachable")

    async def _steps(self) -> AgentState:
        now = self._agent.place.now()
        # whatever it waits for: somebody asks now
        state = replace(transitions.noticed(pacing.asked_for(await self._agent.load()), now), next_at=now.time)
        if self._serial_reset:
            state = replace(state, serial=None)
        state = await self._agent.save(state)
        first = True
        while first or self._goes_on(state):
            wait = state.next_at - time.time()
            if wait > 0:
                if not _is_confirming(state) or time.time() + wait > self._until:
                    break
                await asyncio.sleep(wait)
            state = await self._agent.step(state)
            self._say(state)
            first = False
        return state

    def _goes_on(self, state: AgentState) -> bool:
        return state.phase not in (Phase.IN_SYNC, Phase.HELD) and not state.attempts

    def _say(self, state: AgentState) -> None:
        line = f"{state.phase.value}: {state.reason}"
        if not self._quiet and line != self._said:
            output.say(line)
            if state.advice:
                output.say_block(state.advice)
        self._said = line


def _is_confirming(state: AgentState) -> bool:
    """The receiver has accepted the change, and the parent's servers are looked at until they publish it."""
    return state.phase is Phase.OUT_OF_SYNC and state.sent is not None


def _code(state: AgentState) -> Exit:
    if state.phase is Phase.IN_SYNC and not state.attempts:
        return Exit.DONE
    waits = state.phase is Phase.BOOTSTRAPPING and state.uploaded  # for the parent's side, which is its own affair
    return Exit.DIFFERENT if waits or (not state.attempts and state.phase is not Phase.HELD) else Exit.FAILED
