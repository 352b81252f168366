"""The serial of a zone as a server serves it, by a query over TCP."""

import asyncio

from zonecut.net.endpoint import Endpoint
from zonecut.net.streams import framed, put, read_framed
from zonecut.plugin.backend import BackendMisconfigured, BackendUnavailable
from zonecut.protocol import envelope, message, names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.flags import AUTHORITATIVE

_SHORTEST = 22
"""Octets of SOA RDATA of which both names are the root."""


async def served_serial(zone: bytes, server: Endpoint, patience: float) -> int:
    """The serial that a server gives with authority. Raises BackendUnavailable, also where there is no such zone
    (yet): that is what a server looks like that has not loaded it."""
    question = message.query(0, zone, RRType.SOA)
    writer = None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(server.address, server.port)
            put(writer, framed(question))
            wire = await read_framed(reader)
        answer = envelope.walk(wire)
        for record in answer.section(envelope.ANSWER):
            if record.rtype == RRType.SOA and answer.flags & AUTHORITATIVE and answer.name(record.start) == zone:
                if record.end - record.rdata < _SHORTEST:
                    raise MalformedMessage("has an SOA record of a wrong length")
                # five numbers at the end; the names before them may be compressed
                return int.from_bytes(wire[record.end - 20 : record.end - 16])
    except TimeoutError:
        raise BackendUnavailable(f"the DNS service at {server} did not answer within {patience:g} s") from None
    except (OSError, asyncio.IncompleteReadError) as error:
        raise BackendUnavailable(f"the DNS service at {server} cannot be reached: {error}") from error
    except MalformedMessage as error:
        raise BackendMisconfigured(f"the DNS service at {server} sent an answer that {error.reason}") from error
    finally:
        if writer is not None:
            writer.close()
    raise BackendUnavailable(
        f"the DNS service at {server} does not serve {names.to_text(zone)}: its file does not load, or `dns` is another"
        " server's"
    )
