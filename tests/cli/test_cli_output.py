"""What commands write: a row is one line, and shows what is there, whoever wrote the text in it."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cli_support import House
from zonecut.cli.terminal import output
from zonecut.store import AuditEntry

HOSTILE = "A: fine\n2026-11-28T23:59:59.000Z  key.trusted  child2.  4711  \ud800\u202e\u2028\x85\x1b[2J\u200b\r\t|"


@pytest.fixture
def house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> House:
    return House(tmp_path, capsys)


def test_a_row_of_the_audit_trail_is_one_line_whatever_strangers_wrote(house: House) -> None:
    house.imported()
    before = len(house.zonecut("audit").out.splitlines())

    async def record() -> None:
        async with house.store() as store:
            await store.audit.record(AuditEntry("change.refused", f"hook:{HOSTILE}", detail={"reason": HOSTILE}))

    asyncio.run(record())
    # as it was recorded by those who did not clip it
    with closing(sqlite3.connect(house.directory / "zonecut.db")) as connection, connection:
        connection.execute(
            "INSERT INTO audit (at, event, actor, source, rule, detail) VALUES (1, 'old', 'hook', ?, ?, ?)",
            (HOSTILE.replace("\ud800", ""), "a\nb", json.dumps({"reason": HOSTILE})),
        )
    ended = house.zonecut("audit")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert len(lines) == before + 2
    assert all(line.isprintable() for line in lines)
    assert "\\u202e" in ended.out
    ended = house.zonecut("audit", "--json")
    assert ended.code == 0
    assert HOSTILE in [entry["detail"].get("reason") for entry in ended.document]
    assert ended.out.isascii()


def test_an_operator_s_reason_in_another_encoding_is_kept_as_it_can_be(house: House) -> None:
    house.imported()
    ended = house.zonecut("key", "revoke", "child.sig0.test.", "--keyid", "46020", "--reason", "caf\udce9")
    assert ended.code == 0
    assert "caf\\udce9" in house.zonecut("audit").out


def test_a_line_a_field_and_a_complaint_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    output.say(f"a\t{HOSTILE}")
    output.say_fields("title", {"field": HOSTILE, "list": ["one", HOSTILE], "none": None})
    output.complain(HOSTILE)
    with output.Table("A", "B") as table:
        table.add(HOSTILE, "x")
        table.add("", "x")
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 + 4 + 3
    assert len(err.splitlines()) == 1
    assert (out + err).replace("\n", "").replace("\t", "").isprintable()
    *_, first, second = out.splitlines()
    assert first.rindex("x") == second.rindex("x")
