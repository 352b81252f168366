"""What the agent may sign (RFC 7344 section 4.1, RFC 8078 section 4, RFC 4035 section 2.2): only what is proven."""

from dataclasses import replace
from typing import Any

import dns.message
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_support import CHILD, PARENT
from proof_support import (
    DELETE,
    NEGATIVE,
    NOW,
    NS_A,
    NS_B,
    TTL,
    UNSIGNED,
    Shown,
    ds,
    look,
    now,
    parent_server,
    server,
    zone,
)
from zonecut.agent.evidence.comparison import compare
from zonecut.agent.evidence.ds_statement import Origin
from zonecut.agent.evidence.proof import Ruling, proven_origin, rule
from zonecut.agent.evidence.zone_view import ChildServer, Standing
from zonecut.agent.parent.parent_view import ParentView, ServerView
from zonecut.agent.state import AgentState, Phase, Watch
from zonecut.agent.update_section import Style
from zonecut.agent.zone.caches import unsigned_until
from zonecut.protocol import message
from zonecut.protocol.delegation import Delegation
from zonecut.resolve import Verdict

HOUR = 3600.0
OLD = zone("old", cds=["old"])
ROLLED = zone("old", "new", cds=["new"])


def everywhere(shown: Shown) -> list[ChildServer]:
    return [server(NS_A, shown), server(NS_B, shown, "192.0.2.2")]


def permitted(ruling: Ruling) -> tuple[bytes, ...] | None:
    """The DS that may be signed; None: nothing about DS."""
    return ruling.aim.delegation.ds if ruling.aim.ds_known else None


def judged(read: Shown, held: str = "old", servers: list[ChildServer] | None = None, waited: float = HOUR) -> Ruling:
    """The ruling on a zone whose parent has DS of these keys, at the second look that shows the same."""
    seen = look(read, everywhere(read) if servers is None else servers, [parent_server(*held.split())])
    return rule(seen, None, waited, now(), rule(seen, None, waited, now(NOW - 60)).going)


def test_what_a_key_that_the_parent_names_has_signed_is_done() -> None:
    assert permitted(judged(ROLLED)) == (ds("new"),)
    assert permitted(judged(zone("old", "new"))) == tuple(sorted((ds("old"), ds("new"))))


@pytest.mark.parametrize(
    "forged",
    [
        zone("evil"),
        zone("evil", cds=["evil"]),
        zone("old", cds=[DELETE], cds_by=frozenset()),
        zone("evil", cds=[DELETE]),
        Shown(frozenset(("old", "evil")), frozenset(("evil",))),
        replace(ROLLED, cds=frozenset(("evil",)), cds_by=frozenset()),
        replace(ROLLED, cds=frozenset(("new",)), cds_by=frozenset(("new",))),
        Shown(cds=frozenset((DELETE,))),
    ],
)
def test_what_is_read_and_not_signed_by_such_a_key_is_never_done(forged: Shown) -> None:
    ruling = judged(forged)
    assert permitted(ruling) is None
    (trouble,) = ruling.aim.troubles
    assert "RFC 7344 section 4.1" in trouble


def test_ds_at_the_parent_that_cannot_be_validated_prove_nothing() -> None:
    for verdict in (Verdict.BOGUS, Verdict.INDETERMINATE):
        ruling = rule(look(ROLLED, everywhere(ROLLED), [parent_server("old", verdict=verdict)]), None, HOUR, now())
        assert permitted(ruling) is None
        assert "cannot be validated" in ruling.waits[0]


def test_ds_that_nobody_can_validate_are_not_deleted_beside_the_proof_that_there_are_none() -> None:
    gone = Shown(cds=frozenset((DELETE,)))
    parents = [parent_server(), parent_server("old", verdict=Verdict.BOGUS, address="192.0.2.8")]
    first = rule(look(gone, everywhere(gone), parents), None, HOUR, now())
    assert permitted(first) is None
    assert permitted(rule(look(gone, everywhere(gone), parents), first.watch, HOUR, now(NOW + 60))) is None


def test_the_absence_of_cds_after_a_roll_is_no_statement() -> None:
    withdrawn = zone("old", "new")
    assert (
        permitted(rule(look(withdrawn, everywhere(withdrawn), [parent_server("new")]), None, HOUR, now())) is not None
    )
    seen = look(withdrawn, everywhere(withdrawn), [parent_server("new")], spoke=Origin.CDS)
    assert not seen.aim.ds_known
    assert "says nothing (RFC 7344 section 4.1)" in seen.aim.notes[0]


def test_by_what_the_zone_spoke_is_remembered_once_it_is_proven() -> None:
    view = ParentView(PARENT, CHILD, (parent_server("old"),))
    for shown, expected in ((OLD, Origin.CDS), (zone("old"), Origin.DNSKEY), (replace(OLD, cds_by=frozenset()), None)):
        seen = look(shown, [], view.servers)
        assert proven_origin(seen.content, seen.aim, view, NOW) == expected


def test_a_standby_key_of_another_algorithm_gets_no_ds() -> None:
    standby = replace(zone("old"), keys=frozenset(("old", "ecdsa")))
    assert look(standby, [], []).aim.delegation.ds == (ds("old"),)
    by_cds = replace(standby, cds=frozenset(("old", "ecdsa")), cds_by=frozenset(("old",)))
    seen = look(by_cds, [], [])
    assert seen.aim.delegation.ds == (ds("old"),)
    assert "RFC 4035 section 2.2" in seen.aim.notes[0]


def test_a_new_algorithm_waits_until_no_cache_has_the_keys_of_before() -> None:
    both = zone("old", "ecdsa")
    seen = look(both, everywhere(both), [parent_server("old")])
    first = rule(seen, None, HOUR, now())
    assert permitted(first) is None
    assert first.look_at == NOW + TTL
    assert permitted(rule(seen, first.watch, HOUR, now(NOW + TTL - 1))) is None
    assert permitted(rule(seen, first.watch, HOUR, now(NOW + TTL))) == tuple(sorted((ds("old"), ds("ecdsa"))))


def test_a_server_that_lags_behind_an_algorithm_is_waited_for() -> None:
    both = zone("old", "ecdsa")
    ruling = judged(both, servers=[server(NS_A, both), server(NS_B, zone("old"))])
    assert permitted(ruling) is None
    assert "ns.b.example." in ruling.waits[0]


@pytest.mark.parametrize("ours", [zone("a"), zone("a", cds=["a"])])
def test_no_ds_goes_that_a_server_of_another_provider_needs(ours: Shown) -> None:
    ruling = judged(ours, held="a b", servers=[server(NS_A, ours), server(NS_B, zone("b"))])
    assert permitted(ruling) == tuple(sorted((ds("a"), ds("b"))))
    assert "RFC 8901" in ruling.aim.notes[-1]


def test_a_roll_of_one_provider_leaves_the_ds_of_the_other() -> None:
    ours = zone("a", "new", cds=["new"])
    ruling = judged(ours, held="a b", servers=[server(NS_A, ours), server(NS_B, zone("b"))])
    assert permitted(ruling) == tuple(sorted((ds("new"), ds("b"))))


def test_a_server_that_is_silent_is_waited_for_and_then_noted() -> None:
    for standing, waited, done in (
        (Standing.SILENT, 599, False),
        (Standing.LAME, 599, False),
        (Standing.SILENT, 600, True),
        (Standing.UNREACHABLE, 599, False),
        (Standing.UNREACHABLE, 600, True),
    ):
        servers = [server(NS_A, ROLLED), server(NS_B, None, standing=standing)]
        ruling = judged(ROLLED, servers=servers, waited=waited)
        assert (permitted(ruling) is not None) == done
        said = ruling.aim.notes if done else ruling.waits
        assert "ns.b.example. (192.0.2.1) shows nothing of the zone" in said[-1]


# What goes while something stays


def leaving(
    read: Shown, servers: list[ChildServer] | None = None, going: Watch | None = None, time: float = NOW, *held: str
) -> Ruling:
    parents = [parent_server(*(held or ("old",)))]
    return rule(look(read, everywhere(read) if servers is None else servers, parents), None, HOUR, now(time), going)


def test_a_ds_goes_at_the_second_look_and_nothing_is_done_before() -> None:
    """A signer that withdraws its CDS once it sees the new DS would leave the old one there for ever."""
    first = leaving(ROLLED)
    assert permitted(first) is None
    assert first.look_at == NOW + 60
    assert "two looks have to show that they are not needed" in first.waits[0]
    soon = leaving(ROLLED, None, first.going, NOW + 59)
    assert (permitted(soon), soon.look_at) == (None, NOW + 60)
    second = leaving(ROLLED, None, soon.going, NOW + 60)
    assert (permitted(second), second.waits) == ((ds("new"),), ())


def test_two_looks_count_from_the_first_that_showed_the_same_wish_whatever_the_parent_has_meanwhile() -> None:
    first = leaving(ROLLED)
    second = leaving(ROLLED, None, first.going, NOW + 60, "old", "new")
    assert (permitted(second), second.waits) == ((ds("new"),), ())


def test_what_only_comes_needs_no_second_look() -> None:
    assert permitted(leaving(zone("old", "new", cds=["old", "new"]))) == tuple(sorted((ds("old"), ds("new"))))


def test_one_wrong_look_at_a_server_takes_no_ds_away() -> None:
    """One of several behind an address lags, or somebody has answered in its place."""
    ours, theirs = zone("a", cds=["a"]), zone("b")
    wrong = leaving(ours, everywhere(ours), None, NOW, "a", "b")
    assert permitted(wrong) is None
    servers = [server(NS_A, ours), server(NS_B, theirs, "192.0.2.2")]
    right = leaving(ours, servers, wrong.going, NOW + 60, "a", "b")
    assert permitted(right) == tuple(sorted((ds("a"), ds("b"))))
    assert right.going is None
    again = leaving(ours, everywhere(ours), right.going, NOW + 120, "a", "b")
    assert permitted(again) is None


def test_ds_that_cannot_be_validated_begin_no_watch_anew() -> None:
    """Whoever forges others at each look would have the old one stay for ever."""
    going = None
    for time, forged in ((NOW, "evil"), (NOW + 60, "ecdsa")):
        parents = [parent_server("old"), parent_server(forged, verdict=Verdict.BOGUS, address="192.0.2.10")]
        ruling = rule(look(ROLLED, everywhere(ROLLED), parents), None, HOUR, now(time), going)
        going = ruling.going
    assert permitted(ruling) == (ds("new"),)


def test_two_looks_that_are_a_day_apart_do_not_count_as_two() -> None:
    later = leaving(ROLLED, None, leaving(ROLLED).going, NOW + 24 * HOUR)
    assert permitted(later) is None
    assert "anew: nothing was seen for 86400 s" in later.waits[0]


GONE = zone("old", cds=[DELETE])


def signed_first(read: Shown, servers: list[ChildServer], watch: Watch | None = None, time: float = NOW) -> Ruling:
    return rule(look(read, servers, [parent_server()]), watch, HOUR, now(time))


@pytest.mark.parametrize("read", [zone("new"), zone("new", cds=["new"])])
def test_the_first_ds_needs_a_zone_that_was_signed_everywhere_for_as_long_as_old_answers_live(read: Shown) -> None:
    first = signed_first(read, everywhere(read))
    assert permitted(first) is None
    assert first.waits[0] == f"before its first DS, the zone has to be seen signed, for {max(TTL, NEGATIVE)} s at least"
    assert permitted(signed_first(read, everywhere(read), first.watch, NOW + TTL - 1)) is None
    assert permitted(signed_first(read, everywhere(read), first.watch, NOW + TTL)) == (ds("new"),)


@pytest.mark.parametrize(
    "other",
    [
        UNSIGNED,
        zone("new", cds=["new"], unsigned_data=True),
        zone("other", cds=["new"]),
        zone("new"),
        zone("new", cds=["new"], cds_by=frozenset()),
        None,
    ],
)
def test_the_first_ds_waits_for_the_last_server_and_begins_anew_when_one_falls_back(other: Shown | None) -> None:
    read = zone("new", cds=["new"])
    good = signed_first(read, everywhere(read))
    assert good.watch is not None
    bad = signed_first(read, [server(NS_A, read), server(NS_B, other)], good.watch, NOW + TTL)
    assert permitted(bad) is None
    assert "ns.b.example." in bad.waits[0]
    assert bad.watch is None


@pytest.mark.parametrize("read", [zone("new"), GONE])
def test_what_was_not_looked_at_for_long_was_not_seen_all_the_while(read: Shown) -> None:
    """The agent was down for a day, or nobody could be asked: between two looks the zone may have been anything."""
    judge = removed if read is GONE else signed_first
    first = judge(read, everywhere(read))
    later = judge(read, everywhere(read), first.watch, NOW + 24 * HOUR)
    assert permitted(later) is None
    assert "anew: nothing was seen for 86400 s" in later.waits[0]
    assert later.watch is not None
    assert (later.watch.since, later.watch.looks) == (NOW + 24 * HOUR, 1)
    assert permitted(judge(read, everywhere(read), later.watch, NOW + 24 * HOUR + TTL)) is not None


def test_the_first_ds_waits_for_the_ttl_that_the_zone_had_before_it_was_signed() -> None:
    """Who lowers it with the signing lowers it in no cache."""
    before = unsigned_until(UNSIGNED.content, NOW - 10)
    assert before == NOW - 10 + TTL
    assert unsigned_until(zone("new").content, NOW) == 0
    read = zone("new")
    watch = signed_first(read, everywhere(read)).watch
    for until, is_done in ((NOW + TTL, True), (NOW + TTL + 1, False)):
        seen = replace(look(read, everywhere(read), [parent_server()]), unsigned_until=until)
        ruling = rule(seen, watch, HOUR, now(NOW + TTL))
        assert (permitted(ruling) is not None) is is_done
    assert "have to be out of caches, in 1 s" in ruling.waits[0]
    assert (ruling.look_at, ruling.watch is not None) == (NOW + TTL + 1, True)


def test_an_address_without_a_way_to_it_is_let_off_where_the_server_is_seen_at_another() -> None:
    read = zone("new")
    away = server(NS_B, None, "2001:db8::2", Standing.UNREACHABLE)
    first = signed_first(read, [*everywhere(read), away])
    assert permitted(signed_first(read, [*everywhere(read), away], first.watch, NOW + TTL)) == (ds("new"),)
    assert "ns.b.example." in signed_first(read, [server(NS_A, read), away]).waits[0]


def removed(read: Shown, servers: list[ChildServer], watch: Watch | None = None, time: float = NOW) -> Ruling:
    moment = now(time, unsigned="remove")
    return rule(look(read, servers, [parent_server("old")], moment), watch, HOUR, moment)


@pytest.mark.parametrize("read", [GONE, replace(GONE, cds=frozenset(), cdnskey=frozenset((DELETE,))), UNSIGNED])
def test_the_last_ds_goes_when_all_servers_say_so_at_two_looks(read: Shown) -> None:
    first = removed(read, everywhere(read))
    assert permitted(first) is None
    assert permitted(removed(read, everywhere(read), first.watch, NOW + 59)) is None
    assert permitted(removed(read, everywhere(read), first.watch, NOW + 60)) == ()


def test_the_last_ds_stays_where_those_of_the_parent_cannot_be_validated() -> None:
    """One of its servers proves that there is none, and what another one shows is bogus: somebody's is not true."""
    read = replace(UNSIGNED, cds=frozenset((DELETE,)))
    parents = [parent_server(), parent_server("old", verdict=Verdict.BOGUS, address="192.0.2.10")]
    watch = removed(GONE, everywhere(GONE)).watch
    ruling = rule(look(read, everywhere(read), parents), watch, HOUR, now(NOW + 60))
    assert permitted(ruling) is None
    assert "cannot be validated" in ruling.waits[0]


@pytest.mark.parametrize("read", [GONE, UNSIGNED])
@pytest.mark.parametrize("other", [OLD, None])
def test_the_last_ds_stays_while_one_server_says_something_else(read: Shown, other: Shown | None) -> None:
    good = removed(read, everywhere(read))
    bad = removed(read, [server(NS_A, read), server(NS_B, other)], good.watch, NOW + 60)
    assert permitted(bad) is None
    assert bad.watch is None


def test_cds_and_cdnskey_have_to_agree() -> None:
    for changes in (
        {"cds": ["old"], "cdnskey": frozenset(("new",))},
        {"cds": ["old"], "cdnskey": frozenset((DELETE,))},
    ):
        seen = look(zone("old", "new", **changes), [], [])  # type: ignore[arg-type]
        assert not seen.aim.ds_known
        assert "do not agree (RFC 7344 section 4)" in seen.aim.troubles[0]
    agreed = zone("old", "new", cds=["new"], cdnskey=frozenset(("new",)))
    assert permitted(judged(agreed)) == (ds("new"),)


def test_cdnskey_alone_is_read_and_has_to_be_signed_by_a_key_that_the_parent_names() -> None:
    read = zone("old", "new", cdnskey=frozenset(("new",)), cds_by=frozenset(("old",)))
    assert permitted(judged(read)) == (ds("new"),)
    assert permitted(judged(replace(read, cds_by=frozenset(("new",))))) is None


def test_a_move_to_name_servers_that_sign_with_other_keys_is_held_with_advice() -> None:
    for read in (zone("b"), zone("b", cds=["b"]), OLD):
        parents = [parent_server("old", ns=[NS_A])]
        ruling = rule(look(read, [server(NS_A, OLD), server(NS_B, zone("b"))], parents), None, HOUR, now())
        assert not ruling.aim.ns_known
        assert permitted(ruling) is None or read is OLD
        assert "RFC 6781 section 4.3.5" in "; ".join(ruling.aim.troubles)


def test_name_servers_are_held_against_what_is_remembered_where_the_parent_shows_only_its_ds() -> None:
    hides = replace(parent_server("old"), delegation=None, hides=True)
    servers = [server(NS_A, OLD), server(NS_B, zone("b"))]
    for remembered, fit in (((NS_A, NS_B), True), ((NS_A,), False)):
        held = Delegation(CHILD, remembered)
        seen = replace(look(OLD, servers, [hides]), remembered=held)
        assert rule(seen, None, HOUR, now()).aim.ns_known == fit


def test_a_name_server_that_the_zone_has_not_signed_for_is_not_added() -> None:
    for unsigned in (replace(OLD, data_by=frozenset(("evil",))), replace(OLD, data_by=frozenset())):
        parents = [parent_server("old", ns=[NS_A])]
        ruling = rule(look(unsigned, everywhere(OLD), parents), None, HOUR, now())
        assert not ruling.aim.ns_known
        assert "no name server is added" in ruling.aim.troubles[0]


def test_under_ds_of_a_kind_that_is_not_in_use_a_zone_counts_as_unsigned() -> None:
    sha1 = ds("old")[:3] + b"\1" + bytes(20)
    old = parent_server(ns=[NS_A])
    assert old.delegation is not None
    parent = replace(old, ds=(sha1,), delegation=replace(old.delegation, ds=(sha1,)))
    first = rule(look(OLD, everywhere(OLD), [parent]), None, HOUR, now())
    assert first.aim.ns_known
    assert permitted(first) is None
    later = rule(look(OLD, everywhere(OLD), [parent]), first.watch, HOUR, now(NOW + TTL))
    assert permitted(later) == (ds("old"),)
    assert later.proven is Origin.CDS


def test_what_nothing_follows_from_is_not_remembered_as_having_spoken() -> None:
    unproven = replace(OLD, cds_by=frozenset())
    ruling = rule(look(unproven, everywhere(OLD), [parent_server("old", ns=[NS_A])]), None, HOUR, now())
    assert ruling.aim.ns_known
    assert ruling.proven is None


def test_a_move_to_name_servers_that_have_both_keys_goes_on() -> None:
    both = zone("old", "b")
    ruling = rule(
        look(zone("old"), [server(NS_A, zone("old")), server(NS_B, both)], [parent_server("old", ns=[NS_A])]),
        None,
        HOUR,
        now(),
    )
    assert ruling.aim.ns_known
    assert not ruling.aim.troubles


# Whatever is seen

LABELS = ("old", "new", "evil", "ecdsa")
some = st.frozensets(st.sampled_from(LABELS), max_size=2)
spoken = st.one_of(st.just(frozenset[str]()), st.just(frozenset((DELETE,))), some)
by_the_rules = st.builds(lambda keys, cds: zone(*keys, cds=cds), some, spoken)
CORRUPTIONS = st.fixed_dictionaries(
    {}, optional={"by": some, "cds_by": some, "data_by": some, "keys": some, "cds": spoken, "cdnskey": spoken}
)


def corrupted(shown: Shown, changes: dict[str, frozenset[str]]) -> Shown:
    return replace(shown, **changes)  # type: ignore[arg-type]


shown = st.one_of(by_the_rules, by_the_rules, st.builds(corrupted, by_the_rules, CORRUPTIONS))
parents = st.lists(
    st.builds(
        lambda keys, verdict: (parent_server(*keys, verdict=verdict), keys),
        st.sampled_from([frozenset(each) for each in ((), (), ("old",), ("old",), ("old", "new"), ("evil",))]),
        st.sampled_from((Verdict.SECURE, Verdict.SECURE, Verdict.SECURE, Verdict.INSECURE, Verdict.BOGUS)),
    ),
    min_size=1,
    max_size=2,
)
same = st.just("same")
other = st.one_of(same, same, same, same, same, st.none(), CORRUPTIONS, shown)
looks = st.lists(st.tuples(other, other, st.sampled_from((30.0, 60.0, 301.0))), min_size=1, max_size=4)


def at_server(read: Shown, drawn: object) -> Shown | None:
    """What a server shows, beside one that shows this."""
    if drawn == "same":
        return read
    return corrupted(read, drawn) if isinstance(drawn, dict) else drawn  # type: ignore[return-value]


def speaks_for(each: Shown, read: Shown, held: frozenset[str]) -> bool:
    """A key of which there is a DS has signed for what was read."""
    chain = held & each.keys & each.by
    if not read.cds and not read.cdnskey:
        return bool(chain) and each.keys == read.keys
    same = (each.cds, each.cdnskey) == (read.cds, read.cdnskey)
    return bool(chain) and same and bool(held & each.keys & each.cds_by)


def is_empty(each: Shown | None) -> bool:
    return each is not None and not (each.keys or each.cds or each.cdnskey)


def is_signed(each: Shown | None) -> bool:
    return each is not None and bool(each.keys & each.by) and bool(each.keys & each.data_by)


@settings(max_examples=500, deadline=None)
@given(shown, parents, looks, st.sampled_from(Style), st.sampled_from(("keep", "remove")))
def test_no_set_of_observations_without_the_signatures_makes_an_update_that_holds_a_ds(
    read: Shown, views: list[tuple[ServerView, frozenset[str]]], seen: list[Any], style: Style, unsigned: str
) -> None:
    """Looks one after the other, at servers that show this and that; what is watched goes on from one to the next."""
    watch: Watch | None = None
    going: Watch | None = None
    time, good_for, empty_for = NOW, 0, 0
    for drawn_a, drawn_b, pause in seen:
        time += pause
        moment = now(time, unsigned=unsigned)
        a, b = at_server(read, drawn_a), at_server(read, drawn_b)
        servers = [server(NS_A, a), server(NS_B, b, "192.0.2.2")]
        found = look(read, servers, [view for view, _ in views], moment)
        ruling, was_watched = rule(found, watch, HOUR, moment, going), going is not None
        watch, going = ruling.watch, ruling.going
        conditions = compare(ruling.aim, found.parent, AgentState(Phase.IN_SYNC, NOW)).update(style)
        sent = dns.message.from_wire(message.update(1, PARENT, conditions[1], conditions[0], ()))
        good_for = good_for + 1 if is_signed(a) and is_signed(b) else 0
        empty_for = empty_for + 1 if is_empty(a) and is_empty(b) and is_empty(read) else 0
        if not [each for each in sent.sections[2] if each.rdtype == dns.rdatatype.DS]:
            continue
        held = [keys for view, keys in views if keys and view.verdict in (Verdict.SECURE, Verdict.INSECURE)]
        after = set(ruling.aim.delegation.ds)
        assert any(view.verdict in (Verdict.SECURE, Verdict.INSECURE) for view, _ in views)
        assert was_watched or not after or after.issuperset(map(ds, frozenset[str]().union(*held)))
        if held and (after or read.cds or read.cdnskey):
            witnesses = [each for each in (read, a, b) if each is not None]
            assert any(all(speaks_for(each, read, keys) for keys in held) for each in witnesses)
        elif held:
            assert unsigned == "remove"
            assert empty_for >= 2
        else:
            assert good_for >= 2
        for each in (a, b):
            assert not after or each is None or any(ds(key) in after for key in each.keys & each.by)
