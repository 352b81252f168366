"""A child's conversation with a real `zonecut serve` in front of a real named: what each answer comes to."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from lab.ports import LOOPBACK
from lab.zones import PARENT, ParentZone
from signer import DS, NS, ZONE, A, Signer, address, another_ds, ds, name
from world import World
from zonecut.agent.exchange.update_client import Inquired, Outcome, Patience, Result, Signed, UpdateClient
from zonecut.agent.parent.receiver import KeyTrust, UpdateReceiver
from zonecut.agent.settings import ParentSettings
from zonecut.files.keyfiles import read_public
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Algorithm, RRType
from zonecut.store import KeyState

TRUSTED = {algorithm: Signer.generate("child0", algorithm) for algorithm in (13, 15, 199)}
KNOWN = Signer.generate("child1")
FAILED = Signer.generate("child1")
UNREAD = Signer.generate("child4")
"""Whose delegation nobody reads before named goes away."""
STRANGER = Signer.generate("child2")
KEYS = {
    **dict.fromkeys(TRUSTED.values(), KeyState.TRUSTED),
    UNREAD: KeyState.TRUSTED,
    KNOWN: KeyState.KNOWN,
    FAILED: KeyState.VALIDATION_FAILED,
}
FORMS: dict[Signed, Mapping[str, Any]] = {Signed.VALID: {}, Signed.MESSAGE_ONLY: {"form": "message-only"}}
PATIENCE = Patience(timeout=5, retries=0)


class Place(NamedTuple):
    """A receiver, how it signs, and what a child knows of it."""

    world: World
    form: Signed
    party: UpdateReceiver

    def talk(self, signer: Signer, clock: Any = time.time, party: UpdateReceiver | None = None) -> UpdateClient:
        return UpdateClient(party or self.party, signer.pair, ParentSettings(), clock=clock, patience=PATIENCE)

    async def change(self, signer: Signer, *records: bytes, **options: Any) -> Outcome:
        outcome = await self.talk(signer, **options).update(records or another_ds(signer.owner))
        assert outcome.response is not None
        assert (outcome.response.signed, outcome.response.by) == (self.form, self.party.keys[0]), outcome.reason
        assert (outcome.tries, outcome.ignored) == (1, ())
        return outcome

    async def inquire(self, signer: Signer) -> Inquired:
        return await self.talk(signer).inquire()


@pytest.fixture(scope="module", params=list(FORMS))
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("conversation")
    responses = {"unverified_burst": 1_000_000, "unverified_rate": 100_000, **FORMS[request.param]}
    with World(directory, ParentZone(PARENT, delegations=5), keys=KEYS, receiver={"responses": responses}) as world:
        (file,) = (directory / "zonecut" / "keys").glob("*.key")
        target = names.from_text(f"updater.{PARENT}")
        addresses = Endpoint("::1", world.port6), Endpoint(LOOPBACK, world.port)
        party = UpdateReceiver(ZONE, target, addresses, (read_public(file),), KeyTrust.VALIDATED, None, "")
        yield Place(world, request.param, party)


@pytest.mark.parametrize("algorithm", TRUSTED)
async def test_a_trusted_key_changes_the_delegation(place: Place, algorithm: Algorithm) -> None:
    signer, wanted = TRUSTED[algorithm], ds()
    records = message.delete_rrset(signer.owner, DS), message.add(signer.owner, DS, 60, wanted)
    outcome = await place.change(signer, *records)
    assert outcome.result is Result.ACCEPTED
    assert wanted[4:].hex() in str(place.world.named.query(signer.text, "DS").answer[0][0])
    inquired = await place.inquire(signer)
    assert (inquired.believed, inquired.keystate and inquired.keystate.key_state) == (True, 4)


async def test_a_key_that_nobody_knows_is_unknown(place: Place) -> None:
    outcome = await place.change(STRANGER)
    assert outcome.result is Result.KEY_UNKNOWN
    assert "answers BADKEY" in outcome.reason
    inquired = await place.inquire(STRANGER)
    assert (inquired.believed, inquired.keystate and inquired.keystate.key_state) == (True, 5)


async def test_a_key_that_waits_for_an_operator_is_told_so(place: Place) -> None:
    outcome = await place.change(KNOWN)
    assert outcome.result is Result.MANUAL
    assert "Manual Bootstrap Required (49162)" in outcome.reason
    inquired = await place.inquire(KNOWN)
    assert (inquired.believed, inquired.keystate and inquired.keystate.key_state) == (True, 10)


async def test_a_key_that_failed_is_told_so(place: Place) -> None:
    assert (await place.change(FAILED)).result is Result.KEY_FAILED


async def test_an_upload_is_accepted_in_both_forms(place: Place) -> None:
    for replacing in ((message.delete_rrset(name("child2"), RRType.KEY),), ()):
        signer = Signer.generate("child2")
        add = message.add(signer.owner, RRType.KEY, 3600, signer.pair.key.rdata)
        assert (await place.change(signer, *replacing, add)).result is Result.ACCEPTED
        assert (await place.change(signer)).result is Result.MANUAL


async def test_what_policy_forbids_is_refused_with_the_rule(place: Place) -> None:
    signer = TRUSTED[15]
    outcome = await place.change(signer, message.delete_rrset(signer.owner, NS))
    assert outcome.result is Result.REFUSED
    assert "NS" in outcome.reason
    foreign = await place.change(signer, message.add(name("www"), A, 60, address("1.1.1.1")))
    assert foreign.result is Result.REFUSED


@pytest.mark.parametrize("skew", [-7200, 7200])
async def test_a_child_whose_clock_is_wrong_hears_of_it(place: Place, skew: int) -> None:
    """Where the answer covers the request; else it could be an old one."""
    talk = place.talk(TRUSTED[15], clock=lambda: time.time() + skew)
    outcome = await talk.update(another_ds(TRUSTED[15].owner))
    if place.form is Signed.VALID:
        assert outcome.result is Result.BAD_TIME
        assert "BADTIME" in outcome.reason
    else:
        assert outcome.result is Result.UNBELIEVABLE


async def test_another_zone_is_not_this_receivers(place: Place) -> None:
    elsewhere = UpdateReceiver(name("child0"), *(getattr(place.party, each) for each in UpdateReceiver.__slots__[1:]))
    talk = place.talk(TRUSTED[15], party=elsewhere)
    outcome = await talk.update(another_ds(TRUSTED[15].owner))
    assert outcome.result is Result.NOT_OURS
    assert outcome.tries == 2, "the other address may know better"


async def test_what_makes_no_sense_is_malformed(place: Place) -> None:
    bad = message.record(TRUSTED[15].owner, DS, 255, 60)
    assert (await place.change(TRUSTED[15], bad)).result is Result.MALFORMED


async def test_a_receiver_that_was_replaced_by_another_is_not_believed(place: Place) -> None:
    party = UpdateReceiver(
        ZONE, place.party.target, place.party.addresses, (STRANGER.pair.key,), KeyTrust.REMEMBERED, None, ""
    )
    outcome = await place.talk(TRUSTED[15], party=party).update(another_ds(TRUSTED[15].owner))
    assert (outcome.result, len(outcome.ignored)) == (Result.UNBELIEVABLE, 2)


async def test_a_server_that_is_away_is_a_failure_and_then_there_is_silence(place: Place) -> None:
    """The last of the tests here: neither named nor zonecut comes back."""
    place.world.named.stop()
    outcome = await place.talk(UNREAD).update(another_ds(UNREAD.owner))
    assert (outcome.result, outcome.tries) == (Result.FAILED, 2)
    assert "SERVFAIL" in outcome.reason
    place.world.zonecut.stop()
    outcome = await place.talk(TRUSTED[15]).update(another_ds(TRUSTED[15].owner))
    assert (outcome.result, outcome.tries) == (Result.SILENT, 2)
    assert outcome.reason.count("Connection refused") == 2
