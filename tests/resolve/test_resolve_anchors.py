"""Trust anchors: the root's, and files with others."""

from pathlib import Path

import dns.dnssec
import dns.name
import dns.rdata
import pytest

from resolve_support import Signer
from zonecut.protocol import names
from zonecut.resolve import ROOT_ANCHORS, ResolveError, TrustAnchors

ZONE = Signer("test.")

# The DNSKEY of KSK-2017 (key tag 20326), as it stands in BIND's bind.keys.
KSK_2017 = (
    "257 3 8 AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq7HrxRixHlFlExOLAJr5emLvN7SWX"
    "gnLh4+B5xQlNVz8Og8kvArMtNROxVQuCaSnIDdD5LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwVN8efS3rCj/EWgvIWgb"
    "9tarpVUDK/b58Da+sqqls3eNbuv7pr+eoZG+SrDK6nWeL3c6H5Apxz7LjVc1uTIdsIXxuOLYA4/ilBmSVIzuDWfdRUfhHdY6+cn8"
    "HFRm+2hM8AnXGXws9555KrUB5qihylGa8subX2Nn6UwNR1AkUTV74bU="
)


def test_the_roots_anchors_are_built_in() -> None:
    (anchors,) = ROOT_ANCHORS.zones.values()
    assert [(ds.key_tag, int(ds.algorithm), int(ds.digest_type)) for ds in anchors] == [(20326, 8, 2), (38696, 8, 2)]
    assert list(ROOT_ANCHORS.zones) == [names.ROOT]
    key = dns.rdata.from_text("IN", "DNSKEY", KSK_2017)
    assert anchors[0] == dns.dnssec.make_ds(dns.name.root, key, "SHA256")


def test_a_dnskey_is_the_same_anchor_as_its_ds() -> None:
    as_key = TrustAnchors.from_text(f"TEST. IN DNSKEY {ZONE.key.to_text()}")
    as_ds = TrustAnchors.from_text(f"test. 3600 IN DS {ZONE.ds().to_text()}")
    assert as_key == as_ds
    assert TrustAnchors.from_text(f". IN DNSKEY {KSK_2017}").zones[names.ROOT][0].key_tag == 20326


def test_a_file_may_have_comments_parentheses_and_several_zones(tmp_path: Path) -> None:
    file = tmp_path / "anchors.key"
    tag, algorithm, digest_type, digest = ZONE.ds().to_text().split()
    file.write_text(
        f"; autotrust trust anchor file\n\ntest. DS ( {tag} {algorithm} ; the algorithm\n {digest_type} {digest} )\n"
        f"test. 1h IN DS {ZONE.ds('SHA384').to_text()} ;;state=2 [  VALID  ]\n"
        f"other. IN 3600 DNSKEY {Signer('other.').key.to_text()}\n"
        f"test. IN DS {tag} {algorithm} {digest_type} {digest}\n"
    )
    anchors = TrustAnchors.from_file(file)
    assert {names.to_text(zone): len(records) for zone, records in anchors.zones.items()} == {"test.": 2, "other.": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no DS or DNSKEY record in it"),
        ("; nothing\n", "no DS or DNSKEY record in it"),
        ("\n\n. IN A 192.0.2.1", "line 3: a trust anchor is a DS or a DNSKEY, not A"),
        (". IN DS 1 8 1 " + "00" * 20, "line 1: DS 1 8 1: not supported"),
        (". IN DS 1 5 2 " + "00" * 32, "line 1: DS 1 5 2: not supported"),
        (". IN DS 1 8 2 0000", "line 1"),
        (". IN DS 1 8", "line 1"),
        (". IN DS", "line 1"),
        (". IN", "line 1"),
        (". IN DS x 8 2 " + "00" * 32, "line 1"),
        (" IN DS 1 8 2 " + "00" * 32, "line 1: a record begins with the name of its zone"),
        ("$ORIGIN test.", r"line 1: \$ORIGIN is not understood here"),
        (f"test. DNSKEY 0 3 15 {ZONE.key.to_text().split()[3]}", "line 1: the DNSKEY with tag"),
        (f"test. DNSKEY 385 3 15 {ZONE.key.to_text().split()[3]}", "line 1: DNSKEY [0-9]+ is revoked"),
        (f"test. DNSKEY 257 3 8 AwEAA{'a' * 83}", "line 1: the DNSKEY with tag.*RSA with 1024 to 4096 bits"),
        ("test. DNSKEY 257 3 15 !!!", "line 1"),
        ("a..b. DS 1 8 2 " + "00" * 32, "line 1"),
    ],
)
def test_whatever_is_no_anchor_is_refused_with_file_and_line(text: str, reason: str) -> None:
    with pytest.raises(ResolveError, match=f"^anchors.key.*{reason}"):
        TrustAnchors.from_text(text, "anchors.key")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResolveError, match=r"absent\.key: trust anchors cannot be read"):
        TrustAnchors.from_file(tmp_path / "absent.key")


def state_file(*lines: tuple[Signer, int, str]) -> str:
    """As unbound writes it for `auto-trust-anchor-file`."""
    head = "; autotrust trust anchor file\n;;id: . 1\n;;last_queried: 1795898581 ;;Sat Nov 28 20:43:01 2026\n"
    states = {"START": 0, "ADDPEND": 1, "VALID": 2, "MISSING": 3, "REVOKED": 4, "REMOVED": 5}
    return head + "".join(
        f"test.\t86400\tIN\tDNSKEY\t{signer.key.replace(flags=flags).to_text()} ;{{id = 1 (ksk), size = 256b}}"
        f" ;;state={states[state]} [{state:^9}] ;;count=0 ;;lastchange=1795898581 ;;Sat Nov 28 20:43:01 2026\n"
        for signer, flags, state in lines
    )


OTHERS = [Signer("test.", label) for label in ("one", "two", "three", "four")]


def test_of_a_state_file_of_rfc_5011_only_keys_that_are_anchors_count() -> None:
    one, two, three, four = OTHERS
    text = state_file(
        (ZONE, 257, "VALID"),
        (one, 257, "ADDPEND"),
        (two, 257, "MISSING"),
        (three, 385, "REVOKED"),
        (four, 257, "START"),
    )
    anchors = TrustAnchors.from_text(text, "root.key")
    assert anchors.zones == {ZONE.wire: (ZONE.ds(), two.ds())}
    assert [reason.split(", ", 1)[0] for reason in anchors.skipped] == ["root.key"] * 3
    pending, revoked, started = anchors.skipped
    assert f"DNSKEY {one.key.key_id()} is ADDPEND" in pending
    assert "is revoked" in revoked
    assert "is START" in started


def test_a_revoked_key_beside_an_anchor_does_not_cost_the_file() -> None:
    revoked = OTHERS[0].key.replace(flags=385).to_text()
    anchors = TrustAnchors.from_text(f"test. DNSKEY {revoked}\ntest. DNSKEY {ZONE.key.to_text()}", "anchors.key")
    assert anchors.zones == {ZONE.wire: (ZONE.ds(),)}
    assert "anchors.key, line 1" in anchors.skipped[0]


def test_a_state_file_without_any_anchor_is_refused_with_the_states() -> None:
    with pytest.raises(ResolveError, match=r"root\.key, line 4: DNSKEY [0-9]+ is ADDPEND: only keys that are VALID"):
        TrustAnchors.from_text(state_file((ZONE, 257, "ADDPEND")), "root.key")
