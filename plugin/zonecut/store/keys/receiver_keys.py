"""Which key the receiver had at each target name: what its key directory is held against, should that be lost.

Children verify answers with the key that is published. The private halves are in the key directory alone.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select

from zonecut.protocol.keys import Key
from zonecut.store import tables
from zonecut.store.thread import StoreThread

_TABLE = tables.receiver_keys


class ReceiverKeys:
    """The receiver's public keys as a store knows them: one a target name that was ever configured."""

    def __init__(self, thread: StoreThread, clock: Callable[[], float]) -> None:
        self._thread = thread
        self._clock = clock

    async def all(self) -> Mapping[bytes, Key]:
        """The key that was last noted at each target name. Raises StoreUnavailable."""
        return await self._thread.read(_all)

    async def note(self, keys: Collection[Key]) -> None:
        """These are the keys now, each at its owner name; nothing is written if they were before.

        Raises StoreUnavailable.
        """
        known = await self.all()
        new = [key for key in keys if known.get(key.owner) != key]
        if new:
            await self._thread.write(self._note, new)

    def _note(self, connection: Connection, groups: Sequence[Sequence[Key]]) -> Sequence[None]:
        latest = {key.owner: key for group in groups for key in group}
        connection.execute(delete(_TABLE).where(_TABLE.c.target.in_(latest)))
        connection.execute(
            insert(_TABLE),
            [{"target": key.owner, "rdata": key.rdata, "noted_at": self._clock()} for key in latest.values()],
        )
        return [None] * len(groups)


def _all(connection: Connection) -> dict[bytes, Key]:
    return {row.target: Key.from_rdata(row.target, row.rdata) for row in connection.execute(select(_TABLE))}
