"""A parent zone whose writer is not running accepts nothing, and goes on where it was when it runs again."""

import asyncio
import json
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import pytest

from patch_support import rrset
from receiver_support import CHILD, OTHER, ZONE, Answer, Site, ns_of, replace_ns, site
from trust_support import new_pair, upload
from zonecut.plugin import Change
from zonecut.powerdns_api.front_end import Reply
from zonecut.protocol.codepoints import Rcode
from zonecut.receiver.message.admission import Source
from zonecut.receiver.zone_settings import ZoneSettings
from zonecut.store import ChangeState, StoreUnavailable

HASTY = ZoneSettings(answer_within=0.05)
TROUBLE = "no requests are accepted for parent.example. just now: its writer is not running"


class Defect:
    """In the adapter: it cannot say how much fits into a transaction."""

    def __init__(self, here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there = True
        self._batch = here.backend.batch
        monkeypatch.setattr(here.backend, "batch", self.batch)

    def batch(self, changes: Sequence[Change]) -> int:
        if self.there:
            raise KeyError("a defect of the adapter")
        return self._batch(changes)


async def patch(here: Site, child: str) -> Reply:
    body = json.dumps({"rrsets": [rrset(child, "NS", "a.ns.example.")]}).encode()
    return await here.front_end.patch(ZONE, body, "hook:portal", Source("127.0.0.1", 40000, False))


def refused_for(answer: Answer) -> tuple[int, str]:
    assert answer.error is not None
    return answer.rcode, answer.error.text


async def fell(here: Site) -> None:
    """The writer takes a change and falls over it."""
    assert (await here.ask(here.signed(*replace_ns(CHILD, "new.example.")))).rcode == Rcode.NOERROR
    await asyncio.sleep(0.05)


async def test_without_its_writer_a_zone_takes_nothing_through_any_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path, settings=HASTY) as here:
        defect = Defect(here, monkeypatch)
        for child in (CHILD, OTHER):
            await here.trust(child)
        await fell(here)
        change = here.signed(*replace_ns(OTHER, "new.example."), child=OTHER)
        assert refused_for(await here.ask(change)) == (Rcode.SERVFAIL, TROUBLE)
        # it cannot wait for its turn either, which the first one has
        again = here.signed(*replace_ns(CHILD, "newer.example."))
        assert refused_for(await here.ask(again)) == (Rcode.SERVFAIL, TROUBLE)
        assert refused_for(await here.ask(upload(here, new_pair(OTHER)))) == (Rcode.SERVFAIL, "backend")
        for children, told in (
            (["other.parent.example."], TROUBLE),
            (["other.parent.example.", "above.parent.example."], "cannot be read or written now"),
        ):
            body = {"rrsets": [rrset(child, "NS", "a.ns.example.") for child in children]}
            reply = await here.front_end.patch(
                ZONE, json.dumps(body).encode(), "hook:portal", Source("127.0.0.1", 40000, False)
            )
            assert reply.status == HTTPStatus.SERVICE_UNAVAILABLE
            assert reply.document is not None
            assert told in str(reply.document["error"])
        assert [change.child for change in await here.store.changes.list()] == [CHILD]
        assert len(await here.store.keys.find(OTHER)) == 1

        defect.there = False
        running = asyncio.create_task(here.zone.run())
        assert (await here.ask(change)).rcode == Rcode.NOERROR
        # what was accepted before is written, too, and the child's next change has its turn
        assert (await here.ask(again)).rcode == Rcode.NOERROR
        await asyncio.sleep(0.1)
        assert await here.served(CHILD) == ns_of(CHILD, "newer.example.")
        assert await here.served(OTHER) == ns_of(OTHER, "new.example.")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_without_its_bootstrapper_a_zone_takes_no_new_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path) as here:
        await here.trust(CHILD)

        async def falls(*_: object) -> None:
            raise KeyError("a defect")

        monkeypatch.setattr(here.served_zone.bootstrapper, "_start_due", falls)
        with pytest.raises(KeyError):
            await here.served_zone.bootstrapper.run()
        monkeypatch.undo()
        pair = new_pair(OTHER)
        assert refused_for(await here.ask(upload(here, pair))) == (Rcode.SERVFAIL, "backend")
        assert not await here.store.keys.find(OTHER)
        # changes are another matter
        assert (await here.ask(here.signed(*replace_ns(CHILD, "new.example.")))).rcode == Rcode.NOERROR
        running = asyncio.create_task(here.served_zone.bootstrapper.run())
        await asyncio.sleep(0)
        assert (await here.ask(upload(here, pair))).rcode == Rcode.NOERROR
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_zone_whose_ledger_cannot_be_read_accepts_nothing_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        # a zone that is made anew, as after a change of the configuration
        here.zone._resumption.done.clear()
        unsettled = here.store.changes.unsettled

        async def away(zone: bytes | None = None) -> Sequence[object]:
            raise StoreUnavailable("disk I/O error")

        monkeypatch.setattr(here.store.changes, "unsettled", away)
        with pytest.raises(StoreUnavailable):
            await here.zone.run()
        change = here.signed(*replace_ns(CHILD, "new.example."))
        assert refused_for(await here.ask(change)) == (Rcode.SERVFAIL, TROUBLE)
        monkeypatch.setattr(here.store.changes, "unsettled", unsettled)
        running = asyncio.create_task(here.zone.run())
        assert (await here.ask(change)).rcode == Rcode.NOERROR
        (stored,) = await here.store.changes.list()
        assert stored.state in (ChangeState.ACCEPTED, ChangeState.APPLIED)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
