"""RFC 5155 section 8: what NSEC3 records prove, with and without opt-out, and what they are misused for."""

from base64 import b32hexencode
from hashlib import sha1
from typing import Any

import pytest
from dns.rdatatype import RdataType

from resolve_support import NOW, Signer, reply, work
from zonecut.protocol import names
from zonecut.resolve.denial import Denial
from zonecut.resolve.failures import Undecided
from zonecut.resolve.judgement import judge
from zonecut.resolve.nsec import Proof
from zonecut.resolve.reply import RRset
from zonecut.resolve.values import Status, Verdict

ZONE = Signer("test.")
SALT = "aabb"
ROUNDS = 3
ALL = 1 << 160


def hashed(name: str, iterations: int = ROUNDS) -> int:
    """RFC 5155 section 5, written once more."""
    salt = bytes.fromhex(SALT)
    digest = sha1(names.from_text(name) + salt).digest()
    for _ in range(iterations):
        digest = sha1(digest + salt).digest()
    return int.from_bytes(digest)


def _text(value: int) -> str:
    return b32hexencode((value % ALL).to_bytes(20)).decode().lower()


def record(
    owner: int,
    following: int,
    *types: str,
    flags: int = 0,
    iterations: int = ROUNDS,
    algorithm: int = 1,
    **options: Any,
) -> RRset:
    signer: Signer = options.pop("signer", ZONE)
    rdata = f"{algorithm} {flags} {iterations} {SALT} {_text(following)} {' '.join(types)}"
    return signer.sign(f"{_text(owner)}.{signer.apex}", "NSEC3", rdata, **options)


def matching(name: str, *types: str, **options: Any) -> RRset:
    """The record of a name that exists."""
    owner = hashed(name, options.get("iterations", ROUNDS))
    return record(owner, owner + 1, *types, **options)


def covering(name: str, **options: Any) -> RRset:
    """A record of other names in whose gap this one would be."""
    middle = hashed(name, options.get("iterations", ROUNDS))
    return record(middle - 1, middle + 1, "A", **options)


APEX = matching("test.", "NS", "SOA", "DNSKEY")


def prove(name: str, rtype: str, *records: RRset, **limits: Any) -> Proof | None:
    spent = work(**limits)
    try:
        denial = Denial.read(records, ZONE.zone, NOW, spent)
        return denial.prove(names.from_text(name), RdataType[rtype], spent)
    except Undecided:
        return None


def test_the_hash_of_rfc_5155_appendix_a() -> None:
    salt = bytes.fromhex("aabbccdd")
    digest = sha1(names.from_text("example.") + salt).digest()
    for _ in range(12):
        digest = sha1(digest + salt).digest()
    assert b32hexencode(digest).decode().lower() == "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"


@pytest.mark.parametrize(
    ("name", "rtype", "records", "proof"),
    [
        ("host.test.", "KEY", [matching("host.test.", "A")], Proof.NO_DATA),
        ("ent.test.", "DS", [matching("ent.test.")], Proof.NO_DATA),
        ("child.test.", "DS", [matching("child.test.", "NS")], Proof.DELEGATION),
        ("b.test.", "KEY", [APEX, covering("b.test."), covering("*.test.")], Proof.NO_NAME),
        ("x.y.b.test.", "KEY", [APEX, covering("b.test."), covering("*.test.")], Proof.NO_NAME),
        ("b.test.", "KEY", [APEX, covering("b.test."), matching("*.test.", "A")], Proof.NO_DATA),
        # RFC 5155 section 8.6
        ("child.test.", "DS", [APEX, covering("child.test.", flags=1)], Proof.OPT_OUT),
        ("b.test.", "KEY", [APEX, covering("b.test.", flags=1), covering("*.test.")], Proof.OPT_OUT),
    ],
)
def test_proofs(name: str, rtype: str, records: list[RRset], proof: Proof) -> None:
    assert prove(name, rtype, *records) is proof


@pytest.mark.parametrize(
    ("why", "name", "rtype", "records"),
    [
        ("the type is there", "host.test.", "A", [matching("host.test.", "A")]),
        ("a CNAME is there", "host.test.", "KEY", [matching("host.test.", "CNAME")]),
        ("the closest encloser is missing", "b.test.", "KEY", [covering("b.test."), covering("*.test.")]),
        ("the next closer name is not covered", "b.test.", "KEY", [APEX, covering("*.test.")]),
        ("the wildcard is not denied", "b.test.", "KEY", [APEX, covering("b.test.")]),
        ("the wildcard has it", "b.test.", "A", [APEX, covering("b.test."), matching("*.test.", "A")]),
        ("no opt-out, and no wildcard proof", "child.test.", "DS", [APEX, covering("child.test.")]),
        ("the child's side of the cut", "child.test.", "DS", [matching("child.test.", "NS", "SOA")]),
        ("the parent's side of the cut", "child.test.", "KEY", [matching("child.test.", "NS")]),
        (
            "below a delegation (RFC 5155 8.3)",
            "www.child.test.",
            "KEY",
            [matching("child.test.", "NS"), covering("www.child.test."), covering("*.child.test.")],
        ),
        (
            "below a DNAME (RFC 5155 8.3)",
            "www.d.test.",
            "KEY",
            [matching("d.test.", "DNAME"), covering("www.d.test."), covering("*.d.test.")],
        ),
        ("an unknown hash algorithm", "child.test.", "DS", [matching("child.test.", "NS", algorithm=2)]),
        ("unknown flags", "child.test.", "DS", [matching("child.test.", "NS", flags=2)]),
        ("other parameters", "b.test.", "KEY", [APEX, covering("b.test."), covering("*.test.", iterations=2)]),
        (
            "other parameters, though the hash would fit",
            "b.test.",
            "KEY",
            [APEX, covering("b.test."), record(hashed("*.test.") - 1, hashed("*.test.") + 1, "A", iterations=2)],
        ),
        ("a name outside the zone", "b.example.", "KEY", [APEX, covering("b.example."), covering("*.example.")]),
        ("too many iterations", "child.test.", "DS", [matching("child.test.", "NS", iterations=101)]),
        ("another zone's", "child.test.", "DS", [matching("child.test.", "NS", signer=Signer("other."))]),
    ],
)
def test_what_proves_nothing(why: str, name: str, rtype: str, records: list[RRset]) -> None:
    assert prove(name, rtype, *records) is None, why


def test_an_nsec3_that_does_not_stand_right_below_the_apex_is_ignored() -> None:
    rdata = f"1 0 {ROUNDS} {SALT} {_text(hashed('child.test.') + 1)} NS"
    deep = ZONE.sign(f"{_text(hashed('child.test.'))}.deep.test.", "NSEC3", rdata)
    assert prove("child.test.", "DS", deep) is None


def test_the_record_that_points_back_to_the_first_covers_both_ends() -> None:
    around = record(hashed("b.test.") - 1, 0, "A")
    assert prove("b.test.", "KEY", APEX, around, covering("*.test.")) is Proof.NO_NAME
    before = record(ALL - 1, hashed("b.test.") + 1, "A")
    assert prove("b.test.", "KEY", APEX, before, covering("*.test.")) is Proof.NO_NAME


def test_hashing_is_bounded_however_long_the_name() -> None:
    """CVE-2023-50868: many labels times many iterations."""
    deep = "a." * 100 + "test."
    records = [matching("other.test.", "A", iterations=100)]
    spent = work(hashes=1000)
    denial = Denial.read(records, ZONE.zone, NOW, spent)
    with pytest.raises(Undecided, match="more than 1000 rounds"):
        denial.prove(names.from_text(deep), RdataType.KEY, spent)


def test_behind_opt_out_nothing_is_secure() -> None:
    authority = [APEX, covering("b.test.", flags=1), covering("*.test.")]
    answer = judge(
        reply(authority=authority, rcode=3), names.from_text("b.test."), RdataType.KEY, ZONE.zone, NOW, work()
    )
    assert (answer.status, answer.verdict) == (Status.NXDOMAIN, Verdict.INSECURE)
    assert not answer.is_proven_absent


@pytest.mark.parametrize(
    ("authority", "verdict"),
    [
        ([covering("b.test.")], Verdict.SECURE),
        ([], Verdict.INDETERMINATE),
        ([covering("y.b.test.")], Verdict.INDETERMINATE),
    ],
)
def test_a_wildcard_answers_only_where_the_next_closer_name_is_denied(authority: list[RRset], verdict: Verdict) -> None:
    made = ZONE.expand("*.test.", "y.b.test.", "KEY", "512 3 15 AAAA")
    answer = judge(reply([made], authority), names.from_text("y.b.test."), RdataType.KEY, ZONE.zone, NOW, work())
    assert (answer.status, answer.verdict) == (Status.WILDCARD, verdict)
