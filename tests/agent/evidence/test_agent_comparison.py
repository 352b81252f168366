"""What the agent sends, of what it has seen: whatever the parent's servers show, and what is remembered of them."""

from dataclasses import replace

import dns.message
import dns.rdatatype
import dns.update
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_support import CHILD, PARENT
from zonecut.agent.evidence.comparison import compare
from zonecut.agent.evidence.desired import Desired
from zonecut.agent.parent.parent_view import ParentView, ServerView
from zonecut.agent.state import AgentState, Phase
from zonecut.agent.update_section import Style
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation

NS1, NS2, OUTSIDE = (
    names.from_text(name)
    for name in ("ns1.child.parent.example.", "ns2.child.parent.example.", "ns.elsewhere.example.")
)
ADDRESSES = [
    RR(NS1, RRType.A, bytes((192, 0, 2, 1))),
    RR(NS1, RRType.AAAA, bytes(15) + b"\1"),
    RR(NS2, RRType.A, bytes((192, 0, 2, 2))),
]
DS = [RR(CHILD, RRType.DS, bytes((0, tag, 13, 2)) + bytes([tag]) * 32) for tag in (1, 2, 3)]
NS = [RR(CHILD, RRType.NS, name) for name in (NS1, NS2, OUTSIDE)]

ds_sets = st.lists(st.sampled_from(DS), unique=True, max_size=3)
unsigned = st.builds(
    lambda ns, addresses: Delegation.of(CHILD, [*ns, *addresses]),
    st.lists(st.sampled_from(NS), min_size=1, unique=True),
    st.lists(st.sampled_from(ADDRESSES), unique=True),
)
delegations = st.builds(lambda each, ds: Delegation.of(CHILD, [*each.records, *ds]), unsigned, ds_sets)
servers = st.one_of(
    st.builds(lambda each: ServerView(NS1, "192.0.2.1", each), delegations),
    st.builds(
        lambda ds: ServerView(
            NS1, "192.0.2.1", None, "serves the child", True, tuple(sorted(each.rdata for each in ds))
        ),
        ds_sets,
    ),
    st.just(ServerView(NS1, "192.0.2.1", None, "does not answer")),
)
views = st.builds(lambda all_: ParentView(PARENT, CHILD, tuple(all_)), st.lists(servers, min_size=1, max_size=4))
states = st.builds(
    lambda last: AgentState(Phase.IN_SYNC, 0.0, last=None if last is None else last.to_wire().hex()),
    st.one_of(st.none(), delegations),
)


def sent(records: tuple[bytes, ...], prerequisites: tuple[bytes, ...]) -> dns.update.UpdateMessage:
    found = dns.message.from_wire(message.update(1, PARENT, prerequisites, records, ()))
    assert isinstance(found, dns.update.UpdateMessage)
    return found


@given(views, states, unsigned, st.sampled_from(Style))
def test_no_ds_is_signed_for_that_the_child_did_not_ask_for(
    view: ParentView, state: AgentState, asked: Delegation, style: Style
) -> None:
    """Whatever servers show, and in whatever style: a forged answer, a lagging secondary, a memory of other days."""
    seen = compare(Desired(asked, ds_known=False), view, state)
    update = sent(*seen.update(style))
    assert not [each for each in (*update.update, *update.prerequisite) if each.rdtype == dns.rdatatype.DS]
    assert not [each for each in (*seen.difference.added, *seen.difference.removed) if each.rtype == RRType.DS]


@given(views, states, ds_sets, st.sampled_from(Style))
def test_no_name_server_is_signed_for_where_the_child_has_none_that_is_fit(
    view: ParentView, state: AgentState, ds: list[RR], style: Style
) -> None:
    seen = compare(Desired(Delegation.of(CHILD, ds), ns_known=False), view, state)
    assert {each.rdtype for each in sent(*seen.update(style)).update} <= {dns.rdatatype.DS}


@given(delegations, delegations, st.sampled_from(Style))
def test_an_unfit_name_server_is_neither_added_nor_taken_away(
    held: Delegation, asked: Delegation, style: Style
) -> None:
    fit = Delegation.of(CHILD, [each for each in asked.records if NS1 not in (each.owner, each.rdata)])
    view = ParentView(PARENT, CHILD, (ServerView(NS1, "192.0.2.1", held),))
    seen = compare(Desired(fit, unfit=(NS1,), ns_known=bool(fit.ns)), view, AgentState(Phase.IN_SYNC, 0.0))
    after = carried_out(held, sent(*seen.update(style)))
    assert (NS1 in after.ns) == (NS1 in held.ns)
    if NS1 in held.ns:
        assert [each for each in after.glue if each.owner == NS1] == [each for each in held.glue if each.owner == NS1]


@given(delegations, delegations, st.sampled_from(Style))
def test_what_is_sent_to_a_parent_whose_servers_agree_makes_it_what_is_asked_for(
    held: Delegation, asked: Delegation, style: Style
) -> None:
    view = ParentView(PARENT, CHILD, (ServerView(NS1, "192.0.2.1", held), ServerView(NS2, "192.0.2.2", held)))
    seen = compare(Desired(asked), view, AgentState(Phase.IN_SYNC, 0.0))
    assert seen.missing == (held != asked)
    assert carried_out(held, sent(*seen.update(style))) == asked


@given(st.lists(delegations, min_size=2, max_size=4), delegations, st.sampled_from(Style))
def test_what_is_sent_where_servers_disagree_is_right_whichever_of_them_is(
    held: list[Delegation], asked: Delegation, style: Style
) -> None:
    view = ParentView(PARENT, CHILD, tuple(ServerView(NS1, f"192.0.2.{n}", each) for n, each in enumerate(held)))
    seen = compare(Desired(asked), view, AgentState(Phase.IN_SYNC, 0.0))
    assert seen.is_contradictory == (len(set(held)) > 1)
    if seen.is_contradictory:
        for each in held:
            assert carried_out(each, sent(*seen.update(style))) == asked


@pytest.mark.parametrize("ds_known", [True, False])
def test_what_goes_is_said_to_a_parent_that_shows_only_its_ds(ds_known: bool) -> None:
    """Parent and child on one server: the address of ns1 goes, and with CDS 0 0 0 00 the DS."""
    held = Delegation.of(CHILD, [*NS, *ADDRESSES, DS[0]])
    asked = Delegation.of(CHILD, [*NS, ADDRESSES[0], ADDRESSES[2]])
    view = ParentView(PARENT, CHILD, (ServerView(NS1, "192.0.2.1", None, "", True, (DS[0].rdata,)),))
    state = AgentState(Phase.IN_SYNC, 0.0, last=replace(held, ds=()).to_wire().hex())
    seen = compare(Desired(asked, ds_known=ds_known), view, state)
    assert seen.missing
    after = carried_out(held, sent(*seen.update(Style.DELTA)))
    assert after == (asked if ds_known else replace(asked, ds=held.ds))


def test_ds_that_somebody_took_out_are_missed_where_nothing_else_is_shown() -> None:
    asked = Delegation.of(CHILD, [*NS, DS[0]])
    shown = ServerView(NS1, "192.0.2.1", None, "", True, (DS[0].rdata,))
    state = AgentState(Phase.IN_SYNC, 0.0)
    first = compare(Desired(asked), ParentView(PARENT, CHILD, (shown,)), state)
    assert first.missing
    settled = replace(state, settled=first.digest, last=first.octets)
    assert not compare(Desired(asked), ParentView(PARENT, CHILD, (shown,)), settled).missing
    without = ParentView(PARENT, CHILD, (replace(shown, ds=()),))
    assert compare(Desired(asked), without, settled).missing


def carried_out(held: Delegation, update: dns.update.UpdateMessage) -> Delegation:
    """What a server makes of an UPDATE (RFC 2136 section 3.4.2)."""
    records = set(held.records)
    for rrset in update.update:
        owner, rtype = names.from_text(rrset.name.to_text()), int(rrset.rdtype)
        here = {each for each in records if (each.owner, each.rtype) == (owner, rtype)}
        if rrset.deleting == dns.rdataclass.ANY:
            records -= here
            continue
        for rdata in rrset:
            record = RR(owner, rtype, rdata.to_wire() or b"")
            if rrset.deleting is None:
                records.add(record)
            else:
                records.discard(record)
    return Delegation.of(held.child, records)
