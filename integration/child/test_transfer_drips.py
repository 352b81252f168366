"""A primary whose transfer never ends: it sends a record now and then."""

import asyncio
import struct

import dns.message
import dns.name
import dns.rrset
import pytest

from zonecut.agent.zone.axfr import TransferSource
from zonecut.agent.zone.zone_content import SourceError
from zonecut.protocol import names


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    length: int = struct.unpack("!H", await reader.readexactly(2))[0]
    query = dns.message.from_wire(await reader.readexactly(length))
    zone = query.question[0].name

    def send(name: dns.name.Name, kind: str, rdata: str) -> None:
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text(name, 60, "IN", kind, rdata))
        wire = response.to_wire()
        writer.write(struct.pack("!H", len(wire)) + wire)

    send(zone, "SOA", "ns. h. 1 1 1 1 1")
    try:
        for number in range(1000):
            send(dns.name.from_text(f"x{number}", zone), "TXT", "x")
            await writer.drain()
            await asyncio.sleep(0.02)
    except OSError:
        return
    finally:
        writer.transport.abort()


async def test_a_transfer_that_drips_for_ever_is_given_up() -> None:
    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        at = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        source = TransferSource(names.from_text("child.parent.test."), at, patience=0.1)
        with pytest.raises(SourceError, match=r"AXFR .* did not end within 2 s"):
            async with asyncio.timeout(10):
                await source.content()
        # the primary notices
        await asyncio.sleep(0.2)
