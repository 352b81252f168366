"""What goes wrong on the parent's side, and how much of it goes where: the log has all, others have less."""

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy.exc import IntegrityError, OperationalError

from receiver_support import CHILD, SOURCE, ZONE, Site, replace_ns, site
from trust_support import new_pair, upload
from zonecut.plugin import BackendMisconfigured, BackendRejected, BackendUnavailable
from zonecut.plugin.told import fit_for_children, names_a_place
from zonecut.protocol.codepoints import Rcode
from zonecut.protocol.foreigntext import MAX_REASON
from zonecut.receiver.message.admission import Source
from zonecut_database import failures as database
from zonecut_knot import answers as knot
from zonecut_powerdns import answers as powerdns
from zonecut_webhook import answers as webhook

SECRET = "/etc/bind/parent.zone, line 12: S3CRET of http://127.0.0.1:8081/"
HOOK = Source("127.0.0.1", 40000, False)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


def fails(here: Site, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception) -> None:
    async def failing(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(here.backend, method, failing)


async def patch(here: Site, **entry: Any) -> tuple[int, str]:
    content = {"name": "child.parent.example.", "type": "NS", "changetype": "REPLACE", **entry}
    reply = await here.front_end.patch(ZONE, json.dumps({"rrsets": [content]}).encode(), "hook:portal", HOOK)
    return int(reply.status), json.dumps(reply.document)


async def test_a_stranger_is_told_the_rule_a_child_that_the_server_is_away_and_the_log_why(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await here.trust(CHILD)
    fails(here, monkeypatch, "read", BackendMisconfigured(SECRET))
    with structlog.testing.capture_logs() as logs:
        stranger = await here.ask(upload(here, new_pair()))
        child = await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example.")))
        status, posted = await patch(here, records=[{"content": "b.ns.example."}])
    for answer, told in ((stranger, "backend"), (child, "the parent's server cannot be read or written now")):
        assert answer.rcode == Rcode.SERVFAIL
        assert answer.error is not None
        assert answer.error.text == told
    assert (status, "S3CRET" in posted, "/" in posted) == (503, False, False)
    assert sum("S3CRET" in str(each.get("reason")) for each in logs) == 3


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (BackendRejected(SECRET), "the parent's server does not take it"),
        (BackendRejected(SECRET, told="a CNAME stands there"), "a CNAME stands there"),
        (BackendRejected.telling("a CNAME stands there"), "a CNAME stands there"),
    ],
)
async def test_of_a_change_that_the_server_rejects_a_child_is_told_what_is_its_own_matter(
    here: Site, monkeypatch: pytest.MonkeyPatch, error: BackendRejected, told: str
) -> None:
    await here.trust(CHILD)
    fails(here, monkeypatch, "write", error)
    answer = await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example.")))
    assert answer.error is not None
    assert (answer.rcode, answer.error.text) == (Rcode.SERVFAIL, told)
    status, posted = await patch(here, records=[{"content": "b.ns.example."}])
    assert (status, told in posted, "S3CRET" in posted) == (422, True, False)
    (newest, *_) = await here.store.changes.list()
    assert newest.reason == f"backend-rejected: {error.reason}"


PLACES = (
    "/etc/bind/parent.zone",
    "http://127.0.0.1:8081/api",
    "postgresql+psycopg://zonecut@db.example/registry",
    "../keys/api.key",
    '"/var/lib/knot/journal"',
)


def errors_of_adapters(said: str) -> list[Exception]:
    """What each adapter makes of a server's words about a change."""
    lost = OperationalError("INSERT", {}, sqlite3.OperationalError(said))
    constraint = sqlite3.IntegrityError(said)
    constraint.sqlite_errorname = "SQLITE_CONSTRAINT"
    unfit = IntegrityError("INSERT", {}, constraint)
    body = json.dumps({"error": said}).encode()
    statuses = (400, 409, 413, 422, 429, 500)
    return [
        *(powerdns.failure(each, body, zone="z.", server_id=said, key_file=said) for each in statuses),
        *(knot.failure("z.", "set", f"{words} {said}") for words in ("semantic check", "parser failed", "other")),
        *(database.explained(each, said) for each in (lost, unfit)),
        # what the system gives as its reason, with 422, is meant for the child
        *(webhook.failure(each, {}, body, asked=(), key_file=said, now=0.0) for each in statuses if each != 422),
    ]


@pytest.mark.parametrize("place", PLACES)
def test_no_adapter_has_a_child_told_where_things_are(place: str) -> None:
    for words in (place, f"cannot open {place}: no", f"error ({place})", f"file={place}"):
        for error in errors_of_adapters(words):
            told = error.told if isinstance(error, BackendRejected) else ""
            assert not names_a_place(told), error
            assert place not in told


@pytest.mark.parametrize(
    "text",
    [
        "0/25.2.0.192.in-addr.arpa. NS ns1.0/25.2.0.192.in-addr.arpa. is no host's name",
        "child.parent.example. AAAA 2001:db8::1/64 stands there; A and/or AAAA",
        "",
    ],
)
def test_a_slash_in_a_name_is_no_place(text: str) -> None:
    assert not names_a_place(text)
    assert fit_for_children(text) == text


async def test_a_child_that_waits_for_its_turn_is_not_told_what_the_server_said(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await here.trust(CHILD)
    fails(here, monkeypatch, "write", BackendUnavailable(SECRET))
    first = await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example.")))
    second = await here.ask(here.signed(*replace_ns(CHILD, "b.ns.example."), identity=2))
    assert (first.rcode, second.rcode) == (Rcode.NOERROR, Rcode.SERVFAIL)
    assert second.error is not None
    assert second.error.text == "an earlier change of this child waits"


async def test_a_store_that_does_not_work_is_no_news_of_where_it_is(here: Site) -> None:
    await here.trust(CHILD)
    await here.store.close()
    for wire in (upload(here, new_pair()), here.signed(*replace_ns(CHILD, "a.ns.example."))):
        answer = await here.ask(wire, SOURCE)
        assert answer.error is not None
        assert "sqlite" not in answer.error.text
        assert "zonecut.db" not in answer.error.text


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "X" * 1_000_000},
        {"changetype": "X" * 1_000_000},
        {"name": "X" * 1_000_000 + "."},
        {"records": [{"content": "X" * 1_000_000}]},
        {"records": [{"content": "X" * 1_000_000, "disabled": True}]},
        {"records": "X" * 1_000_000, "type": "ns" + "X" * 1_000_000},
        {"type": "A: fine\n2026-11-28T23:59:59.000Z  key.trusted"},
        {"type": "\ud800\u202e\u2028\x1b[2J"},
        {"name": "\ud800.parent.example."},
        {"records": [{"content": "\udfff.x."}]},
    ],
)
async def test_a_posted_text_is_one_short_line_in_answer_log_and_row(here: Site, entry: dict[str, Any]) -> None:
    with structlog.testing.capture_logs() as logs:
        status, posted = await patch(here, **entry)
        await here.receiver.close(5)
    assert 400 <= status < 500
    assert len(posted) < 2 * MAX_REASON
    assert json.loads(posted)["error"].isprintable()
    for event in logs:
        assert all(len(value) <= MAX_REASON and value.isprintable() for value in event.values() if type(value) is str)
    for record in await here.store.audit.list(event="change.refused"):
        reason = record.entry.detail["reason"]
        assert len(reason) <= MAX_REASON
        assert reason.isprintable()
