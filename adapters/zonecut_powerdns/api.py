"""The HTTP API of one zone: requests, their time limits, and their failures as errors of the Backend interface."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx2

from zonecut.plugin import BackendMisconfigured, BackendUnavailable
from zonecut.plugin.http import failures, make_client
from zonecut.protocol import names
from zonecut_powerdns.answers import failure
from zonecut_powerdns.bodies import Holdings, SwitchedOff, holdings
from zonecut_powerdns.content import name_text, zone_id
from zonecut_powerdns.options import PowerDnsOptions
from zonecut_powerdns.switchedoff import Document, switched_off

_REQUESTS_AT_A_TIME = 4
"""PowerDNS 4.7 has a short queue for connections, and makes a new one of every request: with sixteen, some wait 1 s."""

_CHUNK = 65536
_MOST_FOUND = 100_000
"""Results of a search, which are filtered here: names are found in contents, too."""


class Api:
    """One zone on one server, over one HTTP client."""

    def __init__(self, zone: bytes, options: PowerDnsOptions, key: str) -> None:
        """Raises BackendMisconfigured for a file of certificates that cannot be used."""
        self._options = options
        self._zone = zone
        self._path = f"/api/v1/servers/{options.server_id}/zones/{zone_id(zone)}"
        self._room = asyncio.Semaphore(_REQUESTS_AT_A_TIME)
        headers = {"X-API-Key": key, "Accept": "application/json, text/plain"}
        self._client = make_client(options.url, ca=options.ca, timeout=options.timeout, headers=headers)

    async def close(self) -> None:
        await self._client.aclose()

    async def settings(self) -> Mapping[str, Any]:
        """The zone's document without its RRsets."""
        return await self._document({"rrsets": "false"})

    async def set(self, settings: Mapping[str, Any]) -> None:
        """Change settings of the zone, and no others."""
        await self._request("PUT", self._path, content=json.dumps(settings).encode())

    async def at(self, owner: bytes) -> Holdings:
        """What the zone holds at a name, read from the database."""
        document = await self._document({"rrset_name": name_text(owner)})
        try:
            return holdings(document, owner)
        except ValueError as error:
            raise BackendUnavailable(
                f"PowerDNS sent a record at {names.to_text(owner)} that cannot be read: {error}"
            ) from None

    async def patch(self, body: bytes) -> None:
        """Carry out replacements of RRsets, all or none."""
        await self._request("PATCH", self._path, content=body, patience=self._options.write_timeout)

    async def rectify(self) -> None:
        """Have the zone's order and flags for DNSSEC put right."""
        await self._request("PUT", f"{self._path}/rectify", patience=self._options.write_timeout)

    async def flush(self) -> None:
        """Make the server forget what it has cached of the zone: its DNS answers come from the database again."""
        path = f"/api/v1/servers/{self._options.server_id}/cache/flush"
        await self._request("PUT", path, params={"domain": name_text(self._zone)})

    async def export(self) -> AsyncGenerator[list[bytes], None]:
        """The lines of the whole zone as text, some at a time and in the server's order; to be closed with aclosing.

        The time limit is one of progress. Raises BackendUnavailable when the text ends early.
        """
        rest = b""
        async with aclosing(self._stream(f"{self._path}/export", "text/plain", self._options.timeout)) as chunks:
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                yield lines
        if rest:
            yield [rest]

    async def owners_with_disabled(self) -> AsyncGenerator[list[bytes], None]:
        """The owners of records that are switched off, some at a time, from the whole zone; close it with aclosing."""
        document = Document()
        try:
            async with aclosing(self._stream(self._path, "application/json", self._options.write_timeout)) as chunks:
                async for chunk in chunks:
                    yield list(document.owners(chunk))
            document.finish()
        except ValueError as error:
            raise BackendUnavailable(f"PowerDNS sent a zone that cannot be read: {error}") from None

    async def disabled_at(self, owner: bytes) -> SwitchedOff:
        """The contents at a name that are switched off. The server looks through its whole database for them."""
        path = f"/api/v1/servers/{self._options.server_id}/search-data"
        text = name_text(owner).removesuffix(".")
        params = {"q": text, "max": str(_MOST_FOUND), "object_type": "record"}
        body = await self._request("GET", path, params=params, patience=self._options.write_timeout)
        try:
            return switched_off(json.loads(body), self._zone, owner)
        except ValueError as error:
            raise BackendUnavailable(f"PowerDNS sent a search result that cannot be read: {error}") from None

    async def _stream(self, path: str, kind: str, patience: float) -> AsyncGenerator[bytes, None]:
        """A long answer as it comes. The time limit is one of progress."""
        limits = httpx2.Timeout(patience, connect=min(patience, self._options.timeout))
        async with (
            self._room,
            failures(self._options.url, patience),
            self._client.stream("GET", path, headers={"Accept": kind}, timeout=limits) as answer,
        ):
            if answer.status_code != httpx2.codes.OK:
                raise self._failure(answer.status_code, await answer.aread())
            async for chunk in answer.aiter_bytes(_CHUNK):
                yield chunk

    async def _document(self, params: Mapping[str, str]) -> Mapping[str, Any]:
        body = await self._request("GET", self._path, params=params)
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if not isinstance(document, dict) or "name" not in document:
            raise BackendMisconfigured(
                f"{self._options.url} sent something that is no zone of PowerDNS: look at `url` of its API"
            )
        return document

    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        patience: float | None = None,
    ) -> bytes:
        """The body of a successful answer. Raises BackendError; the time limit is for the whole exchange."""
        headers = {"Content-Type": "application/json"} if content is not None else None
        patience = patience or self._options.timeout
        limits = httpx2.Timeout(patience, connect=min(patience, self._options.timeout))
        async with self._room, failures(self._options.url, patience), asyncio.timeout(patience):
            answer = await self._client.request(
                method, path, params=params, content=content, headers=headers, timeout=limits
            )
        if not answer.is_success:
            raise self._failure(answer.status_code, answer.content)
        return answer.content

    def _failure(self, status: int, body: bytes) -> Exception:
        options = self._options
        zone = names.to_text(self._zone)
        return failure(status, body, zone=zone, server_id=options.server_id, key_file=str(options.api_key))
