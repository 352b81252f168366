"""One query to one address and the octets that come back: UDP, TCP, TLS, HTTPS.

dnspython's transports hand out parsed messages and fail on a reply with one record that they cannot read; what is
needed here are the octets.
"""

import asyncio
import importlib
import ssl
from collections.abc import Callable
from typing import Any

from zonecut.files.regularfile import check_regular
from zonecut.net.streams import framed, put, read_framed
from zonecut.protocol.envelope import HEADER_LENGTH, MAX_MESSAGE
from zonecut.resolve.failures import NoAnswer, ResolveError
from zonecut.resolve.nameserver import Nameserver

_MEDIA_TYPE = "application/dns-message"


class _Datagrams(asyncio.DatagramProtocol):
    """Waits for the first datagram that is the reply; whatever else arrives could be anybody's."""

    def __init__(self, is_reply: Callable[[bytes], bool]) -> None:
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._is_reply = is_reply

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self.reply.done() and self._is_reply(data):
            self.reply.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(exc)


async def over_udp(
    query: bytes, address: str, port: int, source: str | None, is_reply: Callable[[bytes], bool]
) -> bytes:
    """The first reply that `is_reply` accepts. Raises OSError.

    The socket is connected, so that the kernel drops what comes from elsewhere, and new, so that its port is random.
    """
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Datagrams(is_reply),
        remote_addr=(address, port),
        local_addr=(source, 0) if source else None,
    )
    try:
        transport.sendto(query)
        return await protocol.reply
    finally:
        transport.close()


async def over_tcp(
    query: bytes,
    address: str,
    port: int,
    source: str | None,
    tls: ssl.SSLContext | None = None,
    tls_name: str | None = None,
) -> bytes:
    """The first message that comes back (RFC 1035 section 4.2.2, RFC 7858 section 3.3). Raises OSError, NoAnswer."""
    reader, writer = await asyncio.open_connection(
        address,
        port,
        local_addr=(source, 0) if source else None,
        ssl=tls,
        server_hostname=(tls_name or address) if tls else None,
    )
    try:
        put(writer, framed(query))
        await writer.drain()
        return await read_framed(reader)
    except asyncio.IncompleteReadError:
        raise NoAnswer("the connection was closed before the reply was complete") from None
    finally:
        # Closing in good order could take as long as the other side likes.
        writer.transport.abort()


class Https:
    """DoH to one nameserver. Raises ResolveError at once where the libraries for it are missing."""

    def __init__(self, server: Nameserver, source: str | None) -> None:
        self._client = _http_library(server)
        host = f"[{server.address}]" if ":" in server.address else server.address
        self._url = f"https://{host}:{server.port}{server.path}"
        self._extensions = {"sni_hostname": server.tls_name} if server.tls_name else {}
        self._host = server.tls_name or host
        self._tls = tls_context(server)
        self._source = source

    async def exchange(self, query: bytes) -> bytes:
        """The reply (RFC 8484 section 4). Raises NoAnswer."""
        transport = self._client.AsyncHTTPTransport(verify=self._tls, http2=True, local_address=self._source)
        # Neither a proxy from the environment nor a redirection may lead elsewhere.
        async with self._client.AsyncClient(transport=transport, trust_env=False, follow_redirects=False) as client:
            headers = {"content-type": _MEDIA_TYPE, "accept": _MEDIA_TYPE, "host": self._host}
            try:
                request = client.stream("POST", self._url, content=query, headers=headers, extensions=self._extensions)
                async with request as response:
                    return await _body(response)
            except self._client.HTTPError as error:
                raise NoAnswer(f"{error or type(error).__name__}") from None


async def _body(response: Any) -> bytes:
    if response.status_code != 200 or response.headers.get("content-type") != _MEDIA_TYPE:
        raise NoAnswer(f"HTTP status {response.status_code}, {response.headers.get('content-type')}")
    body = b""
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > MAX_MESSAGE:
            raise NoAnswer("more octets than a DNS message has")
    if len(body) < HEADER_LENGTH:
        raise NoAnswer("fewer octets than a DNS message has")
    return body


def _http_library(server: Nameserver) -> Any:
    try:
        importlib.import_module("h2")
    except ImportError:
        raise ResolveError(f"{server}: DNS over HTTPS needs the Python package h2") from None
    for name in ("httpx2", "httpx"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ResolveError(f"{server}: DNS over HTTPS needs the Python package httpx2 (or httpx)")


def tls_context(server: Nameserver) -> ssl.SSLContext:
    """A context that checks the certificate and the name on it. Raises ResolveError for a file it cannot read."""
    try:
        if server.ca_file:
            check_regular(server.ca_file)
        context = ssl.create_default_context(cafile=str(server.ca_file) if server.ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ResolveError(f"{server}: certificates in {server.ca_file} cannot be read: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
