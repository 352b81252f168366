"""Whom a child talks to: the UPDATE Receiver's addresses, and its KEY with what that is worth.

Fail closed: a key that was pinned or once validated stays the measure, whatever a later look-up says short of another
validated one. Only where DNSSEC proves that nothing can be validated, and nothing is known, may policy decide.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from itertools import chain, zip_longest
from typing import Any

from zonecut.agent.parent.discovery import Discovery, Lookups
from zonecut.agent.settings import ParentSettings
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import names
from zonecut.protocol.addresses import is_global_unicast
from zonecut.protocol.announced.svcb import Method, Svcb, announced
from zonecut.protocol.codepoints import DEFAULT, CodePoints, RRType
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.keys import Key, UnusableKey, verifier
from zonecut.protocol.names import to_text
from zonecut.resolve import Answer, Status, Verdict

MAX_ADDRESSES = 8
"""Of one receiver, that are talked to."""
MAX_KEYS = 8
"""Of one receiver, against which its answers are held."""
MAX_RECEIVERS = 4
"""Of one announcement, that are looked at."""


class KeyTrust(StrEnum):
    """How far a receiver's keys can be believed, the best first."""

    PINNED = "pinned"
    """An operator gave its fingerprint."""
    VALIDATED = "validated"
    """DNSSEC vouches for it."""
    REMEMBERED = "remembered"
    """It was validated once, and now it cannot be."""
    INSECURELY_ANNOUNCED = "insecurely-announced"
    """DNSSEC vouches for it, and not for the announcement that leads to its owner: it may be anybody's."""
    INSECURE = "insecure"
    """DNSSEC proves that nothing can vouch for it, and none was ever validated."""
    UNKNOWN = "unknown"
    """Nothing is known: no answer, a bogus one, or none of the keys that an operator pinned."""


_VOUCHED = frozenset((KeyTrust.PINNED, KeyTrust.VALIDATED, KeyTrust.REMEMBERED))
_ORDER = (
    *(worth for worth in KeyTrust if worth in _VOUCHED),
    # before those of which it is known that nobody vouches for them: who blocks a look-up must not lead there
    KeyTrust.UNKNOWN,
    KeyTrust.INSECURELY_ANNOUNCED,
    KeyTrust.INSECURE,
)


class NoReceiver(Exception):
    """There is nobody to talk to; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class UpdateReceiver:
    """An UPDATE Receiver. `target` is its name and the owner of `keys`, which are all usable.

    `methods` are the ways in which it comes to trust a key, as its SVCB record says; None: it does not say.
    `reason` says in one sentence what `worth` comes from.
    """

    parent: bytes
    target: bytes
    addresses: tuple[Endpoint, ...]
    keys: tuple[Key, ...]
    worth: KeyTrust
    methods: tuple[Method, ...] | None
    reason: str

    def believable(self, settings: ParentSettings) -> bool:
        """True if its answers can be believed at all, so that changes are sent to it."""
        if self.worth is KeyTrust.INSECURE:
            return settings.insecure_key == "accept-and-log"
        return self.worth is not KeyTrust.UNKNOWN

    @property
    def is_vouched(self) -> bool:
        """True if somebody vouches for it: it is the receiver that the parent means, and its answers can be told from
        forged ones. What it says may have consequences that cannot be undone."""
        return self.worth in _VOUCHED

    def to_json(self) -> dict[str, Any]:
        return {
            "parent": to_text(self.parent),
            "target": to_text(self.target),
            "addresses": [str(address) for address in self.addresses],
            "keys": [
                {"tag": key.tag, "algorithm": key.algorithm, "fingerprint": key.fingerprint()} for key in self.keys
            ],
            "worth": self.worth.value,
            "methods": None if self.methods is None else [method.value for method in self.methods],
            "reason": self.reason,
        }


async def find_parties(
    resolver: Lookups,
    discovery: Discovery,
    settings: ParentSettings,
    remembered: Collection[Key] = (),
    *,
    codepoints: CodePoints = DEFAULT,
) -> tuple[UpdateReceiver, ...]:
    """The receiver that is configured or all that the parent announces and that can be talked to, the one whose key is
    worth most first.

    None where only receivers that nobody vouches for can be, beside another one that cannot be reached now.
    `remembered` are keys of receivers that were validated once. Raises NoParty.
    """
    # somebody else may have written an insecure announcement
    securely = settings.receiver is not None or discovery.verdict is Verdict.SECURE
    search = _Search(resolver, settings, remembered, codepoints, securely)
    if settings.receiver is not None:
        assert settings.zone is not None  # the settings see to that
        endpoints = tuple(Endpoint.parse(text) for text in settings.receiver.addresses)
        target = names.from_text(settings.receiver.target)
        return (await search.party(names.from_text(settings.zone), target, endpoints),)
    parent = announced_parent(discovery, settings)
    if not discovery.updates:
        child = to_text(discovery.child)
        raise NoReceiver(f"the parent of {child} announces nobody who takes UPDATEs ({discovery.reason})")
    found: list[UpdateReceiver] = []
    away: list[UpdateReceiver] = []
    reasons = []
    for record in discovery.updates[:MAX_RECEIVERS]:
        try:
            addresses = await find_addresses(resolver, record.target, record.port, settings)
        except NoReceiver as failure:
            reasons.append(failure.reason)
            away.append(await search.party(parent, record.target, ()))
        else:
            found.append(await search.party(parent, record.target, addresses))
    found.sort(key=_rank)
    if not found or any(_rank(each) < _rank(found[0]) and not found[0].is_vouched for each in away):
        raise NoReceiver("; ".join(reasons))
    return tuple(found)


def _rank(party: UpdateReceiver) -> int:
    return _ORDER.index(party.worth)


async def find_addresses(resolver: Lookups, target: bytes, port: int, settings: ParentSettings) -> tuple[Endpoint, ...]:
    """Where a target that the parent announces is reached. Raises NoParty where that is nowhere."""
    answers = await asyncio.gather(*(resolver.lookup(target, rtype) for rtype in (RRType.AAAA, RRType.A)))
    # taken in turn: one family may be unreachable from here
    both = zip_longest(*([_address(rdata) for rdata in answer.rdatas] for answer in answers))
    found = [address for address in chain.from_iterable(both) if address is not None]
    if not found:
        reasons = "; ".join(dict.fromkeys(f"{answer.verdict}, {answer.status}" for answer in answers))
        raise NoReceiver(f"no address of {to_text(target)} could be found ({reasons})")
    allowed = [address for address in found if settings.addresses == "any" or is_global_unicast(address)]
    if not allowed:
        raise NoReceiver(
            f"{to_text(target)} has special-purpose addresses only ({', '.join(found[:MAX_ADDRESSES])}), which"
            f" `addresses: any` would allow"
        )
    return tuple(Endpoint(address, port) for address in allowed[:MAX_ADDRESSES])


def announced_parent(discovery: Discovery, settings: ParentSettings) -> bytes:
    """The parent zone of an announcement that may be used, of whatever scheme. Raises NoParty."""
    child = to_text(discovery.child)
    if not discovery.is_known:
        raise NoReceiver(f"what the parent of {child} announces is {discovery.verdict}: {discovery.reason}")
    if discovery.verdict is Verdict.INSECURE and settings.insecure_announcement == "reject":
        raise NoReceiver(f"what the parent of {child} announces is insecure, and `insecure_announcement` says `reject`")
    if discovery.parent is None:
        raise NoReceiver(f"the parent zone of {child} could not be found out: set `parent.zone`")
    return discovery.parent


class _Search:
    def __init__(
        self,
        resolver: Lookups,
        settings: ParentSettings,
        remembered: Collection[Key],
        codepoints: CodePoints,
        securely: bool,
    ) -> None:
        self._resolver = resolver
        self._settings = settings
        self._remembered = remembered
        self._codepoints = codepoints
        self._securely = securely

    async def party(self, parent: bytes, target: bytes, addresses: tuple[Endpoint, ...]) -> UpdateReceiver:
        answer, methods = await asyncio.gather(self._resolver.lookup(target, RRType.KEY), self._methods(target))
        held = usable_keys(target, answer.rdatas, self._codepoints)
        known = tuple(key for key in self._remembered if key.owner == target)[:MAX_KEYS]
        keys, worth, reason = self._weigh(to_text(target), answer, held, known)
        return UpdateReceiver(parent, target, addresses, keys, worth, methods, reason)

    def _weigh(
        self, target: str, answer: Answer, held: tuple[Key, ...], known: tuple[Key, ...]
    ) -> tuple[tuple[Key, ...], KeyTrust, str]:
        looked_up = f"the look-up of its KEY: {answer.verdict}, {answer.status}: {answer.reason}"
        if self._settings.pins:
            pinned = tuple(key for key in dict.fromkeys((*held, *known)) if _pin(key) in self._settings.pins)
            if pinned:
                return pinned, KeyTrust.PINNED, f"the fingerprint of {_tags(pinned)} is pinned"
            return (), KeyTrust.UNKNOWN, f"{target} has no KEY whose fingerprint is pinned; {looked_up}"
        if answer.is_proven and held and (self._securely or known):
            return held, KeyTrust.VALIDATED, answer.reason
        if (answer.is_proven and not held) or (answer.is_proven_absent and known):
            # what was validated once has been withdrawn
            return (), KeyTrust.UNKNOWN, f"{target} has no KEY that can be used; {looked_up}"
        if known:
            return known, KeyTrust.REMEMBERED, f"{_tags(known)} was validated once; {looked_up}"
        if self._remembered and not self._securely:
            led = f"an insecure announcement leads from a receiver with a key to {target}"
            return (), KeyTrust.UNKNOWN, f"{led}: pin its key (`parent.pins`) if it is the right one; {looked_up}"
        if answer.is_proven:
            why = f"the KEY of {target} is secure, and the announcement that leads there is not: {answer.reason}"
            return held, KeyTrust.INSECURELY_ANNOUNCED, why
        if answer.verdict is Verdict.INSECURE:
            usable = held if answer.status in (Status.FOUND, Status.WILDCARD) else ()
            return usable, KeyTrust.INSECURE, answer.reason
        if answer.is_proven_absent:
            return (), KeyTrust.INSECURE, f"{target} has no KEY: {answer.reason}"
        return (), KeyTrust.UNKNOWN, looked_up

    async def _methods(self, target: bytes) -> tuple[Method, ...] | None:
        answer = await self._resolver.lookup(target, RRType.SVCB)
        records = []
        for rdata in answer.rdatas:
            try:
                records.append(Svcb.from_wire(rdata))
            except MalformedMessage:
                continue
        return announced(records, self._codepoints)


def usable_keys(owner: bytes, rdatas: Sequence[bytes], codepoints: CodePoints) -> tuple[Key, ...]:
    """The keys among these RDATA that can sign, at most MAX_KEYS."""
    keys = []
    for rdata in rdatas:
        try:
            key = Key.from_rdata(owner, rdata)
            verifier(key, codepoints)
        except UnusableKey:
            continue
        keys.append(key)
    return tuple(keys[:MAX_KEYS])


def _pin(key: Key) -> str:
    return key.fingerprint().replace(" ", "")


def _tags(keys: Iterable[Key]) -> str:
    return "key " + ", ".join(str(key.tag) for key in keys)


def _address(rdata: bytes) -> str | None:
    return str(ip_address(rdata)) if len(rdata) in (4, 16) else None
