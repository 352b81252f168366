"""The checks that ask the child's name servers: what each says of every outcome."""

import asyncio
import time
from dataclasses import replace

import pytest
from dns.rdatatype import RdataType
from pydantic import ValidationError

from checks_support import (
    ADDRESSES,
    AFTER,
    BEFORE,
    CHILD,
    CHILD_NAME,
    DS,
    NS1,
    NS2,
    OTHER_DS,
    OUTSIDE,
    SIGNER,
    Say,
    Servers,
    change,
    delegation,
    says,
    says_ns,
    serving,
)
from resolve_support import HOUR, NOW, Signer
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.checks import CheckSettings, ds_continuity, ns_consistency
from zonecut.receiver.checks.lookups import ServerAddress
from zonecut.receiver.checks.runner import DS_CONTINUITY, NS_CONSISTENCY, concerned
from zonecut.receiver.checks.survey import Conclusion, Finding
from zonecut.resolve import Status, check_dnskeys

PASSED, FAILED, UNDECIDED = Conclusion.PASSED, Conclusion.FAILED, Conclusion.UNDECIDED
NS, A, DNSKEY = int(RRType.NS), int(RRType.A), int(RdataType.DNSKEY)
FIRST, SECOND = ADDRESSES[NS1], ADDRESSES[NS2]
SIGNED = delegation(NS1, NS2, ds=[DS])


async def ns_check(servers: Servers, after: Delegation = AFTER, time_limit: float = 5) -> Finding:
    return await ns_consistency.look(servers, after, lambda: NOW, time_limit)


async def ds_check(servers: Servers, after: Delegation = SIGNED, time_limit: float = 5, now: float = NOW) -> Finding:
    return await ds_continuity.look(servers, after, lambda: now, time_limit)


# Settings


def test_changes_of_ds_are_checked_before_they_are_accepted_by_default_and_all_else_warns() -> None:
    settings = CheckSettings()
    assert (settings.ds_continuity, settings.ns_consistency, settings.are_off) == ("auto", "warn", False)


@pytest.mark.parametrize("off", ["off", False])
def test_off_may_be_what_yaml_makes_of_it(off: object) -> None:
    settings = CheckSettings.model_validate({"ds_continuity": off, "ns_consistency": off})
    assert settings.ds_continuity == "off"
    assert settings.are_off
    allowed = CheckSettings.model_json_schema()["properties"]["ds_continuity"]["enum"]
    assert off in allowed


@pytest.mark.parametrize("wrong", ["on", True, None, 0, ""])
def test_what_is_no_mode_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        CheckSettings.model_validate({"ds_continuity": wrong})


# Which change is worth which check


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (AFTER, AFTER, []),
        (SIGNED, SIGNED, []),
        (BEFORE, AFTER, [NS_CONSISTENCY]),
        (AFTER, SIGNED, [DS_CONTINUITY]),
        (SIGNED, AFTER, []),
        (delegation(NS1, ds=[DS]), SIGNED, [NS_CONSISTENCY, DS_CONTINUITY]),
        (AFTER, Delegation(CHILD, AFTER.ns, (), AFTER.glue[:1]), [NS_CONSISTENCY]),
        (delegation(NS1, NS2, ds=[DS, OTHER_DS]), SIGNED, [DS_CONTINUITY]),
        (AFTER, Delegation(CHILD), []),
    ],
)
def test_a_change_is_checked_for_what_it_touches(before: Delegation, after: Delegation, expected: list[str]) -> None:
    assert list(concerned(change(after, before))) == expected


# ns_consistency


async def test_servers_that_have_the_resulting_ns_rrset_pass() -> None:
    servers = Servers(serving(NS1, NS2))
    assert (await ns_check(servers)).conclusion is PASSED
    assert servers.asked[FIRST, NS] == servers.asked[SECOND, NS] == 1


async def test_a_server_with_another_ns_rrset_fails_and_the_text_says_both() -> None:
    finding = await ns_check(Servers({**serving(NS1, NS2), (SECOND, NS): says_ns(OUTSIDE)}))
    assert finding == Finding(FAILED, f"{NS2} ({SECOND}) has the NS {OUTSIDE}, and the parent would have {NS1}, {NS2}")


async def test_a_name_server_that_the_child_does_not_name_fails() -> None:
    finding = await ns_check(Servers({**serving(NS1, NS2), (FIRST, NS): says_ns(NS1)}))
    assert finding.conclusion is FAILED
    assert f"{NS1} ({FIRST}) has the NS" in finding.reason


async def test_one_that_is_taken_out_at_the_parent_first_is_named_by_the_child_still() -> None:
    servers = Servers(serving(NS1, NS2, ns=[NS1, NS2, OUTSIDE]))
    assert (await ns_check(servers)).conclusion is PASSED


async def test_every_server_that_fails_is_told() -> None:
    finding = await ns_check(Servers(serving(NS1, NS2, ns=[OUTSIDE])))
    assert f"{NS1} ({FIRST})" in finding.reason
    assert f"{NS2} ({SECOND})" in finding.reason


async def test_nodata_is_an_answer() -> None:
    finding = await ns_check(Servers({**serving(NS1, NS2), (FIRST, NS): says_ns()}))
    assert finding.conclusion is FAILED
    assert f"{NS1} ({FIRST}) has no NS of {CHILD_NAME}" in finding.reason


@pytest.mark.parametrize(
    "said",
    [
        says(RdataType.NS, status=Status.NXDOMAIN, rcode=Rcode.NXDOMAIN),
        says(RdataType.NS, status=Status.ALIAS),
        says(RdataType.NS, status=Status.FAILED, rcode=Rcode.REFUSED, authoritative=False),
        says(RdataType.NS, status=Status.FAILED, rcode=Rcode.NOTAUTH),
        says(RdataType.NS, authoritative=False),
    ],
    ids=["nxdomain", "alias", "refused", "notauth", "referral"],
)
async def test_a_server_that_does_not_serve_the_child_fails_at_once(said: Say) -> None:
    servers = Servers({**serving(NS1, NS2), (FIRST, NS): said})
    finding = await ns_check(servers)
    assert finding.conclusion is FAILED
    assert f"{NS1} ({FIRST})" in finding.reason
    assert servers.asked[FIRST, NS] == 1


async def test_the_right_records_without_authority_do_not_pass() -> None:
    lame = replace(says_ns(NS1, NS2), authoritative=False)
    finding = await ns_check(Servers({**serving(NS1, NS2), (FIRST, NS): lame}))
    assert finding.conclusion is FAILED
    assert "not authoritative" in finding.reason


@pytest.mark.parametrize("said", ["connection refused", says(RdataType.NS, rcode=Rcode.SERVFAIL, status=Status.FAILED)])
async def test_an_unreachable_server_is_asked_again_and_the_others_are_not(said: Say) -> None:
    right = serving(NS1, NS2)
    servers = Servers({**right, (SECOND, NS): [said, right[SECOND, NS]]})
    assert (await ns_check(servers)).conclusion is PASSED
    assert (servers.asked[FIRST, NS], servers.asked[SECOND, NS]) == (1, 2)
    assert servers.looked_up == 1


async def test_a_server_that_stays_unreachable_leaves_it_undecided_with_the_reason() -> None:
    started = time.monotonic()
    finding = await ns_check(Servers({**serving(NS1, NS2), (SECOND, NS): "connection refused"}), time_limit=0.7)
    assert 0.6 < time.monotonic() - started < 1.5
    assert finding == Finding(UNDECIDED, f"not known within 0.7 s: {NS2} ({SECOND}): connection refused")


async def test_a_silent_server_does_not_hide_that_another_one_fails() -> None:
    async def hold(address: str) -> None:
        await asyncio.sleep(60 if address == SECOND else 0)

    finding = await ns_check(Servers({**serving(NS1, NS2), (FIRST, NS): says_ns(OUTSIDE)}, hold=hold), time_limit=20)
    assert finding.conclusion is FAILED
    assert NS2 + " (" not in finding.reason


async def test_a_failure_counts_even_when_the_time_ends_just_then() -> None:
    async def hold(address: str) -> None:
        await asyncio.sleep(60 if address == SECOND else 0.2)

    finding = await ns_check(Servers({**serving(NS1, NS2), (FIRST, NS): says_ns(OUTSIDE)}, hold=hold), time_limit=0.3)
    assert finding.conclusion is FAILED


async def test_an_ns_target_that_is_an_alias_fails_inside_and_outside_the_child() -> None:
    inside = Servers({**serving(NS1, NS2), (FIRST, A): says(RdataType.A, status=Status.ALIAS)})
    finding = await ns_check(inside)
    assert finding.conclusion is FAILED
    assert f"{NS1} ({FIRST}) is an alias" in finding.reason
    server = ServerAddress(names.from_text(OUTSIDE), None, "it is an alias, which...", certain=True)
    finding = await ns_check(Servers(addresses=[server]), delegation(OUTSIDE))
    assert finding == Finding(FAILED, f"{OUTSIDE}: it is an alias, which...")


async def test_a_target_below_a_further_cut_is_no_concern_of_the_childs_servers() -> None:
    referral = says(RdataType.A, authoritative=False)
    assert (await ns_check(Servers({**serving(NS1, NS2), (FIRST, A): referral}))).conclusion is PASSED
    silent = Servers({**serving(NS1, NS2), (FIRST, A): "connection refused"})
    assert (await ns_check(silent, time_limit=0.2)).conclusion is UNDECIDED


async def test_addresses_that_cannot_be_had_are_looked_up_again() -> None:
    class Late(Servers):
        async def server_addresses(self, delegation: Delegation) -> list[ServerAddress]:
            self.looked_up += 1
            address = ADDRESSES[OUTSIDE] if self.looked_up > 1 else None
            return [ServerAddress(names.from_text(OUTSIDE), address, "no answer")]

    servers = Late(serving(OUTSIDE))
    assert (await ns_check(servers, delegation(OUTSIDE))).conclusion is PASSED
    assert servers.looked_up == 2
    never = Servers(addresses=[ServerAddress(names.from_text(OUTSIDE), None, "no answer")])
    finding = await ns_check(never, delegation(OUTSIDE), time_limit=0.2)
    assert finding == Finding(UNDECIDED, f"not known within 0.2 s: {OUTSIDE}: no answer")


async def test_an_address_that_policy_forbids_is_not_asked() -> None:
    servers = Servers(serving(NS1, NS2), forbidden=frozenset({SECOND}))
    finding = await ns_check(servers)
    assert finding.conclusion is FAILED
    assert f"{NS2} ({SECOND}) has an address that is not asked (policy.glue_addresses)" in finding.reason
    assert not servers.asked[SECOND, NS]


async def test_a_reason_names_some_places_and_counts_the_rest() -> None:
    addresses = [ServerAddress(names.from_text(NS1), f"1.1.2.{number}") for number in range(10)]
    finding = await ns_check(Servers(addresses=addresses))
    assert finding.reason.count("has no NS") == 3
    assert finding.reason.endswith("; and at 7 more")


# ds_continuity


async def test_keys_that_validate_under_the_resulting_ds_pass_at_every_server() -> None:
    servers = Servers(serving(NS1, NS2))
    assert (await ds_check(servers)).conclusion is PASSED
    assert servers.asked[FIRST, DNSKEY] == servers.asked[SECOND, DNSKEY] == 1


async def test_one_ds_that_matches_is_enough() -> None:
    assert (await ds_check(Servers(serving(NS1, NS2)), delegation(NS1, NS2, ds=[OTHER_DS, DS]))).conclusion is PASSED


async def test_a_ds_that_no_key_matches_fails() -> None:
    finding = await ds_check(Servers(serving(NS1, NS2)), delegation(NS1, NS2, ds=[OTHER_DS]))
    assert finding.conclusion is FAILED
    assert f"{NS1} ({FIRST}) breaks the chain of trust: no DNSKEY of {CHILD_NAME} matches its DS" in finding.reason


async def test_one_stale_server_fails_and_is_named() -> None:
    stale = serving(NS2, signer=Signer(CHILD_NAME, label="old"))
    finding = await ds_check(Servers({**serving(NS1), **stale}))
    assert finding.conclusion is FAILED
    assert f"{NS2} ({SECOND})" in finding.reason
    assert f"{NS1} (" not in finding.reason


@pytest.mark.parametrize(("now", "word"), [(NOW + 2 * HOUR, "expired"), (NOW - 2 * HOUR, "not valid before")])
async def test_signatures_count_only_in_their_time(now: float, word: str) -> None:
    finding = await ds_check(Servers(serving(NS1, NS2)), now=now)
    assert finding.conclusion is FAILED
    assert word in finding.reason


async def test_a_matching_key_that_does_not_sign_fails() -> None:
    signed_by_other = Signer(CHILD_NAME, label="zsk").dnskeys(SIGNER.key)
    said = says(RdataType.DNSKEY, signed_by_other)
    finding = await ds_check(Servers({(FIRST, DNSKEY): said, (SECOND, DNSKEY): said}))
    assert finding.conclusion is FAILED


async def test_an_unsigned_child_with_a_ds_fails() -> None:
    finding = await ds_check(Servers())
    assert finding.conclusion is FAILED
    assert "no DNSKEY" in finding.reason


@pytest.mark.parametrize("said", ["silent", says(RdataType.DNSKEY, rcode=Rcode.REFUSED, authoritative=False)])
@pytest.mark.parametrize("time_limit", [0.2, 5])
async def test_a_server_that_does_not_answer_for_the_child_is_noted_beside_one_that_proves(
    said: Say, time_limit: float
) -> None:
    finding = await ds_check(Servers({**serving(NS1), (SECOND, DNSKEY): said}), time_limit=time_limit)
    assert finding.conclusion is PASSED
    assert f"{NS2} ({SECOND})" in finding.reason


async def test_one_that_contradicts_beside_one_that_is_silent_fails() -> None:
    stale = serving(NS1, signer=Signer(CHILD_NAME, label="old"))
    finding = await ds_check(Servers({**stale, (SECOND, DNSKEY): "silent"}))
    assert finding.conclusion is FAILED


async def test_the_silence_of_all_leaves_the_chain_undecided() -> None:
    finding = await ds_check(Servers({(FIRST, DNSKEY): "silent", (SECOND, DNSKEY): "silent"}), time_limit=0.2)
    assert finding.conclusion is UNDECIDED
    assert f"{NS2} ({SECOND}): silent" in finding.reason


async def test_every_algorithm_of_the_ds_signs_the_keys() -> None:
    """RFC 4035 section 2.2: else who knows only the other one does not get through."""
    other = bytes([0, 1, 8, 2]) + bytes(32)
    assert other[2] != DS[2]
    finding = await ds_check(Servers(serving(NS1, NS2)), delegation(NS1, NS2, ds=[DS, other]))
    assert finding.conclusion is FAILED
    assert "for the DS of algorithm 8" in finding.reason


def test_a_ds_that_cannot_be_read_or_is_of_no_known_kind_does_not_count() -> None:
    direct = says(RdataType.DNSKEY, SIGNER.dnskeys())
    assert check_dnskeys(direct, [DS, b"", b"\0\1\xfb\2" + bytes(32)], NOW) is None
    for ds in ([], [b"\0"], [b"\0\1\xfb\2" + bytes(32)], [DS[:-1]]):
        reason = check_dnskeys(direct, ds, NOW)
        assert reason is not None
        assert "no DS is of" in reason


def test_a_server_that_said_nothing_validates_nothing() -> None:
    servers = Servers({(FIRST, DNSKEY): "connection refused"})
    direct = asyncio.run(servers.ask(ServerAddress(CHILD, FIRST), CHILD, DNSKEY))
    assert direct is not None
    assert check_dnskeys(direct, [DS], NOW) == "connection refused"
