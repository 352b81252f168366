"""The HTTP server of the hook: several requests on a connection, and none that holds it up."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest

from zonecut.net.endpoint import Endpoint
from zonecut.powerdns_api import http_server
from zonecut.powerdns_api.front_end import Reply
from zonecut.powerdns_api.http_server import Head, HttpServer, ReadBody

WITH_BODY = b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
PLAIN = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"


async def answer(head: Head, body: ReadBody) -> Reply:
    """Say what came; the body is read only of what is posted."""
    if head.target == "/slow":
        await asyncio.sleep(0.2)
    if head.target == "/defect":
        raise ZeroDivisionError
    if head.target == "/noted":
        return Reply(HTTPStatus.NO_CONTENT, notes=("one\r\nSet-Cookie: x", "b\u00fccher"))
    read = (await body()).decode() if head.method == "POST" else None
    return Reply(HTTPStatus.OK, {"method": head.method, "target": head.target, "body": read})


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[HttpServer, int]]:
    monkeypatch.setattr(http_server, "PATIENCE", 0.3)
    server = HttpServer(answer)
    await server.listen(Endpoint("127.0.0.1", 0), None)
    (bound,) = server._servers.values()
    yield server, bound.sockets[0].getsockname()[1]
    await server.close(1)


async def said(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """All that comes back for these octets until the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def statuses(octets: bytes) -> list[int]:
    return [int(part[:3]) for part in octets.split(b"HTTP/1.1 ")[1:]]


async def test_requests_follow_one_another_on_a_connection(served: tuple[HttpServer, int]) -> None:
    _, port = served
    octets = await said(port, *(WITH_BODY % number + PLAIN % number for number in range(20)))
    assert statuses(octets) == [200] * 40
    assert octets.count(b'"body": "abc"') == 20


async def test_a_body_with_two_lengths_is_refused_and_nothing_after_it_is_read(
    served: tuple[HttpServer, int],
) -> None:
    """RFC 9112 section 6.3: who is before us may take the next octets for another request."""
    _, port = served
    both = b"POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    answers = await said(port, both + PLAIN % 2)
    assert statuses(answers) == [400]
    assert b"Content-Length beside Transfer-Encoding" in answers


async def test_a_head_is_answered_without_a_body(served: tuple[HttpServer, int]) -> None:
    octets = await said(served[1], b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert statuses(octets) == [200]
    assert octets.endswith(b"\r\n\r\n")


async def test_notes_are_fields_of_one_line_each(served: tuple[HttpServer, int]) -> None:
    heard = await said(served[1], b"GET /noted HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"\r\nX-Zonecut-Note: one\\r\\nSet-Cookie: x\r\nX-Zonecut-Note: b\\xfccher\r\n" in heard


async def test_who_waits_for_a_go_ahead_gets_it(served: tuple[HttpServer, int]) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    assert statuses(await said(served[1], head, b"abc", pause=0.05)) == [100, 200]
    # whose body is not wanted is told at once
    octets = await said(served[1], head.replace(b"POST", b"PUT"))
    assert (statuses(octets), b"Connection: close" in octets) == ([200], True)


async def test_a_body_that_is_not_read_ends_the_connection(served: tuple[HttpServer, int]) -> None:
    octets = await said(served[1], (WITH_BODY % 1).replace(b"POST", b"PUT") + PLAIN % 2)
    assert (statuses(octets), b"Connection: close" in octets) == ([200], True)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([b""], []),
        ([b"GET / HT"], []),
        ([bytes([octet]) for octet in b"GET / HTTP/1.1\r\nHost: x\r\nA: bbbbbbbbbbbbbbbbbbbbbbb"], []),
        ([b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"], [408]),
        ([b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", *[b"a"] * 9], [408]),
    ],
)
async def test_who_is_slow_is_not_waited_for(
    served: tuple[HttpServer, int], parts: list[bytes], expected: list[int]
) -> None:
    began = asyncio.get_running_loop().time()
    assert statuses(await said(served[1], *parts, pause=0.05)) == expected
    assert asyncio.get_running_loop().time() - began < 4


async def test_a_body_that_is_too_large_is_refused_before_its_end(
    served: tuple[HttpServer, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "LARGEST_BODY", 1000)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert statuses(await said(served[1], head, *[b"64\r\n" + b"a" * 100 + b"\r\n"] * 11)) == [413]
    assert statuses(await said(served[1], head, b"64\r\n" + b"a" * 100 + b"\r\n0\r\n\r\n")) == [200]


async def test_there_are_only_so_many_connections_and_idle_ones_give_way(
    served: tuple[HttpServer, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens very many and asks for nothing keeps nobody out."""
    monkeypatch.setattr(http_server, "MOST_CONNECTIONS", 3)
    connections = [await asyncio.open_connection("127.0.0.1", served[1]) for _ in range(5)]
    await asyncio.sleep(0.1)
    open_ones = []
    for reader, writer in connections:
        try:
            writer.write(PLAIN % 1)
            async with asyncio.timeout(2):
                open_ones.append(bool(await reader.read(10)))
        except ConnectionError:
            open_ones.append(False)
        writer.close()
    assert open_ones == [False, False, True, True, True]
    await asyncio.sleep(0.5)
    assert statuses(await said(served[1], PLAIN % 1)) == [200]


async def test_a_defect_ends_one_connection_and_no_other(served: tuple[HttpServer, int]) -> None:
    assert await said(served[1], b"GET /defect HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    assert statuses(await said(served[1], PLAIN % 1)) == [200]


async def test_what_is_being_answered_at_the_end_is_answered(served: tuple[HttpServer, int]) -> None:
    server, port = served
    asking = asyncio.create_task(said(port, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + PLAIN % 2))
    idle = asyncio.create_task(said(port))
    await asyncio.sleep(0.1)
    await server.close(2)
    octets = await asking
    assert (statuses(octets), b"Connection: close" in octets) == ([200], True)
    assert await idle == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_who_speaks_no_tls_gets_no_answer_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "PATIENCE", 0.3)
    server = HttpServer(answer)
    await server.listen(Endpoint("127.0.0.1", 0), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    (bound,) = server._servers.values()
    port = bound.sockets[0].getsockname()[1]
    assert statuses(await said(port, PLAIN % 1)) == []
    assert statuses(await said(port, b"")) == []
    await server.close(1)
