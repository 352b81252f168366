"""What an agent reads in BADTIME: until when what it signs is stale, in the words of our own receiver and others'."""

import json
from http import HTTPStatus
from pathlib import Path

import pytest

from receiver_support import CHILD, ZONE, Answer, replace_ns, site
from zonecut.agent.exchange.staleness import stale_until
from zonecut.protocol.codepoints import Rcode
from zonecut.protocol.errors import Refusal
from zonecut.receiver.change.ordering import check_floor
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.receiver.message.admission import Source

A, B, C = "a.ns.example.", "b.ns.example.", "c.ns.example."
TOLERANCE = 300


def read(answer: Answer) -> float | None:
    assert answer.rcode == Rcode.BADTIME
    assert answer.error is not None
    return stale_until(answer.error.text)


async def test_behind_a_change_that_a_key_signed_it_is_that_inception_less_what_is_tolerated(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        signed_at = here.clock.now
        assert (await here.ask(here.signed(*replace_ns(CHILD, A), signed_at=signed_at))).rcode == Rcode.NOERROR
        here.clock.now += 60
        late = await here.ask(here.signed(*replace_ns(CHILD, B), signed_at=signed_at - TOLERANCE - 90))
        until = read(late)
        assert until is not None
        assert until == pytest.approx(signed_at - TOLERANCE, abs=1)
        again = await here.ask(here.signed(*replace_ns(CHILD, C), signed_at=until + 1))
        assert again.rcode == Rcode.NOERROR


async def test_behind_a_change_through_another_channel_it_is_when_that_was_accepted(tmp_path: Path) -> None:
    async with site(tmp_path, trust=TrustSettings(foreign_ns="keep")) as here:
        await here.trust(CHILD)
        record = {"content": A, "disabled": False}
        rrset = {"name": "child.parent.example.", "type": "NS", "changetype": "REPLACE", "ttl": 1, "records": [record]}
        body = json.dumps({"rrsets": [rrset]}).encode()
        reply = await here.front_end.patch(ZONE, body, "hook:portal", Source("127.0.0.1", 1, udp=False))
        assert reply.status == HTTPStatus.NO_CONTENT
        posted_at = here.clock.now
        late = await here.ask(here.signed(*replace_ns(CHILD, B), signed_at=posted_at - TOLERANCE - 90))
        until = read(late)
        assert until is not None
        assert until == pytest.approx(posted_at - TOLERANCE, abs=1)


def test_after_a_store_was_restored_it_is_the_time_before_which_nothing_is_known() -> None:
    with pytest.raises(Refusal) as caught:
        check_floor(1_800_000_000.0, 1_799_999_000, 1_800_000_010)
    assert stale_until(caught.value.reason) == 1_800_000_000.0


def test_an_older_release_names_seconds_since_the_epoch() -> None:
    text = "stale: signed at 1795899298, and a change signed at 1795899310 was accepted; it is 1795899400 here"
    assert stale_until(text) == 1795899310


@pytest.mark.parametrize("text", ["", "the clock here is 2026-11-29T14:00:00Z", "stale", "stale: signed at noon"])
def test_where_no_time_is_named_nothing_is_waited_for(text: str) -> None:
    assert stale_until(text) is None
