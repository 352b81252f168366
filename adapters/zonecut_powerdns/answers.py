"""What PowerDNS's HTTP answers mean for us: the error of the Backend interface, in words that say where to look. Pure.

PowerDNS 4.7 explains what it does not like with 422 and a JSON object; all else is a status and a few words. That the
database is locked, because somebody else writes, is in its log alone: the answer is a bare 500, like for any trouble.
"""

import json
from http import HTTPStatus

from zonecut.plugin import BackendError, BackendMisconfigured, BackendRejected, BackendUnavailable
from zonecut.plugin.told import fit_for_children

_LONGEST_REASON = 300


class Busy(BackendUnavailable):
    """The server failed on this request: what a locked database looks like, so the same may succeed a moment later."""


def failure(status: int, body: bytes, *, zone: str, server_id: str, key_file: str) -> BackendError:
    """The error for an answer whose status is no success."""
    said = reason(body)
    head = f"PowerDNS answers {status}" + (f" ({said})" if said else "")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return BackendMisconfigured(
            f"{head}: the API key in {key_file} has to be the server's api-key, and its webserver-allow-from has to "
            "let us in"
        )
    if status == HTTPStatus.NOT_FOUND or "Could not find domain" in said:
        return BackendMisconfigured(
            f"{head}: it has no zone {zone} on a server {server_id!r} there: look at `url`, at `server_id`, and "
            "whether its configuration says api=yes"
        )
    if status in (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.CONFLICT):
        words = f"PowerDNS will not have it: {said or status}"
        return BackendRejected(words, told=fit_for_children(words))
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return BackendRejected(f"{head}: the request is larger than its webserver-max-bodysize")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return BackendUnavailable(head)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        error = Busy if status == HTTPStatus.INTERNAL_SERVER_ERROR else BackendUnavailable
        return error(
            f"{head}: see its log; its database may be locked by another writer, or hold a record that it cannot read:"
            " `pdnsutil check-zone` says which"
        )
    if status == HTTPStatus.BAD_REQUEST:
        return BackendRejected(f"{head}: it cannot make sense of the request")
    return BackendMisconfigured(f"{head}: is it the API of PowerDNS that answers? Look at `url`")


def reason(body: bytes) -> str:
    """What the server says about a failure, shortened, on one line."""
    text = body[:4096].decode("utf-8", "replace")
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        more = parsed.get("errors")
        found = [parsed.get("error"), *(more if isinstance(more, list) else [])]
        text = "; ".join(str(each) for each in found if each)
    elif text.lstrip().startswith("<"):
        return ""  # a page for people
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "..."
