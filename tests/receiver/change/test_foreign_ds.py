"""DS that somebody else took out of the parent's zone: the child's next change does not bring them back (RFC 10026)."""

import asyncio
import json
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import pytest

from patch_support import rrset
from receiver_support import CHILD, SOURCE, ZONE, ZONE_TEXT, Answer, Site, looked_at, replace_ns, site, strict
from trust_support import DS, stored_of
from zonecut.plugin import Change
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, Algorithm, EdeCode, Rcode, RRType
from zonecut.protocol.keys import KeyPair
from zonecut.receiver.change.reading_cache import READING_AGE
from zonecut.receiver.keys.trust import TrustSettings, upload_of
from zonecut.store import Acceptance, ChangeState, KeyState

LINE = f"child DS {int.from_bytes(DS[:2])} {DS[2]} {DS[3]} {DS[4:].hex()}\n"
OTHER_DS = bytes.fromhex("00020d02") + bytes(32)
A, B = "a.ns.example.", "b.ns.example."


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The child has a DS, which the operator put there."""
    (tmp_path / "parent.zone").write_text(ZONE_TEXT.format(directory=tmp_path) + LINE)
    (tmp_path / "parent.example.delegations").touch()
    return tmp_path


def take_out(directory: Path) -> None:
    """The operator takes the DS out, wherever they stand."""
    for file in (directory / "parent.zone", directory / "parent.example.delegations"):
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if "DS" not in line.split()))


def put_back(directory: Path) -> None:
    include = directory / "parent.example.delegations"
    include.write_text(f"{include.read_text()}{names.to_text(CHILD)} 60 IN {LINE.partition(' ')[2]}")


def with_ds(rdata: bytes = DS) -> list[bytes]:
    return [message.delete_rrset(CHILD, RRType.DS), message.add(CHILD, RRType.DS, 3600, rdata)]


async def change(here: Site, *updates: bytes) -> Answer:
    here.clock.now += 1
    return await here.ask(here.signed(*updates))


async def refused(here: Site, *updates: bytes) -> None:
    answer = await change(here, *updates)
    assert answer.rcode == Rcode.REFUSED
    assert answer.error is not None
    assert answer.error.code == EdeCode.PROHIBITED
    assert "taken out of the parent's zone by somebody else" in answer.error.text


async def events(here: Site) -> list[str]:
    return [record.entry.event for record in await here.store.audit.list(child=CHILD)]


@pytest.mark.parametrize("changed_before", [True, False])
@pytest.mark.parametrize("looked", [True, False])
async def test_ds_that_the_operator_took_out_stay_out(directory: Path, changed_before: bool, looked: bool) -> None:
    """Also right after the child's last change, whatever is believed of its delegation."""
    async with site(directory) as here:
        await here.trust(CHILD)
        await here.zone.look_at(CHILD)
        if changed_before:
            assert (await change(here, *replace_ns(CHILD, A))).rcode == Rcode.NOERROR
        take_out(directory)
        if looked:
            await here.zone.look_at(CHILD)
        await refused(here, *with_ds())
        await refused(here, *with_ds(OTHER_DS))
        assert (await here.served()).ds == ()
        # what a refused message made us read has no effect, the next look has
        await here.served_zone.sweep.once()
        assert "delegation.ds-suspended" in await events(here)


NO_DS = message.delete_rrset(CHILD, RRType.DS)
ALL_BUT_NS = [message.delete_rrset(CHILD, RRType.ANY), *replace_ns(CHILD, A)]


@pytest.mark.parametrize("changed_before", [True, False])
@pytest.mark.parametrize("looked", [True, False])
@pytest.mark.parametrize("deletion", [[NO_DS], ALL_BUT_NS, [message.delete_record(CHILD, RRType.DS, DS)]])
async def test_a_deletion_of_what_the_operator_took_out_already_is_not_the_child_s_own(
    directory: Path, changed_before: bool, looked: bool, deletion: list[bytes]
) -> None:
    """Also where nobody had looked since, and the child's request is what makes us look."""
    async with site(directory) as here:
        await here.trust(CHILD)
        await here.zone.look_at(CHILD)
        if changed_before:
            assert (await change(here, *replace_ns(CHILD, B))).rcode == Rcode.NOERROR
        take_out(directory)
        if looked:
            await here.zone.look_at(CHILD)
        assert (await change(here, *deletion)).rcode == Rcode.NOERROR
        await refused(here, *with_ds())
        await here.served_zone.sweep.once()
        await refused(here, *with_ds(OTHER_DS))
        assert (await here.served()).ds == ()
        assert (await events(here)).count("delegation.ds-suspended") == 1


async def test_nor_does_a_front_end_s_deletion_let_the_child_bring_them_back(directory: Path) -> None:
    async with site(directory) as here:
        await here.trust(CHILD)
        await here.zone.look_at(CHILD)
        take_out(directory)
        deleted = {"name": "child.parent.example.", "type": "DS", "changetype": "DELETE"}
        reply = await here.front_end.patch(ZONE, json.dumps({"rrsets": [deleted]}).encode(), "hook:portal", SOURCE)
        assert reply.status == HTTPStatus.NO_CONTENT
        here.clock.now += 300
        await refused(here, *with_ds())


async def test_only_a_change_that_takes_out_the_last_ds_or_all_name_servers_costs_a_look_at_the_server(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(directory) as here:
        await here.trust(CHILD)
        await here.zone.look_at(CHILD)
        looks = looked_at(here, monkeypatch)
        both = [message.add(CHILD, RRType.DS, 3600, OTHER_DS)]
        one = [message.delete_record(CHILD, RRType.DS, DS)]
        more = [message.add(CHILD, RRType.NS, 3600, names.from_text(A))]
        for updates in (more, both, one, replace_ns(CHILD, A, B)):
            assert (await change(here, *updates)).rcode == Rcode.NOERROR
        assert looks == []
        assert (await change(here, *replace_ns(CHILD, "c.ns.example."))).rcode == Rcode.NOERROR
        assert looks == [[CHILD]]
        assert (await change(here, NO_DS)).rcode == Rcode.NOERROR
        assert looks == [[CHILD], [CHILD]]


async def test_a_change_that_keeps_the_ds_as_it_believes_brings_none_back(directory: Path) -> None:
    """It was judged on what was believed: what is written is judged again."""
    async with site(directory) as here:
        await here.trust(CHILD)
        await here.zone.look_at(CHILD)
        assert (await change(here, *replace_ns(CHILD, A), *with_ds())).rcode == Rcode.NOERROR
        take_out(directory)
        await refused(here, *replace_ns(CHILD, A, B), *with_ds())
        assert (await here.served()).ds == ()
        (failed,) = [each for each in await here.store.changes.list() if each.state is ChangeState.FAILED]
        assert (failed.reason or "").startswith("foreign-ds")


@pytest.mark.parametrize("changed_before", [True, False])
@pytest.mark.parametrize("looked", [True, False])
async def test_ds_that_somebody_else_put_there_and_took_out_again_stay_out(
    tmp_path: Path, changed_before: bool, looked: bool
) -> None:
    """The child never had any through us, nor when trust began."""
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        await here.zone.look_at(CHILD)
        if changed_before:
            assert (await change(here, *replace_ns(CHILD, A))).rcode == Rcode.NOERROR
            await asyncio.sleep(0.1)  # until it is recorded that it was applied
        put_back(tmp_path)
        for _ in range(2):
            await here.zone.look_at(CHILD)
        take_out(tmp_path)
        if looked:
            await here.zone.look_at(CHILD)
        assert (await change(here, NO_DS)).rcode == Rcode.NOERROR
        await refused(here, *with_ds(OTHER_DS))
        assert (await events(here)).count("delegation.ds-suspended") == 1
        put_back(tmp_path)
        here.clock.now += READING_AGE
        assert (await change(here, *with_ds(OTHER_DS))).rcode == Rcode.NOERROR


async def test_a_child_may_delete_what_somebody_else_put_there_and_bring_it_back(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        put_back(tmp_path)
        for _ in range(2):
            await here.zone.look_at(CHILD)
        assert (await change(here, NO_DS)).rcode == Rcode.NOERROR
        for _ in range(2):
            await here.zone.look_at(CHILD)
        assert (await change(here, *with_ds())).rcode == Rcode.NOERROR
        assert (await here.served()).ds == (DS,)


@pytest.mark.parametrize("state", ["began", "changed", "seen", "none", "deleted"])
async def test_a_key_that_a_method_validates_before_anybody_has_looked_brings_them_back_as_little(
    directory: Path, state: str
) -> None:
    """Trust begins anew then, and what the operator did before that is known still."""
    if state in ("seen", "none"):
        take_out(directory)
    async with site(directory) as here:
        await here.trust(CHILD)
        await here.zone.look_at(CHILD)
        if state == "changed":
            assert (await change(here, *replace_ns(CHILD, A))).rcode == Rcode.NOERROR
        if state == "deleted":
            assert (await change(here, NO_DS)).rcode == Rcode.NOERROR
        if state == "seen":
            put_back(directory)
            await here.zone.look_at(CHILD)
        await asyncio.sleep(0.1)  # until it is recorded what was applied
        take_out(directory)
        pair = KeyPair.generate(CHILD, Algorithm.ED25519, DEFAULT)
        upload = upload_of(pair.key, ZONE, "127.0.0.1", TrustSettings(), here.clock.now, replaces=False, manual=False)
        stored = await here.store.bootstraps.begin(upload)
        bootstrap = await here.store.bootstraps.get(stored.id)
        assert bootstrap is not None
        held, validated = await here.served(), frozenset((pair.key.rdata,))
        await here.store.bootstraps.accept(
            Acceptance(bootstrap, "at-ns", "zonecut", "seen", held, validated, alone=False, max_trusted=8)
        )
        await here.store.ring.fetch([CHILD])
        here.pairs[CHILD] = pair
        await here.zone.look_at(CHILD)
        if state in ("none", "deleted"):
            assert (await change(here, *with_ds())).rcode == Rcode.NOERROR
        else:
            await refused(here, *with_ds())


async def test_what_the_operator_takes_out_just_before_the_child_s_deletion_is_written_is_not_its_own(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(directory) as here:
        await here.trust(CHILD)
        await here.zone.look_at(CHILD)

        async def late(changes: Sequence[Change]) -> None:
            monkeypatch.setattr(here.backend, "write", write)
            take_out(directory)
            await write(changes)

        strict(here, monkeypatch)
        write = here.backend.write
        monkeypatch.setattr(here.backend, "write", late)
        assert (await change(here, NO_DS)).rcode == Rcode.NOERROR
        await refused(here, *with_ds())


async def test_ns_go_on_meanwhile_and_do_not_end_it_nor_does_a_restart(directory: Path) -> None:
    async with site(directory) as here:
        pair = await here.trust(CHILD)
        await here.zone.look_at(CHILD)
        take_out(directory)
        assert (await change(here, *replace_ns(CHILD, A))).rcode == Rcode.NOERROR
        await refused(here, *with_ds())
        assert (await change(here, *replace_ns(CHILD, B))).rcode == Rcode.NOERROR
        await refused(here, *with_ds())
        now = here.clock.now
    async with site(directory) as here:
        here.clock.now, here.pairs[CHILD] = now, pair
        await refused(here, *with_ds())
        assert (await events(here)).count("delegation.ds-suspended") == 1


async def test_a_ds_set_that_somebody_puts_there_ends_it(directory: Path) -> None:
    async with site(directory) as here:
        await here.trust(CHILD)
        await here.zone.look_at(CHILD)
        take_out(directory)
        await refused(here, *with_ds())
        put_back(directory)
        here.clock.now += READING_AGE
        assert (await change(here, *with_ds(OTHER_DS))).rcode == Rcode.NOERROR
        assert (await here.served()).ds == (OTHER_DS,)


async def test_a_front_end_may_put_ds_there_and_then_it_is_the_child_s_again(directory: Path) -> None:
    async with site(directory) as here:
        await here.trust(CHILD)
        await here.zone.look_at(CHILD)
        take_out(directory)
        await here.zone.look_at(CHILD)
        await refused(here, *with_ds())
        posted = rrset("child.parent.example.", "DS", f"2 13 2 {'00' * 32}")
        reply = await here.front_end.patch(ZONE, json.dumps({"rrsets": [posted]}).encode(), "hook:portal", SOURCE)
        assert reply.status == HTTPStatus.NO_CONTENT
        for updates in (with_ds(), [message.delete_rrset(CHILD, RRType.DS)], with_ds(OTHER_DS)):
            here.clock.now += 301
            assert (await change(here, *updates)).rcode == Rcode.NOERROR
        assert (await here.served()).ds == (OTHER_DS,)


async def test_an_operator_who_trusts_the_keys_anew_ends_it(directory: Path) -> None:
    async with site(directory) as here:
        pair = await here.trust(CHILD)
        await here.zone.look_at(CHILD)
        take_out(directory)
        await refused(here, *with_ds())
        await here.store.bootstraps.decide((await stored_of(here, pair.key)).id, "ann", "they may")
        await here.zone.look_at(CHILD)
        here.clock.now += 1
        assert (await change(here, *with_ds())).rcode == Rcode.NOERROR
        assert (await here.served()).ds == (DS,)


async def test_what_the_child_itself_deleted_it_may_bring_back(directory: Path) -> None:
    async with site(directory) as here:
        await here.trust(CHILD)
        await here.zone.look_at(CHILD)
        assert (await change(here, message.delete_rrset(CHILD, RRType.DS))).rcode == Rcode.NOERROR
        await here.zone.look_at(CHILD)
        assert (await change(here, *with_ds())).rcode == Rcode.NOERROR
        assert (await here.served()).ds == (DS,)
        assert "delegation.ds-suspended" not in await events(here)


async def test_a_child_that_never_had_a_ds_gets_one(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        await here.zone.look_at(CHILD)
        assert (await change(here, *with_ds())).rcode == Rcode.NOERROR


@pytest.mark.parametrize(("policy", "told"), [("alarm", True), ("keep", False)])
async def test_it_is_a_matter_of_policy(directory: Path, policy: str, told: bool) -> None:
    async with site(directory, trust=TrustSettings.model_validate({"foreign_ds": policy})) as here:
        pair = await here.trust(CHILD)
        await here.zone.look_at(CHILD)
        take_out(directory)
        await here.zone.look_at(CHILD)
        assert ("delegation.foreign-change" in await events(here)) is told
        assert "delegation.ds-suspended" not in await events(here)
        assert (await change(here, *with_ds())).rcode == Rcode.NOERROR
        assert (await stored_of(here, pair.key)).state is KeyState.TRUSTED
