"""A resolver over authorities in the same process: no cache, no validation, no packet to anybody."""

from collections.abc import Sequence

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
from dns.rdataclass import IN
from dns.rdatatype import CNAME, NS, SOA, RdataType

from zonecut.demo.loopback.authority import LoopbackAuthority
from zonecut.demo.loopback.exchange import Exchange, Transport
from zonecut.demo.loopback.server import PAYLOAD, LoopbackServer

MAX_STEPS = 32
"""Referrals and aliases for one query."""


class LoopbackResolver(LoopbackServer):
    """Follows referrals from the topmost zone of `authorities` down, by the names of zones rather than of servers.

    DNSSEC records go through as they come, for a client that validates; AD is never set. The authorities need not be
    started; their faults count, as over TCP at the first address of each. What none of them answers is a SERVFAIL.
    """

    def __init__(
        self,
        authorities: Sequence[LoopbackAuthority],
        addresses: Sequence[str] = ("127.0.0.1",),
        port: int = 0,
        *,
        tcp: bool = True,
    ) -> None:
        super().__init__(addresses, port, tcp=tcp)
        self._authorities = tuple(authorities)

    def exchange(self, query: dns.message.Message, address: str, transport: Transport) -> Exchange:
        response = dns.message.make_response(query, recursion_available=True, our_payload=PAYLOAD)
        exchange = Exchange(query, address, transport, response)
        if query.opcode() != dns.opcode.QUERY:
            response.set_rcode(dns.rcode.NOTIMP)
        elif len(query.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
        elif not query.flags & dns.flags.RD or query.question[0].rdclass != IN:
            response.set_rcode(dns.rcode.REFUSED)
        else:
            response.flags |= query.flags & dns.flags.CD
            if query.ednsflags & dns.flags.DO:
                response.want_dnssec()
            self._resolve(exchange, response)
        return exchange

    def _resolve(self, exchange: Exchange, response: dns.message.Message) -> None:
        question = exchange.query.question[0]
        name, rdtype = question.name, question.rdtype
        zone = self._top(name)
        for _ in range(MAX_STEPS):
            found = self._ask(zone, name, rdtype, exchange) if zone is not None else None
            if found is None:
                break
            cut = _referral(found, name)
            if cut is not None:
                if zone is None or len(cut) <= len(zone):
                    break  # a server that refers upwards is lame
                zone = cut
                continue
            response.answer += found.answer
            target = _alias_end(found, name, rdtype)
            if target is not None and target != name:
                name, zone = target, self._top(target)
                continue
            response.authority += found.authority
            response.set_rcode(found.rcode())
            return
        response.answer.clear()
        response.set_rcode(dns.rcode.SERVFAIL)

    def _top(self, name: dns.name.Name) -> dns.name.Name | None:
        above = [
            zone.origin for authority in self._authorities for zone in authority.zones if name.is_subdomain(zone.origin)
        ]
        return min(above, key=len, default=None)

    def _ask(
        self, origin: dns.name.Name, name: dns.name.Name, rdtype: RdataType, exchange: Exchange
    ) -> dns.message.Message | None:
        """The first response that is one, from the authorities of a zone."""
        query = dns.message.make_query(name, rdtype, want_dnssec=bool(exchange.query.ednsflags & dns.flags.DO))
        query.flags &= ~dns.flags.RD
        for authority in self._authorities:
            if not any(zone.origin == origin for zone in authority.zones):
                continue
            asked = authority.exchange(query, authority.addresses[0], Transport.TCP)
            exchange.delay += asked.delay
            found = asked.response
            if found is not None and found.id == query.id and found.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return found
        return None


def _referral(response: dns.message.Message, name: dns.name.Name) -> dns.name.Name | None:
    """The zone to which a response refers, which must be at or above the name."""
    if response.answer or response.flags & dns.flags.AA:
        return None
    servers = (rrset.name for rrset in response.authority if rrset.rdtype == NS)
    return next((cut for cut in servers if name.is_subdomain(cut)), None)


def _alias_end(response: dns.message.Message, name: dns.name.Name, rdtype: RdataType) -> dns.name.Name | None:
    """Where a chain of aliases leaves the response without data; None if it does not."""
    aliases = {rrset.name: rrset[0].target for rrset in response.answer if rrset.rdtype == CNAME}
    if rdtype == CNAME or name not in aliases:
        return None
    end = name
    for _ in aliases:
        end = aliases.get(end, end)
    if any(rrset.name == end and rrset.rdtype == rdtype for rrset in response.answer):
        return None
    # a negative answer for the end of the chain is an answer, too
    denied = any(end.is_subdomain(rrset.name) and rrset.rdtype == SOA for rrset in response.authority)
    return None if denied else end
