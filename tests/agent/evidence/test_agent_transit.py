"""Keys and name servers move in two steps: what caches may still have is waited for (RFC 6781 section 4.3.5)."""

from collections.abc import Sequence
from dataclasses import replace

from agent_support import CHILD, PARENT
from proof_support import NOW, NS_A, NS_B, UNSIGNED, Shown, ds, look, now, parent_server, server, zone
from zonecut.agent.evidence.proof import Ruling, rule
from zonecut.agent.evidence.zone_view import ChildServer
from zonecut.agent.parent.parent_view import ParentView, ServerView
from zonecut.agent.state import AgentState, Phase, Watch
from zonecut.agent.zone.caches import MAX_SIGHTS, Sight, past_delegations, past_ds, remember

DS_TTL, NS_TTL = 3600, 86400
BOTH = ["losing", "gaining"]


def shows(*labels: str, ns: Sequence[bytes] = (NS_A,)) -> ServerView:
    return replace(parent_server(*labels, ns=ns), ds_ttl=DS_TTL, ns_ttl=NS_TTL)


def seen(*servers: ServerView, after: Sequence[Sight] = (), at: float = NOW, ns_ttl: int = 0) -> tuple[Sight, ...]:
    return remember(after, ParentView(PARENT, CHILD, servers), ns_ttl, at)


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
) -> Ruling:
    made = replace(look(read, servers, [parent], now(at)), sights=tuple(sights), past=tuple(past))
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
