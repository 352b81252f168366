"""A child that is the prototype `tdns` finds its own extended error before ours, where the setting says so."""

from pathlib import Path

import pytest

from receiver_support import CHILD, replace_ns, site
from trust_support import RECEIVER, new_pair
from zonecut.protocol.codepoints import DEFAULT, CodePoints, EdeCode, Rcode
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import Envelope, read_options
from zonecut.receiver.message.prototype import tdns_error
from zonecut.receiver.message.responder import ResponseSettings
from zonecut.store import KeyState

BOTH = ResponseSettings(ede="both")


def errors_of(envelope: Envelope) -> list[ExtendedError]:
    assert envelope.opt is not None
    options = read_options(envelope.rdata(envelope.opt))
    return [ExtendedError.from_data(data) for code, data in options if code == 15]


@pytest.mark.parametrize("signs", [True, False])
async def test_its_own_stands_before_ours(tmp_path: Path, signs: bool) -> None:
    identity = new_pair(RECEIVER) if signs else None
    async with site(tmp_path, identity=identity, responses=BOTH) as here:
        known, stranger = new_pair(), new_pair()
        await here.add(known.key, KeyState.KNOWN)
        answer = await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example."), pair=known))
        first, second = errors_of(answer.envelope)
        assert (answer.rcode, first.code, second.code) == (Rcode.REFUSED, 542, DEFAULT.ede_manual_bootstrap_required)
        assert first.text == "manual bootstrap required"
        answer = await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example."), pair=stranger))
        (only,) = errors_of(answer.envelope)[:1]
        assert (answer.rcode, only.code, only.text) == (Rcode.BADKEY, 513, "SIG(0) key not known")


async def test_unless_it_is_set_there_is_ours_alone(tmp_path: Path) -> None:
    async with site(tmp_path, identity=new_pair(RECEIVER)) as here:
        known = new_pair()
        await here.add(known.key, KeyState.KNOWN)
        answer = await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example."), pair=known))
        assert [error.code for error in errors_of(answer.envelope)] == [DEFAULT.ede_manual_bootstrap_required]


@pytest.mark.parametrize(
    ("code", "theirs"),
    [
        (DEFAULT.ede_key_known_not_trusted, 514),
        (DEFAULT.ede_key_validation_failed, 541),
        (DEFAULT.ede_manual_bootstrap_required, 542),
        (EdeCode.RATE_LIMITED, 544),
        (EdeCode.OVER_QUOTA, 544),
        (EdeCode.PROHIBITED, None),
        (EdeCode.OTHER, None),
    ],
)
def test_what_it_is_told_of(code: int, theirs: int | None) -> None:
    """What policy refuses is final to it, and is."""
    told = tdns_error(Rcode.REFUSED, ExtendedError(code, "why"), DEFAULT)
    assert (None if told is None else told.code) == theirs


def test_the_numbers_are_settings() -> None:
    old = CodePoints(ede_tdns_key_unknown=514, ede_tdns_key_not_trusted=515)
    told = tdns_error(Rcode.REFUSED, ExtendedError(old.ede_key_known_not_trusted), old)
    assert told is not None
    assert told.code == 515
