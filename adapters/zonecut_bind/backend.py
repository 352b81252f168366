"""The Backend for BIND: what is BIND's own beside reading and writing by DNS."""

import asyncio
from collections.abc import Sequence

from zonecut.plugin import BackendRejected, BackendUnavailable, Change, Reading
from zonecut.plugin.branches import plain
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.rrset import RRset, RRsetDifference
from zonecut_bind import rrsets, updates
from zonecut_bind.answers import failure
from zonecut_bind.dialect import BIND, Operation
from zonecut_bind.serial import EXISTS
from zonecut_bind.server import Server
from zonecut_bind.signing import check_made
from zonecut_bind.updating import UpdatingBackend

_LOOKS, _BETWEEN_LOOKS = 20, 0.05  # seconds; with inline signing, what is served follows within 12 ms


class BindBackend(UpdatingBackend):
    """One parent zone on one named."""

    dialect = BIND

    async def _get_to_know(self, server: Server) -> tuple[str, ...]:
        await check_made(self._zone, server, self._ask_all)
        there: list[Delegation] = []
        await self._scan(there)
        return await self._remarks_on(there)

    async def unchanged(self, readings: Sequence[Reading]) -> frozenset[bytes]:
        """By prerequisites: those are about the parent zone, whatever else named serves."""
        known = [each.delegation for each in plain(readings, self._zone, self._hidden)]
        differing = await self.verify([Change(each, each) for each in known])
        return frozenset(each.child for each in known).difference(differing)

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
            raise failure(answer, Operation.UPDATE, server)
        self._may_be_over()
        await self._naming.wrote(changes)

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
                ((each.owner, each.rtype) for each in (*difference.removed, *difference.added)),
                "; ".join(each.to_text() for each in unfit),
            )
        if answer.rcode != Rcode.NOERROR:
            raise failure(answer, Operation.UPDATE, server)

    # RRsets of other types

    async def _rrsets_at(self, name: bytes) -> list[RRset]:
        await self._check_place(name)
        for _ in range(_LOOKS):
            (answer,) = await self._ask_all([(message.query(0, name, RRType.ANY), Operation.QUERY)])
            if answer.rcode not in EXISTS:
                raise failure(answer, Operation.QUERY, self._open_connection()[0])
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
