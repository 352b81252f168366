"""What strangers send: refused in few octets, counted, and logged in samples only; nothing of it reaches the zone."""

import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.nsupdate import nsupdate
from lab.process import until
from lab.zones import PARENT
from peer import TcpPeer, UdpPeer
from refusals import APEX, CHILD, ELSEWHERE, KNOWN, REVOKED, STRANGER, Refusals, Refused, refusals_in
from signer import DS, NS, ZONE, Signer, another_ds, ds, name, unsigned
from zonecut.protocol import message
from zonecut.protocol.codepoints import DEFAULT
from zonecut.protocol.envelope import walk
from zonecut.protocol.sig0 import signatures
from zonecut.store import KeyState

PROHIBITED, OTHER_ERROR, MANUAL = 18, 0, DEFAULT.ede_manual_bootstrap_required
NOBODY = Signer.generate("nobody")
FLOOD = 2000


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[Refusals]:
    yield from refusals_in(tmp_path_factory.mktemp("strangers"), server=server)


def _spoilt(wire: bytes) -> bytes:
    """The message with the last bit of its signature flipped."""
    return wire[:-1] + bytes((wire[-1] ^ 1,))


def _with_sig_fields(wire: bytes, *, rclass: int = 255, ttl: int = 0, owner: bytes = b"\0") -> bytes:
    """A signed message with other unsigned octets in its SIG record."""
    start = walk(wire).records[-1].start
    tail = wire[start + 3 :]  # after the owner (one octet) and the type
    return (
        wire[: start + 1][:-1] + owner + wire[start + 1 : start + 3] + rclass.to_bytes(2) + ttl.to_bytes(4) + tail[6:]
    )


def _resigned(wire: bytes, *, alter: int) -> bytes:
    """A signed message with the octet at that place of its SIG's RDATA increased, signed by nobody."""
    at = walk(wire).records[-1].rdata + alter
    return wire[:at] + bytes((wire[at] + 1 & 0xFF,)) + wire[at + 1 :]


def _zone_section(*zones: bytes) -> bytes:
    """A signed UPDATE with these octets, each a question, as its zone section."""
    head = message.update(secrets.randbits(16), ZONE, (), (), ())
    body = head[:4] + len(zones).to_bytes(2) + b"\0\0" + b"\0\1" + b"\0\1" + b"".join(zones)
    return CHILD.sign(body + message.add(CHILD.owner, DS, 60, ds()) + message.opt_record())


def _by_tsig(edns: bool) -> bytes:
    """An UPDATE with a TSIG record of whatever MAC."""
    rdata = name("hmac-sha256.") + bytes(6) + (300).to_bytes(2) + (32).to_bytes(2) + bytes(32) + bytes(6)
    tsig = message.record(name("key.test."), 250, 255, 0, rdata)
    additional = [message.opt_record(), tsig] if edns else [tsig]
    return message.update(secrets.randbits(16), ZONE, (), [message.add(CHILD.owner, DS, 60, ds())], additional)


def _question(zone: bytes, qtype: int = 6, qclass: int = 1) -> bytes:
    return zone + qtype.to_bytes(2) + qclass.to_bytes(2)


def _refused(wire: bytes, rcode: str, error: int | None, rule: str, *reason: str) -> Refused:
    return Refused(lambda _: wire, rcode, error, rule, reason)


STRANGERS = {
    "unsigned": Refused(
        lambda edns: unsigned(*another_ds(CHILD.owner), edns=edns), "REFUSED", PROHIBITED, "signed", ("not signed",)
    ),
    "unknown signer": Refused(lambda edns: NOBODY.fresh(edns=edns), "BADKEY", None, "key-known"),
    "unknown key of a known child": Refused(lambda edns: STRANGER.fresh(edns=edns), "BADKEY", None, "key-known"),
    "key known and not trusted": Refused(
        lambda edns: KNOWN.fresh(edns=edns), "REFUSED", MANUAL, "key-trusted", (str(KNOWN.tag), "operator")
    ),
    "key revoked": Refused(
        lambda edns: REVOKED.fresh(edns=edns), "REFUSED", PROHIBITED, "key-trusted", (str(REVOKED.tag), "revoked")
    ),
    "wrong signature of a trusted key": Refused(
        lambda edns: _spoilt(CHILD.fresh(edns=edns)), "BADSIG", None, "signature"
    ),
    "wrong signature of an untrusted key": Refused(
        lambda edns: _spoilt(KNOWN.fresh(edns=edns)), "BADSIG", None, "signature"
    ),
    "wrong signature of a revoked key": Refused(
        lambda edns: _spoilt(REVOKED.fresh(edns=edns)), "BADSIG", None, "signature"
    ),
    "expired": Refused(
        lambda edns: CHILD.fresh(age=1000, validity=600, edns=edns),
        "BADTIME",
        OTHER_ERROR,
        "signature-time",
        ("expired", "it is"),
    ),
    "not yet valid": Refused(
        lambda edns: CHILD.fresh(age=-900, edns=edns),
        "BADTIME",
        OTHER_ERROR,
        "signature-time",
        ("not valid before", "it is"),
    ),
    "valid for too long": Refused(
        lambda edns: CHILD.fresh(validity=3601, edns=edns),
        "BADTIME",
        OTHER_ERROR,
        "signature-time",
        ("3601", "3600", "it is"),
    ),
    "expires before its inception": Refused(
        lambda edns: CHILD.fresh(validity=-1, edns=edns), "BADTIME", OTHER_ERROR, "signature-time", ("before", "it is")
    ),
    "signed by TSIG alone": Refused(_by_tsig, "NOTAUTH", PROHIBITED, "tsig-key", ("key.test.", "SIG(0)")),
    "signer is the parent itself": Refused(
        lambda edns: APEX.fresh(edns=edns), "REFUSED", PROHIBITED, "signer-is-child", ("parent.test.",)
    ),
    "signer is elsewhere": Refused(
        lambda edns: ELSEWHERE.update(*another_ds(CHILD.owner), edns=edns),
        "REFUSED",
        PROHIBITED,
        "signer-is-child",
        ("child.elsewhere.test.",),
    ),
    "SIG with a TTL": Refused(
        lambda edns: _with_sig_fields(CHILD.fresh(edns=edns), ttl=1), "FORMERR", OTHER_ERROR, "malformed", ("TTL",)
    ),
    "SIG of class CH": Refused(
        lambda edns: _with_sig_fields(CHILD.fresh(edns=edns), rclass=3), "FORMERR", OTHER_ERROR, "malformed", ("class",)
    ),
    "SIG of class NONE": Refused(
        lambda edns: _with_sig_fields(CHILD.fresh(edns=edns), rclass=254),
        "FORMERR",
        OTHER_ERROR,
        "malformed",
        ("class",),
    ),
    "SIG with an owner": Refused(
        lambda edns: _with_sig_fields(CHILD.fresh(edns=edns), owner=CHILD.owner),
        "FORMERR",
        OTHER_ERROR,
        "malformed",
        ("owner",),
    ),
    "SIG that covers a type": Refused(
        lambda edns: _resigned(CHILD.fresh(edns=edns), alter=1), "FORMERR", OTHER_ERROR, "malformed", ("covered",)
    ),
    "SIG with labels": Refused(
        lambda edns: _resigned(CHILD.fresh(edns=edns), alter=3), "FORMERR", OTHER_ERROR, "malformed", ("labels",)
    ),
    "SIG with an original TTL": Refused(
        lambda edns: _resigned(CHILD.fresh(edns=edns), alter=7), "FORMERR", OTHER_ERROR, "malformed", ("original TTL",)
    ),
}

ZONE_SECTIONS = {
    "the child's name": _refused(
        _zone_section(_question(CHILD.owner)), "NOTAUTH", OTHER_ERROR, "zone-is-ours", CHILD.text, "parent.test."
    ),
    "another zone": _refused(
        _zone_section(_question(name("elsewhere.test."))), "NOTAUTH", OTHER_ERROR, "zone-is-ours", "elsewhere.test."
    ),
    "the zone above": _refused(
        _zone_section(_question(name("test."))), "NOTAUTH", OTHER_ERROR, "zone-is-ours", "test."
    ),
    "the root": _refused(_zone_section(_question(b"\0")), "NOTAUTH", OTHER_ERROR, "zone-is-ours"),
    "type NS": _refused(_zone_section(_question(ZONE, NS)), "FORMERR", OTHER_ERROR, "malformed", "NS"),
    "type ANY": _refused(_zone_section(_question(ZONE, 255)), "FORMERR", OTHER_ERROR, "malformed", "ANY"),
    "class CH": _refused(_zone_section(_question(ZONE, 6, 3)), "FORMERR", OTHER_ERROR, "malformed", "class"),
    "two zones": _refused(
        _zone_section(_question(ZONE), _question(ZONE)), "FORMERR", OTHER_ERROR, "malformed", "2 records"
    ),
    "no zone": _refused(_zone_section(), "FORMERR", OTHER_ERROR, "malformed", "0 records"),
}


@pytest.mark.parametrize("edns", [True, False], ids=["edns", "plain"])
@pytest.mark.parametrize("refused", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_is_refused(refusals: Refusals, refused: Refused, edns: bool) -> None:
    refusals.of_stranger(refused, edns=edns)


@pytest.mark.parametrize("refused", ZONE_SECTIONS.values(), ids=ZONE_SECTIONS)
def test_a_wrong_zone_section_is_refused(refusals: Refusals, refused: Refused) -> None:
    refusals.of_stranger(refused, edns=True)


def test_no_bit_of_a_signed_message_can_be_flipped(refusals: Refusals) -> None:
    before = refusals.world.snapshot()
    wire = CHILD.fresh()
    envelope = walk(wire)
    update_section = range(8 * envelope.questions[-1].end, 8 * envelope.records[-2].start)
    rcodes: Counter[str] = Counter()
    with UdpPeer(refusals.world.port) as peer:
        for bit in range(8 * len(wire)):
            if bit == 8 * 2:  # QR: such a message is dropped
                continue
            flipped = bytearray(wire)
            flipped[bit // 8] ^= 0x80 >> bit % 8
            answer = peer.ask(bytes(flipped))
            assert answer.rcode != "NOERROR", f"bit {bit} of {wire.hex()}"
            assert len(answer.wire) <= len(wire) + 128
            if bit in update_section:
                rcodes[answer.rcode] += 1
    # The others fall out of shape: the lengths, the class that makes another record of it.
    assert set(rcodes) == {"BADSIG", "FORMERR"}
    assert rcodes["BADSIG"] > 0.8 * len(update_section)
    assert refusals.world.snapshot() == before
    assert refusals.world.udp(wire).rcode == "NOERROR"


def test_nsupdate_with_a_tsig_key_says_that_the_key_is_unknown(refusals: Refusals, tmp_path: Path) -> None:
    key = tmp_path / "tsig.key"
    key.write_text('key "update.test." { algorithm hmac-sha256; secret "c2VjcmV0IHNlY3JldCBzZWNyZXQ="; };\n')
    for zone in (PARENT, None):
        done = nsupdate(
            f"update add {CHILD.text} 60 NS ns.elsewhere.test.", port=refusals.world.port, zone=zone, key_file=key
        )
        assert "NOTAUTH(BADKEY)" in done.stderr
        assert "tsig indicates error" in done.stderr.lower()


def test_an_ede_of_a_stranger_is_cut_to_what_the_request_allows(refusals: Refusals) -> None:
    long_name = name(".".join(["x" * 60, "y" * 60, "z" * 60, "elsewhere.test."]))
    wire = unsigned(*another_ds(CHILD.owner), zone=long_name)
    answer = refusals.world.udp(wire)
    assert answer.rcode == "NOTAUTH"
    assert len(answer.wire) <= len(wire) + 128
    assert answer.extended_error is not None


def test_a_genuine_signature_of_an_untrusted_key_gives_no_credit_to_a_forged_one(refusals: Refusals) -> None:
    before = refusals.world.snapshot()
    for edns in (True, False):
        forged_last = _spoilt(CHILD.sign(KNOWN.fresh(edns=edns)))
        forged_first = KNOWN.sign(_spoilt(CHILD.fresh(edns=edns)))
        for wire in (forged_last, forged_first):
            assert len(signatures(walk(wire), DEFAULT.signature_type)) == 2
            answer = refusals.world.udp(wire)
            assert answer.rcode == "REFUSED"
            if edns:
                assert answer.extended_error is not None
                assert answer.extended_error[0] == MANUAL
    stranger_first = _spoilt(CHILD.sign(STRANGER.fresh()))
    assert refusals.world.udp(stranger_first).rcode == "BADSIG"
    assert refusals.world.snapshot() == before


def test_of_two_signatures_a_trusted_one_is_enough(refusals: Refusals) -> None:
    for wire in (CHILD.sign(KNOWN.fresh()), KNOWN.sign(CHILD.fresh()), CHILD.sign(STRANGER.fresh())):
        serial = refusals.world.serial()
        assert refusals.world.udp(wire).rcode == "NOERROR"
        assert refusals.world.serial() != serial


def test_three_signatures_or_two_signers_are_malformed(refusals: Refusals) -> None:
    other = Signer.generate("child1")
    behind_opt = CHILD.sign(unsigned(*another_ds(CHILD.owner), edns=False))
    count = int.from_bytes(behind_opt[10:12]) + 1
    behind_opt = behind_opt[:10] + count.to_bytes(2) + behind_opt[12:] + message.opt_record()
    for wire in (CHILD.sign(KNOWN.sign(STRANGER.fresh())), CHILD.sign(other.fresh()), behind_opt):
        refusals.of_stranger(_refused(wire, "FORMERR", OTHER_ERROR, "malformed", "SIG record"), edns=True)


def test_of_keys_with_one_tag_each_counts_for_itself(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Found by birthday: some 300 keys. More with the same tag are made by their flags, as an attacker would."""
    by_tag: dict[int, Signer] = {}
    while (second := Signer.generate("child0")).tag not in by_tag:
        by_tag[second.tag] = second
    first = by_tag[second.tag]
    made = [twin for _ in range(60) if (twin := Signer.generate("child0").with_tag(first.tag)) is not None]
    *crowd, unknown = made[:5]
    # The trusted key is the last to come in: no crowd of others may hide it.
    keys = dict.fromkeys((*crowd, second), KeyState.KNOWN) | {first: KeyState.TRUSTED}
    for refusals in refusals_in(tmp_path_factory.mktemp("tags"), keys=keys):
        assert refusals.world.udp(first.fresh()).rcode == "NOERROR"
        refusals.of_stranger(_refused(unknown.fresh(), "BADSIG", None, "signature"), edns=True)
        known = [twin for twin in (second, *crowd) if refusals.world.udp(twin.fresh()).rcode == "REFUSED"]
        assert len(known) == 3, "four candidates are tried: the trusted one and three others"
        assert refusals.world.udp(first.fresh()).rcode == "NOERROR"


def test_a_flood_is_counted_and_not_recorded(refusals: Refusals) -> None:
    """The last test of this module: it looks at everything that the others left behind, and stops zonecut."""
    world = refusals.world
    before = world.snapshot()
    logged = len(world.zonecut.log_events())
    audited = world.audit()
    with TcpPeer(world.port) as peer:
        for start in range(0, FLOOD, 50):
            peer.send(*(_junk(number) for number in range(start, start + 50)))
            answers = [peer.receive() for _ in range(50)]
            assert {answer.rcode for answer in answers if answer} == {"REFUSED", "BADKEY"}
    assert world.snapshot() == before
    assert world.audit() == audited
    # nothing of what strangers sent is in the audit trail
    assert {entry["rule"] for entry in audited if entry["event"] == "change.refused"} == set()
    assert len(world.zonecut.log_events()) - logged <= 4
    world.zonecut.stop()
    until(lambda: bool(world.zonecut.log_events("serve.stopped")), timeout=1, what="the summary")
    counts = world.zonecut.log_events("serve.stopped")[-1]["counts"]
    assert counts["signed"] >= FLOOD // 2
    assert counts["key-known"] >= FLOOD // 2
    assert not world.zonecut.stray_lines()


def _junk(number: int) -> bytes:
    return unsigned(*another_ds(CHILD.owner)) if number % 2 else NOBODY.fresh()
