"""The HTTP API of one zone: requests, their time limits, and their failures as errors of the Backend interface."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http import HTTPStatus
from tempfile import SpooledTemporaryFile
from typing import Any
from urllib.parse import quote, urlencode

from zonecut.plugin import BackendMisconfigured, BackendUnavailable
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut_powerdns.answers import failure
from zonecut_powerdns.bodies import Held, Holdings, SwitchedOff, holdings, patch
from zonecut_powerdns.content import name_text, zone_id
from zonecut_powerdns.exchange import Client
from zonecut_powerdns.options import PowerDnsOptions
from zonecut_powerdns.switchedoff import Document

_REQUESTS_AT_A_TIME = 4
"""PowerDNS 4.7 has a short queue for connections, and makes a new one of every request: with sixteen, some wait 1 s."""

_IN_MEMORY = 2**20
"""So many octets of a long answer are kept in memory; more than that, on disk."""
_PART = 2**16
"""So many of them are looked at in one go."""

_SOA = b"\tSOA\t"


class Api:
    """One zone on one server."""

    def __init__(self, zone: bytes, options: PowerDnsOptions, key: str) -> None:
        """Raises BackendMisconfigured for a file of certificates that cannot be used."""
        self._options = options
        self._zone = zone
        self._path = f"/api/v1/servers/{options.server_id}/zones/{zone_id(zone)}"
        self._room = asyncio.Semaphore(_REQUESTS_AT_A_TIME)
        self._client = Client(options.url, options.ca, {"X-API-Key": key}, options.timeout)

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

    async def check_soa(self) -> None:
        """Raises BackendUnavailable for a zone without SOA: what is missing there says nothing.

        That is what one looks like that is being filled anew. The serial in the zone's document may be a cached one.
        """
        apex = await self.at(self._zone)
        if (self._zone, int(RRType.SOA)) not in apex.rrsets:
            raise self._without_soa()

    def _without_soa(self) -> BackendUnavailable:
        return BackendUnavailable(f"PowerDNS holds no SOA of {names.to_text(self._zone)}: is it being loaded anew?")

    async def serial(self) -> int:
        """The zone's serial number in the database, not the one that may be served. Raises as `check_soa`."""
        return (await self.soa())[0]

    async def soa(self) -> tuple[int, Held]:
        """The serial number, and the whole record."""
        found = (await self.at(self._zone)).rrsets.get((self._zone, int(RRType.SOA)))
        if found is None:
            raise self._without_soa()
        return int.from_bytes(found.rdatas[0][-20:-16]), found

    async def raise_serial(self, above: int) -> None:
        """Write the SOA record with this serial number, which the server raises as for every PATCH."""
        _, held = await self.soa()
        (text,) = held.contents.values()
        fields = text.split()
        record = {"content": " ".join((*fields[:2], str(above), *fields[3:])), "disabled": False}
        item = {"name": name_text(self._zone), "type": "SOA", "changetype": "REPLACE", "ttl": held.ttl}
        await self.patch(patch([{**item, "records": [record]}]))

    async def patch(self, body: bytes) -> None:
        """Carry out replacements of RRsets, all or none. What was cached of the zone is forgotten, too."""
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

        The time limit is one of progress. Raises BackendUnavailable when the text ends early, or has no SOA.
        """
        rest = b""
        is_zone = False
        async with aclosing(self._stream(f"{self._path}/export", "text/plain", self._options.timeout)) as chunks:
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                is_zone = is_zone or any(_SOA in line for line in lines)
                yield lines
        if not is_zone and _SOA not in rest:
            raise self._without_soa()
        if rest:
            yield [rest]

    async def disabled(self) -> AsyncGenerator[SwitchedOff, None]:
        """The contents that are switched off, some at a time, from the whole zone; to be closed with aclosing.

        By name the server does not show them, and its search finds nothing in some of its databases.
        """
        document = Document()
        try:
            async with aclosing(self._stream(self._path, "application/json", self._options.write_timeout)) as chunks:
                async for chunk in chunks:
                    yield dict(document.switched_off(chunk))
            document.finish()
        except ValueError as error:
            raise BackendUnavailable(f"PowerDNS sent a zone that cannot be read: {error}") from None

    async def _stream(self, path: str, kind: str, patience: float) -> AsyncGenerator[bytes, None]:
        """A long answer, some at a time. The time limit is one of progress.

        It is taken as fast as it comes, and looked at afterwards: PowerDNS 4.9 ends the connection of one who does not
        take all of it within some seconds, and with many delegations, looking takes longer.
        """
        with SpooledTemporaryFile(_IN_MEMORY) as taken:
            async with self._room, self._client.exchange("GET", path, patience, {"Accept": kind}) as answer:
                if answer.status != HTTPStatus.OK:
                    raise self._failure(answer.status, await answer.read())
                async with aclosing(answer.chunks()) as chunks:
                    async for chunk in chunks:
                        taken.write(chunk)
            taken.seek(0)
            while part := taken.read(_PART):
                yield part

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
        patience = patience or self._options.timeout
        target = f"{path}?{urlencode(params, quote_via=quote)}" if params else path
        async with self._room:
            status, body = await self._client.request(method, target, patience, content)
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise self._failure(status, body)
        return body

    def _failure(self, status: int, body: bytes) -> Exception:
        options = self._options
        zone = names.to_text(self._zone)
        return failure(status, body, zone=zone, server_id=options.server_id, key_file=str(options.api_key))
