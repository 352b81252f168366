"""Whom the child talks to: addresses, keys and what they are worth, fail closed."""

from typing import Any

import pytest

from agent_support import (
    BOGUS,
    CHILD,
    INDETERMINATE,
    INSECURE,
    PARENT,
    SECURE,
    TARGET,
    Question,
    Told,
    absent,
    failing,
    found,
    pair,
)
from zonecut.agent.parent.discovery import Discovery
from zonecut.agent.parent.receiver import MAX_ADDRESSES, KeyTrust, NoReceiver, UpdateReceiver, find_parties
from zonecut.agent.settings import ParentSettings
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.announced.svcb import Method
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.keys import Key
from zonecut.resolve import Answer, Status, Verdict

UPDATER, SECOND = "updater.parent.example.", "second.parent.example."
A, AAAA, KEY, SVCB = RRType.A, RRType.AAAA, RRType.KEY, RRType.SVCB
THIS, OTHER, OLD = pair(TARGET).key, pair(TARGET).key, pair(TARGET).key
ADDRESS = bytes((1, 1, 1, 1))
RECORD = Dsync.from_text(f"ANY UPDATE 5354 {UPDATER}")
DOH = Dsync.from_text(f"ANY UPDATE 5355 {SECOND}")
PINNED = {"pins": (THIS.fingerprint(),)}


def announcement(*records: Dsync, verdict: Verdict = SECURE, parent: bytes | None = PARENT) -> Discovery:
    return Discovery(CHILD, parent, (), verdict, records or (RECORD,))


async def find(
    answers: dict[Question, Answer],
    discovery: Discovery | None = None,
    remembered: tuple[Key, ...] = (),
    **settings: Any,
) -> UpdateReceiver:
    told = Told({(UPDATER, A): found(ADDRESS), **answers})
    return (await find_parties(told, discovery or announcement(), ParentSettings(**settings), remembered))[0]


async def test_a_receiver_with_everything() -> None:
    # priority 0 with parameters, as the drafts have it
    svcb = b"\0\0\0" + (65282).to_bytes(2) + (12).to_bytes(2) + b"at-ns,manual"
    party = await find(
        {
            (UPDATER, KEY): found(THIS.rdata),
            (UPDATER, AAAA): found(b"\x20\x01" + bytes(14)),
            (UPDATER, SVCB): found(svcb),
        }
        | {(UPDATER, AAAA): found(bytes.fromhex("26064700") + bytes(11) + b"\1")}
    )
    assert party.addresses == (Endpoint("2606:4700::1", 5354), Endpoint("1.1.1.1", 5354))
    assert (party.parent, party.target) == (PARENT, TARGET)
    assert (party.keys, party.worth) == ((THIS,), KeyTrust.VALIDATED)
    assert party.methods == (Method.AT_NS, Method.MANUAL)
    shown = party.to_json()
    assert (shown["worth"], shown["methods"]) == ("validated", ["at-ns", "manual"])
    assert shown["keys"][0]["fingerprint"] == THIS.fingerprint()
    assert shown["addresses"] == ["[2606:4700::1]:5354", "1.1.1.1:5354"]


WEIGHED: dict[str, tuple[Answer, tuple[Key, ...], dict[str, Any], KeyTrust, tuple[Key, ...]]] = {
    "a validated key": (found(THIS.rdata), (), {}, KeyTrust.VALIDATED, (THIS,)),
    "a validated key takes the place of a remembered one": (
        found(THIS.rdata), (OLD,), {}, KeyTrust.VALIDATED, (THIS,)),
    "a bogus answer, and a key that was validated once": (failing(BOGUS), (OLD,), {}, KeyTrust.REMEMBERED, (OLD,)),
    "no answer, and a key that was validated once": (failing(), (OLD,), {}, KeyTrust.REMEMBERED, (OLD,)),
    "an insecure answer, and a key that was validated once": (
        found(THIS.rdata, verdict=INSECURE), (OLD,), {}, KeyTrust.REMEMBERED, (OLD,)),
    "a secure absence, and a key that was validated once": (absent(), (OLD,), {}, KeyTrust.UNKNOWN, ()),
    "an insecure answer": (found(THIS.rdata, verdict=INSECURE), (), {}, KeyTrust.INSECURE, (THIS,)),
    "an insecure answer without a key": (absent(verdict=INSECURE), (), {}, KeyTrust.INSECURE, ()),
    "a look-up that fails where nothing can be secure": (failing(INSECURE), (), {}, KeyTrust.INSECURE, ()),
    "a secure absence": (absent(status=Status.NODATA), (), {}, KeyTrust.INSECURE, ()),
    "a bogus answer": (failing(BOGUS), (), {}, KeyTrust.UNKNOWN, ()),
    "no answer": (failing(INDETERMINATE), (), {}, KeyTrust.UNKNOWN, ()),
    "a validated record that is no key": (found(b"\x90\0\3\x0fabcde"), (), {}, KeyTrust.UNKNOWN, ()),
    "a key that a wildcard made": (found(THIS.rdata, status=Status.WILDCARD), (), {}, KeyTrust.UNKNOWN, ()),
    "an alias": (found(status=Status.ALIAS), (), {}, KeyTrust.UNKNOWN, ()),
    "a pinned key, validated": (found(THIS.rdata, OTHER.rdata), (), PINNED, KeyTrust.PINNED, (THIS,)),
    "a pinned key, insecure": (found(THIS.rdata, verdict=INSECURE), (), PINNED, KeyTrust.PINNED, (THIS,)),
    "a pinned key, remembered": (failing(BOGUS), (THIS, OLD), PINNED, KeyTrust.PINNED, (THIS,)),
    "a validated key that is not the pinned one": (found(OTHER.rdata), (), PINNED, KeyTrust.UNKNOWN, ()),
    "an insecure key that is not the pinned one": (
        found(OTHER.rdata, verdict=INSECURE), (OLD,), PINNED, KeyTrust.UNKNOWN, ()),
    "a pin, and a secure absence": (absent(), (), PINNED, KeyTrust.UNKNOWN, ()),
}  # fmt: skip


@pytest.mark.parametrize("case", WEIGHED)
async def test_what_a_key_is_worth_with(case: str) -> None:
    answer, remembered, settings, worth, keys = WEIGHED[case]
    party = await find({(UPDATER, KEY): answer}, None, remembered, **settings)
    assert (party.worth, party.keys) == (worth, keys)
    assert party.reason


@pytest.mark.parametrize("worth", KeyTrust)
def test_only_a_provably_insecure_key_is_a_matter_of_policy(worth: KeyTrust) -> None:
    party = UpdateReceiver(PARENT, TARGET, (), (), worth, None, "")
    accepts, rejects = (ParentSettings(insecure_key=policy) for policy in ("accept-and-log", "reject"))
    expected = worth is not KeyTrust.UNKNOWN
    assert party.believable(accepts) is expected
    assert party.believable(rejects) is (expected and worth is not KeyTrust.INSECURE)


async def test_a_key_that_was_remembered_for_another_receiver_does_not_count() -> None:
    other = pair(names.from_text(SECOND)).key
    assert (await find({(UPDATER, KEY): failing()}, None, (other,))).worth is KeyTrust.UNKNOWN


async def test_an_insecure_announcement_does_not_lead_from_a_known_receiver_to_one_that_nobody_vouches_for() -> None:
    other = pair(names.from_text(SECOND)).key
    insecure: dict[Question, Answer] = {(UPDATER, KEY): found(THIS.rdata, verdict=INSECURE)}
    led = await find(insecure, announcement(verdict=INSECURE), (other,))
    assert (led.worth, led.keys) == (KeyTrust.UNKNOWN, ())
    assert "leads from a receiver" in led.reason
    # a key in a signed zone is no better: that may be the zone of whoever wrote the announcement
    validated: dict[Question, Answer] = {(UPDATER, KEY): found(THIS.rdata)}
    assert (await find(validated, announcement(verdict=INSECURE), (other,))).worth is KeyTrust.UNKNOWN
    # unless it is the receiver that is known; the parent itself may lead elsewhere, and so may who configures it
    assert (await find(validated, announcement(verdict=INSECURE), (OLD,))).worth is KeyTrust.VALIDATED
    assert (await find(insecure, announcement(), (other,))).worth is KeyTrust.INSECURE
    configured = {"zone": "parent.example.", "receiver": {"target": UPDATER, "addresses": ("127.0.0.1:53",)}}
    assert (await find(insecure, announcement(verdict=INSECURE), (other,), **configured)).worth is KeyTrust.INSECURE


async def test_an_announcement_that_is_not_known_is_not_used() -> None:
    for verdict in (BOGUS, INDETERMINATE):
        with pytest.raises(NoReceiver, match=verdict):
            await find({}, announcement(verdict=verdict))
    with pytest.raises(NoReceiver, match="nobody who takes UPDATEs"):
        await find({}, announcement(Dsync.from_text("CDS NOTIFY 53 x.")))
    with pytest.raises(NoReceiver, match=r"parent\.zone"):
        await find({}, announcement(parent=None))


async def test_an_insecure_announcement_is_a_matter_of_policy() -> None:
    insecure = announcement(verdict=INSECURE)
    keys: dict[Question, Answer] = {(UPDATER, KEY): found(THIS.rdata)}
    led = await find(keys, insecure)
    assert (led.worth, led.keys, led.is_vouched) == (KeyTrust.INSECURELY_ANNOUNCED, (THIS,), False)
    assert led.believable(ParentSettings(insecure_key="reject"))
    with pytest.raises(NoReceiver, match="insecure_announcement"):
        await find(keys, insecure, insecure_announcement="reject")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.1.1", "224.0.0.1"])
async def test_special_purpose_addresses_are_left_out_unless_allowed(address: str) -> None:
    rdata = bytes(map(int, address.split(".")))
    answers: dict[Question, Answer] = {(UPDATER, A): found(rdata), (UPDATER, KEY): found(THIS.rdata)}
    with pytest.raises(NoReceiver, match="addresses: any"):
        await find(answers)
    assert (await find(answers, addresses="any")).addresses == (Endpoint(address, 5354),)
    assert (await find({**answers, (UPDATER, A): found(rdata, ADDRESS)})).addresses == (Endpoint("1.1.1.1", 5354),)


async def test_addresses_are_bounded_and_a_bogus_one_is_none() -> None:
    many = [bytes((1, 1, 1, last)) for last in range(1, 100)]
    assert len((await find({(UPDATER, A): found(*many)})).addresses) == MAX_ADDRESSES
    with pytest.raises(NoReceiver, match="bogus"):
        await find({(UPDATER, A): failing(BOGUS)})


async def test_the_receiver_that_is_worth_most_comes_first() -> None:
    told = Told(
        {
            (SECOND, A): found(ADDRESS),
            (SECOND, KEY): failing(BOGUS),
            (UPDATER, A): found(ADDRESS),
            (UPDATER, KEY): found(THIS.rdata),
        }
    )
    parties = await find_parties(told, announcement(DOH, RECORD), ParentSettings())
    assert [(names.to_text(party.target), party.worth) for party in parties] == [
        (UPDATER, KeyTrust.VALIDATED),
        (SECOND, KeyTrust.UNKNOWN),
    ]
    # one without an address is passed over
    assert (await find({(UPDATER, KEY): found(THIS.rdata)}, announcement(DOH, RECORD))).target == TARGET


async def test_who_blocks_the_look_up_of_a_receiver_does_not_lead_to_one_that_nobody_vouches_for() -> None:
    second: dict[Question, Answer] = {
        (SECOND, A): found(ADDRESS),
        (SECOND, KEY): found(pair(names.from_text(SECOND)).key.rdata, verdict=INSECURE),
    }
    both = announcement(RECORD, DOH)
    # its KEY, and what is known of it
    assert (await find({**second, (UPDATER, KEY): failing()}, both)).worth is KeyTrust.UNKNOWN
    assert (await find({**second, (UPDATER, KEY): failing()}, both, (OLD,))).worth is KeyTrust.REMEMBERED
    # its addresses
    for key in (found(THIS.rdata), failing()):
        with pytest.raises(NoReceiver, match=UPDATER):
            await find({**second, (UPDATER, A): failing(), (UPDATER, KEY): key}, both)
    # where nobody vouches for either, the other one does as well
    insecure = found(THIS.rdata, verdict=INSECURE)
    assert (await find({**second, (UPDATER, A): failing(), (UPDATER, KEY): insecure}, both)).worth is KeyTrust.INSECURE
    # ... and so does one that is validated
    validated = {**second, (SECOND, KEY): found(pair(names.from_text(SECOND)).key.rdata)}
    assert (await find({**validated, (UPDATER, A): failing()}, both)).worth is KeyTrust.VALIDATED


async def test_a_configured_receiver_needs_no_announcement() -> None:
    configured: dict[str, Any] = {
        "zone": "parent.example.",
        "receiver": {"target": UPDATER, "addresses": ("127.0.0.1:53", "[::1]:54")},
    }
    nothing = Discovery(CHILD, None, (), BOGUS, ())
    party = await find({(UPDATER, KEY): found(THIS.rdata)}, nothing, **configured)
    assert party.addresses == (Endpoint("127.0.0.1", 53), Endpoint("::1", 54))
    assert (party.parent, party.worth) == (PARENT, KeyTrust.VALIDATED)


async def test_an_svcb_that_cannot_be_read_says_nothing() -> None:
    assert (await find({(UPDATER, SVCB): found(b"\0\1")})).methods is None
    assert (await find({(UPDATER, SVCB): failing(BOGUS)})).methods is None


def test_a_pin_is_a_fingerprint_as_it_is_printed() -> None:
    plain = THIS.fingerprint().replace(" ", "")
    colons = ":".join(plain[at : at + 2] for at in range(0, len(plain), 2)).lower()
    assert ParentSettings(pins=(THIS.fingerprint(), colons)).pins == (plain, plain)
    with pytest.raises(ValueError, match="no fingerprint"):
        ParentSettings(pins=(plain[:-2],))
