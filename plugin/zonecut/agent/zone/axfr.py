"""A child zone read by zone transfer, as a secondary would: AXFR first, then IXFR (RFC 5936, RFC 1995).

A zone of any size passes by message by message; the handful of records that are kept of it is `delegation_records`.
"""

import asyncio
import os
import secrets
from typing import Any

from zonecut.agent.zone.delegation_records import Kept
from zonecut.agent.zone.ixfr import IncomingTransfer, StartOver
from zonecut.agent.zone.primary import Primary, advice, read_serial, unsigned_text
from zonecut.agent.zone.zone_content import SourceError, ZoneContent
from zonecut.net.endpoint import Endpoint
from zonecut.net.streams import framed, put, read_framed
from zonecut.plugin.dns.tsig import NotAuthentic, sign, verify
from zonecut.plugin.dns.tsig_key import TsigKey
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRClass, RRType, rcode_text
from zonecut.protocol.envelope import Envelope, walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.flags import QUERY_RESPONSE

_PATIENCE = 30.0
"""Seconds for each message of a transfer."""

_WHOLE = 20
"""A transfer as a whole ends within so many times that: one that drips would keep others from being looked at."""

_TRIES = 4
_MAX_UNSIGNED = 99
"""Messages of a transfer in a row that may be without TSIG (RFC 8945 section 5.3.1)."""


class TransferSource:
    """Keeps up with the zone by transfers from its primary.

    Addresses of name servers are those that stand at their names: what a wildcard would make is not among them.
    """

    def __init__(self, zone: bytes, server: str, tsig: TsigKey | None = None, patience: float = _PATIENCE) -> None:
        """`patience`: seconds for each message."""
        self._zone = zone
        self._primary = Primary(Endpoint.parse(server), tsig)
        self._patience = patience
        self._servers: tuple[bytes, ...] = ()
        self._state: tuple[int, Kept] | None = None

    async def serial(self) -> int:
        return await read_serial(self._primary, self._zone)

    async def mark(self) -> object:
        return await self.serial()

    async def content(self) -> ZoneContent:
        state, self._state = self._state, None
        if state is not None:
            state = await self._follow(*state)
        if state is None:
            state = await self._whole()
        self._state, self._servers = state, state[1].servers
        return state[1].content(state[0])

    async def close(self) -> None:
        """Connections do not outlive their transfer."""

    async def _follow(self, serial: int, kept: Kept) -> tuple[int, Kept] | None:
        """The state after all changes since a serial; None where the whole zone has to be transferred."""
        try:
            incoming = await self._receive(IncomingTransfer(self._zone, kept, serial), RRType.IXFR, serial)
        except StartOver:
            return None
        return None if incoming.kept.missed else (incoming.serial, incoming.kept)

    async def _whole(self) -> tuple[int, Kept]:
        """The zone by AXFR; once more where the records of a name server had passed before it was named."""
        servers = self._servers
        for _ in range(_TRIES):
            incoming = await self._receive(IncomingTransfer(self._zone, Kept(self._zone, servers)), RRType.AXFR)
            if not incoming.kept.missed:
                return incoming.serial, incoming.kept
            servers = incoming.kept.servers
        raise SourceError(f"{names.to_text(self._zone)} changes its name servers faster than it can be transferred")

    async def _receive(self, incoming: IncomingTransfer, qtype: RRType, serial: int | None = None) -> IncomingTransfer:
        """Have a transfer taken in until it is done. Raises SourceError and StartOver."""
        what = f"{qtype.text} of {names.to_text(self._zone)} from {self._primary}"
        writer: asyncio.StreamWriter | None = None
        ends = asyncio.get_running_loop().time() + _WHOLE * self._patience
        try:
            async with asyncio.timeout(self._patience):
                reader, writer = await asyncio.open_connection(*self._primary.server)
                stream = Stream(reader, self._primary.key)
                put(writer, stream.request(self._zone, qtype, serial))
                await writer.drain()
            while not incoming.done:
                if asyncio.get_running_loop().time() > ends:
                    raise SourceError(f"{what}: did not end within {_WHOLE * self._patience:g} s")
                async with asyncio.timeout(self._patience):
                    envelope = await stream.receive()
                if envelope.rcode != Rcode.NOERROR:
                    if qtype == RRType.IXFR:
                        raise StartOver
                    raise SourceError(f"{what}: {rcode_text(envelope.rcode)}{advice(envelope.rcode, transfer=True)}")
                incoming.take(envelope)
                # a transfer that arrives faster than we read would otherwise never let others run
                await asyncio.sleep(0)
            stream.check_end()
        except TimeoutError:
            raise SourceError(f"{what}: stood still for {self._patience:g} s") from None
        except asyncio.IncompleteReadError:
            raise SourceError(f"{what}: the connection was closed before the end") from None
        except OSError as error:
            raise SourceError(f"{what}: {os.strerror(error.errno) if error.errno else error}") from None
        except (MalformedMessage, NotAuthentic) as error:
            raise SourceError(f"{what}: {error}") from None
        finally:
            if writer is not None:
                writer.transport.abort()
        return incoming


class Stream:
    """The messages of one transfer, and the TSIG that holds them together (RFC 8945 section 5.3.1)."""

    def __init__(self, reader: asyncio.StreamReader, key: TsigKey | None) -> None:
        self._reader = reader
        self._key = key
        self._mac = b""
        self._context: Any = None
        self._unsigned = 0
        self._identity = secrets.randbelow(0x10000)

    def request(self, zone: bytes, qtype: RRType, serial: int | None) -> bytes:
        """What to send first; `serial` is the known one of an IXFR."""
        known = [] if serial is None else [_soa(zone, serial)]
        wire = message.query(self._identity, zone, qtype, authority=known)
        if self._key is not None:
            signed = sign(wire, self._key, self._identity)
            wire, self._mac = signed.wire, signed.mac
        return framed(wire)

    async def receive(self) -> Envelope:
        """The next message. Raises MalformedMessage, NotAuthentic, and what a connection may."""
        envelope = walk(await read_framed(self._reader))
        if envelope.id != self._identity or not envelope.flags & QUERY_RESPONSE or envelope.opcode != 0:
            raise MalformedMessage("something came that is no answer to what was asked")
        if self._key is not None:
            self._verify(envelope, self._key)
        return envelope

    def check_end(self) -> None:
        """Raises NotAuthentic if the last messages were signed by nobody."""
        if self._unsigned:
            raise NotAuthentic("the end of the transfer is not signed")

    def _verify(self, envelope: Envelope, key: TsigKey) -> None:
        is_signed = bool(envelope.records) and envelope.records[-1].rtype == RRType.TSIG
        if not is_signed and self._context is not None and self._unsigned < _MAX_UNSIGNED:
            self._context.update(envelope.wire)
            self._unsigned += 1
            return
        try:
            self._context = verify(envelope, key, self._mac, self._context, transfer=True)
        except NotAuthentic as trouble:
            raise NotAuthentic(unsigned_text(trouble, key), trouble.peer_error) from None
        self._unsigned = 0


def _soa(zone: bytes, serial: int) -> bytes:
    """The SOA record that says in an IXFR which version is known: of it, the serial counts (RFC 1995 section 3)."""
    return message.record(zone, RRType.SOA, RRClass.IN, 0, names.ROOT * 2 + serial.to_bytes(4) + bytes(16))
