"""What a broken or hostile server does to its responses. Each is a `Fault`, or makes one."""

import time
from collections.abc import Iterator

import dns.flags
import dns.rcode
import dns.rrset
from dns.rdataclass import IN
from dns.rdatatype import RRSIG

from zonecut.demo.loopback.exchange import Exchange, Fault, Transport

_DAY = 86400


def honest(_: Exchange) -> None:
    """No fault, as a member of `in_turn`."""


def silent(exchange: Exchange) -> None:
    """No response at all."""
    exchange.response = None


def slow(seconds: float) -> Fault:
    """The response comes so much later."""

    def fault(exchange: Exchange) -> None:
        exchange.delay += seconds

    return fault


def failing(rcode: dns.rcode.Rcode = dns.rcode.SERVFAIL) -> Fault:
    """An RCODE and nothing else."""

    def fault(exchange: Exchange) -> None:
        if exchange.response is not None:
            _empty(exchange)
            exchange.response.set_rcode(rcode)

    return fault


def wrong_id(exchange: Exchange) -> None:
    """The ID of another query."""
    if exchange.response is not None:
        exchange.response.id ^= 0x5555


def not_authoritative(exchange: Exchange) -> None:
    """The same data, without the AA bit."""
    if exchange.response is not None:
        exchange.response.flags &= ~dns.flags.AA


def truncated(exchange: Exchange) -> None:
    """TC is set and there is no data, over UDP."""
    if exchange.response is not None and exchange.transport is Transport.UDP:
        _empty(exchange)
        exchange.response.flags |= dns.flags.TC


def without_signatures(exchange: Exchange) -> None:
    """No RRSIG records."""
    for section in _sections(exchange):
        section[:] = [rrset for rrset in section if rrset.rdtype != RRSIG]


def expired_signatures(exchange: Exchange) -> None:
    """Signatures by the right keys that ended yesterday."""
    now = int(time.time())
    zone = exchange.zone
    for section in _sections(exchange):
        signed = [rrset for rrset in section if rrset.rdtype != RRSIG]
        covered = {(each.name, each[0].type_covered) for each in section if each.rdtype == RRSIG}
        section[:] = signed
        for rrset in signed:
            if zone is not None and (rrset.name, rrset.rdtype) in covered:
                signature = zone.signature(rrset, now - 9 * _DAY, now - _DAY)
                if signature is not None:
                    section.append(signature)


def broken_signatures(exchange: Exchange) -> None:
    """Signatures of which one octet is not what it was."""
    for section in _sections(exchange):
        for place, rrset in enumerate(section):
            if rrset.rdtype == RRSIG:
                section[place] = _altered(rrset)


def answering(*rdata: str, ttl: int = 3600) -> Fault:
    """Other data of the type that was asked for, positive and, where the zone is signed, with a good signature."""

    def fault(exchange: Exchange) -> None:
        response = exchange.response
        if response is None:
            return
        _empty(exchange)
        response.set_rcode(dns.rcode.NOERROR)
        question = response.question[0]
        rrset = dns.rrset.from_text_list(question.name, ttl, IN, question.rdtype, list(rdata))
        response.answer.append(rrset)
        if response.ednsflags & dns.flags.DO and exchange.zone is not None:
            signature = exchange.zone.signature(rrset)
            if signature is not None:
                response.answer.append(signature)

    return fault


# when a fault takes hold


def at(address: str, *faults: Fault) -> Fault:
    """Only when this one of the server's addresses is asked."""

    def fault(exchange: Exchange) -> None:
        if exchange.address == address:
            for each in faults:
                each(exchange)

    return fault


def over(transport: Transport, *faults: Fault) -> Fault:
    """Only over this transport."""

    def fault(exchange: Exchange) -> None:
        if exchange.transport is transport:
            for each in faults:
                each(exchange)

    return fault


def in_turn(*faults: Fault) -> Fault:
    """The first for the first query, the next for the next; the last one stays."""
    turns = iter(faults[:-1])

    def fault(exchange: Exchange) -> None:
        next(turns, faults[-1])(exchange)

    return fault


def _altered(rrsigs: dns.rrset.RRset) -> dns.rrset.RRset:
    altered = [each.replace(signature=each.signature[:-1] + bytes((each.signature[-1] ^ 1,))) for each in rrsigs]
    return dns.rrset.from_rdata_list(rrsigs.name, rrsigs.ttl, altered)


def _sections(exchange: Exchange) -> Iterator[list[dns.rrset.RRset]]:
    if exchange.response is not None:
        yield from (exchange.response.answer, exchange.response.authority, exchange.response.additional)


def _empty(exchange: Exchange) -> None:
    for section in _sections(exchange):
        section.clear()
