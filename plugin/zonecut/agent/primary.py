"""Questions to the DNS server that holds a child zone: over TCP, and signed with TSIG where there is a key."""

import asyncio
import os
import secrets

from zonecut.agent.content import SourceError
from zonecut.plugin.endpoint import Endpoint
from zonecut.plugin.tsig import NotAuthentic, sign, verify
from zonecut.plugin.tsigkey import TsigKey
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.update import type_text
from zonecut.resolve.delegation import rcode_text
from zonecut.resolve.failures import NoAnswer
from zonecut.resolve.reply import Reply, read_reply
from zonecut.resolve.transport import over_tcp

_AT_ONCE = 8
_DNSSEC_OK = 0x8000
_ANSWERS = (Rcode.NOERROR, Rcode.NXDOMAIN)
_TSIG_ERRORS = {int(Rcode.BADSIG): "BADSIG", int(Rcode.BADKEY): "BADKEY", int(Rcode.BADTIME): "BADTIME"}
_ADVICE = {
    int(Rcode.SERVFAIL): "the zone is not loaded there, or it has expired: see the log of that server",
    int(Rcode.REFUSED): "it does not have the zone, or does not let us ask (allow-query, `tsig`)",
    int(Rcode.NOTAUTH): "it does not have the zone, or not the TSIG key",
}


class Primary:
    """The server at an address and port. A few questions are asked at the same time, each on its own connection."""

    def __init__(self, server: Endpoint, key: TsigKey | None = None, patience: float = 5.0) -> None:
        """`patience`: seconds for each question."""
        self.server = server
        self.key = key
        self.patience = patience
        self._places = asyncio.Semaphore(_AT_ONCE)

    def __str__(self) -> str:
        return str(self.server)

    async def ask(self, name: bytes, rtype: int) -> Reply:
        """The reply, NOERROR or NXDOMAIN, with signatures where the zone is signed. Raises SourceError."""
        what = f"{self} about {names.to_text(name)} {type_text(rtype)}"
        try:
            async with self._places, asyncio.timeout(self.patience):
                reply = await self._exchange(name, rtype)
        except TimeoutError:
            raise SourceError(f"{what}: silent for {self.patience:g} s") from None
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise SourceError(f"{what}: {reason}") from None
        except (NoAnswer, MalformedMessage, NotAuthentic) as error:
            raise SourceError(f"{what}: {error}") from None
        if reply.rcode not in _ANSWERS:
            raise SourceError(f"{what}: {rcode_text(reply.rcode)}{_advice(reply.rcode)}")
        return reply

    async def _exchange(self, name: bytes, rtype: int) -> Reply:
        identity = secrets.randbelow(0x10000)
        query = message.query(identity, name, rtype, additional=[message.opt_record(flags=_DNSSEC_OK)])
        if self.key is None:
            wire = await over_tcp(query, self.server.address, self.server.port, None)
        else:
            signed = sign(query, self.key, identity)
            wire = await over_tcp(signed.wire, self.server.address, self.server.port, None)
            check_signature(wire, self.key, signed.mac)
        if int.from_bytes(wire[:2]) != identity:
            raise NoAnswer("a reply with another identity")
        reply = read_reply(wire, name, rtype)
        if reply.truncated:
            raise NoAnswer("a truncated reply over TCP")
        return reply


def check_signature(wire: bytes, key: TsigKey, mac: bytes) -> None:
    """Raises NotAuthentic, in words, unless a reply is signed as the request with this MAC asks for."""
    try:
        verify(walk(wire), key, mac)
    except NotAuthentic as trouble:
        name = str(key.name).removesuffix(".")
        if trouble.peer_error:
            error = _TSIG_ERRORS.get(trouble.peer_error, str(trouble.peer_error))
            raise NotAuthentic(f"the server reports the TSIG error {error} (key {name})", trouble.peer_error) from None
        raise NotAuthentic(f"the reply {trouble.reason} (key {name})") from None


def _advice(rcode: int) -> str:
    return f": {_ADVICE[rcode]}" if rcode in _ADVICE else ""


def soa_serial(rdata: bytes) -> int:
    """The serial in the uncompressed RDATA of an SOA record (RFC 1035 section 3.3.13)."""
    return int.from_bytes(rdata[-20:-16])
