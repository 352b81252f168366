"""How a child zone sees its parent: what is announced, and whom it would talk to."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from zonecut.agent import damage
from zonecut.agent.learned import Learned, find
from zonecut.agent.parent.discovery import Discovery, discover
from zonecut.agent.parent.receiver import NoReceiver, UpdateReceiver
from zonecut.agent.settings import ParentSettings
from zonecut.cli import session
from zonecut.config import Loaded
from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints
from zonecut.protocol.keys import algorithm_text
from zonecut.serve.resolvers import make_resolver

WORTHS = {
    "pinned": "its fingerprint is one of `pins`",
    "validated": "DNSSEC vouches for it",
    "remembered": "DNSSEC vouched for it once, and does not now",
    "insecurely-announced": "DNSSEC vouches for it, and not for the announcement: it may be anybody's",
    "insecure": "DNSSEC proves that nothing can vouch for it: `insecure_key` decides",
    "unknown": "nobody vouches for it: nothing that it says is believed, and nothing is sent to it",
}
"""What each worth of a receiver's key means to an operator."""


class Seen(NamedTuple):
    """The parent as a child zone sees it now. `reason` says why there is nobody to talk to, where that is so."""

    discovery: Discovery
    parties: tuple[UpdateReceiver, ...]
    reason: str | None


async def look(loaded: Loaded, zone: bytes, settings: ParentSettings, clock: Callable[[], float] = time.time) -> Seen:
    """Search for the parent's receivers as the agent of `zone` does, by the resolver of the configuration.

    Raises ConfigurationError for a resolver that cannot be used, StoreUnusable.
    """
    codepoints = loaded.configuration.codepoints.to_codepoints()
    resolver = make_resolver(loaded, clock, settings.addresses)
    parent = None if settings.zone is None else names.from_text(settings.zone)
    discovery = await discover(resolver, zone, codepoints=codepoints, parent=parent)
    learned = await _learned(loaded, zone)
    try:
        found = await find(resolver, discovery, settings, learned, codepoints=codepoints)
    except NoReceiver as failure:
        return Seen(discovery, (), failure.reason)
    nobody = f"the parent of {names.to_text(zone)} announces nobody who takes UPDATEs ({found.discovery.reason})"
    return Seen(found.discovery, found.parties, None if found.parties else nobody)


async def _learned(loaded: Loaded, zone: bytes) -> Learned:
    """What the zone's agent has learnt of its parent's side."""
    if not session.has_store(loaded) or all(section.apex != zone for section in loaded.configuration.children):
        return Learned()
    async with session.open_store(loaded) as store:
        stored = await store.agents.get(zone)
    state = None if stored is None else damage.read(stored.document)
    return Learned.of(state, loaded.configuration.codepoints.to_codepoints())


def run_look(loaded: Loaded, zone: bytes, settings: ParentSettings) -> Seen:
    return asyncio.run(look(loaded, zone, settings))


def party_fields(party: UpdateReceiver, settings: ParentSettings, codepoints: CodePoints) -> dict[str, object]:
    """What there is to say of a receiver, for `output.say_fields`."""
    keys = [f"{key.tag} {algorithm_text(key.algorithm, codepoints)}  {key.fingerprint()}" for key in party.keys]
    methods = "not announced" if party.methods is None else ", ".join(party.methods) or "none that is known here"
    return {
        "parent zone": names.to_text(party.parent),
        "addresses": ", ".join(map(str, party.addresses)),
        "its key": ";  ".join(keys) or "none",
        "worth": f"{party.worth}: {WORTHS[party.worth]}",
        "because": party.reason,
        "believed": "yes" if party.believable(settings) else "no",
        "bootstrap": f"{methods}",
    }
