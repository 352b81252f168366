"""The log: one event a line on standard error, JSON for machines or columns for a person at a terminal."""

import json
import logging
import sys
from enum import StrEnum
from typing import Any, TextIO


class LogFormat(StrEnum):
    """What `--log-format` can be; `auto` is `console` on a terminal and `json` elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


def configure(form: LogFormat, stream: TextIO | None = None, level: str = "info") -> None:
    """Set structlog up. Call it before anything is logged: loggers keep what they first see.

    What is below `level` is left out: a command that tells what it does itself asks for errors only.
    """
    _import_without_rich()
    import structlog

    stream = stream or sys.stderr
    console = form is LogFormat.CONSOLE or (form is LogFormat.AUTO and stream.isatty())
    renderers: list[Any]
    if console:
        renderers = [structlog.dev.ConsoleRenderer(colors=stream.isatty(), sort_keys=False)]
    else:
        renderers = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_serialize)]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # one write a line: lines of several processes do not mix
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forwarder()], level=logging.WARNING, force=True)


class _Forwarder(logging.Handler):
    """Gives what adapters, asyncio and other libraries log by the standard library to the same log."""

    def emit(self, record: logging.LogRecord) -> None:
        import structlog

        trace = {"exc_info": record.exc_info} if record.exc_info else {}
        log = structlog.get_logger()
        log.log(record.levelno, f"log.{record.name}", message=record.getMessage(), **trace)


def _import_without_rich() -> None:
    """Import structlog so that it does not find rich, whose tracebacks would cost a daemon 5 MB of memory."""
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]


_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


def _serialize(event: dict[str, Any], **_: Any) -> str:
    # what happened and when comes first, for those who read the lines as they are
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return _encode(first | event)
