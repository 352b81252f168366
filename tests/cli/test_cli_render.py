"""The rendering of messages in dig's style."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from vectors_of import DIRECTORY, VECTORS, Vector
from zonecut.cli.terminal.dig_format import render
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, Rcode, RRClass, RRType
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.receiver.message import responder
from zonecut.receiver.message.responder import Answer

EXPECTED = Path(__file__).parent / "test_cli_render.txt"
CHILD = names.from_text("child.example.")


def vector(ending: str) -> Vector:
    return next(vector for vector in VECTORS if vector.name.endswith(ending))


def rendered(wire: bytes) -> str:
    return render(walk(wire), DEFAULT)


def test_a_vector_is_rendered_as_expected() -> None:
    assert rendered(vector("ED25519_prereq_tcp").wire) + "\n" == EXPECTED.read_text()


def test_a_response_shows_its_extended_error_by_name() -> None:
    error = ExtendedError(DEFAULT.ede_manual_bootstrap_required, "waits")
    request = walk(message.update(7, CHILD, (), (), (message.opt_record(),)))
    text = rendered(responder.respond(request, Answer(Rcode.BADKEY, error)))
    assert ";; ->>HEADER<<- opcode: UPDATE, status: BADKEY, id: 7\n;; flags: qr;" in text
    assert "; EDE: 49162 (Manual Bootstrap Required): (waits)" in text
    assert "; EDNS: version: 0, flags:; udp: 1232" in text


def test_the_two_names_of_rcode_16() -> None:
    update = walk(message.update(7, CHILD, (), (), (message.opt_record(),)))
    assert "status: BADSIG" in rendered(responder.respond(update, Answer(Rcode.BADSIG)))
    query = walk(message.query(7, CHILD, RRType.SOA, additional=(message.opt_record(),)))
    assert "status: BADVERS" in rendered(responder.respond(query, Answer(Rcode.BADVERS)))


def test_a_soa_answer_is_rendered() -> None:
    query = walk(message.query(7, CHILD, RRType.SOA))
    text = rendered(responder.answer_soa(query, CHILD, b"\x01u" + CHILD))
    assert ";; ANSWER SECTION:" in text
    assert "child.example.\t0\tIN\tSOA\tu.child.example. hostmaster.child.example. 0 3600 600 86400 300" in text


def test_what_other_libraries_refuse_is_shown() -> None:
    text = rendered(
        message.update(
            7,
            CHILD,
            (message.name_not_in_use(CHILD), message.rrset_exists(CHILD, RRType.NS)),
            (
                message.add(CHILD, RRType.DS, 2**32 - 1, b"\0\1\x0d\2short"),
                message.add(CHILD, RRType.A, 0, b"\1\2\3"),
                message.add(CHILD, 65280, 0, b"\xab\xcd"),
                message.record(CHILD, RRType.NS, 7, 0, b"\xc0"),
                message.delete_record(CHILD, RRType.NS, b"\x02NS\0"),
            ),
            (message.opt_record(b"\0\x0f\0\x09"),),
        )
    )
    for line in (
        "child.example.\t0\tNONE\tANY",
        "child.example.\t0\tANY\tNS",
        "child.example.\t4294967295\tIN\tDS\t1 13 2 73686F7274",
        "child.example.\t0\tIN\tA\t\\# 3 010203",
        "child.example.\t0\tIN\tTYPE65280\t\\# 2 ABCD",
        "child.example.\t0\tCLASS7\tNS\t\\# 1 C0",
        "child.example.\t0\tNONE\tNS\tNS.",
        "; malformed: EDNS option 15 is longer than its OPT record",
    ):
        assert line in text.splitlines()


@given(st.sampled_from(VECTORS), st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 255)), max_size=4))
def test_whatever_can_be_walked_can_be_rendered(one: Vector, edits: list[tuple[int, int]]) -> None:
    wire = bytearray(one.wire)
    for place, octet in edits:
        wire[place % len(wire)] = octet
    try:
        envelope = walk(bytes(wire))
    except MalformedMessage:
        return
    assert render(envelope, DEFAULT).startswith(";; ->>HEADER<<-")


def test_no_control_character_of_a_stranger_is_rendered() -> None:
    option = ExtendedError(RRClass.IN, "\x1b[2J").to_option()
    update = message.update(7, b"\x01\x1b\0", (), (), (message.opt_record(option),))
    assert "\x1b" not in rendered(update)


def test_the_directory_of_vectors_is_the_one_that_the_text_was_made_of() -> None:
    assert (DIRECTORY / "nsupdate_sig0_ED25519_prereq_tcp.bin").exists()
