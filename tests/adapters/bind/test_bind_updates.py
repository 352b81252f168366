"""The UPDATE messages of the adapter `bind`, as dnspython reads them, and their TSIG."""

from itertools import pairwise
from random import Random

import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update
import pytest

from zonecut.plugin import Change
from zonecut.plugin.dns.tsig import NotAuthentic, sign, tsig_octets, verify
from zonecut.plugin.dns.tsig_key import ALGORITHMS, TsigKey
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut.protocol.envelope import walk
from zonecut_bind.updates import HEADER_OCTETS, fitting, octets_bound, verify_message, write_message

ZONE = names.from_text("parent.test.")
CHILD = names.from_text("c.parent.test.")
TTLS = Ttls(ns=1, ds=2, glue=3)
KEY = TsigKey("zonecut.test", "c2VjcmV0", dns.tsig.HMAC_SHA256)
DS = b"\x12\x67\x0d\x02" + bytes(32)


def name(label: str) -> bytes:
    return names.from_text(f"{label}.c.parent.test.")


def lines(wire: bytes) -> tuple[list[str], list[str]]:
    """Prerequisites and updates as dnspython writes them."""
    parsed = dns.message.from_wire(wire)
    assert isinstance(parsed, dns.update.UpdateMessage)
    assert str(parsed.zone[0].name) == "parent.test."

    def text(section: list[dns.rrset.RRset]) -> list[str]:
        found = []
        for rrset in section:
            rdclass = rrset.deleting if rrset.deleting is not None else rrset.rdclass
            head = f"{rrset.name} {rrset.ttl} {dns.rdataclass.to_text(rdclass)} {dns.rdatatype.to_text(rrset.rdtype)}"
            found += [f"{head} {rdata}" for rdata in rrset] or [head]
        return found

    return text(parsed.prerequisite), text(parsed.update)


BEFORE = Delegation.of(
    CHILD,
    [
        RR(CHILD, RRType.NS, name("ns1")),
        RR(CHILD, RRType.DS, DS),
        RR(name("ns1"), RRType.A, bytes([192, 0, 2, 1])),
    ],
)
AFTER = Delegation.of(
    CHILD,
    [
        RR(CHILD, RRType.NS, name("ns1")),
        RR(CHILD, RRType.NS, name("ns2")),
        RR(name("ns1"), RRType.A, bytes([192, 0, 2, 1])),
        RR(name("ns2"), RRType.AAAA, bytes(15) + b"\1"),
    ],
)
DS_TEXT = "4711 13 2 " + "0" * 64


def test_a_write_states_before_and_replaces_what_differs() -> None:
    prerequisites, updates = lines(write_message(ZONE, [Change(BEFORE, AFTER)], TTLS))
    assert sorted(prerequisites) == [
        f"c.parent.test. 0 IN DS {DS_TEXT}",
        "c.parent.test. 0 IN NS ns1.c.parent.test.",
        "ns1.c.parent.test. 0 IN A 192.0.2.1",
        "ns1.c.parent.test. 0 NONE AAAA",
    ]
    assert updates == [
        "c.parent.test. 0 ANY NS",
        "c.parent.test. 0 ANY DS",
        "ns2.c.parent.test. 0 ANY A",
        "ns2.c.parent.test. 0 ANY AAAA",
        "c.parent.test. 1 IN NS ns1.c.parent.test.",
        "c.parent.test. 1 IN NS ns2.c.parent.test.",
        "ns2.c.parent.test. 3 IN AAAA ::1",
    ]


def test_a_removal_deletes_each_rrset_by_name() -> None:
    _, updates = lines(write_message(ZONE, [Change(BEFORE, Delegation(CHILD))], TTLS))
    assert updates == ["c.parent.test. 0 ANY NS", "c.parent.test. 0 ANY DS", "ns1.c.parent.test. 0 ANY A"]


def test_a_first_delegation_requires_that_there_is_none() -> None:
    prerequisites, updates = lines(write_message(ZONE, [Change(Delegation(CHILD), BEFORE)], TTLS))
    assert prerequisites == ["c.parent.test. 0 NONE NS", "c.parent.test. 0 NONE DS"]
    assert updates[-1] == "ns1.c.parent.test. 3 IN A 192.0.2.1"
    assert f"c.parent.test. 2 IN DS {DS_TEXT}" in updates


def test_a_child_that_is_its_own_name_server_keeps_its_ns_first() -> None:
    after = Delegation.of(CHILD, [RR(CHILD, RRType.NS, CHILD), RR(CHILD, RRType.A, bytes(4))])
    _, updates = lines(write_message(ZONE, [Change(Delegation(CHILD), after)], TTLS))
    deleted = [line for line in updates if " ANY " in line]
    assert sorted(deleted) == [f"c.parent.test. 0 ANY {rtype}" for rtype in ("A", "AAAA", "NS")]
    assert updates[3:] == ["c.parent.test. 1 IN NS c.parent.test.", "c.parent.test. 3 IN A 0.0.0.0"]


def test_a_verification_states_after_and_what_must_be_gone() -> None:
    prerequisites, updates = lines(verify_message(ZONE, [Change(AFTER, BEFORE)]))
    assert updates == []
    assert sorted(prerequisites) == [
        f"c.parent.test. 0 IN DS {DS_TEXT}",
        "c.parent.test. 0 IN NS ns1.c.parent.test.",
        "ns1.c.parent.test. 0 IN A 192.0.2.1",
        "ns1.c.parent.test. 0 NONE AAAA",
        "ns2.c.parent.test. 0 NONE A",
        "ns2.c.parent.test. 0 NONE AAAA",
    ]


def random_change(random: Random, number: int) -> Change:
    child = names.from_text(f"child{number}.parent.test.")

    def value() -> Delegation:
        records = []
        for place in range(random.randrange(5)):
            owner = random.choice([child, names.from_text(f"ns{place}.child{number}.parent.test.")])
            records.append(RR(child, RRType.NS, owner))
            if random.random() < 0.5:
                records.append(RR(owner, RRType.A, random.randbytes(4)))
            if random.random() < 0.5:
                records.append(RR(owner, RRType.AAAA, random.randbytes(16)))
            if random.random() < 0.5:
                records.append(RR(child, RRType.DS, random.randbytes(36)))
        return Delegation.of(child, records)

    return Change(value(), value())


def test_what_is_counted_is_never_less_than_what_is_built() -> None:
    random = Random(1)
    for number in range(500):
        change = random_change(random, number)
        room = octets_bound(change) + HEADER_OCTETS + len(ZONE)
        assert len(write_message(ZONE, [change], TTLS)) <= room
        assert len(verify_message(ZONE, [change])) <= room
        # and not by much more than half
        assert room <= 2 * len(write_message(ZONE, [change], TTLS)) + 300


def test_as_many_changes_fit_as_their_octets_allow_and_at_least_one() -> None:
    random = Random(2)
    changes = [random_change(random, number) for number in range(60)]
    counts = [fitting(changes, octets) for octets in range(0, 100_000, 500)]
    assert counts[0] == 1
    assert counts[-1] == 60
    assert all(fewer <= more for fewer, more in pairwise(counts))
    for octets, count in zip(range(0, 100_000, 500), counts, strict=True):
        assert count == 1 or sum(map(octets_bound, changes[:count])) <= octets


@pytest.mark.parametrize("algorithm", ALGORITHMS.values())
def test_dnspython_takes_our_signature(algorithm: dns.name.Name) -> None:
    key = TsigKey("ZoneCut.test", "c2VjcmV0", algorithm)
    message = write_message(ZONE, [Change(BEFORE, AFTER)], TTLS)
    signed = sign(message, key, 4711)
    parsed = dns.message.from_wire(signed.wire, keyring={key.name: key})
    assert (parsed.had_tsig, parsed.id) == (True, 4711)
    assert len(signed.wire) == len(message) + tsig_octets(key)


def answered(request: bytes) -> bytes:
    """A signed answer of dnspython's to a signed request."""
    query = dns.message.from_wire(request, keyring={KEY.name: KEY})
    return dns.message.make_response(query).to_wire()


def test_a_signed_answer_is_authentic_and_any_octet_changed_makes_it_false() -> None:
    signed = sign(verify_message(ZONE, [Change(BEFORE, AFTER)]), KEY, 1)
    wire = answered(signed.wire)
    verify(walk(wire), KEY, signed.mac)
    for at in range(2, len(wire)):
        flipped = wire[:at] + bytes([wire[at] ^ 1]) + wire[at + 1 :]
        try:
            answer = walk(flipped)
        except Exception:
            continue
        try:
            verify(answer, KEY, signed.mac)
        except NotAuthentic:
            continue
        # the class and TTL of a TSIG record are not under its MAC as they stand, nor is the case of a name
        assert at > len(wire) - tsig_octets(KEY)


def test_an_answer_without_tsig_or_to_another_request_is_not_authentic() -> None:
    signed = sign(verify_message(ZONE, [Change(BEFORE, AFTER)]), KEY, 1)
    wire = answered(signed.wire)
    unsigned = wire[:10] + bytes(2) + wire[12 : walk(wire).records[-1].start]
    with pytest.raises(NotAuthentic, match="does not verify"):
        verify(walk(wire), KEY, b"x" * 32)
    with pytest.raises(NotAuthentic, match="is not signed"):
        verify(walk(unsigned), KEY, signed.mac)


@pytest.mark.parametrize("mac_size", [0, 16, 31, 33, 0xFFFF])
def test_a_signature_of_another_length_than_its_hash_is_not_authentic(mac_size: int) -> None:
    signed = sign(verify_message(ZONE, [Change(BEFORE, AFTER)]), KEY, 1)
    wire = answered(signed.wire)
    # MAC size, MAC, original ID, error and the length of other data are the end of the message
    at = len(wire) - 6 - 32 - 2
    assert wire[at : at + 2] == (32).to_bytes(2)
    with pytest.raises(NotAuthentic, match="has a signature that"):
        verify(walk(wire[:at] + mac_size.to_bytes(2) + wire[at + 2 :]), KEY, signed.mac)


def test_a_truncated_signature_is_not_authentic() -> None:
    signed = sign(verify_message(ZONE, [Change(BEFORE, AFTER)]), KEY, 1)
    wire = answered(signed.wire)
    record = walk(wire).records[-1]
    mac_end = len(wire) - 6
    shorter = wire[: mac_end - 32 - 2] + (16).to_bytes(2) + wire[mac_end - 32 : mac_end - 16] + wire[mac_end:]
    length = record.end - record.rdata - 16
    with pytest.raises(NotAuthentic, match="does not verify"):
        verify(walk(shorter[: record.rdata - 2] + length.to_bytes(2) + shorter[record.rdata :]), KEY, signed.mac)


def test_an_answer_under_another_key_or_algorithm_is_not_authentic() -> None:
    signed = sign(verify_message(ZONE, [Change(BEFORE, AFTER)]), KEY, 1)
    wire = answered(signed.wire)
    for key in (
        TsigKey("another.test", "c2VjcmV0", dns.tsig.HMAC_SHA256),
        TsigKey("zonecut.test", "c2VjcmV0", dns.tsig.HMAC_SHA512),
        TsigKey("zonecut.test", "c2VjcmV1", dns.tsig.HMAC_SHA256),
    ):
        with pytest.raises(NotAuthentic, match="does not verify"):
            verify(walk(wire), key, signed.mac)
