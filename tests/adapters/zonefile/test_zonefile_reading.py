"""The adapter `zonefile` reads master files as RFC 1035 section 5.1 writes them, and as people do."""

from pathlib import Path

import pytest

from zonecut.plugin import BackendMisconfigured, BackendRejected, BackendUnavailable
from zonecut.protocol import names
from zonecut_zonefile.master.lexer import LineError, locate, logical_lines
from zonecut_zonefile.master.lines import Lines
from zonefile_support import APEX, PARENT, Parent, delegation, listed

A = "a.parent.example."
ADDRESS = "ns1.a.parent.example. A 192.0.2.10"
DIGEST = "ab" * 32
EXPECTED = delegation(A, "NS ns1.a.parent.example.", "NS ns.elsewhere.example.", f"DS 1 13 2 {DIGEST}", ADDRESS)


@pytest.fixture
def parent(tmp_path: Path) -> Parent:
    return Parent(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        f"a NS ns1.a\na NS ns.elsewhere.example.\na DS 1 13 2 {DIGEST}\nns1.a A 192.0.2.10\n",
        f"a NS ns1.a\n NS ns.elsewhere.example.\n\tDS 1 13 2 {DIGEST}\nns1.a A 192.0.2.10",
        f"a IN 300 NS ns1.a\na 300 IN NS ns.elsewhere.example.\na 1h30m DS 1 13 2 {DIGEST}\nns1.a IN A 192.0.2.10\n",
        f"A.Parent.EXAMPLE. ns NS1.A\n ns NS.Elsewhere.example.\n ds 1 13 2 {DIGEST.upper()}\nNS1.A a 192.0.2.10\n",
        f"$ORIGIN a\n@ NS ns1\n NS ns.elsewhere.example.\n DS 1 ECDSAP256SHA256 2 {DIGEST}\nns1 A 192.0.2.10\n",
        (
            f"$origin A.parent.example.\n@ NS (\n ns1 ; one (\n)\n NS ns.elsewhere.example.\n"
            f"@ DS ( 1 13 2 ; half )\n {DIGEST[:32]}\n\n {DIGEST[32:]} )\nns1 A ( 192.0.2.10 )\n"
        ),
        f"a\tNS\tns1.a\r\n\tNS\tns.elsewhere.example. ; x\r\n\tDS\t1 13 2 (\r\n{DIGEST} )\r\nns1.a\tA\t192.0.2.10\r\n",
        (
            f'x TXT "a;b(" ; a NS no\na NS ns1.a\n;a NS other\n NS ns.elsewhere.example.\n DS 1 13 2 {DIGEST}\n'
            "ns1.a A 192.0.2.10\n"
        ),
        f"\\097 NS ns1.\\a\n NS ns.elsewhere.example.\n DS \\# 36 00010D02{DIGEST}\nns1.a A \\# 4 C000020A\n",
        f"( a NS\nns1.a )\n\n \n  ; no\n NS ns.elsewhere.example.\n DS 1 13 2 {DIGEST}\nns1.a CLASS1 A 192.0.2.10\n",
        f"$GENERATE 1-1 ns$.a A 192.0.2.1${{-1,1}}\na NS ns1.a\n NS ns.elsewhere.example.\n DS 1 13 2 {DIGEST}\n",
        f"a NS ns1.a\na NS ns1.a\n NS ns.elsewhere.example.\n TYPE43 1 13 2 {DIGEST}\nns1.a A 192.0.2.10\n",
    ],
)
async def test_a_delegation_is_seen_however_it_is_written(parent: Parent, text: str) -> None:
    backend = await parent.hold(APEX + text).opened()
    reading = await backend.read(EXPECTED.child)
    assert reading.delegation == EXPECTED
    assert await listed(backend) == {EXPECTED.child: EXPECTED}


async def test_delegations_in_other_included_files_are_seen_and_the_origin_comes_back(parent: Parent) -> None:
    (parent.directory / "more").write_text("$ORIGIN b\n@ NS ns1\nns1 A 192.0.2.2\n$INCLUDE deeper c.parent.example.\n")
    (parent.directory / "deeper").write_text("@ NS ns.x.\n")
    backend = await parent.hold(APEX + "$INCLUDE more\nd NS ns.d\n$INCLUDE deeper e\n").opened()
    assert set(await listed(backend)) == {names.from_text(f"{label}.parent.example.") for label in "bcde"}
    (parent.directory / "deeper").write_text("f NS ns.x.\n")
    assert names.from_text("f.c.parent.example.") in await listed(backend)


async def test_what_lies_above_and_below_a_name_is_told(parent: Parent) -> None:
    backend = await parent.hold(APEX + "a NS ns.a\nx.b NS ns.x.b\ny.b NS n.\nns.x.b A 192.0.2.4\n").opened()
    below = await backend.read(names.from_text("c.b.a.parent.example."))
    assert (below.enclosing, below.nested, below.delegation.is_delegated) == (names.from_text(A), (), False)
    above = await backend.read(names.from_text("b.parent.example."))
    assert above.enclosing is None
    assert above.nested == (names.from_text("x.b.parent.example."), names.from_text("y.b.parent.example."))
    assert above.delegation.glue == ()


async def test_data_of_the_zone_itself_is_no_delegation(parent: Parent) -> None:
    backend = await parent.hold(APEX + "www A 192.0.2.80\nout.example. NS ns.out.example.\n").opened()
    assert await listed(backend) == {}
    reading = await backend.read(names.from_text("www.parent.example."))
    assert reading.delegation == delegation("www.parent.example.")
    for outside in (PARENT, names.from_text("other.example."), names.from_text("xparent.example.")):
        with pytest.raises(BackendRejected, match="is not below the zone"):
            await backend.read(outside)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a NS (\n ns1.a\n", 8, "a parenthesis is not closed"),
        ("a NS ns1.a )\n", 8, "closed that was not opened"),
        ('a TXT "half\n', 8, "a quote is not closed"),
        ("a NS ns1.a\\", 8, "a backslash at its end"),
        ("\na NX ns1.a\n", 9, "'NX' is no RR type"),
        ("a\n", 8, "has no type"),
        ("a IN 300\n", 8, "has no type"),
        ("a CH NS ns1.a\n", 8, "another class"),
        ("a NS ns1..a\n", 8, "an empty label"),
        ("a A 192.0.2\n", 8, "Expected 4 octets"),
        ("a AAAA 2001:db8::g\n", 8, "2001:db8::g"),
        ("a DS 1 13 2 xyz\n", 8, "hexadecimal"),
        ("a DS 70000 13 2 ab\n", 8, "too large"),
        ("a MX ten mail\n", 8, "this is no MX record"),
        ("@ SOA ns1 x 1 2 3 4 5\n", 8, "has an SOA already"),
        ("a SOA ns1 x 1 2 3 4 5\n", 8, "an SOA at a.parent.example."),
        ("$INCLUDE missing\n", 8, "cannot read"),
        ("$GENERATE 1-x a$ NS ns\n", 8, "this $GENERATE"),
        ("$TTL x\n", 8, "$TTL is not known, or not with these arguments"),
        ("$FOO\n", 8, "$FOO is not known"),
    ],
)
async def test_a_file_in_the_middle_of_an_edit_is_unavailable_with_its_line(
    parent: Parent, text: str, line: int, reason: str
) -> None:
    backend = await parent.hold(APEX).opened()
    parent.hold(APEX + text)
    with pytest.raises(BackendUnavailable) as error:
        await backend.read(EXPECTED.child)
    assert f"{parent.zone_file}, line {line}: " in error.value.reason
    assert reason in error.value.reason
    parent.hold(APEX + "a NS ns.b.\n")
    assert (await backend.read(EXPECTED.child)).delegation.is_delegated


async def test_an_error_in_an_included_file_names_that_file(parent: Parent) -> None:
    (parent.directory / "more").write_text("\nb NS (\n")
    with pytest.raises(BackendUnavailable, match=r"/more, line 2: a parenthesis"):
        await parent.hold(APEX + "$INCLUDE more\n").opened()
    (parent.directory / "more").write_text(" NS ns\n$INCLUDE more\n")
    with pytest.raises(BackendUnavailable, match="nested more than 16 deep"):
        await parent.opened()


async def test_the_first_record_needs_an_owner(parent: Parent) -> None:
    with pytest.raises(BackendUnavailable, match="line 2: there is no record before it"):
        await parent.hold(" NS ns1\n" + APEX).opened()


@pytest.mark.parametrize(
    "line",
    ["", "; {line}\n", "$INCLUDE a/parent.example.delegations\n", "$INCLUDE {path} a\n", "\\$INCLUDE TXT {path}\n"],
)
async def test_without_the_include_line_open_says_what_to_add(parent: Parent, line: str) -> None:
    parent.hold(APEX + line.format(line=parent.include_line, path=parent.include), include=False)
    (parent.directory / "a").mkdir()
    (parent.directory / "a" / parent.include.name).write_text("")
    with pytest.raises(BackendMisconfigured) as error:
        await parent.opened()
    assert error.value.reason.endswith(": " + parent.include_line)
    assert not parent.include.exists()


@pytest.mark.parametrize(
    "line",
    [
        "$INCLUDE parent.example.delegations\n",
        '$include "parent.example.delegations" parent.example.\n',
        "$INCLUDE ./parent.example.delegations @ ; ours\r\n",
        "$ORIGIN example.\n$INCLUDE parent.example.delegations parent\n",
    ],
)
async def test_any_spelling_of_the_include_line_will_do(parent: Parent, line: str) -> None:
    await parent.hold(APEX + line, include=False).opened()
    assert parent.include.read_text().startswith("; Generated by zonecut")


async def test_a_zone_without_an_soa_of_its_own_is_misconfigured(parent: Parent) -> None:
    with pytest.raises(BackendMisconfigured, match=r"holds no SOA of parent\.example\."):
        await parent.hold("@ 300 NS ns1\n").opened()


@pytest.mark.parametrize(
    ("line", "cure"),
    [
        ("@ NSEC a NS SOA RRSIG NSEC DNSKEY", "unsigned file.*dnssec-policy"),
        ("@ NSEC3PARAM 1 0 0 -", "unsigned file.*dnssec-signing"),
        (f"a DS 1 13 2 {'ab' * 32}\na RRSIG DS 13 3 60 20370101000000 20250101000000 1 @ AAAA", "unsigned file"),
        (f"@ ZONEMD 1 1 1 {'cd' * 48}", "take the ZONEMD out"),
    ],
)
async def test_a_zone_that_was_signed_or_digested_is_refused_wherever_that_stands(
    parent: Parent, line: str, cure: str
) -> None:
    """As dnssec-signzone leaves it, also with its option -D: what it made is in a file that the zone includes."""
    number = len(f"{APEX}{line}".splitlines()) + 1
    parent.hold(f"{APEX}{line}\n")
    with pytest.raises(BackendMisconfigured, match=rf"line {number} on, holds .*{cure}"):
        await parent.backend().open()
    other = parent.directory / "made.zone"
    other.write_text(f"$TTL 60\n{line}\n")
    parent.hold(f"{APEX}$INCLUDE {other}\n")
    with pytest.raises(BackendMisconfigured, match=rf"made\.zone, from line \d on, holds .*{cure}"):
        await parent.backend().open()


def test_words_are_found_where_they_stand() -> None:
    lines = Lines(b'x TXT (\r\n "a;b" ; c\n\\;d ) ; (\ny A 1\n')
    words, height = locate(lines, 0)
    assert height == 3
    assert [(word.text, word.at, lines[word.at][word.start : word.end]) for word in words] == [
        (b"x", 0, b"x"),
        (b"TXT", 0, b"TXT"),
        (b'"a;b"', 1, b'"a;b"'),
        (b"\\;d", 2, b"\\;d"),
    ]
    assert [line.at for line in logical_lines(lines)] == [0, 3]
    with pytest.raises(LineError, match="not opened"):
        list(logical_lines([b")\n"]))
