"""What the system's HTTP answers mean for us: errors of the Backend interface, with the system's own reasons. Pure."""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from zonecut.plugin import (
    BackendConflict,
    BackendError,
    BackendLater,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
)
from zonecut.protocol import names

AGAIN_IN = (1.0, 3600.0)
"""The shortest and the longest time, in seconds, after which a change that was put off is asked for again."""
DEFAULT_AGAIN_IN = 30.0

_LONGEST_REASON = 300


def failure(
    status: int, headers: Mapping[str, str], body: bytes, *, asked: Collection[bytes], key_file: str, now: float
) -> BackendError:
    """The error for an answer that is none of 200 and 204.

    `asked` are the children that the request was about, `now` seconds since the epoch.
    """
    said, named = _explanation(body)
    children = tuple(child for child in asked if child in named)
    head = f"the provisioning system answers {status}" + (f" ({said})" if said else "")
    if status == HTTPStatus.ACCEPTED:
        return BackendLater(said or "the provisioning system has yet to decide", children, again_in(headers, now))
    if status == HTTPStatus.CONFLICT:
        return BackendConflict(said or "the provisioning system holds something else than was expected", children)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return BackendRejected.telling(said or "the provisioning system rejects it without a reason", children)
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
        return BackendRejected(head, children)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return BackendMisconfigured(
            f"{head}: the key in {key_file} and its `key_id` have to be known there, and the clocks must not differ"
        )
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS):
        return BackendUnavailable(head)
    if status == HTTPStatus.NOT_FOUND:
        return BackendMisconfigured(f"{head}: look at `url`")
    if 300 <= status < 400:
        return BackendMisconfigured(f"{head}: redirects are not followed; look at `url`")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED:
        return BackendUnavailable(head)
    return BackendMisconfigured(f"{head}: is it the interface for zonecut that answers? Look at `url`")


def again_in(headers: Mapping[str, str], now: float) -> float:
    """Seconds that Retry-After asks for (RFC 9110 section 10.2.3), within our bounds."""
    text = headers.get("retry-after", "").strip()
    seconds = DEFAULT_AGAIN_IN
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    elif text:
        with suppress(ValueError):  # no date either: as if it were not there
            seconds = parsedate_to_datetime(text).timestamp() - now
    return min(max(seconds, AGAIN_IN[0]), AGAIN_IN[1])


def parse(body: bytes) -> dict[str, Any]:
    """The object that a body holds. Raises ValueError."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")
    return document


def _explanation(body: bytes) -> tuple[str, frozenset[bytes]]:
    """The reason that an answer gives, on one line and shortened, and the children that it names."""
    try:
        document = parse(body)
    except ValueError:
        return "", frozenset()
    reason, children = document.get("reason"), document.get("children")
    named = set()
    for child in children if isinstance(children, list) else ():
        try:
            named.add(names.from_text(child))
        except (ValueError, AttributeError):
            continue
    text = " ".join("".join(c if c.isprintable() else " " for c in reason).split()) if isinstance(reason, str) else ""
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "...", frozenset(named)
