"""How a child's key comes to be trusted: made, published, asked for, uploaded, asked for again."""

import asyncio
from collections.abc import Collection
from dataclasses import replace

from zonecut.agent import transitions
from zonecut.agent.context import AgentContext
from zonecut.agent.exchange.result import Result
from zonecut.agent.exchange.update_client import Inquired, UpdateClient
from zonecut.agent.keys.child_keys import OwnKey
from zonecut.agent.keys.visibility import Visible, visible_at_apex, visible_below_signal
from zonecut.agent.learned import met
from zonecut.agent.outlook import KEY_AWAY
from zonecut.agent.parent.receiver import UpdateReceiver
from zonecut.agent.state import AgentState, Phase
from zonecut.agent.transitions import Heard
from zonecut.protocol import message, names
from zonecut.protocol.announced.signalling import signalling_name
from zonecut.protocol.announced.svcb import Method
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.keys import Key
from zonecut.resolve import Verdict

LOOKS_IN_VAIN = 3
"""So often a key is looked for that nobody sees, where an operator of the parent may trust it all the same."""

_PASSING = frozenset(
    (
        Result.ACCEPTED,
        Result.SILENT,
        Result.UNBELIEVABLE,
        Result.FAILED,
        Result.RATE_LIMITED,
        Result.NOT_OURS,
        Result.NOT_OFFERED,
        Result.LOOKED_UP,
        Result.BAD_TIME,
    )
)
"""What is no refusal of the form in which an upload was sent."""
_BARE = frozenset((Result.KEY_UNKNOWN, Result.REFUSED, Result.MALFORMED, Result.UNSUPPORTED, Result.BAD_SIGNATURE))
"""Refusals that tell nothing of the key."""


async def own_key(place: AgentContext, state: AgentState) -> OwnKey | None:
    """The key that signs; None if its files are gone, or there never was one. Raises UnusableKey, OSError."""
    return None if state.key is None else await asyncio.to_thread(place.keys.find, state.key)


async def key_away(place: AgentContext, fingerprint: str) -> str | None:
    """A sentence that the files of a key of ours are not there; None if the key was put aside.

    The directory may not be mounted, or be restored at this moment: no other key takes the place of one that the parent
    trusts before a person says so. Raises UnusableKey, OSError.
    """
    if await asyncio.to_thread(place.keys.is_retired, fingerprint):
        return None
    return f"the files of key {fingerprint} are not in {place.keys.path}"


async def make_and_publish(place: AgentContext, state: AgentState) -> AgentState:
    """The step of NO_KEY: a key of ours, made if there never was one, published where we can."""
    if state.key is not None and not await asyncio.to_thread(place.keys.all):
        away = await key_away(place, state.key)
        if away is not None:
            return transitions.failed(state, away, place.now(), KEY_AWAY)
    keys = await asyncio.to_thread(place.keys.ensure, place.settings.key.algorithm, place.settings.key.ttl)
    own = keys[-1]
    if own.fingerprint != state.key:
        await place.record("agent.key", own, fingerprint=own.fingerprint, file=str(own.file))
    return await _publish(place, replace(state, key=None if state.key != own.fingerprint else state.key), own)


async def _publish(place: AgentContext, state: AgentState, own: OwnKey) -> AgentState:
    state, publication = await place.publish(state, own)
    now = place.now()
    if publication.places[0] in publication.failed:
        reason = f"the KEY cannot be published: {publication.places[0].reason}"
        return transitions.failed(state, reason, now, "see that zonecut may write KEY records there")
    return transitions.has_key(state, own.fingerprint, now)


async def wait_until_visible(place: AgentContext, state: AgentState, own: OwnKey, party: UpdateReceiver) -> AgentState:
    """The step of PUBLISHED: go on when the world sees the key, if the receiver looks for it at all."""
    now = place.now()
    offered = set(Method) if party.methods is None else set(party.methods)
    common = [method for method in place.settings.methods if method in offered]
    if not common:
        offers = ", ".join(party.methods or ()) or "none"
        accepts = ", ".join(place.settings.methods)
        reason = f"the parent offers the bootstrap methods {offers}, and `methods` accepts {accepts}"
        return transitions.hold(state, reason, "change `methods`, or ask the parent's operator", now)
    if common == [Method.MANUAL]:
        return transitions.visible(state, now)
    unseen = await _unseen(place, own, common)
    if not unseen or (Method.MANUAL in common and state.attempts >= LOOKS_IN_VAIN):
        # an operator of the parent may trust a key that nobody sees
        return transitions.visible(state, place.now())
    state, publication = await place.publish(state, own)
    owners = {sight.owner for sight in unseen}
    by_hand = "".join(each.to_text(place.codepoints) for each in publication.by_hand if each.owner in owners)
    return transitions.failed(state, unseen[0].reason, place.now(), f"to be added:\n{by_hand}" if by_hand else "")


async def _unseen(place: AgentContext, own: OwnKey, common: Collection[Method]) -> list[Visible]:
    """Where the key is not to be seen although the receiver will look for it there.

    That is the apex for all methods, and for at-ns the name below `_signal` of each name server outside the zone, save
    those that no receiver would believe: in zones that are not signed.
    """
    content = await place.source.content()
    apex = await visible_at_apex(place.resolver, content, [own.key])
    if not apex.seen:
        return [apex]
    at_apex_does = Method.AT_APEX in common and apex.verdict is Verdict.SECURE
    if at_apex_does or Method.AT_NS not in common or Method.UNSIGNED in common:
        return []
    outside = [server for server in content.ns if not names.is_at_or_below(server, place.zone)]
    owners = [(signalling_name(place.zone, server), server) for server in outside]
    sights = await asyncio.gather(
        *(
            visible_below_signal(place.resolver, owner, server, [own.key])
            for owner, server in owners
            if owner is not None
        )
    )
    return [sight for sight in sights if not sight.seen and sight.verdict is not Verdict.INSECURE]


async def ask(place: AgentContext, state: AgentState, own: OwnKey, party: UpdateReceiver) -> AgentState:
    """The step of ASKING: what is the key worth to the receiver?"""
    heard, word, text = await inquire(place, own, party)
    return transitions.after_inquiry(met(state, party), word, text, heard, place.now())


async def inquire(place: AgentContext, own: OwnKey, party: UpdateReceiver) -> tuple[Heard, int | None, str]:
    """What was heard, and the receiver's KEY-STATE and its text if that is its word. Raises Left."""

    async def talk(conversation: UpdateClient) -> tuple[Heard, Inquired]:
        inquired = await conversation.inquire()
        return Heard(inquired.outcome.result, inquired.reason), inquired

    heard, inquired = await place.say(party, own, talk)
    told = inquired.keystate if inquired.believed else None
    if told is None:
        return heard, None, ""
    return heard, told.key_state, told.extra_text


async def upload(place: AgentContext, state: AgentState, own: OwnKey, party: UpdateReceiver) -> AgentState:
    """The step of BOOTSTRAPPING before the receiver has the key: send it, signed with itself.

    First with the deletion of all others, as the draft has it; some receivers take a single addition only.
    """
    # whoever looks for it shall find it, though it was taken out since, or the name servers are others
    state, hindered, wrote = await place.restore(state)
    state = replace(state, notes=hindered)
    if state.displaced_at is not None and hindered:
        return transitions.displaced(state, hindered[0], place.now())
    if wrote:
        # the receiver's look-ups would keep what a server does not have yet
        now = place.now()
        back = transitions.move(state, Phase.PUBLISHED, "the KEY was put back, and has to be seen first", now)
        return replace(back, next_at=now.later(max(state.attempts, 1)))
    content = await place.source.content()
    # some receivers compare the record with the published one, its TTL included
    ttl = content.key_ttl if own.key.rdata in content.key else place.settings.key.ttl
    both = upload_records(own.key, ttl)
    heard = await send(place, own, party, both)
    if _meaning(heard) not in _PASSING:
        single = await send(place, own, party, both[1:])
        # of two refusals the one that says more
        heard = heard if _meaning(single) in _BARE and _meaning(heard) not in _BARE else single
    await place.record("agent.bootstrap", own, result=heard.result.value, reason=heard.reason)
    state = met(state, party)
    if heard.unvouched is None:
        return transitions.after_upload(state, heard, place.now())
    # nobody vouches for that answer, which decides nothing: what the receiver says of the key does
    asked, word, text = await inquire(place, own, party)
    if word is None:
        return transitions.after_upload(state, heard, place.now())
    return transitions.after_inquiry(replace(state, uploaded=True), word, text, asked, place.now())


def _meaning(heard: Heard) -> Result:
    """What an answer says, whether somebody vouches for it or not."""
    return heard.result if heard.unvouched is None else heard.unvouched


def upload_records(key: Key, ttl: int) -> tuple[bytes, ...]:
    """The bootstrap (draft-ietf-dnsop-delegation-mgmt-via-ddns): all KEY records away, and this one."""
    return (message.delete_rrset(key.owner, RRType.KEY), message.add(key.owner, RRType.KEY, ttl, key.rdata))


async def send(
    place: AgentContext,
    own: OwnKey,
    party: UpdateReceiver,
    records: tuple[bytes, ...],
    prerequisites: tuple[bytes, ...] = (),
) -> Heard:
    """Send an UPDATE with these records; what came of it. Raises Left."""

    async def talk(conversation: UpdateClient) -> tuple[Heard, None]:
        outcome = await conversation.update(records, prerequisites=prerequisites)
        return Heard(outcome.result, outcome.reason, outcome.unvouched, outcome.not_before), None

    heard, _ = await place.say(party, own, talk)
    return heard


async def bootstrap(place: AgentContext, state: AgentState, own: OwnKey, party: UpdateReceiver) -> AgentState:
    """The step of BOOTSTRAPPING."""
    if not state.uploaded:
        return await upload(place, state, own, party)
    return await ask(place, state, own, party)


STEPS = {Phase.ASKING: ask, Phase.BOOTSTRAPPING: bootstrap, Phase.PUBLISHED: wait_until_visible}
