"""A store: one database, one thread, one class a table group."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Engine

from zonecut.protocol import codepoints
from zonecut.store.agents import AgentTable
from zonecut.store.audit import AuditTable
from zonecut.store.chores import Chores
from zonecut.store.engine import check_only_name, check_writable, create_file, make_engine, parse_url
from zonecut.store.errors import StoreReplaced, StoreUnusable
from zonecut.store.keys.bootstraps import BootstrapTable
from zonecut.store.keys.keyring import KeyRing
from zonecut.store.keys.keys import KeyTable
from zonecut.store.keys.receiver_keys import ReceiverKeys
from zonecut.store.keys.watches import WatchTable
from zonecut.store.ledger.changes import ChangeTable
from zonecut.store.ledger.child_ledgers import ChildLedgers
from zonecut.store.ledger.decisions import DecisionTable
from zonecut.store.place.lock import Lock
from zonecut.store.place.mark import MarkFile, Restored
from zonecut.store.place.marking import Marking, still
from zonecut.store.place.naming import compare, establish, serve_at, served_elsewhere
from zonecut.store.place.placing import check_only_place, check_place, lost
from zonecut.store.place.store_file import StoreFile
from zonecut.store.restores import RestoreTable
from zonecut.store.schema import at_first, upgrade
from zonecut.store.statistics import Statistics
from zonecut.store.thread import StoreThread
from zonecut.store.zone_consumers import ZoneConsumers
from zonecut.store.zone_serials import ZoneSerials
from zonecut.store.zone_states import ZoneStates


class Store:
    """Everything that zonecut remembers. Made with `open`; `close` must be called, or the store used with `async with`.

    The methods of its parts belong to an event loop; any number of processes may have the same store open.
    """

    def __init__(
        self,
        engine: Engine,
        file: StoreFile,
        marking: Marking,
        clock: Callable[[], float],
        code_points: codepoints.CodePoints,
        ring_owners: int,
    ) -> None:
        self.thread = StoreThread(engine, file, marking)
        self.keys = KeyTable(self.thread, clock)
        self.ring = KeyRing(self.thread, code_points, ring_owners)
        """Not started: who looks keys up calls `start`, and has `run` run."""
        self.changes = ChangeTable(self.thread, clock)
        self.decisions = DecisionTable(self.thread, clock)
        self.restores = RestoreTable(self.thread, clock, self.changes.settle_many, self.decisions.hold)
        self.ledgers = ChildLedgers(self.thread)
        self.zones = ZoneStates(self.thread, clock)
        self.consumers = ZoneConsumers(self.thread, clock)
        self.chores = Chores(self.thread, clock)
        self.serials = ZoneSerials(self.thread, clock)
        self.statistics = Statistics(self.thread)
        self.bootstraps = BootstrapTable(self.thread, clock)
        self.watches = WatchTable(self.thread, clock)
        self.agents = AgentTable(self.thread, clock)
        self.audit = AuditTable(self.thread, clock)
        self.receiver_keys = ReceiverKeys(self.thread, clock)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        code_points: codepoints.CodePoints = codepoints.DEFAULT,
        ring_owners: int = 8192,
        writes: bool = False,
        lock: Lock | None = None,
    ) -> "Store":
        """The store behind a URL; an empty one is made, an older one upgraded. It waits for the disk.

        `clock` gives seconds since the epoch; `ring_owners` is how many owners' keys the ring keeps in memory; with
        `writes`, a file that can only be read is refused. `lock` is the daemon's.
        Raises StoreUnusable, with a sentence that names the URL and says what would be right.
        A store that has not got as far as it once had is opened all the same: see `restored`.
        """
        parsed = parse_url(url)
        configured = Path(parsed.database or "")
        path = configured.resolve()  # as SQLite does, before it adds `-wal`
        mark_file = MarkFile(path)
        mark = mark_file.read()
        if mark is not None and not path.exists():
            raise StoreUnusable(lost(url, mark, mark_file))
        create_file(parsed)
        if lock is not None:
            lock.take(path)
        file = StoreFile(path, configured, lock)
        check_only_name(url, path)
        check_place(url, path, file.identity, mark, mark_file)
        check_only_place(url, path)
        try:
            file.check()
        except StoreReplaced as error:
            raise StoreUnusable(error.reason) from None
        file.closed()  # what is beside it may go when the connections that follow are closed
        engine = make_engine(parsed)
        upgrade(engine)
        if writes:
            check_writable(engine)
        mark, restored = at_first(engine, lambda connection: compare(connection, mark_file))
        with suppress(OSError, StoreUnusable):  # as on a full disk: the next one that opens it does the same
            if restored is not None and (contradicting := still(restored, file.identity)) is not None:
                mark_file.write(contradicting)
            elif restored is None:
                at_first(engine, lambda connection: establish(connection, mark_file, file.identity))
                if lock is not None:
                    at_first(engine, lambda connection: serve_at(connection, path))
        marking = Marking(mark_file, file.identity, restored, mark, recorded=writes)
        store = cls(engine, file, marking, clock, code_points, ring_owners)
        if lock is None:
            store.thread.elsewhere = at_first(engine, lambda connection: served_elsewhere(connection, path))
        return store

    @property
    def elsewhere(self) -> str | None:
        """A sentence about a store that is a copy of the one that a running daemon has: it can be read only."""
        return self.thread.elsewhere

    @property
    def restored(self) -> Restored | None:
        """What shows that this store was restored from a backup, until an operator has accepted that.

        Until then it can be read, and whatever writes raises StoreRestored.
        """
        return self.thread.restored

    async def close(self) -> None:
        """Do what was accepted, close the database. May be called again."""
        await self.thread.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
