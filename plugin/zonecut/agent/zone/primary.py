"""Questions to the DNS server that holds a child zone: over TCP, and signed with TSIG where there is a key."""

import asyncio
import os
import secrets

from zonecut.agent.zone.zone_content import SourceError, soa_serial
from zonecut.net.endpoint import Endpoint
from zonecut.plugin.dns.tsig import NotAuthentic, sign, verify
from zonecut.plugin.dns.tsig_key import TsigKey
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType, rcode_text, type_text
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.flags import DNSSEC_OK
from zonecut.resolve.failures import NoAnswer
from zonecut.resolve.reply import Reply, read_reply
from zonecut.resolve.transport import over_tcp

_AT_ONCE = 8
_ANSWERS = (Rcode.NOERROR, Rcode.NXDOMAIN)
_TSIG_ERRORS = {int(Rcode.BADSIG): "BADSIG", int(Rcode.BADKEY): "BADKEY", int(Rcode.BADTIME): "BADTIME"}
_ADVICE = {
    int(Rcode.SERVFAIL): "the zone is not loaded there, or it has expired: see the log of that server",
    int(Rcode.REFUSED): "it does not have the zone, or does not let us ask (allow-query, `tsig`)",
    int(Rcode.NOTAUTH): "it does not have the zone, or not the TSIG key",
}
_TRANSFER_ADVICE = {
    int(Rcode.REFUSED): "it does not have the zone, or does not let us transfer it (allow-transfer, acl, `tsig`)",
    int(Rcode.NOTAUTH): "it does not have the zone, does not let us transfer it, or does not have the TSIG key",
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
            raise SourceError(f"{what}: {rcode_text(reply.rcode)}{advice(reply.rcode)}")
        return reply

    async def _exchange(self, name: bytes, rtype: int) -> Reply:
        identity = secrets.randbelow(0x10000)
        query = message.query(identity, name, rtype, additional=[message.opt_record(flags=DNSSEC_OK)])
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


async def read_serial(primary: Primary, zone: bytes) -> int:
    """The serial of the zone there. Raises SourceError, also where the server has no authority for it."""
    reply = await primary.ask(zone, RRType.SOA)
    found = reply.find(zone, RRType.SOA)
    if found is None or not reply.authoritative:
        raise SourceError(f"{primary} is not authoritative for {names.to_text(zone)}")
    return soa_serial(found.wires[0])


def check_signature(wire: bytes, key: TsigKey, mac: bytes) -> None:
    """Raises NotAuthentic, in words, unless a reply is signed as the request with this MAC asks for."""
    try:
        verify(walk(wire), key, mac)
    except NotAuthentic as trouble:
        raise NotAuthentic(unsigned_text(trouble, key), trouble.peer_error) from None


def unsigned_text(trouble: NotAuthentic, key: TsigKey) -> str:
    """What is wrong with the signature of a reply, in words that name the key."""
    name = str(key.name).removesuffix(".")
    if trouble.peer_error:
        error = _TSIG_ERRORS.get(trouble.peer_error, str(trouble.peer_error))
        return f"the server reports the TSIG error {error} (key {name})"
    return f"the reply {trouble.reason} (key {name})"


def advice(rcode: int, *, transfer: bool = False) -> str:
    """Where to look when the server answers like this, to be put behind the name of the response code."""
    known = {**_ADVICE, **(_TRANSFER_ADVICE if transfer else {})}
    return f": {known[rcode]}" if rcode in known else ""
