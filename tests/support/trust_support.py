"""A world that answers what a test says, and the messages with which a child and its enemies come."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from receiver_support import CHILD, Site
from zonecut.plugin.bootstrap import (
    BootstrapMethod,
    Candidate,
    Conclusion,
    Finding,
    Lookups,
    Presence,
    Security,
    Sighting,
)
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, Algorithm, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.envelope import read_options, walk
from zonecut.protocol.keys import Key, KeyPair
from zonecut.protocol.keystate import KeyStateOption, inquire
from zonecut.protocol.sig0 import sign_request
from zonecut.store import Bootstrap, KeyState, StoredKey

DS = bytes.fromhex("00010d02") + bytes(32)
RECEIVER = names.from_text("updater.parent.example.")


def key(number: int, owner: bytes = CHILD) -> Key:
    return Key(owner, 512, 3, 15, number.to_bytes(32, "big"))


def same_tag(number: int, owner: bytes = CHILD) -> Key:
    """Keys whose octets differ and whose sums, and so key tags, do not."""
    octets = bytearray(32)
    octets[2 * number] = 7
    return Key(owner, 512, 3, 15, bytes(octets))


def new_pair(owner: bytes = CHILD, algorithm: int = Algorithm.ED25519) -> KeyPair:
    return KeyPair.generate(owner, algorithm, DEFAULT)


def delegation(*servers: str, ds: bool = False, child: bytes = CHILD) -> Delegation:
    records = [RR(child, RRType.NS, names.from_text(server)) for server in servers]
    return Delegation.of(child, [*records, RR(child, RRType.DS, DS)] if ds else records)


def found(
    *keys: Key | bytes, security: Security = Security.INSECURE, where: str = "there", signer: bytes | None = None
) -> Sighting:
    rdatas = frozenset(each if isinstance(each, bytes) else each.rdata for each in keys)
    return Sighting(where, Presence.FOUND, security, rdatas, signer)


def nothing(presence: Presence, security: Security, where: str = "there") -> Sighting:
    return Sighting(where, presence, security, reason="said so")


SILENCE = nothing(Presence.FAILED, Security.INDETERMINATE)
NO_DS = nothing(Presence.ABSENT, Security.SECURE, "DS")


@dataclass
class World:
    """Lookups of which a test says what they find; `asked` tells what was looked at."""

    at: dict[bytes, Sighting] = field(default_factory=dict)
    servers: Sequence[Sighting] = ()
    elsewhere: Mapping[str, Sequence[Sighting]] = field(default_factory=dict)
    asked: list[bytes] = field(default_factory=list)
    ds: Sighting = NO_DS
    """What the resolver says of the child's DS."""

    @property
    def vantage_points(self) -> Sequence[str]:
        return list(self.elsewhere)

    async def keys_at(self, name: bytes) -> Sighting:
        self.asked.append(name)
        return self.at.get(name, SILENCE)

    async def keys_under(self, delegation: Delegation) -> Sighting:
        return await self.keys_at(delegation.child)

    async def ds_at(self, child: bytes) -> Sighting:
        return self.ds

    async def keys_from_servers(self, delegation: Delegation, vantage_point: str | None = None) -> Sequence[Sighting]:
        return self.servers if vantage_point is None else self.elsewhere[vantage_point]


@dataclass
class Scripted(BootstrapMethod):
    """A method that finds what a test tells it to; `looks` is what it was asked."""

    finding: Finding | Callable[[Candidate], Finding] = Finding(Conclusion.UNDECIDED, "not told")  # noqa: RUF009
    replaces_trusted: bool = True
    looks: list[Candidate] = field(default_factory=list)
    hold: asyncio.Event | None = None
    """Wait for it in each look."""
    is_served: bool = True
    """The child's servers serve what it accepts."""

    async def examine(self, candidate: Candidate, lookups: Lookups) -> Finding:
        self.looks.append(candidate)
        if self.hold is not None:
            await self.hold.wait()
        finding = self.finding if isinstance(self.finding, Finding) else self.finding(candidate)
        if self.is_served and isinstance(lookups, World) and finding.conclusion is Conclusion.ACCEPTED:
            lookups.servers = [found(*finding.validated)]
        return finding


def accepts(*keys: Key) -> Finding:
    return Finding(Conclusion.ACCEPTED, "it is there", validated=frozenset(each.rdata for each in keys))


# messages


def key_record(key: Key, ttl: int = 3600) -> bytes:
    return message.add(key.owner, RRType.KEY, ttl, key.rdata)


def delete_keys(owner: bytes = CHILD) -> bytes:
    return message.delete_rrset(owner, RRType.KEY)


def upload(here: Site, pair: KeyPair, *, replace: bool = True, identity: int = 1, edns: bool = True) -> bytes:
    """The start of a bootstrap: the key, signed by itself."""
    owner = pair.key.owner
    updates = [delete_keys(owner), key_record(pair.key)] if replace else [key_record(pair.key)]
    return here.signed(*updates, pair=pair, identity=identity, edns=edns)


def inquiry(
    here: Site, pair: KeyPair | None, key_id: int, *, data: bytes | None = None, qtype: int = RRType.KEY
) -> bytes:
    """A KeyState inquiry about a key of CHILD, signed by `pair` if there is one."""
    option = inquire(key_id).to_option(DEFAULT) if data is None else message.option(DEFAULT.keystate_option, data)
    plain = message.query(7, CHILD, qtype, additional=[message.opt_record(option)])
    if pair is None:
        return plain
    at = int(here.clock.now)
    return sign_request(plain, pair, at, at + 300, signature_type=DEFAULT.signature_type)


def option_of(wire: bytes) -> KeyStateOption | None:
    """The KeyState option of a response."""
    envelope = walk(wire)
    options = dict(read_options(envelope.rdata(envelope.opt))) if envelope.opt else {}
    data = options.get(DEFAULT.keystate_option)
    return None if data is None else KeyStateOption.from_data(data)


async def state_told(here: Site, pair: KeyPair) -> int | None:
    """What a child is told when it asks what its key is worth."""
    answer = await here.ask(inquiry(here, pair, pair.key.tag))
    told = option_of(answer.envelope.wire)
    return None if told is None else told.key_state


# what the store holds


async def states(here: Site, owner: bytes = CHILD) -> dict[bytes, KeyState]:
    return {stored.key.rdata: stored.state for stored in await here.store.keys.find(owner)}


async def state_of(here: Site, key: Key) -> KeyState | None:
    return (await states(here, key.owner)).get(key.rdata)


async def stored_of(here: Site, key: Key) -> StoredKey:
    (stored,) = [each for each in await here.store.keys.find(key.owner) if each.key == key]
    return stored


async def bootstrap_of(here: Site, key: Key) -> Bootstrap | None:
    return await here.store.bootstraps.get((await stored_of(here, key)).id)


async def becomes(here: Site, key: Key, state: KeyState) -> StoredKey:
    """The key, once it has a state."""
    async with asyncio.timeout(10):
        while (stored := await stored_of(here, key)).state is not state:
            here.served_zone.bootstrapper.wake()
            await asyncio.sleep(0.005)
    await here.store.ring.fetch([key.owner])
    return stored


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (what it waits for does not tell)
            await asyncio.sleep(0.005)
