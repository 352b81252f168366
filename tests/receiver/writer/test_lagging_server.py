"""A server whose reads lag behind its writes: what it acknowledged is not there yet, and comes."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from receiver_support import CHILD, OTHER, Site, replace_ns, site
from zonecut.plugin import Change, Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode
from zonecut.receiver.zone_settings import ZoneSettings
from zonecut.store import ChangeState, KeyState


class Lag:
    """What a site's server shows of OTHER is so many seconds old; counts the writes."""

    def __init__(self, here: Site, seconds: float) -> None:
        backend = here.backend
        self._read, self._verify, self._write = backend.read, backend.verify, backend.write
        self._seconds = seconds
        self._old: Reading | None = None
        self._until = 0.0
        self.writes = 0
        backend.read, backend.verify, backend.write = self.read, self.verify, self.write  # type: ignore[method-assign]

    async def read(self, child: bytes) -> Reading:
        lags = child == OTHER and self._old is not None and time.monotonic() < self._until
        return self._old if lags and self._old is not None else await self._read(child)

    async def verify(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        return tuple([each.child for each in changes if (await self.read(each.child)).delegation != each.after])

    async def write(self, changes: Sequence[Change]) -> None:
        if any(change.child == OTHER for change in changes):
            self.writes += 1
            if self.writes > 1:
                return  # as a DNS server takes an UPDATE that changes nothing
            self._old = await self._read(OTHER)
            self._until = time.monotonic() + self._seconds
        await self._write(changes)


async def ended(here: Site, number: int) -> ChangeState:
    async with asyncio.timeout(10):
        while True:
            stored = await here.store.changes.get(number)
            if stored is not None and stored.state is not ChangeState.ACCEPTED:
                return stored.state
            await asyncio.sleep(0.02)


def new_servers(here: Site, child: bytes) -> bytes:
    return here.signed(*replace_ns(child, "new1.example.", "new2.example."), child=child)


async def test_what_shows_a_second_late_is_applied_written_once_and_holds_up_nobody(tmp_path: Path) -> None:
    async with site(tmp_path, settings=ZoneSettings(answer_within=5.0)) as here:
        for child in (CHILD, OTHER):
            await here.trust(child)
        await here.served_zone.sweep.once()
        here.clock.now += 1
        lag = Lag(here, 1.0)
        late = asyncio.create_task(here.ask(new_servers(here, OTHER)))
        await asyncio.sleep(0.2)
        assert (await here.ask(new_servers(here, CHILD))).rcode == Rcode.NOERROR
        assert not late.done()
        assert (await late).rcode == Rcode.NOERROR
        assert await ended(here, 1) is ChangeState.APPLIED
        assert lag.writes == 1


async def test_what_shows_after_it_failed_is_not_taken_for_somebody_elses_doing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut.receiver.writer.writer.LAG", (0.05,))
    async with site(tmp_path) as here:
        await here.trust(OTHER)
        await here.served_zone.sweep.once()
        here.clock.now += 1
        Lag(here, 0.7)
        assert (await here.ask(new_servers(here, OTHER))).rcode == Rcode.SERVFAIL
        assert await ended(here, 1) is ChangeState.FAILED
        await asyncio.sleep(0.7)
        assert (await here.served(OTHER)).ns == tuple(map(names.from_text, ("new1.example.", "new2.example.")))
        here.clock.now += 400
        await here.served_zone.sweep.once()
        (key,) = await here.store.keys.find(OTHER)
        assert key.state is KeyState.TRUSTED
