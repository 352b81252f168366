"""A bootstrapper at work on a store, with a clock and a parent that a test sets."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from receiver_support import CHILD, NOW, ZONE, Clock
from trust_support import Scripted, World, delegation
from zonecut.plugin.bootstrap import Conclusion, Finding
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.keys import Key
from zonecut.receiver.keys.bootstrapper import Bootstrapper
from zonecut.receiver.keys.retry import Retry
from zonecut.store import Bootstrap, KeyState, Store, StoredKey, Unpublished, Upload

UNDECIDED = Finding(Conclusion.UNDECIDED, "no answer")
CONTRADICTED = Finding(Conclusion.CONTRADICTED, "another key is there")
NOT_APPLICABLE = Finding(Conclusion.NOT_APPLICABLE, "has no DS")
RETRY = Retry(first=5, longest=60, attempts=4)


@dataclass
class Bench:
    """A bootstrapper at work on a store, with a clock and a parent that a test sets."""

    store: Store
    clock: Clock
    bootstrapper: Bootstrapper
    cool_down: float
    world: World
    parent: dict[bytes, Delegation | Exception] = field(default_factory=dict)
    reads: list[bytes] = field(default_factory=list)
    """Whose delegations were read."""

    async def begin(self, key: Key, *, replaces: bool = True, expires_at: float = NOW + 1e6) -> StoredKey:
        upload = Upload(
            key,
            ZONE,
            "127.0.0.1",
            replaces,
            False,
            self.clock.now,
            expires_at,
            1000,
            1000,
            1000,
            cool_down=self.cool_down,
        )
        stored = await self.store.bootstraps.begin(upload)
        self.bootstrapper.wake()
        return stored

    async def trust(self, key: Key) -> StoredKey:
        return (await self.store.keys.add(key, KeyState.TRUSTED, "manual", "test"))[0]

    async def now(self, stored: StoredKey) -> tuple[StoredKey, Bootstrap | None]:
        current = await self.store.keys.get(stored.id)
        assert current is not None
        return current, await self.store.bootstraps.get(stored.id)

    async def ends(self, stored: StoredKey, state: KeyState) -> StoredKey:
        """The key, once its state is this; the clock runs to whatever is due next."""
        async with asyncio.timeout(10):
            while True:
                current, bootstrap = await self.now(stored)
                if current.state is state:
                    return current
                if bootstrap is not None and math.isfinite(bootstrap.next_look):
                    self.clock.now = max(self.clock.now, bootstrap.next_look)
                self.bootstrapper.wake()
                await asyncio.sleep(0.002)

    async def attempted(self, stored: StoredKey, attempts: int) -> Bootstrap:
        """The bootstrap after so many failed attempts; the clock stands."""
        return await self.reached(stored, lambda bootstrap: bootstrap.attempts == attempts)

    async def reached(self, stored: StoredKey, condition: Callable[[Bootstrap], bool]) -> Bootstrap:
        """The bootstrap, once it is like this; the clock stands."""
        async with asyncio.timeout(10):
            while True:
                _, bootstrap = await self.now(stored)
                if bootstrap is not None and condition(bootstrap):
                    return bootstrap
                await asyncio.sleep(0.002)

    async def reached_state(self, stored: StoredKey, state: KeyState) -> None:
        """Wait until a key has a state; the clock stands."""
        async with asyncio.timeout(10):
            while (await self.now(stored))[0].state is not state:
                self.bootstrapper.wake()
                await asyncio.sleep(0.002)

    async def passes(self, seconds: float) -> None:
        """Time passes, and whatever is due then is done."""
        self.clock.now += seconds
        self.bootstrapper.wake()
        await asyncio.sleep(0.05)

    async def trusted(self) -> list[StoredKey]:
        return [stored async for stored in self.store.keys.list(CHILD, KeyState.TRUSTED)]

    async def waits(self, stored: StoredKey) -> Bootstrap:
        """The bootstrap, once it waits for an operator."""
        async with asyncio.timeout(10):
            while True:
                _, bootstrap = await self.now(stored)
                assert bootstrap is not None
                if bootstrap.manual:
                    return bootstrap
                self.clock.now = max(self.clock.now, bootstrap.next_at)
                self.bootstrapper.wake()
                await asyncio.sleep(0.002)


@asynccontextmanager
async def bench(
    directory: Path,
    *methods: tuple[str, Scripted],
    manual: bool = False,
    retry: Retry = RETRY,
    clock: Clock | None = None,
    max_trusted: int = 8,
    unpublished: Unpublished = Unpublished.ALARM,
) -> AsyncIterator[Bench]:
    clock = clock or Clock()
    async with Store.open(f"sqlite:///{directory}/zonecut.db", clock=clock) as store:
        parent: dict[bytes, Delegation | Exception] = {CHILD: delegation("ns.example.")}
        reads: list[bytes] = []
        world = World()

        async def delegation_of(child: bytes) -> Delegation:
            held = parent[child]
            reads.append(child)
            if isinstance(held, Exception):
                raise held
            await made.seen(child, held)
            return held

        made = Bootstrapper(
            ZONE,
            methods,
            manual,
            retry,
            store,
            world,
            delegation_of,
            max_trusted=max_trusted,
            unpublished=unpublished,
            clock=clock,
            jitter=random.Random(1),
        )
        task = asyncio.create_task(made.run())
        try:
            yield Bench(store, clock, made, retry.cool_down, world, parent, reads)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
