"""HTTP with a connection for each request: PowerDNS 4.7 closes it after the answer, so there is none to be kept.

The protocol is h11's. A client that could keep connections takes three times as long, and a change is several requests.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import h11

from zonecut.net.streams import put
from zonecut.plugin import BackendMisconfigured, BackendUnavailable
from zonecut.plugin.tls import client_context

_CHUNK = 65536
_ACCEPTED = "application/json, text/plain"


class Answer:
    """An answer whose head has come."""

    def __init__(self, reader: asyncio.StreamReader, protocol: h11.Connection, patience: float) -> None:
        self._reader = reader
        self._protocol = protocol
        self._patience = patience
        self.status = 0

    async def begin(self) -> None:
        """Wait for the head."""
        while not isinstance(event := await self._event(), h11.Response):
            pass  # a provisional response
        self.status = event.status_code

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes."""
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def _event(self) -> h11.Event:
        while not isinstance(event := self._protocol.next_event(), h11.Event):
            async with asyncio.timeout(self._patience):
                self._protocol.receive_data(await self._reader.read(_CHUNK))
        return event


class Client:
    """What sends requests to one server.

    No redirect is followed and no proxy used: what writes to a zone goes where the configuration says.
    """

    def __init__(self, url: str, ca: Path | None, headers: Mapping[str, str], connect_within: float) -> None:
        """`headers` come with each request; a connection may take `connect_within` seconds.

        Raises BackendMisconfigured for certificates that cannot be used.
        """
        parts = urlsplit(url)
        self._url = url
        self._tls = client_context(ca) if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._path = parts.path
        self._connect_within = connect_within
        self._headers = {
            "Host": parts.netloc,
            "Connection": "close",
            "Accept": "application/json, text/plain",
            **headers,
        }

    async def request(
        self, method: str, target: str, patience: float, content: bytes | None = None
    ) -> tuple[int, bytes]:
        """The status of an answer, and its body. `patience`, in seconds, is for the whole exchange.

        Raises BackendUnavailable and BackendMisconfigured.
        """
        try:
            async with asyncio.timeout(patience), self.exchange(method, target, patience, {}, content) as answer:
                return answer.status, await answer.read()
        except TimeoutError:
            raise self._late(patience) from None

    @asynccontextmanager
    async def exchange(
        self, method: str, target: str, patience: float, headers: Mapping[str, str], content: bytes | None = None
    ) -> AsyncGenerator[Answer, None]:
        """The answer to a request, its body still to be read. `patience`, in seconds, is for each step.

        Raises BackendUnavailable and BackendMisconfigured, also for what happens in reading.
        """
        writer = None
        try:
            async with asyncio.timeout(min(patience, self._connect_within)):
                reader, writer = await self._connect()
            protocol = h11.Connection(h11.CLIENT)
            put(writer, self._octets(protocol, method, target, headers, content))
            with suppress(ConnectionError):  # the server may have answered before it had read everything
                async with asyncio.timeout(patience):
                    await writer.drain()
            answer = Answer(reader, protocol, patience)
            await answer.begin()
            yield answer
        except TimeoutError:
            raise self._late(patience) from None
        except (OSError, h11.ProtocolError) as error:
            raise BackendUnavailable(
                f"{self._url}: the connection was lost ({error or type(error).__name__})"
            ) from error
        finally:
            if writer is not None:
                writer.transport.abort()

    def _octets(
        self, protocol: h11.Connection, method: str, target: str, headers: Mapping[str, str], content: bytes | None
    ) -> bytes:
        sent = {**self._headers, **headers}
        if content is not None:
            sent["Content-Type"] = "application/json"
        if method != "GET":
            sent["Content-Length"] = str(len(content or b""))
        events = [
            h11.Request(method=method, target=self._path + target, headers=list(sent.items())),
            *([h11.Data(content)] if content else []),
            h11.EndOfMessage(),
        ]
        return b"".join(protocol.send(event) or b"" for event in events)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        except ssl.SSLCertVerificationError as error:
            raise BackendMisconfigured(f"{self._url} cannot prove who it is: {error}; look at `ca`") from error
        except (OSError, ValueError) as error:  # a name that is none is a ValueError
            raise BackendUnavailable(f"{self._url} cannot be reached: {error}") from error

    def _late(self, patience: float) -> BackendUnavailable:
        return BackendUnavailable(
            f"{self._url} did not answer within {patience:g} s; its database may be locked by another writer"
        )
