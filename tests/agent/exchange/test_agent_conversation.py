"""What goes out to a receiver and what counts as its answer; the exchange is played, no network."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from agent_support import CHILD, PARENT, TARGET, pair
from zonecut.agent.exchange.stream import NoAnswer
from zonecut.agent.exchange.update_client import (
    AGE,
    Inquired,
    Outcome,
    Patience,
    Response,
    Result,
    Signed,
    UpdateClient,
)
from zonecut.agent.parent.receiver import KeyTrust, UpdateReceiver
from zonecut.agent.settings import ParentSettings
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, Rcode, RRType
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import PREREQUISITE, read_options, walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.keys import Key, KeyPair, verifier
from zonecut.protocol.keystate import KeyStateOption
from zonecut.protocol.sig0 import sign_response, signatures, signed_data

NOW = 1_800_000_000
OWN, RECEIVER, STRANGER = pair(CHILD), pair(TARGET), pair(TARGET)
ONE, TWO = Endpoint("192.0.2.1", 5354), Endpoint("2001:db8::1", 5354)
RECORDS = (message.delete_rrset(CHILD, RRType.NS), message.add(CHILD, RRType.NS, 3600, names.from_text("ns.example.")))
PATIENCE = Patience(timeout=0.01, retries=5)

Read = Callable[[bytes], Response]
Act = Callable[[bytes], Awaitable[bytes] | bytes]
"""The octets that come back to a request; or an exception."""


def answer(
    request: bytes,
    rcode: int = 0,
    *,
    options: bytes = b"",
    signer: KeyPair | None = RECEIVER,
    form: str = "rfc2931",
    now: int = NOW,
    opt: bool = True,
    flags: int = 0,
    identity: int | None = None,
) -> bytes:
    """A response as a receiver makes it: header, question, OPT, and a signature over all that and the request."""
    asked = walk(request)
    head = (asked.id if identity is None else identity).to_bytes(2)
    head += (0x8000 | asked.flags & 0x7900 | rcode & 0xF | flags).to_bytes(2)
    head += (1).to_bytes(2) + bytes(4) + (1 if opt else 0).to_bytes(2)
    wire = head + request[12 : asked.questions[0].end]
    if opt:
        wire += message.opt_record(options, flags=rcode >> 4 << 24)
    if signer is None:
        return wire
    covered = request if form == "rfc2931" else b""
    return sign_response(wire, signer, now - 300, now + 300, request=covered, signature_type=DEFAULT.signature_type)


class Network:
    """Plays what happens at each address, one act a message, the last one for ever; keeps what was sent."""

    def __init__(self, *acts: Any, **by_address: Sequence[Any]) -> None:
        self._acts = {address: list(by_address.get(name, acts)) for name, address in (("one", ONE), ("two", TWO))}
        self.sent: list[tuple[Endpoint, bytes]] = []

    async def exchange(self, wire: bytes, address: Endpoint, read: Read) -> Response:
        self.sent.append((address, wire))
        acts = self._acts[address]
        act = acts.pop(0) if len(acts) > 1 else acts[0]
        if isinstance(act, Exception):
            raise act
        if act is None:
            await asyncio.sleep(3600)
        came = act(wire)
        for octets in came if isinstance(came, list) else [came]:
            try:
                return read(octets)
            except MalformedMessage as error:
                reason = error.reason
        raise NoAnswer(reason, sent=True)


def conversation(
    network: Network,
    *,
    keys: tuple[Key, ...] = (RECEIVER.key,),
    worth: KeyTrust = KeyTrust.VALIDATED,
    addresses: tuple[Endpoint, ...] = (ONE,),
    patience: Patience = PATIENCE,
    **settings: Any,
) -> UpdateClient:
    party = UpdateReceiver(PARENT, TARGET, addresses, keys, worth, None, "because")
    return UpdateClient(
        party, OWN, ParentSettings(**settings), clock=lambda: NOW, patience=patience, exchange=network.exchange
    )


async def update(*acts: Any, **options: Any) -> tuple[Outcome, Network]:
    network = Network(*acts)
    return await conversation(network, **options).update(RECORDS), network


async def inquire(*acts: Any, **options: Any) -> Inquired:
    return await conversation(Network(*acts), **options).inquire()


def refusing(rcode: int, code: int | None = None, text: str = "", **options: Any) -> Act:
    extended = b"" if code is None else ExtendedError(code, text).to_option()
    return lambda request: answer(request, rcode, options=extended, **options)


def telling(state: int, *, key_id: int = OWN.key.tag, text: str = "", **options: Any) -> Act:
    option = KeyStateOption(key_id, state, 0, text).to_option(DEFAULT)
    return lambda request: answer(request, options=option, **options)


# What is sent


async def test_an_update_is_for_the_parent_zone_uncompressed_with_opt_and_signed() -> None:
    _, network = await update(answer)
    ((address, wire),) = network.sent
    assert address == ONE
    envelope = walk(wire)
    (signature,) = signatures(envelope, DEFAULT.signature_type)
    assert (envelope.opcode, envelope.name(12)) == (5, PARENT)
    assert envelope.opt is not None
    assert b"".join(RECORDS) in wire, "no octet of it is compressed"
    assert (signature.signer, signature.key_tag, signature.inception) == (CHILD, OWN.key.tag, NOW - AGE)
    assert signature.expiration - signature.inception <= 3600
    assert verifier(OWN.key, DEFAULT)(signature.signature, signed_data(wire, signature))


CONDITION = message.rrset_holds(CHILD, RRType.NS, names.from_text("ns1.child.parent.example."))


@pytest.mark.parametrize(
    ("acts", "conditions", "result"),
    [
        ((answer,), [1], Result.ACCEPTED),
        ((refusing(Rcode.NXRRSET),), [1], Result.PREREQUISITE),
        ((refusing(Rcode.REFUSED),), [1], Result.REFUSED),
        ((refusing(Rcode.NOTIMP), answer), [1, 0], Result.ACCEPTED),
        ((refusing(Rcode.FORMERR), answer), [1, 0], Result.ACCEPTED),
        ((refusing(Rcode.FORMERR),), [1, 0], Result.MALFORMED),
    ],
)
async def test_a_receiver_that_cannot_read_prerequisites_gets_the_change_without(
    acts: Sequence[Act], conditions: list[int], result: Result
) -> None:
    network = Network(*acts)
    outcome = await conversation(network).update(RECORDS, prerequisites=[CONDITION])
    assert outcome.result is result
    assert [len(list(walk(wire).section(PREREQUISITE))) for _, wire in network.sent] == conditions


async def test_nobody_takes_the_prerequisites_away_with_an_answer_that_is_not_signed() -> None:
    network = Network(refusing(Rcode.FORMERR, signer=None))
    outcome = await conversation(network, patience=Patience(0.01, 1)).update(RECORDS, prerequisites=[CONDITION])
    assert outcome.result is not Result.MALFORMED
    assert all(list(walk(wire).section(PREREQUISITE)) for _, wire in network.sent)


async def test_an_inquiry_asks_for_key_at_the_child_with_the_option() -> None:
    network = Network(answer)
    await conversation(network).inquire()
    ((_, wire),) = network.sent
    envelope = walk(wire)
    (question,) = envelope.questions
    assert (envelope.opcode, envelope.name(question.start), question.qtype) == (0, CHILD, RRType.KEY)
    assert envelope.opt is not None
    assert list(read_options(envelope.rdata(envelope.opt))) == [
        (DEFAULT.keystate_option, OWN.key.tag.to_bytes(2) + b"\2\0")
    ]
    assert len(signatures(envelope, DEFAULT.signature_type)) == 1


# What counts


@pytest.mark.parametrize("worth", [KeyTrust.PINNED, KeyTrust.VALIDATED, KeyTrust.REMEMBERED])
@pytest.mark.parametrize("form", ["rfc2931", "message-only"])
async def test_both_forms_of_a_signature_count(worth: KeyTrust, form: str) -> None:
    outcome, network = await update(lambda request: answer(request, form=form), worth=worth)
    assert (outcome.result, outcome.tries, outcome.ignored) == (Result.ACCEPTED, 1, ())
    assert outcome.response is not None
    assert outcome.response.signed is (Signed.VALID if form == "rfc2931" else Signed.MESSAGE_ONLY)
    assert outcome.response.by == RECEIVER.key
    assert len(network.sent) == 1


FORGED: dict[str, Act] = {
    "unsigned": lambda request: answer(request, signer=None),
    "signed by another key": lambda request: answer(request, signer=STRANGER),
    "signed by the child": lambda request: answer(request, signer=OWN),
    "signed over another request": lambda request: answer(request[:-1] + bytes((request[-1] ^ 1,))),
    "altered after signing": lambda request: _altered(answer(request, 5)),
    "signed long ago": lambda request: answer(request, now=NOW - 7200),
    "signed long ago, without the request": lambda request: answer(request, now=NOW - 7200, form="message-only"),
}


def _altered(wire: bytes) -> bytes:
    return wire[:3] + bytes((wire[3] & 0xF0,)) + wire[4:]


@pytest.mark.parametrize("case", FORGED)
@pytest.mark.parametrize("worth", [KeyTrust.PINNED, KeyTrust.VALIDATED, KeyTrust.REMEMBERED])
async def test_an_answer_is_ignored_and_noted_when_it_is(case: str, worth: KeyTrust) -> None:
    outcome, _ = await update(FORGED[case], worth=worth)
    assert outcome.result is Result.UNBELIEVABLE
    assert outcome.reason.startswith("ignored: 192.0.2.1:5354 answers")
    assert len(outcome.ignored) == 1


async def test_behind_a_forged_answer_the_right_one_is_found_elsewhere() -> None:
    network = Network(one=[FORGED["unsigned"]], two=[answer])
    outcome = await conversation(network, addresses=(ONE, TWO)).update(RECORDS)
    assert (outcome.result, outcome.tries) == (Result.ACCEPTED, 2)
    assert len(outcome.ignored) == 1
    assert [wire for _, wire in network.sent] == [network.sent[0][1]] * 2


async def test_one_whose_clock_is_wrong_is_told_so() -> None:
    """The answer covers the request, so it is fresh although its time is not ours."""
    late = NOW + 7200
    outcome, _ = await update(lambda request: answer(request, 18, now=late))
    assert outcome.result is Result.BAD_TIME
    outcome, _ = await update(lambda request: answer(request, 18, now=late, form="message-only"))
    assert outcome.result is Result.UNBELIEVABLE


async def test_any_of_the_receivers_keys_may_sign() -> None:
    outcome, _ = await update(answer, keys=(STRANGER.key, RECEIVER.key))
    assert outcome.result is Result.ACCEPTED


@pytest.mark.parametrize("case", ["unsigned", "signed by another key"])
async def test_what_an_insecure_receiver_says_is_a_matter_of_policy(case: str) -> None:
    for keys in ((), (RECEIVER.key,)):
        outcome, _ = await update(FORGED[case], worth=KeyTrust.INSECURE, keys=keys)
        assert outcome.result is Result.ACCEPTED
        outcome, network = await update(FORGED[case], worth=KeyTrust.INSECURE, keys=keys, insecure_key="reject")
        assert (outcome.result, network.sent) == (Result.UNBELIEVABLE, [])


async def test_no_change_goes_to_a_receiver_of_which_nothing_is_known() -> None:
    outcome, network = await update(answer, worth=KeyTrust.UNKNOWN, keys=())
    assert (outcome.result, outcome.tries, network.sent) == (Result.UNBELIEVABLE, 0, [])
    assert "because" in outcome.reason


# Repetitions


async def test_silence_is_met_with_the_same_octets_again() -> None:
    outcome, network = await update(None, None, answer)
    assert (outcome.result, outcome.tries) == (Result.ACCEPTED, 3)
    assert len({wire for _, wire in network.sent}) == 1


async def test_it_ends_after_five_repetitions() -> None:
    outcome, network = await update(None, patience=Patience(0.001, 5))
    assert (outcome.result, outcome.tries, len(network.sent)) == (Result.SILENT, 6, 6)
    assert outcome.reason == "192.0.2.1:5354: silent for 0.032 s"
    assert 0.063 <= outcome.seconds < 1


async def test_addresses_are_asked_in_turn() -> None:
    network = Network(one=[None], two=[None, answer])
    outcome = await conversation(network, addresses=(ONE, TWO)).update(RECORDS)
    assert outcome.result is Result.ACCEPTED
    assert [address for address, _ in network.sent] == [ONE, TWO, ONE, TWO]


async def test_where_nobody_listens_is_not_asked_again() -> None:
    outcome, _ = await update(NoAnswer("Connection refused", sent=False))
    assert (outcome.result, outcome.tries) == (Result.SILENT, 1)
    assert outcome.reason == "192.0.2.1:5354: Connection refused"


async def test_a_connection_that_breaks_is_tried_again() -> None:
    outcome, _ = await update(NoAnswer("closed", sent=True), answer)
    assert (outcome.result, outcome.tries) == (Result.ACCEPTED, 2)


@pytest.mark.parametrize("rcode", [2, 4, 9, 10])
async def test_one_address_may_know_better_than_the_other(rcode: int) -> None:
    network = Network(one=[refusing(rcode)], two=[answer])
    outcome = await conversation(network, addresses=(ONE, TWO)).update(RECORDS)
    assert (outcome.result, outcome.tries) == (Result.ACCEPTED, 2)
    # or not: nobody is asked twice for it
    network = Network(one=[refusing(rcode)], two=[None])
    outcome = await conversation(network, addresses=(ONE, TWO)).update(RECORDS)
    assert outcome.response is not None
    assert (outcome.response.rcode, outcome.tries) == (rcode, 2)


async def test_a_refusal_is_final() -> None:
    network = Network(one=[refusing(5, 49160, "under way")], two=[answer])
    outcome = await conversation(network, addresses=(ONE, TWO)).update(RECORDS)
    assert (outcome.result, outcome.tries) == (Result.KEY_PENDING, 1)
    assert "Key Known, Not Trusted (49160) 'under way'" in outcome.reason
    shown = outcome.to_json()
    assert shown["response"]["errors"] == [{"code": 49160, "text": "under way"}]


# What is no answer

STRAYS: dict[str, Callable[[bytes], bytes]] = {
    "QR is not set": lambda request: request,
    "ID": lambda request: answer(request, identity=walk(request).id ^ 1),
    "opcode": lambda request: answer(request[:2] + b"\0\0" + request[4:]),
    "another question": lambda request: answer(request[:13] + bytes((request[13] ^ 1,)) + request[14:]),
    "no DNS header": lambda _: b"garbage",
    "ends within": lambda request: answer(request)[:-9],
    "SIG": lambda request: _two_opts(answer(request)),
}


def _two_opts(wire: bytes) -> bytes:
    """Something follows the signature."""
    return wire[:10] + (3).to_bytes(2) + wire[12:] + message.record(b"\0", 65280, 1, 0)


@pytest.mark.parametrize("reason", STRAYS)
async def test_what_is_no_answer_is_passed_over(reason: str) -> None:
    outcome, _ = await update(lambda request: [STRAYS[reason](request), answer(request)])
    assert outcome.result is Result.ACCEPTED
    assert len(outcome.ignored) == 1
    assert reason in outcome.ignored[0]
    outcome, _ = await update(STRAYS[reason], patience=Patience(0.001, 2))
    assert (outcome.result, outcome.tries) == (Result.SILENT, 3)
    assert reason in outcome.reason


async def test_the_zone_section_may_be_left_out() -> None:
    """RFC 2136 section 3.8."""

    def bare(request: bytes) -> bytes:
        wire = request[:2] + b"\xa8\0" + bytes(6) + (1).to_bytes(2) + message.opt_record()
        signature_type = DEFAULT.signature_type
        return sign_response(wire, RECEIVER, NOW, NOW, request=request, signature_type=signature_type)

    assert (await update(bare))[0].result is Result.ACCEPTED


async def test_an_option_that_cannot_be_read_counts_as_missing() -> None:
    broken = message.option(15, b"\0") + message.option(DEFAULT.keystate_option, b"\0\0")
    outcome, _ = await update(lambda request: answer(request, 5, options=broken))
    assert outcome.result is Result.REFUSED
    inquired = await inquire(lambda request: answer(request, options=broken))
    assert (inquired.keystate, inquired.believed) == (None, False)


# KeyState


async def test_what_the_receiver_says_of_the_key_is_believed() -> None:
    inquired = await inquire(telling(4, text="fine"))
    assert inquired.believed
    assert inquired.keystate == KeyStateOption(OWN.key.tag, 4, 0, "fine")
    shown = inquired.to_json()
    assert shown["keystate"] == {
        "key_id": OWN.key.tag, "code": 4, "state": "KEY_TRUSTED", "data": 0, "text": "fine"
    }  # fmt: skip


DOUBTFUL: dict[str, tuple[Act, dict[str, Any], str]] = {
    "unsigned": (telling(4, signer=None), {}, "not signed"),
    "wrongly signed": (telling(4, signer=STRANGER), {}, "does not verify"),
    "unsigned by an insecure receiver": (
        telling(4, signer=None), {"worth": KeyTrust.INSECURE, "keys": ()}, "nobody vouches"),
    "wrongly signed by an insecure receiver": (
        telling(4, signer=STRANGER), {"worth": KeyTrust.INSECURE}, "nobody vouches"),
    "of a receiver of which nothing is known": (
        telling(4), {"worth": KeyTrust.UNKNOWN, "keys": ()}, "does not verify"),
    "about another key": (telling(4, key_id=OWN.key.tag ^ 1), {}, "not"),
    "a state that no receiver may say": (telling(2), {}, "nothing that a receiver may say"),
    "no option": (answer, {}, "says nothing about a key"),
    "an error": (refusing(16), {}, "BADSIG"),
    "silence": (NoAnswer("Connection refused", sent=False), {}, "refused"),  # type: ignore[dict-item]
}  # fmt: skip


@pytest.mark.parametrize("case", DOUBTFUL)
async def test_nothing_is_learnt_from_an_answer_that_is(case: str) -> None:
    act, options, reason = DOUBTFUL[case]
    inquired = await inquire(act, **options)
    assert not inquired.believed
    assert reason in inquired.reason


async def test_an_insecure_receivers_signed_word_is_taken_where_policy_allows() -> None:
    assert (await inquire(telling(4), worth=KeyTrust.INSECURE)).believed
    assert not (await inquire(telling(4), worth=KeyTrust.INSECURE, insecure_key="reject")).believed


async def test_a_state_may_be_any_that_receivers_say() -> None:
    for state in (0, 1, 4, 5, 6, 7, 8, 9, 10):
        assert (await inquire(telling(state))).believed
