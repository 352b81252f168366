"""What was learnt of the parent's side is left only for an announcement that is as good (PROTOCOL section 2)."""

from dataclasses import replace
from typing import Any

import pytest

from agent_support import BOGUS, CHILD, INSECURE, PARENT, SECURE, TARGET, Question, Told, absent, failing, found, pair
from zonecut.agent.learned import Found, Learned, find, learn, met
from zonecut.agent.parent.discovery import discover
from zonecut.agent.parent.receiver import KeyTrust, NoReceiver
from zonecut.agent.settings import ParentSettings
from zonecut.agent.state import AgentState, Phase
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.codepoints import RRType
from zonecut.resolve import Answer, Verdict

DSYNC, A, KEY = RRType.DSYNC, RRType.A, RRType.KEY
FIRST = "child._dsync.parent.example."
REAL, EVIL = "updater.parent.example.", "receiver.evil.example."
REAL_KEY, EVIL_KEY = pair(TARGET).key, pair(names.from_text(EVIL)).key
NOTIFY = Dsync.from_text(f"CDS NOTIFY 53 {EVIL}")
BEGIN = AgentState(Phase.IN_SYNC, 0.0)


def update(target: str, port: int = 5354) -> Dsync:
    return Dsync.from_text(f"ANY UPDATE {port} {target}")


def world(announced: Answer, real: Verdict = SECURE) -> dict[Question, Answer]:
    """`evil.example` is a signed zone of the attacker's; `real` is what can be said of the parent's zone."""
    return {
        (FIRST, DSYNC): announced,
        (REAL, A): found(bytes((1, 1, 1, 1)), verdict=real),
        (REAL, KEY): found(REAL_KEY.rdata, verdict=real),
        (EVIL, A): found(bytes((6, 6, 6, 6))),
        (EVIL, KEY): found(EVIL_KEY.rdata),
    }


async def look(
    state: AgentState, announced: Answer, real: Verdict = SECURE, **settings: Any
) -> tuple[AgentState, Found]:
    """One look of the agent at its parent, and what it keeps of it."""
    parent = ParentSettings(**settings)
    told = Told(world(announced, real), absent(verdict=real))
    seen = await find(told, await discover(told, CHILD), parent, Learned.of(state))
    party = seen.parties[0] if seen.parties else None
    state = learn(state, seen.discovery, party, parent)
    return (state if party is None else met(state, party)), seen


def whom(seen: Found) -> list[tuple[str, KeyTrust]]:
    return [(names.to_text(party.target), party.worth) for party in seen.parties]


async def known(verdict: Verdict = SECURE) -> AgentState:
    state, _ = await look(BEGIN, found(update(REAL).to_wire(), verdict=verdict), verdict)
    return state


async def test_a_secure_announcement_and_its_receivers_key_are_kept() -> None:
    state = await known()
    learned = Learned.of(AgentState.from_json(state.to_json()))
    assert learned == Learned((REAL_KEY,), (update(REAL),), PARENT)


FORGED = {
    "a receiver in a signed zone of the attacker's": found(update(EVIL).to_wire(), verdict=INSECURE),
    "the right name with another port": found(update(REAL, 6666).to_wire(), verdict=INSECURE),
    "somebody who takes NOTIFY alone": found(NOTIFY.to_wire(), verdict=INSECURE),
    "nothing that means anything": found(b"\0\1", verdict=INSECURE),
}


@pytest.mark.parametrize("case", FORGED)
async def test_an_insecure_announcement_displaces_nothing_that_was_learnt(case: str) -> None:
    before = await known()
    # the parent's own names are in an opt-out span for the attacker: nothing of them is secure
    state, seen = await look(before, FORGED[case], INSECURE)
    assert whom(seen) == [(REAL, KeyTrust.REMEMBERED)]
    assert [str(address) for address in seen.parties[0].addresses] == ["1.1.1.1:5354"]
    assert (seen.discovery.is_remembered, seen.discovery.parent) == (True, PARENT)
    assert Learned.of(state) == Learned.of(before)
    # ... nor does an absence that anybody can claim
    state, seen = await look(before, absent("", verdict=INSECURE), INSECURE)
    assert whom(seen) == [(REAL, KeyTrust.REMEMBERED)]


@pytest.mark.parametrize("case", FORGED)
async def test_nothing_of_an_insecure_announcement_is_kept(case: str) -> None:
    try:
        state, seen = await look(BEGIN, FORGED[case], INSECURE)
    except NoReceiver:
        return
    assert Learned.of(state) == Learned()
    assert all(not party.is_vouched for party in seen.parties)


async def test_one_insecure_answer_ever_does_not_keep_the_agent_from_the_right_receiver() -> None:
    state, seen = await look(BEGIN, FORGED["a receiver in a signed zone of the attacker's"], INSECURE)
    assert whom(seen) == [(EVIL, KeyTrust.INSECURELY_ANNOUNCED)]
    _, seen = await look(state, found(update(REAL).to_wire(), verdict=INSECURE), INSECURE)
    assert whom(seen) == [(REAL, KeyTrust.INSECURE)]


async def test_another_secure_announcement_takes_the_place_of_what_was_learnt() -> None:
    state, seen = await look(await known(), found(update(EVIL).to_wire()))
    assert whom(seen) == [(EVIL, KeyTrust.VALIDATED)]
    assert Learned.of(state) == Learned((EVIL_KEY,), (update(EVIL),), PARENT)
    # ... and so does a secure one of NOTIFY alone
    state, seen = await look(state, found(NOTIFY.to_wire()))
    assert (seen.parties, Learned.of(state)) == ((), Learned())


async def test_an_announcement_that_is_bogus_is_not_passed_over_for_what_was_learnt() -> None:
    with pytest.raises(NoReceiver, match="bogus"):
        await look(await known(), failing(BOGUS))


async def test_a_receiver_with_a_pinned_key_is_kept_and_left_for_another_one() -> None:
    pins = {"pins": (REAL_KEY.fingerprint(), EVIL_KEY.fingerprint())}
    state, seen = await look(BEGIN, found(update(REAL).to_wire(), verdict=INSECURE), INSECURE, **pins)
    assert whom(seen) == [(REAL, KeyTrust.PINNED)]
    assert Learned.of(state) == Learned((REAL_KEY,), (update(REAL),), PARENT)
    moved, seen = await look(state, found(update(EVIL).to_wire(), verdict=INSECURE), INSECURE, **pins)
    assert whom(seen) == [(EVIL, KeyTrust.PINNED)]
    assert Learned.of(moved).records == (update(EVIL),)
    only = {"pins": (REAL_KEY.fingerprint(),)}
    for forged in FORGED.values():
        again, seen = await look(state, forged, INSECURE, **only)
        assert whom(seen)[0] == (REAL, KeyTrust.PINNED)
        assert REAL_KEY.to_text() in again.receiver_keys


@pytest.mark.parametrize(
    ("state", "settings"),
    [
        (replace(BEGIN, receiver_keys=(REAL_KEY.to_text(),)), {}),
        (BEGIN, {"pins": (REAL_KEY.fingerprint(),)}),
    ],
)
async def test_where_a_receivers_key_is_known_an_insecure_announcement_makes_no_notify_of_update(
    state: AgentState, settings: dict[str, Any]
) -> None:
    with pytest.raises(NoReceiver, match="anybody on the way can have written it"):
        await look(state, found(NOTIFY.to_wire(), verdict=INSECURE), INSECURE, **settings)
    # where nothing is known, it is a matter of policy
    _, seen = await look(BEGIN, found(NOTIFY.to_wire(), verdict=INSECURE), INSECURE)
    assert seen.parties == ()
    with pytest.raises(NoReceiver, match="insecure_announcement"):
        await look(BEGIN, found(NOTIFY.to_wire(), verdict=INSECURE), INSECURE, insecure_announcement="reject")


async def test_the_keys_of_several_announced_receivers_are_kept() -> None:
    both = found(update(EVIL).to_wire(), update(REAL).to_wire())
    state, seen = await look(BEGIN, both)
    assert len(seen.parties) == 2
    for party in seen.parties:
        state = met(state, party)
    assert set(Learned.of(state).keys) == {REAL_KEY, EVIL_KEY}
    state, _ = await look(state, found(update(REAL).to_wire()))
    assert Learned.of(state).keys == (REAL_KEY,)


async def test_what_was_learnt_of_one_parent_says_nothing_of_another_that_is_configured() -> None:
    insecure = found(update(EVIL).to_wire(), verdict=INSECURE)
    _, seen = await look(await known(), insecure, INSECURE, zone="parent.example.")
    assert whom(seen) == [(REAL, KeyTrust.REMEMBERED)]
    state = replace(await known(), receiver_keys=())
    told = Told(
        {**world(insecure, INSECURE), ("child.parent._dsync.example.", DSYNC): insecure}, absent(verdict=INSECURE)
    )
    settings = ParentSettings(zone="example.")
    searched = await discover(told, CHILD, parent=names.from_text("example."))
    assert whom(await find(told, searched, settings, Learned.of(state))) == [(EVIL, KeyTrust.INSECURELY_ANNOUNCED)]
