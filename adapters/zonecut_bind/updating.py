"""What backends have in common whose server takes UPDATEs (RFC 2136) and gives transfers.

Delegations are read by query, proven and verified by UPDATEs of prerequisites alone, and listed by transfer.
"""

import asyncio
import logging
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress

from zonecut.plugin import (
    Backend,
    BackendContext,
    BackendError,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
    Host,
    Reading,
)
from zonecut.plugin.branches import ChildFilter, below, hidden
from zonecut.plugin.dns.tsig import tsig_octets
from zonecut.plugin.dns.tsig_key import KeyFileError, load_key
from zonecut.plugin.naming import Naming
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.envelope import ANSWER, Envelope, read_name
from zonecut.protocol.errors import MalformedMessage
from zonecut_bind import updates
from zonecut_bind.answers import CONFLICTS, failure
from zonecut_bind.connection import Connection
from zonecut_bind.dialect import Dialect, Operation
from zonecut_bind.options import UpdateOptions
from zonecut_bind.permission import EXAMPLES, Permission
from zonecut_bind.reading import Sight, sight
from zonecut_bind.serial import EXISTS, serial_in, zone_serial
from zonecut_bind.server import Server
from zonecut_bind.transfer import Transfer

_LOG = logging.getLogger("zonecut.bind")

_PATIENCE, _LONGER = 1.5, 3
"""For a transfer that somebody waits for: seconds, or times what the last one took."""
_NOT_SOONER = 30.0
"""Seconds after a look around before which an UPDATE that is taken gives no reason for another."""
_SHARE = 50
"""The same, in times of what the look took."""


class UpdatingBackend(Backend):
    """One parent zone on one server that takes UPDATEs."""

    dialect: Dialect
    serial_rises = True
    """False where the zone may be another one although its serial is the same."""

    def __init__(self, context: BackendContext, options: UpdateOptions) -> None:
        self._zone = context.zone
        self._ttls = context.ttls
        self._options = options
        self._connected: tuple[Server, Connection] | None = None
        self._rescanning: asyncio.Task[None] | None = None
        self._hidden: frozenset[bytes] = frozenset()
        self._deep: set[bytes] = set()
        self._scanned: int | None = None
        self._made: frozenset[int] = frozenset()
        self._remarks: tuple[str, ...] = ()
        self._took = 0.0
        self._look_soon = asyncio.Event()
        self._not_sooner = float("-inf")
        self._naming = Naming(self._zone, self._apex, self._scan, self._topmost_cut, self.read)

    async def open(self) -> None:
        await self.close()
        host, port = self._options.address
        try:
            key = load_key(self._options.tsig)
        except KeyFileError as error:
            raise BackendMisconfigured(str(error)) from error
        server = Server(host, port, key, self._options.timeout, self.dialect, self._transfer_timeout)
        self._connected = server, Connection(server)
        self._permission = Permission(self._zone, server, self._ask_all)
        self._not_sooner = float("-inf")
        try:
            await self.serial()
            self._remark(await self._get_to_know(server))
        except BaseException:
            await self.close()
            raise
        self._rescanning = asyncio.create_task(self._rescan())

    @property
    def _transfer_timeout(self) -> float:
        return self._options.timeout

    @abstractmethod
    async def _get_to_know(self, server: Server) -> tuple[str, ...]:
        """List the zone by `_scan` and find out what the server does; what to remark. Raises BackendError."""

    async def _remarks_on(self, there: Sequence[Delegation]) -> tuple[str, ...]:
        """What to remark of a server that was got to know; `there` are delegations of the zone. Raises BackendError."""
        return await self._permission.remarks(there)

    def _remark(self, remarks: tuple[str, ...]) -> None:
        for each in remarks:
            if each not in self._remarks:
                _LOG.warning("%s", each)
        for each in self._remarks:
            if each not in remarks:
                _LOG.info("it is not so any more that %s", each)
        self._remarks = remarks

    def _may_be_over(self) -> None:
        """Have it looked at soon whether what was remarked is still so: the server has taken an UPDATE."""
        if self._remarks and time.monotonic() >= self._not_sooner:
            self._look_soon.set()

    async def close(self) -> None:
        task, self._rescanning = self._rescanning, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if self._connected is not None:
            await self._connected[1].close()
            self._connected = None

    def remarks(self) -> Sequence[str]:
        return self._remarks

    async def read(self, child: bytes) -> Reading:
        """What the server holds for `child` now.

        NS and DS are two queries, pipelined: a change that comes between them gives a reading that never was, on
        which no write can succeed. Where queries cannot tell, because the same server serves the child zone itself,
        a transfer does.
        """
        if not names.is_below(child, self._zone):
            raise BackendRejected(f"{names.to_text(child)} is not below {names.to_text(self._zone)}")
        above = names.between(child, self._zone)
        try:
            seen, enclosing = await self._look(child, above)
        except MalformedMessage as error:
            raise BackendUnavailable(f"{self.dialect.name} sent an answer that {error.reason}") from error
        if seen is None or not await self._is_proven(seen, above):
            return await self._read_by_transfer(child)
        # what the child's own zone answers here has TTLs of that zone
        return Reading(seen.delegation, enclosing, below(child, self._hidden), seen.ttls if seen.of_parent else {})

    def batch(self, changes: Sequence[Change]) -> int:
        return updates.fitting(changes, self._room() - updates.HEADER_OCTETS - len(self._zone))

    async def verify(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        if not changes:
            return ()
        wire = updates.verify_message(self._zone, changes)
        if len(wire) > self._room() and len(changes) > 1:
            middle = len(changes) // 2
            return (*await self.verify(changes[:middle]), *await self.verify(changes[middle:]))
        return await self._verify_batch(changes, wire)

    async def hosts(
        self, hosts: Sequence[bytes], *, not_before: float | None = None, shared: bool = False
    ) -> Mapping[bytes, Host]:
        return await self._naming.hosts(hosts, not_before=not_before, shared=shared)

    async def children(self) -> AsyncGenerator[Reading, None]:
        """Every delegation of the zone, hidden ones and orphan glue included, by one transfer.

        At any time one topmost delegation is in memory, with what lies below it.
        """
        async with aclosing(self._transfer().branches()) as branches:
            async for branch in branches:
                for reading in branch.readings():
                    yield reading

    async def serial(self) -> int:
        """The zone's serial. Raises BackendError unless the server answers for it with authority."""
        return await zone_serial(self._zone, *self._open_connection())

    def _open_connection(self) -> tuple[Server, Connection]:
        if self._connected is None:
            raise BackendUnavailable(f"the connection to {self.dialect.name} is not open")
        return self._connected

    def _transfer(self) -> Transfer:
        """A transfer of the zone that has yet to begin."""
        return Transfer(self._open_connection()[0], self._zone)

    async def _ask_all(self, asked: Sequence[tuple[bytes, Operation]]) -> list[Envelope]:
        _, connection = self._open_connection()
        return await connection.ask_all([wire for wire, _ in asked], [operation for _, operation in asked])

    # Reading

    async def _look(self, child: bytes, above: Sequence[bytes]) -> tuple[Sight | None, bytes | None]:
        """What queries show of a child (None: nothing that can be used), and the delegation in which it lies."""
        asked = [(message.query(0, child, rtype), Operation.QUERY) for rtype in (RRType.NS, RRType.DS)]
        if above:
            asked.append((updates.cuts_absent_message(self._zone, above), Operation.UPDATE))
        ns, ds, *absent = await self._ask_all(asked)
        enclosing = None
        if absent and not self._holds(absent[0]):
            enclosing = await self._topmost_cut(above)
        if ns.rcode == Rcode.SERVFAIL:
            # The parent zone is fine (open() saw to it): it is a child zone, served here too, that is not.
            return None, enclosing
        for answer in (ns, ds):
            if answer.rcode not in EXISTS:
                raise failure(answer, Operation.QUERY, self._open_connection()[0])
        return sight(child, self._zone, ns, ds), enclosing

    async def _topmost_cut(self, above: Sequence[bytes]) -> bytes | None:
        """The first of these names at which the zone has NS."""
        asked = [(updates.cuts_absent_message(self._zone, [name]), Operation.UPDATE) for name in above]
        answers = await self._ask_all(asked)
        return next((name for name, answer in zip(above, answers, strict=True) if not self._holds(answer)), None)

    async def _is_proven(self, seen: Sight, above: Sequence[bytes]) -> bool:
        """True if what was seen is certain to be the parent zone's data, and all that concerns the child.

        Prerequisites are about the zone that an UPDATE names, no matter which other zones the server has. With names
        between child and apex, one of those could be such a zone.
        """
        child = seen.delegation.child
        if not seen.delegation.is_delegated and (not seen.barren or child in self._deep):
            # There may be delegations below this name, which a delegation here would hide: only a transfer tells.
            # PowerDNS says that there is no such name as long as nobody has "rectified" the zone.
            return False
        if seen.of_parent and not above:
            return True
        return not await self.verify([Change(seen.delegation, seen.delegation)])

    async def _read_by_transfer(self, child: bytes) -> Reading:
        chosen = ChildFilter(child)
        async with self._in_time(), aclosing(self._transfer().branches()) as branches:
            async for branch in branches:
                chosen.take(branch)
        return chosen.reading()

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """A transfer for which somebody waits: for not much longer than the last whole one took.

        A child is answered within two seconds, if the zone can be transferred in them. Raises BackendUnavailable.
        """
        limit = max(_PATIENCE, _LONGER * self._took)
        try:
            async with asyncio.timeout(limit):
                yield
        except TimeoutError:
            zone = names.to_text(self._zone)
            raise BackendUnavailable(
                f"a transfer of {zone} takes longer than {limit:.1f} s, and the last one took {self._took:.1f} s"
            ) from None

    # Verifying

    def _holds(self, answer: Envelope) -> bool:
        """True if the prerequisites hold, False if not. Raises for any other answer."""
        if answer.rcode == Rcode.NOERROR or answer.rcode in CONFLICTS:
            self._may_be_over()
            return answer.rcode == Rcode.NOERROR
        if answer.rcode == Rcode.REFUSED:
            raise self._permission.shut_out()
        raise failure(answer, Operation.UPDATE, self._open_connection()[0])

    async def _verify_batch(self, changes: Sequence[Change], wire: bytes) -> tuple[bytes, ...]:
        (answer,) = await self._ask_all([(wire, Operation.UPDATE)])
        if self._holds(answer):
            return ()
        if len(changes) == 1:
            return (changes[0].child,)
        # the server does not say which one it was; each child by itself, pipelined, takes little more than a round trip
        asked = [(updates.verify_message(self._zone, [change]), Operation.UPDATE) for change in changes]
        answers = await self._ask_all(asked)
        pairs = zip(changes, answers, strict=True)
        return tuple(change.child for change, answer in pairs if not self._holds(answer))

    def _room(self) -> int:
        """The octets of a message before it is signed."""
        key = None if self._connected is None else self._connected[0].key
        return self._options.batch_octets - (0 if key is None else tsig_octets(key))

    # Looking for delegations that queries do not show

    async def _apex(self) -> tuple[int | None, frozenset[bytes]]:
        """The zone's serial where it tells whether something has changed, and the name servers of its apex."""
        rtypes = (RRType.SOA, RRType.NS)
        soa, ns = await self._ask_all([(message.query(0, self._zone, rtype), Operation.QUERY) for rtype in rtypes])
        try:
            found = [read_name(ns.wire, each.rdata)[0] for each in ns.section(ANSWER) if each.rtype == RRType.NS]
        except MalformedMessage as error:
            raise BackendUnavailable(f"{self.dialect.name} sent an answer that {error.reason}") from error
        serial = serial_in(soa, self._zone, self._open_connection()[0])
        return serial if self.serial_rises else None, frozenset(target.lower() for target in found)

    async def _scan(self, there: list[Delegation] | None = None) -> None:
        """Find all hidden delegations; normally there are none. The first ones of the zone are added to `there`."""
        began, transfer = time.monotonic(), self._transfer()
        found: set[bytes] = set()
        deep: set[bytes] = set()
        listed = self._naming.begin()
        async with aclosing(transfer.branches()) as branches:
            async for branch in branches:
                found.update(hidden(branch))
                deep.update(names.between(branch.top, self._zone))
                if there is not None and len(there) < EXAMPLES:
                    there.extend(reading.delegation for reading in branch.readings())
                listed.take(branch)
        self._took = time.monotonic() - began
        self._hidden = frozenset(found)
        self._deep = deep
        self._scanned = transfer.serial
        self._made = frozenset(transfer.made)
        self._naming.adopt(listed, transfer.serial if self.serial_rises else None)

    async def _rescan(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.rescan):
                    await self._look_soon.wait()
            self._look_soon.clear()
            began, self._not_sooner = time.monotonic(), float("inf")
            try:
                await self._look_around()
            except BackendError as error:
                _LOG.warning("looking for hidden delegations of %s: %s", names.to_text(self._zone), error.reason)
            except Exception:
                # a defect is no reason not to look again
                _LOG.exception("looking for hidden delegations of %s", names.to_text(self._zone))
            now = time.monotonic()
            self._not_sooner = now + max(_NOT_SOONER, _SHARE * (now - began))

    async def _look_around(self) -> None:
        """See what has changed in the zone by other hands, and whether what was remarked is still so."""
        if not self._remarks:
            if not self.serial_rises or await self.serial() != self._scanned:
                await self._scan()
            return
        there: list[Delegation] = []
        await self._scan(there)
        self._remark(await self._remarks_on(there))
