"""What the doctor says of DS and DNSKEY, of servers that hide what the parent holds, and of what it did not look at."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import cast

import dns.dnssec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent_support import BOGUS, CHILD, INDETERMINATE, INSECURE, PARENT
from doctor_support import (
    CONTENT,
    GLUE,
    NS1,
    NS2,
    NS_RECORDS,
    OWN,
    PARENT_NS,
    RECEIVER,
    answer,
    examination,
    needy,
    parent_of,
    receiver,
    served,
    zone_of,
)
from resolve_support import Signer
from zonecut.agent.doctor import Report, Severity, diagnose
from zonecut.agent.doctor.observation import PLAIN, Examination
from zonecut.agent.evidence.zone_view import view_zone
from zonecut.agent.parent.parent_view import ParentView, ServerView, view_parent
from zonecut.agent.parent.receiver import MAX_ADDRESSES, MAX_RECEIVERS, KeyTrust
from zonecut.agent.settings import DsSettings
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.cli.doctor import code_of
from zonecut.protocol import names
from zonecut.protocol.announced.svcb import Method
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.resolve import Addresses, Answer, Direct, Resolver, Status
from zonecut.resolve.reply import RRset

NOW = 1_800_000_000
DAY = 86400
SIGNER, OTHER = Signer("child.parent.example."), Signer("child.parent.example.", label="another")
DS, OTHER_DS = SIGNER.ds().to_digestable(), OTHER.ds().to_digestable()
OLD_KIND = DS[:3] + b"\1" + bytes(20)
ECDSA = dns.dnssec.make_dnskey(ec.generate_private_key(ec.SECP256R1()).public_key(), 13, 257)
ECDSA_DS = dns.dnssec.make_ds("child.parent.example.", ECDSA, "SHA256").to_digestable()


def content_with(keys: RRset) -> ZoneContent:
    return replace(CONTENT, dnskey=keys.wires, rrsets=(keys,))


def signed(*ds: bytes, keys: RRset | None = None) -> Examination:
    """A child that is signed, both of its servers having these keys, and a parent with these DS."""
    content = content_with(keys or SIGNER.dnskeys(inception=NOW - DAY, expiration=NOW + 7 * DAY))
    return replace(
        examination(),
        parent=parent_of(Delegation.of(CHILD, [*NS_RECORDS, *GLUE, *(RR(CHILD, RRType.DS, each) for each in ds)])),
        zone=zone_of(served(content), served(content, NS2, "192.0.2.2")),
        soa=answer(CHILD, RRType.SOA, b"soa"),
        key=answer(CHILD, RRType.KEY, OWN.rdata),
    )


def report(seen: Examination) -> Report:
    return diagnose(seen)


def test_a_zone_that_is_signed_as_its_ds_says_is_well() -> None:
    assert needy(report(signed(DS))) == {}
    assert report(signed(DS)).find("CHAIN_HOLDS")


@pytest.mark.parametrize(
    ("lasts", "rest", "soon"),
    [(DAY, 60, True), (14 * DAY, DAY - 1, True), (14 * DAY, 2 * DAY, False), (3600, 1800, False), (3600, 300, True)],
)
def test_a_signature_that_ends_soon_is_told(lasts: int, rest: int, soon: bool) -> None:
    keys = SIGNER.dnskeys(inception=NOW + rest - lasts, expiration=NOW + rest)
    found = report(signed(DS, keys=keys))
    assert needy(found) == ({"DNSKEY_SIGNATURE_ENDS_SOON": Severity.WARNING} if soon else {})
    if soon:
        assert f"in {rest} s" in found.find("DNSKEY_SIGNATURE_ENDS_SOON")[0].seen
        assert code_of(found) == 3


def hidden(*shown: Sequence[bytes]) -> ParentView:
    servers = [
        ServerView(PARENT_NS, f"192.0.2.{100 + number}", None, "hides", hides=True, ds=tuple(ds))
        for number, ds in enumerate(shown)
    ]
    return ParentView(PARENT, CHILD, tuple(servers))


def test_servers_that_hide_the_delegation_and_show_different_ds() -> None:
    found = report(replace(signed(DS), parent=hidden([DS], [OTHER_DS])))
    assert needy(found) == {"PARENT_SERVERS_DIFFER": Severity.WARNING, "CHAIN_BROKEN": Severity.PROBLEM}
    assert "192.0.2.101" in found.find("PARENT_SERVERS_DIFFER")[0].seen
    found = report(replace(signed(DS), parent=hidden([DS], [])))
    assert needy(found) == {"PARENT_SERVERS_DIFFER": Severity.WARNING}
    assert needy(report(replace(signed(DS), parent=hidden([DS], [DS])))) == {}


def test_one_server_that_hides_the_delegation_beside_one_that_shows_it() -> None:
    shows = signed(DS).parent
    assert shows is not None
    both = replace(shows, servers=(*shows.servers, *hidden([OTHER_DS]).servers))
    found = report(replace(signed(DS), parent=both))
    assert needy(found) == {"PARENT_SERVERS_DIFFER": Severity.WARNING, "CHAIN_BROKEN": Severity.PROBLEM}
    assert not found.find("DELEGATED")


@pytest.mark.parametrize(
    ("ds", "keys", "tag"),
    [
        (ECDSA_DS, None, "DS_ALGORITHM_SIGNS_NOTHING"),
        (ECDSA_DS, SIGNER.dnskeys(ECDSA, inception=NOW - DAY, expiration=NOW + 7 * DAY), "DS_ALGORITHM_SIGNS_NOTHING"),
        (OTHER_DS, None, "DS_MATCHES_NO_DNSKEY"),
        (
            OTHER_DS,
            SIGNER.dnskeys(OTHER.key, inception=NOW - DAY, expiration=NOW + 7 * DAY),
            "DS_KEY_SIGNS_NOTHING",
        ),
    ],
    ids=["of another algorithm", "of another algorithm with its key", "without its key", "of a key that waits"],
)
def test_a_ds_that_nothing_signs_beside_one_that_holds(ds: bytes, keys: RRset | None, tag: str) -> None:
    found = report(signed(DS, ds, keys=keys))
    assert needy(found) == {tag: Severity.WARNING}
    assert found.find("CHAIN_HOLDS")


def test_a_ds_that_the_child_asks_for_before_it_has_the_key_is_no_trouble() -> None:
    seen = signed(DS, OTHER_DS)
    contents = [replace(content, cds=tuple(sorted((DS, OTHER_DS)))) for _, content in seen.zone.contents]
    found = report(replace(seen, zone=zone_of(served(contents[0]), served(contents[1], NS2, "192.0.2.2"))))
    assert needy(found) == {}
    assert found.find("DS_MATCHES_NO_DNSKEY")[0].severity is Severity.NOTE


def test_a_ds_of_an_old_kind_alone_makes_the_zone_unsigned_and_not_forged() -> None:
    seen = replace(signed(OLD_KIND), soa=answer(CHILD, RRType.SOA, b"soa", verdict=INSECURE))
    found = report(seen)
    assert needy(found) == {"DS_UNSUPPORTED": Severity.WARNING}
    assert "not signed" in found.find("DS_UNSUPPORTED")[0].why
    assert not found.find("CHAIN_HOLDS")
    found = report(signed(DS, OLD_KIND))
    assert needy(found) == {}
    assert found.find("DS_UNSUPPORTED")[0].severity is Severity.NOTE


@pytest.mark.parametrize(
    ("source", "by_backend", "advice"),
    [
        ("cds", False, "publish CDS"),
        ("auto", False, "zonecut child sync gives it"),
        ("auto", True, "`primary`"),
        ("off", False, "by hand"),
    ],
)
def test_a_missing_ds_is_not_left_to_a_command_that_would_do_nothing(
    source: str, by_backend: bool, advice: str
) -> None:
    settings = PLAIN.model_copy(update={"ds": DsSettings.model_validate({"source": source})})
    (finding,) = report(replace(signed(), settings=settings, by_backend=by_backend)).find("DS_MISSING")
    assert advice in finding.advice


def test_what_differs_by_cds_is_not_left_to_an_agent_that_sees_no_cds() -> None:
    content = replace(content_with(SIGNER.dnskeys(inception=NOW - DAY, expiration=NOW + 7 * DAY)), cds=(DS,))
    seen = replace(signed(), zone=zone_of(served(content)))
    assert "child sync" in report(seen).find("DS_DIFFER")[0].advice
    assert "`primary`" in report(replace(seen, by_backend=True)).find("DS_DIFFER")[0].advice


# The child's KEY, and the receiver's


def test_different_keys_at_two_servers_are_not_one_key() -> None:
    seen = replace(examination(), zone=zone_of(served(), served(replace(CONTENT, key=(RECEIVER.rdata,)), NS2)))
    found = report(seen)
    assert needy(found) == {"SERVERS_DIFFER": Severity.WARNING, "KEYS_DIFFER": Severity.WARNING}
    assert not found.find("KEY")
    told = found.find("KEYS_DIFFER")[0].seen
    assert f"{OWN.tag} at " in told
    facts = [value for section in found.sections for name, value in section.facts if name.startswith("KEY at ")]
    assert len(facts) == 1


@pytest.mark.parametrize("worth", [KeyTrust.REMEMBERED, KeyTrust.PINNED])
def test_a_receivers_key_that_is_bogus_is_told_although_another_way_is_known(worth: KeyTrust) -> None:
    found = report(examination(receiver(worth=worth, key=BOGUS, state=4)))
    assert needy(found) == {"RECEIVER_KEY_BOGUS": Severity.WARNING}
    assert not found.find("RECEIVER_KEY")


def test_a_receivers_key_that_cannot_be_validated_any_more_is_told() -> None:
    found = report(examination(receiver(worth=KeyTrust.REMEMBERED, key=INSECURE, state=4)))
    assert needy(found) == {"RECEIVER_KEY_UNVERIFIED": Severity.WARNING}
    found = report(examination(receiver(worth=KeyTrust.REMEMBERED, key=INDETERMINATE, state=4)))
    assert needy(found) == {"RECEIVER_KEY_UNVERIFIED": Severity.UNKNOWN}
    assert needy(report(examination(receiver(worth=KeyTrust.PINNED, key=INSECURE, state=4)))) == {}


def test_what_was_uploaded_already_is_not_to_be_uploaded_again() -> None:
    (finding,) = report(examination(receiver(methods=(Method.MANUAL,), state=9))).find("KEY_BEING_VALIDATED")
    assert "upload" not in finding.advice
    assert "bootstrap" not in finding.advice
    (finding,) = report(examination(receiver(methods=(Method.MANUAL,), state=5))).find("KEY_NOT_UPLOADED")
    assert "zonecut child bootstrap" in finding.advice
    (finding,) = report(examination(receiver(methods=(Method.MANUAL,), state=1))).find("KEY_STATE")
    assert "upload" not in finding.advice


@pytest.mark.parametrize(
    ("state", "advice"),
    [(6, "zonecut child keygen --new"), (7, "the parent's operator"), (8, "uploads it again")],
)
def test_a_key_that_failed_is_not_uploaded_again_where_that_is_in_vain(state: int, advice: str) -> None:
    (finding,) = report(examination(receiver(state=state))).find("KEY_FAILED")
    assert advice in finding.advice
    assert ("upload" in finding.advice) == (state == 8)


def test_who_waits_for_an_operator_has_uploaded_the_key_already() -> None:
    (finding,) = report(examination(receiver(methods=(Method.MANUAL,), state=10))).find("MANUAL_ONLY")
    assert "child bootstrap" not in finding.advice
    (finding,) = report(examination(receiver(methods=(Method.MANUAL,), state=5))).find("MANUAL_ONLY")
    assert "child bootstrap" in finding.advice


# What was not looked at


def test_no_more_is_shown_than_fits_and_how_much_more_there_is() -> None:
    glue = [RR(NS1, RRType.A, ip_address(f"192.0.3.{number}").packed) for number in range(1, 31)]
    held = Delegation.of(CHILD, [*NS_RECORDS, *GLUE, *glue])
    (finding,) = report(replace(examination(), parent=parent_of(held))).find("GLUE_DIFFERS")
    assert len(finding.seen.splitlines()) == 22
    assert finding.seen.endswith("and 10 more")
    stale = replace(CONTENT, ns=(NS1,))
    others = [served(stale, NS2, f"192.0.2.{number}") for number in range(2, 8)]
    (finding,) = report(replace(examination(), zone=zone_of(served(), *others))).find("SERVERS_DIFFER")
    assert finding.seen.endswith("and 3 more")


def test_signalling_names_that_nobody_looked_at_are_named() -> None:
    far = names.from_text("ns99.operator.example.")
    found = report(replace(examination(), unlooked_signals=(far,)))
    assert needy(found) == {"NOT_ALL_LOOKED_AT": Severity.UNKNOWN}
    assert "ns99.operator.example." in found.find("NOT_ALL_LOOKED_AT")[0].seen


class Crowded:
    """A resolver by which a zone has so many name servers, each with so many addresses; none of them answers."""

    def __init__(self, servers: int, addresses: int) -> None:
        self._servers = tuple(names.from_text(f"ns{number}.operator.example.") for number in range(servers))
        self._addresses = tuple(bytes((127, 0, 1, number)) for number in range(addresses))

    async def lookup(self, name: bytes, rtype: int) -> Answer:
        return answer(name, RRType(rtype), *self._servers)

    async def addresses(self, name: bytes) -> Addresses:
        return Addresses(answer(name, RRType.A, *self._addresses), answer(name, RRType.AAAA, status=Status.NODATA))

    def may_ask(self, address: str) -> bool:
        return True

    async def ask(self, address: str, port: int, name: bytes, rtype: int, *, tcp: bool = True) -> Direct:
        await asyncio.sleep(0)
        return Direct(address, port, name, rtype, Status.FAILED, "silent")

    async def validate(self, direct: Direct) -> Answer:
        return answer(direct.name, RRType(direct.rtype), status=Status.FAILED)


async def test_servers_and_addresses_that_are_too_many_are_named() -> None:
    crowd = cast(Resolver, Crowded(servers=20, addresses=6))
    zone = await view_zone(crowd, CHILD, None)
    assert (len(zone.servers), len(zone.left_out)) == (16 * 6, 4)
    parent = await view_parent(crowd, PARENT, CHILD)
    assert (len(parent.servers), len(parent.left_out)) == (52, 7 + 13 * 2)
    crowded = await view_zone(cast(Resolver, Crowded(servers=1, addresses=10)), CHILD, None)
    assert len(crowded.servers) == 8
    assert any("(127.0.1.9)" in each for each in crowded.left_out)
    seen = signed(DS)
    assert seen.parent is not None
    seen = replace(
        seen,
        zone=replace(seen.zone, left_out=zone.left_out),
        parent=replace(seen.parent, left_out=parent.left_out),
    )
    found = report(seen)
    assert needy(found) == {"NOT_ALL_LOOKED_AT": Severity.UNKNOWN}
    assert len(found.find("NOT_ALL_LOOKED_AT")) == 2
    assert (code_of(found), found.verdict) == (1, "2 open questions")
    assert "of those that were asked" in found.find("SERVERS_ANSWER")[0].seen
    assert "ns16.operator.example." in found.find("NOT_ALL_LOOKED_AT")[1].seen


def test_receivers_and_their_addresses_that_are_too_many_are_named() -> None:
    view = receiver(state=4)
    assert view.party is not None
    many = tuple(ip_address(f"192.0.2.{number}").packed for number in range(1, MAX_ADDRESSES + 3))
    (talked_to,) = view.party.addresses
    party = replace(view.party, addresses=(talked_to,) * MAX_ADDRESSES)
    crowded = replace(view, party=party, addresses=(answer(view.record.target, RRType.A, *many),))
    found = report(examination(crowded))
    assert needy(found) == {"NOT_ALL_LOOKED_AT": Severity.UNKNOWN}
    seen = examination(view)
    records = tuple(replace(view.record, port=port) for port in range(view.record.port, view.record.port + 6))
    found = report(replace(seen, discovery=replace(seen.discovery, records=records)))
    assert needy(found) == {"NOT_ALL_LOOKED_AT": Severity.UNKNOWN}
    assert len(records) > MAX_RECEIVERS
