"""The adapter `webhook` on systems that say no, later, or nothing sensible, and over TLS."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lab.ports import LOOPBACK
from lab.scripted.provisioning import Provisioning
from lab.tls import self_signed
from lab.zones import PARENT, ParentZone
from zonecut.plugin import (
    BackendConflict,
    BackendContext,
    BackendError,
    BackendLater,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
    Reading,
    Unreadable,
    Withdrawal,
)
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation, Ttls
from zonecut_webhook import WebhookOptions
from zonecut_webhook.api import LARGEST_ANSWER, Api
from zonecut_webhook.backend import WebhookBackend
from zonecut_webhook.signing import load_key

CONTEXT = BackendContext(names.from_text(PARENT), Ttls())
ZONE = ParentZone(PARENT, delegations=3)
SECRET = "s" * 40


def child(label: str) -> bytes:
    return names.from_text(f"{label}.{PARENT}")


def change(label: str, identity: bytes = b"") -> Change:
    """A new delegation."""
    return Change(
        Delegation(child(label)), Delegation(child(label), (names.from_text("ns.elsewhere.test."),)), identity
    )


@pytest.fixture
def system(tmp_path: Path) -> Iterator[Provisioning]:
    with Provisioning(tmp_path / "provisioning", ZONE) as system:
        yield system


@asynccontextmanager
async def opened(system: Provisioning, **options: Any) -> AsyncIterator[WebhookBackend]:
    given = {"url": system.url, "key": system.key_file, **options}
    backend = WebhookBackend(CONTEXT, WebhookOptions(**given))
    try:
        await backend.open()
        yield backend
    finally:
        await backend.close()


# What the system decides


async def test_a_rejection_names_its_child_and_gives_the_systems_reason(system: Provisioning) -> None:
    system.zone.decide(f"new2.{PARENT}", "reject", "the holder has not paid")
    async with opened(system) as backend:
        with pytest.raises(BackendRejected, match=r"^the holder has not paid$") as rejected:
            await backend.write([change("new1"), change("new2"), change("new3")])
        assert rejected.value.children == (child("new2"),)
        assert set(await backend.verify([change(f"new{i}") for i in (1, 2, 3)])) == {
            child(f"new{i}") for i in (1, 2, 3)
        }


async def test_later_names_those_that_wait_and_when_to_ask_again(system: Provisioning) -> None:
    system.zone.decide(f"new2.{PARENT}", "later", "somebody has to look at it", again_in=7)
    async with opened(system) as backend:
        with pytest.raises(BackendLater, match="somebody has to look at it") as later:
            await backend.write([change("new1"), change("new2")])
        assert (later.value.children, later.value.again_in) == ((child("new2"),), 7.0)
        assert len(await backend.verify([change("new1"), change("new2")])) == 2
        system.zone.decide(f"new2.{PARENT}", "accept")
        await backend.write([change("new2")])
        assert await backend.verify([change("new2")]) == ()


async def test_a_conflict_names_its_child(system: Provisioning) -> None:
    async with opened(system) as backend:
        stale = Change(Delegation(child("child1")), change("child1").after)
        with pytest.raises(BackendConflict) as conflict:
            await backend.write([change("new1"), stale])
        assert conflict.value.children == (child("child1"),)


async def test_what_was_done_once_is_not_done_again(system: Provisioning) -> None:
    """A repetition that arrives late, when the delegation is again what it was before."""
    there = change("new", b"one request")
    back = Change(there.after, there.before, b"another request")
    async with opened(system) as backend:
        await backend.write([there])
        await backend.write([there])
        await backend.write([back])
        await backend.write([there])
        assert not (await backend.read(child("new"))).delegation.is_delegated
        # the same values asked for by somebody else are another change
        await backend.write([change("new", b"a third request")])
        assert (await backend.read(child("new"))).delegation.is_delegated
    keys = [key for key, _, _, _ in system.zone.asked()]
    assert keys[0] == keys[1] == keys[3]
    assert len(set(keys)) == 3
    assert len(system.zone.journal()) == 3


# How it is reached


async def test_tls_needs_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    key, certificate = self_signed(tmp_path)
    with Provisioning(tmp_path / "provisioning", ZONE, certificate=(certificate, key)) as system:
        async with opened(system, ca=certificate) as backend:
            await backend.write([change("new")])
            assert await backend.verify([change("new")]) == ()
        with pytest.raises(BackendMisconfigured, match=r"cannot prove who it is.*look at `ca`"):
            async with opened(system):
                pass
        with pytest.raises(BackendMisconfigured, match="holds no certificates"):
            async with opened(system, ca=tmp_path / "none.pem"):
                pass


async def test_an_ed25519_key_signs_as_well(tmp_path: Path) -> None:
    pair = Ed25519PrivateKey.generate()
    public, private = tmp_path / "public.pem", tmp_path / "private.pem"
    public.write_bytes(pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    private.touch(mode=0o600)
    private.write_bytes(pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with Provisioning(tmp_path / "provisioning", ZONE, public_key=public) as system:
        async with opened(system, key=private) as backend:
            await backend.write([change("new")])
            assert await backend.verify([change("new")]) == ()
        with pytest.raises(BackendMisconfigured, match="answers 401"):
            async with opened(system):
                pass


async def test_a_key_that_cannot_be_used_or_is_not_known_is_a_misconfiguration(
    system: Provisioning, tmp_path: Path
) -> None:
    open_to_all = tmp_path / "open.key"
    open_to_all.write_text(SECRET)
    open_to_all.chmod(0o644)
    with pytest.raises(BackendMisconfigured, match="chmod 600"):
        async with opened(system, key=open_to_all):
            pass
    with pytest.raises(BackendMisconfigured, match=r"answers 401.*`key_id` have to be known there"):
        async with opened(system, key_id="somebody-else"):
            pass


@pytest.mark.parametrize("ahead", [-400, 400])
async def test_a_signature_counts_for_five_minutes(system: Provisioning, ahead: int) -> None:
    options = WebhookOptions(url=system.url, key=system.key_file)
    api = Api(options, load_key(system.key_file), lambda: time.time() + ahead)
    with pytest.raises(BackendMisconfigured, match=r"answers 401.*the clocks must not differ"):
        await api.get("")
    await api.close()


async def test_a_slow_system_has_as_long_as_the_options_say(system: Provisioning) -> None:
    system.zone.decide(f"new.{PARENT}", "accept", delay=1.0)
    async with opened(system, write_timeout=0.4) as backend:
        began = time.monotonic()
        with pytest.raises(BackendUnavailable, match=r"did not answer within 0\.4 s"):
            await backend.write([change("new", b"a request")])
        assert time.monotonic() - began < 0.9
    async with opened(system) as backend:
        await backend.write([change("new", b"a request")])
    assert len(system.zone.journal()) == 1


# What was put off and is not wanted any more


async def test_a_system_forgets_what_it_has_yet_to_decide_and_nothing_else(system: Provisioning) -> None:
    waits, done = change("waits", b"one"), change("done", b"another")
    system.zone.decide(f"waits.{PARENT}", "later", "a person looks at it")
    async with opened(system) as backend:
        with pytest.raises(BackendLater):
            await backend.write([waits])
        await backend.write([done])
        assert await backend.withdraw(done) is Withdrawal.CARRIED_OUT
        for _ in range(2):
            assert await backend.withdraw(waits) is Withdrawal.DROPPED
        assert system.zone.confirm(f"waits.{PARENT}") == 0
        with pytest.raises(BackendRejected, match="it was withdrawn"):
            await backend.write([waits])
        assert set(await backend.verify([waits, done])) == {waits.child}


async def test_a_system_that_cannot_withdraw_is_told_from_one_that_is_not_set_up_right(
    system: Provisioning, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut_webhook.api.WITHDRAW", "/of-an-older-system")
    async with opened(system) as backend:
        assert await backend.withdraw(change("new", b"one")) is Withdrawal.UNKNOWN
        system.zone.lose()
        with pytest.raises(BackendMisconfigured, match="answers 404"):
            await backend.withdraw(change("new", b"one"))


# Systems that are none, or mean ill

Play = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def playing(play: Play) -> AsyncIterator[str]:
    """Something that takes any request and answers as it is told; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await play(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            with closing(writer):
                pass

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    async with server:
        yield f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}/zone"


def answering(status: str, body: bytes, *fields: str) -> Play:
    async def play(writer: asyncio.StreamWriter) -> None:
        head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *fields])
        writer.write(f"{head}\r\n\r\n".encode() + body)
        await writer.drain()

    return play


async def _endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"100000\r\n" + bytes(0x100000) + b"\r\n")
        await writer.drain()


async def _dripping(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)


async def _broken_off(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    await writer.drain()


async def _no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    ("play", "error", "reason"),
    [
        (answering("301 Moved", b"", "Location: http://127.0.0.1:1/"), BackendMisconfigured, "redirects"),
        (answering("307 Elsewhere", b"", "Location: http://127.0.0.1:1/"), BackendMisconfigured, "redirects"),
        (answering("200 OK", b"<html>"), BackendMisconfigured, "no JSON object"),
        (answering("204 Nothing", b""), BackendMisconfigured, "no JSON object"),
        (answering("200 OK", b"{}"), BackendMisconfigured, "'zone' is missing"),
        (answering("200 OK", b'{"zone": 7}'), BackendMisconfigured, "cannot be understood"),
        (answering("200 OK", b"\x1f\x8b\x08\0", "Content-Encoding: gzip"), BackendMisconfigured, "no JSON object"),
        (answering("200 OK", b"[" * 100_000), BackendMisconfigured, "no JSON object"),
        (answering("404 Not Found", b""), BackendMisconfigured, "look at `url`"),
        (answering("502 Bad Gateway", b"<html>"), BackendUnavailable, "answers 502"),
        (_endless, BackendUnavailable, f"more than {LARGEST_ANSWER} octets"),
        (_dripping, BackendUnavailable, "did not answer within 1 s"),
        (_broken_off, BackendUnavailable, "connection was lost"),
        (_no_http, BackendUnavailable, "connection was lost"),
    ],
)
async def test_whatever_answers_the_error_is_one_of_the_interface_and_in_time(
    play: Play, error: type[BackendError], reason: str, tmp_path: Path
) -> None:
    key = tmp_path / "webhook.key"
    key.touch(mode=0o600)
    key.write_text(SECRET)
    async with playing(play) as url:
        backend = WebhookBackend(CONTEXT, WebhookOptions(url=url, key=key, timeout=1.0))
        began = time.monotonic()
        with pytest.raises(BackendError, match=reason) as failed:
            await backend.open()
        assert type(failed.value) is error
        assert time.monotonic() - began < 2.0
        assert SECRET not in failed.value.reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"zone": "%s", "delegations": [], "next": "x"}', "`next` is a new cursor"),
        (b'{"zone": "%s", "delegations": [], "next": 7}', "`next` is a new cursor"),
        (b'{"zone": "%s", "delegations": 7}', "cannot be understood"),
        (b'{"zone": "%s"}', "'delegations' is missing"),
    ],
)
async def test_a_list_that_makes_no_sense_ends(body: bytes, reason: str, tmp_path: Path) -> None:
    key = tmp_path / "webhook.key"
    key.touch(mode=0o600)
    key.write_text(SECRET)
    async with playing(answering("200 OK", body % PARENT.encode())) as url:
        backend = WebhookBackend(CONTEXT, WebhookOptions(url=url, key=key))
        await backend.open()
        with pytest.raises(BackendMisconfigured, match=reason):
            assert [each async for each in backend.children()] == []
        await backend.close()


async def test_a_delegation_without_a_name_is_listed_with_what_is_wrong_and_the_others_are_listed(
    tmp_path: Path,
) -> None:
    key = tmp_path / "webhook.key"
    key.touch(mode=0o600)
    key.write_text(SECRET)
    whole = b'{"child": "child0.%s", "ns": ["ns.elsewhere.test."], "ds": [], "glue": {}}' % PARENT.encode()
    body = b'{"zone": "%s", "delegations": [{}, %s]}' % (PARENT.encode(), whole)
    async with playing(answering("200 OK", body)) as url:
        backend = WebhookBackend(CONTEXT, WebhookOptions(url=url, key=key))
        await backend.open()
        nameless, listed = [each async for each in backend.children()]
        assert isinstance(nameless, Unreadable)
        assert "a delegation is an object with `child`, `ns`, `ds` and `glue`" in nameless.reason
        assert isinstance(listed, Reading)
        assert listed.delegation.child == child("child0")
        await backend.close()


async def test_a_look_up_that_leaves_a_name_out_is_no_answer(tmp_path: Path) -> None:
    key = tmp_path / "webhook.key"
    key.touch(mode=0o600)
    key.write_text(SECRET)
    body = b'{"zone": "%s", "delegations": [{"child": "other.%s", "ns": [], "ds": [], "glue": {}}]}' % (
        (PARENT.encode(),) * 2
    )
    async with playing(answering("200 OK", body)) as url:
        backend = WebhookBackend(CONTEXT, WebhookOptions(url=url, key=key))
        await backend.open()
        with pytest.raises(BackendMisconfigured, match=rf"says nothing of child0\.{PARENT}"):
            await backend.read(child("child0"))
        await backend.close()
