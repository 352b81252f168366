"""The Backend for a zone that people change: it reads by transfer, and says what is to be done and whether it is."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from zonecut.plugin import (
    Backend,
    BackendConflict,
    BackendContext,
    BackendLater,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
    Host,
    Reading,
    Withdrawal,
)
from zonecut.plugin.backend import MAX_NAMED_BY
from zonecut.plugin.dns.tsig_key import KeyFileError, load_key
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR
from zonecut.protocol.rrset import RRset
from zonecut_bind import compared
from zonecut_bind.connection import Connection
from zonecut_bind.dialect import PRIMARY
from zonecut_bind.manual.nsupdate import changes_text, rrsets_text
from zonecut_bind.mirror import Mirror
from zonecut_bind.options import ManualOptions
from zonecut_bind.serial import zone_serial
from zonecut_bind.server import Server
from zonecut_bind.transfer import Transfer

_BATCH = 100
_ADDRESSES = (RRType.A, RRType.AAAA)


class ManualBackend(Backend):
    """One parent zone that is read from one server, and changed by people."""

    def __init__(self, context: BackendContext, options: ManualOptions) -> None:
        self._zone = context.zone
        self._ttls = context.ttls
        self._options = options
        self._connected: tuple[Server, Connection] | None = None
        self._mirror = Mirror(self._zone, self._transfer, options.rescan)

    async def open(self) -> None:
        await self.close()
        options = self._options
        try:
            key = None if options.tsig is None else load_key(options.tsig)
        except KeyFileError as error:
            raise BackendMisconfigured(str(error)) from error
        host, port = options.address
        server = Server(host, port, key, options.timeout, PRIMARY, options.transfer_timeout)
        self._connected = server, Connection(server)
        try:
            await self._mirror.refresh(await self.serial(), patiently=True)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        self._mirror.close()
        if self._connected is not None:
            await self._connected[1].close()
            self._connected = None

    def by_hand(self, changes: Sequence[Change]) -> str:
        return changes_text(self._zone, changes, self._ttls)

    async def read(self, child: bytes) -> Reading:
        if not names.is_below(child, self._zone):
            raise BackendRejected(f"{names.to_text(child)} is not below {names.to_text(self._zone)}")
        await self._look()
        return self._mirror.read(child)

    def batch(self, changes: Sequence[Change]) -> int:
        return max(1, min(len(changes), _BATCH))

    async def write(self, changes: Sequence[Change]) -> None:
        """Nothing is written: BackendLater names those that somebody has yet to carry out."""
        changes = [change for change in changes if change.before != change.after]
        if not changes:
            return
        if broken := compared.senseless(changes):
            raise BackendRejected.telling("; ".join(broken.values()), tuple(broken))
        await self._look()
        there = compared.held(self._mirror.at(compared.owners(changes)))
        if aliases := compared.aliases(changes, there):
            raise BackendRejected.telling("; ".join(aliases.values()), tuple(aliases))
        waiting = [change for change in changes if not compared.is_after(change, there)]
        if differing := [change.child for change in waiting if not compared.is_before(change, there)]:
            which = ", ".join(map(names.to_text, differing))
            raise BackendConflict(f"the zone holds something else than was expected of it for {which}", differing)
        if waiting:
            raise BackendLater(
                f"it is to be made by hand in {names.to_text(self._zone)}: zonecut change show says what, and change "
                "done when it is",
                [change.child for change in waiting],
                self._options.look,
            )

    async def verify(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        if not changes:
            return ()
        await self._look()
        there = compared.held(self._mirror.at(compared.owners(changes)))
        return tuple(change.child for change in changes if not compared.is_after(change, there))

    async def withdraw(self, change: Change) -> Withdrawal:
        """Whoever has read what is to be done may do it still."""
        return Withdrawal.UNKNOWN if await self.verify([change]) else Withdrawal.CARRIED_OUT

    async def hosts(
        self, hosts: Sequence[bytes], *, not_before: float | None = None, shared: bool = False
    ) -> Mapping[bytes, Host]:
        await self._look(not_before)
        return {host: self._host(host) for host in hosts}

    async def children(self) -> AsyncGenerator[Reading, None]:
        async with aclosing(self._transfer().branches()) as branches:
            async for branch in branches:
                for reading in branch.readings():
                    yield reading

    async def serial(self) -> int:
        return await zone_serial(self._zone, *self._open_connection())

    async def read_rrsets(self, owners: Sequence[bytes]) -> tuple[RRset, ...]:
        places = compared.places(owners, self._zone)
        await self._look()
        return compared.rrsets_at(owners, self._zone, self._mirror.at(places))

    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        """Nothing is written: BackendLater has what is to be done."""
        await self._look()
        records = self._mirror.at({each.owner for each in (*before, *after)})
        there, keys = compared.held(records), {each.key for each in (*before, *after)}
        if {each for each in records if (each.owner, each.rtype) in keys} == {
            each for rrset in after for each in rrset.records
        }:
            return  # with their TTLs
        old, new = {each.key for each in before}, {each.key for each in after}
        if not compared.holds_all(before, new - old, there):
            raise BackendConflict("the zone holds something else than was expected of it")
        zone = names.to_text(self._zone)
        raise BackendLater(
            f"nothing is written to {zone}: have it done by hand; zonecut parent publish {zone} has it as input of"
            " nsupdate",
            by_hand=rrsets_text(self._zone, before, after),
        )

    def _open_connection(self) -> tuple[Server, Connection]:
        if self._connected is None:
            raise BackendUnavailable("the connection to the zone's server is not open")
        return self._connected

    def _transfer(self) -> Transfer:
        return Transfer(self._open_connection()[0], self._zone, sorts=True)

    async def _look(self, not_before: float | None = None) -> None:
        """Have the mirror show the zone as it is."""
        asked = time.monotonic()
        oldest = float("-inf") if not_before is None else not_before
        await self._mirror.refresh(await self.serial(), oldest, asked=asked)

    def _host(self, host: bytes) -> Host:
        addresses = (RR(each.owner, each.rtype, each.rdata) for each in self._mirror.at([host]))
        found = tuple(sorted(each for each in addresses if each.rtype in _ADDRESSES))
        return Host(self._mirror.naming(host, MAX_NAMED_BY), found)
