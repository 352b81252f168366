"""`zonecut child publish`: put a child zone's KEY records where the parent looks for them."""

import asyncio
import time

import typer

from zonecut.agent import damage
from zonecut.agent.context import published_keys
from zonecut.agent.evidence.serials import advice_of, why_stale
from zonecut.agent.keys.publishing import Publication
from zonecut.agent.keys.visibility import Visible, visible_at_apex, visible_below_signal
from zonecut.agent.state import AgentState
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.cli import actor, session
from zonecut.cli.failures import Exit, Failure
from zonecut.cli.options import ChildZoneArgument, ConfigOption, DryRunOption, JsonOption
from zonecut.cli.terminal import output
from zonecut.config import ChildSection, Loaded
from zonecut.protocol import names
from zonecut.protocol.announced.signalling import signalling_name
from zonecut.protocol.keys import Key
from zonecut.serve.children import make_side
from zonecut.serve.resolvers import make_resolver
from zonecut.store import AuditEntry


def command(
    zone: ChildZoneArgument, dry_run: DryRunOption = False, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Publish the zone's key at its apex, and below `_signal` in the zones of its name servers that are ours.

    Records of others at the apex stay; keys of ours that are not in use any more go. Where we cannot write, the records
    are shown for somebody else to add. The key has to be there (`zonecut child keygen`).

    Exit code 3: something would change (--dry-run), or has to be changed by hand. 1: a server did not take it.

    Example: zonecut child publish child.parent.example. --dry-run
    """
    loaded = session.load(config)
    section = session.child_at(loaded, zone)
    publication, seen = session.run(_publish(loaded, section, dry_run))
    codepoints = loaded.configuration.codepoints.to_codepoints()
    if as_json:
        output.say_json(
            {
                "zone": names.to_text(zone),
                "places": publication.to_json(codepoints),
                "written": bool(publication.differing) and not dry_run,
                "visible": [{"owner": names.to_text(each.owner), "seen": each.seen} for each in seen],
            }
        )
    else:
        text = publication.to_text(codepoints).rstrip("\n")
        output.say_block(text or f"; {names.to_text(zone)}: nothing to change")
        for each in seen:
            output.say(f"; {names.to_text(each.owner)}: {'the world sees it' if each.seen else each.reason}")
    raise typer.Exit(_code(publication, dry_run))


def _code(publication: Publication, dry_run: bool) -> Exit:
    if publication.failed:
        return Exit.FAILED
    # what the operators of other name servers publish or not is theirs
    apex_by_hand = publication.places[0] in publication.by_hand
    return Exit.DIFFERENT if apex_by_hand or (dry_run and publication.differing) else Exit.DONE


async def _publish(loaded: Loaded, section: ChildSection, dry_run: bool) -> tuple[Publication, tuple[Visible, ...]]:
    side = make_side(loaded, section)
    try:
        keys = side.keys.all()
        if not keys:
            raise Failure(f"{section.zone} has no key yet: zonecut child keygen {section.zone}")
        state = await _state(loaded, section)
        wanted = [own.key for own in published_keys(state, keys)]
        former = [] if state is None else [names.from_text(owner) for owner in state.copies]
        content = await side.source.content()
        if (stale := why_stale(content, state, section.settings())) is not None:
            raise Failure(stale, advice_of(section.apex))
        async with side.doors.opened():
            write = side.publisher.plan if dry_run else side.publisher.apply
            publication = await write(wanted, side.keys.ever(), content, former)
    finally:
        await side.close()
    if publication.differing and not dry_run:
        await _record(loaded, section, publication)
    return publication, await _look(loaded, section, publication, content, wanted)


async def _state(loaded: Loaded, section: ChildSection) -> AgentState | None:
    """Where the zone's agent stands, if one has looked after it: it says which keys are in use."""
    if not session.has_store(loaded):
        return None
    async with session.open_store(loaded) as store:
        stored = await store.agents.get(section.apex)
    return None if stored is None else damage.read(stored.document)


async def _look(
    loaded: Loaded, section: ChildSection, publication: Publication, content: ZoneContent, keys: list[Key]
) -> tuple[Visible, ...]:
    """Whether the world sees what is somebody else's to publish."""
    owners = {place.owner for place in publication.by_hand}
    if not owners:
        return ()
    resolver = make_resolver(loaded, time.time, section.parent.addresses)
    looks = [visible_at_apex(resolver, content, keys)] if section.apex in owners else []
    for server in content.ns:
        owner = signalling_name(section.apex, server)
        if owner is not None and owner in owners:
            looks.append(visible_below_signal(resolver, owner, server, keys))
    return tuple(await asyncio.gather(*looks))


async def _record(loaded: Loaded, section: ChildSection, publication: Publication) -> None:
    codepoints = loaded.configuration.codepoints.to_codepoints()
    detail = {"places": [place.to_json(codepoints) for place in publication.differing]}
    async with session.open_store(loaded) as store:
        await store.audit.record(AuditEntry("agent.key-published", actor.operator(), child=section.apex, detail=detail))
