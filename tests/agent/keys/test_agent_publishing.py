"""Where the keys of a child zone are published, and what of that is somebody else's to do."""

from collections.abc import Sequence
from typing import cast

from zonecut.agent.keys.publishing import KeyPublisher, Writing
from zonecut.agent.keys.visibility import visible
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.plugin import Backend, BackendConflict, BackendError, BackendUnavailable
from zonecut.protocol import names
from zonecut.protocol.announced.signalling import signalling_name
from zonecut.protocol.codepoints import DEFAULT, RRType
from zonecut.protocol.keys import Key, KeyPair
from zonecut.protocol.rrset import RRset
from zonecut.resolve import Answer, Resolver, Status, Verdict

CHILD = names.from_text("child.parent.example.")
INSIDE, OUTSIDE = names.from_text("ns1.child.parent.example."), names.from_text("ns.operator.example.")
OPERATOR = names.from_text("operator.example.")
SIGNAL = signalling_name(CHILD, OUTSIDE) or b""
OLD, NEW, FOREIGN = (KeyPair.generate(CHILD, 15, DEFAULT).key for _ in range(3))
TTL = 3600


class Server:
    """One zone on a server that can be edited by others at the wrong moment, and fail."""

    def __init__(self, *held: RRset) -> None:
        self.held = {rrset.key: rrset for rrset in held}
        self.failure: BackendError | None = None
        self.meanwhile: RRset | None = None
        self.writes = 0

    async def read_rrsets(self, wanted: Sequence[bytes]) -> tuple[RRset, ...]:
        if self.failure:
            raise self.failure
        return tuple(rrset for rrset in self.held.values() if rrset.owner in wanted)

    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        if self.meanwhile:
            self.held[self.meanwhile.key], self.meanwhile = self.meanwhile, None
        if any(self.held.get(rrset.key) != rrset for rrset in before):
            raise BackendConflict("somebody was faster")
        self.writes += 1
        for rrset in before:
            del self.held[rrset.key]
        self.held.update({rrset.key: rrset for rrset in after})


def key_rrset(*keys: Key, owner: bytes = CHILD, ttl: int = TTL) -> RRset:
    return RRset(owner, RRType.KEY, ttl, tuple(key.rdata for key in keys))


def publisher(child: Server | None = None, operator: Server | None = None) -> KeyPublisher:
    signalling = {OPERATOR: cast(Backend, operator)} if operator else {}
    return KeyPublisher(CHILD, TTL, cast(Backend, child) if child else None, signalling)


def content(*keys: Key, ttl: int = TTL, ns: Sequence[bytes] = (INSIDE, OUTSIDE)) -> ZoneContent:
    return ZoneContent(CHILD, 1, tuple(ns), key=tuple(sorted(key.rdata for key in keys)), key_ttl=ttl)


async def test_a_key_stands_at_the_apex_and_at_the_name_servers_that_we_control() -> None:
    child, operator = Server(), Server()
    both = publisher(child, operator)
    planned = await both.plan([NEW], [NEW], content())
    assert [place.owner for place in planned.differing] == [CHILD, SIGNAL]
    assert (child.held, operator.held) == ({}, {})
    done = await both.apply([NEW], [NEW], content())
    assert done.to_text() == planned.to_text()
    assert list(child.held.values()) == [key_rrset(NEW)]
    assert list(operator.held.values()) == [key_rrset(NEW, owner=SIGNAL)]
    assert names.to_text(SIGNAL) == "_sig0key.child.parent.example._signal.ns.operator.example."
    again = await both.apply([NEW], [NEW], content())
    assert not again.differing
    assert again.to_text() == ""
    assert (child.writes, operator.writes) == (1, 1)


async def test_a_copy_goes_with_its_name_server_and_what_others_put_there_stays() -> None:
    child, operator = Server(), Server()
    both = publisher(child, operator)
    await both.apply([NEW], [NEW], content())
    inside = content(NEW, ns=(INSIDE,))
    planned = await both.plan([NEW], [NEW], inside, [SIGNAL])
    assert planned.to_text() == f"- {NEW.to_text(TTL).replace(names.to_text(CHILD), names.to_text(SIGNAL), 1)}\n"
    assert operator.held
    operator.held[SIGNAL, RRType.KEY] = key_rrset(NEW, OLD, FOREIGN, owner=SIGNAL)
    done = await both.apply([NEW], [NEW, OLD], inside, [SIGNAL])
    assert [place.owner for place in done.differing] == [SIGNAL]
    assert list(operator.held.values()) == [key_rrset(FOREIGN, owner=SIGNAL)]
    assert not (await both.apply([NEW], [NEW, OLD], inside, [SIGNAL])).differing
    # that of a name server which is one again is no former one
    assert (await both.apply([NEW], [NEW, OLD], content(NEW), [SIGNAL])).places[1].wanted is not None
    # where we may not write any more, nothing is ours to take away
    assert len((await publisher(child).plan([NEW], [NEW], inside, [SIGNAL])).places) == 1


async def test_what_others_have_at_the_apex_stays_and_what_we_retired_goes() -> None:
    child, operator = Server(key_rrset(OLD, FOREIGN, ttl=60)), Server(key_rrset(OLD, owner=SIGNAL))
    await publisher(child, operator).apply([NEW], [OLD, NEW], content())
    assert list(child.held.values()) == [key_rrset(FOREIGN, NEW)]
    # a receiver wants the two to be equal
    assert list(operator.held.values()) == [key_rrset(FOREIGN, NEW, owner=SIGNAL)]


async def test_with_no_key_wanted_all_of_ours_go() -> None:
    child, operator = Server(key_rrset(OLD)), Server(key_rrset(OLD, owner=SIGNAL))
    await publisher(child, operator).apply([], [OLD], content())
    assert (child.held, operator.held) == ({}, {})


async def test_what_somebody_adds_meanwhile_is_kept() -> None:
    child = Server(key_rrset(OLD))
    child.meanwhile = key_rrset(OLD, FOREIGN)
    await publisher(child).apply([NEW], [OLD, NEW], content(ns=[INSIDE]))
    assert list(child.held.values()) == [key_rrset(FOREIGN, NEW)]


async def test_where_we_cannot_write_the_exact_records_are_named() -> None:
    planned = await publisher().plan([NEW], [OLD, NEW], content(OLD, FOREIGN))
    assert not planned.differing
    assert [place.owner for place in planned.by_hand] == [CHILD, SIGNAL]
    apex, signal = planned.places
    assert [record.rdata for record in apex.difference.removed] == [OLD.rdata]
    assert [record.rdata for record in apex.difference.added] == [NEW.rdata]
    # what is seen there may be forged: only our own key belongs below the operator's name
    assert signal.wanted == key_rrset(NEW, owner=SIGNAL)
    assert "those that are not ours are not copied below _signal" in apex.reason
    assert f"+ {NEW.to_text(TTL)}\n" in planned.to_text()
    assert "there is no `backend` of child.parent.example." in planned.to_text()
    assert "the operator of ns.operator.example. publishes this" in planned.to_text()
    assert not (await publisher().plan([NEW], [NEW], content(NEW, ns=[INSIDE]))).by_hand


async def test_a_server_that_fails_costs_the_others_nothing() -> None:
    child, operator = Server(), Server()
    child.failure = BackendUnavailable("named is away")
    done = await publisher(child, operator).apply([NEW], [NEW], content(FOREIGN))
    assert [(place.owner, place.reason) for place in done.failed] == [(CHILD, "named is away")]
    # what was seen at the apex is not copied, and what stands below _signal stays until the apex can be read
    assert list(operator.held.values()) == [key_rrset(NEW, owner=SIGNAL)]
    operator.held[SIGNAL, RRType.KEY] = key_rrset(FOREIGN, OLD, owner=SIGNAL)
    await publisher(child, operator).apply([NEW], [NEW, OLD], content(FOREIGN))
    assert sorted(operator.held[SIGNAL, RRType.KEY].rdatas) == sorted((FOREIGN.rdata, NEW.rdata))


async def test_a_key_that_somebody_shows_at_the_apex_is_not_put_below_signal() -> None:
    """Whoever forges one answer to the agent would have his key in the operator's signed zone."""
    operator = Server()
    for shown in (content(FOREIGN), content(FOREIGN, NEW), content()):
        await publisher(None, operator).apply([NEW], [NEW], shown)
        assert list(operator.held.values()) == [key_rrset(NEW, owner=SIGNAL)]


async def test_a_signalling_name_that_is_an_alias_is_named() -> None:
    operator = Server(RRset(SIGNAL, RRType.CNAME, 60, (OUTSIDE,)))
    done = await publisher(Server(), operator).apply([NEW], [NEW], content())
    assert [place.reason for place in done.failed] == ["it is a CNAME, and no KEY can stand beside it"]


async def test_a_signalling_name_that_is_too_long_is_named() -> None:
    server = names.from_text(".".join(["x" * 63] * 3 + ["y" * 50]))
    planned = await publisher(Server(), Server()).plan([NEW], [NEW], content(ns=[server]))
    assert [place.writing for place in planned.places] == [Writing.OURS, Writing.FAILED]
    assert "at-ns cannot be used" in planned.places[1].reason


async def test_the_nearest_of_two_zones_holds_the_signalling_name() -> None:
    near, far = Server(), Server()
    apex = names.from_text("_signal.ns.operator.example.")
    two = KeyPublisher(CHILD, TTL, None, {OPERATOR: cast(Backend, far), apex: cast(Backend, near)})
    await two.apply([NEW], [NEW], content(NEW))
    assert (len(near.held), len(far.held)) == (1, 0)


class World:
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def lookup(self, name: bytes, rtype: int) -> Answer:
        return self._answer


async def test_a_key_is_visible_when_the_world_sees_it_and_it_is_not_bogus() -> None:
    for verdict, status, keys, expected in (
        (Verdict.SECURE, Status.FOUND, [NEW, FOREIGN], True),
        (Verdict.INSECURE, Status.FOUND, [NEW], True),
        (Verdict.INSECURE, Status.FOUND, [FOREIGN], False),
        (Verdict.INSECURE, Status.WILDCARD, [NEW], False),
        (Verdict.BOGUS, Status.FOUND, [NEW], False),
        (Verdict.INDETERMINATE, Status.FAILED, [], False),
    ):
        answer = Answer(CHILD, RRType.KEY, verdict, status, "so it is", tuple(key.rdata for key in keys))
        found = await visible(cast(Resolver, World(answer)), CHILD, [NEW])
        assert found.seen is expected
        assert (found.reason == "") is expected
