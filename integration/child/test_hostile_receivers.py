"""A child's talk with receivers that are silent, broken or hostile, at the end of a DSYNC record in a signed tree."""

import time
from collections.abc import Iterator
from typing import Any

import dns.message
import dns.name
import dns.update
import pytest

from lab.scripted import behaviours
from lab.scripted.hostile import HostileReceiver, Manner
from lab.scripted.scripted_parent import CHILD, PARENT, UPDATER, PlayedParent
from signer import Signer
from zonecut.agent.exchange.notify_out import NotifyOutcome, send_notify
from zonecut.agent.exchange.update_client import Outcome, Patience, Result, Signed, UpdateClient
from zonecut.agent.parent.discovery import discover
from zonecut.agent.parent.receiver import KeyTrust, NoReceiver, UpdateReceiver, find_parties
from zonecut.agent.settings import ParentSettings
from zonecut.demo.loopback import faults
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import message, names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.announced.svcb import Method
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.keys import Key
from zonecut.resolve import Verdict

QUICK = Patience(timeout=0.2, retries=2)
OWN, STRANGER = Signer.generate(CHILD), Signer.generate(UPDATER)
WIRE_CHILD = names.from_text(CHILD)
NEW_NS = names.from_text(f"ns3.{CHILD}")
CHANGE = (message.add(WIRE_CHILD, RRType.NS, 3600, NEW_NS), message.add(NEW_NS, RRType.A, 3600, bytes((127, 0, 0, 1))))
ADD_KEY = message.add(WIRE_CHILD, RRType.KEY, 3600, OWN.pair.key.rdata)
TRUSTED = behaviours.telling(4, "welcome")


@pytest.fixture
def receiver() -> Iterator[HostileReceiver]:
    with HostileReceiver(UPDATER, TRUSTED) as receiver:
        yield receiver


@pytest.fixture
def played(receiver: HostileReceiver) -> Iterator[PlayedParent]:
    with PlayedParent(receiver) as played:
        yield played


async def party(played: PlayedParent, remembered: tuple[Key, ...] = (), **settings: Any) -> UpdateReceiver:
    discovery = await discover(played.lookups, WIRE_CHILD)
    settled = ParentSettings(addresses="any", **settings)
    return (await find_parties(played.lookups, discovery, settled, remembered))[0]


async def talk(
    played: PlayedParent, manner: Manner | None = None, *, patience: Patience = QUICK, **settings: Any
) -> UpdateClient:
    """The conversation of a child that has found its receiver; the receiver behaves as it is told from now on."""
    found = await party(played, **settings)
    if manner is not None:
        played.receiver.play(manner)
    return UpdateClient(found, OWN.pair, ParentSettings(addresses="any", **settings), patience=patience)


async def change(played: PlayedParent, manner: Manner, **options: Any) -> Outcome:
    return await (await talk(played, manner, **options)).update(CHANGE)


# A receiver that behaves


async def test_a_child_finds_its_receiver_with_all_that_is_announced(
    played: PlayedParent, receiver: HostileReceiver
) -> None:
    discovery = await discover(played.lookups, WIRE_CHILD)
    assert (discovery.verdict, discovery.parent) == (Verdict.SECURE, names.from_text(PARENT))
    found = await party(played)
    assert found.addresses == (Endpoint("127.0.0.1", receiver.port),)
    assert (found.keys, found.worth) == ((receiver.key.pair.key,), KeyTrust.VALIDATED)
    assert found.methods == (Method.AT_APEX, Method.MANUAL)
    with pytest.raises(NoReceiver, match="special-purpose"):
        await find_parties(played.lookups, discovery, ParentSettings())


async def test_a_child_hears_what_its_key_is_worth_and_makes_a_change(
    played: PlayedParent, receiver: HostileReceiver
) -> None:
    conversation = await talk(played, behaviours.applying(played.apply, TRUSTED))
    inquired = await conversation.inquire()
    assert inquired.believed
    assert inquired.keystate is not None
    assert (inquired.keystate.key_state, inquired.keystate.extra_text) == (4, "welcome")
    outcome = await conversation.update(CHANGE)
    assert (outcome.result, outcome.tries) == (Result.ACCEPTED, 1)
    assert NEW_NS in played.delegation.ns
    assert [each.transport for each in receiver.received] == ["tcp", "tcp"]
    assert {each.signer for each in receiver.received} == {(WIRE_CHILD, OWN.tag)}


# Silence


@pytest.mark.parametrize(
    "manner", [behaviours.silent, behaviours.closing, behaviours.unframed], ids=lambda manner: manner.__name__
)
async def test_without_an_answer_the_same_octets_are_sent_again_and_then_no_more(
    played: PlayedParent, receiver: HostileReceiver, manner: Manner
) -> None:
    outcome = await change(played, manner, patience=Patience(0.05, 3))
    assert (outcome.result, outcome.tries, outcome.response) == (Result.SILENT, 4, None)
    assert str(receiver.port) in outcome.reason
    assert len(receiver.updates) == 4
    assert len({each.wire for each in receiver.updates}) == 1


async def test_a_lost_answer_is_made_up_for_by_a_repetition(played: PlayedParent, receiver: HostileReceiver) -> None:
    outcome = await change(played, behaviours.in_turn(behaviours.silent, behaviours.accepting))
    assert (outcome.result, outcome.tries) == (Result.ACCEPTED, 2)
    assert len({each.wire for each in receiver.updates}) == 1


async def test_where_nobody_listens_the_next_address_is_tried(receiver: HostileReceiver) -> None:
    with PlayedParent(receiver) as played:
        played.parent.put(UPDATER, "A", "127.0.0.9", "127.0.0.1")
        for _ in range(2):
            outcome = await change(played, behaviours.accepting)
            assert (outcome.result, outcome.tries <= 2) == (Result.ACCEPTED, True)
        played.parent.put(UPDATER, "A", "127.0.0.9")
        outcome = await change(played, behaviours.accepting)
        assert (outcome.result, outcome.tries) == (Result.SILENT, 1)
        assert "Connection refused" in outcome.reason


# Refusals


async def test_badkey_is_a_key_that_is_not_known(played: PlayedParent) -> None:
    conversation = await talk(played, behaviours.badkey)
    for _ in range(3):
        assert (await conversation.update([ADD_KEY])).result is Result.KEY_UNKNOWN


async def test_refused_once_is_accepted_the_next_time(played: PlayedParent, receiver: HostileReceiver) -> None:
    conversation = await talk(played, behaviours.in_turn(behaviours.refusing(), behaviours.accepting))
    outcome = await conversation.update(CHANGE)
    assert (outcome.result, outcome.tries) == (Result.REFUSED, 1)
    assert (await conversation.update(CHANGE)).result is Result.ACCEPTED
    first, second = receiver.updates
    assert first.wire != second.wire, "a new attempt is another message"


async def test_refused_for_ever_stays_refused_with_its_reason(played: PlayedParent) -> None:
    conversation = await talk(played, behaviours.refusing(5, 49160, "under way\x1b[31m"))
    for _ in range(3):
        outcome = await conversation.update(CHANGE)
        assert outcome.result is Result.KEY_PENDING
        assert "Key Known, Not Trusted (49160) 'under way\\x1b[31m'" in outcome.reason


async def test_noerror_is_an_acceptance_even_if_nothing_is_done(played: PlayedParent) -> None:
    """Whether it was done shows in what the parent publishes."""
    before = played.delegation
    assert (await change(played, behaviours.accepting)).result is Result.ACCEPTED
    assert played.delegation == before


# Signatures

DOUBTFUL: dict[str, tuple[Manner, Signed]] = {
    "unsigned": (behaviours.unsigned(TRUSTED), Signed.NONE),
    "signed by a stranger": (behaviours.signed_by(STRANGER, TRUSTED), Signed.WRONG),
    "signed by the child itself": (behaviours.signed_by(OWN, TRUSTED), Signed.WRONG),
    "signed last week": (behaviours.outdated(7 * 86400, TRUSTED), Signed.WRONG),
    "signed last week, without the request": (
        behaviours.outdated(7 * 86400, behaviours.message_only(TRUSTED)), Signed.WRONG),
}  # fmt: skip


@pytest.mark.parametrize("case", DOUBTFUL)
async def test_nothing_is_learnt_from_an_answer_that_is(played: PlayedParent, case: str) -> None:
    manner, signed = DOUBTFUL[case]
    conversation = await talk(played, manner)
    inquired = await conversation.inquire()
    assert (inquired.believed, inquired.outcome.result) == (False, Result.UNBELIEVABLE)
    assert inquired.outcome.response is not None
    assert inquired.outcome.response.signed is signed
    outcome = await conversation.update(CHANGE)
    assert (outcome.result, len(outcome.ignored)) == (Result.UNBELIEVABLE, 1)


async def test_a_signature_over_the_response_alone_counts(played: PlayedParent) -> None:
    conversation = await talk(played, behaviours.message_only(TRUSTED))
    inquired = await conversation.inquire()
    assert inquired.believed
    assert inquired.outcome.response is not None
    assert inquired.outcome.response.signed is Signed.MESSAGE_ONLY
    assert (await conversation.update(CHANGE)).result is Result.ACCEPTED


async def test_a_receiver_that_signs_with_another_key_than_it_publishes_is_not_believed(played: PlayedParent) -> None:
    played.publish_keys(STRANGER.pair.key)
    conversation = await talk(played)
    assert conversation.party.worth is KeyTrust.VALIDATED
    assert (await conversation.update(CHANGE)).result is Result.UNBELIEVABLE
    assert not (await conversation.inquire()).believed


async def test_during_a_roll_either_key_counts(played: PlayedParent, receiver: HostileReceiver) -> None:
    played.publish_keys(STRANGER.pair.key, receiver.key.pair.key)
    for manner in (TRUSTED, behaviours.signed_by(STRANGER, TRUSTED)):
        assert (await change(played, manner)).result is Result.ACCEPTED


BLOCKED = {
    "broken": faults.broken_signatures,
    "without signatures": faults.without_signatures,
    "failing": faults.failing(),
    "expired": faults.expired_signatures,
}


@pytest.mark.parametrize("case", BLOCKED)
async def test_blocking_the_look_up_of_the_key_does_not_downgrade(
    played: PlayedParent, receiver: HostileReceiver, case: str
) -> None:
    played.parents.override(UPDATER, "KEY", BLOCKED[case])
    conversation = await talk(played, behaviours.unsigned(TRUSTED))
    assert (conversation.party.worth, conversation.party.keys) == (KeyTrust.UNKNOWN, ())
    outcome = await conversation.update(CHANGE)
    assert (outcome.result, outcome.tries, receiver.updates) == (Result.UNBELIEVABLE, 0, [])
    assert not (await conversation.inquire()).believed
    # with the key from before it is as it was
    remembered = await party(played, (receiver.key.pair.key,))
    assert remembered.worth is KeyTrust.REMEMBERED
    for manner, result in ((TRUSTED, Result.ACCEPTED), (behaviours.unsigned(TRUSTED), Result.UNBELIEVABLE)):
        receiver.play(manner)
        talking = UpdateClient(remembered, OWN.pair, ParentSettings(), patience=QUICK)
        assert (await talking.update(CHANGE)).result is result


@pytest.mark.parametrize("case", BLOCKED)
async def test_blocking_the_search_does_not_lead_elsewhere(played: PlayedParent, case: str) -> None:
    played.parents.override(f"child._dsync.{PARENT}", "DSYNC", BLOCKED[case])
    discovery = await discover(played.lookups, WIRE_CHILD)
    assert discovery.verdict in (Verdict.BOGUS, Verdict.INDETERMINATE)
    with pytest.raises(NoReceiver, match=discovery.verdict):
        await party(played)


@pytest.mark.parametrize("manner", [behaviours.unsigned(TRUSTED), behaviours.signed_by(STRANGER, TRUSTED), TRUSTED])
async def test_a_parent_that_is_provably_insecure_is_a_matter_of_policy(
    receiver: HostileReceiver, manner: Manner
) -> None:
    with PlayedParent(receiver, signed=False) as played:
        accepts = await talk(played, manner)
        assert accepts.party.worth is KeyTrust.INSECURE
        assert (await accepts.update(CHANGE)).result is Result.ACCEPTED
        # but of the key only a signed answer tells something
        assert (await accepts.inquire()).believed is (manner is TRUSTED)
        rejects = await talk(played, insecure_key="reject")
        count = len(receiver.updates)
        assert (await rejects.update(CHANGE)).result is Result.UNBELIEVABLE
        assert len(receiver.updates) == count
        pinned = await talk(played, pins=(receiver.key.pair.key.fingerprint(),))
        assert pinned.party.worth is KeyTrust.PINNED
        expected = Result.ACCEPTED if manner is TRUSTED else Result.UNBELIEVABLE
        assert (await pinned.update(CHANGE)).result is expected
        with pytest.raises(NoReceiver, match="insecure_announcement"):
            await talk(played, insecure_announcement="reject")


# What is no answer

NO_ANSWER: dict[str, Manner] = {
    "garbage": behaviours.garbage,
    "the ID of another message": behaviours.wrong_id,
    "the request itself": behaviours.echoing,
    "an answer to another question": behaviours.other_question,
    "strays for ever": behaviours.babbling_for_ever,
    "a drop now and then": behaviours.dripping(0.02, behaviours.accepting),
}


@pytest.mark.parametrize("case", NO_ANSWER)
async def test_no_answer_within_bounds_is(played: PlayedParent, case: str) -> None:
    started = time.monotonic()
    outcome = await change(played, NO_ANSWER[case], patience=Patience(0.1, 1))
    assert (outcome.result, outcome.tries) == (Result.SILENT, 2)
    assert time.monotonic() - started < 2
    assert len(outcome.ignored) <= 8


async def test_an_answer_of_64_kib_is_read_within_bounds(played: PlayedParent) -> None:
    outcome = await change(played, behaviours.huge, patience=Patience(5, 0))
    assert (outcome.result, outcome.seconds < 1) == (Result.UNBELIEVABLE, True)


async def test_the_answer_is_found_among_strays(played: PlayedParent) -> None:
    outcome = await change(played, behaviours.babbling(behaviours.accepting))
    assert (outcome.result, outcome.tries, len(outcome.ignored)) == (Result.ACCEPTED, 1, 2)


async def test_a_slow_answer_is_waited_for(played: PlayedParent) -> None:
    for manner in (behaviours.slow(0.3, behaviours.accepting), behaviours.dripping(0.001, behaviours.accepting)):
        outcome = await change(played, manner, patience=Patience(1, 0))
        assert (outcome.result, outcome.tries) == (Result.ACCEPTED, 1)


async def test_what_is_truncated_over_tcp_is_no_acceptance(played: PlayedParent) -> None:
    outcome = await change(played, behaviours.always_truncated(behaviours.accepting))
    assert (outcome.result, outcome.tries) == (Result.FAILED, 1)
    assert "truncated" in outcome.reason


# Receivers in the field


async def test_one_that_renders_a_message_anew_before_it_verifies_takes_ours(
    played: PlayedParent, receiver: HostileReceiver
) -> None:
    manner = behaviours.re_rendering([OWN.pair.key], TRUSTED)
    conversation = await talk(played, manner)
    assert (await conversation.update(CHANGE)).result is Result.ACCEPTED
    assert (
        await conversation.update([message.delete_rrset(WIRE_CHILD, RRType.KEY), ADD_KEY])
    ).result is Result.ACCEPTED
    assert (await conversation.inquire()).believed
    # and what another library makes, with compressed names, it does not
    update = dns.update.UpdateMessage(PARENT)
    update.add(dns.name.from_text(CHILD), 3600, "NS", f"ns3.{CHILD}")
    compressed = OWN.sign(update.to_wire())
    ((reply, _),) = receiver.answer(compressed, "tcp")
    assert reply.rcode == Rcode.BADSIG


async def test_one_that_takes_only_a_single_add_refuses_the_two_record_form(played: PlayedParent) -> None:
    conversation = await talk(played, behaviours.only_a_single_add(TRUSTED))
    both = [message.delete_rrset(WIRE_CHILD, RRType.KEY), ADD_KEY]
    assert (await conversation.update(both)).result is Result.KEY_UNKNOWN
    assert (await conversation.update([ADD_KEY])).result is Result.ACCEPTED
    assert (await conversation.update(CHANGE)).result is Result.ACCEPTED


# NOTIFY


async def notify(played: PlayedParent, manner: Manner, rrtype: RRType = RRType.CDS) -> NotifyOutcome:
    played.announce(*(Dsync(each, 1, played.receiver.port, names.from_text(UPDATER)) for each in (59, 62)))
    played.receiver.play(manner)
    discovery = await discover(played.lookups, WIRE_CHILD)
    assert discovery.updates == ()
    settings = ParentSettings(addresses="any")
    (outcome,) = await send_notify(
        played.lookups, WIRE_CHILD, rrtype, discovery.notifies(rrtype), settings, patience=Patience(0.1, 2)
    )
    return outcome


@pytest.mark.parametrize("rrtype", [RRType.CDS, RRType.CSYNC])
async def test_a_scanner_is_notified(played: PlayedParent, receiver: HostileReceiver, rrtype: RRType) -> None:
    outcome = await notify(played, behaviours.unsigned(behaviours.accepting), rrtype)
    assert outcome.acknowledged
    (received,) = receiver.received
    assert received.transport == "udp"
    asked = dns.message.from_wire(received.wire)
    assert (asked.opcode(), asked.question[0].to_text()) == (4, f"{CHILD} IN {rrtype.text}")


async def test_a_scanner_that_is_silent_over_udp_is_tried_over_tcp(
    played: PlayedParent, receiver: HostileReceiver
) -> None:
    def only_tcp(received: Any) -> Any:
        return behaviours.accepting(received) if received.transport == "tcp" else ()

    outcome = await notify(played, only_tcp)
    assert outcome.acknowledged
    assert [each.transport for each in receiver.received] == ["udp", "udp", "udp", "tcp"]


async def test_a_truncated_acknowledgement_is_asked_for_over_tcp(
    played: PlayedParent, receiver: HostileReceiver
) -> None:
    outcome = await notify(played, behaviours.truncated(behaviours.unsigned(behaviours.accepting)))
    assert outcome.acknowledged
    assert [each.transport for each in receiver.received] == ["udp", "tcp"]


@pytest.mark.parametrize(
    "manner", [behaviours.garbage, behaviours.silent, behaviours.wrong_id], ids=lambda manner: manner.__name__
)
async def test_a_scanner_that_does_not_acknowledge_is_given_up(played: PlayedParent, manner: Manner) -> None:
    outcome = await notify(played, manner)
    assert (outcome.outcome.result, outcome.outcome.tries) == (Result.SILENT, 4)


async def test_a_scanner_may_refuse(played: PlayedParent) -> None:
    outcome = await notify(played, behaviours.unsigned(behaviours.refusing(5, 15, "too often")))
    assert (outcome.outcome.result, outcome.outcome.tries) == (Result.REFUSED, 1)
    assert "'too often'" in outcome.outcome.reason
