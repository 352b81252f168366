"""What the server's DNS answers tell of delegations right below the apex: cheap, and never more than they prove.

All questions go over one TCP connection, one after the other without waiting. Answers may come from the server's
caches: who needs to know what is there now has them flushed first.
"""

import asyncio
from collections.abc import Sequence

from zonecut.net.streams import framed, put, read_framed
from zonecut.plugin import BackendMisconfigured, BackendUnavailable
from zonecut.protocol import envelope, message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.envelope import Envelope
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.flags import AUTHORITATIVE

_WINDOW = 200
"""Questions on their way at a time: more than a socket's buffers hold would have both sides wait for each other."""


class Queries:
    """The DNS service of the server that has the zone."""

    def __init__(self, zone: bytes, address: tuple[str, int], timeout: float) -> None:
        self._zone = zone
        self._address = address
        self.server = f"the DNS service at {address[0]} port {address[1]}"
        self._timeout = timeout

    def can_show(self, delegation: Delegation) -> bool:
        """False for names further below, since another zone of the same server may lie between; and for DS without NS,
        which an answer shows or not."""
        return names.parent(delegation.child) == self._zone and (delegation.is_delegated or not delegation.ds)

    async def check(self) -> None:
        """Raises BackendMisconfigured unless the DNS service has the zone, and BackendUnavailable if it is away."""
        try:
            (answer,) = await self._ask_all([(self._zone, RRType.SOA)])
        except MalformedMessage as error:
            raise BackendUnavailable(f"{self.server} sent an answer that {error.reason}") from error
        if not (answer.flags & AUTHORITATIVE and _at(answer, envelope.ANSWER, RRType.SOA, self._zone)):
            raise BackendMisconfigured(
                f"{self.server} is not authoritative for {names.to_text(self._zone)}: look at `dns`"
            )

    async def delegations(self, children: Sequence[bytes]) -> list[Delegation | None]:
        """What is visible of each of these children; None where the answers do not prove it.

        The time limit is one of progress. Raises BackendUnavailable.
        """
        asked = [(child, rtype) for child in children for rtype in (RRType.NS, RRType.DS)]
        try:
            answers = await self._ask_all(asked)
            pairs = zip(answers[::2], answers[1::2], strict=True)
            return [shown(child, self._zone, ns, ds) for child, (ns, ds) in zip(children, pairs, strict=True)]
        except MalformedMessage as error:
            raise BackendUnavailable(f"PowerDNS sent an answer that {error.reason}") from error

    async def _ask_all(self, asked: Sequence[tuple[bytes, int]]) -> list[Envelope]:
        server = self.server
        answers: list[Envelope] = []
        writer = None
        try:
            async with asyncio.timeout(self._timeout):
                reader, writer = await asyncio.open_connection(*self._address)
            for start in range(0, len(asked), _WINDOW):
                questions = [message.query(i, *each) for i, each in enumerate(asked[start : start + _WINDOW])]
                put(writer, b"".join(map(framed, questions)))
                for wire in questions:
                    async with asyncio.timeout(self._timeout):
                        answer = await read_framed(reader)
                    answers.append(_checked(answer, wire))
        except TimeoutError:
            raise BackendUnavailable(f"{server} did not answer within {self._timeout:g} s") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            raise BackendUnavailable(f"{server} cannot be reached: {error}") from error
        finally:
            if writer is not None:
                writer.close()
        return answers


def _checked(answer: bytes, question: bytes) -> Envelope:
    """The answer to this very question. Raises MalformedMessage for any other."""
    walked = envelope.walk(answer)
    # the question section is echoed; PowerDNS keeps its octets
    if answer[:2] != question[:2] or answer[12 : len(question)].lower() != question[12:].lower():
        raise MalformedMessage("belongs to another question")
    return walked


def shown(child: bytes, zone: bytes, ns: Envelope, ds: Envelope) -> Delegation | None:
    """What the answers to NS and DS queries show of the child's delegation in the zone; None if they prove nothing.

    Proof is: a referral, or a negative answer with the SOA of the zone; never what the child's own zone says, when the
    same server has it. Over TCP, a referral carries all the glue that its NS name. Raises MalformedMessage.
    """
    if ns.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN) or ds.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        return None
    records = [RR(child, RRType.DS, ds.rdata(record)) for record in _at(ds, envelope.ANSWER, RRType.DS, child)]
    if not records and not _denied(ds, zone):
        return None
    if not _denied(ns, zone):
        targets = [
            RR(child, RRType.NS, envelope.read_name(ns.wire, record.rdata)[0].lower())
            for record in _at(ns, envelope.AUTHORITY, RRType.NS, child)
        ]
        if ns.flags & AUTHORITATIVE or not targets:
            return None
        named = {record.rdata for record in targets if names.is_at_or_below(record.rdata, child)}
        records += targets
        for record in ns.section(envelope.ADDITIONAL):
            if record.rtype in (RRType.A, RRType.AAAA) and (owner := ns.name(record.start)) in named:
                records.append(RR(owner, record.rtype, ns.rdata(record)))
    return Delegation.of(child, records)


def _at(answer: Envelope, section: int, rtype: int, name: bytes) -> list[envelope.Record]:
    return [each for each in answer.section(section) if each.rtype == rtype and answer.name(each.start) == name]


def _denied(answer: Envelope, zone: bytes) -> bool:
    """True for a negative answer by the zone itself."""
    nothing = next(iter(answer.section(envelope.ANSWER)), None) is None
    return bool(answer.flags & AUTHORITATIVE) and nothing and bool(_at(answer, envelope.AUTHORITY, RRType.SOA, zone))
