"""Questions to the configured resolvers, one after the other until one answers."""

import asyncio
import os
import secrets
import ssl
from collections.abc import Sequence

from zonecut.protocol import message
from zonecut.protocol.codepoints import Rcode, rcode_text
from zonecut.protocol.flags import DNSSEC_OK, TRUNCATED
from zonecut.resolve.failures import NoAnswer
from zonecut.resolve.nameserver import Nameserver, Transport
from zonecut.resolve.reply import Reply, answers, read_reply
from zonecut.resolve.transport import Https, over_tcp, over_udp, tls_context
from zonecut.resolve.work import Limits, Work

_TRY_NEXT = frozenset((Rcode.FORMERR, Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED))
_ROUNDS = 2


class Path:
    """The way to one server. Raises ResolveError for a transport that cannot be had."""

    def __init__(self, server: Nameserver, source: str | None = None) -> None:
        self.server = server
        self._source = source
        self._tls: ssl.SSLContext | None = tls_context(server) if server.transport is Transport.TLS else None
        self._https = Https(server, source) if server.transport is Transport.HTTPS else None

    async def ask(self, name: bytes, rtype: int, flags: int) -> Reply:
        """The reply to one query with EDNS and DO. Raises NoAnswer, which names the server."""
        # RFC 8484 section 4.1: identity 0 over HTTPS, where the connection tells the replies apart.
        identity = 0 if self._https else secrets.randbelow(0x10000)
        opt = message.opt_record(flags=DNSSEC_OK)
        query = message.query(identity, name, rtype, flags=flags, additional=[opt])
        try:
            wire = await self._exchange(query, identity, name, rtype)
            if int.from_bytes(wire[:2]) != identity:
                raise NoAnswer("a reply with another identity")
            return read_reply(wire, name, rtype)
        except (OSError, ValueError, NoAnswer) as error:
            raise NoAnswer(f"{self.server}: {_text(error)}") from None

    async def _exchange(self, query: bytes, identity: int, name: bytes, rtype: int) -> bytes:
        address, port = self.server.address, self.server.port
        if self._https:
            return await self._https.exchange(query)
        if self.server.transport is Transport.UDP:
            wire = await over_udp(query, address, port, self._source, lambda data: answers(data, identity, name, rtype))
            if not int.from_bytes(wire[2:4]) & TRUNCATED:
                return wire
        return await over_tcp(query, address, port, self._source, self._tls, self.server.tls_name)


class Exchange:
    """All configured resolvers, equally good; the one that answered last is asked first."""

    def __init__(self, nameservers: Sequence[Nameserver], limits: Limits, source: str | None = None) -> None:
        self._paths = [Path(server, source) for server in nameservers]
        self._patience = limits.patience

    async def ask(self, name: bytes, rtype: int, flags: int, work: Work) -> Reply:
        """The first reply that is no failure of the resolver; else the last failure, with its response code.

        Raises NoAnswer when nothing is received, Undecided when the work is used up.
        """
        refusal: Reply | None = None
        reasons: list[str] = []
        for path in list(self._paths) * _ROUNDS:
            work.query()
            try:
                async with asyncio.timeout(self._patience):
                    reply = await path.ask(name, rtype, flags)
            except TimeoutError:
                reasons.append(f"{path.server}: silent for {self._patience:g} s")
                continue
            except NoAnswer as failure:
                reasons.append(str(failure))
                continue
            if reply.rcode in _TRY_NEXT:
                reasons.append(f"{path.server}: {rcode_text(reply.rcode)}")
                refusal = reply
                continue
            self._prefer(path)
            return reply
        if refusal is not None:
            return refusal
        raise NoAnswer("; ".join(dict.fromkeys(reasons)))

    def _prefer(self, path: Path) -> None:
        if self._paths[0] is not path:
            self._paths = [path, *(other for other in self._paths if other is not path)]


def _text(error: Exception) -> str:
    """What went wrong, without what asyncio adds: "Connection refused"."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
