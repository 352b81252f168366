"""A parent zone that people write: what zonecut asks for waits until a test has them do it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from receiver_support import CHILD, OTHER, ZONE_TEXT, Site, site
from zonecut.plugin import BackendConflict, BackendLater, Change
from zonecut.receiver.zone_settings import ZoneSettings
from zonecut.store import ChangeState


class People:
    """Who writes the zone, where zonecut does not: somebody tries to do as told, when a test has them do it."""

    def __init__(self, here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self._here, self._write = here, here.backend.write
        monkeypatch.setattr(here.backend, "write", self.tell)
        monkeypatch.setattr(here.backend, "by_hand", lambda changes: "")

    async def tell(self, changes: Sequence[Change]) -> None:
        differing = await self._here.backend.verify([Change(each.before, each.before) for each in changes])
        if waiting := await self._here.backend.verify(changes):
            if differing := tuple(child for child in differing if child in waiting):
                raise BackendConflict("the zone holds something else", differing)
            raise BackendLater("it is to be made by hand", waiting, again_in=0.1)

    async def told(self) -> dict[bytes, Change]:
        await asyncio.sleep(0.3)
        changes = await self._here.store.changes.list(state=ChangeState.ACCEPTED)
        return {each.child: Change(each.before, each.after) for each in changes}

    async def do(self, change: Change) -> None:
        await self._write([change])


@asynccontextmanager
async def site_of_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Site, People]]:
    """A site whose zone people write, where the child has its host for itself; an answer waits for nobody."""
    (tmp_path / "parent.zone").write_text(ZONE_TEXT.format(directory=tmp_path))
    async with site(tmp_path, settings=ZoneSettings(answer_within=0.1)) as found:
        for child in (CHILD, OTHER):
            await found.trust(child)
        yield found, People(found, monkeypatch)
