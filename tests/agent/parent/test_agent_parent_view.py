"""What servers of a parent zone say about a child, read from their answers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import cast

from resolve_support import rrset
from zonecut.agent.parent.parent_view import MAX_ADDRESSES, MAX_SERVERS, ParentView, ServerView, read_view, view_parent
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.resolve import Addresses, Answer, Direct, Resolver, Status, Verdict
from zonecut.resolve.judgement import classify
from zonecut.resolve.reply import Reply, RRset

PARENT, CHILD = names.from_text("parent.example."), names.from_text("child.parent.example.")
SERVER = names.from_text("ns.parent.example.")
NS1, OUTSIDE = names.from_text("ns1.child.parent.example."), names.from_text("ns.elsewhere.example.")
DS_TEXT = "1 13 2 " + "AB" * 32
DS_RDATA = b"\0\1\x0d\2" + b"\xab" * 32
NS = rrset("child.parent.example.", "NS", "ns1.child.parent.example.", "NS.elsewhere.example.")
GLUE = rrset("ns1.child.parent.example.", "A", "192.0.2.1")
SOA = "ns.example. hostmaster.example. 1 2 3 4 5"
PARENT_SOA, CHILD_SOA = rrset("parent.example.", "SOA", SOA), rrset("child.parent.example.", "SOA", SOA)
DELEGATION = Delegation.of(
    CHILD,
    [
        RR(CHILD, RRType.NS, NS1),
        RR(CHILD, RRType.NS, OUTSIDE),
        RR(CHILD, RRType.DS, DS_RDATA),
        RR(NS1, RRType.A, ip_address("192.0.2.1").packed),
    ],
)


def says(
    rtype: RRType,
    answer: Sequence[RRset] = (),
    authority: Sequence[RRset] = (),
    addresses: Sequence[RRset] = (),
    *,
    rcode: Rcode = Rcode.NOERROR,
    aa: bool = True,
) -> Direct:
    reply = Reply(rcode, aa, False, False, tuple(answer), tuple(authority), tuple(addresses))
    status = classify(reply, CHILD, rtype)
    return Direct("192.0.2.53", 53, CHILD, rtype, status, "as a test says", rcode, aa, reply=reply)


def silent(rtype: RRType) -> Direct:
    return Direct("192.0.2.53", 53, CHILD, rtype, Status.FAILED, "192.0.2.53: silent for 5 s")


def referral(*glue: RRset, ns: RRset = NS) -> Direct:
    return says(RRType.NS, (), [ns], glue, aa=False)


HAS_DS = says(RRType.DS, [rrset("child.parent.example.", "DS", DS_TEXT)])
NO_DS = says(RRType.DS, (), [PARENT_SOA])


def view(ns: Direct, ds: Direct = NO_DS) -> ServerView:
    return read_view(SERVER, PARENT, ns, ds)


def test_a_referral_and_its_glue_and_the_ds_are_the_delegation() -> None:
    assert view(referral(GLUE), HAS_DS).delegation == DELEGATION


def test_addresses_of_others_in_a_referral_are_no_glue() -> None:
    others = [rrset(name, "A", "192.0.2.9") for name in ("ns.elsewhere.example.", "ns9.child.parent.example.")]
    assert view(referral(GLUE, *others), HAS_DS).delegation == DELEGATION


def test_a_name_that_the_parent_does_not_have_or_not_delegate_is_no_delegation() -> None:
    nothing = Delegation(CHILD)
    for rcode in (Rcode.NXDOMAIN, Rcode.NOERROR):
        ns, ds = (says(rtype, (), [PARENT_SOA], rcode=rcode) for rtype in (RRType.NS, RRType.DS))
        assert view(ns, ds).delegation == nothing


def test_a_server_of_the_child_zone_hides_the_parents_side_but_not_its_ds() -> None:
    seen = view(says(RRType.NS, [NS]), HAS_DS)
    assert seen.delegation is None
    assert seen.hides
    assert seen.ds == (DS_RDATA,)
    assert seen.reason == "serves child.parent.example. itself, which hides what the parent zone holds"
    assert view(says(RRType.NS, [NS]), silent(RRType.DS)).ds is None
    assert view(says(RRType.NS, (), [CHILD_SOA]), HAS_DS).hides


def test_ds_from_the_child_zone_are_not_the_parents() -> None:
    seen = view(referral(GLUE), says(RRType.DS, (), [CHILD_SOA]))
    assert seen.delegation is None
    assert seen.reason == "answers DS from child.parent.example., not from parent.example."


def test_a_server_that_does_not_have_the_parent_zone_tells_nothing() -> None:
    up = rrset("example.", "NS", "ns.example.")
    cases: Mapping[str, Direct] = {
        "answers NS with REFUSED": says(RRType.NS, rcode=Rcode.REFUSED, aa=False),
        "answers NS with SERVFAIL": says(RRType.NS, rcode=Rcode.SERVFAIL, aa=False),
        "does not answer: 192.0.2.53: silent for 5 s": silent(RRType.NS),
        "is not authoritative for parent.example.": says(RRType.NS, (), [up], aa=False),
        "answers without authority, as a resolver does": says(RRType.NS, [NS], aa=False),
        "answers from example., not from parent.example.": says(RRType.NS, (), [rrset("example.", "SOA", SOA)]),
        "answers from a zone that it does not name, not from parent.example.": says(RRType.NS),
        "says that child.parent.example. is an alias": says(
            RRType.NS, [rrset("child.parent.example.", "CNAME", "other.example.")]
        ),
    }
    for reason, ns in cases.items():
        seen = view(ns)
        assert seen.delegation is None
        assert not seen.hides
        assert seen.reason == reason


def test_a_delegation_above_the_child_is_named() -> None:
    deep = names.from_text("a.child.parent.example.")
    ns = replace(referral(), name=deep)
    seen = read_view(SERVER, PARENT, ns, replace(NO_DS, name=deep))
    assert seen.reason == "refers to child.parent.example., a delegation above a.child.parent.example."


def test_what_all_say_that_answer_is_agreed() -> None:
    one, other = ServerView(SERVER, "192.0.2.1", DELEGATION), ServerView(SERVER, "192.0.2.2", Delegation(CHILD))
    dumb = ServerView(SERVER, "192.0.2.3", None, "does not answer")
    assert ParentView(PARENT, CHILD, (one, dumb, one)).agreed == DELEGATION
    split = ParentView(PARENT, CHILD, (one, other, dumb))
    assert split.agreed is None
    assert split.missing(DELEGATION) == (other,)
    assert split.describe() == (
        "the servers of parent.example. do not agree; ns.parent.example. (192.0.2.3) does not answer"
    )
    assert ParentView(PARENT, CHILD, (dumb,)).agreed is None
    assert not ParentView(PARENT, CHILD, (dumb,)).is_hidden
    assert ParentView(PARENT, CHILD, (dumb, replace(dumb, hides=True))).is_hidden


class World:
    """A resolver that knows the parent's servers, each with the same addresses, and asks any of them."""

    def __init__(self, servers: int, addresses: Sequence[str], verdict: Verdict = Verdict.INSECURE) -> None:
        self._servers = servers
        self._addresses = addresses
        self._verdict = verdict
        self.asked: list[tuple[str, int]] = []

    async def lookup(self, name: bytes, rtype: int) -> Answer:
        servers = [names.from_text(f"ns{number}.parent.example.") for number in range(self._servers)]
        return self._answer(name, rtype, servers)

    async def addresses(self, name: bytes) -> Addresses:
        parsed = [ip_address(text) for text in self._addresses]
        ipv4, ipv6 = ([each.packed for each in parsed if each.version == version] for version in (4, 6))
        return Addresses(self._answer(name, RRType.A, ipv4), self._answer(name, RRType.AAAA, ipv6))

    def may_ask(self, address: str) -> bool:
        return not address.startswith("10.")

    async def ask(self, address: str, port: int, name: bytes, rtype: int) -> Direct:
        self.asked.append((address, port))
        return replace(HAS_DS if rtype == RRType.DS else referral(GLUE), address=address)

    async def validate(self, direct: Direct) -> Answer:
        return self._answer(direct.name, direct.rtype, direct.rdatas)

    def _answer(self, name: bytes, rtype: int, rdatas: Sequence[bytes]) -> Answer:
        if self._verdict in (Verdict.BOGUS, Verdict.INDETERMINATE):
            return Answer(name, rtype, self._verdict, Status.FAILED, "no")
        return Answer(name, rtype, self._verdict, Status.FOUND if rdatas else Status.NODATA, "", tuple(rdatas))


async def look(world: World, port: int = 53) -> ParentView:
    return await view_parent(cast(Resolver, world), PARENT, CHILD, port=port)


async def test_every_address_of_every_server_is_asked_at_the_port_given() -> None:
    world = World(2, ["192.0.2.1", "2001:db8::1"])
    seen = await look(world, 5300)
    assert sorted(set(world.asked)) == [("192.0.2.1", 5300), ("2001:db8::1", 5300)]
    assert len(world.asked) == 8  # NS and DS each
    assert [server.address for server in seen.servers] == ["192.0.2.1", "2001:db8::1"] * 2
    assert seen.agreed == DELEGATION


async def test_what_a_parent_zone_makes_us_ask_is_bounded() -> None:
    world = World(40, [f"192.0.2.{number}" for number in range(40)])
    seen = await look(world)
    assert len(seen.servers) == MAX_SERVERS * MAX_ADDRESSES


async def test_addresses_that_may_not_be_asked_are_not_and_are_named() -> None:
    world = World(1, ["10.0.0.1"])
    seen = await look(world)
    assert world.asked == []
    assert seen.servers[0].reason == "has only addresses that may not be asked: 10.0.0.1"
    assert (await look(World(1, ["10.0.0.1", "192.0.2.1"]))).agreed == DELEGATION


async def test_a_parent_whose_servers_cannot_be_looked_up_is_one_reason() -> None:
    for verdict in (Verdict.BOGUS, Verdict.INDETERMINATE):
        seen = await look(World(1, ["192.0.2.1"], verdict))
        assert seen.servers == ()
        assert seen.agreed is None
        assert "the name servers of parent.example. are not known" in seen.describe()


class Unsigned(World):
    """Its parent's servers hand out what is not signed there; look-ups find these DS, and they are secure."""

    def __init__(self, *ds: bytes) -> None:
        super().__init__(1, ["192.0.2.1"], Verdict.SECURE)
        self._ds = ds

    async def lookup(self, name: bytes, rtype: int) -> Answer:
        return self._answer(name, rtype, self._ds) if rtype == RRType.DS else await super().lookup(name, rtype)

    async def validate(self, direct: Direct) -> Answer:
        return Answer(direct.name, direct.rtype, Verdict.BOGUS, Status.FAILED, "it is not signed")


async def test_ds_without_signatures_are_worth_what_the_same_from_a_secure_look_up_are() -> None:
    shown = DELEGATION.ds
    (server,) = (await look(Unsigned(*shown))).servers
    assert (server.ds, server.verdict) == (shown, Verdict.SECURE)
    for others in ((), (shown[0][:-1] + b"\0",)):
        (server,) = (await look(Unsigned(*others))).servers
        assert (server.verdict, server.verdict_reason) == (Verdict.BOGUS, "it is not signed")
