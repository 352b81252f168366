"""The start of trust as a child meets it: keys uploaded in all forms, and what anybody else can do with them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from receiver_support import CHILD, NOW, OTHER, ZONE, Answer, Site, ns_of, replace_ns, site
from trust_support import (
    Scripted,
    World,
    accepts,
    becomes,
    bootstrap_of,
    delete_keys,
    key_record,
    new_pair,
    option_of,
    state_of,
    state_told,
    states,
    stored_of,
    upload,
)
from zonecut.plugin import Reading
from zonecut.plugin.bootstrap import Conclusion, Finding
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, Algorithm, EdeCode, Rcode, ReceiverState, RRType
from zonecut.protocol.keys import Key, KeyPair
from zonecut.protocol.keystate import inquire
from zonecut.protocol.sig0 import sign_request
from zonecut.receiver.change.reading_cache import READING_AGE
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.receiver.message.admission import Limits, Source
from zonecut.store import KeyState

A, B = "a.ns.example.", "b.ns.example."
ELSEWHERE = Source("192.0.2.7", 5300, udp=False)
KNOWN_EDE = DEFAULT.ede_key_known_not_trusted
FAILED_EDE = DEFAULT.ede_key_validation_failed
MANUAL_EDE = DEFAULT.ede_manual_bootstrap_required


@pytest.fixture
def method() -> Scripted:
    return Scripted()


@pytest.fixture
async def here(tmp_path: Path, method: Scripted) -> AsyncIterator[Site]:
    """A receiver whose only method finds nothing until it is told to."""
    identity = new_pair(names.from_text("updater."))
    async with site(tmp_path, methods=[("at-apex", method)], lookups=World(), identity=identity) as opened:
        yield opened


def ede(answer: Answer) -> int | None:
    return None if answer.error is None else answer.error.code


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("algorithm", [Algorithm.ED25519, Algorithm.ECDSAP256SHA256])
async def test_a_self_signed_upload_makes_its_key_known(here: Site, replace: bool, algorithm: int) -> None:
    pair = new_pair(algorithm=algorithm)
    assert (await here.ask(upload(here, pair, replace=replace))).rcode == Rcode.NOERROR
    assert await states(here) == {pair.key.rdata: KeyState.KNOWN}
    bootstrap = await bootstrap_of(here, pair.key)
    assert bootstrap is not None
    assert (bootstrap.replaces, bootstrap.source, bootstrap.manual) == (replace, "127.0.0.1 (UDP)", False)


async def test_an_upload_without_edns_is_taken_too(here: Site) -> None:
    pair = new_pair()
    assert (await here.ask(upload(here, pair, edns=False))).rcode == Rcode.NOERROR
    assert await state_of(here, pair.key) is KeyState.KNOWN


async def test_an_ipv6_source_is_its_network(here: Site) -> None:
    pair = new_pair()
    await here.ask(upload(here, pair), Source("2001:db8:1:2:3::4", 1, udp=True))
    bootstrap = await bootstrap_of(here, pair.key)
    assert bootstrap is not None
    assert bootstrap.source == "2001:db8:1:2::/64 (UDP)"


async def test_an_upload_repeated_is_no_error_and_goes_on(here: Site) -> None:
    pair = new_pair()
    for identity in range(3):
        assert (await here.ask(upload(here, pair, identity=identity))).rcode == Rcode.NOERROR
        here.clock.now += 1
    bootstrap = await bootstrap_of(here, pair.key)
    assert bootstrap is not None
    assert bootstrap.started_at == NOW


async def test_an_upload_of_a_trusted_key_is_no_error_and_changes_nothing(here: Site) -> None:
    pair, other = await here.trust(CHILD), new_pair()
    await here.add(other.key, KeyState.TRUSTED)
    for replace in (True, False):
        here.clock.now += 1
        assert (await here.ask(upload(here, pair, replace=replace))).rcode == Rcode.NOERROR
    assert set((await states(here)).values()) == {KeyState.TRUSTED}
    assert await here.store.bootstraps.list() == []


@pytest.mark.parametrize("state", [KeyState.REFUSED, KeyState.REVOKED])
async def test_what_an_operator_rejected_stays_rejected(here: Site, state: KeyState) -> None:
    pair = new_pair()
    await here.add(pair.key, state)
    answer = await here.ask(upload(here, pair))
    assert (answer.rcode, ede(answer)) == (Rcode.REFUSED, EdeCode.PROHIBITED)
    assert await state_of(here, pair.key) is state
    assert await state_told(here, pair) == ReceiverState.REFUSED


async def test_a_key_that_failed_may_be_uploaded_again(here: Site, method: Scripted) -> None:
    pair = new_pair()
    await here.add(pair.key, KeyState.VALIDATION_FAILED)
    assert await state_told(here, pair) == ReceiverState.VALIDATION_FAILED
    assert (await here.ask(upload(here, pair))).rcode == Rcode.NOERROR
    assert await state_told(here, pair) == ReceiverState.BOOTSTRAP_AUTO
    method.finding = accepts(pair.key)
    here.clock.now += TrustSettings().cool_down
    await becomes(here, pair.key, KeyState.TRUSTED)


# what is no upload


def rsa_1024() -> bytes:
    return b"\x03\x01\x00\x01" + b"\xff" * 128


UNUSABLE = [
    Key(CHILD, 512, 3, Algorithm.RSASHA256, rsa_1024()),
    Key(CHILD, 0x8000 | 512, 3, Algorithm.ED25519, bytes(range(32))),
    Key(CHILD, 0xC000, 3, Algorithm.ED25519, bytes(range(32))),
    Key(CHILD, 0x1000, 3, Algorithm.ED25519, bytes(range(32))),
    Key(CHILD, 512, 1, Algorithm.ED25519, bytes(range(32))),
    Key(CHILD, 512, 3, 5, rsa_1024()),
    Key(CHILD, 512, 3, Algorithm.ED25519, bytes(31)),
    Key(CHILD, 512, 3, Algorithm.ED25519, b"\x01" + bytes(31)),
]


@pytest.mark.parametrize("key", UNUSABLE, ids=lambda key: f"{key.flags:#x}-{key.protocol}-{key.algorithm}")
async def test_a_key_with_which_nobody_may_sign_is_refused(here: Site, key: Key) -> None:
    pair = new_pair()
    wire = bytearray(here.signed(delete_keys(), key_record(key), pair=pair))
    at = wire.rindex(pair.key.tag.to_bytes(2) + CHILD)
    wire[at : at + 2] = key.tag.to_bytes(2)  # as if this key had signed
    wire[at - 14] = key.algorithm
    answer = await here.ask(bytes(wire))
    assert (answer.rcode, ede(answer)) == (Rcode.REFUSED, EdeCode.PROHIBITED)
    assert answer.error is not None
    assert f"key tag {key.tag}" in answer.error.text
    assert await states(here) == {}


async def test_a_dnskey_is_not_a_key(here: Site) -> None:
    pair = new_pair()
    dnskey = message.add(CHILD, RRType.DNSKEY, 3600, pair.key.rdata)
    assert (await here.ask(here.signed(dnskey, pair=pair))).rcode == Rcode.BADKEY
    answer = await here.ask(here.signed(key_record(pair.key), dnskey, pair=pair))
    assert (answer.rcode, ede(answer)) == (Rcode.REFUSED, EdeCode.PROHIBITED)
    assert await states(here) == {}


@pytest.mark.parametrize("child", ["undelegated.parent.example.", "below.above.parent.example.", "*.parent.example."])
async def test_who_is_no_child_uploads_nothing(here: Site, child: str) -> None:
    pair = new_pair(names.from_text(child))
    answer = await here.ask(upload(here, pair))
    assert answer.rcode == Rcode.REFUSED
    assert await states(here, pair.key.owner) == {}


async def test_a_key_of_one_child_is_not_uploaded_for_another(here: Site) -> None:
    pair = new_pair(OTHER)
    stolen = Key(CHILD, 512, 3, pair.key.algorithm, pair.key.public_key)
    answer = await here.ask(here.signed(key_record(stolen), pair=pair))
    assert answer.rcode == Rcode.BADKEY
    assert await states(here) == {}


async def test_an_upload_goes_without_anything_else(here: Site) -> None:
    pair, second = new_pair(), new_pair()
    own = key_record(pair.key)
    below = b"\x01x" + CHILD
    cases: list[tuple[Sequence[bytes], Sequence[bytes]]] = [
        ([own, *replace_ns(CHILD, A)], []),
        ([own, message.delete_name(CHILD)], []),
        ([own, key_record(second.key)], []),
        ([delete_keys(), own, key_record(second.key)], []),
        ([own, message.delete_record(CHILD, RRType.KEY, second.key.rdata)], []),
        ([own, message.add(below, RRType.KEY, 1, second.key.rdata)], []),
        ([own], [message.rrset_exists(CHILD, RRType.NS)]),
        ([own], [message.name_in_use(CHILD)]),
    ]
    for updates, prerequisites in cases:
        answer = await here.ask(here.signed(*updates, prerequisites=prerequisites, pair=pair))
        assert answer.rcode == Rcode.REFUSED
        assert answer.error is not None
    assert await states(here) == {}
    assert "defect" not in here.receiver.tally.counts
    assert (await here.served()).ns == (b"\x03ns1" + CHILD,)


async def test_only_the_very_key_that_is_added_may_sign(here: Site) -> None:
    pair, other = new_pair(), new_pair()
    assert (await here.ask(here.signed(delete_keys(), key_record(other.key), pair=pair))).rcode == Rcode.BADKEY
    forged = bytearray(upload(here, pair))
    forged[-1] ^= 1
    assert (await here.ask(bytes(forged))).rcode == Rcode.BADKEY
    late = here.signed(key_record(pair.key), pair=pair, signed_at=NOW - 10_000)
    assert (await here.ask(late)).rcode == Rcode.BADTIME
    assert await states(here) == {}


async def test_a_deletion_needs_trust(here: Site) -> None:
    trusted, stranger, known = await here.trust(CHILD), new_pair(), new_pair()
    await here.ask(upload(here, known))
    deletions = [
        [delete_keys()],
        [message.delete_record(CHILD, RRType.KEY, trusted.key.rdata)],
        [message.delete_name(CHILD)],
    ]
    for updates in deletions:
        assert (await here.ask(here.signed(*updates, pair=stranger))).rcode == Rcode.BADKEY
        answer = await here.ask(here.signed(*updates, pair=known))
        assert (answer.rcode, ede(answer)) == (Rcode.REFUSED, KNOWN_EDE)
    delete_one = message.delete_record(CHILD, RRType.KEY, trusted.key.rdata)
    answer = await here.ask(here.signed(delete_one, key_record(stranger.key), pair=stranger))
    assert (answer.rcode, ede(answer)) == (Rcode.REFUSED, EdeCode.PROHIBITED)
    assert await state_of(here, trusted.key) is KeyState.TRUSTED
    assert here.receiver.tally.counts["defect"] == 0


# what a key on its way is told


async def test_the_holder_of_a_key_hears_how_far_it_is_and_a_stranger_nothing(here: Site, method: Scripted) -> None:
    pair, stranger = new_pair(), new_pair()
    change = replace_ns(CHILD, A)
    assert (await here.ask(here.signed(*change, pair=pair))).rcode == Rcode.BADKEY
    await here.ask(upload(here, pair))
    answer = await here.ask(here.signed(*change, pair=pair))
    assert (answer.rcode, ede(answer)) == (Rcode.REFUSED, KNOWN_EDE)
    forged = bytearray(here.signed(*change, pair=pair))
    forged[-1] ^= 1
    answer = await here.ask(bytes(forged))
    assert (answer.rcode, answer.error) == (Rcode.BADSIG, None)
    answer = await here.ask(here.signed(*change, pair=stranger))
    assert answer.rcode == Rcode.BADKEY
    method.finding = Finding(Conclusion.NOT_APPLICABLE, "has no DS")
    here.clock.now += 10
    await becomes_manual(here, pair)
    answer = await here.ask(here.signed(*change, pair=pair))
    assert (answer.rcode, ede(answer)) == (Rcode.REFUSED, MANUAL_EDE)
    stored = await stored_of(here, pair.key)
    await here.store.bootstraps.end(stored.id, KeyState.VALIDATION_FAILED, "zonecut", "another key is there")
    await here.store.ring.fetch([CHILD])
    answer = await here.ask(here.signed(*change, pair=pair))
    assert (answer.rcode, ede(answer)) == (Rcode.REFUSED, FAILED_EDE)
    assert answer.error is not None
    assert answer.error.text.endswith("could not be validated: another key is there")
    assert (await here.served()).ns == (b"\x03ns1" + CHILD,)


async def test_from_upload_to_the_first_change_without_an_operator(here: Site, method: Scripted) -> None:
    pair = new_pair()
    assert await state_told(here, pair) == ReceiverState.UNKNOWN
    method.finding = accepts(pair.key)
    await here.ask(upload(here, pair))
    stored = await becomes(here, pair.key, KeyState.TRUSTED)
    assert (stored.method, stored.reason) == ("at-apex", "it is there")
    assert await state_told(here, pair) == ReceiverState.TRUSTED
    here.clock.now += 1
    assert (await here.ask(here.signed(*replace_ns(CHILD, A), pair=pair))).rcode == Rcode.NOERROR
    assert await here.served() == ns_of(CHILD, A)


async def test_the_response_to_an_upload_says_that_its_key_is_known(here: Site) -> None:
    pair = new_pair()
    option = message.opt_record(inquire(pair.key.tag).to_option(DEFAULT))
    plain = message.update(1, ZONE, [], [delete_keys(), key_record(pair.key)], [option])
    wire = sign_request(plain, pair, NOW, NOW + 300, signature_type=DEFAULT.signature_type)
    told = option_of((await here.ask(wire, ELSEWHERE)).envelope.wire)
    assert told is not None
    assert told.key_state == ReceiverState.BOOTSTRAP_AUTO


# replacement, and attempts at it


async def test_a_key_is_replaced_when_the_new_one_is_trusted_and_not_before(here: Site, method: Scripted) -> None:
    old, new = await here.trust(CHILD), new_pair()
    await here.ask(upload(here, new))
    assert await states(here) == {old.key.rdata: KeyState.TRUSTED, new.key.rdata: KeyState.KNOWN}
    method.finding = accepts(new.key)
    here.clock.now += 10
    await becomes(here, new.key, KeyState.TRUSTED)
    assert await state_of(here, old.key) is KeyState.SUPERSEDED
    here.clock.now += 1
    assert (await here.ask(here.signed(*replace_ns(CHILD, A), pair=old))).rcode == Rcode.BADKEY
    assert await state_told(here, old) == ReceiverState.UNKNOWN
    # its holder takes that for a reason to upload it, and is told what has become of it
    answer = await here.ask(upload(here, old))
    assert (answer.rcode, ede(answer)) == (Rcode.REFUSED, DEFAULT.ede_manual_bootstrap_required)
    assert answer.error is not None
    assert "upload a new key, or ask the operator" in answer.error.text
    assert await state_of(here, old.key) is KeyState.SUPERSEDED
    assert (await here.ask(here.signed(*replace_ns(CHILD, A), pair=new))).rcode == Rcode.NOERROR


async def test_a_forged_replacement_leaves_no_trace_in_what_is_trusted(here: Site, method: Scripted) -> None:
    owner, attacker = await here.trust(CHILD), new_pair()
    method.finding = Finding(Conclusion.NOT_APPLICABLE, "nothing to see")
    await here.ask(upload(here, attacker), ELSEWHERE)
    await becomes_manual(here, attacker)
    assert (await here.ask(here.signed(*replace_ns(CHILD, A), pair=attacker))).rcode == Rcode.REFUSED
    assert (await here.ask(here.signed(*replace_ns(CHILD, B), pair=owner))).rcode == Rcode.NOERROR
    assert await state_of(here, owner.key) is KeyState.TRUSTED


async def becomes_manual(here: Site, pair: KeyPair) -> None:
    async with asyncio.timeout(5):
        while True:
            bootstrap = await bootstrap_of(here, pair.key)
            assert bootstrap is not None
            if bootstrap.manual:
                return
            here.served_zone.bootstrapper.wake()
            await asyncio.sleep(0.005)


# bounds


async def test_pending_keys_are_bounded_and_none_is_displaced(tmp_path: Path) -> None:
    settings = TrustSettings(pending_per_child=2, pending_per_source=3, pending_in_all=4)
    async with site(tmp_path, methods=[("at-apex", Scripted())], trust=settings) as here:
        pairs = [new_pair() for _ in range(3)]
        answers = [await here.ask(upload(here, pair)) for pair in pairs]
        assert [answer.rcode for answer in answers] == [Rcode.NOERROR, Rcode.NOERROR, Rcode.REFUSED]
        assert ede(answers[2]) == EdeCode.OVER_QUOTA
        assert set(await states(here)) == {pair.key.rdata for pair in pairs[:2]}
        others = [new_pair(OTHER) for _ in range(2)]
        answers = [await here.ask(upload(here, pair)) for pair in others]
        assert [answer.rcode for answer in answers] == [Rcode.NOERROR, Rcode.REFUSED]
        assert (await here.ask(upload(here, others[1]), ELSEWHERE)).rcode == Rcode.NOERROR
        assert len(await here.store.bootstraps.list()) == 4


async def test_uploads_from_one_source_are_limited_and_a_trusted_key_s_messages_are_not(tmp_path: Path) -> None:
    limits = Limits(source_burst=1000, child_burst=1000, upload_burst=3, upload_rate=0.001)
    async with site(tmp_path, limits=limits, methods=[("at-apex", Scripted())]) as here:
        owner, pair = await here.trust(CHILD), new_pair()
        for identity, expected in enumerate([Rcode.NOERROR] * 3 + [Rcode.REFUSED] * 2):
            # repeating a key that is known counts as well
            answer = await here.ask(upload(here, pair, identity=identity))
            assert answer.rcode == expected
        assert ede(answer) == EdeCode.RATE_LIMITED
        assert (await here.ask(upload(here, new_pair()))).rcode == Rcode.REFUSED
        assert (await here.ask(upload(here, new_pair()), ELSEWHERE)).rcode == Rcode.NOERROR
        assert (await here.ask(upload(here, owner))).rcode == Rcode.NOERROR
        assert (await here.ask(here.signed(*replace_ns(CHILD, A)))).rcode == Rcode.NOERROR
        # a message that only looks like an upload costs nothing to verify either
        assert (await here.ask(here.signed(*replace_ns(CHILD, A), pair=new_pair()))).rcode == Rcode.BADKEY


async def test_a_pending_key_that_shares_the_tag_of_a_trusted_one_hides_it_not(here: Site) -> None:
    """An attacker may choose a key whose tag collides: both are tried, the trusted one first."""
    owner = await here.trust(CHILD)
    for number in range(6):
        rdata = bytearray(owner.key.rdata)
        rdata[4 + number], rdata[4 + number + 2] = (rdata[4 + number] + 1) % 256, (rdata[4 + number + 2] - 1) % 256
        twin = Key.from_rdata(CHILD, bytes(rdata))
        if twin.tag == owner.key.tag:
            await here.add(twin, KeyState.KNOWN)
    assert len(await here.store.keys.find(CHILD, owner.key.tag)) > 4
    assert (await here.ask(here.signed(*replace_ns(CHILD, A)))).rcode == Rcode.NOERROR
    assert await state_told(here, owner) == ReceiverState.TRUSTED


# defects that must not be


@pytest.mark.parametrize("opcode", [0, 5])
@pytest.mark.parametrize("rtype", [RRType.SOA, RRType.KEY, RRType.ANY])
async def test_a_name_that_points_into_the_header_is_answered(here: Site, opcode: int, rtype: int) -> None:
    for additional in (b"", message.opt_record(inquire(1).to_option(DEFAULT))):
        head = b"\x80\x01" + bytes([opcode << 3, 0, 0, 1, 0, 0, 0, 0, 0, int(bool(additional))])
        wire = head + b"\xc0\x00" + rtype.to_bytes(2) + b"\0\1" + additional
        assert (await here.ask(wire)).rcode in (Rcode.FORMERR, Rcode.REFUSED)


async def test_a_store_that_is_closed_answers_servfail(here: Site) -> None:
    pair = new_pair()
    await here.ask(upload(here, pair))
    await here.store.close()
    assert (await here.ask(upload(here, pair))).rcode == Rcode.SERVFAIL
    assert (await here.ask(here.signed(*replace_ns(CHILD, A), pair=pair))).rcode == Rcode.SERVFAIL


# the end of the delegation, and NS that somebody else changed


def edit(directory: Path, old: str, new: str) -> None:
    include = directory / "parent.example.delegations"
    assert old in include.read_text()
    include.write_text(include.read_text().replace(old, new))


@pytest.mark.parametrize("policy", ["keep", "alarm", "suspend"])
async def test_ns_that_somebody_else_changed_are_a_matter_of_policy(tmp_path: Path, policy: str) -> None:
    settings = TrustSettings.model_validate({"foreign_ns": policy, "suspend_after": 0})
    async with site(tmp_path, trust=settings) as here:
        owner = await here.trust(CHILD)
        assert (await here.ask(here.signed(*replace_ns(CHILD, A)))).rcode == Rcode.NOERROR
        await eventually_settled(here)
        edit(tmp_path, A, B)
        for _ in range(2):
            await here.zone.look_at(CHILD)
        events = [record.entry.event for record in await here.store.audit.list(child=CHILD)]
        assert events.count("delegation.foreign-change") == (policy != "keep")
        expected = KeyState.SUSPENDED if policy == "suspend" else KeyState.TRUSTED
        assert await state_of(here, owner.key) is expected
        if policy == "suspend":
            answer = await here.ask(here.signed(*replace_ns(CHILD, A)))
            assert (answer.rcode, ede(answer)) == (Rcode.REFUSED, MANUAL_EDE)
            here.clock.now += 1
            await here.store.bootstraps.decide((await stored_of(here, owner.key)).id, "ann", "asked them")
    async with site(tmp_path, trust=settings) as here:
        here.clock.now += 2
        # an operator has dealt with it: a restart does not bring it up again
        await here.zone.look_at(CHILD)
        assert await state_of(here, owner.key) is KeyState.TRUSTED
        events = [record.entry.event for record in await here.store.audit.list(child=CHILD)]
        assert events.count("delegation.foreign-change") == (policy != "keep")


@pytest.mark.parametrize("policy", ["keep", "alarm", "suspend"])
async def test_what_else_somebody_changed_is_told_once_and_is_nothing_to_the_keys(tmp_path: Path, policy: str) -> None:
    async with site(tmp_path, trust=TrustSettings.model_validate({"foreign_ns": policy})) as here:
        owner = await here.trust(CHILD)
        assert (await here.ask(here.signed(*replace_ns(CHILD, A)))).rcode == Rcode.NOERROR
        await eventually_settled(here)
        include = tmp_path / "parent.example.delegations"
        include.write_text(f"{include.read_text()}{names.to_text(CHILD)} 60 IN DS 1 13 2 {'00' * 32}\n")
        for _ in range(2):
            await here.zone.look_at(CHILD)
        (record,) = await here.store.audit.list(child=CHILD, event="delegation.foreign-change")
        detail = record.entry.detail
        assert detail["added"] == [f"{names.to_text(CHILD)} DS 1 13 2 {'00' * 32}"]
        assert (detail["removed"], detail["applied"], detail["suspended"]) == ([], detail["found"], False)
        assert await state_of(here, owner.key) is KeyState.TRUSTED


async def test_a_delegation_that_somebody_removed_is_told_as_well(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        assert (await here.ask(here.signed(*replace_ns(CHILD, A)))).rcode == Rcode.NOERROR
        await eventually_settled(here)
        include = tmp_path / "parent.example.delegations"
        include.write_text("".join(line for line in include.read_text().splitlines(keepends=True) if A not in line))
        assert not (await here.zone.look_at(CHILD)).is_delegated
        (record,) = await here.store.audit.list(child=CHILD, event="delegation.foreign-change")
        assert record.entry.detail["removed"] == [f"{names.to_text(CHILD)} NS {A}"]


@pytest.mark.parametrize("believed", [True, False])
async def test_a_change_that_meets_a_foreign_one_first_does_not_go_through_under_a_key_that_it_suspends(
    tmp_path: Path, believed: bool
) -> None:
    async with site(tmp_path, trust=TrustSettings(foreign_ns="suspend", suspend_after=0)) as here:
        owner = await here.trust(CHILD)
        assert (await here.ask(here.signed(*replace_ns(CHILD, A)))).rcode == Rcode.NOERROR
        await eventually_settled(here)
        edit(tmp_path, A, B)
        if not believed:
            here.clock.now += READING_AGE
        answer = await here.ask(here.signed(*replace_ns(CHILD, A, B)))
        assert answer.rcode == Rcode.REFUSED
        assert answer.error is not None
        assert ("is suspended by now" if believed else "were changed by somebody else") in answer.error.text
        assert (await here.served()).ns == (names.from_text(B),)
        # what a message that is refused made us look at has no effect; the next look has
        assert await state_of(here, owner.key) is (KeyState.SUSPENDED if believed else KeyState.TRUSTED)
        await here.served_zone.sweep.once()
        assert await state_of(here, owner.key) is KeyState.SUSPENDED
        accepted = await here.store.changes.list(child=CHILD)
        # believed: judged on what was there before, and recorded
        assert len(accepted) == 1 + believed


async def test_our_own_changes_are_never_taken_for_somebody_else_s(tmp_path: Path) -> None:
    async with site(tmp_path, trust=TrustSettings(foreign_ns="suspend")) as here:
        owner = await here.trust(CHILD)
        for number in range(20):
            here.clock.now += 1
            server = (A, B)[number % 2]
            wire = here.signed(*replace_ns(CHILD, server))
            assert (await here.ask(wire)).rcode == Rcode.NOERROR
            await here.zone.look_at(CHILD)
        assert await state_of(here, owner.key) is KeyState.TRUSTED


async def test_a_change_that_is_written_while_its_delegation_is_read_is_nobody_s_edit(tmp_path: Path) -> None:
    """A reading that takes several requests may show half of it, and be told when all of it is on record."""
    async with site(tmp_path, trust=TrustSettings(foreign_ns="suspend")) as here:
        owner = await here.trust(CHILD)
        assert (await here.ask(here.signed(*replace_ns(CHILD, A)))).rcode == Rcode.NOERROR
        await eventually_settled(here)
        backend = here.zone._backend
        really_read = backend.read
        times = 0

        async def slow_read(child: bytes) -> Reading:
            nonlocal times
            times += 1
            reading = await really_read(child)
            if times == 1:
                here.clock.now += 1
                assert (await here.ask(here.signed(*replace_ns(CHILD, A, B)))).rcode == Rcode.NOERROR
                await eventually_settled(here)
            return reading

        backend.read = slow_read  # type: ignore[method-assign]
        delegation = await here.zone.look_at(CHILD)
        assert delegation.ns == tuple(sorted(map(names.from_text, (A, B))))
        assert await here.store.audit.list(child=CHILD, event="delegation.foreign-change") == []
        assert await state_of(here, owner.key) is KeyState.TRUSTED
        assert times == 2


async def eventually_settled(here: Site) -> None:
    async with asyncio.timeout(5):
        while True:
            if (await here.store.changes.latest(CHILD)).unsettled is None:
                return
            await asyncio.sleep(0.005)
