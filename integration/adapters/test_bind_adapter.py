"""The adapter `bind` against a real named."""

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import dns.rdataclass
import dns.rdatatype
import pytest

from bind_backend import FULL, TTLS, child, delegation
from lab.daemons.named import Named, StartNamed
from lab.zones import PARENT, ParentZone, Signing
from zonecut.plugin import (
    BackendConflict,
    BackendContext,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
    Reading,
)
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.rrset import RRset
from zonecut_bind import BindOptions
from zonecut_bind.backend import BindBackend

OpenBackend = Callable[..., Awaitable[BindBackend]]
APEX = "$TTL 3600\n@ SOA ns1 hostmaster 1 3600 900 604800 300\n@ NS ns1\nns1 A 127.0.0.1\n"


class EditedNamed(Named):
    """A named with some text of its configuration replaced, by regular expressions."""

    def __init__(self, edits: Mapping[str, str], directory: Path, *zones: ParentZone, **options: Any) -> None:
        self._edits = edits
        super().__init__(directory, *zones, **options)

    def _configuration(self, directory: Path, options: str) -> str:
        text = super()._configuration(directory, options)
        for old, new in self._edits.items():
            text, count = re.subn(old, new, text)
            assert count
        return text


@pytest.fixture
async def open_backend() -> AsyncIterator[OpenBackend]:
    async with AsyncExitStack() as stack:

        async def start(named: Named, zone: str = PARENT, **options: Any) -> BindBackend:
            backend = make_backend(named, zone, **options)
            stack.push_async_callback(backend.close)
            await backend.open()
            return backend

        yield start


def make_backend(named: Named, zone: str = PARENT, **options: Any) -> BindBackend:
    model = BindOptions(**{"server": named.server, "tsig": named.tsig_file, **options})
    return BindBackend(BackendContext(names.from_text(zone), TTLS), model)


async def read(backend: BindBackend, label: str) -> Delegation:
    reading = await backend.read(child(label))
    assert reading == Reading(reading.delegation)
    return reading.delegation


async def transferred(backend: BindBackend) -> dict[bytes, Delegation]:
    return {found.delegation.child: found.delegation async for found in backend.children()}


def serial(named: Named, zone: str = PARENT) -> int:
    return int(named.query(zone, "SOA").answer[0][0].serial)


@pytest.mark.parametrize("signing", Signing)
async def test_what_is_written_is_verified_read_and_seen_in_a_transfer(
    start_named: StartNamed, open_backend: OpenBackend, signing: Signing
) -> None:
    named = start_named(ParentZone(PARENT, delegations=3, signing=signing))
    backend = await open_backend(named)
    before = await read(backend, "new")
    assert before == Delegation(child("new"))
    for after in (FULL, delegation("new", ["ns1", "ns3"], [], {"ns1": ["11.1.1.1"], "ns3": ["2610::3"]}), before):
        change = Change(before, after)
        assert await backend.verify([change]) == (after.child,)
        await backend.write([change])
        assert await backend.verify([change]) == ()
        await asyncio.sleep(0.05)  # with inline signing, what is served is a little late
        assert await read(backend, "new") == after
        assert (await transferred(backend)).get(child("new"), Delegation(child("new"))) == after
        before = after
    if signing is not Signing.NONE:
        named.verify()


async def test_records_get_the_ttls_of_their_types(named: Named, open_backend: OpenBackend) -> None:
    backend = await open_backend(named)
    await backend.write([Change(Delegation(child("new")), FULL)])
    zone = named.axfr()
    for owner, rtype, ttl in (
        ("new", "NS", 7200),
        ("new", "DS", 1800),
        ("ns1.new", "A", 900),
        ("ns1.new", "AAAA", 900),
    ):
        assert zone.find_rdataset(f"{owner}.{PARENT}", rtype).ttl == ttl


async def test_a_manual_change_in_between_is_a_conflict_and_stays(named: Named, open_backend: OpenBackend) -> None:
    backend = await open_backend(named)
    before = await read(backend, "child0")
    named.nsupdate(f"update add ns1.child0.{PARENT} 60 A 11.9.9.9")
    raced = await read(backend, "child0")
    was = serial(named)
    with pytest.raises(BackendConflict):
        await backend.write([Change(before, delegation("child0", ["ns.other.test."]))])
    assert await read(backend, "child0") == raced
    assert serial(named) == was


@pytest.mark.parametrize(
    "manual",
    [
        "update delete child0.{p} NS ns1.child0.{p}",
        "update delete child0.{p} DS",
        "update add ns2.child0.{p} 60 AAAA 2610::99",
        "update delete ns1.child0.{p} A",
        "update delete child0.{p} NS\nupdate delete child0.{p} DS",
    ],
)
async def test_every_part_of_a_delegation_is_a_condition(named: Named, open_backend: OpenBackend, manual: str) -> None:
    backend = await open_backend(named)
    before = await read(backend, "child0")
    named.nsupdate(manual.format(p=PARENT))
    change = Change(before, delegation("child0", ["ns.other.test."]))
    with pytest.raises(BackendConflict):
        await backend.write([change])
    assert await backend.verify([Change(before, before)]) == (child("child0"),)


async def test_one_conflict_stops_a_batch_of_fifty(start_named: StartNamed, open_backend: OpenBackend) -> None:
    named = start_named(ParentZone(PARENT, delegations=50))
    backend = await open_backend(named)
    changes = [
        Change(await read(backend, f"child{i}"), delegation(f"child{i}", ["ns9"], [i], {"ns9": [f"11.2.0.{i}"]}))
        for i in range(50)
    ]
    assert backend.batch(changes) == 50
    named.nsupdate(f"update delete child31.{PARENT} DS")
    was = serial(named)
    with pytest.raises(BackendConflict):
        await backend.write(changes)
    assert serial(named) == was
    good = changes[:31] + changes[32:]
    await backend.write(good)
    assert serial(named) == was + 1
    assert await backend.verify(good) == ()
    assert await backend.verify(changes) == (child("child31"),)


async def test_verifying_does_not_touch_the_serial(named: Named, open_backend: OpenBackend) -> None:
    backend = await open_backend(named)
    was = serial(named)
    before = await read(backend, "child0")
    assert await backend.verify([Change(before, before)]) == ()
    assert await backend.verify([Change(before, FULL)]) == (FULL.child,)
    assert serial(named) == was


async def test_orphan_glue_is_seen_by_a_transfer_and_replaced_by_a_write(
    named: Named, open_backend: OpenBackend
) -> None:
    backend = await open_backend(named)
    before = await read(backend, "child0")
    named.nsupdate(f"update add ns7.child0.{PARENT} 60 A 11.7.7.7\nupdate add ns7.child0.{PARENT} 60 AAAA 2610::7")
    assert await read(backend, "child0") == before
    orphan = delegation("child0", glue={"ns7": ["11.7.7.7", "2610::7"]}).glue
    assert (await transferred(backend))[before.child].glue == tuple(sorted((*before.glue, *orphan)))
    after = delegation("child0", ["ns7", "ns.other.test."], glue={"ns7": ["11.7.7.8"]})
    change = Change(before, after)
    await backend.write([change])
    assert await backend.verify([change]) == ()
    assert (await transferred(backend))[before.child] == after


async def test_glue_left_behind_is_found_by_verify(named: Named, open_backend: OpenBackend) -> None:
    backend = await open_backend(named)
    before = await read(backend, "child0")
    after = delegation("child0", ["ns.other.test."])
    await backend.write([Change(before, after)])
    named.nsupdate(f"update add ns1.child0.{PARENT} 60 A 11.0.0.0")
    assert await read(backend, "child0") == after
    assert await backend.verify([Change(before, after)]) == (child("child0"),)


async def test_a_removed_delegation_leaves_nothing(named: Named, open_backend: OpenBackend) -> None:
    backend = await open_backend(named)
    before = await read(backend, "child1")
    assert before.ds
    assert before.glue
    await backend.write([Change(before, Delegation(child("child1")))])
    assert await read(backend, "child1") == Delegation(child("child1"))
    assert not [name for name in named.axfr().nodes if "child1" in str(name)]


async def test_an_unchanged_delegation_is_not_written(named: Named, open_backend: OpenBackend) -> None:
    backend = await open_backend(named)
    was = serial(named)
    await backend.write([Change(FULL, FULL)])
    assert serial(named) == was


async def test_thirteen_name_servers_with_glue_of_both_families(named: Named, open_backend: OpenBackend) -> None:
    backend = await open_backend(named)
    labels = [f"a-name-server-with-a-long-name-{i}" for i in range(13)]
    after = delegation("new", labels, range(1, 9), {label: ["11.0.0.1", "2610::1"] for label in labels})
    change = Change(Delegation(child("new")), after)
    await backend.write([change])
    assert await backend.verify([change]) == ()
    assert await read(backend, "new") == after
    assert (await transferred(backend))[child("new")] == after


async def test_names_with_escapes_and_capitals(start_named: StartNamed, open_backend: OpenBackend) -> None:
    text = APEX + "Odd\\.One NS NS1.Odd\\.One\nNS1.odd\\.one A 11.0.0.1\n"
    backend = await open_backend(start_named(ParentZone(PARENT, text), options="check-names primary ignore;"))
    odd = delegation("odd\\.one", ["ns1"], glue={"ns1": ["11.0.0.1"]})
    assert await read(backend, "odd\\.one") == odd
    assert await transferred(backend) == {odd.child: odd}
    after = delegation("odd\\.one", ["\\000\\255\\@", "ns1"], [5], {"\\000\\255\\@": ["11.0.0.2"], "ns1": ["11.0.0.1"]})
    await backend.write([Change(odd, after)])
    assert await backend.verify([Change(odd, after)]) == ()
    assert await read(backend, "odd\\.one") == after


async def test_names_that_are_no_delegations(start_named: StartNamed, open_backend: OpenBackend) -> None:
    text = (
        APEX + "www A 11.0.0.1\nalias CNAME www\na.deep A 11.0.0.2\n*.wild A 11.0.0.3\ntxt TXT x\nd DNAME other.test.\n"
    )
    backend = await open_backend(start_named(ParentZone(PARENT, text)))
    for label in ("www", "alias", "deep", "a.deep", "x.wild", "txt", "x.d", "nothing", "nothing.at.all"):
        assert await read(backend, label) == Delegation(child(label))
    assert await transferred(backend) == {}


NESTED = APEX + (
    "top NS ns.top\nns.top A 11.0.0.1\nlow.top NS ns.low.top\nlow.top DS 1 13 2 "
    + "ab" * 32
    + "\nns.low.top A 11.0.0.2\n"
    "orphan.top A 11.0.0.3\na.free NS ns.other.test.\nlast NS ns.other.test.\n"
)


async def test_nested_and_enclosing_delegations(start_named: StartNamed, open_backend: OpenBackend) -> None:
    backend = await open_backend(start_named(ParentZone(PARENT, NESTED)))
    top = delegation("top", ["ns"], glue={"ns": ["11.0.0.1"]})
    low = Delegation.of(
        child("low.top"),
        [
            *delegation("low.top", ["ns"], glue={"ns": ["11.0.0.2"]}).records,
            RR(child("low.top"), RRType.DS, bytes([0, 1, 13, 2]) + b"\xab" * 32),
        ],
    )
    assert await backend.read(child("top")) == Reading(top, None, (child("low.top"),))
    assert await backend.read(child("low.top")) == Reading(low, child("top"), ())
    assert await backend.read(child("x.low.top")) == Reading(Delegation(child("x.low.top")), child("top"), ())
    assert await backend.read(child("free")) == Reading(Delegation(child("free")), None, (child("a.free"),))
    assert await backend.read(child("a.free")) == Reading(delegation("a.free", ["ns.other.test."]))
    found = await transferred(backend)
    assert found.keys() == {child("top"), child("low.top"), child("a.free"), child("last")}
    assert found[child("top")].glue == delegation("top", glue={"ns": ["11.0.0.1"], "orphan": ["11.0.0.3"]}).glue
    assert found[child("low.top")] == low


async def test_a_delegation_nested_later_is_found_by_a_rescan(named: Named, open_backend: OpenBackend) -> None:
    backend = await open_backend(named, rescan=1)
    assert not (await backend.read(child("child0"))).nested
    named.nsupdate(f"update add below.child0.{PARENT} 60 NS ns.other.test.")
    await asyncio.sleep(1.5)
    assert (await backend.read(child("child0"))).nested == (child("below.child0"),)


@pytest.mark.parametrize("same", [True, False])
async def test_a_child_zone_on_the_same_server_does_not_hide_the_parents_data(
    start_named: StartNamed, open_backend: OpenBackend, same: bool
) -> None:
    address = "11.0.0.0" if same else "11.99.99.99"
    served = f"$TTL 60\n@ SOA ns1 h 1 3600 900 604800 300\n@ NS ns1\n@ NS ns2\nns1 A {address}\n"
    served += "ns1 AAAA 2610::\nns2 A 11.0.0.1\n"
    named = start_named(ParentZone(PARENT, delegations=2), ParentZone(f"child0.{PARENT}", served))
    backend = await open_backend(named)
    before = await read(backend, "child0")
    assert before.ds
    assert before.glue == delegation("child0", glue={"ns1": ["11.0.0.0", "2610::"], "ns2": ["11.0.0.1"]}).glue
    after = delegation("child0", ["ns3"], [9], {"ns3": ["11.3.3.3"]})
    await backend.write([Change(before, after)])
    assert await backend.verify([Change(before, after)]) == ()
    assert await read(backend, "child0") == after


async def test_a_zone_between_on_the_same_server_is_not_mistaken_for_the_parent(
    start_named: StartNamed, open_backend: OpenBackend
) -> None:
    middle = APEX + "a NS ns.wrong.test.\n"
    text = APEX + "mid NS ns.other.test.\nuncut A 11.0.0.9\na.uncut NS ns.right.test.\n"
    zones = [ParentZone(PARENT, text), ParentZone(f"mid.{PARENT}", middle), ParentZone(f"uncut.{PARENT}", middle)]
    backend = await open_backend(start_named(*zones))
    assert await backend.read(child("a.mid")) == Reading(Delegation(child("a.mid")), child("mid"), ())
    assert await read(backend, "a.uncut") == delegation("a.uncut", ["ns.right.test."])


async def test_a_broken_child_zone_on_the_same_server_does_not_hide_the_parents_data(
    named: Named, start_named: StartNamed, tmp_path: Path, open_backend: OpenBackend
) -> None:
    edits = {r"controls \{": f'zone "child0.{PARENT}" {{ type primary; file "missing"; }};\ncontrols {{'}
    with EditedNamed(edits, tmp_path / "edited", ParentZone(PARENT, delegations=2)) as broken:
        assert await read(await open_backend(broken), "child0") == await read(await open_backend(named), "child0")


async def test_a_wrong_secret_is_named_as_such(named: Named, tmp_path: Path) -> None:
    path = tmp_path / "wrong.key"
    path.touch(mode=0o600)
    path.write_text('key "update.lab." { algorithm hmac-sha256; secret "d3Jvbmc="; };')
    with pytest.raises(BackendMisconfigured, match=r"BADSIG.*secret.*update.lab"):
        await make_backend(named, tsig=path).open()


async def test_an_unknown_key_is_named_as_such(named: Named, tmp_path: Path) -> None:
    path = tmp_path / "unknown.key"
    shutil.copy(named.tsig_file, path)
    path.write_text(path.read_text().replace("update.lab", "unknown.lab"))
    with pytest.raises(BackendMisconfigured, match=r"BADKEY.*unknown.lab"):
        await make_backend(named, tsig=path).open()


async def test_a_wrong_clock_is_named_as_such(named: Named, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time() + 1000
    monkeypatch.setattr("zonecut.plugin.dns.tsig.time.time", lambda: now)
    with pytest.raises(BackendMisconfigured, match=r"BADTIME.*clock"):
        await make_backend(named).open()


async def test_a_readable_key_file_is_refused(named: Named) -> None:
    named.tsig_file.chmod(0o640)
    with pytest.raises(BackendMisconfigured, match="chmod 600"):
        await make_backend(named).open()


async def test_a_zone_that_is_not_there_is_named(named: Named) -> None:
    with pytest.raises(BackendMisconfigured, match=r"allow-query|authoritative"):
        await make_backend(named, "other.test.").open()
    with pytest.raises(BackendMisconfigured, match="authoritative"):
        await make_backend(named, f"child0.{PARENT}").open()


async def test_a_refused_transfer_says_what_is_needed(tmp_path: Path) -> None:
    edits = {r"allow-transfer \{.*?\};": "allow-transfer { none; };"}
    with (
        EditedNamed(edits, tmp_path / "edited", ParentZone(PARENT)) as named,
        pytest.raises(BackendMisconfigured, match=re.escape('allow-transfer { key "update.lab"; };')),
    ):
        await make_backend(named).open()


async def test_a_refused_update_says_what_is_needed(tmp_path: Path, open_backend: OpenBackend) -> None:
    for allowed, kind, words in (
        ("allow-update { none; };", BackendUnavailable, "frozen.*or its update-policy or allow-update grants the key"),
        (
            f"update-policy {{ grant update.lab subdomain x.{PARENT} ANY; }};",
            BackendMisconfigured,
            "may not write NS, DS, A, AAAA at .*new",
        ),
    ):
        edits = {r"allow-update \{.*?\};": allowed}
        with EditedNamed(edits, tmp_path / allowed[:8], ParentZone(PARENT)) as named:
            backend = await open_backend(named)
            with pytest.raises(kind, match=words) as refused:
                await backend.write([Change(Delegation(child("new")), FULL)])
            assert type(refused.value) is kind


async def test_a_zone_that_is_frozen_when_we_come_is_waited_for(
    start_named: StartNamed, open_backend: OpenBackend
) -> None:
    """named gives no other answer to a key that it does not let in: nobody is told to mend what is right."""
    named = start_named(ParentZone(PARENT))
    named.freeze()
    backend = await open_backend(named)
    (remark,) = backend.remarks()
    assert "the zone is frozen, which `rndc thaw` ends, or" in remark
    change = Change(Delegation(child("new")), FULL)
    for work in (backend.write([change]), backend.verify([change])):
        with pytest.raises(BackendUnavailable, match="the zone is frozen, which `rndc thaw` ends, or") as later:
            await work
        assert type(later.value) is BackendUnavailable
    named.thaw()
    await backend.write([change])
    assert await backend.verify([change]) == ()
    for _ in range(100):
        if not backend.remarks():
            break
        await asyncio.sleep(0.05)
    assert backend.remarks() == (), "it is looked at anew, and nobody had to open the zone again"


@pytest.mark.parametrize(
    ("granted", "lacking"),
    [
        (("child1.{} NS DS", "ns1.child1.{} A AAAA", "ns2.child1.{} A AAAA"), None),
        (("child1.{} NS", "ns1.child1.{} A AAAA", "ns2.child1.{} A AAAA"), "DS of child1.parent.test."),
        (("elsewhere.{} NS DS",), "NS, DS, A, AAAA at names such as zonecut-asks.parent.test."),
    ],
)
async def test_a_policy_that_grants_names_is_judged_by_the_delegations_that_there_are(
    tmp_path: Path, open_backend: OpenBackend, granted: tuple[str, ...], lacking: str | None
) -> None:
    rules = " ".join(f"grant update.lab name {each.format(PARENT)};" for each in granted)
    edits = {r"allow-update \{.*?\};": f"update-policy {{ {rules} }};"}
    with EditedNamed(edits, tmp_path / "edited", ParentZone(PARENT, delegations=3)) as named:
        before = serial(named)
        remarks = (await open_backend(named)).remarks()
        assert serial(named) == before
    if lacking is None:
        assert remarks == ()
    else:
        (remark,) = remarks
        assert f"may not write {lacking}" in remark


async def test_an_update_policy_for_the_types_of_a_delegation_is_enough(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    policy = f"update-policy {{ grant update.lab subdomain {PARENT} NS DS A AAAA; }};"
    edits = {r"allow-update \{.*?\};": policy}
    with EditedNamed(edits, tmp_path / "edited", ParentZone(PARENT)) as named:
        backend = await open_backend(named)
        change = Change(Delegation(child("new")), FULL)
        await backend.write([change])
        assert await backend.verify([change]) == ()


@pytest.mark.parametrize(
    ("granted", "lacking"), [("NS DS A", "AAAA"), ("NS", "DS, A, AAAA"), ("NS DS A AAAA", ""), ("ANY", "")]
)
async def test_a_key_that_may_not_write_some_types_is_told_at_the_start_by_type(
    tmp_path: Path, open_backend: OpenBackend, granted: str, lacking: str
) -> None:
    policy = f"update-policy {{ grant update.lab subdomain {PARENT} {granted}; }};"
    with EditedNamed({r"allow-update \{.*?\};": policy}, tmp_path / "edited", ParentZone(PARENT)) as named:
        before = serial(named)
        backend = await open_backend(named)
        if not lacking:
            assert backend.remarks() == ()
        else:
            (remark,) = backend.remarks()
            assert f"the key update.lab may not write {lacking} at" in remark
            with pytest.raises(BackendMisconfigured, match=f"may not write {lacking} at .*update-policy"):
                await backend.write([Change(Delegation(child("new")), FULL)])
        assert serial(named) == before


async def test_a_key_that_may_write_nothing_is_told_at_the_start(tmp_path: Path, open_backend: OpenBackend) -> None:
    edits = {r"allow-update \{.*?\};": "allow-update { none; };"}
    with EditedNamed(edits, tmp_path / "edited", ParentZone(PARENT)) as named:
        (remark,) = (await open_backend(named)).remarks()
        assert "takes no UPDATE" in remark


async def test_it_reads_with_minimal_responses(start_named: StartNamed, open_backend: OpenBackend) -> None:
    named = start_named(ParentZone(PARENT, delegations=1), options="minimal-responses yes; minimal-any yes;")
    assert len((await read(await open_backend(named), "child0")).glue) == 3


@pytest.mark.parametrize("server", ["ns", "n_s"])
async def test_a_frozen_zone_is_a_matter_of_waiting_until_it_is_thawed(
    start_named: StartNamed, open_backend: OpenBackend, server: str
) -> None:
    named = start_named(ParentZone(PARENT), options="check-names primary ignore;")
    backend = await open_backend(named)
    change = Change(Delegation(child("new")), delegation("new", [f"{server}.other.test."]))
    named.freeze()
    with pytest.raises(BackendUnavailable, match=r"frozen.*rndc thaw") as later:
        await backend.write([change])
    assert type(later.value) is BackendUnavailable
    with pytest.raises(BackendUnavailable, match="frozen") as later:
        await backend.verify([change])
    assert type(later.value) is BackendUnavailable
    named.thaw()
    await backend.write([change])


async def test_it_reconnects_after_the_server_was_killed(named: Named, open_backend: OpenBackend) -> None:
    backend = await open_backend(named)
    before = await read(backend, "child0")
    named.kill()
    change = Change(Delegation(child("new")), FULL)
    with pytest.raises(BackendUnavailable):
        await backend.read(child("child0"))
    with pytest.raises(BackendUnavailable):
        await backend.write([change])
    with pytest.raises(BackendUnavailable):
        await transferred(backend)
    named.start()
    assert await read(backend, "child0") == before
    await backend.write([change])
    assert await backend.verify([change]) == ()


async def test_an_idle_connection_that_the_server_closed_is_replaced(
    start_named: StartNamed, open_backend: OpenBackend
) -> None:
    named = start_named(ParentZone(PARENT), options="tcp-idle-timeout 1; tcp-initial-timeout 25;")
    backend = await open_backend(named)
    await asyncio.sleep(0.5)
    for _ in range(2):
        await asyncio.sleep(0.3)
        await backend.write([Change(Delegation(child("new")), FULL)])
        await asyncio.sleep(0.3)
        await backend.write([Change(FULL, Delegation(child("new")))])


async def test_a_silent_server_is_unavailable_within_the_timeout(named: Named) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(BackendUnavailable, match=r"within 0.2 s"):
            await make_backend(named, server=address, timeout=0.2).open()


@asynccontextmanager
async def losing_proxy(named: Named) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A proxy before named that, while the event is set, passes requests on and closes instead of answering."""
    lose = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, to_named = await asyncio.open_connection("127.0.0.1", named.port)

        async def forth() -> None:
            while octets := await reader.read(65536):
                to_named.write(octets)
            to_named.close()

        task = asyncio.create_task(forth())
        while octets := await upstream.read(65536):
            if lose.is_set():
                break
            writer.write(octets)
        writer.close()
        to_named.close()
        await asyncio.wait([task])

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", lose


async def test_what_named_drops_in_silence_beyond_its_update_quota_is_written_later(
    start_named: StartNamed, open_backend: OpenBackend
) -> None:
    """Nobody is told to mend anything, and nothing counts as lost."""
    named = start_named(ParentZone(PARENT, delegations=1), options="update-quota 6;")
    # 9.18 takes what comes on one connection one after the other
    backends = [await open_backend(named, timeout=1.0) for _ in range(12)]
    waiting = {
        (backend, Change(Delegation(child(label)), delegation(label, ["ns.other.test."])))
        for number, backend in enumerate(backends)
        for label in (f"new{number}x{each}" for each in range(5))
    }
    changes = [change for _, change in waiting]
    dropped = 0
    while waiting:
        order = list(waiting)
        outcomes = await asyncio.gather(*(backend.write([change]) for backend, change in order), return_exceptions=True)
        for pair, outcome in zip(order, outcomes, strict=True):
            if outcome is None:
                waiting.discard(pair)
                continue
            assert type(outcome) is BackendUnavailable
            assert "did not answer within 1 s, as where more UPDATEs come at once than its `update-quota`" in str(
                outcome
            )
            dropped += 1
    assert dropped
    assert await backends[0].verify(changes) == ()


async def test_a_write_whose_answer_was_lost_is_found_by_verify(named: Named, open_backend: OpenBackend) -> None:
    async with losing_proxy(named) as (address, lose):
        backend = await open_backend(named, server=address)
        change = Change(await read(backend, "child0"), delegation("child0", ["ns.other.test."], [1]))
        lose.set()
        with pytest.raises(BackendUnavailable):
            await backend.write([change])
        lose.clear()
        assert await backend.verify([change]) == ()
        with pytest.raises(BackendConflict):
            await backend.write([change])
        assert await read(backend, "child0") == change.after
        await backend.close()


async def test_a_child_too_large_for_a_message_is_rejected(named: Named, open_backend: OpenBackend) -> None:
    backend = await open_backend(named)
    huge = delegation("new", [f"ns{i}.{'x' * 60}.{'y' * 60}.test." for i in range(500)])
    assert backend.batch([Change(Delegation(child("new")), huge)]) == 1
    with pytest.raises(BackendRejected, match="octets"):
        await backend.write([Change(Delegation(child("new")), huge)])


async def test_a_name_that_check_names_refuses_is_rejected_by_its_record(
    named: Named, open_backend: OpenBackend
) -> None:
    backend = await open_backend(named)
    good, bad = names.from_text(f"good.{PARENT}"), names.from_text(f"bad.{PARENT}")
    server = names.from_text(f"a_b.bad.{PARENT}")
    changes = [
        Change(Delegation(good), Delegation(good, (names.from_text("ns.elsewhere.test."),))),
        Change(Delegation(bad), Delegation.of(bad, [RR(bad, RRType.NS, server), RR(server, RRType.A, b"\x0b\0\0\1")])),
    ]
    with pytest.raises(BackendRejected, match=rf"REFUSED.*check-names.*bad.{PARENT} NS a_b.bad.{PARENT}") as rejected:
        await backend.write(changes)
    assert rejected.value.children == (bad,)
    await backend.write(changes[:1])
    assert await backend.verify(changes) == (bad,)


async def test_a_publication_that_check_names_refuses_is_rejected_by_its_record(
    named: Named, open_backend: OpenBackend
) -> None:
    backend = await open_backend(named)
    address = RRset(names.from_text(f"a_b.{PARENT}"), RRType.A, 60, (b"\x0b\0\0\1",))
    text = RRset(names.from_text(f"a_b.{PARENT}"), RRType.KEY, 60, (b"\2\0\3\x0fabc",))
    with pytest.raises(BackendRejected, match=rf"REFUSED.*check-names.*: a_b.{PARENT} 60 IN A 11.0.0.1"):
        await backend.replace_rrsets([], [address, text])
    await backend.replace_rrsets([], [text])


async def test_named_rejects_nonsense_with_a_formerr(named: Named, open_backend: OpenBackend) -> None:
    backend = await open_backend(named)
    broken = Delegation(child("new"), (b"\3not-a-name",))
    with pytest.raises(BackendRejected, match="FORMERR"):
        await backend.write([Change(Delegation(child("new")), broken)])


async def test_reads_overlap_with_writes(start_named: StartNamed, open_backend: OpenBackend) -> None:
    named = start_named(ParentZone(PARENT, delegations=50))
    backend = await open_backend(named)
    reading = asyncio.gather(*(backend.read(child(f"child{i % 50}")) for i in range(500)))
    before = Delegation(child("new"))
    for _ in range(20):
        await backend.write([Change(before, FULL)])
        await backend.write([Change(FULL, before)])
    assert all(found.delegation.ns for found in await reading)


async def test_pipelined_answers_do_not_wait_for_delayed_acknowledgements(
    named: Named, open_backend: OpenBackend
) -> None:
    backend = await open_backend(named)
    began = time.perf_counter()
    for _ in range(50):
        await backend.read(child("child0"))
    assert time.perf_counter() - began < 50 * 0.02  # 50 * 0.04 with delays


async def test_children_streams_a_zone_of_many_messages(start_named: StartNamed, open_backend: OpenBackend) -> None:
    named = start_named(ParentZone(PARENT, delegations=2000, signing=Signing.IN_PLACE))
    backend = await open_backend(named)
    found = await transferred(backend)
    assert len(found) == 2000
    assert found[child("child7")] == await read(backend, "child7")
    assert sum(len(each.records) for each in found.values()) == 12000
    messages = named.axfr()
    assert (
        len([node for node in messages.nodes.values() if node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.NS)])
        == 2001
    )
