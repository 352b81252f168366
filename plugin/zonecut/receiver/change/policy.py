"""May this child become this? Every check that needs no look-up (RFC 7344, 7477, 8078, 9471, 9975), each one named.

Pure: a rule takes a delegation and the parent zone's settings, and says what is wrong in words that name the record.
Judged is what a change makes worse: what was wrong before and is no worse after it keeps nobody from mending something
else, or from mending that step by step. But where a good one was, a good one has to remain: what is tolerated beside
it never becomes all that there is.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from zonecut.protocol import names
from zonecut.protocol.addresses import is_global
from zonecut.protocol.codepoints import EdeCode, RRType
from zonecut.protocol.delegation import Delegation, Ttls, rdata_text
from zonecut.protocol.dnssec import DIGEST_LENGTH, DIGESTS, ZONE_ALGORITHMS
from zonecut.protocol.errors import Refusal

Ttl = NonNegativeInt


class TtlSettings(BaseModel):
    """`policy.ttl`: the TTLs, in seconds, with which delegations are published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ns: Ttl = Field(86400, le=2**31 - 1)
    ds: Ttl = Field(3600, le=2**31 - 1)
    glue: Ttl = Field(86400, le=2**31 - 1)

    def to_ttls(self) -> Ttls:
        return Ttls(self.ns, self.ds, self.glue)


class Policy(BaseModel):
    """`policy` of a parent zone: what a delegation may look like."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_ns: PositiveInt = Field(1, description="The fewest name servers; 2 is recommended.")
    max_ns: PositiveInt = Field(13, description="The most name servers.")
    max_ds: NonNegativeInt = Field(6, description="The most DS records.")
    max_addresses_per_name: PositiveInt = Field(8, description="The most addresses of one name server.")
    glue_addresses: Literal["global", "any"] = Field(
        "global", description="`global` refuses special-purpose addresses (RFC 6890)."
    )
    ds_digest_types: frozenset[int] = Field(
        DIGESTS, description="Digest types that are accepted: 2 SHA-256, 4 SHA-384. SHA-1 (1) is not."
    )
    ds_algorithms: frozenset[int] = Field(
        ZONE_ALGORITHMS, description="DNSKEY algorithms that a DS may name (RFC 8624)."
    )
    going_insecure: Literal["allow", "deny", "hold"] = Field(
        "allow", description="May a child remove its last DS? `hold` has an operator decide: `zonecut change approve`."
    )
    rollover: Literal["allow", "deny"] = Field("allow", description="May a trusted key add and delete keys?")
    reserved: tuple[str, ...] = Field((), description="Further names of the zone that no child may be or hold.")
    ttl: TtlSettings = Field(default_factory=TtlSettings)


@dataclass(frozen=True, slots=True)
class Rules:
    """A parent zone's apex, the receiver's own name, and its policy.

    `inner` are the parent zones of ours below this one: what is below those is not this zone's to say. `shared` are
    hosts in the child that other delegations name: it may change their addresses, and not take them away.
    """

    zone: bytes
    target: bytes
    policy: Policy
    reserved: frozenset[bytes]
    shared: frozenset[bytes] = frozenset()
    inner: frozenset[bytes] = frozenset()

    @classmethod
    def of(cls, zone: bytes, target: bytes, policy: Policy, zones: Iterable[bytes] = ()) -> "Rules":
        """`zones` are all parent zones of ours. Raises ValueError for a reserved name that is no name."""
        inner = frozenset(each for each in zones if names.is_below(each, zone))
        return cls(zone, target, policy, frozenset(names.from_text(name) for name in policy.reserved), inner=inner)

    def nearest(self, child: bytes) -> bytes:
        """The parent zone of ours that is nearest above a name below this zone's apex."""
        return max((self.zone, *(each for each in self.inner if names.is_below(child, each))), key=len)


class Complaint(NamedTuple):
    """What a rule has against a delegation: it is about `subject`, and `by` so much; `text` is for people."""

    subject: Hashable
    text: str
    by: int = 1


Complaints = Iterator[Complaint]
Rule = Callable[[Rules, Delegation], Complaints]


def check_child(rules: Rules, child: bytes) -> None:
    """Raise Refusal unless a name can be a child of the zone at all, whatever is delegated."""
    if not names.is_below(child, rules.zone):
        raise _unfit("child-below-apex", child, f"is not below {names.to_text(rules.zone)}")
    labels = names.labels(child)
    if b"*" in labels:
        raise _unfit("child-not-wildcard", child, "is or contains a wildcard")
    if b"_dsync" in labels:
        raise _unfit("child-not-reserved", child, "belongs to the parent's DSYNC records")
    if names.is_at_or_below(rules.target, child):
        raise _unfit("child-not-reserved", child, f"holds the receiver's own name {names.to_text(rules.target)}")
    for name in rules.reserved:
        if names.is_at_or_below(name, child) or names.is_at_or_below(child, name):
            raise _unfit("child-not-reserved", child, "is or holds a reserved name of the parent")
    if (nearest := rules.nearest(child)) != rules.zone:
        # a key counts wherever its child's name does: what is left of it here must prove nothing there
        found = f"is a child of {names.to_text(nearest)}, which is nearer to it than {names.to_text(rules.zone)}"
        raise _unfit("child-of-nearest-zone", child, f"{found}: send it to that zone")


def speaks_for(rules: Rules, child: bytes, enclosing: bytes | None) -> bool:
    """Whether what the zone holds at a name, below the delegation `enclosing` if there is one, is its delegation."""
    return enclosing is None and rules.nearest(child) == rules.zone


def check_place(child: bytes, enclosing: bytes | None) -> None:
    """Raise Refusal for a child that lies below another delegation.

    One that lies above another is fit to be changed: the one below is occluded, and stays as it is.
    """
    if enclosing is not None:
        raise _unfit("child-below-delegation", child, f"lies below the delegation of {names.to_text(enclosing)}")


def check(rules: Rules, before: Delegation, after: Delegation) -> tuple[str, ...]:
    """The shortcomings of `after`, none of which is worse than it was in `before`.

    Raises Refusal for the first rule that the change breaks, or breaks more than before.
    """
    found = _against(rules, after)
    for name, complaints in found.items():
        stood = {complaint.subject: complaint.by for complaint in RULES[name](rules, before)}
        for complaint in complaints:
            if complaint.by > stood.get(complaint.subject, 0):
                raise _prohibited(name, complaint.text)
    check_going_insecure(rules, before, after)
    return _texts(found)


def check_going_insecure(rules: Rules, before: Delegation, after: Delegation) -> None:
    """Raise Refusal for a change that takes the last DS, where that is left to the parent's operator."""
    if rules.policy.going_insecure == "deny" and (why := _loses_security(rules, before, after)):
        raise _prohibited("going-insecure", f"{why}, which this parent leaves to its operator")


def held_because(rules: Rules, before: Delegation, after: Delegation) -> str | None:
    """Why a change has to wait for an operator; None if it need not."""
    return _loses_security(rules, before, after) if rules.policy.going_insecure == "hold" else None


def _loses_security(rules: Rules, before: Delegation, after: Delegation) -> str | None:
    about = f"{names.to_text(after.child)} DS: the last DS"
    if before.ds and not after.ds:
        return f"{about} is removed"
    if _good_ds(rules, before) and not _good_ds(rules, after):
        return f"{about} that this parent accepts is removed, and only others would remain"
    return None


def _good_ds(rules: Rules, delegation: Delegation) -> bool:
    bad = {each.subject for rule in (_ds_digest, _ds_algorithm) for each in rule(rules, delegation)}
    return not bad.issuperset(delegation.ds)


def shortcomings(rules: Rules, delegation: Delegation) -> tuple[str, ...]:
    """What the rules have against a delegation as it stands: the rule's name and the record, a text each.

    None of it is held against a change that does not make it worse.
    """
    return _texts(_against(rules, delegation))


def _against(rules: Rules, delegation: Delegation) -> dict[str, tuple[Complaint, ...]]:
    """What is against a delegation, by the names of the rules that have something, in their order."""
    found: dict[str, tuple[Complaint, ...]] = {}
    for name, rule in RULES.items():
        if name == "ns-good" and _SPOILS_NS.isdisjoint(found):
            continue  # it asks those rules once more, and has nothing to say without them
        if complaints := tuple(rule(rules, delegation)):
            found[name] = complaints
    return found


def _texts(found: Mapping[str, Iterable[Complaint]]) -> tuple[str, ...]:
    return tuple(f"{name}: {complaint.text}" for name, complaints in found.items() for complaint in complaints)


def _prohibited(rule: str, reason: str) -> Refusal:
    return Refusal(rule, reason, ede=EdeCode.PROHIBITED)


def _unfit(rule: str, child: bytes, reason: str) -> Refusal:
    return _prohibited(rule, f"{names.to_text(child)} {reason}")


def _ns_count(rules: Rules, delegation: Delegation) -> Complaints:
    count, least, most = len(delegation.ns), rules.policy.min_ns, rules.policy.max_ns
    if count == 0:
        text = f"{_ns_text(delegation)}: the last name server is removed; a child cannot end its own delegation"
        yield Complaint("none", text)
    elif count < least:
        text = f"{_ns_text(delegation)}: {count} name server(s) would remain, at least {least} are required"
        yield Complaint("few", text, least - count)
    elif count > most:
        yield Complaint(
            "many", f"{_ns_text(delegation)}: {count} name servers, at most {most} are accepted", count - most
        )


def _ns_names(rules: Rules, delegation: Delegation) -> Complaints:
    for target in delegation.ns:
        if not names.is_host_name(target):
            text = f"{_ns_text(delegation)} {names.to_text(target)}: not a host name (RFC 1123 section 2.1)"
            yield Complaint(target, text)


def _glue_for_ns(rules: Rules, delegation: Delegation) -> Complaints:
    # RFC 9471: without glue an in-domain name server cannot be found
    owners = {record.owner for record in delegation.glue}
    for target in delegation.in_domain_ns():
        if target not in owners:
            text = f"{_ns_text(delegation)} {names.to_text(target)}: in the child zone and without an address"
            yield Complaint(target, text)


def _no_other_glue(rules: Rules, delegation: Delegation) -> Complaints:
    servers = set(delegation.in_domain_ns())
    child = delegation.child
    for record in delegation.glue:
        if not names.is_at_or_below(record.owner, child):
            yield Complaint(record, f"{record.to_text()}: not a name in {names.to_text(child)}")
        elif record.owner not in servers and record.owner not in rules.shared:
            yield Complaint(record, f"{record.to_text()}: no NS of {names.to_text(child)} has this name")


def _glue_global(rules: Rules, delegation: Delegation) -> Complaints:
    if rules.policy.glue_addresses == "any":
        return
    good: set[bytes] = set()
    for record in delegation.glue:
        if is_global(record.rdata):
            good.add(record.owner)
        else:
            yield Complaint(record, f"{record.to_text()}: a special-purpose address (RFC 6890)")
    for owner in sorted({record.owner for record in delegation.glue} - good):
        yield Complaint(owner, f"{names.to_text(owner)}: only special-purpose addresses (RFC 6890) would remain")


def _glue_count(rules: Rules, delegation: Delegation) -> Complaints:
    most = rules.policy.max_addresses_per_name
    counts: dict[bytes, int] = {}
    for record in delegation.glue:
        counts[record.owner] = counts.get(record.owner, 0) + 1
    for owner, count in counts.items():
        if count > most:
            text = f"{names.to_text(owner)}: {count} addresses, at most {most} are accepted"
            yield Complaint(owner, text, count - most)


def _ds_count(rules: Rules, delegation: Delegation) -> Complaints:
    count, most = len(delegation.ds), rules.policy.max_ds
    if count > most:
        text = f"{names.to_text(delegation.child)} DS: {count} records, at most {most} are accepted"
        yield Complaint("many", text, count - most)


def _ds_digest(rules: Rules, delegation: Delegation) -> Complaints:
    for rdata in delegation.ds:
        digest_type, length = rdata[3], len(rdata) - 4
        if rdata[2:4] == b"\0\0":
            yield Complaint(
                rdata,
                f"{_ds_text(delegation.child, rdata)}: a CDS that asks for deletion (RFC 8078 section 4) is no DS",
            )
        elif digest_type not in rules.policy.ds_digest_types:
            accepted = ", ".join(map(str, sorted(rules.policy.ds_digest_types)))
            yield Complaint(
                rdata, f"{_ds_text(delegation.child, rdata)}: digest type {digest_type}; accepted are {accepted}"
            )
        elif length != DIGEST_LENGTH.get(digest_type, length):
            expected = DIGEST_LENGTH[digest_type]
            text = _ds_text(delegation.child, rdata)
            yield Complaint(rdata, f"{text}: the digest is {length} octets, type {digest_type} has {expected}")


def _ds_algorithm(rules: Rules, delegation: Delegation) -> Complaints:
    for rdata in delegation.ds:
        if rdata[2] not in rules.policy.ds_algorithms:
            accepted = ", ".join(map(str, sorted(rules.policy.ds_algorithms)))
            yield Complaint(
                rdata, f"{_ds_text(delegation.child, rdata)}: algorithm {rdata[2]}; accepted are {accepted}"
            )


def _receiver_name(rules: Rules, delegation: Delegation) -> Complaints:
    for record in delegation.glue:
        if record.owner == rules.target:
            yield Complaint(record, f"{record.to_text()}: the receiver's own name")


def _ns_good(rules: Rules, delegation: Delegation) -> Complaints:
    bad = {each.subject for rule in (_ns_names, _glue_for_ns, _glue_global) for each in rule(rules, delegation)}
    good, least = len(set(delegation.ns) - bad), rules.policy.min_ns
    if good < least and good < len(delegation.ns):
        text = f"{_ns_text(delegation)}: {good} name server(s) that can be used would remain, at least {least} required"
        yield Complaint("good", text, least - good)


RULES: dict[str, Rule] = {
    "ns-count": _ns_count,
    "ns-names": _ns_names,
    "glue-for-ns": _glue_for_ns,
    "glue-of-ns-only": _no_other_glue,
    "glue-global": _glue_global,
    "glue-count": _glue_count,
    "ds-count": _ds_count,
    "ds-digest": _ds_digest,
    "ds-algorithm": _ds_algorithm,
    "receiver-name": _receiver_name,
    "ns-good": _ns_good,
}
"""The rules by their stable names, in the order in which they are asked."""

_SPOILS_NS = frozenset(("ns-names", "glue-for-ns", "glue-global"))
"""The rules by which a name server cannot be used."""


def _ns_text(delegation: Delegation) -> str:
    return f"{names.to_text(delegation.child)} NS"


def _ds_text(child: bytes, rdata: bytes) -> str:
    return f"{names.to_text(child)} DS {rdata_text(RRType.DS, rdata)}"


def without_orphans(before: Delegation, after: Delegation, shared: Collection[bytes] = ()) -> Delegation:
    """`after` less glue that it inherits from `before` and that none of its name servers needs any more.

    With the addresses of hosts that others share, unless it has other ones for them.

    A child that replaces its NS RRset need not name the addresses that thereby become useless; one that it adds
    itself without an NS is for the rule `glue-of-ns-only` to refuse.
    """
    servers = {*after.in_domain_ns(), *shared}
    bare = set(shared).difference(after.ns, (record.owner for record in after.glue))
    if bare:
        after = Delegation.of(after.child, [*after.records, *(rr for rr in before.glue if rr.owner in bare)])
    if all(record.owner in servers for record in after.glue):
        return after
    added = set(after.glue).difference(before.glue)
    kept = tuple(record for record in after.glue if record.owner in servers or record in added)
    return after if kept == after.glue else Delegation(after.child, after.ns, after.ds, kept)
