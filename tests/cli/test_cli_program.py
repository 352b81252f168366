"""The program as a whole: help, usage errors, exit codes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli_support import House

COMMANDS = (
    "serve",
    "check-config",
    "schema",
    "demo",
    "explain",
    "audit",
    "key import",
    "key list",
    "key show",
    "key trust",
    "key revoke",
    "child discover",
    "child inquire",
    "change list",
    "change show",
    "change approve",
    "change reject",
    "delegation show",
    "delegation export",
)


@pytest.fixture
def house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> House:
    return House(tmp_path, capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_the_common_options(house: House, command: str) -> None:
    ended = house.bare(*command.split(), "--help")
    assert ended.code == 0
    assert f"Example: zonecut {command}" in ended.out
    assert "--config FILE" in ended.out
    assert "--json" in ended.out
    assert ended.err == ""


def test_the_version_is_printed(house: House) -> None:
    assert house.bare("--version").out.startswith("zonecut 0.")


@pytest.mark.parametrize("arguments", [[], ["key"]])
def test_a_group_without_a_command_prints_its_help_and_is_wrong_usage(house: House, arguments: list[str]) -> None:
    ended = house.bare(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Commands:" in ended.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["key", "list", "--nonsense"], "--nonsense"),
        (["key", "show"], "Missing argument 'CHILD'"),
        (["key", "show", "a..b"], "'a..b': has an empty label"),
        (["key", "show", "käse.test."], "A-labels"),
        (["key", "list", "--state", "odd"], "'odd'"),
        (["key", "show", "a.test.", "--keyid", "65536"], "65535"),
        (["key", "show", "a.test.", "--fingerprint", "xyz"], "beginning of a fingerprint"),
        (["change", "show", "seven"], "integer"),
        (["change", "list", "--limit", "0"], "--limit"),
        (["audit", "--since", "yesterday"], "'yesterday' is no time"),
        (["explain", "x.bin", "--time", "soon"], "'soon' is no time"),
        (["serve", "--log-format", "xml"], "'xml'"),
    ],
)
def test_wrong_usage_is_one_line_on_standard_error_and_exit_code_2(
    house: House, arguments: list[str], complaint: str
) -> None:
    ended = house.bare(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.err
    assert ended.err.count("\n") == 1
    assert "--help" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["key", "list"],
        ["change", "list", "--json"],
        ["audit"],
        ["delegation", "export", "sig0.test."],
        ["explain", __file__],
    ],
)
def test_a_configuration_that_is_not_there_is_exit_code_2(house: House, arguments: list[str]) -> None:
    missing = house.directory / "missing.yaml"
    ended = house.bare(*arguments, "--config", missing)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"{missing}: No such file or directory\n"


def test_the_configuration_may_be_named_by_the_environment(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZONECUT_CONFIG", str(house.config))
    assert house.bare("key", "list").code == 0


def test_a_store_that_cannot_be_used_is_one_clear_line(house: House) -> None:
    house.file("zonecut.db", b"no database, but text that is long enough to be looked at by SQLite" * 20)
    for command in (["key", "list"], ["change", "show", "1"], ["delegation", "show", "child.sig0.test."]):
        ended = house.zonecut(*command)
        assert (ended.code, ended.out) == (1, "")
        assert "the file is no SQLite database" in ended.err
        assert ended.err.count("\n") == 1


def test_serve_says_in_a_line_why_it_cannot_begin(house: House) -> None:
    house.config.write_text("version: 2\n")
    command = [sys.executable, "-c", "import sys; from zonecut.cli import main; sys.exit(main())", "serve"]
    ended = subprocess.run(
        [*command, "--config", str(house.config)], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == f"{house.config}: version: input should be 1, not 2\n"


def test_serve_imports_neither_rich_nor_alembic() -> None:
    """What the daemon does not need stays out of its memory; an adapter may need more."""
    program = (
        "import sys; from zonecut.cli import main; from zonecut.cli.terminal import logs;"
        "logs.configure(logs.LogFormat.JSON);"
        "from zonecut.serve import daemon;"
        "sys.exit(' '.join(name for name in ('rich', 'alembic') if name in sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert ended.stderr.strip() == ""


def test_a_reader_that_goes_away_ends_a_command_quietly(house: House) -> None:
    house.imported()
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", "import sys; from zonecut.cli import main; sys.exit(main())", "key", "list"]
    ended = subprocess.run(
        [*command, "--config", str(house.config)],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(writing)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr


def test_what_a_library_logs_is_one_json_line_of_the_same_log() -> None:
    program = (
        "import logging; from zonecut.cli.terminal import logs;"
        "logs.configure(logs.LogFormat.JSON);"
        "logging.getLogger('zonecut.bind').warning('looking for %s', 'x');"
        "logging.getLogger('asyncio').info('not this')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    (line,) = ended.stderr.splitlines()
    event = json.loads(line)
    assert (event["event"], event["level"], event["message"]) == ("log.zonecut.bind", "warning", "looking for x")


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_a_command_that_is_not_run_is_not_imported(argument: str) -> None:
    program = (
        f"import sys; from zonecut.cli import main; main(['{argument}']);"
        "names = ('asyncio', 'sqlalchemy', 'dns', 'pydantic', 'structlog', 'zonecut.store', 'zonecut.cli.explain');"
        "sys.exit(' '.join(name for name in names if name in sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert ended.stderr.strip() == ""


@pytest.mark.parametrize("group", ["", "key", "parent", "child", "change", "store", "delegation"])
def test_the_help_of_a_group_says_of_each_command_what_its_own_help_begins_with(house: House, group: str) -> None:
    listed = house.bare(*group.split(), "--help").out.partition("Commands:")[2]
    for line in re.findall(r"^  \S.*$", listed, re.MULTILINE):
        name, text = line.split(maxsplit=1)
        own = " ".join(house.bare(*group.split(), name, "--help").out.split())
        assert text.removesuffix("...").strip()[:40] in own, name
