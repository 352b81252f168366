"""An authoritative server for several zones, with the faults that a test gives it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
from dns.rdataclass import IN
from dns.rdatatype import DS, RdataType

from zonecut.demo.loopback.answer import find
from zonecut.demo.loopback.exchange import Exchange, Fault, Transport
from zonecut.demo.loopback.server import PAYLOAD, LoopbackServer
from zonecut.demo.loopback.zone import LoopbackZone


class Asked(NamedTuple):
    """A query that came."""

    name: str
    rdtype: str
    address: str
    transport: Transport


class LoopbackAuthority(LoopbackServer):
    """Serves `zones`; the nearest zone above a name answers, and for DS that of the parent, if it is here."""

    def __init__(
        self,
        zones: Iterable[LoopbackZone],
        addresses: Sequence[str] = ("127.0.0.1",),
        port: int = 0,
        *,
        tcp: bool = True,
    ) -> None:
        super().__init__(addresses, port, tcp=tcp)
        self._zones = {zone.origin: zone for zone in zones}
        self._faults: dict[tuple[dns.name.Name | None, RdataType | None], tuple[Fault, ...]] = {}
        self.queries: list[Asked] = []
        """All queries so far, oldest first."""

    @property
    def zones(self) -> tuple[LoopbackZone, ...]:
        return tuple(self._zones.values())

    def override(self, name: str | None, rdtype: str | None, *faults: Fault) -> None:
        """Let faults change, in this order, what is answered for a name and a type, from the next query on.

        None stands for any; the most particular override counts, a name before a type. Without faults the server is
        honest again.
        """
        key = (
            None if name is None else dns.name.from_text(name),
            None if rdtype is None else dns.rdatatype.from_text(rdtype),
        )
        # a new dictionary: the thread that serves may be looking into the old one
        self._faults = {**self._faults, key: faults}

    def exchange(self, query: dns.message.Message, address: str, transport: Transport) -> Exchange:
        response = dns.message.make_response(query, our_payload=PAYLOAD)
        exchange = Exchange(query, address, transport, response)
        if query.opcode() != dns.opcode.QUERY:
            response.set_rcode(dns.rcode.NOTIMP)
        elif len(query.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
        else:
            question = query.question[0]
            name, rdtype = question.name, question.rdtype
            self.queries.append(Asked(name.to_text(), dns.rdatatype.to_text(rdtype), address, transport))
            exchange.zone = self._zone_for(name, rdtype) if question.rdclass == IN else None
            _fill(response, query, exchange.zone)
            for fault in self._faults_of(name, rdtype):
                fault(exchange)
        return exchange

    def _zone_for(self, name: dns.name.Name, rdtype: RdataType) -> LoopbackZone | None:
        above = [zone for origin, zone in self._zones.items() if name.is_subdomain(origin)]
        if rdtype == DS:
            # DS belongs to the parent (RFC 4035 section 3.1.4.1)
            above = [zone for zone in above if zone.origin != name] or above
        return max(above, key=lambda zone: len(zone.origin), default=None)

    def _faults_of(self, name: dns.name.Name, rdtype: RdataType) -> tuple[Fault, ...]:
        for key in ((name, rdtype), (name, None), (None, rdtype), (None, None)):
            if key in self._faults:
                return self._faults[key]
        return ()


def _fill(response: dns.message.Message, query: dns.message.Message, zone: LoopbackZone | None) -> None:
    if zone is None:
        response.set_rcode(dns.rcode.REFUSED)
        return
    dnssec = bool(query.ednsflags & dns.flags.DO)
    question = query.question[0]
    found = find(zone, question.name, question.rdtype, dnssec=dnssec)
    if dnssec:
        response.want_dnssec()
    response.set_rcode(found.rcode)
    if found.authoritative:
        response.flags |= dns.flags.AA
    response.answer += found.answer
    response.authority += found.authority
    response.additional += found.additional
