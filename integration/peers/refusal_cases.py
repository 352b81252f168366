"""What a verified child may ask for in vain: messages of CHILD, each with the answer that it has to get."""

from refusals import CHILD, Refused
from signer import AAAA, DS, NS, A, address, another_ds, ds, name
from zonecut.protocol import message
from zonecut.protocol.codepoints import RRType

PROHIBITED, OTHER_ERROR = 18, 0
CHILD0 = "child0.parent.test."

SPECIAL_ADDRESSES = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.1.1",
    "172.16.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


def _refused(
    *updates: bytes,
    rcode: str = "REFUSED",
    error: int | None = PROHIBITED,
    rule: str,
    reason: str | tuple[str, ...] = (),
) -> Refused:
    """An UPDATE of CHILD with these records."""
    words = (reason,) if isinstance(reason, str) else reason
    return Refused(lambda edns: CHILD.update(*updates, edns=edns), rcode, error, rule, words)


def _with_glue(host: str, *addresses: str) -> list[bytes]:
    records = [message.add(name(host), AAAA if ":" in text else A, 60, address(text)) for text in addresses]
    return [message.add(CHILD.owner, NS, 60, name(host)), *records]


def _add_ds(**fields: int | bytes) -> bytes:
    return message.add(CHILD.owner, DS, 60, ds(**fields))  # type: ignore[arg-type]


OWNERS = {
    "owner in another child": _refused(
        message.add(name("child1"), DS, 60, ds()), rule="owner-is-child", reason=("child1.parent.test.", CHILD0)
    ),
    "two children in one message": _refused(
        *another_ds(CHILD.owner),
        message.delete_rrset(name("child1"), DS),
        rule="owner-is-child",
        reason="child1.parent.test.",
    ),
    "owner with the child's name as its end, not as its labels": _refused(
        message.add(name("xchild0"), DS, 60, ds()), rule="owner-is-child", reason="xchild0.parent.test."
    ),
    "owner is the parent's apex": _refused(
        message.add(name("parent.test."), NS, 60, name("ns.evil.test.")), rule="owner-is-child", reason="parent.test."
    ),
    "owner is the parent's name server": _refused(
        message.add(name("ns1"), A, 60, address("11.1.1.1")), rule="owner-is-child", reason="ns1.parent.test."
    ),
    "owner outside the zone": _refused(
        message.add(name("www.elsewhere.test."), A, 60, address("11.1.1.1")),
        rcode="NOTZONE",
        error=OTHER_ERROR,
        rule="owner-in-zone",
        reason="www.elsewhere.test.",
    ),
    "owner above the zone": _refused(
        message.delete_name(name("test.")),
        rcode="NOTZONE",
        error=OTHER_ERROR,
        rule="owner-in-zone",
        reason="test.",
    ),
    "NS below the child": _refused(
        message.add(name("sub.child0"), NS, 60, name("ns.elsewhere.test.")),
        rule="cut-at-child",
        reason="sub.child0.parent.test. NS",
    ),
    "DS below the child": _refused(
        message.add(name("sub.child0"), DS, 60, ds()), rule="cut-at-child", reason="sub.child0.parent.test. DS"
    ),
    "NS deleted below the child": _refused(
        message.delete_rrset(name("sub.child0"), NS), rule="cut-at-child", reason="sub.child0.parent.test. NS"
    ),
    "glue at a name of another child": _refused(
        message.add(CHILD.owner, NS, 60, name("ns1.child1")),
        message.add(name("ns1.child1"), A, 60, address("11.1.1.1")),
        rule="owner-is-child",
        reason="ns1.child1.parent.test.",
    ),
}

TYPES = {
    "TXT": _refused(message.add(CHILD.owner, 16, 60, b"\x01x"), rule="delegation-types", reason=f"{CHILD0} TXT"),
    "TXT at a name server": _refused(
        message.add(name("ns1.child0"), 16, 60, b"\x01x"), rule="delegation-types", reason="ns1.child0.parent.test."
    ),
    "CNAME": _refused(
        message.add(CHILD.owner, 5, 60, name("www.elsewhere.test.")), rule="delegation-types", reason=f"{CHILD0} CNAME"
    ),
    "SOA": _refused(message.delete_rrset(CHILD.owner, 6), rule="delegation-types", reason=f"{CHILD0} SOA"),
    "DNSKEY": _refused(
        message.add(CHILD.owner, 48, 60, b"\x01\x01\x03\x0f" + bytes(32)),
        rule="delegation-types",
        reason=f"{CHILD0} DNSKEY",
    ),
    "CDS": _refused(message.add(CHILD.owner, 59, 60, ds()), rule="delegation-types", reason=CHILD0),
    "DNAME": _refused(message.delete_record(CHILD.owner, 39, name("x.test.")), rule="delegation-types", reason="DNAME"),
    "SPF": _refused(message.add(CHILD.owner, 99, 60, b"\x01x"), rule="delegation-types", reason=f"{CHILD0} SPF"),
    "an unknown type": _refused(
        message.add(CHILD.owner, 65280, 60, b"x"), rule="delegation-types", reason=f"{CHILD0} TYPE65280"
    ),
    "KEY mixed with NS": _refused(
        message.add(CHILD.owner, RRType.KEY, 60, CHILD.pair.key.rdata),
        message.add(CHILD.owner, NS, 60, name("ns.elsewhere.test.")),
        rule="kinds-mixed",
        reason="KEY",
    ),
    "KEY mixed with the deletion of a name": _refused(
        message.add(CHILD.owner, RRType.KEY, 60, CHILD.pair.key.rdata),
        message.delete_name(CHILD.owner),
        rule="kinds-mixed",
        reason="KEY",
    ),
    "KEY below the child": _refused(
        message.add(name("sub.child0"), RRType.KEY, 60, CHILD.pair.key.rdata),
        rule="key-at-child",
        reason="sub.child0.parent.test.",
    ),
}

NAME_SERVERS = {
    "NS RRset deleted, DS left": _refused(
        message.delete_rrset(CHILD.owner, NS), rule="ns-count", reason=f"{CHILD0} NS: the last name server"
    ),
    "everything deleted": _refused(
        message.delete_name(CHILD.owner), rule="ns-count", reason=f"{CHILD0} NS: the last name server"
    ),
    "each NS deleted by itself": _refused(
        *(message.delete_record(CHILD.owner, NS, name(f"ns{number}.child0")) for number in (1, 2)),
        rule="ns-count",
        reason=f"{CHILD0} NS: the last name server",
    ),
    "fewer NS than the parent wants": _refused(
        message.delete_record(CHILD.owner, NS, name("ns2.child0")), rule="ns-count", reason=("1 name server", "2")
    ),
    "more NS than the parent takes": _refused(
        *(message.add(CHILD.owner, NS, 60, name(f"ns{number}.elsewhere.test.")) for number in range(12)),
        rule="ns-count",
        reason=("14 name servers", "13"),
    ),
    "NS that is no host name": _refused(
        message.add(CHILD.owner, NS, 60, name("_ns.elsewhere.test.")), rule="ns-names", reason="_ns.elsewhere.test."
    ),
    "NS that is the root": _refused(message.add(CHILD.owner, NS, 60, b"\0"), rule="ns-names", reason=f"{CHILD0} NS ."),
    "NS without glue": _refused(
        message.add(CHILD.owner, NS, 60, name("ns9.child0")), rule="glue-for-ns", reason=f"{CHILD0} NS ns9.{CHILD0}"
    ),
    "NS at the child itself without glue": _refused(
        message.add(CHILD.owner, NS, 60, CHILD.owner), rule="glue-for-ns", reason=f"{CHILD0} NS {CHILD0}"
    ),
    "glue of an NS deleted": _refused(
        message.delete_rrset(name("ns2.child0"), A), rule="glue-for-ns", reason=f"{CHILD0} NS ns2.{CHILD0}"
    ),
    "all at an NS's name deleted": _refused(
        message.delete_name(name("ns1.child0")), rule="glue-for-ns", reason=f"{CHILD0} NS ns1.{CHILD0}"
    ),
    "glue without NS": _refused(
        message.add(name("www.child0"), A, 60, address("11.1.1.1")),
        rule="glue-of-ns-only",
        reason=f"www.{CHILD0} A 11.1.1.1",
    ),
    "glue at the child without NS": _refused(
        message.add(CHILD.owner, AAAA, 60, address("2610::1")), rule="glue-of-ns-only", reason=f"{CHILD0} AAAA 2610::1"
    ),
    "more addresses than the parent takes": _refused(
        *_with_glue("ns9.child0", *(f"11.1.1.{number}" for number in range(9))),
        rule="glue-count",
        reason=(f"ns9.{CHILD0}", "9 addresses"),
    ),
}

DS_RECORDS = {
    "SHA-1": _refused(
        _add_ds(digest_type=1, digest=bytes(20)), rule="ds-digest", reason=f"{CHILD0} DS 4711 13 1 {'00' * 20}"
    ),
    "GOST": _refused(_add_ds(digest_type=3), rule="ds-digest", reason="digest type 3"),
    "an unknown digest type": _refused(_add_ds(digest_type=77), rule="ds-digest", reason="digest type 77"),
    "SHA-256 too short": _refused(_add_ds(digest=bytes(31)), rule="ds-digest", reason=(f"{CHILD0} DS", "31 octets")),
    "SHA-256 too long": _refused(_add_ds(digest=bytes(33)), rule="ds-digest", reason=(f"{CHILD0} DS", "33 octets")),
    "SHA-384 of the length of SHA-256": _refused(
        _add_ds(digest_type=4, digest=bytes(32)), rule="ds-digest", reason=(f"{CHILD0} DS", "32 octets", "48")
    ),
    "deletion as CDS asks for it": _refused(
        _add_ds(tag=0, algorithm=0, digest_type=0, digest=b"\0"), rule="ds-digest", reason=f"{CHILD0} DS 0 0 0 00"
    ),
    "RSASHA1": _refused(_add_ds(algorithm=5), rule="ds-algorithm", reason=(f"{CHILD0} DS", "algorithm 5")),
    "algorithm 0": _refused(_add_ds(algorithm=0), rule="ds-algorithm", reason=(f"{CHILD0} DS", "algorithm 0")),
    "an unknown algorithm": _refused(
        _add_ds(algorithm=200), rule="ds-algorithm", reason=(f"{CHILD0} DS", "algorithm 200")
    ),
    "too many DS": _refused(
        *(_add_ds(tag=number) for number in range(6)), rule="ds-count", reason=(f"{CHILD0} DS", "7 records", "6")
    ),
}


FIRST = "record 1 of the update section"


def _malformed(*updates: bytes, reason: str) -> Refused:
    return _refused(*updates, rcode="FORMERR", error=OTHER_ERROR, rule="malformed", reason=reason)


FORM = {
    "class CH": _malformed(message.record(CHILD.owner, NS, 3, 60, name("ns.x.test.")), reason=FIRST),
    "class 0": _malformed(message.record(CHILD.owner, NS, 0, 60, name("ns.x.test.")), reason=FIRST),
    "class ANY with data": _malformed(message.record(CHILD.owner, NS, 255, 0, name("ns.x.test.")), reason=FIRST),
    "class ANY with a TTL": _malformed(message.record(CHILD.owner, NS, 255, 60), reason=FIRST),
    "class NONE with a TTL": _malformed(message.record(CHILD.owner, DS, 254, 60, ds()), reason=FIRST),
    "class NONE, type ANY": _malformed(message.record(CHILD.owner, 255, 254, 0, b"x"), reason=FIRST),
    "type ANY added": _malformed(message.record(CHILD.owner, 255, 1, 60, b"x"), reason=FIRST),
    "type AXFR added": _malformed(message.record(CHILD.owner, 252, 1, 60, b"x"), reason=FIRST),
    "type AXFR deleted": _malformed(message.record(CHILD.owner, 252, 255, 0), reason=FIRST),
    "type 0": _malformed(message.record(CHILD.owner, 0, 1, 60, b"x"), reason=FIRST),
    "a TTL of 2^31": _malformed(message.add(CHILD.owner, DS, 2**31, ds()), reason=FIRST),
    "a TTL of 2^32 - 1": _malformed(message.add(CHILD.owner, DS, 2**32 - 1, ds()), reason=FIRST),
    "A of three octets": _malformed(message.add(name("ns1.child0"), A, 60, b"\x0b\1\1"), reason=FIRST),
    "A of no octets": _malformed(message.add(name("ns1.child0"), A, 60, b""), reason=FIRST),
    "AAAA of four octets": _malformed(message.add(name("ns1.child0"), AAAA, 60, b"\x0b\1\1\1"), reason=FIRST),
    "NS without a name": _malformed(message.add(CHILD.owner, NS, 60, b""), reason=FIRST),
    "NS with octets after its name": _malformed(
        message.add(CHILD.owner, NS, 60, name("ns.x.test.") + b"x"), reason=FIRST
    ),
    "NS with a label that does not exist": _malformed(
        message.add(CHILD.owner, NS, 60, b"\x80ns\0"), reason="label type"
    ),
    "DS of four octets": _malformed(message.add(CHILD.owner, DS, 60, b"\0\1\x0d\2"), reason=FIRST),
}

CONDITIONS = {
    "an RRset that should exist": (message.rrset_exists(name("ns2.child0"), AAAA), "NXRRSET", "ns2.child0"),
    "an RRset with other data": (message.rrset_holds(CHILD.owner, NS, name("ns.x.test.")), "NXRRSET", CHILD0),
    "an RRset with more data": (message.rrset_holds(CHILD.owner, NS, name("ns1.child0")), "NXRRSET", CHILD0),
    "an RRset that should not exist": (message.rrset_absent(CHILD.owner, NS), "YXRRSET", CHILD0),
    "a name that should be in use": (message.name_in_use(name("nobody.child0")), "NXDOMAIN", "nobody.child0"),
    "a name that should not be in use": (message.name_not_in_use(CHILD.owner), "YXDOMAIN", CHILD0),
}
# What others have is nobody's to ask: the answer is the same whether it is there or not.
NOT_TO_ASK = {
    "another child's NS": (message.rrset_exists(name("child1"), NS), "REFUSED", PROHIBITED, "owner-is-child"),
    "what another child lacks": (message.rrset_absent(name("child1"), NS), "REFUSED", PROHIBITED, "owner-is-child"),
    "a name of the parent": (message.name_in_use(name("ns1")), "REFUSED", PROHIBITED, "owner-is-child"),
    "a name that the parent lacks": (message.name_in_use(name("secret")), "REFUSED", PROHIBITED, "owner-is-child"),
    "the apex": (message.rrset_exists(name("parent.test."), NS), "REFUSED", PROHIBITED, "owner-is-child"),
    "a name outside": (message.name_in_use(name("www.elsewhere.test.")), "NOTZONE", OTHER_ERROR, "owner-in-zone"),
    "TXT of the child": (message.rrset_exists(CHILD.owner, 16), "REFUSED", PROHIBITED, "delegation-types"),
    "NS below the child": (message.rrset_exists(name("x.child0"), NS), "REFUSED", PROHIBITED, "cut-at-child"),
    "with a TTL": (message.record(CHILD.owner, NS, 255, 60), "FORMERR", OTHER_ERROR, "malformed"),
    "with data and class ANY": (message.record(CHILD.owner, NS, 255, 0, b"x"), "FORMERR", OTHER_ERROR, "malformed"),
    "with class CH": (message.record(CHILD.owner, NS, 3, 0), "FORMERR", OTHER_ERROR, "malformed"),
    "type ANY with class IN": (message.record(CHILD.owner, 255, 1, 0), "FORMERR", OTHER_ERROR, "malformed"),
}
PREREQUISITES = {
    what: Refused(
        lambda edns, record=record: CHILD.update(*another_ds(CHILD.owner), prerequisites=[record], edns=edns),  # type: ignore[misc]
        rcode,
        OTHER_ERROR,
        "prerequisite",
        (owner,),
    )
    for what, (record, rcode, owner) in CONDITIONS.items()
} | {
    what: Refused(
        lambda edns, record=record: CHILD.update(  # type: ignore[misc]
            *another_ds(CHILD.owner), prerequisites=[message.name_not_in_use(CHILD.owner), record], edns=edns
        ),
        rcode,
        error,
        rule,
    )
    for what, (record, rcode, error, rule) in NOT_TO_ASK.items()
}
ADDRESSES = {
    text: _refused(*_with_glue("ns9.child0", text), rule="glue-global", reason=f"ns9.{CHILD0}")
    for text in SPECIAL_ADDRESSES
}

REFUSED = {
    f"{group}: {what}": refused
    for group, cases in {
        "owner": OWNERS,
        "type": TYPES,
        "name servers": NAME_SERVERS,
        "address": ADDRESSES,
        "DS": DS_RECORDS,
        "form": FORM,
        "prerequisite": PREREQUISITES,
    }.items()
    for what, refused in cases.items()
}
