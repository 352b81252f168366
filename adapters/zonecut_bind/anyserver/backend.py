"""The Backend for whatever takes UPDATEs signed with TSIG and gives transfers (RFC 2136, RFC 5936, RFC 8945).

What the server does is found out when it is opened, and what is lost with it is said: whether prerequisites compare
whole RRsets, whether signatures are its own. A transfer has the last word.
"""

import logging
import time
from collections.abc import Collection, Sequence

from zonecut.plugin import BackendConflict, BackendContext, BackendError, BackendRejected, Change, Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode, RRType, type_text
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.envelope import Envelope
from zonecut.protocol.rrset import ResourceRecord, RRset, RRsetDifference
from zonecut_bind import compared, rrsets, updates
from zonecut_bind.answers import CONFLICTS, failure
from zonecut_bind.anyserver.conditions import Conditions, places, refused, said, shows_worth, worth
from zonecut_bind.anyserver.made import check_made_here
from zonecut_bind.dialect import ANY_SERVER, Operation
from zonecut_bind.mirror import Mirror
from zonecut_bind.options import Rfc2136Options
from zonecut_bind.server import Server
from zonecut_bind.transfer import Transfer
from zonecut_bind.updating import UpdatingBackend

_NS = int(RRType.NS)
_LOG = logging.getLogger("zonecut.bind")
_REMARKS = 10
_KNOWN = frozenset(map(int, (RRType.SOA, RRType.NS, RRType.A, RRType.AAAA)))
"""Types that every server knows."""


class AnyServerBackend(UpdatingBackend):
    """One parent zone on one server of which nothing is known beforehand."""

    dialect = ANY_SERVER
    # PowerDNS: an edit by pdnsutil, or by an API that is set so
    serial_rises = False

    def __init__(self, context: BackendContext, options: Rfc2136Options) -> None:
        super().__init__(context, options)
        self._conditions: Conditions | None = None
        self._patience = options.transfer_timeout
        self._refused: dict[bytes, str] = {}
        """What to remark of children of whose records the server refuses what it holds, until they are replaced."""
        self._mirror = Mirror(self._zone, self._transfer, options.rescan)

    async def close(self) -> None:
        self._mirror.close()
        await super().close()

    @property
    def _transfer_timeout(self) -> float:
        return self._patience

    async def _get_to_know(self, server: Server) -> tuple[str, ...]:
        there: list[Delegation] = []
        await self._scan(there)
        await check_made_here(self._zone, self._made, str(server), self._ask_all)
        return await self._remarks_on(there)

    async def _remarks_on(self, there: Sequence[Delegation]) -> tuple[str, ...]:
        found = await self._tried(there)
        if found in (Conditions.COARSE, Conditions.NONE):
            again: list[Delegation] = []
            await self._scan(again)  # somebody may have edited just what it was tried on
            there, found = again, await self._tried(again)
        self._conditions = found
        # what cannot be made conditional is not tried on real names
        remarks = await self._permission.remarks([] if found is Conditions.NONE else there)
        about = said(found, str(self._open_connection()[0]), self._zone)
        return (*remarks, about) if about else remarks

    async def _tried(self, there: Sequence[Delegation]) -> Conditions | None:
        """What prerequisites are worth, on RRsets of these delegations, which a transfer has just shown."""
        _, apex = await self._apex()
        return await worth(self._zone, places(self._zone, apex, there), self._ask_all)

    def remarks(self) -> Sequence[str]:
        return (*super().remarks(), *self._refused.values())

    def _may_be_over(self) -> None:
        # of a server that does not keep to prerequisites every UPDATE is taken
        if self._conditions in (Conditions.EXACT, None):
            super()._may_be_over()

    # Reading

    async def read(self, child: bytes) -> Reading:
        if self._conditions is Conditions.NONE and names.is_below(child, self._zone):
            return await self._read_by_transfer(child)
        return await super().read(child)

    async def verify(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        if not changes or (self._conditions is Conditions.EXACT and not await super().verify(changes)):
            return ()
        # Knot compares a name with capitals that somebody typed, and PowerDNS what it has in a cache
        there = compared.held(await self._at(compared.owners(changes)))
        return tuple(change.child for change in changes if not compared.is_after(change, there))

    async def read_rrsets(self, names: Sequence[bytes]) -> tuple[RRset, ...]:
        places = compared.places(names, self._zone)
        asked = time.monotonic()
        # asked for all the time by who only wants to know whether the server is there
        await self._mirror.refresh(await self.serial(), asked=asked)
        return compared.rrsets_at(names, self._zone, self._mirror.at(places))

    # Writing

    async def write(self, changes: Sequence[Change]) -> None:
        changes = [change for change in changes if change.before != change.after]
        if not changes:
            return
        if broken := compared.senseless(changes):
            raise BackendRejected.telling("; ".join(broken.values()), tuple(broken))
        by_value = self._conditions in (Conditions.EXACT, None)
        if self._conditions is not Conditions.EXACT:
            await self._compare(changes)
        answer = await self._update(updates.write_message(self._zone, changes, self._ttls, by_value=by_value))
        if answer.rcode in CONFLICTS and by_value:
            answer = await self._write_after_conflict(changes)
        if answer.rcode == Rcode.NOERROR:
            for change in changes:
                if change.before.ns != change.after.ns:
                    self._refused.pop(change.child, None)
            if self._conditions is None and any(shows_worth(change.after) for change in changes):
                self._look_soon.set()
            await self._naming.wrote(changes)
            return
        if answer.rcode in CONFLICTS:
            raise BackendConflict("the server holds something else than was expected of it")
        aliases = compared.aliases(changes, compared.held(await self._at(compared.owners(changes))))
        if aliases:
            raise BackendRejected.telling("; ".join(aliases.values()), tuple(aliases))
        raise await self._refusal(answer, sorted(updates.touched(changes)))

    async def _write_after_conflict(self, changes: Sequence[Change]) -> Envelope:
        """The answer to the same UPDATE where the server holds, after all, what was expected of it."""
        await self._compare(changes)
        befores = [Change(change.before, change.before) for change in changes]
        odd = await super().verify(befores)
        answer = await self._update(updates.write_message(self._zone, changes, self._ttls, loosely=odd))
        if answer.rcode in CONFLICTS:
            await self._compare(changes)
            # it holds what was expected of it, and compares it in a way of its own
            odd = tuple(change.child for change in changes)
            answer = await self._update(updates.write_message(self._zone, changes, self._ttls, by_value=False))
        if answer.rcode == Rcode.NOERROR:
            self._remark_refused([change.before for change in changes if change.child in odd])
        return answer

    def _remark_refused(self, delegations: Sequence[Delegation]) -> None:
        for each in delegations:
            if len(self._refused) < _REMARKS and each.child not in self._refused:
                self._refused[each.child] = refused(str(self._open_connection()[0]), each)
                _LOG.warning("%s", self._refused[each.child])

    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        by_value = self._conditions in (Conditions.EXACT, None)
        if self._conditions is not Conditions.EXACT:
            await self._compare_rrsets(before, after)
        answer = await self._update(rrsets.replace_message(self._zone, before, after, by_value=by_value))
        if answer.rcode in CONFLICTS and by_value:
            await self._compare_rrsets(before, after)
            answer = await self._update(rrsets.replace_message(self._zone, before, after, by_value=False))
        self._naming.doubt()
        if answer.rcode in CONFLICTS:
            raise BackendConflict("the server holds something else than was expected of it")
        if answer.rcode == Rcode.NOERROR:
            return
        difference = RRsetDifference.between(before, after)
        places = {(each.owner, each.rtype) for each in (*difference.removed, *difference.added)}
        raise await self._refusal(answer, sorted(places))

    async def _update(self, wire: bytes) -> Envelope:
        """The answer to an UPDATE that is sent once: one that was lost may have been a success."""
        _, connection = self._open_connection()
        try:
            answer = await connection.ask(wire, Operation.UPDATE, repeatable=False)
        except BaseException:
            self._naming.doubt()
            raise
        if answer.rcode != Rcode.REFUSED:
            self._may_be_over()
        return answer

    async def _compare(self, changes: Sequence[Change]) -> None:
        """Raises BackendConflict, with those that differ, unless the zone holds each `before`."""
        there = compared.held(await self._at(compared.owners(changes)))
        differing = [change.child for change in changes if not compared.is_before(change, there)]
        if differing:
            which = ", ".join(map(names.to_text, differing))
            raise BackendConflict(f"the server holds something else than was expected of it for {which}", differing)

    async def _compare_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        absent = {each.key for each in after} - {each.key for each in before}
        there = compared.held(await self._at({each.owner for each in (*before, *after)}))
        if not compared.holds_all(before, absent, there):
            raise BackendConflict("the server holds something else than was expected of it")

    async def _refusal(self, answer: Envelope, places: Sequence[tuple[bytes, int]]) -> BackendError:
        """The error for an UPDATE of these owners and types that was answered so."""
        server, _ = self._open_connection()
        if answer.rcode == Rcode.REFUSED and self._conditions is not Conditions.NONE:
            return await self._permission.refusal(places, "")
        rare = sorted({rtype for _, rtype in places} - _KNOWN)
        if answer.rcode == Rcode.FORMERR and RRType.DSYNC in rare:
            which = ", ".join(map(type_text, rare))
            return BackendRejected(
                f"{server} answers FORMERR to records of the types {which}: PowerDNS takes no DSYNC by UPDATE; write "
                "them by other means, as its API, and set `publish: false`, or use the adapter for this kind of server"
            )
        return failure(answer, Operation.UPDATE, server)

    # By transfer

    async def _at(self, owners: Collection[bytes]) -> Sequence[ResourceRecord]:
        """The zone's records at these names."""
        async with self._in_time():
            return await self._transfer().at(owners)

    def _transfer(self) -> Transfer:
        # in an order of its own, as from PowerDNS; and Knot has half a second for whoever reads it too slowly
        return Transfer(self._open_connection()[0], self._zone, sorts=True)

    async def _topmost_cut(self, above: Sequence[bytes]) -> bytes | None:
        if self._conditions is not Conditions.NONE:
            return await super()._topmost_cut(above)
        cuts = {each.owner for each in await self._at(above) if each.rtype == _NS}
        return next((name for name in above if name in cuts), None)
