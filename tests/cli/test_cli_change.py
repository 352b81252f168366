"""`zonecut change` and `zonecut delegation`: the ledger, and what the server holds."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli_support import House, delegation, now_held
from vectors_of import CHILD, VECTORS, ZONE
from zonecut.protocol.delegation import Delegation
from zonecut.store import (
    Asker,
    Attempt,
    ChangeState,
    NewChange,
    ServerState,
    Settlement,
    Watch,
    ZoneConsumer,
    ZoneState,
)

VECTOR = next(vector for vector in VECTORS if vector.name.endswith("ED25519_tcp"))
LESS = delegation(b"\x03ns1\x05other\x04test\0")


@pytest.fixture
def house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> House:
    house = House(tmp_path, capsys)
    house.imported()
    return house


def listed(house: House, *options: object) -> list[dict[str, Any]]:
    changes: list[dict[str, Any]] = house.zonecut("change", "list", "--json", *options).document["changes"]
    return changes


def recorded(house: House, before: Delegation, after: Delegation, state: ChangeState = ChangeState.APPLIED) -> int:
    return house.change(VECTOR, before, after, state)


def test_changes_are_listed_newest_first(house: House) -> None:
    assert house.zonecut("change", "list", "--json").document["changes"] == []
    first = recorded(house, LESS, now_held())
    second = recorded(house, now_held(), LESS, ChangeState.FAILED)
    assert [change["id"] for change in listed(house)] == [second, first]
    failed = listed(house, "--state", "failed", "--child", "child.sig0.test.")
    assert [change["id"] for change in failed] == [second]
    assert listed(house, "--child", "second.sig0.test.") == []
    assert len(listed(house, "--limit", 1)) == 1
    assert "the server said no" in house.zonecut("change", "list").out


def test_what_is_in_the_tables_is_told_from_what_is_in_the_zone(house: House) -> None:
    """Where others make the zone, and say how far they are; where nobody does, all is as it was."""
    first, second = (recorded(house, *each, ChangeState.ACCEPTED) for each in ((LESS, now_held()), (now_held(), LESS)))

    async def settle(*consumers: ZoneConsumer) -> None:
        async with house.store() as store:
            await store.consumers.record(ZONE, consumers)
            if not consumers:
                ends = [Settlement(n, ChangeState.APPLIED, None, 1, None, at) for n, at in ((first, 17), (second, 19))]
                await store.changes.settle_many(ends)

    asyncio.run(settle())
    assert [(c["reached"], c["history_number"]) for c in listed(house)] == [(None, 19), (None, 17)]
    assert "in the tables" not in house.zonecut("change", "list").out
    east, west = ZoneConsumer(ZONE, "east", 18, 19), ZoneConsumer(ZONE, "west", 17, 19, alarm="it stands still")
    asyncio.run(settle(east, west))
    document = house.zonecut("change", "list", "--json").document
    assert [(each["reached"], each["in_zone_of"], each["not_in_zone_of"]) for each in document["changes"]] == [
        ("tables", [], ["east", "west"]),
        ("zone", ["east", "west"], []),
    ]
    consumers = [(each["consumer"], each["number"], each["alarm"]) for each in document["zones"][0]["consumers"]]
    assert consumers == [("east", 18, None), ("west", 17, "it stands still")]
    text = house.zonecut("change", "list").out
    assert "applied, in the zone (east at 18, west at 17)" in text
    assert "applied, in the tables at 19 (east at 18, west at 17)" in text
    asyncio.run(settle(replace(east, number=19), west))
    shown = house.zonecut("change", "show", second).out
    assert "applied, in the tables at 19 (west at 17); in the zone of east at 19" in shown
    assert house.zonecut("change", "show", second, "--json").document["not_in_zone_of"] == ["west"]


def test_a_consumer_that_failed_or_is_above_the_history_has_nothing_in_its_zone_for_certain(house: House) -> None:
    number = recorded(house, LESS, now_held(), ChangeState.ACCEPTED)

    async def settle(*consumers: ZoneConsumer) -> None:
        async with house.store() as store:
            await store.consumers.record(ZONE, consumers)
            await store.changes.settle_many([Settlement(number, ChangeState.APPLIED, None, 1, None, 17)])

    failed, above = ZoneConsumer(ZONE, "west", 18, 19, failed=True), ZoneConsumer(ZONE, "above", 20, 19)
    asyncio.run(settle(failed, above, ZoneConsumer(ZONE, "east", 18, 19)))
    (change,) = listed(house)
    assert (change["reached"], change["in_zone_of"]) == ("tables", ["east"])
    assert change["not_in_zone_of"] == ["above", "west"]
    text = house.zonecut("change", "list").out
    told = "applied, in the tables at 17 (above at 20, above what is in the tables, west failed at 18)"
    assert told in text


def test_what_waits_is_listed_with_how_long_how_often_and_why(house: House) -> None:
    number = recorded(house, LESS, now_held(), ChangeState.ACCEPTED)
    done = recorded(house, LESS, now_held(), ChangeState.FAILED)

    async def try_in_vain() -> None:
        async with house.store() as store:
            await store.changes.note_attempts([Attempt(number, 3, "connection refused", 12.0)])

    asyncio.run(try_in_vain())
    document = house.zonecut("change", "list", "--json").document
    failed, waiting = document["changes"]
    assert (failed["id"], failed["waiting_seconds"], failed["next_at"]) == (done, None, None)
    assert (waiting["id"], waiting["attempts"], waiting["reason"]) == (number, 3, "connection refused")
    assert 0 <= waiting["waiting_seconds"] < 60
    assert waiting["next_at"] > waiting["accepted_at"]
    (zone,) = document["zones"]
    assert (zone["zone"], zone["waiting"]) == ("sig0.test.", 1)
    assert 0 <= zone["oldest_waiting_seconds"] < 60
    text = house.zonecut("change", "list").out
    assert "connection refused" in text
    assert "WAITS  TRIED  NEXT TRY" in text


def test_what_was_rejected_while_no_daemon_ran_is_listed_as_such(house: House) -> None:
    number = recorded(house, LESS, now_held(), ChangeState.ACCEPTED)

    async def try_in_vain() -> None:
        async with house.store() as store:
            await store.changes.note_attempts([Attempt(number, 3, "connection refused", 12.0)])

    asyncio.run(try_in_vain())
    house.zonecut("change", "reject", number, "--reason", "nobody asked for it")
    assert listed(house)[0]["decision"] == "rejected"
    text = house.zonecut("change", "list").out
    assert ": nobody asked for it; connection refused" in text
    assert "rejected by " in text


@pytest.mark.parametrize(
    ("state", "seen", "shown", "reason"),
    [
        (ServerState.READY, 1, "ready", None),
        (ServerState.AWAY, 1, "away", "connection refused"),
        (ServerState.MISCONFIGURED, 1, "misconfigured", "connection refused"),
        (ServerState.STOPPED, 10_000, "stopped", None),
        (ServerState.AWAY, 10_000, "unknown", "nothing was heard of zonecut serve since "),
    ],
)
def test_the_state_of_each_zone_s_server_is_what_the_daemon_left_in_the_store(
    house: House, state: ServerState, seen: int, shown: str, reason: str | None
) -> None:
    (zone,) = house.zonecut("change", "list", "--json").document["zones"]
    assert (zone["state"], zone["since"], zone["reason"], zone["waiting"]) == ("unknown", None, None, 0)
    told = "connection refused" if state in (ServerState.AWAY, ServerState.MISCONFIGURED) else ""

    async def leave() -> None:
        async with house.store(clock=lambda: time.time() - seen) as store:
            await store.zones.record([ZoneState(ZONE, state, 1_700_000_000.0, told)])

    asyncio.run(leave())
    (zone,) = house.zonecut("change", "list", "--json").document["zones"]
    assert zone["state"] == shown
    assert zone["since"] == (None if shown == "unknown" else "2023-11-14T22:13:20.000Z")
    assert zone["reason"] == reason or (reason and zone["reason"].startswith(reason))
    text = house.zonecut("change", "list").out
    assert "sig0.test." in text
    assert shown in text


def test_a_change_is_shown_with_its_difference_its_signer_and_its_message(house: House) -> None:
    number = recorded(house, LESS, now_held())
    ended = house.zonecut("change", "show", number)
    assert ended.code == 0
    for part in (
        "child.sig0.test. in sig0.test., applied",
        "127.0.0.1#5353",
        "key tag 46020, now trusted",
        "+ ns2.child.sig0.test. A 9.9.9.9",
        ";; ->>HEADER<<- opcode: UPDATE",
    ):
        assert part in ended.out
    document = house.zonecut("change", "show", number, "--json").document
    assert document["difference"]["removed"] == []
    assert document["key"]["tag"] == 46020
    assert bytes.fromhex(document["message"]) == VECTOR.wire


def test_a_change_that_is_not_there_is_exit_code_1(house: House) -> None:
    ended = house.zonecut("change", "show", 7)
    assert (ended.code, ended.out, ended.err) == (1, "", "there is no change number 7\n")


def test_a_delegation_without_a_ledger_entry_is_shown_as_it_is(house: House) -> None:
    ended = house.zonecut("delegation", "show", "child.sig0.test.")
    assert ended.code == 0
    # the TTL that the server has, not that of the policy
    assert "child.sig0.test.\t3600\tIN\tNS\tns2.child.sig0.test." in ended.out
    assert "no applied change" in ended.out
    document = house.zonecut("delegation", "show", "child.sig0.test.", "--json").document
    assert (document["ledger"], document["difference"]) == (None, None)
    assert document["glue"] == {"ns2.child.sig0.test.": ["9.9.9.9"]}
    assert document["ttls"] == {"child.sig0.test.": {"NS": 3600}, "ns2.child.sig0.test.": {"A": 3600}}


def test_a_server_that_holds_what_the_ledger_says_is_no_difference(house: House) -> None:
    recorded(house, LESS, now_held())
    ended = house.zonecut("delegation", "show", "child.sig0.test.", "--json")
    assert ended.code == 0
    assert ended.document["difference"] == {"removed": [], "added": []}


def test_a_server_that_was_changed_by_hand_is_exit_code_3(house: House) -> None:
    recorded(house, now_held(), LESS)
    ended = house.zonecut("delegation", "show", "child.sig0.test.")
    assert (ended.code, ended.err) == (3, "")
    assert "; + child.sig0.test. NS ns2.child.sig0.test." in ended.out
    as_json = house.zonecut("delegation", "show", "child.sig0.test.", "--json")
    assert as_json.code == 3
    assert as_json.document["difference"]["removed"] == []


def test_an_export_with_check_lists_the_children_that_the_policy_would_not_have_so(house: House) -> None:
    good = house.zonecut("delegation", "export", "sig0.test.", "--check")
    assert (good.code, "unfit" in good.out) == (0, False)
    text = house.config.read_text()
    house.config.write_text(text.replace("policy: {", "policy: {min_ns: 5, "))
    bad = house.zonecut("delegation", "export", "sig0.test.", "--check")
    assert bad.code == 3
    assert "; unfit: ns-count: child.sig0.test. NS: 2 name server(s) would remain, at least 5 are required" in bad.out
    assert house.zonecut("delegation", "export", "sig0.test.").code == 0


def test_an_export_with_check_lists_who_has_a_server_in_another_delegation_that_nobody_finds(house: House) -> None:
    with house.zone_file.open("a") as zone_file:
        zone_file.write("fifth.sig0.test. NS ns2.child.sig0.test.\nfifth.sig0.test. NS ns9.child.sig0.test.\n")
    ended = house.zonecut("delegation", "export", "sig0.test.", "--check")
    assert (ended.code, ended.out.count("unfit")) == (3, 1)
    where = "it is a name server, lies in the delegation of child.sig0.test., and has no address there"
    assert f"; unfit: glue-elsewhere: ns9.child.sig0.test.: {where}" in ended.out


def test_what_is_accepted_and_not_yet_applied_is_shown(house: House) -> None:
    recorded(house, LESS, now_held())
    number = recorded(house, now_held(), LESS, ChangeState.ACCEPTED)
    ended = house.zonecut("delegation", "show", "child.sig0.test.")
    assert ended.code == 0
    assert f"; change {number} of child.sig0.test. is accepted and not yet applied, for " in ended.out
    assert "; - ns2.child.sig0.test. A 9.9.9.9" in ended.out
    document = house.zonecut("delegation", "show", "child.sig0.test.", "--json").document
    assert (document["unsettled"]["id"], document["applied_change"]) == (number, number - 1)


def test_a_change_that_is_there_before_it_is_recorded_is_no_difference(house: House) -> None:
    recorded(house, now_held(), LESS)
    recorded(house, LESS, now_held(), ChangeState.ACCEPTED)
    assert house.zonecut("delegation", "show", "child.sig0.test.").code == 0
    assert house.zonecut("delegation", "export", "sig0.test.").code == 0


def test_what_keeps_the_changes_of_a_child_out_is_shown(house: House) -> None:
    async def watched() -> None:
        async with house.store() as store:
            await store.watches.begin(
                Watch(CHILD, ZONE, now_held(), 1.0, now_held().ns, 1.0, ds_gone_since=2.0, suspect_since=3.0)
            )

    assert "somebody else" not in house.zonecut("delegation", "show", "child.sig0.test.").out
    asyncio.run(watched())
    shown = house.zonecut("delegation", "show", "child.sig0.test.").out
    assert "; its DS were taken out by somebody else (seen 1970-01-01T00:00:02.000Z): by trust.foreign_ds" in shown
    assert "; its name servers were changed by somebody else (seen 1970-01-01T00:00:03.000Z)" in shown
    document = house.zonecut("delegation", "show", "child.sig0.test.", "--json").document
    assert document["watch"]["ds_gone_since"] == "1970-01-01T00:00:02.000Z"


def test_a_child_that_is_not_delegated_is_called_so(house: House) -> None:
    assert "not delegated" in house.zonecut("delegation", "show", "nobody.sig0.test.").out


def test_a_name_outside_every_parent_zone_is_wrong_usage(house: House) -> None:
    for command in (["show", "child.other."], ["show", "sig0.test."], ["export", "other."]):
        ended = house.zonecut("delegation", *command)
        assert (ended.code, ended.out) == (2, "")
        assert "(those are: sig0.test.)" in ended.err


def test_all_delegations_are_exported(house: House) -> None:
    text = house.zonecut("delegation", "export", "sig0.test.")
    assert text.code == 0
    assert len(text.out.splitlines()) == 4
    document = house.zonecut("delegation", "export", "sig0.test.", "--json").document
    assert {each["child"] for each in document} == {"child.sig0.test.", "second.sig0.test."}
    target = house.directory / "export.zone"
    target.write_text("old")
    ended = house.zonecut("delegation", "export", "sig0.test.", "--output", target)
    assert (ended.code, ended.out) == (0, "")
    assert target.read_text() == text.out
    hidden = {path.name for path in house.directory.iterdir() if path.name.startswith(".")}
    assert hidden == {".zonecut-lock", ".zonecut.db.mark"}


def test_an_export_says_which_children_differ_and_how(house: House) -> None:
    number = recorded(house, now_held(), LESS)
    ended = house.zonecut("delegation", "export", "sig0.test.")
    assert (ended.code, ended.err) == (3, "1 child is not as the last applied change left them; 2 were exported\n")
    assert [line for line in ended.out.splitlines() if line.startswith(";")] == [
        f"; child.sig0.test. is not as change {number} left it (-: missing, +: not ours):",
        "; + ns2.child.sig0.test. A 9.9.9.9",
        "; + child.sig0.test. NS ns2.child.sig0.test.",
    ]
    as_json = house.zonecut("delegation", "export", "sig0.test.", "--json")
    assert as_json.code == 3
    found = {each["child"]: each for each in as_json.document}
    added = ["ns2.child.sig0.test. A 9.9.9.9", "child.sig0.test. NS ns2.child.sig0.test."]
    assert found["child.sig0.test."]["difference"] == {"removed": [], "added": added}
    # what the ledger knows nothing of is no difference
    assert (found["second.sig0.test."]["difference"], found["second.sig0.test."]["ledger"]) == (None, None)
    shown = house.zonecut("delegation", "show", "child.sig0.test.", "--json").document
    del shown["watch"]
    assert shown == found["child.sig0.test."]
    target = house.directory / "export.zone"
    assert house.zonecut("delegation", "export", "sig0.test.", "--output", target).code == 3
    assert target.read_text() == ended.out


def test_a_delegation_that_somebody_removed_is_in_the_export_as_well(house: House) -> None:
    recorded(house, LESS, now_held())
    house.zone_file.write_text(
        "".join(line for line in house.zone_file.read_text().splitlines(keepends=True) if "child" not in line)
    )
    ended = house.zonecut("delegation", "export", "sig0.test.")
    assert ended.code == 3
    assert "; child.sig0.test. is not delegated\n" in ended.out
    assert "; - child.sig0.test. NS ns1.other.test.\n" in ended.out
    (_, gone) = house.zonecut("delegation", "export", "sig0.test.", "--json").document
    assert (gone["child"], gone["ns"], gone["difference"]["added"]) == ("child.sig0.test.", [], [])


def test_glue_that_no_ns_names_is_exported_and_is_no_difference(house: House) -> None:
    recorded(house, LESS, now_held())
    house.zone_file.write_text(house.zone_file.read_text() + "old.child IN A 9.9.9.7\n")
    ended = house.zonecut("delegation", "export", "sig0.test.")
    assert ended.code == 0
    assert "old.child.sig0.test.\t3600\tIN\tA\t9.9.9.7" in ended.out
    assert house.zonecut("delegation", "show", "child.sig0.test.").code == 0


def test_an_export_that_fails_leaves_the_old_file(house: House) -> None:
    target = house.directory / "export.zone"
    target.write_text("old")
    house.zone_file.unlink()
    ended = house.zonecut("delegation", "export", "sig0.test.", "--output", target)
    assert ended.code in (1, 2)
    assert "No such file" in ended.err
    assert target.read_text() == "old"
    nowhere = house.zonecut("delegation", "export", "sig0.test.", "--output", house.directory / "none" / "x")
    assert nowhere.code == 1
    assert "No such file" in nowhere.err


def held(house: House) -> int:
    """A held change; its number."""

    async def record() -> int:
        async with house.store() as store:
            key = (await store.keys.find(CHILD))[0]
            new = NewChange(ZONE, now_held(), LESS, "127.0.0.1#5353", "child.sig0.test.", VECTOR.wire, key_id=key.id)
            return await store.changes.append(replace(new, held_because="child.sig0.test. DS: the last DS is removed"))

    return asyncio.run(record())


def test_a_held_change_is_listed_and_approved(house: House) -> None:
    number = held(house)
    (listing,) = listed(house, "--state", "held")
    assert (listing["id"], listing["state"], listing["waiting_seconds"]) == (number, "held", None)
    assert "the last DS is removed" in house.zonecut("change", "list").out
    ended = house.zonecut("change", "approve", number, "--reason", "by telephone")
    assert (ended.code, ended.err) == (0, "")
    assert f"change {number}: child.sig0.test. in sig0.test., accepted" in ended.out
    assert "by telephone" in ended.out
    assert "it is judged again on what the server holds now" in ended.out
    (entry,) = house.zonecut("audit", "--event", "change.approved", "--json").document
    assert entry["actor"].startswith("operator:")
    again = house.zonecut("change", "approve", number)
    assert (again.code, again.out) == (1, "")
    assert "waits for the server, not for an operator" in again.err


def test_a_held_change_is_shown_with_all_who_asked_for_it(house: House) -> None:
    number = held(house)

    async def asked() -> None:
        async with house.store() as store:
            for each in (b"1", b"2"):
                source = "127.0.0.1#4000 by hook:portal"
                asker = Asker(number, "hook:portal", source, VECTOR.wire, None, None, each, 1.0, None)
                assert await store.decisions.ask_again(asker)

    assert "also asked by" not in house.zonecut("change", "show", number).out
    asyncio.run(asked())
    shown = house.zonecut("change", "show", number).out
    assert "127.0.0.1#4000 by hook:portal, 127.0.0.1#5353" in shown
    document = house.zonecut("change", "show", number, "--json").document
    assert document["asked_before"] == ["127.0.0.1#4000 by hook:portal", "127.0.0.1#5353"]


def test_an_approved_change_that_cannot_be_judged_is_shown_with_the_way_to_end_it(house: House) -> None:
    number = held(house)
    assert (
        f"zonecut change approve {number}, or zonecut change reject {number}"
        in house.zonecut("change", "show", number).out
    )
    assert house.zonecut("change", "approve", number).code == 0
    assert "reject" not in house.zonecut("change", "list").out

    async def tried() -> None:
        async with house.store() as store:
            await store.changes.note_attempts([Attempt(number, 0, "the server is away", 60)])

    asyncio.run(tried())
    for command in (("list",), ("show", number)):
        shown = " ".join(house.zonecut("change", *command).out.split())
        assert "the server is away" in shown
        assert "its child's next changes wait" in shown
        assert f"zonecut change reject {number}" in shown


def test_a_change_is_rejected_while_it_is_held_or_waits_and_not_later(house: House) -> None:
    number = held(house)
    document = house.zonecut("change", "reject", number, "--reason", "unknown there", "--json").document
    assert (document["state"], document["decision"], document["decided_because"]) == (
        "failed",
        "rejected",
        "unknown there",
    )
    assert document["reason"].endswith(": unknown there")
    ended = house.zonecut("change", "reject", number)
    assert (ended.code, ended.out) == (1, "")
    assert "is failed already" in ended.err
    waits = recorded(house, LESS, now_held(), ChangeState.ACCEPTED)
    ended = house.zonecut("change", "reject", waits)
    assert ended.code == 0
    assert "unless the server has it already" in ended.out
    assert house.zonecut("change", "reject", 99).err == "there is no change number 99\n"


def test_what_zonecut_writes_itself_needs_nobodys_hand(house: House) -> None:
    number = recorded(house, LESS, now_held(), ChangeState.ACCEPTED)
    ended = house.zonecut("change", "done", number)
    assert ended.code == 2
    assert "sig0.test. is written by zonecut itself" in ended.err
    assert house.zonecut("change", "show", number, "--json").document["by_hand"] is None
    missing = house.zonecut("change", "done", number + 1)
    assert (missing.code, missing.err.strip()[-27:]) == (1, f"there is no change number {number + 1}"[-27:])


def test_what_is_to_be_done_by_hand_is_shown_while_it_waits(house: House) -> None:
    backend = house.config.read_text()
    start = backend.index("backend:")
    end = backend.index("\n", start)
    house.config.write_text(f"{backend[:start]}backend: {{adapter: manual}}{backend[end:]}")
    number = recorded(house, LESS, now_held(), ChangeState.ACCEPTED)
    lines = house.zonecut("change", "show", number, "--json").document["by_hand"]
    assert lines.startswith("zone sig0.test.\nprereq yxrrset child.sig0.test. IN NS ns1.other.test.\n")
    assert listed(house)[0]["by_hand"] == lines
    for shown in (house.zonecut("change", "list").out, house.zonecut("change", "show", number).out):
        assert f"by hand: as input of nsupdate, then zonecut change done {number}" in shown
    done = recorded(house, LESS, now_held(), ChangeState.APPLIED)
    assert house.zonecut("change", "show", done, "--json").document["by_hand"] is None
