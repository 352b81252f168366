"""What fails and nobody waits for it: told in the log like all else, ever more seldom."""

import asyncio
from collections import Counter
from typing import Any

import structlog

from zonecut.receiver.change.change_log import is_told

MOST = 100
"""Kinds of failures that are counted; when there are more, all are forgotten."""

_log = structlog.get_logger(__name__)


class Unhandled:
    """The exception handler of an event loop; other threads may tell it of theirs."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.tell(str(context["message"]), context.get("exception"))

    def tell(self, message: str, error: BaseException | None) -> None:
        kind = message, type(error).__name__
        if len(self._counts) >= MOST and kind not in self._counts:
            self._counts.clear()
        self._counts[kind] += 1
        if is_told(self._counts[kind]):
            _log.error("serve.defect", reason=message, count=self._counts[kind], exc_info=error)
