"""What one liar, or one who lags, among the servers of parent and child brings about: nothing."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from agent_support import CHILD, PARENT
from proof_support import NOW, NS_A, NS_B, PARENT_NS, UNSIGNED, Shown, ds, look, now, parent_server, server, zone
from zonecut.agent import sync
from zonecut.agent.evidence import zone_view
from zonecut.agent.evidence.comparison import Comparison, compare
from zonecut.agent.evidence.proof import Ruling, rule, went_on
from zonecut.agent.evidence.witnesses import Look
from zonecut.agent.evidence.zone_view import MAX_ADDRESSES, MAX_SERVERS, ChildServer, Standing, ZoneView, view_servers
from zonecut.agent.parent.parent_view import ParentView, ServerView
from zonecut.agent.settings import ChildSettings, LookSettings
from zonecut.agent.state import AgentState, Phase, Watch
from zonecut.agent.update_section import Style
from zonecut.agent.zone.zone_content import UnusableServer
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.resolve import Answer, Status, Verdict
from zonecut.resolve.values import Addresses

HOUR = 3600.0
NS_C = names.from_text("ns.c.example.")
OUT_OF_SYNC = AgentState(Phase.OUT_OF_SYNC, 0.0)


def outcome(seen: Look, waited: float = HOUR) -> tuple[Comparison, tuple[str, ...]]:
    ruling = rule(seen, None, waited, now(), rule(seen, None, waited, now(NOW - 60)).going)
    return compare(ruling.aim, seen.parent, OUT_OF_SYNC), ruling.waits


# One who lags


def lagging(old: Shown, new: Shown, parent: ServerView, **numbers: int) -> tuple[Comparison, tuple[str, ...]]:
    """The zone is read from a server that lags; its name servers have what is new, as the parent does."""
    here, there = {"here": 5, "there": 9, **numbers}.values()
    later = replace(new, serial=there)
    servers = [server(name, later, f"192.0.2.{place}") for place, name in enumerate(sorted(new.ns), 1)]
    return outcome(look(replace(old, serial=here), servers, [parent]))


MOVED = zone("k", cds=["k"], ns=frozenset((NS_A, NS_C)))
ROLLED = zone("old", "new", cds=["new"])


def test_name_servers_do_not_move_back_because_the_zone_is_read_from_one_that_lags() -> None:
    seen, waits = lagging(zone("k", cds=["k"]), MOVED, parent_server("k", ns=(NS_A, NS_C)))
    assert not seen.missing
    assert "has the serial 5 where it is read, and 9 with other NS or addresses at ns.a.example." in waits[0]


def test_ds_do_not_go_back_because_the_zone_is_read_from_one_that_lags() -> None:
    seen, waits = lagging(zone("old", "new", cds=["old"]), ROLLED, parent_server("new"))
    assert not seen.missing
    assert "and 9 with other DNSKEY, CDS or CDNSKEY at ns.a.example." in waits[0]


def test_serials_around_their_end_have_an_order_too() -> None:
    seen, _ = lagging(zone("old", "new", cds=["old"]), ROLLED, parent_server("new"), here=2**32 - 3, there=4)
    assert not seen.missing


@pytest.mark.parametrize("there", [5, 4])
def test_whose_servers_are_not_ahead_is_not_held_up(there: int) -> None:
    """It is they who lag; what they need stays, and what is asked for goes."""
    seen, _ = lagging(ROLLED, zone("old", "new", cds=["old"]), parent_server("old"), there=there)
    assert seen.after.ds == (ds("new"),)


# One who lies


UNFIT = names.from_text("ns.sub.child.parent.example.")


def shows(glue: Sequence[str], address: str) -> ServerView:
    records = [RR(CHILD, RRType.NS, name) for name in (NS_A, UNFIT)]
    records += [RR(UNFIT, RRType.A, ip_address(each).packed) for each in glue]
    held = Delegation.of(CHILD, [*records, RR(CHILD, RRType.DS, ds("k"))])
    return ServerView(PARENT_NS, address, held, ds=held.ds, verdict=Verdict.SECURE)


def test_an_address_that_one_server_of_the_parent_shows_alone_is_not_sent() -> None:
    """Of a name server whose addresses are not the zone's to give, the parent keeps what it has: whatever that is."""
    read = zone("k", cds=["k"], ns=frozenset((NS_A, NS_B, UNFIT)))
    unusable = (UnusableServer(UNFIT, "has its addresses in another zone"),)
    parents = [shows(["192.0.2.50"], "192.0.2.9"), shows(["192.0.2.50", "203.0.113.66"], "192.0.2.10")]
    seen = look(read, [server(NS_A, read), server(NS_B, read, "192.0.2.2")], parents)
    content = replace(seen.content, unusable=unusable)
    aim = replace(seen.aim, unfit=(UNFIT,))
    compared = compare(rule(replace(seen, content=content, aim=aim), None, HOUR, now()).aim, seen.parent, OUT_OF_SYNC)
    for style in Style:
        records, _ = compared.update(style)
        assert not [each for each in records if each.endswith(ip_address("203.0.113.66").packed)]


class Lookups:
    """A resolver that knows addresses of names, and nothing else."""

    def __init__(self, addresses: dict[bytes, list[str]]) -> None:
        self._addresses = addresses

    async def addresses(self, name: bytes) -> Addresses:
        found = tuple(ip_address(each).packed for each in self._addresses.get(name, ()))
        status = Status.FOUND if found else Status.NODATA
        nothing = Answer(name, RRType.AAAA, Verdict.INSECURE, Status.NODATA, "", ())
        return Addresses(Answer(name, RRType.A, Verdict.INSECURE, status, "", found), nothing)


async def viewed(
    monkeypatch: pytest.MonkeyPatch,
    read: Shown,
    delegations: Sequence[Delegation],
    shown: dict[str, Shown],
    looked_up: dict[bytes, list[str]],
) -> ZoneView:
    """The look at the zone's servers, where each address shows that."""

    async def at(_: object, name: bytes, address: str) -> ChildServer:
        return ChildServer(name, address, Standing.ANSWERS, content=shown[address].content)

    monkeypatch.setattr(zone_view._View, "_at", at)
    resolver: Any = Lookups(looked_up)
    return await view_servers(resolver, read.content, delegations)


def lied_about(view: ZoneView, read: Shown, parents: Sequence[ServerView]) -> Look:
    return replace(look(read, view.servers, parents), left_out=view.left_out)


async def test_addresses_that_one_server_of_the_parent_shows_take_the_place_of_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the liar's addresses show a signed zone, the real one is asked still, and is not signed."""
    signed = zone("new", cds=["new"])
    false = [f"192.0.2.{number}" for number in range(1, MAX_ADDRESSES + 1)]
    good = parent_server()
    assert good.delegation is not None
    glue = [RR(NS_B, RRType.A, ip_address(each).packed) for each in false]
    bad = replace(good, address="192.0.2.77", delegation=Delegation.of(CHILD, [*good.delegation.records, *glue]))
    assert bad.delegation is not None
    shown = {"198.51.100.1": signed, "198.51.100.2": UNSIGNED, **dict.fromkeys(false, signed)}
    real = {NS_A: ["198.51.100.1"], NS_B: ["198.51.100.2"]}
    view = await viewed(monkeypatch, signed, [good.delegation, bad.delegation], shown, real)
    assert (NS_B, "198.51.100.2") in {(each.server, each.address) for each in view.servers}
    ruling = rule(lied_about(view, signed, [good, bad]), Watch("first", NOW, NOW, 9, 0), HOUR, now())
    assert "ns.b.example. (198.51.100.2)" in ruling.waits[0]


async def test_names_that_one_server_of_the_parent_shows_take_the_place_of_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two providers, the one whose name comes last is asked still: it needs the DS that is its own."""
    last = names.from_text("zz.b.example.")
    ours = zone("old", cds=["old"], ns=frozenset((NS_A, last)))
    theirs = zone("b", cds=["b"], ns=ours.ns)
    false = [names.from_text(f"{number:02}.evil.example.") for number in range(MAX_SERVERS)]
    good = parent_server("old", "b", ns=(NS_A, last))
    assert good.delegation is not None
    more = [RR(CHILD, RRType.NS, name) for name in false]
    bad = replace(good, address="192.0.2.77", delegation=Delegation.of(CHILD, [*good.delegation.records, *more]))
    assert bad.delegation is not None
    shown = {"198.51.100.1": ours, "198.51.100.2": theirs, "192.0.2.1": ours}
    real = {NS_A: ["198.51.100.1"], last: ["198.51.100.2"], **{name: ["192.0.2.1"] for name in false}}
    view = await viewed(monkeypatch, ours, [good.delegation, bad.delegation], shown, real)
    ruling = rule(lied_about(view, ours, [good, bad]), None, HOUR, now())
    assert not ruling.aim.ds_known or ds("b") in ruling.aim.delegation.ds


def test_where_there_are_too_many_to_be_asked_no_ds_goes() -> None:
    """What all say and nobody looked at is not known; what is added harms none of them."""
    rolled = zone("old", "new", cds=["new"])
    seen = look(rolled, [server(NS_A, rolled), server(NS_B, rolled, "192.0.2.2")], [parent_server("old")])
    incomplete = replace(seen, left_out=("ns.z.example. (192.0.2.9)",))
    ruling = rule(incomplete, None, HOUR, now())
    assert not ruling.aim.ds_known
    assert ruling.waits == ("all servers of the zone have to be seen: ns.z.example. (192.0.2.9) was not asked",)


# One who is silent


def waits_for_servers(ruling: Ruling) -> bool:
    return any("servers have to be asked" in wait for wait in ruling.waits)


async def judged(monkeypatch: pytest.MonkeyPatch, state: AgentState, time: float, away: bytes) -> Any:
    rolled = zone("old", "new", cds=["new"])
    servers = [server(name, None if name == away else rolled, f"192.0.2.{at}") for at, name in ((1, NS_A), (2, NS_B))]

    async def view(*_: object, **__: object) -> ZoneView:
        return ZoneView(CHILD, tuple(servers))

    monkeypatch.setattr(sync, "view_servers", view)
    seen = look(rolled, [], [parent_server("old")])
    nobody: Any = None
    moment = replace(now(time), settings=ChildSettings(looks=LookSettings(again=60, silent_for=600)))
    return await sync.judge(nobody, seen, [], state, lambda: moment)


async def test_a_silent_server_is_waited_for_however_long_child_and_parent_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = replace(OUT_OF_SYNC, differs_since=NOW - 100 * HOUR)
    for time, away, is_waited_for in (
        (NOW, NS_B, True),
        (NOW + 400, NS_B, True),
        (NOW + 500, NS_A, True),
        (NOW + 1000, NS_A, True),
        (NOW + 1101, NS_A, False),
    ):
        ruling = await judged(monkeypatch, state, time, away)
        assert waits_for_servers(ruling) is is_waited_for, time
        state = replace(state, silence=ruling.silence)
    # after a day in which nobody looked, it begins anew
    assert waits_for_servers(await judged(monkeypatch, state, NOW + 24 * HOUR, NS_A))


@pytest.mark.parametrize(
    ("standing", "address", "is_waited_for"),
    [
        (Standing.SILENT, "192.0.2.2", True),
        (Standing.UNREACHABLE, "2001:db8::2", True),
        (Standing.UNASKED, "", True),
        (Standing.UNKNOWN, "", True),
        (Standing.UNASKED, "10.0.0.1", False),
    ],
)
def test_whatever_a_server_s_reason_is_to_show_nothing_it_is_waited_for(
    standing: Standing, address: str, is_waited_for: bool
) -> None:
    """No address is what anybody on the way to the resolver says of a name in an insecure zone."""
    rolled = zone("old", "new", cds=["new"])
    seen = look(rolled, [server(NS_A, rolled), server(NS_B, None, address, standing)], [parent_server("old")])
    assert waits_for_servers(rule(seen, None, 0.0, now())) is is_waited_for
    assert not waits_for_servers(rule(seen, None, HOUR, now()))


def test_a_ds_that_cannot_be_validated_is_held_against_no_newcomer() -> None:
    read = zone("k", cds=["k"], ns=frozenset((NS_A, NS_B, NS_C)))
    servers = [server(name, read, f"192.0.2.{place}") for place, name in enumerate((NS_A, NS_B, NS_C), 1)]
    good = parent_server("k")
    forged = replace(parent_server("evil", address="192.0.2.10"), verdict=Verdict.BOGUS)
    beside, alone = (rule(look(read, servers, each), None, HOUR, now()) for each in ([good, forged], [forged]))
    assert (beside.aim.ns_known, beside.aim.troubles) == (True, ())
    assert (alone.aim.ns_known, alone.aim.troubles) == (False, ())


def test_what_goes_on_is_watched_without_a_gap() -> None:
    watch = went_on(None, "x", now(NOW))
    assert went_on(watch, "x", now(NOW + 1000)).since == NOW
    assert went_on(watch, "y", now(NOW + 1)).since == NOW + 1
    assert went_on(watch, "x", now(NOW + 2 * HOUR)).since == NOW + 2 * HOUR
    assert went_on(watch, "x", now(NOW - 1)).since == NOW - 1


def test_parents_that_disagree_for_a_moment_are_waited_for_however_long_something_else_differs() -> None:
    view = ParentView(PARENT, CHILD, (parent_server("old"), parent_server("new", address="192.0.2.10")))
    seen = compare(look(zone("old"), [], view.servers).aim, view, OUT_OF_SYNC)
    state = replace(OUT_OF_SYNC, differs_since=NOW - 100 * HOUR, disagreement=went_on(None, "", now(NOW)))
    assert seen.is_contradictory
    assert sync._disagrees(seen, state, now(NOW + HOUR - 1))
    assert not sync._disagrees(seen, state, now(NOW + HOUR))
