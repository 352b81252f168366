"""The adapter `zonefile` writes delegations into its generated file and leaves the operator's text alone."""

import os
import stat
from pathlib import Path

import pytest

from zonecut.plugin import BackendConflict, BackendMisconfigured, BackendRejected, Change
from zonecut.protocol import names
from zonecut_zonefile.generated import file_name
from zonefile_support import APEX, Parent, change, delegation, listed, served

NOTHING = delegation("a.parent.example.")
ONE = delegation("a.parent.example.", "NS ns1.a.parent.example.", "ns1.a.parent.example. A 192.0.2.10")
TWO = delegation("a.parent.example.", "NS ns.b.example.", "NS ns2.b.example.", "DS 1 13 2 " + "ab" * 32)
OTHER = delegation("b.parent.example.", "NS ns1.b.parent.example.", "ns1.b.parent.example. AAAA 2001:db8::1")
HAND = "a NS ns1.a\nns1.a A 192.0.2.10\n"
OWN = {("parent.example.", "NS", "ns1.parent.example."), ("ns1.parent.example.", "A", "192.0.2.1")}


@pytest.fixture
def parent(tmp_path: Path) -> Parent:
    return Parent(tmp_path).hold(APEX)


async def test_a_new_delegation_goes_into_the_generated_file_and_the_serial_rises(parent: Parent) -> None:
    backend = await parent.opened()
    before = parent.text()
    await backend.write([change(NOTHING, ONE), change(delegation("b.parent.example."), OTHER)])
    assert parent.text() == before.replace("2024010100", "2024010101")
    assert parent.served() == OWN | served(ONE, OTHER)
    lines = parent.include.read_text().splitlines()
    assert lines[3:] == [
        "a.parent.example.\t86400\tIN\tNS\tns1.a.parent.example.",
        "ns1.a.parent.example.\t86400\tIN\tA\t192.0.2.10",
        "b.parent.example.\t86400\tIN\tNS\tns1.b.parent.example.",
        "ns1.b.parent.example.\t86400\tIN\tAAAA\t2001:db8::1",
    ]
    assert await backend.verify([change(NOTHING, ONE), change(OTHER, OTHER)]) == ()
    assert await listed(backend) == await listed(await parent.opened()) == {ONE.child: ONE, OTHER.child: OTHER}


async def test_a_delegation_is_replaced_and_removed(parent: Parent) -> None:
    backend = await parent.opened()
    await backend.write([change(NOTHING, ONE)])
    await backend.write([change(ONE, TWO)])
    assert (await backend.read(ONE.child)).delegation == TWO
    assert parent.served() == OWN | served(TWO)
    await backend.write([change(TWO, NOTHING)])
    assert parent.served() == OWN
    assert parent.serial() == 2024010103
    assert len(parent.include.read_text().splitlines()) == 3
    assert await backend.verify([change(TWO, NOTHING)]) == ()
    assert await backend.verify([change(NOTHING, TWO)]) == (TWO.child,)


async def test_writing_what_is_already_so_changes_nothing(parent: Parent) -> None:
    backend = await parent.opened()
    await backend.write([change(NOTHING, ONE)])
    state = parent.text(), parent.include.read_bytes(), parent.zone_file.stat().st_ino
    await backend.write([change(NOTHING, ONE)])
    await backend.write([change(ONE, ONE)])
    await backend.write([])
    assert (parent.text(), parent.include.read_bytes(), parent.zone_file.stat().st_ino) == state


async def test_a_conflict_names_the_children_and_writes_nothing(parent: Parent) -> None:
    backend = await parent.opened()
    await backend.write([change(NOTHING, ONE)])
    state = parent.text(), parent.include.read_bytes()
    wrong = delegation("a.parent.example.", "NS ns1.a.parent.example.", "ns1.a.parent.example. A 192.0.2.11")
    with pytest.raises(BackendConflict, match=r"a\.parent\.example\.") as error:
        await backend.write([change(delegation("b.parent.example."), OTHER), change(wrong, TWO)])
    assert error.value.children == (ONE.child,)
    assert (parent.text(), parent.include.read_bytes()) == state


async def test_orphan_glue_is_no_conflict_and_stays_unless_the_change_names_it(parent: Parent) -> None:
    parent.hold(APEX + HAND + "old.a A 192.0.2.99\na AAAA 2001:db8::9\n")
    orphans = {("old.a.parent.example.", "A", "192.0.2.99"), ("a.parent.example.", "AAAA", "2001:db8::9")}
    backend = await parent.opened()
    assert (await backend.read(ONE.child)).delegation == ONE
    assert len((await listed(backend))[ONE.child].glue) == 3
    await backend.write([change(ONE, TWO)])
    assert parent.served() == OWN | served(TWO) | orphans
    await backend.write([change((await listed(backend))[ONE.child], TWO)])
    assert parent.served() == OWN | served(TWO)


async def test_siblings_that_name_each_other_s_hosts_keep_them(parent: Parent) -> None:
    """RFC 9471 section 2.3: what no NS of the child names is the glue of the other."""
    parent.hold(APEX + "a NS ns.b\nb NS ns.a\nns.a A 192.0.2.8\nns.b A 192.0.2.9\n")
    addresses = {("ns.a.parent.example.", "A", "192.0.2.8"), ("ns.b.parent.example.", "A", "192.0.2.9")}
    backend = await parent.opened()
    for label, target in (("a", "ns.b"), ("b", "ns.a")):
        before = delegation(f"{label}.parent.example.", f"NS {target}.parent.example.")
        digest = "DS 1 13 2 " + "ab" * 32
        after = delegation(f"{label}.parent.example.", f"NS {target}.parent.example.", digest)
        await backend.write([change(before, after)])
        assert await backend.verify([change(before, after)]) == ()
        assert addresses <= parent.served()
        await parent.opened()
        assert addresses <= parent.served()
    # and from the generated file, where an edit by hand has put it
    block = parent.include.read_text()
    parent.include.write_text(block + "old.a.parent.example. 60 IN A 192.0.2.7\n")
    await backend.write([change(after, before)])
    there = delegation("a.parent.example.", "NS ns.b.parent.example.", digest)
    await backend.write([change(there, delegation("a.parent.example.", "NS ns.b.parent.example."))])
    assert {*addresses, ("old.a.parent.example.", "A", "192.0.2.7")} <= parent.served()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HAND, "; zonecut moved: a NS ns1.a\n; zonecut moved: ns1.a A 192.0.2.10\n"),
        (
            "x TXT y\na NS ns1.a\n TXT hello\n\tMX 1 ns1\nns1.a A 192.0.2.10",
            (
                "x TXT y\n; zonecut moved: a NS ns1.a\na.parent.example. TXT hello\n\tMX 1 ns1\n"
                "; zonecut moved: ns1.a A 192.0.2.10"
            ),
        ),
        (
            "a TXT x\n NS ns1.a\n TXT y\nns1 A 192.0.2.2\nns1.a A 192.0.2.10\n",
            "a TXT x\n; zonecut moved:  NS ns1.a\n TXT y\nns1 A 192.0.2.2\n; zonecut moved: ns1.a A 192.0.2.10\n",
        ),
        (
            "a ( NS ; one )\r\n\r\n ns1.a )\r\n;keep\r\n ( TXT\r\n x )\r\nns1.a A 192.0.2.10\r\n",
            (
                "; zonecut moved: a ( NS ; one )\r\n; zonecut moved: \r\n; zonecut moved:  ns1.a )\r\n;keep\r\n"
                "a.parent.example. ( TXT\r\n x )\r\n; zonecut moved: ns1.a A 192.0.2.10\r\n"
            ),
        ),
        (
            "$ORIGIN A\n@ NS NS1\n  TXT x\n$ORIGIN b\n TXT z\n$ORIGIN parent.example.\nns1.a A 192.0.2.10\n",
            (
                "$ORIGIN A\n; zonecut moved: @ NS NS1\na.parent.example.  TXT x\n$ORIGIN b\n TXT z\n"
                "$ORIGIN parent.example.\n; zonecut moved: ns1.a A 192.0.2.10\n"
            ),
        ),
        (
            'a NS ns1.a ; "\n$INCLUDE leaf\n IN TXT "; x" ; y\nns1.a A 192.0.2.10\n',
            (
                '; zonecut moved: a NS ns1.a ; "\n$INCLUDE leaf\na.parent.example. IN TXT "; x" ; y\n'
                "; zonecut moved: ns1.a A 192.0.2.10\n"
            ),
        ),
    ],
)
async def test_a_hand_written_delegation_moves_and_all_else_keeps_its_bytes_and_meaning(
    parent: Parent, text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (parent.directory / "leaf").write_text("leaf 60 TXT x\n")
    monkeypatch.chdir(parent.directory)  # dnspython's idea of where a relative $INCLUDE begins
    parent.hold(APEX + text)
    backend = await parent.opened()
    everything = parent.served()
    await backend.write([change(ONE, TWO)])
    head = f"{parent.include_line}\n{APEX}".replace("2024010100", "2024010101")
    assert parent.text() == head + expected
    assert parent.served() == (everything - served(ONE)) | served(TWO)
    assert await listed(backend) == await listed(await parent.opened()) == {TWO.child: TWO}


async def test_a_removed_delegation_that_was_hand_written_is_gone(parent: Parent) -> None:
    backend = await parent.hold(APEX + HAND).opened()
    await backend.write([change(ONE, NOTHING)])
    assert parent.served() == OWN
    assert (await (await parent.opened()).read(ONE.child)).delegation == NOTHING


async def test_a_ttl_that_was_taken_from_a_moved_record_is_made_explicit(parent: Parent) -> None:
    soa = "@ 7200 IN SOA ns1 hostmaster 7 3600 900 604800 300\n@ NS ns1\nns1 A 192.0.2.1\n"
    parent.hold(soa + "a 55 NS ns1.a\n TXT x\nb TXT ( y )\nc IN 66 TXT z\nd TXT z\nns1.a A 192.0.2.10\n")
    backend = await parent.opened()
    ttls = {(name.to_text(), rdata.to_text()): ttl for name, ttl, rdata in parent.loaded().iterate_rdatas("TXT")}
    await backend.write([change(ONE, TWO)])
    assert {(n.to_text(), r.to_text()): ttl for n, ttl, r in parent.loaded().iterate_rdatas("TXT")} == ttls
    assert "a.parent.example. 55 TXT x\nb TXT ( y )\nc IN 66 TXT z\nd TXT z\n" in parent.text()


@pytest.mark.parametrize("leaf", [" TXT x\n", "; first\n  TXT x\n"])
async def test_an_included_file_that_inherits_from_a_delegation_is_not_made_to_mean_something_else(
    parent: Parent, leaf: str
) -> None:
    (parent.directory / "leaf").write_text(leaf)
    backend = await parent.hold(APEX + "ns1.a A 192.0.2.10\na NS ns1.a\n$INCLUDE leaf\n").opened()
    state = parent.text(), parent.include.read_bytes()
    with pytest.raises(BackendRejected, match="line 10: the first record of the included file inherits"):
        await backend.write([change(ONE, TWO)])
    assert (parent.text(), parent.include.read_bytes()) == state


async def test_a_delegation_in_another_file_or_from_generate_is_not_changed(parent: Parent) -> None:
    (parent.directory / "more").write_text("\n" + HAND)
    backend = await parent.hold(APEX + "$INCLUDE more\n$GENERATE 1-2 g$ NS ns.x.\n").opened()
    with pytest.raises(BackendRejected, match=r"/more, line 2: a.parent.example. NS .* in a file that is included"):
        await backend.write([change(ONE, TWO)])
    generated = delegation("g1.parent.example.", "NS ns.x.")
    with pytest.raises(BackendRejected, match=r"/parent.zone, line 9: .*from a \$GENERATE"):
        await backend.write([change(generated, delegation("g1.parent.example.", "NS ns.y."))])
    assert "2024010100" in parent.text()


@pytest.mark.parametrize("alias", ["a CNAME x", "ns1.a CNAME x", "A.parent.example. DNAME x"])
async def test_nothing_goes_beside_an_alias(parent: Parent, alias: str) -> None:
    backend = await parent.hold(APEX + alias + "\n").opened()
    with pytest.raises(BackendRejected, match="CNAME or DNAME"):
        await backend.write([change(NOTHING, ONE)])


async def test_what_does_not_belong_below_the_child_is_rejected(parent: Parent) -> None:
    backend = await parent.opened()
    outside = delegation("a.other.example.", "NS ns.x.")
    with pytest.raises(BackendRejected, match="is not below the zone"):
        await backend.write([Change(outside, outside)])
    foreign = delegation("a.parent.example.", "NS ns1.parent.example.", "ns1.parent.example. A 192.0.2.66")
    with pytest.raises(BackendRejected, match="is no glue of"):
        await backend.write([change(NOTHING, foreign)])


@pytest.mark.parametrize(
    ("soa", "risen"),
    [
        ("@ SOA ns1 x 1 2 3 4 5\n", "@ SOA ns1 x 2 2 3 4 5\n"),
        ("@ 1 IN SOA 1 1 1 1 1 1 1\n", "@ 1 IN SOA 1 1 2 1 1 1 1\n"),
        ("@ IN 1 SOA 1 1 99 1 1 1 1\n", "@ IN 1 SOA 1 1 100 1 1 1 1\n"),
        ("@ SOA ns1 x 4294967295 2 3 4 5\n", "@ SOA ns1 x 1 2 3 4 5\n"),
        (
            "PARENT.example.\tSOA\tns1 x (;1\r\n;1 )\r\n(\t009);1\r\n2 3 4 5 )",
            "PARENT.example.\tSOA\tns1 x (;1\r\n;1 )\r\n(\t10);1\r\n2 3 4 5 )",
        ),
        ("$ORIGIN example.\nparent SOA ns1 x ( 1\n2 3 4 5)", "$ORIGIN example.\nparent SOA ns1 x ( 2\n2 3 4 5)"),
        ("@ A 192.0.2.1\n  SOA ns1 x 2024123199 2 3 4 5\n", "@ A 192.0.2.1\n  SOA ns1 x 2024123200 2 3 4 5\n"),
    ],
)
async def test_only_the_digits_of_the_serial_change(parent: Parent, soa: str, risen: str) -> None:
    backend = await parent.hold("$TTL 300\n" + soa).opened()
    await backend.write([change(NOTHING, ONE)])
    assert parent.text() == f"{parent.include_line}\n$TTL 300\n{risen}"
    await backend.write([change(ONE, TWO)])
    assert (await (await parent.opened()).read(TWO.child)).delegation == TWO


async def test_a_serial_that_is_no_number_in_the_text_is_a_misconfiguration(parent: Parent) -> None:
    parent.hold("@ 60 SOA \\# 22 00 00 00000001 00000001 00000001 00000001 00000001\n")
    backend = await parent.opened()
    with pytest.raises(BackendMisconfigured, match="line 2: the serial of the SOA is not written as a number"):
        await backend.write([change(NOTHING, ONE)])


async def test_permissions_and_owner_stay_and_links_are_followed(parent: Parent, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    target = parent.zone_file.rename(real / "zone")
    parent.zone_file.symlink_to(target)
    target.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(target, 12345, 54321)
    owner = target.stat().st_uid, target.stat().st_gid
    backend = await parent.opened()
    parent.include.chmod(0o604)
    await backend.write([change(NOTHING, ONE)])
    assert parent.zone_file.is_symlink()
    assert "2024010101" in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert (target.stat().st_uid, target.stat().st_gid) == owner == (parent.include.stat().st_uid, owner[1])
    assert stat.S_IMODE(parent.include.stat().st_mode) == 0o604
    assert {entry.name for entry in os.scandir(real)} == {"zone"}


def test_a_label_with_a_slash_is_a_file_name_all_the_same() -> None:
    assert file_name(names.from_text("0/25.2.0.192.in-addr.arpa.")) == "0%2F25.2.0.192.in-addr.arpa.delegations"
