"""Each bootstrap method as a function of what can be seen."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from trust_support import SILENCE, World, delegation, found, key, nothing
from zonecut.plugin.bootstrap import BootstrapMethod, Candidate, Conclusion, Finding, Presence, Security, Sighting
from zonecut.protocol import names
from zonecut.protocol.announced.signalling import signalling_name
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.keys.methods import METHODS
from zonecut.receiver.keys.methods.at_apex import AtApex, AtApexOptions
from zonecut.receiver.keys.methods.at_ns import AtNs, AtNsOptions
from zonecut.receiver.keys.methods.unsigned import Unsigned, UnsignedOptions

CHILD = names.from_text("child.parent.example.")
KEY, OTHER_KEY = key(1), key(2)
NS1, NS2, INSIDE = "ns1.operator.example.", "ns2.other.example.", "ns.child.parent.example."
ACCEPTED, CONTRADICTED = Conclusion.ACCEPTED, Conclusion.CONTRADICTED
UNDECIDED, NOT_APPLICABLE = Conclusion.UNDECIDED, Conclusion.NOT_APPLICABLE
SECURE, INSECURE = Security.SECURE, Security.INSECURE
BOGUS, INDETERMINATE = Security.BOGUS, Security.INDETERMINATE

SIGNED = delegation(NS1, ds=True)
UNSIGNED = delegation(NS1, NS2, INSIDE)


async def look(
    method: BootstrapMethod,
    world: World,
    where: Delegation,
    evidence: Mapping[str, Any] | None = None,
    now: float = 0.0,
) -> Finding:
    return await method.examine(Candidate(KEY, where, evidence or {}, now), world)


def test_the_methods_register_under_the_names_that_svcb_announces() -> None:
    assert [method.name for method in METHODS] == ["at-apex", "at-ns", "unsigned"]
    for method in METHODS:
        assert isinstance(method.create(method.options()), BootstrapMethod)


class TestAtApex:
    METHOD = AtApex(AtApexOptions())

    async def test_a_secure_rrset_signed_by_the_child_that_holds_the_key_is_accepted(self) -> None:
        seen = found(KEY, OTHER_KEY, security=SECURE, signer=CHILD)
        finding = await look(self.METHOD, World({CHILD: seen}), SIGNED)
        assert finding.conclusion is ACCEPTED
        assert finding.validated == {KEY.rdata, OTHER_KEY.rdata}

    async def test_a_child_without_ds_is_not_looked_at(self) -> None:
        world = World({CHILD: found(KEY, security=SECURE, signer=CHILD)})
        assert (await look(self.METHOD, world, UNSIGNED)).conclusion is NOT_APPLICABLE
        assert world.asked == []

    @pytest.mark.parametrize("signer", [None, names.from_text("parent.example."), b"\x01x" + CHILD])
    async def test_a_signature_of_another_zone_contradicts(self, signer: bytes | None) -> None:
        world = World({CHILD: found(KEY, security=SECURE, signer=signer)})
        assert (await look(self.METHOD, world, SIGNED)).conclusion is CONTRADICTED

    async def test_a_resolver_that_does_not_answer_is_no_fault_of_the_child(self) -> None:
        for is_ours in (True, False):
            world = World({CHILD: replace(SILENCE, is_ours=is_ours)})
            finding = await look(self.METHOD, world, SIGNED)
            assert (finding.conclusion, finding.is_ours) == (UNDECIDED, is_ours)

    async def test_another_key_contradicts(self) -> None:
        world = World({CHILD: found(OTHER_KEY, security=SECURE, signer=CHILD)})
        finding = await look(self.METHOD, world, SIGNED)
        assert finding.conclusion is CONTRADICTED
        assert "this one is not there" in finding.reason

    @pytest.mark.parametrize("security", list(Security))
    @pytest.mark.parametrize("presence", list(Presence))
    async def test_only_a_secure_find_accepts_and_only_a_secure_answer_contradicts(
        self, presence: Presence, security: Security
    ) -> None:
        keys = frozenset({KEY.rdata}) if presence in (Presence.FOUND, Presence.UNUSABLE) else frozenset()
        world = World({CHILD: Sighting("there", presence, security, keys, CHILD)})
        conclusion = (await look(self.METHOD, world, SIGNED)).conclusion
        if security is not SECURE or presence is Presence.FAILED:
            assert conclusion is UNDECIDED
        else:
            assert conclusion is (ACCEPTED if presence is Presence.FOUND else CONTRADICTED)


def signal(server: str) -> bytes:
    name = signalling_name(CHILD, names.from_text(server))
    assert name is not None
    return name


class TestAtNs:
    STRICT, ANY = AtNs(AtNsOptions()), AtNs(AtNsOptions(mode="any"))
    AT_SERVERS = (found(KEY, where="192.0.2.1"), found(KEY, where="192.0.2.2"))

    def world(self, first: Sighting, second: Sighting, servers: tuple[Sighting, ...] = AT_SERVERS) -> World:
        return World({signal(NS1): first, signal(NS2): second}, servers)

    def test_the_signalling_name_is_as_in_the_draft(self) -> None:
        expected = names.from_text("_sig0key.child.parent.example._signal.ns1.operator.example.")
        assert signal(NS1) == expected

    async def test_all_secure_and_equal_everywhere_is_accepted(self) -> None:
        both = found(KEY, OTHER_KEY, security=SECURE)
        servers = (found(KEY, OTHER_KEY), found(OTHER_KEY, KEY))
        finding = await look(self.STRICT, self.world(both, both, servers), UNSIGNED)
        assert finding.conclusion is ACCEPTED
        assert finding.validated == {KEY.rdata, OTHER_KEY.rdata}

    async def test_a_server_in_the_child_zone_has_no_signalling_name(self) -> None:
        world = self.world(found(KEY, security=SECURE), found(KEY, security=SECURE))
        assert (await look(self.STRICT, world, UNSIGNED)).conclusion is ACCEPTED
        assert set(world.asked) == {signal(NS1), signal(NS2)}
        apex_only = delegation(INSIDE, "child.parent.example.")
        assert (await look(self.STRICT, World(), apex_only)).conclusion is NOT_APPLICABLE
        assert (await look(self.ANY, World(), apex_only)).conclusion is NOT_APPLICABLE

    async def test_a_child_with_ds_never_comes_here(self) -> None:
        world = World({signal(NS1): found(KEY, security=SECURE)}, self.AT_SERVERS)
        for method in (self.STRICT, self.ANY):
            assert (await look(method, world, SIGNED)).conclusion is NOT_APPLICABLE
        assert world.asked == []

    @pytest.mark.parametrize("presence", list(Presence))
    async def test_a_provably_insecure_server_is_skipped_whatever_it_says(self, presence: Presence) -> None:
        skipped = Sighting("there", presence, INSECURE, frozenset({OTHER_KEY.rdata}))
        world = self.world(found(KEY, security=SECURE), skipped)
        assert (await look(self.STRICT, world, UNSIGNED)).conclusion is ACCEPTED

    async def test_a_resolver_that_does_not_answer_is_no_fault_of_the_child(self) -> None:
        ours = replace(SILENCE, is_ours=True)
        for method in (self.STRICT, self.ANY):
            assert (await look(method, self.world(ours, ours), UNSIGNED)).is_ours
            assert not (await look(method, self.world(ours, SILENCE), UNSIGNED)).is_ours

    async def test_without_any_secure_signalling_record_nothing_is_accepted(self) -> None:
        world = self.world(found(KEY), found(KEY))
        assert (await look(self.STRICT, world, UNSIGNED)).conclusion is CONTRADICTED
        assert (await look(self.ANY, world, UNSIGNED)).conclusion is UNDECIDED

    @pytest.mark.parametrize("security", [BOGUS, INDETERMINATE])
    @pytest.mark.parametrize("presence", list(Presence))
    async def test_bogus_or_no_answer_is_asked_again_when_strict(self, presence: Presence, security: Security) -> None:
        unclear = Sighting("there", presence, security, frozenset({KEY.rdata}))
        for pair in ((found(KEY, security=SECURE), unclear), (unclear, found(KEY, security=SECURE))):
            assert (await look(self.STRICT, self.world(*pair), UNSIGNED)).conclusion is UNDECIDED
            assert (await look(self.ANY, self.world(*pair), UNSIGNED)).conclusion is ACCEPTED

    @pytest.mark.parametrize(
        "contradiction",
        [found(OTHER_KEY, security=SECURE), nothing(Presence.ABSENT, SECURE), nothing(Presence.UNUSABLE, SECURE)],
    )
    async def test_one_secure_answer_without_the_key_contradicts_in_both_modes(self, contradiction: Sighting) -> None:
        good = found(KEY, security=SECURE)
        for pair in ((good, contradiction), (contradiction, good), (contradiction, SILENCE)):
            for method in (self.STRICT, self.ANY):
                assert (await look(method, self.world(*pair), UNSIGNED)).conclusion is CONTRADICTED

    async def test_signalling_rrsets_that_differ_contradict_when_strict(self) -> None:
        world = self.world(found(KEY, security=SECURE), found(KEY, OTHER_KEY, security=SECURE))
        assert (await look(self.STRICT, world, UNSIGNED)).conclusion is CONTRADICTED

    async def test_with_any_what_one_secure_server_publishes_stays_validated(self) -> None:
        world = self.world(found(KEY, security=SECURE), found(KEY, OTHER_KEY, security=SECURE))
        finding = await look(self.ANY, world, UNSIGNED)
        assert finding.conclusion is ACCEPTED
        assert finding.validated == {KEY.rdata, OTHER_KEY.rdata}

    @pytest.mark.parametrize(
        ("at_second_address", "conclusion"),
        [
            (found(KEY, OTHER_KEY), CONTRADICTED),
            (found(OTHER_KEY), CONTRADICTED),
            (nothing(Presence.ABSENT, INSECURE), CONTRADICTED),
            (nothing(Presence.UNUSABLE, INSECURE), CONTRADICTED),
            (SILENCE, UNDECIDED),
        ],
    )
    async def test_one_address_whose_apex_differs_is_enough_to_say_no(
        self, at_second_address: Sighting, conclusion: Conclusion
    ) -> None:
        good = found(KEY, security=SECURE)
        for servers in ((found(KEY), at_second_address), (at_second_address, found(KEY))):
            assert (await look(self.STRICT, self.world(good, good, servers), UNSIGNED)).conclusion is conclusion

    @pytest.mark.parametrize("presence", [Presence.ABSENT, Presence.UNUSABLE])
    async def test_where_no_key_is_nobody_is_told_of_another_one(self, presence: Presence) -> None:
        good = found(KEY, security=SECURE)
        servers = (found(KEY), nothing(presence, INSECURE, where="192.0.2.2"))
        finding = await look(self.STRICT, self.world(good, good, servers), UNSIGNED)
        assert finding.conclusion is CONTRADICTED
        assert "192.0.2.2: no KEY RRset" in finding.reason
        assert "another" not in finding.reason

    async def test_no_server_at_all_decides_nothing(self) -> None:
        good = found(KEY, security=SECURE)
        assert (await look(self.STRICT, self.world(good, good, ()), UNSIGNED)).conclusion is UNDECIDED

    async def test_a_signalling_name_that_is_too_long_does_not_apply(self) -> None:
        long = ".".join(["y" * 63, "z" * 63, "x" * 63, "w" * 40]) + "."
        where = delegation(NS1, long)
        assert (await look(self.STRICT, self.world(SILENCE, SILENCE), where)).conclusion is NOT_APPLICABLE


class TestWithoutDs:
    """The weaker methods are for children that are proven to have no DS."""

    METHODS = (TestAtNs.STRICT, TestAtNs.ANY, Unsigned(UnsignedOptions(min_vantage_points=1)))

    def world(self, ds: Sighting) -> World:
        good = found(KEY, security=SECURE)
        return World({signal(NS1): good, signal(NS2): good}, TestAtNs.AT_SERVERS, ds=ds)

    @pytest.mark.parametrize("security", list(Security))
    @pytest.mark.parametrize("presence", list(Presence))
    async def test_one_look_at_a_server_that_shows_none_is_not_enough(
        self, presence: Presence, security: Security
    ) -> None:
        for method in self.METHODS:
            world = self.world(nothing(presence, security, "DS"))
            finding = await look(method, world, UNSIGNED)
            if presence is Presence.ABSENT and security in (SECURE, INSECURE):
                assert not finding.reason.startswith("DS: ")
            else:
                assert (finding.conclusion, world.asked) == (UNDECIDED, [])
                assert finding.reason.startswith("DS: ")

    async def test_a_resolver_that_does_not_answer_is_no_fault_of_the_child(self) -> None:
        for method in self.METHODS:
            assert (await look(method, self.world(replace(SILENCE, is_ours=True)), UNSIGNED)).is_ours


class Watch:
    """Looks again and again as the receiver would, with a clock of its own."""

    HOLD = 100.0

    def __init__(self, rounds: int = 5, places: int = 2) -> None:
        options = UnsignedOptions(hold=self.HOLD, rounds=rounds, min_vantage_points=places)
        self.method = Unsigned(options)
        self.world = World(servers=(found(KEY), found(KEY)), elsewhere={"far": (found(KEY), found(KEY))})
        self.where = delegation(NS1)
        self.now = 1_000_000.0
        self.evidence: Mapping[str, Any] = {}

    async def look(self) -> Finding:
        finding = await look(self.method, self.world, self.where, self.evidence, self.now)
        self.evidence = finding.evidence
        return finding

    async def until_the_end(self) -> tuple[float, int]:
        """How long it takes from now, and how many looks, if everything stays as it is."""
        since, looks = self.now, 0
        while True:
            looks += 1
            finding = await self.look()
            if finding.conclusion is ACCEPTED:
                assert finding.validated == {KEY.rdata}
                return self.now - since, looks
            assert finding.conclusion is UNDECIDED
            assert finding.again_in is not None
            assert finding.again_in > 0
            self.now += finding.again_in


class TestUnsigned:
    async def test_it_takes_the_hold_period_and_the_rounds(self) -> None:
        assert await Watch(rounds=5).until_the_end() == (100.0, 5)
        assert await Watch(rounds=2).until_the_end() == (100.0, 2)
        assert await Watch(rounds=1).until_the_end() == (100.0, 2)

    async def test_looks_that_come_late_do_not_shorten_the_number_of_rounds(self) -> None:
        watch = Watch(rounds=5)
        await watch.look()
        watch.now += 10 * watch.HOLD
        assert (await watch.look()).conclusion is UNDECIDED

    @pytest.mark.parametrize(
        ("answer", "conclusion"),
        [
            (SILENCE, UNDECIDED),
            (nothing(Presence.ABSENT, INSECURE), CONTRADICTED),
            (nothing(Presence.UNUSABLE, INSECURE), CONTRADICTED),
            (found(OTHER_KEY), CONTRADICTED),
            (found(KEY, OTHER_KEY), CONTRADICTED),
        ],
    )
    @pytest.mark.parametrize("far", [False, True])
    async def test_one_answer_that_is_missing_or_differs_starts_over(
        self, answer: Sighting, conclusion: Conclusion, far: bool
    ) -> None:
        watch = Watch()
        for _ in range(4):
            watch.now += (await watch.look()).again_in or 0
        good = watch.world
        answers = (found(KEY), answer)
        watch.world = World(
            servers=good.servers if far else answers, elsewhere={"far": answers if far else good.servers}
        )
        finding = await watch.look()
        assert finding.conclusion is conclusion
        assert finding.again_in is None
        watch.world = good
        assert await watch.until_the_end() == (100.0, 5)

    async def test_a_change_of_the_delegation_or_of_the_rrset_starts_over(self) -> None:
        watch = Watch()
        for _ in range(4):
            watch.now += (await watch.look()).again_in or 0
        watch.where = delegation(NS1, NS2)
        assert await watch.until_the_end() == (100.0, 5)
        both = (found(KEY, OTHER_KEY),)
        watch = Watch()
        for _ in range(4):
            watch.now += (await watch.look()).again_in or 0
        watch.world = World(servers=both, elsewhere={"far": both})
        finding = await watch.look()
        assert (finding.conclusion, finding.evidence["count"]) == (UNDECIDED, 1)

    async def test_too_few_vantage_points_or_a_ds_do_not_apply(self) -> None:
        watch = Watch(places=3)
        assert (await watch.look()).conclusion is NOT_APPLICABLE
        watch = Watch()
        watch.where = delegation(NS1, ds=True)
        assert (await watch.look()).conclusion is NOT_APPLICABLE

    async def test_a_place_from_which_no_server_is_seen_decides_nothing(self) -> None:
        watch = Watch()
        watch.world = World(servers=(found(KEY),), elsewhere={"far": ()})
        assert (await watch.look()).conclusion is UNDECIDED

    async def test_an_answer_that_a_resolver_keeps_from_an_earlier_round_is_none(self) -> None:
        """One that was fetched once with a long TTL would satisfy all rounds."""
        watch, ttl = Watch(rounds=5), 1000
        began, good = watch.now, watch.world
        looks = 0
        while True:
            kept = replace(found(KEY, where="through far"), ttl=round(ttl - (watch.now - began)))
            watch.world = World(servers=good.servers, elsewhere={"far": (kept,)})
            finding = await watch.look()
            looks += 1
            assert finding.conclusion is UNDECIDED
            assert finding.again_in is not None
            if looks > 1:
                assert finding.evidence["count"] == 1
                assert "the answer of an earlier round" in finding.reason
                break
            watch.now += finding.again_in
        # it is asked again when the resolver must have fetched it anew
        assert watch.now + finding.again_in >= began + ttl
        watch.now += finding.again_in
        fresh = replace(found(KEY, where="through far"), ttl=ttl)
        watch.world = World(servers=good.servers, elsewhere={"far": (fresh,)})
        assert (await watch.look()).evidence["count"] == 2

    async def test_answers_that_are_fetched_anew_each_time_count(self) -> None:
        watch = Watch(rounds=5)
        answer = replace(found(KEY, where="through far"), ttl=20)
        watch.world = World(servers=watch.world.servers, elsewhere={"far": (answer,)})
        assert await watch.until_the_end() == (100.0, 5)

    async def test_looks_made_for_another_reason_are_no_rounds(self) -> None:
        """Who uploads again and again does not bring all rounds into the first minutes."""
        watch = Watch(rounds=5)
        first = await watch.look()
        for _ in range(20):
            watch.now += 0.5
            finding = await watch.look()
            assert (finding.conclusion, finding.evidence["count"]) == (UNDECIDED, 1)
        assert finding.again_in == pytest.approx((first.again_in or 0) - 10)
        watch.now += finding.again_in or 0
        assert (await watch.look()).evidence["count"] == 2

    @pytest.mark.parametrize("far", [False, True])
    async def test_a_passing_fault_of_our_own_is_not_the_child_s_silence(self, far: bool) -> None:
        watch = Watch(rounds=5)
        for _ in range(3):
            watch.now += (await watch.look()).again_in or 0
        good = watch.world
        answers = (found(KEY), replace(SILENCE, is_ours=True))
        watch.world = World(
            servers=good.servers if far else answers, elsewhere={"far": answers if far else good.servers}
        )
        finding = await watch.look()
        assert (finding.conclusion, finding.is_ours, finding.evidence["count"]) == (UNDECIDED, True, 3)
        watch.world = good
        watch.now += 5
        assert (await watch.look()).evidence["count"] == 4

    async def test_a_fault_of_our_own_that_lasts_starts_over(self) -> None:
        watch = Watch(rounds=5)
        watch.now += (await watch.look()).again_in or 0
        watch.world = World(servers=(found(KEY), replace(SILENCE, is_ours=True)), elsewhere=watch.world.elsewhere)
        watch.now += watch.HOLD / 2
        finding = await watch.look()
        assert (finding.conclusion, finding.is_ours, finding.evidence) == (UNDECIDED, False, {})

    async def test_whoever_contradicts_is_heard_beside_a_fault_of_our_own(self) -> None:
        watch = Watch(rounds=5)
        await watch.look()
        watch.world = World(servers=(replace(SILENCE, is_ours=True), found(OTHER_KEY)), elsewhere=watch.world.elsewhere)
        assert (await watch.look()).conclusion is CONTRADICTED

    async def test_it_never_comes_beside_a_trusted_key(self) -> None:
        assert not Unsigned(UnsignedOptions()).replaces_trusted
        assert UnsignedOptions().hold == 72 * 3600
        assert UnsignedOptions().min_vantage_points == 2
