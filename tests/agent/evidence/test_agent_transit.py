"""Keys and name servers move in two steps: what caches may still have is waited for (RFC 6781 section 4.3.5)."""

from collections.abc import Sequence
from dataclasses import replace

from agent_support import CHILD, PARENT
from proof_support import NOW, NS_A, NS_B, UNSIGNED, Shown, ds, look, now, parent_server, server, zone
from zonecut.agent.evidence.proof import Ruling, rule
from zonecut.agent.evidence.zone_view import ChildServer
from zonecut.agent.parent.parent_view import ParentView, ServerView
from zonecut.agent.state import AgentState, Phase, Watch
from zonecut.agent.zone.caches import KEPT, MAX_SIGHTS, Sight, past_delegations, past_ds, remember
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.resolve import Verdict

DS_TTL, NS_TTL, HOUR = 3600, 86400, 3600
BOTH = ["losing", "gaining"]


def shows(*labels: str, ns: Sequence[bytes] = (NS_A,)) -> ServerView:
    return replace(parent_server(*labels, ns=ns), ds_ttl=DS_TTL, ns_ttl=NS_TTL)


def seen(*servers: ServerView, after: Sequence[Sight] = (), at: float = NOW, ns_ttl: int = 0) -> tuple[Sight, ...]:
    return remember(after, ParentView(PARENT, CHILD, servers), ns_ttl, at)[0]


def moving(by: str, cds: Sequence[str], ns: bytes) -> Shown:
    """The zone as one of two providers shows it, which has the other's keys as well."""
    signer = frozenset((by,))
    made = zone(by, cds=cds, ns=frozenset((ns,)))
    return replace(made, keys=frozenset(BOTH), by=signer, data_by=signer)


def ruled(
    read: Shown,
    parent: ServerView,
    sights: Sequence[Sight],
    at: float,
    servers: Sequence[ChildServer] = (),
    past: Sequence[ChildServer] = (),
    going: Watch | None = None,
    forgotten_until: float = 0.0,
) -> Ruling:
    made = replace(look(read, servers, [parent], now(at)), sights=tuple(sights), past=tuple(past))
    made = replace(made, forgotten_until=forgotten_until)
    return rule(made, None, 0.0, now(at), going)


def test_a_new_server_waits_until_no_cache_has_the_ds_under_which_it_is_bogus() -> None:
    here, there = moving("losing", BOTH, NS_B), moving("gaining", BOTH, NS_B)
    servers = [server(NS_A, here), server(NS_B, there, "192.0.2.2")]
    before = seen(shows("losing"))
    sights = seen(shows(*BOTH), after=before, at=NOW + 1)
    early = ruled(here, shows(*BOTH), sights, NOW + 2, servers)
    assert not early.aim.ns_known
    assert not early.aim.troubles
    assert "caches may have other DS for 3599 s more" in early.waits[0]
    assert early.look_at == NOW + 2 + 600
    late = ruled(here, shows(*BOTH), sights, NOW + 1 + DS_TTL, servers)
    assert late.aim.ns_known
    assert not late.waits


def test_a_server_that_is_not_signed_waits_until_no_cache_has_the_ds_that_went() -> None:
    unsigned = replace(UNSIGNED, ns=frozenset((NS_B,)))
    servers = [server(NS_A, UNSIGNED), server(NS_B, unsigned, "192.0.2.2")]
    sights = seen(shows(), after=seen(shows("old")), at=NOW + 1)
    assert not ruled(unsigned, shows(), sights, NOW + DS_TTL, servers).aim.ns_known
    assert ruled(unsigned, shows(), sights, NOW + 1 + DS_TTL, servers).aim.ns_known


def test_a_ds_stays_while_caches_may_have_a_server_that_needs_it() -> None:
    there = moving("gaining", ["gaining"], NS_B)
    servers, past = [server(NS_B, there, "192.0.2.2")], [server(NS_A, moving("losing", BOTH, NS_B))]
    sights = seen(shows(*BOTH, ns=[NS_B]), after=seen(shows(*BOTH)), at=NOW + 1)
    parent = shows(*BOTH, ns=[NS_B])
    first = ruled(there, parent, sights, NOW - 58, servers, past)
    early = ruled(there, parent, sights, NOW + 2, servers, past, first.going)
    assert early.aim.delegation.ds == tuple(sorted(map(ds, BOTH)))
    assert "caches may have ns.a.example. (192.0.2.1) for a name server, for 86399 s more" in early.waits[0]
    last = ruled(there, parent, sights, NOW + NS_TTL - 60, servers, past)
    late = ruled(there, parent, sights, NOW + 1 + NS_TTL, servers, going=last.going)
    assert late.aim.delegation.ds == (ds("gaining"),)
    # a server that is gone, or that is bogus whatever there is, is waited for by nobody
    for nothing in (server(NS_A, None), server(NS_A, zone("evil"))):
        first = ruled(there, parent, sights, NOW + 2, servers, [nothing])
        assert len(first.waits) == 1
        second = ruled(there, parent, sights, NOW + 62, servers, [nothing], first.going)
        assert second.aim.delegation.ds == (ds("gaining"),)


def test_the_first_ds_waits_while_caches_may_have_a_server_that_does_not_sign() -> None:
    there = replace(zone("new", cds=["new"]), ns=frozenset((NS_B,)))
    servers, past = [server(NS_B, there, "192.0.2.2")], [server(NS_A, UNSIGNED)]
    sights = seen(shows(ns=[NS_B]), after=seen(shows()), at=NOW - 1000)
    first = ruled(there, shows(ns=[NS_B]), sights, NOW, servers, past)
    watched = replace(look(there, servers, [shows(ns=[NS_B])], now(NOW + 900)), sights=sights, past=tuple(past))
    again = rule(watched, first.watch, 0.0, now(NOW + 900))
    assert not again.aim.ds_known
    assert "the zone has to be signed there, too" in again.waits[0]
    assert rule(replace(watched, past=()), again.watch, 0.0, now(NOW + 900)).aim.ds_known


def test_what_the_parent_publishes_is_remembered_for_as_long_as_caches_have_it() -> None:
    sights = seen(shows("old"), ns_ttl=2 * NS_TTL)
    sights = seen(shows("new", ns=[NS_B]), after=sights, at=NOW + 10)
    assert past_ds(sights, NOW + 10) == {(ds("old"),): NOW + 10 + DS_TTL}
    assert past_ds(sights, NOW + 10 + DS_TTL) == {}
    assert [sight.delegation.ns for sight in past_delegations(sights, NOW + 10 + NS_TTL)] == [(NS_A,)]
    assert past_delegations(sights, NOW + 10 + 2 * NS_TTL) == []
    # a server that lags still publishes it, and silence says nothing
    assert past_ds(seen(shows("new"), shows("old"), after=sights, at=NOW + 20), NOW + 20) == {}
    assert seen(ServerView(NS_A, "192.0.2.9", None), after=sights, at=NOW + 20) == sights
    # it survives a restart, and is bounded
    state = AgentState(Phase.IN_SYNC, NOW, sights=sights)
    assert AgentState.from_json(state.to_json()) == state
    for number in range(3 * MAX_SIGHTS):
        sights = seen(shows(f"key{number}"), after=sights, at=NOW + number)
    assert len(sights) == MAX_SIGHTS


def forged(number: int, ds_ttl: int = DS_TTL) -> ServerView:
    """A referral to a name server that there is not, as nobody signs it; the DS are the parent's own."""
    there = parent_server(*BOTH, ns=[names.from_text(f"x{number}.evil.example.")])
    return replace(there, address="192.0.2.66", ds_ttl=ds_ttl, ns_ttl=2**31 - 1)


def test_what_has_no_room_is_waited_for_as_long_as_it_would_have_counted() -> None:
    genuine = seen(shows(*BOTH, ns=[NS_B]), after=seen(shows(*BOTH)), at=NOW + 1)
    sights, until = genuine, 0.0
    for number in range(2 * MAX_SIGHTS):
        view = ParentView(PARENT, CHILD, (shows(*BOTH, ns=[NS_B]), forged(number)))
        sights, forgotten = remember(sights, view, 0, NOW + 2 + number)
        until = max(until, forgotten)
    assert len(sights) == MAX_SIGHTS
    assert not any(NS_A in sight.delegation.ns for sight in sights)
    assert NOW + 1 + NS_TTL <= until <= NOW + 2 + 2 * MAX_SIGHTS + KEPT
    # more than there is room for are shown at once: nobody knows for how long they are
    everything = ParentView(PARENT, CHILD, tuple(forged(number) for number in range(MAX_SIGHTS + 1)))
    assert remember((), everything, 0, NOW)[1] == NOW + KEPT


def test_until_then_no_ds_goes_no_name_server_is_added_and_there_is_no_first_ds() -> None:
    there, parent = moving("gaining", ["gaining"], NS_B), shows(*BOTH, ns=[NS_B])
    servers = [server(NS_B, there, "192.0.2.2")]
    until = NOW + NS_TTL
    first = ruled(there, parent, (), NOW, servers, forgotten_until=until)
    assert first.going is not None
    early = ruled(there, parent, (), NOW + 60, servers, going=first.going, forgotten_until=until)
    assert early.aim.delegation.ds == tuple(sorted(map(ds, BOTH)))
    assert "too many to be remembered" in early.waits[0]
    assert early.look_at == NOW + 660
    late = ruled(there, parent, (), until, servers, going=replace(first.going, last=until - 60), forgotten_until=until)
    assert late.aim.delegation.ds == (ds("gaining"),)
    moved = [server(NS_A, moving("losing", BOTH, NS_B)), server(NS_B, moving("gaining", BOTH, NS_B), "192.0.2.2")]
    here = moving("losing", BOTH, NS_B)
    held = ruled(here, shows(*BOTH), (), NOW, moved, forgotten_until=NOW + 1)
    assert not held.aim.ns_known
    assert "no name server is added yet" in held.waits[0]
    assert ruled(here, shows(*BOTH), (), NOW + 1, moved, forgotten_until=NOW + 1).aim.ns_known
    signed = replace(zone("new", cds=["new"]), ns=frozenset((NS_B,)))
    made = replace(look(signed, [server(NS_B, signed)], [shows(ns=[NS_B])], now(NOW)), forgotten_until=NOW + HOUR)
    watch = rule(made, None, 0.0, now(NOW)).watch
    again = rule(made, watch, 0.0, now(NOW + 900))
    assert "before its first DS" in again.waits[0]
    assert "too many to be remembered" in again.waits[0]
    assert rule(replace(made, forgotten_until=0.0), watch, 0.0, now(NOW + 900)).aim.ds_known


def test_other_glue_drives_no_name_server_out_of_memory() -> None:
    inside = names.from_text("ns1.child.parent.example.")

    def renumbered(number: int) -> ServerView:
        held = shows("old", ns=[NS_A if number < 0 else NS_B, inside])
        assert held.delegation is not None
        glue = RR(inside, RRType.A, bytes((198, 51, 100, number + 2)))
        return replace(held, delegation=Delegation.of(CHILD, [*held.delegation.records, glue]))

    sights: tuple[Sight, ...] = ()
    until = 0.0
    for number in range(-1, 2 * MAX_SIGHTS):
        view = ParentView(PARENT, CHILD, (renumbered(number),))
        sights, forgotten = remember(sights, view, 0, NOW + 600 * number)
        until = max(until, forgotten)
    assert until == 0.0
    past = past_delegations(sights, NOW + 1200 * MAX_SIGHTS)
    assert [sight.ns_until for sight in past if NS_A in sight.delegation.ns] == [NOW + NS_TTL]
    # where an address was, a server may still be asked
    assert {bytes((198, 51, 100, 2 + number)) for number in range(MAX_SIGHTS)} <= {
        record.rdata for sight in past for record in sight.delegation.glue
    }


def test_one_answer_with_an_endless_ttl_holds_for_no_longer_than_caches_keep_anything() -> None:
    forever = 2**31 - 1
    sights = seen(shows("new"), after=seen(shows("new"), forged(1, ds_ttl=forever)), at=NOW + 1)
    assert past_ds(sights, NOW + 2) == {tuple(sorted(map(ds, BOTH))): NOW + 1 + KEPT}
    assert [sight.ns_until for sight in past_delegations(sights, NOW + 2)] == [NOW + 1 + KEPT]
    assert past_ds(sights, NOW + 1 + KEPT) == {}
    assert past_delegations(sights, NOW + 1 + KEPT) == []


def test_ds_that_are_bogus_are_in_no_cache() -> None:
    lie = replace(shows("evil"), verdict=Verdict.BOGUS)
    sights = seen(shows("k"), after=seen(shows("k"), lie), at=NOW + 1)
    assert past_ds(sights, NOW + 2) == {}
    # where it is repeated, it keeps nothing that went from counting as gone
    sights = seen(shows("k"), replace(shows("old"), verdict=Verdict.BOGUS), after=seen(shows("old")), at=NOW + 1)
    assert past_ds(sights, NOW + 2) == {(ds("old"),): NOW + 1 + DS_TTL}
    # and where nothing can be validated, as with a clock that is wrong, nothing is known to be gone
    known = seen(shows("k"))
    blind = seen(replace(shows("k"), verdict=Verdict.BOGUS), after=known, at=NOW + 1)
    assert blind[-1] == known[0]


def test_dnskey_records_that_nothing_signs_keep_no_ds_at_a_server_that_anybody_may_have_named() -> None:
    evil = names.from_text("ns.evil.example.")
    rolled, parent = zone("old", "new", cds=["new"]), shows("old", ns=[NS_A, NS_B])
    servers = [server(NS_A, rolled), server(NS_B, rolled, "192.0.2.2")]
    stolen = replace(zone("old"), by=frozenset(), data_by=frozenset())
    sights = seen(parent, after=seen(parent, replace(shows("old", ns=[evil]), ns_ttl=2**31 - 1)), at=NOW - 60)

    def left(name: bytes, shown: Shown, *more: ChildServer) -> tuple[bytes, ...]:
        past = [server(name, shown, "203.0.113.66"), *more]
        first = ruled(rolled, parent, sights, NOW, servers, past)
        return ruled(rolled, parent, sights, NOW + 60, servers, past, first.going).aim.delegation.ds

    assert left(evil, stolen) == (ds("new"),)
    both = tuple(sorted(map(ds, ("old", "new"))))
    assert left(evil, zone("old")) == both
    # whoever is between us and a server that signed NS name could take its signatures away
    assert left(evil, stolen, server(NS_A, zone("old", ns=frozenset((NS_A, evil))))) == both


def test_a_server_that_only_servers_of_the_zone_name_is_looked_at_now_and_then() -> None:
    rolled, parent = zone("old", "new", cds=["new"]), shows("old", ns=[NS_A, NS_B])
    servers = [server(NS_A, rolled), server(NS_B, rolled, "192.0.2.2")]
    past = [server(names.from_text("z.example."), zone("old"), "203.0.113.66")]
    first = ruled(rolled, parent, (), NOW, servers, past)
    assert ruled(rolled, parent, (), NOW + 60, servers, past, first.going).look_at == NOW + 660
