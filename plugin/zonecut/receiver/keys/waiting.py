"""Notices when the delegation of a child whose key waits has changed: that is a reason to look at the key again."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from math import inf

import structlog

from zonecut.plugin import BackendError
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.bounded import Bounded
from zonecut.store import Bootstrap, Store, StoreError

SHORTEST_ROUND = 1.0
"""Seconds from one round to the next, at least."""
PACE = 0.02
"""Seconds between two reads."""
WITHOUT_DS = 3600.0
"""Seconds for which a child that had a DS shows none before it counts as one without: a zone may be half saved."""
SIGNED = 10_000
"""Children of whom it is remembered that they had a DS."""

_log = structlog.get_logger(__name__)


class Waiting:
    """The children of one parent zone whose keys were looked at in vain. `run` it in a task.

    A key may wait for two weeks, and a stranger may have sent it: its delegation is read ever more seldom.
    """

    def __init__(
        self,
        zone: bytes,
        store: Store,
        delegation_of: Callable[[bytes], Awaitable[Delegation]],
        cool_down: float,
        longest: float,
        *,
        clock: Callable[[], float],
    ) -> None:
        """`delegation_of` reads a delegation, and tells `seen`; `cool_down` and `longest` bound the time between two
        reads of one, in seconds."""
        self._zone = zone
        self._store = store
        self._delegation_of = delegation_of
        self._cool_down = cool_down
        self._longest = longest
        self._clock = clock
        self._judged: dict[bytes, bytes] = {}
        self._read_at: dict[bytes, float] = {}
        self._no_ds_since: Bounded[bytes, float] = Bounded(SIGNED)
        """As in a bootstrap, which keeps it over a restart; of children of whom it has to be known."""

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await asyncio.sleep(max(self._cool_down, SHORTEST_ROUND))
            try:
                await self.once()
            except (BackendError, StoreError) as error:
                # the server or the store is away, which others report
                _log.info("waiting.ended", zone=names.to_text(self._zone), reason=error.reason)

    async def once(self) -> int:
        """Read each delegation that is due to be read; how many there were. Raises BackendError, StoreError."""
        latest: dict[bytes, Bootstrap] = {}
        for bootstrap in await self._store.bootstraps.waiting(self._zone):
            self._recall(bootstrap)
            other = latest.get(bootstrap.owner)
            if other is None or other.looked_at < bootstrap.looked_at:
                latest[bootstrap.owner] = bootstrap
        self._judged = {owner: bootstrap.judged or b"" for owner, bootstrap in latest.items()}
        self._read_at = {owner: at for owner, at in self._read_at.items() if owner in latest}
        count = 0
        for owner, bootstrap in latest.items():
            now = self._clock()
            pause = min(max((now - bootstrap.looked_at) / 2, self._cool_down), self._longest)
            # what was read or looked at in the future was so while the clock was fast
            if 0 <= now - self._read_at.get(owner, bootstrap.looked_at) < pause:
                continue
            self._read_at[owner] = now
            await self._read(owner)
            count += 1
            await asyncio.sleep(PACE)
        return count

    async def _read(self, owner: bytes) -> None:
        try:
            await self._delegation_of(owner)
        except (BackendError, StoreError):
            raise
        except Exception:
            # one child that cannot be read stops no other
            _log.exception("waiting.defect", child=names.to_text(owner))

    def unsettled(self, delegation: Delegation) -> str | None:
        """Why no method looks at a delegation as it is now; None if one may.

        A child that had a DS has to be without one at every look for a while before it counts as such.
        """
        if not delegation.is_delegated:
            return "the child is not delegated"
        since = self._no_ds_since.get(delegation.child)
        if delegation.ds or since is None or self._clock() - since >= WITHOUT_DS:
            return None
        return "the child had a DS until lately"

    def looks(self, bootstrap: Bootstrap) -> None:
        """A look at a key of this child begins: it sees for itself what the delegation is."""
        self._judged.pop(bootstrap.owner, None)
        self._recall(bootstrap)

    def no_ds_since(self, bootstrap: Bootstrap) -> float | None:
        """What was seen of a child's DS by now, for its bootstrap to keep."""
        return self._no_ds_since.get(bootstrap.owner, bootstrap.no_ds_since)

    def _recall(self, bootstrap: Bootstrap) -> None:
        """What was seen before a restart, or by another process."""
        if bootstrap.no_ds_since is not None and bootstrap.owner not in self._no_ds_since:
            self._no_ds_since[bootstrap.owner] = bootstrap.no_ds_since

    def looked(self, child: bytes, delegation: Delegation) -> None:
        """It was made on this delegation, in vain."""
        self._judged[child] = digest_of(delegation)

    async def seen(self, child: bytes, delegation: Delegation) -> bool:
        """A delegation was read, for whatever reason; whether that makes a key of the child be looked at again.

        Raises StoreUnavailable.
        """
        if delegation.ds:
            self._no_ds_since[child] = inf
        elif self._no_ds_since.get(child) == inf:
            self._no_ds_since[child] = self._clock()
        judged, digest = self._judged.get(child), digest_of(delegation)
        if judged is None or judged == digest:
            return False
        self._judged[child] = digest
        count = await self._store.bootstraps.look_again(
            child, self._zone, digest, self._no_ds_since.get(child), self._cool_down
        )
        if count:
            _log.info("bootstrap.delegation-changed", zone=names.to_text(self._zone), child=names.to_text(child))
        return bool(count)


def digest_of(delegation: Delegation) -> bytes:
    """What tells the delegation that a look was made on from another one."""
    return hashlib.sha256(delegation.to_wire()).digest()
