"""The servers that hold a zone are asked for a KEY before a cache is: it would keep what is not there yet."""

from ipaddress import ip_address
from typing import cast

import pytest

from zonecut.agent.keys.visibility import visible, visible_at_apex, visible_below_signal
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names
from zonecut.protocol.announced.signalling import signalling_name
from zonecut.protocol.codepoints import DEFAULT, Rcode, RRType
from zonecut.protocol.delegation import RR
from zonecut.protocol.keys import Key, KeyPair
from zonecut.resolve import Answer, Direct, Resolver, Status, Verdict
from zonecut.resolve.reply import Reply, RRset

CHILD = names.from_text("child.parent.example.")
NS1, NS2 = names.from_text("ns1.child.parent.example."), names.from_text("ns.operator.example.")
OPERATOR = names.from_text("operator.example.")
SIGNAL = signalling_name(CHILD, NS2) or b""
KEY, FOREIGN = (KeyPair.generate(CHILD, 15, DEFAULT).key for _ in range(2))
ONE, TWO = "127.53.0.1", "127.53.0.2"
CONTENT = ZoneContent(CHILD, 1, (NS1, NS2), (RR(NS1, RRType.A, ip_address(ONE).packed),))


class World:
    """What single servers have, by address (None: silent), and a resolver whose questions are counted."""

    def __init__(self, *, held: dict[str, list[Key] | None], cached: list[Key], lame: bool = False) -> None:
        self._held, self._cached, self._lame = held, cached, lame
        self.asked: list[str] = []
        self.verdict = Verdict.SECURE

    def may_ask(self, address: str) -> bool:
        return address.startswith("127.53.")

    async def lookup(self, name: bytes, rtype: int) -> Answer:
        self.asked.append(f"{names.to_text(name)} {RRType(rtype).text}")
        if rtype == RRType.SOA:
            return Answer(name, rtype, self.verdict, Status.NODATA, "", soa=OPERATOR)
        if rtype == RRType.A:
            signer = OPERATOR if self.verdict is Verdict.SECURE else None
            return Answer(name, rtype, self.verdict, Status.FOUND, "", (ip_address(TWO).packed,), signer=signer)
        if rtype == RRType.NS:
            return Answer(name, rtype, Verdict.SECURE, Status.FOUND, "", (NS2,))
        status = Status.FOUND if self._cached else Status.NODATA
        return Answer(name, rtype, Verdict.SECURE, status, "as kept", tuple(key.rdata for key in self._cached))

    async def ask(self, address: str, port: int, name: bytes, rtype: int) -> Direct:
        if rtype == RRType.AAAA:
            return Direct(address, port, name, rtype, Status.NODATA, "", 0, True)
        held = self._held[address]
        if held is None:
            return Direct(address, port, name, rtype, Status.FAILED, "silent")
        reply = Reply(Rcode.NOERROR, not self._lame, False, False, (), ())
        if not held:
            zone = CHILD if name == CHILD else OPERATOR
            reply = _negative(zone, authoritative=not self._lame)
        rdatas = tuple(key.rdata for key in held)
        status = Status.FOUND if held else Status.NODATA
        return Direct(address, port, name, rtype, status, "", 0, not self._lame, rdatas, reply=reply)


def _negative(zone: bytes, *, authoritative: bool) -> Reply:
    return Reply(Rcode.NOERROR, authoritative, False, False, (), (RRset(zone, RRType.SOA, 60, ()),))


async def test_a_cache_is_asked_once_each_server_has_the_key() -> None:
    world = World(held={ONE: [FOREIGN, KEY], TWO: [KEY]}, cached=[KEY])
    assert (await visible_at_apex(cast(Resolver, world), CONTENT, [KEY])).seen
    assert world.asked == ["ns.operator.example. A", "child.parent.example. KEY"]


@pytest.mark.parametrize("behind", [[], [FOREIGN]])
async def test_a_cache_is_not_asked_while_one_server_does_not_have_the_key(behind: list[Key]) -> None:
    world = World(held={ONE: [KEY], TWO: behind}, cached=[])
    seen = await visible_at_apex(cast(Resolver, world), CONTENT, [KEY])
    assert not seen.seen
    assert f"ns.operator.example. ({TWO}) does not have it" in seen.reason
    assert world.asked == ["ns.operator.example. A"]


async def test_a_server_that_is_silent_or_lame_keeps_nobody_from_looking() -> None:
    for world in (
        World(held={ONE: [KEY], TWO: None}, cached=[KEY]),
        World(held={ONE: None, TWO: None}, cached=[KEY]),
        World(held={ONE: [], TWO: []}, cached=[KEY], lame=True),
    ):
        assert (await visible_at_apex(cast(Resolver, world), CONTENT, [KEY])).seen
    # ... and the world's view decides
    world = World(held={ONE: [KEY], TWO: [KEY]}, cached=[])
    assert not (await visible_at_apex(cast(Resolver, world), CONTENT, [KEY])).seen


async def test_below_signal_the_servers_of_that_zone_are_asked_first() -> None:
    world = World(held={TWO: []}, cached=[])
    seen = await visible_below_signal(cast(Resolver, world), SIGNAL, NS2, [KEY])
    assert not seen.seen
    assert f"ns.operator.example. ({TWO}) does not have it" in seen.reason
    # nothing that is not there: the proof of its absence covers what is below _signal, and would be kept
    assert world.asked == ["ns.operator.example. A", "operator.example. NS", "ns.operator.example. A"]
    world = World(held={TWO: []}, cached=[])
    world.verdict = Verdict.INSECURE
    seen = await visible_below_signal(cast(Resolver, world), SIGNAL, NS2, [KEY])
    assert (seen.seen, seen.verdict) == (False, Verdict.INSECURE)
    world = World(held={TWO: [KEY]}, cached=[KEY])
    assert (await visible_below_signal(cast(Resolver, world), SIGNAL, NS2, [KEY])).seen
    assert (await visible(cast(Resolver, world), SIGNAL, [KEY])).seen
