"""`zonecut explain`: what the receiver would do with a captured message, and why."""

from base64 import b64encode
from pathlib import Path

import pytest

from cli_support import NOW, House, delegation, now_held, signed
from vectors_of import CHILD, VECTORS, ZONE, Vector
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, RRClass, RRType
from zonecut.protocol.keys import KeyPair
from zonecut.protocol.sig0 import sign_request
from zonecut.store import ChangeState

PAIR = KeyPair.generate(CHILD, 15, DEFAULT)
ACCEPTABLE = next(vector for vector in VECTORS if vector.name.endswith("ED25519_tcp"))
SERVER = names.from_text("ns7.other.test.")


@pytest.fixture
def house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> House:
    house = House(tmp_path, capsys)
    house.imported()
    house.imported(house.file("Kpair.key", PAIR.key.to_text(3600).encode() + b"\n"), "--trust")
    return house


def explained(house: House, wire: bytes, *, code: int, now: int = NOW) -> dict[str, object]:
    """The findings about a message. The zone file is the same afterwards."""
    before = house.zone_file.read_bytes()
    ended = house.zonecut("explain", house.file("message.bin", wire), "--time", now, "--json")
    assert (ended.code, ended.err) == (code, "")
    assert house.zone_file.read_bytes() == before
    document: dict[str, object] = ended.document
    return document


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_the_signature_of_every_vector_verifies(house: House, vector: Vector) -> None:
    ended = house.zonecut("explain", house.file("v.bin", vector.wire), "--time", vector.time, "--json")
    (signature,) = ended.document["signatures"]
    assert signature["verified_by"]["tag"] == vector.signature.key_tag
    assert signature["verified_by"]["state"] == "trusted"
    assert signature["untimely"] is None


def test_what_would_be_accepted_is_shown_with_its_difference(house: House) -> None:
    findings = explained(house, ACCEPTABLE.wire, code=0)
    assert (findings["verdict"], findings["rcode"]) == ("accepted", "NOERROR")
    difference = findings["difference"]
    assert isinstance(difference, dict)
    assert "ns2.child.sig0.test. AAAA 2001:db8::2" in difference["added"]
    assert difference["removed"] == ["child.sig0.test. NS ns1.other.test."]
    text = house.zonecut("explain", house.file("v.bin", ACCEPTABLE.wire), "--time", NOW).out
    assert "accepted, NOERROR" in text
    assert "+ ns2.child.sig0.test. AAAA 2001:db8::2" in text


def test_one_wrong_bit_is_badsig(house: House) -> None:
    wire = bytearray(ACCEPTABLE.wire)
    wire[ACCEPTABLE.envelope.records[0].rdata - 3] ^= 1
    findings = explained(house, bytes(wire), code=1)
    assert findings["rule"] == "signature"
    assert findings["rcode"] == "BADSIG (sent as NOTAUTH: the request has no EDNS)"
    assert findings["signatures"][0]["verified_by"] is None  # type: ignore[index]


def test_a_message_from_another_time_is_badtime_though_it_verifies(house: House) -> None:
    findings = explained(house, ACCEPTABLE.wire, code=1, now=NOW + 86400)
    assert findings["rule"] == "signature-time"
    assert "expired" in findings["signatures"][0]["untimely"]  # type: ignore[index]
    assert findings["signatures"][0]["verified_by"] is not None  # type: ignore[index]


CHANGE = message.add(CHILD, RRType.NS, 3600, SERVER)
BELOW = b"\x03ns9" + CHILD
BY_TSIG = message.record(SERVER, RRType.TSIG, RRClass.ANY, 0, SERVER + bytes(48))


@pytest.mark.parametrize(
    ("wire", "rule", "rcode"),
    [
        (b"\0\1\x28\0" + bytes(7), None, None),
        (signed(PAIR, CHANGE) + b"\0", "malformed", "FORMERR"),
        (signed(PAIR, CHANGE, zone=CHILD), "zone-is-ours", "NOTAUTH"),
        (message.update(1, ZONE, (), (CHANGE,)), "signed", "REFUSED"),
        (signed(KeyPair.generate(CHILD, 15, DEFAULT), CHANGE), "key-known", "BADKEY"),
        (signed(PAIR, message.add(ZONE, RRType.NS, 0, SERVER)), "owner-is-child", "REFUSED"),
        (signed(PAIR, message.add(CHILD, 16, 0, b"\1a")), "delegation-types", "REFUSED"),
        (signed(PAIR, message.add(BELOW, RRType.A, 0, b"\x09" * 4)), "glue-of-ns-only", "REFUSED"),
        (signed(PAIR, message.delete_rrset(CHILD, RRType.NS)), "ns-count", "REFUSED"),
        (message.query(1, ZONE, RRType.NS), "query", "REFUSED"),
        (message.update(1, ZONE, (), (CHANGE,), (BY_TSIG,)), "tsig-key", "NOTAUTH"),
    ],
)
def test_a_refusal_names_the_rule_and_the_rcode(house: House, wire: bytes, rule: str | None, rcode: str | None) -> None:
    findings = explained(house, wire, code=1)
    assert (findings["rule"], findings["rcode"]) == (rule, rcode)


def test_a_refusal_of_a_request_with_edns_has_an_extended_error(house: House) -> None:
    findings = explained(house, signed(PAIR, message.delete_rrset(CHILD, RRType.NS)), code=1)
    assert findings["extended_error"] == "18 (Prohibited)"


def test_a_key_that_is_not_trusted_is_named_as_such(house: House) -> None:
    house.zonecut("key", "revoke", "child.sig0.test.", "--keyid", PAIR.key.tag)
    findings = explained(house, signed(PAIR, CHANGE), code=1)
    assert (findings["rule"], findings["rcode"]) == ("key-trusted", "REFUSED")


def test_a_message_that_was_held_back_is_stale(house: House) -> None:
    house.change(ACCEPTABLE, now_held(), delegation(SERVER), ChangeState.APPLIED)
    at = ACCEPTABLE.signature.inception - 301
    wire = message.update(1, ZONE, (), (CHANGE,))
    older = sign_request(wire, PAIR, at, at + 600, signature_type=DEFAULT.signature_type)
    findings = explained(house, older, code=1, now=at + 400)
    assert findings["rule"] == "signature-order"
    in_time = sign_request(wire, PAIR, at + 1, at + 600, signature_type=DEFAULT.signature_type)
    assert explained(house, in_time, code=0, now=at + 400)["verdict"] == "accepted"


def test_a_query_that_nsupdate_makes_is_answered(house: House) -> None:
    findings = explained(house, message.query(1, CHILD, RRType.SOA), code=0)
    assert findings["verdict"] == "accepted"


def test_a_response_gets_no_answer(house: House) -> None:
    wire = bytearray(ACCEPTABLE.wire)
    wire[2] |= 0x80
    assert explained(house, bytes(wire), code=1)["verdict"] == "ignored"
    assert explained(house, bytes(wire) + b"\0", code=1)["verdict"] == "ignored"
    assert explained(house, b"short", code=1)["verdict"] == "ignored"


def test_a_server_that_is_away_is_servfail(house: House) -> None:
    house.zone_file.unlink()
    ended = house.zonecut("explain", house.file("v.bin", ACCEPTABLE.wire), "--time", NOW, "--json")
    assert (ended.code, ended.document["rcode"], ended.document["rule"]) == (1, "SERVFAIL", "backend")


@pytest.mark.parametrize(
    "content",
    [
        ACCEPTABLE.wire.hex().encode(),
        ACCEPTABLE.wire.hex(":", 2).upper().encode() + b"\n",
        b64encode(ACCEPTABLE.wire) + b"\n",
        len(ACCEPTABLE.wire).to_bytes(2) + ACCEPTABLE.wire,
        b64encode(len(ACCEPTABLE.wire).to_bytes(2) + ACCEPTABLE.wire),
    ],
)
def test_a_message_may_be_written_in_several_ways(house: House, content: bytes) -> None:
    assert explained(house, content, code=0)["octets"] == len(ACCEPTABLE.wire)


def test_without_a_configuration_the_rest_is_explained(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("zonecut.config.DEFAULT_PATH", tmp_path / "none.yaml")
    ended = house.bare("explain", house.file("v.bin", ACCEPTABLE.wire), "--json")
    assert (ended.code, ended.document["verdict"]) == (0, "undetermined")
    assert "no configuration" in ended.document["left_out"]
    assert ended.document["signatures"][0]["candidates"] is None
    assert "keys were not looked up" in house.bare("explain", house.directory / "v.bin").out
    assert house.bare("explain", house.file("v.bin", ACCEPTABLE.wire + b"\0")).code == 1


def test_a_store_that_does_not_exist_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    house = House(tmp_path, capsys)
    assert explained(house, ACCEPTABLE.wire, code=1)["rule"] == "key-known"
    assert not (tmp_path / "zonecut.db").exists()


def test_a_file_that_is_no_message_is_one_clear_line(house: House) -> None:
    for path, complaint in (
        (house.directory / "missing.bin", "missing.bin: No such file or directory"),
        (house.directory, "Is a directory"),
        (house.file("empty.bin", b""), "empty.bin: is empty"),
        (house.file("large.bin", bytes(300_000)), "larger than any message"),
    ):
        ended = house.zonecut("explain", path)
        assert (ended.code, ended.out) == (1, "")
        assert complaint in ended.err
        assert ended.err.count("\n") == 1
