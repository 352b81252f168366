"""What an agent keeps of its parent's side, and what an insecure announcement cannot take from it (PROTOCOL section 2).

A receiver, its keys and the scheme UPDATE that were learnt from a secure, configured or pinned announcement are left
only for another such one: anybody on the way can make an insecure one, to lead away from a receiver that is known.
"""

from contextlib import suppress
from dataclasses import dataclass, replace

from zonecut.agent.parent.discovery import Discovery, Lookups
from zonecut.agent.parent.receiver import KeyTrust, NoReceiver, UpdateReceiver, announced_parent, find_parties
from zonecut.agent.settings import ParentSettings
from zonecut.agent.state import AgentState
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.codepoints import DEFAULT, CodePoints, RRType
from zonecut.protocol.keys import Key
from zonecut.resolve import Verdict

MAX_KEYS = 16
"""KEY records of receivers that are kept."""


@dataclass(frozen=True, slots=True)
class Learned:
    """The receivers that were announced, in which parent zone, and keys of receivers that were vouched for."""

    keys: tuple[Key, ...] = ()
    records: tuple[Dsync, ...] = ()
    parent: bytes | None = None

    @classmethod
    def of(cls, state: AgentState | None, codepoints: CodePoints = DEFAULT) -> "Learned":
        if state is None:
            return cls()
        return cls(
            tuple(Key.from_text(text) for text in state.receiver_keys),
            tuple(Dsync.from_text(text, codepoints) for text in state.announced),
            None if state.announced_in is None else names.from_text(state.announced_in),
        )


@dataclass(frozen=True, slots=True)
class Found:
    """The announcement that counts, and the receivers of UPDATEs that can be talked to, the best first; none where
    there is only somebody who takes NOTIFY."""

    discovery: Discovery
    parties: tuple[UpdateReceiver, ...]


async def find(
    resolver: Lookups,
    discovery: Discovery,
    settings: ParentSettings,
    learned: Learned,
    *,
    codepoints: CodePoints = DEFAULT,
) -> Found:
    """Whom to talk to after a search that ended in `discovery`. Raises NoParty."""
    stands = _standing(discovery, settings, learned)
    if stands is not discovery and settings.pins:
        # an insecure announcement of a receiver with a pinned key is as good as what is known
        with suppress(NoReceiver):
            parties = await find_parties(resolver, discovery, settings, learned.keys, codepoints=codepoints)
            if parties[0].worth is KeyTrust.PINNED:
                return Found(discovery, parties)
    if settings.receiver is None and not stands.updates and _is_notified(stands):
        announced_parent(stands, settings)
        if stands.verdict is not Verdict.SECURE and (learned.keys or settings.pins):
            raise NoReceiver(
                f"an insecure announcement for {names.to_text(stands.child)} takes no UPDATEs, and a receiver"
                " with a key is known: anybody on the way can have written it"
            )
        return Found(stands, ())
    return Found(stands, await find_parties(resolver, stands, settings, learned.keys, codepoints=codepoints))


def _standing(discovery: Discovery, settings: ParentSettings, learned: Learned) -> Discovery:
    """The announcement that counts: what was learnt, instead of one that is insecure."""
    if discovery.verdict is not Verdict.INSECURE or not learned.records or settings.receiver is not None:
        return discovery
    if settings.zone is not None and learned.parent != names.from_text(settings.zone):
        return discovery  # it was learnt of another parent
    return replace(
        discovery, parent=learned.parent, verdict=Verdict.SECURE, records=learned.records, is_remembered=True
    )


def _is_notified(discovery: Discovery) -> bool:
    return any(discovery.notifies(rtype) for rtype in (RRType.CDS, RRType.CSYNC))


def learn(
    state: AgentState, discovery: Discovery, party: UpdateReceiver | None, settings: ParentSettings
) -> AgentState:
    """Keep what a secure announcement says, or a receiver with a pinned key; nothing of another one."""
    if settings.receiver is not None or discovery.is_remembered:
        return state
    pinned = party is not None and party.worth is KeyTrust.PINNED
    if discovery.verdict is not Verdict.SECURE and not pinned:
        return state
    records = discovery.updates
    if discovery.verdict is not Verdict.SECURE:
        records = tuple(record for record in records if party is not None and record.target == party.target)
    targets = {record.target for record in records}
    kept = tuple(text for text in state.receiver_keys if Key.from_text(text).owner in targets)
    announced = tuple(record.to_text(discovery.codepoints) for record in records)
    parent = None if discovery.parent is None or not announced else names.to_text(discovery.parent)
    return replace(state, announced=announced, announced_in=parent, receiver_keys=kept)


def met(state: AgentState, party: UpdateReceiver) -> AgentState:
    """The agent knows this receiver now, and its keys for good once somebody has vouched for them."""
    addresses = ", ".join(map(str, party.addresses))
    known = replace(state, receiver=f"{names.to_text(party.target)} ({addresses}), key {party.worth.value}")
    if party.worth not in (KeyTrust.VALIDATED, KeyTrust.PINNED):
        return known
    others = [text for text in state.receiver_keys if Key.from_text(text).owner != party.target]
    keys = (*(key.to_text() for key in party.keys), *others)
    return replace(known, receiver_keys=keys[:MAX_KEYS])
