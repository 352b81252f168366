"""RFC 8945 section 5.2.1: who signs by TSIG alone is told that the key is unknown, and not that nothing is signed."""

from collections.abc import AsyncIterator
from pathlib import Path

import dns.message
import dns.name
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import dns.update
import pytest

from receiver_support import CHILD, NOW, SOURCE, ZONE, Site, replace_ns, site
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import EdeCode, Rcode, RRClass, RRType
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.receiver.message import responder
from zonecut.receiver.message.foreign_tsig import UnknownTsigKey, check_tsig

KEYRING = dns.tsigkeyring.from_text({"update.key.": ("hmac-sha256", "c2VjcmV0IHNlY3JldCBzZWNyZXQ=")})
SIGNED_BY_TSIG = message.record(
    names.from_text("k."), RRType.TSIG, RRClass.ANY, 0, names.from_text("hmac-sha256.") + bytes(48)
)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        await made.trust(CHILD)
        yield made


def update(*, edns: bool = True) -> dns.update.UpdateMessage:
    """An UPDATE by dnspython, to be signed by TSIG."""
    made = dns.update.UpdateMessage("parent.example.", keyring=KEYRING)
    made.replace("child", 3600, "NS", "ns.a.example.")
    made.use_edns(0 if edns else -1)
    return made


@pytest.mark.parametrize("edns", [True, False])
async def test_a_client_that_signs_by_tsig_is_told_badkey_as_it_understands_it(here: Site, edns: bool) -> None:
    request = update(edns=edns)
    answer = (await here.ask(request.to_wire())).envelope
    with pytest.raises(dns.tsig.PeerBadKey):
        dns.message.from_wire(answer.wire, keyring=request.keyring, request_mac=request.mac)
    parsed = dns.message.from_wire(answer.wire, keyring=False)
    assert parsed.rcode() == dns.rcode.NOTAUTH
    assert parsed.tsig is not None
    (tsig,) = parsed.tsig
    assert (parsed.tsig.name, tsig.algorithm) == (dns.name.from_text("update.key."), dns.tsig.HMAC_SHA256)
    assert (tsig.error, tsig.mac, tsig.original_id, tsig.time_signed) == (Rcode.BADKEY, b"", request.id, NOW)
    assert parsed.edns == (0 if edns else -1)
    if edns:
        (error,) = parsed.extended_errors()
        assert (int(error.code), error.text) == (
            EdeCode.PROHIBITED,
            "no TSIG key update.key. is known here, nor any other: sign with SIG(0)",
        )
    assert here.receiver.tally.counts["tsig-key"] == 1


async def test_a_query_with_tsig_and_an_update_of_another_zone_are_told_the_same(here: Site) -> None:
    for request in (
        dns.message.make_query("parent.example.", "SOA"),
        dns.update.UpdateMessage("elsewhere.example."),
    ):
        request.use_tsig(KEYRING)
        answer = await here.ask(request.to_wire())
        with pytest.raises(dns.tsig.PeerBadKey):
            dns.message.from_wire(answer.envelope.wire, keyring=request.keyring, request_mac=request.mac)


async def test_an_answer_about_a_long_name_is_no_lever(here: Site) -> None:
    zone = b"".join(b"\x3f" + bytes([letter]) * 63 for letter in b"abc") + b"\x3d" + b"d" * 61 + b"\0"
    rdata = names.from_text("hmac-sha256.") + bytes(16)
    # the owner is a pointer to the name in the zone section
    record = b"\xc0\x0c" + RRType.TSIG.to_bytes(2) + RRClass.ANY.to_bytes(2) + bytes(4) + len(rdata).to_bytes(2) + rdata
    wire = message.update(7, zone, (), (), [record])
    answer = (await here.ask(wire)).envelope
    assert answer.rcode == Rcode.NOTAUTH
    assert len(answer.wire) <= len(wire) + responder.MAX_GROWTH
    assert answer.flags & 0x0200


ALGORITHM = names.from_text("hmac-sha256.")


@pytest.mark.parametrize(
    "additional",
    [
        [SIGNED_BY_TSIG, message.opt_record()],
        [SIGNED_BY_TSIG, SIGNED_BY_TSIG],
        [message.record(b"\0", RRType.TSIG, RRClass.ANY, 0, ALGORITHM + bytes(15))],
        [message.record(b"\0", RRType.TSIG, RRClass.IN, 0, ALGORITHM + bytes(48))],
    ],
    ids=["not the last", "two", "too short", "of class IN"],
)
def test_a_tsig_record_that_is_none_is_malformed(additional: list[bytes]) -> None:
    with pytest.raises(MalformedMessage, match="RFC 8945"):
        check_tsig(walk(message.update(1, ZONE, (), (), additional)), RRType.SIG)


async def test_beside_a_sig_tsig_is_for_sig0_to_judge(here: Site) -> None:
    """RFC 2931 section 3.2 forbids both; the SIG has to be the last record, and is not."""
    signed = walk(here.signed(*replace_ns(CHILD, "ns.a.example.")))
    count = int.from_bytes(signed.wire[10:12]) + 1
    both = signed.wire[:10] + count.to_bytes(2) + signed.wire[12:] + SIGNED_BY_TSIG
    check_tsig(walk(both), RRType.SIG)
    assert (await here.ask(both, SOURCE)).rcode == Rcode.FORMERR


def test_the_refusal_names_the_key() -> None:
    with pytest.raises(UnknownTsigKey, match=r"no TSIG key k\. is known"):
        check_tsig(walk(message.update(1, ZONE, (), (), [SIGNED_BY_TSIG])), RRType.SIG)
