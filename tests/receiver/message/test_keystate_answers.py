"""KeyState as a child sees it: each answer, its signature verified by a check that shares nothing with ours."""

import asyncio
import functools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver_support import CHILD, NOW, SOURCE, Answer, Site, replace_ns, site
from trust_support import (
    RECEIVER,
    Scripted,
    accepts,
    becomes,
    bootstrap_of,
    inquiry,
    new_pair,
    option_of,
    same_tag,
    state_told,
    states,
    stored_of,
    upload,
)
from zonecut.plugin.bootstrap import Conclusion, Finding
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, Algorithm, Rcode, ReceiverState, RRType
from zonecut.protocol.keys import KeyPair
from zonecut.protocol.keystate import KeyStateOption, Revision, inquire
from zonecut.protocol.sig0 import sign_request
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.receiver.message.admission import Source
from zonecut.receiver.message.responder import ResponseSettings
from zonecut.store import KeyState

OURS = new_pair(RECEIVER)
TCP = Source("127.0.0.1", 5300, udp=False)
FAR = Finding(Conclusion.CONTRADICTED, "another key is there")


@functools.cache
def large() -> KeyPair:
    return KeyPair.generate(RECEIVER, Algorithm.RSASHA512, DEFAULT, rsa_bits=4096)


def verifies(response: bytes, request: bytes, public_key: bytes = OURS.key.public_key) -> bool:
    """RFC 2931 section 3.1, on octets: SIG RDATA without the signature, the request, the response without the SIG."""
    start = response.rindex(b"\0" + b"\0\x18" + b"\0\xff" + bytes(4))
    rdata = response[start + 11 :]
    assert int.from_bytes(response[start + 9 : start + 11]) == len(rdata)
    signed, signature = rdata[: 18 + len(RECEIVER)], rdata[18 + len(RECEIVER) :]
    inception, expiration = int.from_bytes(signed[12:16]), int.from_bytes(signed[8:12])
    assert signed[:2] == b"\0\0"
    assert signed[18:] == RECEIVER
    assert inception <= NOW <= expiration
    count = int.from_bytes(response[10:12]) - 1
    unsigned = response[:10] + count.to_bytes(2) + response[12:start]
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed + request + unsigned)
    except InvalidSignature:
        return False
    return True


def is_signed(response: bytes) -> bool:
    return b"\0\0\x18\0\xff\0\0\0\0" in response


@pytest.fixture
def method() -> Scripted:
    return Scripted()


@pytest.fixture
async def here(tmp_path: Path, method: Scripted) -> AsyncIterator[Site]:
    async with site(tmp_path, methods=[("at-apex", method)], identity=OURS) as opened:
        yield opened


async def told(here: Site, wire: bytes, source: Source = SOURCE) -> KeyStateOption:
    """What an inquiry is told, in a response of the right form."""
    answer = await here.ask(wire, source)
    envelope = answer.envelope
    assert answer.rcode == Rcode.NOERROR
    assert [record.rtype for record in envelope.records] == [RRType.OPT, RRType.SIG]
    assert envelope.flags & 0x8200 == 0x8000
    assert verifies(envelope.wire, wire)
    option = option_of(envelope.wire)
    assert option is not None
    return option


async def waits_for_operator(here: Site, pair: KeyPair) -> None:
    async with asyncio.timeout(5):
        while True:
            bootstrap = await bootstrap_of(here, pair.key)
            if bootstrap is not None and bootstrap.manual:
                return
            here.served_zone.bootstrapper.wake()
            await asyncio.sleep(0.005)


# the ways of a key


async def test_5_9_4_unknown_then_automatic_then_trusted(here: Site, method: Scripted) -> None:
    pair = new_pair()
    ask = inquiry(here, pair, pair.key.tag)
    assert await told(here, ask) == KeyStateOption(pair.key.tag, ReceiverState.UNKNOWN)
    await here.ask(upload(here, pair))
    assert (await told(here, ask)).key_state == ReceiverState.BOOTSTRAP_AUTO
    method.finding = accepts(pair.key)
    here.clock.now += 10
    await becomes(here, pair.key, KeyState.TRUSTED)
    assert await told(here, ask) == KeyStateOption(pair.key.tag, ReceiverState.TRUSTED)


async def test_5_10_4_unknown_then_manual_then_trusted_by_an_operator(tmp_path: Path) -> None:
    async with site(tmp_path, identity=OURS) as here:
        pair = new_pair()
        ask = inquiry(here, pair, pair.key.tag)
        assert (await told(here, ask)).key_state == ReceiverState.UNKNOWN
        await here.ask(upload(here, pair))
        assert (await told(here, ask)).key_state == ReceiverState.BOOTSTRAP_MANUAL
        await here.store.bootstraps.decide((await stored_of(here, pair.key)).id, "ann", "compared")
        # memory is at most a second behind; what it still takes for known is looked up
        assert (await told(here, ask)).key_state == ReceiverState.TRUSTED
        await here.store.ring.fetch([CHILD])
        assert (await told(here, ask)).key_state == ReceiverState.TRUSTED


async def test_5_9_8_unknown_then_automatic_then_failed_with_the_reason(tmp_path: Path) -> None:
    settings = TrustSettings(attempts=1)
    method = Scripted(FAR, hold=asyncio.Event())
    async with site(tmp_path, methods=[("at-apex", method)], manual=False, trust=settings, identity=OURS) as here:
        pair = new_pair()
        ask = inquiry(here, pair, pair.key.tag)
        assert (await told(here, ask)).key_state == ReceiverState.UNKNOWN
        await here.ask(upload(here, pair))
        assert (await told(here, ask)).key_state == ReceiverState.BOOTSTRAP_AUTO
        assert method.hold is not None
        method.hold.set()
        await becomes(here, pair.key, KeyState.VALIDATION_FAILED)
        said = await told(here, ask)
        assert (said.key_state, said.extra_text) == (
            ReceiverState.VALIDATION_FAILED,
            "at-apex: another key is there",
        )


async def test_9_10_when_the_automatic_methods_give_up_and_an_operator_may_decide(here: Site, method: Scripted) -> None:
    pair = new_pair()
    method.finding = Finding(Conclusion.NOT_APPLICABLE, "the child has no DS")
    await here.ask(upload(here, pair))
    await waits_for_operator(here, pair)
    said = await told(here, inquiry(here, pair, pair.key.tag))
    assert (said.key_state, said.extra_text) == (ReceiverState.BOOTSTRAP_MANUAL, "at-apex: the child has no DS")


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (KeyState.TRUSTED, 4),
        (KeyState.SUPERSEDED, 5),
        (KeyState.ENDED, 5),
        (KeyState.SUSPENDED, 10),
        (KeyState.REFUSED, 7),
        (KeyState.REVOKED, 7),
        (KeyState.VALIDATION_FAILED, 8),
        (KeyState.KNOWN, 10),
    ],
)
async def test_each_state_has_its_code(here: Site, state: KeyState, code: int) -> None:
    pair = new_pair()
    await here.add(pair.key, state)
    assert (await told(here, inquiry(here, pair, pair.key.tag))).key_state == code
    assert (await told(here, inquiry(here, None, pair.key.tag))).key_state == code


# who asks, and how


async def test_any_is_asked_for_as_well_as_key_and_names_compare_case_insensitively(here: Site) -> None:
    pair = await here.trust(CHILD)
    assert (await told(here, inquiry(here, pair, pair.key.tag, qtype=RRType.ANY))).key_state == 4
    wire = inquiry(here, None, pair.key.tag).replace(b"child", b"cHiLd")
    assert (await told(here, wire)).key_state == 4


async def test_an_inquiry_that_is_unsigned_or_of_an_unknown_signer_is_answered(here: Site) -> None:
    pair = await here.trust(CHILD)
    for asks in (None, new_pair(), new_pair(names.from_text("other.parent.example."))):
        assert (await told(here, inquiry(here, asks, pair.key.tag))).key_state == ReceiverState.TRUSTED
        assert (await told(here, inquiry(here, asks, pair.key.tag ^ 1))).key_state == ReceiverState.UNKNOWN


async def test_an_inquiry_with_a_bad_signature_of_a_known_key_gets_badsig_without_the_option(here: Site) -> None:
    pair = await here.trust(CHILD)
    wire = bytearray(inquiry(here, pair, pair.key.tag))
    wire[-1] ^= 1
    answer = await here.ask(bytes(wire))
    assert (answer.rcode, option_of(answer.envelope.wire)) == (Rcode.BADSIG, None)


async def test_an_inquiry_outside_its_validity_gets_badtime(here: Site) -> None:
    pair = await here.trust(CHILD)
    plain, at = inquiry(here, None, pair.key.tag), NOW - 10_000
    stale = sign_request(plain, pair, at, at + 300, signature_type=DEFAULT.signature_type)
    answer = await here.ask(stale, TCP)
    assert (answer.rcode, option_of(answer.envelope.wire)) == (Rcode.BADTIME, None)
    # one signature that is timely is enough
    both = sign_request(stale, pair, NOW, NOW + 300, signature_type=DEFAULT.signature_type)
    assert (await told(here, both)).key_state == ReceiverState.TRUSTED


async def test_of_keys_with_one_tag_the_one_that_signed_is_meant_else_a_trusted_one(here: Site) -> None:
    await here.add(same_tag(0), KeyState.VALIDATION_FAILED)
    await here.add(same_tag(1), KeyState.TRUSTED)
    await here.add(same_tag(2), KeyState.REFUSED)
    assert (await told(here, inquiry(here, None, same_tag(0).tag))).key_state == ReceiverState.TRUSTED


async def test_an_inquiry_changes_nothing(here: Site) -> None:
    pair, trusted = new_pair(), await here.trust(CHILD)
    before = await here.store.audit.list()
    for asks in (None, pair, trusted):
        for key_id in (pair.key.tag, trusted.key.tag, 0):
            await here.ask(inquiry(here, asks, key_id))
    assert await here.store.audit.list() == before
    assert await states(here) == {trusted.key.rdata: KeyState.TRUSTED}


async def test_a_query_for_a_zone_that_is_not_ours_or_without_the_option_is_refused(here: Site) -> None:
    pair = await here.trust(CHILD)
    elsewhere = message.query(
        7, names.from_text("a.b."), RRType.KEY, additional=[message.opt_record(inquire(1).to_option(DEFAULT))]
    )
    for wire in (elsewhere, message.query(7, CHILD, RRType.KEY, additional=[message.opt_record()])):
        answer = await here.ask(wire, TCP)
        assert (answer.rcode, option_of(answer.envelope.wire)) == (Rcode.REFUSED, None)
    assert await state_told(here, pair) == ReceiverState.TRUSTED


# malformed


@pytest.mark.parametrize("state", [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 127, 128, 255])
async def test_a_code_that_no_child_may_send_is_malformed(here: Site, state: int) -> None:
    pair = await here.trust(CHILD)
    data = KeyStateOption(pair.key.tag, state).to_data()
    said = await told(here, inquiry(here, pair, 0, data=data), TCP)
    assert (said.key_id, said.key_state, said.key_data) == (pair.key.tag, ReceiverState.REQUEST_MALFORMED, 0)


@pytest.mark.parametrize("data", [b"", b"\1", b"\1\2\2"])
async def test_an_option_too_short_to_read_is_malformed(here: Site, data: bytes) -> None:
    said = await told(here, inquiry(here, None, 0, data=data), TCP)
    assert (said.key_id, said.key_state, said.key_data) == (0, ReceiverState.REQUEST_MALFORMED, 0)


async def test_in_revision_02_zero_and_one_ask_for_a_bootstrap(tmp_path: Path) -> None:
    async with site(tmp_path, identity=OURS, revision=Revision.KEYSTATE_02) as here:
        pair = await here.trust(CHILD)
        for state in (0, 1, 2):
            data = KeyStateOption(pair.key.tag, state).to_data()
            assert (await told(here, inquiry(here, pair, 0, data=data))).key_state == ReceiverState.TRUSTED
        data = KeyStateOption(pair.key.tag, 3).to_data()
        assert (await told(here, inquiry(here, pair, 0, data=data), TCP)).key_state == 0


# only in signed responses


@pytest.mark.parametrize("qtype", [RRType.KEY, RRType.ANY])
async def test_a_receiver_that_cannot_sign_leaves_the_option_out(tmp_path: Path, qtype: int) -> None:
    async with site(tmp_path) as here:
        pair = await here.trust(CHILD)
        for asks in (pair, None):
            for source in (SOURCE, TCP):
                answer = await here.ask(inquiry(here, asks, pair.key.tag, qtype=qtype), source)
                assert (answer.rcode, option_of(answer.envelope.wire)) == (Rcode.NOERROR, None)
                assert not is_signed(answer.envelope.wire)


async def test_without_a_budget_left_strangers_get_no_option_and_children_do(tmp_path: Path) -> None:
    async with site(tmp_path, identity=OURS) as here:
        pair = await here.trust(CHILD)
        stranger, child = inquiry(here, None, pair.key.tag), inquiry(here, pair, pair.key.tag)
        for _ in range(1000):
            await here.ask(stranger)
        answer = await here.ask(stranger)
        assert (answer.rcode, option_of(answer.envelope.wire)) == (Rcode.NOERROR, None)
        assert (await told(here, child)).key_state == ReceiverState.TRUSTED


async def test_an_update_s_response_carries_the_option_only_if_the_request_did(here: Site) -> None:
    pair = await here.trust(CHILD)
    answer = await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example.")))
    assert option_of(answer.envelope.wire) is None
    option = message.opt_record(inquire(pair.key.tag).to_option(DEFAULT))
    here.clock.now += 1
    plain = message.update(2, b"\x06parent\x07example\0", [], replace_ns(CHILD, "b.ns.example."), [option])
    wire = sign_request(plain, pair, NOW + 1, NOW + 300, signature_type=DEFAULT.signature_type)
    answer = await here.ask(wire)
    assert option_of(answer.envelope.wire) == KeyStateOption(pair.key.tag, ReceiverState.TRUSTED)
    assert verifies(answer.envelope.wire, wire)


async def test_settings_may_leave_updates_unsigned_and_sign_the_response_alone(tmp_path: Path) -> None:
    responses = ResponseSettings(sign="keystate", form="message-only")
    async with site(tmp_path, identity=OURS, responses=responses) as here:
        pair = await here.trust(CHILD)
        answer = await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example.")))
        assert not is_signed(answer.envelope.wire)
        wire = inquiry(here, pair, pair.key.tag)
        response = (await here.ask(wire)).envelope.wire
        assert verifies(response, b"")
        assert not verifies(response, wire)


async def test_every_kind_of_answer_to_a_signed_request_is_signed_and_covers_it(here: Site) -> None:
    trusted, known, stranger = await here.trust(CHILD), new_pair(), new_pair()
    await here.add(known.key, KeyState.KNOWN)
    change = replace_ns(CHILD, "a.ns.example.")
    forged = bytearray(here.signed(*change))
    forged[-1] ^= 1
    unsigned = message.update(1, b"\x06parent\x07example\0", [], change, [message.opt_record()])
    requests = [
        here.signed(*change),
        here.signed(message.delete_rrset(CHILD, RRType.NS)),
        here.signed(*change, pair=known),
        here.signed(*change, pair=stranger),
        here.signed(*change, pair=stranger, edns=False),
        bytes(forged),
        upload(here, stranger),
        unsigned,
    ]
    rcodes = []
    for wire in requests:
        answer = await here.ask(wire, TCP)
        if wire is unsigned:
            # nobody would verify it, and some clients cannot read it
            assert not answer.envelope.records or answer.envelope.records[-1].rtype == RRType.OPT
        else:
            assert verifies(answer.envelope.wire, wire)
            assert not verifies(answer.envelope.wire, wire[:-1] + bytes([wire[-1] ^ 1]))
        rcodes.append(answer.rcode)
    assert rcodes == [0, 5, 5, Rcode.BADKEY, Rcode.NOTAUTH, Rcode.BADSIG, 0, 5]
    assert trusted.key.rdata in await states(here)


# a store that cannot answer


async def test_a_store_that_cannot_answer_is_a_temporary_failure_and_never_unknown(here: Site) -> None:
    known = new_pair()
    await here.ask(upload(here, known))
    ask = inquiry(here, known, known.key.tag)
    assert (await told(here, ask)).key_state == ReceiverState.BOOTSTRAP_AUTO
    await here.store.close()
    assert (await told(here, ask)).key_state == ReceiverState.TEMPORARY_FAILURE
    await asyncio.sleep(1.1)  # what memory holds is no answer after a second
    for wire in (ask, inquiry(here, None, known.key.tag), inquiry(here, None, known.key.tag ^ 1)):
        assert (await told(here, wire)).key_state == ReceiverState.TEMPORARY_FAILURE


# how long an answer may be


def grew(answer: Answer, wire: bytes) -> int:
    return len(answer.envelope.wire) - len(wire)


async def test_a_stranger_s_datagram_is_answered_with_tc_where_the_signature_is_too_long(tmp_path: Path) -> None:
    async with site(tmp_path, identity=large()) as here:
        pair, known = await here.trust(CHILD), new_pair()
        await here.add(known.key, KeyState.KNOWN)
        strangers = [
            inquiry(here, None, pair.key.tag),
            # anybody can have a key known here, and write with it from somebody else's address
            inquiry(here, known, known.key.tag),
            here.signed(*replace_ns(CHILD, "a.ns.example."), pair=known),
            inquiry(here, new_pair(), pair.key.tag),
            here.signed(*replace_ns(CHILD, "a.ns.example."), pair=new_pair()),
        ]
        for wire in strangers:
            answer = await here.ask(wire)
            assert grew(answer, wire) <= 128
            assert answer.envelope.flags & 0x0200
            assert answer.envelope.opt is None
            answer = await here.ask(wire, TCP)
            assert not answer.envelope.flags & 0x0200
            assert len(answer.envelope.wire) > 512
        assert option_of((await here.ask(strangers[0], TCP)).envelope.wire) is not None
        # a child's own signature earns it a longer answer, as long as what it announces
        answer = await here.ask(inquiry(here, pair, pair.key.tag))
        assert option_of(answer.envelope.wire) is not None
        without_edns = await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example."), edns=False))
        assert without_edns.envelope.flags & 0x0200
        assert len(without_edns.envelope.wire) <= 512


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(st.none(), st.binary(max_size=12)),
    key_id=st.integers(0, 0xFFFF),
    update=st.booleans(),
    pair=st.sampled_from([None, new_pair(), new_pair(names.from_text("other.parent.example."))]),
)
async def test_no_datagram_of_a_stranger_grows_by_more_than_128_octets(
    tmp_path_factory: pytest.TempPathFactory, data: bytes | None, key_id: int, update: bool, pair: KeyPair | None
) -> None:
    async with site(tmp_path_factory.mktemp("site"), identity=OURS) as here:
        wire = inquiry(here, pair, key_id, data=data)
        if update and pair is not None:
            wire = here.signed(message.delete_name(pair.key.owner), pair=pair)
        answer = await here.ask(wire)
        assert grew(answer, wire) <= 128
