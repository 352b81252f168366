"""How look-ups are set up: which resolvers, which addresses, and what is refused."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from dns.rdtypes.ANY.RRSIG import RRSIG

from resolve_support import KEY, Signer, reply
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.resolve import (
    Nameserver,
    ResolveError,
    Resolver,
    Status,
    Transport,
    Verdict,
    system_nameservers,
)
from zonecut.resolve.judgement import vouched
from zonecut.resolve.reply import Reply

CHILD = names.from_text("child.test.")


@pytest.mark.parametrize(
    ("text", "nameserver"),
    [
        ("127.0.0.1", Nameserver("127.0.0.1")),
        ("127.0.0.1:5353", Nameserver("127.0.0.1", 5353)),
        ("[::1]:53", Nameserver("::1")),
        ("[::1]", Nameserver("::1")),
        ("tcp://127.0.0.1", Nameserver("127.0.0.1", 53, Transport.TCP)),
        ("tls://192.0.2.1#dns.example", Nameserver("192.0.2.1", 853, Transport.TLS, "dns.example")),
        ("https://192.0.2.1/q#dns.example", Nameserver("192.0.2.1", 443, Transport.HTTPS, "dns.example", path="/q")),
    ],
)
def test_a_resolver_is_written_as_an_address(text: str, nameserver: Nameserver) -> None:
    assert Nameserver.from_text(text) == nameserver


@pytest.mark.parametrize(
    "text", ["", "dns.example", "127.0.0.1:x", "127.0.0.1:70000", "quic://127.0.0.1", "::1", "tls://127.0.0.1/path"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ResolveError, match="resolver"):
        Nameserver.from_text(text)


def test_the_systems_resolvers_are_read(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# comment\nsearch example\nnameserver 127.0.0.53\nnameserver ::1\noptions edns0\n")
    assert system_nameservers(str(file)) == (Nameserver("127.0.0.53"), Nameserver("::1"))
    file.write_text("search example\n")
    with pytest.raises(ResolveError, match="names no resolver"):
        system_nameservers(str(file))
    with pytest.raises(ResolveError, match="names no resolver"):
        system_nameservers(str(tmp_path / "absent"))


@pytest.mark.parametrize("address", ["192.0.2.53", "10.0.0.1", "2001:db8::1"])
def test_only_a_resolver_on_loopback_can_be_trusted(address: str) -> None:
    with pytest.raises(ResolveError, match="cannot be trusted to validate"):
        Resolver([Nameserver("127.0.0.1"), Nameserver(address)], trusted=True)
    Resolver([Nameserver("127.0.0.1"), Nameserver("::1"), Nameserver("127.0.0.53")], trusted=True)


def test_a_set_up_that_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResolveError, match="at least one nameserver"):
        Resolver([])
    with pytest.raises(ResolveError, match="is no IP address"):
        Resolver([Nameserver("127.0.0.1")], source="here")
    with pytest.raises(ResolveError, match="certificates"):
        Resolver([Nameserver("127.0.0.1", 853, Transport.TLS, ca_file=tmp_path / "absent.pem")])


@pytest.mark.parametrize(("missing", "package"), [(("h2",), "h2"), (("httpx", "httpx2"), "httpx2")])
def test_https_without_its_libraries_says_what_is_missing(
    missing: tuple[str, ...], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h2", sys)
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ResolveError, match=f"needs the Python package {package}"):
        Resolver([Nameserver.from_text("https://127.0.0.1")])


@pytest.mark.parametrize("rtype", [RRType.ANY, RRType.AXFR, RRType.OPT, 46, 0])
async def test_what_is_no_data_cannot_be_looked_up(rtype: int) -> None:
    with pytest.raises(ValueError, match="cannot be looked up"):
        await Resolver([Nameserver("127.0.0.1", 1)]).lookup(CHILD, rtype)


async def test_a_server_at_an_address_that_is_not_allowed_is_not_asked() -> None:
    direct = await Resolver([Nameserver("127.0.0.1", 1)]).ask("127.0.0.1", 1, CHILD, RRType.KEY)
    assert (direct.status, direct.rcode, direct.is_answer) == (Status.FAILED, None, False)
    assert direct.reason == "127.0.0.1 is no address that may be asked"


@pytest.mark.parametrize(
    ("rcode", "authentic", "verdict", "status"),
    [
        (0, True, Verdict.SECURE, Status.NODATA),
        (3, True, Verdict.SECURE, Status.NXDOMAIN),
        (0, False, Verdict.INSECURE, Status.NODATA),
        (2, False, Verdict.BOGUS, Status.FAILED),
        (2, True, Verdict.BOGUS, Status.FAILED),
        (5, True, Verdict.INDETERMINATE, Status.FAILED),
    ],
)
def test_the_word_of_a_trusted_resolver(rcode: int, authentic: bool, verdict: Verdict, status: Status) -> None:
    answer = vouched(Reply(rcode, False, False, authentic, (), ()), CHILD, RRType.KEY, True)
    assert (answer.verdict, answer.status) == (verdict, status)


def test_a_junk_signature_does_not_make_a_wildcards_records_stand_at_the_name() -> None:
    """The resolver validated the RRset by the other one, and hands out both."""
    operator, name = Signer("operator.test."), "_sig0key.victim.example._signal.ns1.operator.test."
    made = operator.expand("*.operator.test.", name, "KEY", KEY)
    junk = made.signatures[0].replace(labels=len(names.labels(names.from_text(name))), key_tag=1)
    assert isinstance(junk, RRSIG)
    for signatures in ((*made.signatures, junk), (junk, *made.signatures)):
        told = replace(reply([replace(made, signatures=signatures)]), authentic=True)
        answer = vouched(told, names.from_text(name), RRType.KEY, True)
        assert (answer.status, answer.is_proven) == (Status.WILDCARD, False)


def test_the_silence_of_one_that_does_not_validate_proves_nothing() -> None:
    answer = vouched(Reply(0, False, False, False, (), ()), CHILD, RRType.KEY, False)
    assert (answer.verdict, answer.status) == (Verdict.INDETERMINATE, Status.NODATA)
    assert "it does not validate" in answer.reason
