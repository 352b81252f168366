"""The way of a message through the receiver, as a child sees it: the answer, and the zone before and after."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from receiver_support import CHILD, NOW, OTHER, SOURCE, ZONE, Site, ns_of, replace_ns, site
from zonecut.plugin import BackendRejected, BackendUnavailable, Change
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, Algorithm, EdeCode, Rcode, RRType
from zonecut.protocol.keys import KeyPair
from zonecut.protocol.sig0 import sign_request
from zonecut.receiver.message.admission import Limits, Source
from zonecut.receiver.zone_settings import ZoneSettings
from zonecut.store import ChangeState, KeyState, Settlement, Store

A, B, C = "a.ns.example.", "b.ns.example.", "c.ns.example."


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as opened:
        await opened.trust(CHILD)
        yield opened


async def test_a_signed_change_is_served_recorded_and_answered(here: Site) -> None:
    answer = await here.ask(here.signed(*replace_ns(CHILD, A, B)))
    assert (answer.rcode, answer.error) == (Rcode.NOERROR, None)
    assert await here.served() == ns_of(CHILD, A, B)
    (change,) = await here.store.changes.list(child=CHILD)
    assert change.after == ns_of(CHILD, A, B)
    assert change.message == here.signed(*replace_ns(CHILD, A, B))


async def test_the_same_signed_data_changes_the_zone_once(here: Site) -> None:
    first = here.signed(*replace_ns(CHILD, A))
    assert (await here.ask(first)).rcode == Rcode.NOERROR
    here.clock.now += 1
    assert (await here.ask(here.signed(*replace_ns(CHILD, B)))).rcode == Rcode.NOERROR
    assert (await here.ask(first)).rcode == Rcode.NOERROR
    assert await here.served() == ns_of(CHILD, B)
    assert len(await here.store.changes.list()) == 2


async def test_a_repetition_of_what_is_in_work_waits_for_the_first(here: Site) -> None:
    wire = here.signed(*replace_ns(CHILD, A))
    answers = await asyncio.gather(*(here.ask(wire) for _ in range(5)))
    assert {answer.rcode for answer in answers} == {Rcode.NOERROR}
    assert len(await here.store.changes.list()) == 1


async def test_what_was_refused_may_be_sent_again(here: Site) -> None:
    wire = here.signed(message.delete_rrset(CHILD, RRType.DS), prerequisites=[message.rrset_absent(CHILD, RRType.NS)])
    assert (await here.ask(wire)).rcode == Rcode.YXRRSET
    assert (await here.ask(wire)).rcode == Rcode.YXRRSET


async def test_a_message_held_back_is_stale(here: Site) -> None:
    held_back = here.signed(*replace_ns(CHILD, A), signed_at=NOW)
    here.clock.now += 301
    assert (await here.ask(here.signed(*replace_ns(CHILD, B)))).rcode == Rcode.NOERROR
    answer = await here.ask(held_back)
    assert answer.rcode == Rcode.BADTIME
    assert answer.error is not None
    assert answer.error.text.startswith("stale")
    assert await here.served() == ns_of(CHILD, B)


async def test_without_ordering_an_older_message_is_accepted_once(tmp_path: Path) -> None:
    async with site(tmp_path, settings=ZoneSettings(ordering="off")) as here:
        await here.trust(CHILD)
        older = here.signed(*replace_ns(CHILD, A), signed_at=NOW)
        assert (await here.ask(here.signed(*replace_ns(CHILD, B), signed_at=NOW + 5))).rcode == Rcode.NOERROR
        assert (await here.ask(older)).rcode == Rcode.NOERROR
        assert (await here.ask(here.signed(*replace_ns(CHILD, C), signed_at=NOW + 6))).rcode == Rcode.NOERROR
        assert (await here.ask(older)).rcode == Rcode.NOERROR
        assert await here.served() == ns_of(CHILD, C)


async def test_replays_and_staleness_survive_a_restart(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        pair = await here.trust(CHILD)
        first = here.signed(*replace_ns(CHILD, A))
        later = here.signed(*replace_ns(CHILD, B), signed_at=NOW + 5)
        stale = here.signed(*replace_ns(CHILD, C), signed_at=NOW - 296)
        for wire in (first, later):
            assert (await here.ask(wire)).rcode == Rcode.NOERROR
            here.clock.now += 5
    async with site(tmp_path) as here:
        here.pairs[CHILD] = pair
        here.clock.now += 10
        for wire in (first, later):
            assert (await here.ask(wire)).rcode == Rcode.NOERROR
        assert await here.served() == ns_of(CHILD, B)
        assert (await here.ask(stale)).rcode == Rcode.BADTIME


async def test_two_changes_of_one_child_take_turns(here: Site) -> None:
    wires = [here.signed(message.add(CHILD, RRType.NS, 1, names.from_text(server))) for server in (A, B, C)]
    answers = await asyncio.gather(*map(here.ask, wires))
    assert {answer.rcode for answer in answers} == {Rcode.NOERROR}
    assert set((await here.served()).ns) >= set(map(names.from_text, (A, B, C)))


async def test_an_edit_by_hand_is_what_a_change_starts_from(here: Site, tmp_path: Path) -> None:
    assert (await here.ask(here.signed(*replace_ns(CHILD, A, "kept.ns.example.")))).rcode == Rcode.NOERROR
    include = tmp_path / "parent.example.delegations"
    include.write_text(include.read_text().replace(A, B))
    here.clock.now += 1
    answer = await here.ask(here.signed(message.add(CHILD, RRType.NS, 1, names.from_text(C))))
    assert answer.rcode == Rcode.NOERROR
    assert await here.served() == ns_of(CHILD, B, C, "kept.ns.example.")


async def test_a_prerequisite_that_an_edit_by_hand_broke_fails(here: Site, tmp_path: Path) -> None:
    assert (await here.ask(here.signed(*replace_ns(CHILD, A, C)))).rcode == Rcode.NOERROR
    include = tmp_path / "parent.example.delegations"
    include.write_text(include.read_text().replace(A, B))  # one is left: nobody is suspect
    here.clock.now += 1
    holds = [message.rrset_holds(CHILD, RRType.NS, names.from_text(A))]
    answer = await here.ask(here.signed(*replace_ns(CHILD, "d.ns.example."), prerequisites=holds))
    assert answer.rcode == Rcode.NXRRSET
    assert await here.served() == ns_of(CHILD, B, C)


async def test_a_change_to_what_is_there_already_is_accepted_and_changes_nothing(here: Site, tmp_path: Path) -> None:
    assert (await here.ask(here.signed(*replace_ns(CHILD, A)))).rcode == Rcode.NOERROR
    serial = (tmp_path / "parent.zone").read_text()
    here.clock.now += 1
    assert (await here.ask(here.signed(*replace_ns(CHILD, A)))).rcode == Rcode.NOERROR
    assert (tmp_path / "parent.zone").read_text() == serial


async def test_a_child_above_an_occluded_delegation_changes_its_own_and_leaves_that_as_it_is(here: Site) -> None:
    above, below = names.from_text("above.parent.example."), names.from_text("below.above.parent.example.")
    await here.trust(above)
    occluded = await here.served(below)
    assert (await here.ask(here.signed(*replace_ns(above, A), child=above))).rcode == Rcode.NOERROR
    assert await here.served(above) == ns_of(above, A)
    assert await here.served(below) == occluded


@pytest.mark.parametrize("child", ["undelegated.parent.example.", "below.above.parent.example."])
async def test_a_child_without_a_delegation_of_its_own_is_refused(here: Site, child: str) -> None:
    owner = names.from_text(child)
    await here.trust(owner)
    answer = await here.ask(here.signed(*replace_ns(owner, A), child=owner))
    assert answer.rcode == Rcode.REFUSED
    assert answer.error is not None
    assert answer.error.code == EdeCode.PROHIBITED
    assert child in answer.error.text


async def test_the_key_of_one_child_changes_no_other(here: Site) -> None:
    await here.trust(OTHER)
    before = await here.served(OTHER)
    answer = await here.ask(here.signed(*replace_ns(OTHER, A), child=CHILD))
    assert answer.rcode == Rcode.REFUSED
    assert await here.served(OTHER) == before


async def test_unknown_known_and_revoked_keys_are_told_apart_only_by_their_holder(here: Site) -> None:
    unknown, known = (KeyPair.generate(CHILD, Algorithm.ED25519, DEFAULT) for _ in range(2))
    await here.add(known.key, KeyState.KNOWN)
    update = replace_ns(CHILD, A)
    assert (await here.ask(here.signed(*update, pair=unknown))).rcode == Rcode.BADKEY
    assert (await here.ask(here.signed(*update, pair=unknown, edns=False))).rcode == Rcode.NOTAUTH
    answer = await here.ask(here.signed(*update, pair=known))
    assert answer.rcode == Rcode.REFUSED
    assert answer.error is not None
    assert answer.error.code == DEFAULT.ede_manual_bootstrap_required
    forged = bytearray(here.signed(*update, pair=known))
    forged[-1] ^= 1
    assert (await here.ask(bytes(forged))).rcode == Rcode.BADSIG
    (stored,) = await here.store.keys.find(CHILD, here.pairs[CHILD].key.tag)
    await here.store.keys.set_state(stored.id, KeyState.REVOKED, "test", "lost")
    await here.store.ring.fetch([CHILD])
    assert (await here.ask(here.signed(*update))).rcode == Rcode.REFUSED
    assert await here.store.changes.list() == []


@pytest.mark.parametrize("genuine_first", [True, False])
async def test_a_genuine_untrusted_signature_lends_nothing_to_a_forged_trusted_one(
    here: Site, genuine_first: bool
) -> None:
    untrusted = KeyPair.generate(CHILD, Algorithm.ED25519, DEFAULT)
    await here.add(untrusted.key, KeyState.KNOWN)
    plain = message.update(1, ZONE, [], replace_ns(CHILD, A), [message.opt_record()])

    def sign(wire: bytes, pair: KeyPair, forge: bool) -> bytes:
        signed = bytearray(sign_request(wire, pair, NOW, NOW + 300, signature_type=24))
        if forge:
            signed[-1] ^= 1
        return bytes(signed)

    order = [(untrusted, False), (here.pairs[CHILD], True)]
    wire = plain
    for pair, forge in order if genuine_first else reversed(order):
        wire = sign(wire, pair, forge)
    assert (await here.ask(wire)).rcode == Rcode.REFUSED
    assert await here.store.changes.list() == []


async def test_a_source_is_limited_before_and_a_child_after_its_signature(tmp_path: Path) -> None:
    async with site(tmp_path, limits=Limits(source_burst=40, child_burst=2)) as here:
        await here.trust(CHILD)
        elsewhere = Source("2001:db8:1:2::1", 1, udp=True)
        junk = here.signed(*replace_ns(CHILD, A), pair=KeyPair.generate(CHILD, Algorithm.ED25519, DEFAULT))
        for _ in range(35):
            assert (await here.ask(junk)).rcode == Rcode.BADKEY
        for number, expected in enumerate((Rcode.NOERROR, Rcode.NOERROR, Rcode.REFUSED)):
            answer = await here.ask(here.signed(*replace_ns(CHILD, A), identity=number))
            assert answer.rcode == expected
        assert answer.error is not None
        assert (answer.error.code, answer.error.text) == (EdeCode.RATE_LIMITED, "too many changes of this child")
        for _ in range(3):
            answer = await here.ask(junk)
        assert answer.rcode == Rcode.REFUSED
        assert answer.error is not None
        assert answer.error.text == "too many messages from this source"
        assert (await here.ask(junk, elsewhere)).rcode == Rcode.BADKEY
        # those datagrams may have been forged: whoever has the address loses nothing over TCP by them
        assert (await here.ask(junk, Source("127.0.0.1", 5300, udp=False))).rcode == Rcode.BADKEY
        here.clock.now += 1
        assert (await here.ask(junk)).rcode == Rcode.BADKEY


async def test_responses_and_fragments_get_no_answer_and_everything_else_one(here: Site) -> None:
    response = bytearray(here.signed(*replace_ns(CHILD, A)))
    response[2] |= 0x80
    answered: list[bytes] = []
    for wire in (b"", b"\0" * 11, bytes(response)):
        here.receiver.handle(wire, SOURCE, answered.append)
    assert answered == []
    assert (await here.ask(bytes(65535))).rcode == Rcode.FORMERR


@pytest.mark.parametrize(
    ("opcode", "rcode"), [(1, Rcode.NOTIMP), (2, Rcode.NOTIMP), (4, Rcode.NOTIMP), (6, Rcode.NOTIMP)]
)
async def test_other_opcodes_are_not_implemented(here: Site, opcode: int, rcode: Rcode) -> None:
    wire = bytearray(here.signed(*replace_ns(CHILD, A)))
    wire[2] = opcode << 3
    assert (await here.ask(bytes(wire))).rcode == Rcode.NOTIMP


async def test_the_soa_of_the_parent_answers_who_looks_for_the_zone_of_a_child(here: Site) -> None:
    for name in (CHILD, b"\x03ns1" + CHILD, ZONE):
        answer = await here.ask(message.query(7, name, RRType.SOA))
        assert answer.rcode == Rcode.NOERROR
        (soa,) = answer.envelope.records
        assert (answer.envelope.name(soa.start), soa.rtype) == (ZONE, RRType.SOA)
        assert (soa.section == 1) is (name == ZONE)
    assert (await here.ask(message.query(7, CHILD, RRType.NS))).rcode == Rcode.REFUSED
    assert (await here.ask(message.query(7, names.from_text("example."), RRType.SOA))).rcode == Rcode.REFUSED


async def test_an_answer_to_a_stranger_is_hardly_longer_than_the_question(here: Site) -> None:
    long_name = b"\x3f" + b"x" * 63 + b"\x3f" + b"y" * 63
    for wire in (
        message.update(1, long_name + ZONE, [], [], [message.opt_record()]),
        message.update(1, ZONE, [], [], [message.opt_record()]),
        message.query(1, ZONE, RRType.SOA, additional=[message.opt_record()]),
    ):
        answer = await here.ask(wire)
        assert len(answer.envelope.wire) <= len(wire) + 128


async def test_a_verified_refusal_is_audited_and_a_stranger_s_is_not(here: Site) -> None:
    assert (await here.ask(here.signed(message.delete_rrset(CHILD, RRType.NS)))).rcode == Rcode.REFUSED
    await here.ask(message.update(1, ZONE, [], replace_ns(CHILD, A)))
    await here.receiver.close(5)
    refused = [record for record in await here.store.audit.list() if record.entry.event == "change.refused"]
    assert [record.entry.rule for record in refused] == ["ns-count"]
    assert here.receiver.tally.counts["signed"] == 1


async def test_a_change_that_was_accepted_before_a_crash_is_written_after_it(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        wire = here.signed(*replace_ns(CHILD, A))
        assert (await here.ask(wire)).rcode == Rcode.NOERROR
    zone_file, include = tmp_path / "parent.zone", tmp_path / "parent.example.delegations"
    # as it was when the ledger had the change and the zone had not
    include.write_text(include.read_text().replace(A, "old.ns.example."))
    with closing(sqlite3.connect(tmp_path / "zonecut.db")) as database, database:
        database.execute(
            "UPDATE changes SET state = 'accepted', before = ?", (ns_of(CHILD, "old.ns.example.").to_wire(),)
        )
    database.close()
    async with site(tmp_path) as here:
        assert await here.zone.writer.drain(5)
        assert await here.served() == ns_of(CHILD, A)
    async with site(tmp_path) as here:
        (change,) = await here.store.changes.list()
        assert change.state is ChangeState.APPLIED
    assert zone_file.exists()


async def test_a_change_that_failed_is_not_accepted_when_it_is_sent_again_before_that_is_on_disk(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reject(changes: Sequence[Change]) -> None:
        raise BackendRejected.telling("the server will not have it", [change.child for change in changes])

    settle_many, locked = here.store.changes.settle_many, asyncio.Event()

    async def settle(settlements: Sequence[Settlement]) -> None:
        if not locked.is_set():
            await locked.wait()
        await settle_many(settlements)

    write = here.backend.write
    monkeypatch.setattr(here.backend, "write", reject)
    monkeypatch.setattr(here.store.changes, "settle_many", settle)
    wire = here.signed(*replace_ns(CHILD, A))
    answers = [await here.ask(wire) for _ in range(3)]
    assert {answer.rcode for answer in answers} == {Rcode.SERVFAIL}
    assert {answer.error.text for answer in answers if answer.error} == {"the server will not have it"}
    locked.set()
    while (await here.store.changes.list())[0].state is not ChangeState.FAILED:  # noqa: ASYNC110 (in its time)
        await asyncio.sleep(0.01)
    monkeypatch.setattr(here.backend, "write", write)
    assert (await here.ask(wire)).rcode == Rcode.NOERROR
    assert await here.served() == ns_of(CHILD, A)
    assert [change.state for change in await here.store.changes.list()][1:] == [ChangeState.FAILED]


async def test_what_another_process_accepted_is_answered_by_the_ledger(here: Site, tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        there.pairs = here.pairs
        await there.store.ring.fetch([CHILD])
        wire = here.signed(*replace_ns(CHILD, A))
        assert (await here.ask(wire)).rcode == Rcode.NOERROR
        assert (await there.ask(wire)).rcode == Rcode.NOERROR
        assert len(await here.store.changes.list()) == 1


@pytest.mark.parametrize("state", [KeyState.REVOKED, KeyState.REFUSED, KeyState.KNOWN])
async def test_a_change_that_waits_for_the_server_ends_with_the_trust_in_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: KeyState
) -> None:
    async def away(changes: Sequence[Change]) -> None:
        raise BackendUnavailable("it is away")

    monkeypatch.setattr("zonecut.receiver.writer.standing.SETTLED_IN", 0.0)
    async with site(tmp_path, settings=ZoneSettings(answer_within=0.1)) as here:
        pair = await here.trust(CHILD)
        before = await here.served()
        write, verify = here.backend.write, here.backend.verify
        monkeypatch.setattr(here.backend, "write", away)
        monkeypatch.setattr(here.backend, "verify", away)
        assert (await here.ask(here.signed(*replace_ns(CHILD, A)))).rcode == Rcode.NOERROR
        (stored,) = await here.store.keys.find(CHILD)
        await here.store.keys.set_state(stored.id, state, "operator", "stolen")
        await here.store.ring.fetch([CHILD])
        monkeypatch.setattr(here.backend, "write", write)
        monkeypatch.setattr(here.backend, "verify", verify)
        assert await here.zone.writer.drain(5)
        assert await here.served() == before
    async with site(tmp_path) as here:
        (change,) = await here.store.changes.list()
    assert change.state is ChangeState.FAILED
    assert change.reason is not None
    assert change.reason.startswith(f"key-trusted: key {pair.key.tag} of child.parent.example., which signed it, is ")


async def test_a_change_is_not_written_after_a_restart_when_its_key_was_revoked_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(changes: Sequence[Change]) -> None:
        raise BackendUnavailable("it is away")

    async with site(tmp_path, settings=ZoneSettings(answer_within=0.1)) as here:
        await here.trust(CHILD)
        before = await here.served()
        monkeypatch.setattr(here.backend, "write", away)
        assert (await here.ask(here.signed(*replace_ns(CHILD, A)))).rcode == Rcode.NOERROR
        (stored,) = await here.store.keys.find(CHILD)
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        await store.keys.set_state(stored.id, KeyState.REVOKED, "operator", "stolen")
    async with site(tmp_path) as here:
        assert await here.zone.writer.drain(5)
        assert await here.served() == before
