"""What keeps something from being done that is tried again every second or so: told when it begins and when it ends."""

from typing import Any

import structlog

_log = structlog.get_logger(__name__)


class Trouble:
    """Of one thing that is tried again and again."""

    def __init__(self, event: str, **about: Any) -> None:
        """`event` is what the log calls it, `about` goes with both lines."""
        self._event = event
        self._about = about
        self._tries = 0

    def again(self, reason: str, **detail: Any) -> None:
        """A try was in vain."""
        self._tries += 1
        if self._tries == 1:
            _log.warning(self._event, **self._about, **detail, reason=reason)

    def over(self) -> None:
        """A try was not."""
        tries, self._tries = self._tries, 0
        if tries:
            _log.info(f"{self._event}.over", **self._about, tries=tries)
