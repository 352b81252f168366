"""The Backend for BIND: reads by query, writes and verifies by UPDATE, and looks at the whole zone by transfer."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

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
from zonecut.plugin.branches import ChildFilter, hidden
from zonecut.plugin.naming import Naming
from zonecut.plugin.tsig import tsig_octets
from zonecut.plugin.tsigkey import KeyFileError, load_key
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.envelope import PREREQUISITE, Envelope, read_name
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.rrset import RRset, RRsetDifference
from zonecut_bind import rrsets, updates
from zonecut_bind.answers import CONFLICTS, Operation, failure
from zonecut_bind.connection import Connection, Server
from zonecut_bind.options import BindOptions
from zonecut_bind.permission import EXAMPLES, Permission
from zonecut_bind.reading import AUTHORITATIVE, Sight, sight
from zonecut_bind.signing import check_made
from zonecut_bind.transfer import Transfer, soa_serial

_LOG = logging.getLogger("zonecut.bind")
_ANSWER = PREREQUISITE
_EXISTS = (Rcode.NOERROR, Rcode.NXDOMAIN)
_LOOKS, _BETWEEN_LOOKS = 20, 0.05  # seconds; with inline signing, what is served follows within 12 ms


class BindBackend(Backend):
    """One parent zone on one named."""

    def __init__(self, context: BackendContext, options: BindOptions) -> None:
        self._zone = context.zone
        self._ttls = context.ttls
        self._options = options
        self._connected: tuple[Server, Connection] | None = None
        self._rescanning: asyncio.Task[None] | None = None
        self._hidden: frozenset[bytes] = frozenset()
        self._scanned: int | None = None
        self._permission = Permission(self._zone, self._ask_all)
        self._remarks: tuple[str, ...] = ()
        self._naming = Naming(self._zone, self._apex, self._scan, self._topmost_cut, self.read)

    async def open(self) -> None:
        await self.close()
        host, port = self._options.address
        try:
            key = load_key(self._options.tsig)
        except KeyFileError as error:
            raise BackendMisconfigured(str(error)) from error
        server = Server(host, port, key, self._options.timeout)
        self._connected = server, Connection(server)
        try:
            await self.serial()
            await check_made(self._zone, server.key_name, self._ask_all)
            there: list[Delegation] = []
            await self._scan(there)
            self._remarks = await self._permission.remarks(server.key_name, there)
        except BaseException:
            await self.close()
            raise
        self._rescanning = asyncio.create_task(self._rescan())

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
        which no write can succeed. Where queries cannot tell, because the same named serves the child zone itself,
        a transfer does.
        """
        if not names.is_below(child, self._zone):
            raise BackendRejected(f"{names.to_text(child)} is not below {names.to_text(self._zone)}")
        above = names.between(child, self._zone)
        try:
            seen, enclosing = await self._look(child, above)
        except MalformedMessage as error:
            raise BackendUnavailable(f"named sent an answer that {error.reason}") from error
        if seen is None or not await self._is_proven(seen, above):
            return await self._read_by_transfer(child)
        nested = tuple(sorted(name for name in self._hidden if names.is_below(name, child)))
        # what the child's own zone answers here has TTLs of that zone
        return Reading(seen.delegation, enclosing, nested, seen.ttls if seen.of_parent else {})

    def batch(self, changes: Sequence[Change]) -> int:
        return updates.fitting(changes, self._room() - updates.HEADER_OCTETS - len(self._zone))

    async def write(self, changes: Sequence[Change]) -> None:
        changes = [change for change in changes if change.before != change.after]
        if not changes:
            return
        wire = updates.write_message(self._zone, changes, self._ttls)
        server, connection = self._open_connection()
        # Never sent twice by ourselves: an answer that was lost may have been a success, which `verify` finds out.
        try:
            answer = await connection.ask(wire, Operation.UPDATE, repeatable=False)
        except BaseException:
            self._naming.doubt()
            raise
        if answer.rcode == Rcode.REFUSED:
            unfit = updates.no_host_names(changes)
            raise await self._permission.refusal(
                server.key_name,
                updates.touched(changes),
                "; ".join(record.to_text() for record in unfit),
                tuple(dict.fromkeys(unfit.values())),
            )
        if answer.rcode == Rcode.SERVFAIL and (unfit_children := updates.too_many_records(changes)):
            # the same answer as while a zone is being signed, when it would help to wait
            raise BackendRejected.telling(
                f"named answers update with SERVFAIL: by default its `max-records-per-type` is "
                f"{updates.MAX_RECORDS_PER_TYPE}, and {'; '.join(unfit_children.values())}",
                tuple(unfit_children),
            )
        if answer.rcode != Rcode.NOERROR:
            raise failure(answer, Operation.UPDATE, server.key_name)
        await self._naming.wrote(changes)

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
        server, _ = self._open_connection()
        async with aclosing(Transfer(server, self._zone).branches()) as branches:
            async for branch in branches:
                for reading in branch.readings():
                    yield reading

    async def serial(self) -> int:
        """The zone's serial. Raises BackendError unless named answers for it with authority."""
        (answer,) = await self._ask_all([(message.query(0, self._zone, RRType.SOA), Operation.QUERY)])
        return self._serial_in(answer)

    async def read_rrsets(self, names: Sequence[bytes]) -> tuple[RRset, ...]:
        """Each name is asked for by ANY, which named answers in full over TCP; prerequisites confirm what is seen."""
        found: list[RRset] = []
        for name in names:
            try:
                found += await self._rrsets_at(name)
            except MalformedMessage as error:
                raise BackendUnavailable(f"named sent an answer that {error.reason}") from error
        return tuple(found)

    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        server, connection = self._open_connection()
        wire = rrsets.replace_message(self._zone, before, after)
        self._naming.doubt()
        answer = await connection.ask(wire, Operation.UPDATE, repeatable=False)
        if answer.rcode == Rcode.REFUSED:
            difference = RRsetDifference.between(before, after)
            unfit = [each for each in difference.added if updates.is_no_host(each.owner, each.rtype, each.rdata)]
            raise await self._permission.refusal(
                server.key_name,
                ((each.owner, each.rtype) for each in (*difference.removed, *difference.added)),
                "; ".join(each.to_text() for each in unfit),
            )
        if answer.rcode != Rcode.NOERROR:
            raise failure(answer, Operation.UPDATE, server.key_name)

    def _open_connection(self) -> tuple[Server, Connection]:
        if self._connected is None:
            raise BackendUnavailable("the connection to named is not open")
        return self._connected

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
            if answer.rcode not in _EXISTS:
                raise failure(answer, Operation.QUERY, self._open_connection()[0].key_name)
        return sight(child, self._zone, ns, ds), enclosing

    async def _topmost_cut(self, above: Sequence[bytes]) -> bytes | None:
        """The first of these names at which the zone has NS."""
        asked = [(updates.cuts_absent_message(self._zone, [name]), Operation.UPDATE) for name in above]
        answers = await self._ask_all(asked)
        return next((name for name, answer in zip(above, answers, strict=True) if not self._holds(answer)), None)

    async def _is_proven(self, seen: Sight, above: Sequence[bytes]) -> bool:
        """True if what was seen is certain to be the parent zone's data, and all that concerns the child.

        Prerequisites are about the zone that an UPDATE names, no matter which other zones named serves. With names
        between child and apex, one of those could be such a zone.
        """
        if not seen.delegation.is_delegated and not seen.barren:
            # There may be delegations below this name, which a delegation here would hide: only a transfer tells.
            return False
        if seen.of_parent and not above:
            return True
        return not await self.verify([Change(seen.delegation, seen.delegation)])

    async def _read_by_transfer(self, child: bytes) -> Reading:
        server, _ = self._open_connection()
        chosen = ChildFilter(child)
        async with aclosing(Transfer(server, self._zone).branches()) as branches:
            async for branch in branches:
                chosen.take(branch)
        return chosen.reading()

    # RRsets of other types

    async def _rrsets_at(self, name: bytes) -> list[RRset]:
        await self._check_place(name)
        for _ in range(_LOOKS):
            (answer,) = await self._ask_all([(message.query(0, name, RRType.ANY), Operation.QUERY)])
            if answer.rcode not in _EXISTS:
                raise failure(answer, Operation.QUERY, self._open_connection()[0].key_name)
            states = {rrset: await self._is_in_zone(rrset) for rrset in rrsets.seen(answer, name)}
            if None not in states.values():
                return [rrset for rrset, held in states.items() if held]
            await asyncio.sleep(_BETWEEN_LOOKS)
        raise BackendUnavailable(f"named serves other records at {names.to_text(name)} than its zone holds")

    async def _check_place(self, name: bytes) -> None:
        """Raises BackendRejected for a name outside the zone, or at or below a delegation."""
        if not names.is_at_or_below(name, self._zone):
            raise BackendRejected(f"{names.to_text(name)} is not in {names.to_text(self._zone)}")
        if name == self._zone:
            return
        cut = await self._topmost_cut((*names.between(name, self._zone), name))
        if cut is not None:
            raise BackendRejected(f"{names.to_text(name)} lies in the delegation of {names.to_text(cut)}")

    async def _is_in_zone(self, rrset: RRset) -> bool | None:
        """True if the zone holds an RRset that was seen, False if it has none there, None if it holds another one."""
        if not rrsets.is_verifiable(rrset, self._zone):
            return True
        asked = [rrsets.holds_message(self._zone, rrset), rrsets.absent_message(self._zone, *rrset.key)]
        held, absent = await self._ask_all([(wire, Operation.UPDATE) for wire in asked])
        if self._holds(held):
            return True
        return False if self._holds(absent) else None

    # Verifying

    def _holds(self, answer: Envelope) -> bool:
        """True if the prerequisites hold, False if not. Raises for any other answer."""
        if answer.rcode == Rcode.NOERROR:
            return True
        if answer.rcode in CONFLICTS:
            return False
        key = self._open_connection()[0].key_name
        raise (
            self._permission.shut_out(key) if answer.rcode == Rcode.REFUSED else failure(answer, Operation.UPDATE, key)
        )

    async def _verify_batch(self, changes: Sequence[Change], wire: bytes) -> tuple[bytes, ...]:
        (answer,) = await self._ask_all([(wire, Operation.UPDATE)])
        if self._holds(answer):
            return ()
        if len(changes) == 1:
            return (changes[0].child,)
        # named does not say which one it was; each child by itself, pipelined, takes little more than a round trip
        asked = [(updates.verify_message(self._zone, [change]), Operation.UPDATE) for change in changes]
        answers = await self._ask_all(asked)
        pairs = zip(changes, answers, strict=True)
        return tuple(change.child for change, answer in pairs if not self._holds(answer))

    def _room(self) -> int:
        """The octets of a message before it is signed."""
        signature = tsig_octets(self._connected[0].key) if self._connected is not None else 0
        return self._options.batch_octets - signature

    # Looking for delegations that queries do not show

    async def _apex(self) -> tuple[int, frozenset[bytes]]:
        """The zone's serial, and the name servers of its apex."""
        rtypes = (RRType.SOA, RRType.NS)
        soa, ns = await self._ask_all([(message.query(0, self._zone, rtype), Operation.QUERY) for rtype in rtypes])
        try:
            found = [read_name(ns.wire, each.rdata)[0] for each in ns.section(_ANSWER) if each.rtype == RRType.NS]
        except MalformedMessage as error:
            raise BackendUnavailable(f"named sent an answer that {error.reason}") from error
        return self._serial_in(soa), frozenset(target.lower() for target in found)

    def _serial_in(self, answer: Envelope) -> int:
        zone = names.to_text(self._zone)
        server, _ = self._open_connection()
        if answer.rcode not in _EXISTS:
            raise failure(answer, Operation.QUERY, server.key_name)
        try:
            for record in answer.section(_ANSWER):
                authoritative = record.rtype == RRType.SOA and answer.flags & AUTHORITATIVE
                if authoritative and answer.name(record.start) == self._zone:
                    return soa_serial(answer, record)
        except MalformedMessage as error:
            raise BackendUnavailable(f"{server} sent an answer that {error.reason}") from error
        raise BackendMisconfigured(
            f"{server} is not authoritative for {zone}: look at `server`, at the zone's name, and at which view the "
            f"key {server.key_name} reaches"
        )

    async def _scan(self, there: list[Delegation] | None = None) -> None:
        """Find all hidden delegations; normally there are none. The first ones of the zone are added to `there`."""
        server, _ = self._open_connection()
        transfer = Transfer(server, self._zone)
        found: set[bytes] = set()
        listed = self._naming.begin()
        async with aclosing(transfer.branches()) as branches:
            async for branch in branches:
                found.update(hidden(branch))
                if there is not None and len(there) < EXAMPLES:
                    there.extend(reading.delegation for reading in branch.readings())
                listed.take(branch)
        self._hidden = frozenset(found)
        self._scanned = transfer.serial
        self._naming.adopt(listed, transfer.serial)

    async def _rescan(self) -> None:
        while True:
            await asyncio.sleep(self._options.rescan)
            try:
                if await self.serial() != self._scanned:
                    await self._scan()
            except BackendError as error:
                _LOG.warning("looking for hidden delegations of %s: %s", names.to_text(self._zone), error.reason)
            except Exception:
                # a defect is no reason not to look again
                _LOG.exception("looking for hidden delegations of %s", names.to_text(self._zone))
