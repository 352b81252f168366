"""The log when nobody can write it."""

import json
import logging
import os
import resource
from io import StringIO
from pathlib import Path

import pytest
import structlog

from zonecut.cli.terminal import logs
from zonecut.cli.terminal.logs import LogFormat
from zonecut.protocol.foreigntext import MAX_REASON


@pytest.fixture(autouse=True)
def _restored() -> object:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_what_a_full_disk_does_not_take_is_counted_and_fails_nobody(tmp_path: Path) -> None:
    file = tmp_path / "log"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with file.open("a") as stream:
        logs.configure(LogFormat.JSON, stream)
        log = structlog.get_logger()
        log.info("before")
        size = file.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
        try:
            log.info("cut in the middle")
            log.info("lost")
            log.error("lost, too")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        log.info("after")
    first, cut, *rest = file.read_text().splitlines()
    assert json.loads(first)["event"] == "before"
    assert len(cut) == 20
    found = [json.loads(line) for line in rest]
    assert [event["event"] for event in found] == ["after", "log.lost"]
    assert (found[1]["level"], found[1]["lines"]) == ("error", 3)


def test_a_pipe_that_nobody_reads_fails_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        logs.configure(LogFormat.JSON, stream)
        structlog.get_logger().error("to nobody")


def test_lines_may_be_collected_in_memory() -> None:
    stream = StringIO()
    logs.configure(LogFormat.JSON, stream)
    structlog.get_logger().info("here", name="\udcff")
    assert json.loads(stream.getvalue())["event"] == "here"


HOSTILE = "A\n2026-11-28T23:59:59Z [info     ] key.trusted \x1b]0;pwned\x07\u202e\u2028\ud800\u200b"


@pytest.mark.parametrize("form", [LogFormat.JSON, LogFormat.CONSOLE])
def test_what_strangers_wrote_is_one_line_of_the_log_that_moves_no_cursor(form: LogFormat, tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("w") as stream:
        logs.configure(form, stream)
        structlog.get_logger().warning(
            "change.refused", reason=HOSTILE, nested=[HOSTILE], word=HOSTILE.replace(" ", "")
        )
        logging.getLogger("library").warning("%s", HOSTILE)
    text = file.read_text()
    assert len(text.splitlines()) == 2
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize("form", [LogFormat.JSON, LogFormat.CONSOLE])
def test_a_megabyte_that_strangers_wrote_is_a_short_line(form: LogFormat, tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("w") as stream:
        logs.configure(form, stream)
        structlog.get_logger().warning("change.refused", reason="X" * 1_000_000)
    assert file.stat().st_size < 2 * MAX_REASON


@pytest.mark.parametrize("form", [LogFormat.JSON, LogFormat.CONSOLE])
def test_the_message_of_an_exception_makes_no_event_of_its_own(form: LogFormat, tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("w") as stream:
        logs.configure(form, stream)
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            structlog.get_logger().exception("request.defect")
    first, *trace = file.read_text().splitlines()
    assert "request.defect" in first
    assert all(line.startswith("    ") and line.isprintable() for line in trace)
    assert "key.trusted" in file.read_text()
