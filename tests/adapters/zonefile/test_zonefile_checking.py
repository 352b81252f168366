"""What the adapter `zonefile` does with a command that checks a file, and with a server that does not load one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dns.message
import dns.rrset
import pytest
from pydantic import ValidationError

from zonecut.net.streams import framed
from zonecut.plugin import (
    BackendContext,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
)
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation, Ttls
from zonecut_zonefile import ZonefileBackend, ZonefileOptions
from zonefile_support import APEX, PARENT, Parent, change, delegation, served

NOTHING = Delegation(names.from_text("a.parent.example."))
ONE = delegation("a.parent.example.", "NS ns1.elsewhere.example.")
BAD = delegation("a.parent.example.", "NS bad.elsewhere.example.")
CHECK = """
cat "$1" $(sed -n 's/^.INCLUDE \\(.*\\) parent.*/\\1/p' "$1") > "$2/seen"
grep -n bad.elsewhere "$2/seen" && { echo "$1:1: bad is not liked" >&2; exit 1; }
exit 0
"""


@pytest.fixture
def parent(tmp_path: Path) -> Parent:
    held = Parent(tmp_path).hold(APEX)
    held.include.touch()
    return held


def checking(parent: Parent) -> list[str]:
    return ["/bin/sh", "-c", CHECK, "check", "{file}", str(parent.directory)]


async def opened(parent: Parent, **options: Any) -> ZonefileBackend:
    given = {"zone_file": parent.zone_file, "directory": parent.directory, "served_within": 0.3, **options}
    backend = ZonefileBackend(BackendContext(PARENT, Ttls()), ZonefileOptions.model_validate(given))
    await backend.open()
    return backend


async def test_what_is_checked_is_the_zone_with_the_change(parent: Parent) -> None:
    backend = await opened(parent, check=checking(parent))
    await backend.write([change(NOTHING, ONE)])
    seen = (parent.directory / "seen").read_text()
    assert "ns1.elsewhere.example." in seen
    assert str(parent.serial()) in seen
    assert served(ONE) <= parent.served()
    assert {path.name for path in parent.directory.iterdir()} == {
        "parent.zone",
        "parent.example.delegations",
        ".zonecut-lock",
        "seen",
    }


async def test_a_change_that_the_check_refuses_leaves_both_files_as_they_were(parent: Parent) -> None:
    backend = await opened(parent, check=checking(parent))
    before = parent.zone_file.read_bytes(), parent.include.read_bytes()
    with pytest.raises(BackendRejected, match=r"/bin/sh refuses the zone with this change: .*bad is not liked") as no:
        await backend.write([change(NOTHING, BAD)])
    assert (parent.zone_file.read_bytes(), parent.include.read_bytes()) == before
    assert no.value.told.startswith("the zone is refused with this change: ")
    assert str(parent.directory) not in no.value.told
    assert "zonecut-new" not in no.value.reason
    await backend.write([change(NOTHING, ONE)])


async def test_a_zone_that_is_refused_as_it_stands_is_no_fault_of_a_change(parent: Parent) -> None:
    backend = await opened(parent, check=checking(parent))
    parent.hold(APEX + "b NS bad.elsewhere.example.\n")
    with pytest.raises(BackendMisconfigured, match=r"parent\.zone as it stands is refused by /bin/sh: .*not liked"):
        await backend.write([change(NOTHING, ONE)])
    with pytest.raises(BackendMisconfigured, match="as it stands"):
        await opened(parent, check=checking(parent))


@pytest.mark.parametrize("check", [["named-checkzone", "parent.example."], [], "named-checkzone {file}"])
def test_a_check_that_does_not_say_which_file_is_refused(parent: Parent, check: Any) -> None:
    with pytest.raises(ValidationError, match=r"\{file\}|names no program|no shell"):
        ZonefileOptions.model_validate({"zone_file": parent.zone_file, "directory": parent.directory, "check": check})


async def test_the_line_that_includes_ours_gets_the_newline_that_named_wants(parent: Parent) -> None:
    parent.hold(APEX + parent.include_line, include=False)
    serial = parent.serial()
    await parent.opened()
    assert parent.zone_file.read_bytes().endswith(f"{parent.include_line}\n".encode())
    assert parent.serial() == serial + 1


class Loading:
    """A server that loads the zone file on `reload`, unless it does not like it."""

    def __init__(self, parent: Parent) -> None:
        self.parent = parent
        self.serial = parent.serial()
        self.ahead = 0
        self.refuses: Callable[[str], bool] = lambda _: False

    def load(self) -> None:
        text = self.parent.text() + self.parent.include.read_text()
        if not self.refuses(text):
            self.serial = self.parent.serial() + self.ahead

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(2))
        question = dns.message.from_wire(await reader.readexactly(length))
        if (self.parent.directory / "reloaded").exists():
            (self.parent.directory / "reloaded").unlink()
            self.load()
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.AA
        soa = f"ns1.parent.example. hostmaster.parent.example. {self.serial} 1 1 1 1"
        answer.answer.append(dns.rrset.from_text("parent.example.", 60, "IN", "SOA", soa))
        wire = answer.to_wire()
        writer.write(framed(wire))
        writer.close()


@asynccontextmanager
async def loading(parent: Parent) -> AsyncIterator[tuple[Loading, dict[str, Any]]]:
    played = Loading(parent)
    server = await asyncio.start_server(played.answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reload = ["/bin/touch", str(parent.directory / "reloaded")]
        yield played, {"dns": f"127.0.0.1:{port}", "reload": reload}


async def test_what_the_server_does_not_load_is_taken_back_with_the_next_serial(parent: Parent) -> None:
    async with loading(parent) as (server, options):
        server.refuses = lambda text: "bad.elsewhere" in text
        backend = await opened(parent, **options)
        await backend.write([change(NOTHING, ONE)])
        before, serial = parent.served(), parent.serial()
        with pytest.raises(BackendRejected, match=r"does not serve the zone file within 0\.3 s, and it was taken back"):
            await backend.write([change(ONE, BAD)])
        assert parent.served() == before
        assert parent.serial() == server.serial == serial + 2
        assert (await backend.read(ONE.child)).delegation == ONE
        await backend.write([change(ONE, NOTHING)])
        assert server.serial == serial + 3


async def test_a_server_that_signs_and_counts_by_itself_is_waited_for_by_its_own_serial(parent: Parent) -> None:
    async with loading(parent) as (server, options):
        server.ahead = 40
        server.refuses = lambda text: "bad.elsewhere" in text
        backend = await opened(parent, **options)
        await backend.write([change(NOTHING, ONE)])
        with pytest.raises(BackendRejected, match="taken back"):
            await backend.write([change(ONE, BAD)])
        assert server.serial == parent.serial() + 40
        assert await backend.verify([change(ONE, ONE)]) == ()


async def test_a_server_that_does_not_load_the_zone_as_it_stands_is_a_misconfiguration(parent: Parent) -> None:
    async with loading(parent) as (server, options):
        server.refuses = lambda _: True
        parent.hold(APEX.replace("2024010100", "2024010105"))
        backend = await opened(parent, **options)
        before = parent.zone_file.read_bytes()
        with pytest.raises(BackendMisconfigured, match=r"does not serve .*parent\.zone as it stands"):
            await backend.write([change(NOTHING, ONE)])
        with pytest.raises(BackendMisconfigured, match="as it stands"):
            await backend.verify([])
        assert parent.zone_file.read_bytes() == before


async def test_a_server_that_has_gone_refuses_nothing(parent: Parent) -> None:
    async with loading(parent) as (_, options):
        backend = await opened(parent, **options)
        await backend.write([change(NOTHING, ONE)])
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        await backend.write([change(ONE, NOTHING)])
    assert served(ONE) <= parent.served()


async def test_an_edit_after_the_write_is_not_taken_back(parent: Parent) -> None:
    async with loading(parent) as (server, options):
        backend = await opened(parent, **options)

        def edits(text: str) -> bool:
            if "bad.elsewhere" in text and "by-hand" not in text:
                with parent.zone_file.open("a") as file:
                    file.write("by-hand NS ns.elsewhere.example.\n")
            return "bad.elsewhere" in text

        server.refuses = edits
        with pytest.raises(BackendUnavailable, match="has been changed since, and nothing was taken back"):
            await backend.write([change(NOTHING, BAD)])
        assert "by-hand" in parent.text()
        assert served(BAD) <= parent.served()
