"""The HTTP endpoint of the metrics: GET /metrics, one request a connection, bounded in time, size and number."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus

from zonecut.net.streams import put

MOST_CONNECTIONS = 8
MOST_OCTETS = 8192
"""Of a request's head."""
PATIENCE = 5.0
"""Seconds that a client has for its request, and again for taking the response."""

Render = Callable[[str], Awaitable[tuple[bytes, str]]]
"""The body and its media type, for what an `Accept` header says."""


class ScrapeEndpoint:
    """Serves one address."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self._server: asyncio.Server | None = None
        self._open = 0

    async def listen(self, address: str, port: int) -> None:
        """Serve from now on. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, address, port, limit=MOST_OCTETS)

    def close(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MOST_CONNECTIONS:
                async with asyncio.timeout(PATIENCE):
                    head = await reader.readuntil(b"\r\n\r\n")
                response = await self._response(head.decode("latin-1"))
                async with asyncio.timeout(PATIENCE):
                    put(writer, response)
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who does not ask as HTTP has it, or not in time, is not answered
        finally:
            self._open -= 1
            with suppress(OSError):
                writer.close()

    async def _response(self, head: str) -> bytes:
        request, *lines = head.split("\r\n")
        words = request.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _plain(HTTPStatus.BAD_REQUEST)
        method, target, _ = words
        if target.partition("?")[0] != "/metrics":
            return _plain(HTTPStatus.NOT_FOUND)
        if method not in ("GET", "HEAD"):
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, "Allow: GET, HEAD\r\n")
        fields = (line.partition(":") for line in lines)
        accept = next((value.strip() for name, _, value in fields if name.strip().lower() == "accept"), "")
        body, media_type = await self._render(accept)
        start = _head(HTTPStatus.OK, media_type, len(body))
        return start if method == "HEAD" else start + body


def _plain(status: HTTPStatus, fields: str = "") -> bytes:
    body = f"{status.phrase}\n".encode()
    return _head(status, "text/plain; charset=utf-8", len(body), fields) + body


def _head(status: HTTPStatus, media_type: str, length: int, fields: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n"
        f"{fields}Connection: close\r\n\r\n"
    ).encode()
