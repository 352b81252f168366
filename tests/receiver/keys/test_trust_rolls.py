"""Keys added and deleted under the signature of a trusted one: what that may do, once, and in which order."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver_support import CHILD, NOW, OTHER, Answer, Site, ns_of, replace_ns, site
from trust_support import (
    Scripted,
    accepts,
    bootstrap_of,
    delete_keys,
    key_record,
    new_pair,
    state_of,
    states,
    stored_of,
    upload,
)
from zonecut.protocol import message
from zonecut.protocol.codepoints import DEFAULT, Algorithm, EdeCode, Rcode, RRType
from zonecut.protocol.keys import Key
from zonecut.protocol.sig0 import sign_request
from zonecut.receiver.change.policy import Policy
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.store import ChangeKind, KeyState
from zonecut.store.timestamps import to_text

A, B = "a.ns.example.", "b.ns.example."
TRUSTED, SUPERSEDED = KeyState.TRUSTED, KeyState.SUPERSEDED


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as opened:
        await opened.trust(CHILD)
        yield opened


def delete(key: Key) -> bytes:
    return message.delete_record(key.owner, RRType.KEY, key.rdata)


def refused(answer: Answer, rule_text: str) -> bool:
    assert answer.rcode == Rcode.REFUSED
    assert answer.error is not None
    return rule_text in answer.error.text


async def test_a_key_added_under_a_trusted_signature_works_at_once(here: Site) -> None:
    new = new_pair()
    assert (await here.ask(here.signed(key_record(new.key)))).rcode == Rcode.NOERROR
    assert (await here.ask(here.signed(*replace_ns(CHILD, A), pair=new))).rcode == Rcode.NOERROR
    assert await here.served() == ns_of(CHILD, A)
    assert (await stored_of(here, new.key)).method == "rollover"
    (roll,) = [change for change in await here.store.changes.list() if change.kind is ChangeKind.KEYS]
    assert roll.key_id == (await stored_of(here, here.pairs[CHILD].key)).id


async def test_the_new_key_deletes_the_old_one(here: Site) -> None:
    old, new = here.pairs[CHILD], new_pair()
    await here.ask(here.signed(key_record(new.key)))
    assert (await here.ask(here.signed(delete(old.key), pair=new))).rcode == Rcode.NOERROR
    assert await states(here) == {old.key.rdata: SUPERSEDED, new.key.rdata: TRUSTED}
    here.clock.now += 1
    assert (await here.ask(here.signed(*replace_ns(CHILD, A), pair=old))).rcode == Rcode.BADKEY


async def test_no_upload_brings_back_a_key_that_a_roll_has_deleted(tmp_path: Path) -> None:
    """Who stole it has it looked up while a cache has it still, and would evict the key that took its place."""
    method = Scripted(lambda candidate: accepts(candidate.key))
    async with site(tmp_path, methods=[("at-apex", method)]) as here:
        stolen, new = await here.trust(CHILD), new_pair()
        assert (await here.ask(here.signed(delete_keys(), key_record(new.key)))).rcode == Rcode.NOERROR
        here.clock.now += 60
        assert refused(await here.ask(upload(here, stolen)), "upload a new key")
        await asyncio.sleep(0.05)
        assert method.looks == []
        assert await states(here) == {stolen.key.rdata: SUPERSEDED, new.key.rdata: TRUSTED}
        # a trusted key's signature does
        assert (await here.ask(here.signed(key_record(stolen.key), pair=new))).rcode == Rcode.NOERROR
        assert await states(here) == {stolen.key.rdata: TRUSTED, new.key.rdata: TRUSTED}


async def test_one_message_replaces_all_keys(here: Site) -> None:
    old, new = here.pairs[CHILD], new_pair()
    assert (await here.ask(here.signed(delete_keys(), key_record(new.key)))).rcode == Rcode.NOERROR
    assert await states(here) == {old.key.rdata: SUPERSEDED, new.key.rdata: TRUSTED}


async def test_a_trusted_key_that_uploads_itself_with_another_adds_that_one(here: Site) -> None:
    old, new, third = here.pairs[CHILD], new_pair(), new_pair()
    await here.add(third.key, TRUSTED)
    wire = here.signed(delete_keys(), key_record(old.key), key_record(new.key))
    assert (await here.ask(wire)).rcode == Rcode.NOERROR
    assert await states(here) == {old.key.rdata: TRUSTED, new.key.rdata: TRUSTED, third.key.rdata: SUPERSEDED}


async def test_the_last_trusted_key_is_never_deleted(here: Site) -> None:
    own, pending = here.pairs[CHILD].key, new_pair()
    await here.ask(upload(here, pending))
    for updates in ([delete_keys()], [delete(own)], [key_record(pending.key), delete_keys()]):
        answer = await here.ask(here.signed(*updates))
        assert refused(answer, "no trusted key of child.parent.example. would remain")
        assert answer.error is not None
        assert answer.error.code == EdeCode.PROHIBITED
    assert await states(here) == {own.rdata: TRUSTED, pending.key.rdata: KeyState.KNOWN}


async def test_policy_may_deny_rollover(tmp_path: Path) -> None:
    async with site(tmp_path, policy=Policy(rollover="deny")) as here:
        own, new = await here.trust(CHILD), new_pair()
        assert refused(await here.ask(here.signed(key_record(new.key))), "not rolled over here")
        assert await states(here) == {own.key.rdata: TRUSTED}
        # the way that is left is a bootstrap
        assert (await here.ask(upload(here, new))).rcode == Rcode.NOERROR


async def test_a_key_that_may_not_be_used_is_not_added(here: Site) -> None:
    weak = Key(CHILD, 512, 3, Algorithm.RSASHA256, b"\x03\x01\x00\x01" + b"\xff" * 128)
    assert refused(await here.ask(here.signed(key_record(weak))), "1024 bits")
    assert await state_of(here, weak) is None


@pytest.mark.parametrize("state", [KeyState.REFUSED, KeyState.REVOKED])
async def test_no_roll_brings_back_what_an_operator_rejected(here: Site, state: KeyState) -> None:
    rejected = new_pair()
    await here.add(rejected.key, state)
    assert refused(await here.ask(here.signed(key_record(rejected.key))), state.value)
    assert await state_of(here, rejected.key) is state


async def test_a_child_has_a_bounded_number_of_trusted_keys(tmp_path: Path) -> None:
    async with site(tmp_path, trust=TrustSettings(trusted_per_child=3)) as here:
        await here.trust(CHILD)
        answer = await here.ask(here.signed(*(key_record(new_pair().key) for _ in range(3))))
        assert refused(answer, "4 keys of child.parent.example. would be trusted")
        assert answer.error is not None
        assert answer.error.code == EdeCode.OVER_QUOTA
        assert (await here.ask(here.signed(*(key_record(new_pair().key) for _ in range(2))))).rcode == Rcode.NOERROR


async def test_a_roll_replayed_changes_nothing_and_is_no_error(here: Site, tmp_path: Path) -> None:
    old, new = here.pairs[CHILD], new_pair()
    add = here.signed(key_record(new.key))
    assert (await here.ask(add)).rcode == Rcode.NOERROR
    here.clock.now += 1
    remove = here.signed(delete(new.key))
    assert (await here.ask(remove)).rcode == Rcode.NOERROR
    for wire in (add, remove, add):
        assert (await here.ask(wire)).rcode == Rcode.NOERROR
    expected = {old.key.rdata: TRUSTED, new.key.rdata: SUPERSEDED}
    assert await states(here) == expected


async def test_a_roll_replayed_after_a_restart_changes_nothing(tmp_path: Path) -> None:
    new = new_pair()
    async with site(tmp_path) as here:
        old = await here.trust(CHILD)
        add = here.signed(key_record(new.key))
        remove = here.signed(delete(new.key), signed_at=NOW + 1)
        for wire in (add, remove):
            assert (await here.ask(wire)).rcode == Rcode.NOERROR
    async with site(tmp_path) as here:
        assert (await here.ask(add)).rcode == Rcode.NOERROR
        assert await states(here) == {old.key.rdata: TRUSTED, new.key.rdata: SUPERSEDED}


async def test_a_roll_that_was_held_back_is_stale(here: Site) -> None:
    new = new_pair()
    held_back = here.signed(key_record(new.key), signed_at=NOW)
    here.clock.now += 301
    assert (await here.ask(here.signed(*replace_ns(CHILD, A)))).rcode == Rcode.NOERROR
    assert (await here.ask(held_back)).rcode == Rcode.BADTIME
    assert await state_of(here, new.key) is None
    here.clock.now += 100
    assert (await here.ask(here.signed(key_record(new.key)))).rcode == Rcode.NOERROR
    assert (await here.ask(here.signed(*replace_ns(CHILD, B), signed_at=NOW + 100))).rcode == Rcode.BADTIME


@pytest.mark.parametrize("age", [0, 1, 250])
async def test_a_held_back_copy_of_an_addition_brings_no_deleted_key_back(here: Site, age: int) -> None:
    new = new_pair()
    assert (await here.ask(here.signed(key_record(new.key)))).rcode == Rcode.NOERROR
    copy = here.signed(key_record(new.key), signed_at=NOW + 1)
    here.clock.now += 1 + age
    assert (await here.ask(here.signed(delete(new.key), signed_at=NOW + 1))).rcode == Rcode.NOERROR
    answer = await here.ask(copy)
    assert answer.rcode == Rcode.BADTIME
    assert answer.error is not None
    assert answer.error.code == EdeCode.OTHER
    assert answer.error.text.startswith("stale: signed at 2027-01-15T08:00:01Z, and key ")
    assert f" was deleted at {to_text(NOW + 1 + age).replace('.000Z', 'Z')}: sign it anew; it is " in answer.error.text
    assert await state_of(here, new.key) is SUPERSEDED
    here.clock.now += 1
    assert (await here.ask(here.signed(key_record(new.key)))).rcode == Rcode.NOERROR
    assert await state_of(here, new.key) is TRUSTED


async def test_a_roll_of_a_child_touches_no_other(here: Site) -> None:
    other = await here.trust(OTHER)
    answer = await here.ask(here.signed(delete_keys(OTHER), key_record(new_pair(OTHER).key)))
    assert answer.rcode == Rcode.REFUSED
    assert await states(here, OTHER) == {other.key.rdata: TRUSTED}


async def test_keys_below_the_child_or_mixed_with_other_records_are_refused(here: Site) -> None:
    new = new_pair()
    cases = (
        [message.add(b"\x01x" + CHILD, RRType.KEY, 1, new.key.rdata)],
        [key_record(new.key), *replace_ns(CHILD, A)],
        [key_record(new.key), message.delete_name(CHILD)],
    )
    for updates in cases:
        assert (await here.ask(here.signed(*updates))).rcode == Rcode.REFUSED
    prerequisite = [message.rrset_exists(CHILD, RRType.NS)]
    assert (await here.ask(here.signed(key_record(new.key), prerequisites=prerequisite))).rcode == Rcode.REFUSED
    assert await state_of(here, new.key) is None


async def test_deleting_all_at_the_name_never_deletes_keys(here: Site) -> None:
    await here.ask(here.signed(message.delete_name(CHILD), *replace_ns(CHILD, A)))
    assert await state_of(here, here.pairs[CHILD].key) is TRUSTED


@pytest.mark.parametrize("trusted_first", [True, False])
async def test_a_forged_trusted_signature_beside_a_genuine_self_signature_rolls_nothing(
    here: Site, trusted_first: bool
) -> None:
    owner, attacker = here.pairs[CHILD], new_pair()
    wire = message.update(1, b"\x06parent\x07example\0", [], [delete_keys(), key_record(attacker.key)], [])
    for pair in (owner, attacker) if trusted_first else (attacker, owner):
        wire = sign_request(wire, pair, NOW, NOW + 300, signature_type=DEFAULT.signature_type)
        if pair is owner:
            wire = wire[:-1] + bytes([wire[-1] ^ 1])
    assert (await here.ask(wire)).rcode == Rcode.NOERROR  # an upload of the attacker's key, and no more
    assert await states(here) == {owner.key.rdata: TRUSTED, attacker.key.rdata: KeyState.KNOWN}


@pytest.mark.parametrize("new_first", [True, False])
async def test_a_genuine_trusted_signature_beside_that_of_the_new_key_rolls(here: Site, new_first: bool) -> None:
    owner, new = here.pairs[CHILD], new_pair()
    wire = message.update(1, b"\x06parent\x07example\0", [], [key_record(new.key)], [])
    for pair in (new, owner) if new_first else (owner, new):
        wire = sign_request(wire, pair, NOW, NOW + 300, signature_type=DEFAULT.signature_type)
    assert (await here.ask(wire)).rcode == Rcode.NOERROR
    assert await state_of(here, new.key) is TRUSTED


async def test_a_key_that_has_just_lost_its_trust_rolls_nothing(here: Site) -> None:
    """Memory may still hold it for trusted; the store decides in the transaction itself."""
    owner, other, new = here.pairs[CHILD], new_pair(), new_pair()
    await here.add(other.key, TRUSTED)
    stored = await stored_of(here, owner.key)
    await here.store.keys.set_state(stored.id, KeyState.REVOKED, "ann", "lost")
    answer = await here.ask(here.signed(delete_keys(), key_record(new.key)))
    assert answer.rcode == Rcode.REFUSED
    assert await states(here) == {owner.key.rdata: KeyState.REVOKED, other.key.rdata: TRUSTED}


async def test_re_bootstrap_after_key_loss_replaces_the_lost_key_by_an_operator_s_word(here: Site) -> None:
    lost, new = here.pairs[CHILD], new_pair()
    assert (await here.ask(upload(here, new))).rcode == Rcode.NOERROR
    bootstrap = await bootstrap_of(here, new.key)
    assert bootstrap is not None
    assert bootstrap.manual
    await here.store.bootstraps.decide(bootstrap.key_id, "ann", "compared the fingerprint")
    assert await states(here) == {lost.key.rdata: SUPERSEDED, new.key.rdata: TRUSTED}
    await here.store.ring.fetch([CHILD])
    assert (await here.ask(here.signed(*replace_ns(CHILD, A), pair=new))).rcode == Rcode.NOERROR


async def test_a_roll_ends_the_bootstrap_of_the_key_that_it_adds(tmp_path: Path) -> None:
    async with site(tmp_path, methods=[("at-apex", Scripted())]) as here:
        await here.trust(CHILD)
        new = new_pair()
        await here.ask(upload(here, new))
        assert (await here.ask(here.signed(key_record(new.key)))).rcode == Rcode.NOERROR
        assert await state_of(here, new.key) is TRUSTED
        assert await here.store.bootstraps.list() == []
