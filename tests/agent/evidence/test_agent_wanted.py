"""What a child zone asks of its parent: RFC 7344, 7477 and 8078, and what is held back."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from resolve_support import HOUR, NOW, Signer
from zonecut.agent.evidence.desired import Desired, wanted
from zonecut.agent.settings import ChildSettings, DsSettings
from zonecut.agent.zone.zone_content import UnusableServer, ZoneContent
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.resolve.reply import RRset

CHILD_NAME = "child.parent.example."
CHILD = names.from_text(CHILD_NAME)
NS1, OUTSIDE = names.from_text("ns1.child.parent.example."), names.from_text("ns.elsewhere.example.")
ADDRESS = RR(NS1, RRType.A, ip_address("192.0.2.1").packed)
SIGNER = Signer(CHILD_NAME)
OTHER = Signer(CHILD_NAME, label="another key")
DS = SIGNER.ds().to_wire() or b""
DS_384 = SIGNER.ds("SHA384").to_wire() or b""
OTHER_DS = OTHER.ds().to_wire() or b""
DELETE = bytes(5)
UNSIGNED = ZoneContent(CHILD, 1, (NS1, OUTSIDE), (ADDRESS,), cds=(), dnskey=(), cdnskey=())


def signed(*others: DNSKEY, cds: tuple[bytes, ...] = (), rrset: RRset | None = None) -> ZoneContent:
    found = rrset or SIGNER.dnskeys(*others)
    return replace(UNSIGNED, dnskey=found.wires, rrsets=(found,), cds=cds)


def want(content: ZoneContent, now: float = NOW, **ds: Any) -> Desired:
    return wanted(content, ChildSettings(ds=DsSettings.model_validate(ds)), now)


def ds_of(content: ZoneContent, **ds: Any) -> tuple[bytes, ...] | None:
    found = want(content, **ds)
    return found.delegation.ds if found.ds_known else None


def refusal(content: ZoneContent, now: float = NOW, **ds: Any) -> str:
    found = want(content, now, **ds)
    (trouble,) = found.troubles
    assert not (found.ns_known and found.ds_known)
    return trouble


def only_outside(content: ZoneContent) -> str:
    """What is wrong with ns1; it is left out, and the other server is not held up by it."""
    found = want(content)
    assert found.delegation == Delegation(CHILD, (OUTSIDE,))
    assert (found.ns_known, found.unfit) == (True, (NS1,))
    (trouble,) = found.troubles
    return trouble


def test_ns_and_the_addresses_of_those_in_the_zone_are_what_the_parent_gets() -> None:
    found = want(UNSIGNED)
    ns = [RR(CHILD, RRType.NS, name) for name in (NS1, OUTSIDE)]
    assert found.delegation == Delegation.of(CHILD, [*ns, ADDRESS])
    assert found.notes == ()


def test_a_zone_without_ns_is_not_offered() -> None:
    assert refusal(replace(UNSIGNED, ns=(), addresses=())) == "child.parent.example. has no NS records"


def test_a_name_server_in_the_zone_needs_an_address_there() -> None:
    assert only_outside(replace(UNSIGNED, addresses=())) == (
        "child.parent.example. NS ns1.child.parent.example.: the name server has neither A nor AAAA in the zone"
    )


def test_a_name_server_whose_name_is_an_alias_is_named() -> None:
    content = replace(UNSIGNED, addresses=(), unusable=(UnusableServer(NS1, "is an alias"),))
    assert only_outside(content) == "child.parent.example. NS ns1.child.parent.example.: the name server is an alias"


# DS from CDS


def test_cds_become_ds_as_they_are() -> None:
    assert ds_of(signed(cds=(DS, DS_384))) == tuple(sorted((DS, DS_384)))


def test_cds_count_more_than_dnskey() -> None:
    assert ds_of(signed(OTHER.key, cds=(DS,))) == (DS,)


def test_cds_0_0_0_00_means_no_ds() -> None:
    assert ds_of(signed(cds=(DELETE,))) == ()
    assert ds_of(replace(UNSIGNED, cds=(DELETE,), dnskey=None)) == ()


def test_cds_0_0_0_00_beside_another_says_nothing_that_can_be_done() -> None:
    assert "must stand alone (RFC 8078 section 4)" in refusal(signed(cds=(DELETE, DS)))


@pytest.mark.parametrize(
    ("rdata", "reason"),
    [
        (b"\0\1\x0f\1" + bytes(20), "digest type 1 is neither 2 (SHA-256) nor 4 (SHA-384)"),
        (b"\0\1\x05\2" + bytes(32), "algorithm 5 is none of 8, 10, 13, 14, 15, 16"),
        (b"\0\1\x0f\2" + bytes(31), "a digest of type 2 has 32 octets"),
        (b"\0\1\x0f\4" + bytes(32), "a digest of type 4 has 48 octets"),
        (b"\0\1\x0f", "it is too short"),
    ],
)
def test_a_cds_that_is_no_ds_for_a_parent_is_left_out_and_noted(rdata: bytes, reason: str) -> None:
    found = want(signed(cds=(DS, rdata)))
    assert found.delegation.ds == (DS,)
    assert len(found.notes) == 1
    assert reason in found.notes[0]
    assert reason in refusal(signed(cds=(rdata,)))


def test_without_cds_the_source_cds_leaves_the_parents_ds_alone() -> None:
    assert ds_of(signed(), source="cds") is None
    assert ds_of(signed(), source="cds", unsigned="remove") is None


# DS from DNSKEY


@pytest.mark.parametrize(("digests", "expected"), [((2,), (DS,)), ((4,), (DS_384,)), ((2, 4), (DS, DS_384))])
def test_a_dnskey_with_the_sep_flag_becomes_a_ds_of_each_digest_type(
    digests: tuple[int, ...], expected: tuple[bytes, ...]
) -> None:
    assert ds_of(signed(), digests=digests) == tuple(sorted(expected))


def test_all_keys_with_the_sep_flag_count_and_no_others() -> None:
    zone_signing = Signer(CHILD_NAME, label="zone signing", flags=256).key
    assert ds_of(signed(OTHER.key, zone_signing)) == tuple(sorted((DS, OTHER_DS)))


def test_the_source_dnskey_does_not_look_at_cds() -> None:
    assert ds_of(signed(cds=(OTHER_DS,)), source="dnskey") == (DS,)


def test_a_revoked_key_is_left_out_and_noted() -> None:
    revoked = Signer(CHILD_NAME, label="revoked", flags=257 | 128)
    found = want(signed(revoked.key))
    assert found.delegation.ds == (DS,)
    assert found.notes == (
        f"child.parent.example. DNSKEY {revoked.key.key_id()} is left out: it is revoked (RFC 5011 section 2.1)",
    )


def test_keys_without_the_sep_flag_alone_leave_the_parents_ds_alone() -> None:
    signer = Signer(CHILD_NAME, flags=256)
    found = want(signed(rrset=signer.dnskeys()))
    assert not found.ds_known
    assert "no DNSKEY record with the SEP flag" in found.notes[0]


# Nothing to go by


def test_a_zone_that_is_not_signed_leaves_the_parents_ds_alone_unless_the_operator_says_so() -> None:
    assert ds_of(UNSIGNED) is None
    assert ds_of(UNSIGNED, unsigned="remove") == ()
    assert ds_of(UNSIGNED, source="dnskey", unsigned="remove") == ()
    assert ds_of(UNSIGNED, source="off", unsigned="remove") is None


@pytest.mark.parametrize("unseen", [{"cds": None}, {"dnskey": None}, {"cds": None, "dnskey": None}])
def test_nothing_is_removed_because_of_what_cannot_be_seen(unseen: dict[str, Any]) -> None:
    assert ds_of(replace(UNSIGNED, **unseen), unsigned="remove") is None


def test_the_source_off_leaves_the_parents_ds_alone() -> None:
    assert ds_of(signed(cds=(DS,)), source="off") is None


def test_ds_that_are_not_known_are_compared_with_nothing() -> None:
    held = Delegation(CHILD, (OUTSIDE,), (OTHER_DS,))
    assert want(UNSIGNED).beside(held) == Delegation(CHILD, (OUTSIDE,))
    assert want(UNSIGNED).delegation.ds == ()
    assert want(signed()).beside(held) == held


# Continuity: RFC 7344 section 4.1


def test_ds_that_no_key_of_the_zone_matches_are_held_back() -> None:
    assert refusal(signed(cds=(OTHER_DS,))).startswith(
        "these DS would make child.parent.example. bogus (RFC 7344 section 4.1): no DNSKEY"
    )


def test_ds_of_a_key_that_does_not_sign_the_keys_are_held_back() -> None:
    assert "bogus" in refusal(signed(OTHER.key, cds=(OTHER_DS,)))


def test_ds_are_held_back_once_the_signatures_have_expired() -> None:
    assert "expired" in refusal(signed(), now=NOW + 2 * HOUR)


def test_ds_of_a_zone_without_dnskey_are_held_back() -> None:
    assert "bogus" in refusal(replace(UNSIGNED, cds=(DS,)))


def test_one_key_that_holds_is_enough() -> None:
    assert ds_of(signed(cds=(DS, OTHER_DS))) == tuple(sorted((DS, OTHER_DS)))


def test_where_dnskey_cannot_be_seen_the_parent_has_to_check() -> None:
    assert ds_of(replace(UNSIGNED, cds=(OTHER_DS,), dnskey=None)) == (OTHER_DS,)


# What is unfit holds up nothing else


def test_a_bad_cds_holds_up_no_change_of_name_servers() -> None:
    found = want(signed(cds=(OTHER_DS,)))
    assert (found.ns_known, found.ds_known, found.ds_unfit) == (True, False, True)
    assert found.delegation == want(UNSIGNED).delegation
    assert "bogus" in found.troubles[0]


def test_name_servers_that_are_unfit_hold_up_no_ds() -> None:
    found = want(replace(signed(), ns=(NS1,), addresses=()))
    assert (found.ns_known, found.ds_known) == (False, True)
    held = Delegation.of(CHILD, [RR(CHILD, RRType.NS, NS1), ADDRESS, RR(CHILD, RRType.DS, OTHER_DS)])
    assert found.asked([held]) == replace(held, ds=(DS,))


def test_an_unfit_name_server_that_the_parent_has_stays_there_with_its_glue() -> None:
    found = want(replace(UNSIGNED, addresses=()))
    held = Delegation.of(CHILD, [RR(CHILD, RRType.NS, NS1), ADDRESS])
    assert found.asked([held]) == Delegation.of(CHILD, [*held.records, RR(CHILD, RRType.NS, OUTSIDE)])
    assert found.asked([Delegation(CHILD)]) == Delegation(CHILD, (OUTSIDE,))
