"""The log: one event a line on standard error, JSON for machines or columns for a person at a terminal."""

import json
import logging
import os
import sys
from collections.abc import MutableMapping
from enum import StrEnum
from io import UnsupportedOperation
from typing import Any, TextIO

from zonecut.cli.without_rich import structlog
from zonecut.protocol.foreigntext import clip, printable

_TRACES = ("exception", "stack")
"""Values of several lines, longer than a reason."""


class LogFormat(StrEnum):
    """What `--log-format` can be; `auto` is `console` on a terminal and `json` elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


def configure(form: LogFormat, stream: TextIO | None = None, level: str = "info") -> None:
    """Set structlog up. Call it before anything is logged: loggers keep what they first see.

    What is below `level` is left out: a command that tells what it does itself asks for errors only.
    """
    lines = _Lines(stream := stream or sys.stderr)
    console = form is LogFormat.CONSOLE or (form is LogFormat.AUTO and stream.isatty())
    renderers: list[Any]
    if console:
        renderers = [_indent_traces, structlog.dev.ConsoleRenderer(colors=stream.isatty(), sort_keys=False)]
    else:
        renderers = [structlog.processors.JSONRenderer(serializer=_serialize)]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _clip,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forwarder()], level=logging.WARNING, force=True)


def _clip(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What strangers wrote moves no cursor and fills no disk."""
    for name, value in event.items():
        if isinstance(value, str) and name not in _TRACES:
            event[name] = clip(value)
    return event


def _indent_traces(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception's message may have line breaks, too: what follows one is seen not to be an event."""
    for name in _TRACES:
        if name in event:
            event[name] = "\n".join(f"    {printable(line)}" for line in str(event[name]).split("\n"))
    return event


class _Lines:
    """A logger that writes what it is given, and never fails who logs.

    What a full disk or a closed pipe does not take is lost, and counted. One write a line: lines of several processes
    do not mix.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0
        self._cut = False

    def msg(self, message: str) -> None:
        octets = f"{message}\n".encode("utf-8", "backslashreplace")
        if self._cut:
            octets = b"\n" + octets
        try:
            written = os.write(self._stream.fileno(), octets)
        except UnsupportedOperation:
            self._stream.write(f"{message}\n")  # no file: somebody collects the lines
            return
        except OSError:
            self._lost += 1
            return
        self._cut = written < len(octets)
        if self._cut:
            self._lost += 1
        elif self._lost:
            self._tell()

    # the names under which structlog calls it
    log = debug = info = warn = warning = err = error = fatal = critical = exception = failure = msg

    def _tell(self) -> None:
        lost, self._lost = self._lost, 0
        structlog.get_logger().error("log.lost", lines=lost)


class _Forwarder(logging.Handler):
    """Gives what adapters, asyncio and other libraries log by the standard library to the same log."""

    def emit(self, record: logging.LogRecord) -> None:
        trace = {"exc_info": record.exc_info} if record.exc_info else {}
        log = structlog.get_logger()
        log.log(record.levelno, f"log.{record.name}", message=record.getMessage(), **trace)


_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


def _serialize(event: dict[str, Any], **_: Any) -> str:
    # what happened and when comes first, for those who read the lines as they are
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return _encode(first | event)
