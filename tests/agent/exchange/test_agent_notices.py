"""NOTIFY for CDS and CSYNC: what goes out, and when it counts as delivered (RFC 9859 section 4.2)."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agent_support import CHILD, Told, absent, failing, found
from zonecut.agent.exchange.notify_out import NotifyOutcome, send_notify
from zonecut.agent.exchange.stream import NoAnswer
from zonecut.agent.exchange.update_client import Patience, Response, Result
from zonecut.agent.settings import ParentSettings
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import message
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import MalformedMessage

SCANNER = Dsync.from_text("CDS NOTIFY 5300 scanner.parent.example.")
SECOND = Dsync.from_text("CDS NOTIFY 5300 second.parent.example.")
ADDRESS = {
    ("scanner.parent.example.", RRType.A): found(bytes((1, 1, 1, 1))),
    ("second.parent.example.", RRType.A): found(bytes((1, 1, 1, 2))),
    ("second.parent.example.", RRType.AAAA): absent(),
}
ONE, TWO = Endpoint("1.1.1.1", 5300), Endpoint("1.1.1.2", 5300)


def acknowledging(request: bytes) -> bytes:
    """RFC 1996 section 4.7: the request with QR set."""
    return request[:2] + bytes((request[2] | 0x80,)) + request[3:]


def refusing(rcode: int, *errors: ExtendedError) -> Callable[[bytes], bytes]:
    options = b"".join(error.to_option() for error in errors)

    def act(request: bytes) -> bytes:
        end = walk(request).questions[0].end
        return request[:2] + bytes((0xA4, rcode)) + request[4:end] + message.opt_record(options)

    return act


class Network:
    """What happens at each address over one transport; None is silence."""

    def __init__(self, *acts: Any) -> None:
        self._acts = list(acts)
        self.sent: list[tuple[Endpoint, bytes]] = []

    async def exchange(self, wire: bytes, address: Endpoint, read: Callable[[bytes], Response]) -> Response:
        self.sent.append((address, wire))
        act = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
        if act is None:
            await asyncio.sleep(3600)
        if isinstance(act, Exception):
            raise act
        try:
            return read(act(wire))
        except MalformedMessage as error:
            raise NoAnswer(error.reason, sent=True) from None


async def notify(
    udp: Network, tcp: Network | None = None, records: tuple[Dsync, ...] = (SCANNER,), rrtype: int = RRType.CDS
) -> tuple[NotifyOutcome, ...]:
    stream = tcp or Network(NoAnswer("Connection refused", sent=False))
    return await send_notify(
        Told(ADDRESS), CHILD, rrtype, records, ParentSettings(), patience=Patience(0.005, 2),
        datagrams=udp.exchange, stream=stream.exchange,
    )  # fmt: skip


@pytest.mark.parametrize("rrtype", [RRType.CDS, RRType.CSYNC])
async def test_a_notify_names_the_child_and_the_type(rrtype: RRType) -> None:
    network = Network(acknowledging)
    (outcome,) = await notify(network, rrtype=rrtype)
    assert outcome.acknowledged
    ((address, wire),) = network.sent
    assert address == ONE
    envelope = walk(wire)
    (question,) = envelope.questions
    assert (envelope.opcode, envelope.flags & 0x87FF) == (4, 0x0400)
    assert (envelope.name(question.start), question.qtype, question.qclass) == (CHILD, rrtype, 1)
    assert list(envelope.records) == [envelope.opt]


async def test_it_is_repeated_over_udp_and_then_tried_over_tcp() -> None:
    udp, tcp = Network(None), Network(acknowledging)
    (outcome,) = await notify(udp, tcp)
    assert (outcome.acknowledged, outcome.outcome.tries) == (True, 4)
    assert len({wire for _, wire in (*udp.sent, *tcp.sent)}) == 1
    (outcome,) = await notify(Network(None))
    assert outcome.outcome.result is Result.SILENT
    assert "silent for 0.02 s; over TCP: 1.1.1.1:5300: Connection refused" in outcome.outcome.reason


async def test_one_target_that_acknowledges_is_enough() -> None:
    network = Network(acknowledging)
    assert len(await notify(network, records=(SCANNER, SECOND))) == 1
    network = Network(refusing(5), acknowledging)
    refused, acknowledged = await notify(network, records=(SCANNER, SECOND))
    assert (refused.acknowledged, acknowledged.acknowledged) == (False, True)
    assert [address for address, _ in network.sent] == [ONE, TWO]


MEANINGS = {1: Result.MALFORMED, 2: Result.FAILED, 4: Result.UNSUPPORTED, 5: Result.REFUSED, 9: Result.NOT_OURS}


@pytest.mark.parametrize("rcode", MEANINGS)
async def test_a_refusal_is_understood_and_not_repeated(rcode: int) -> None:
    (outcome,) = await notify(Network(refusing(rcode, ExtendedError(15, "too often"))))
    assert (outcome.outcome.result, outcome.outcome.tries) == (MEANINGS[rcode], 1)
    assert outcome.outcome.reason.endswith("(15) 'too often'")
    assert outcome.to_json()["record"] == "CDS NOTIFY 5300 scanner.parent.example."


async def test_an_answer_to_something_else_is_none() -> None:
    (outcome,) = await notify(Network(lambda request: bytes((request[0] ^ 1,)) + acknowledging(request)[1:]))
    assert outcome.outcome.result is Result.SILENT
    assert "another ID" in outcome.outcome.ignored[0]


async def test_a_target_without_an_address_is_passed_over() -> None:
    nowhere = Dsync.from_text("CDS NOTIFY 53 nowhere.parent.example.")
    network = Network(acknowledging)
    failed, acknowledged = await notify(network, records=(nowhere, SCANNER))
    assert (failed.outcome.result, failed.outcome.tries) == (Result.SILENT, 0)
    assert "no address of nowhere.parent.example." in failed.outcome.reason
    assert acknowledged.acknowledged


async def test_only_cds_and_csync_are_notified() -> None:
    with pytest.raises(ValueError, match="CDS or CSYNC"):
        await notify(Network(acknowledging), rrtype=RRType.SOA)


async def test_a_bogus_address_is_not_used() -> None:
    told = Told({("scanner.parent.example.", RRType.A): failing()})
    (outcome,) = await send_notify(told, CHILD, RRType.CDS, (SCANNER,), ParentSettings())
    assert outcome.outcome.tries == 0
