"""An UPDATE message and the typed requests of delegation management (RFC 2136 and the delegation-mgmt draft).

The steps are separate, since a stranger must not learn from one what only a later one may tell: `zone_of` needs no
key, `read_request` needs a verified signature and settles what kind of request it is and whose names are in it, and
only then `check_prerequisites` looks at the delegation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from zonecut.protocol import message, names
from zonecut.protocol.codepoints import EdeCode, Rcode, RRClass, RRType, type_text
from zonecut.protocol.delegation import RR, TYPES, Delegation, rdata_text
from zonecut.protocol.envelope import PREREQUISITE, UPDATE, Envelope, Record, read_name
from zonecut.protocol.errors import MalformedMessage, Refusal

MAX_TTL = 2**31 - 1
"""The largest TTL (RFC 2181 section 8)."""

_SOA, _IN = int(RRType.SOA), int(RRClass.IN)
_META_TYPES = frozenset((0, int(RRType.OPT), *range(128, 256)))
# Enum members cost a look-up each time they are named; these are named for each record.
_ANY_TYPE, _NS, _DS = int(RRType.ANY), int(RRType.NS), int(RRType.DS)
_KEY = int(RRType.KEY)
_ANY, _NONE = int(RRClass.ANY), int(RRClass.NONE)
_EMPTY_FORMS = (RRClass.ANY, RRClass.NONE)


class Action(Enum):
    """The forms of the update section (RFC 2136 section 2.5)."""

    ADD = "add"
    DELETE_RRSET = "delete rrset"
    DELETE_NAME = "delete name"
    DELETE_RECORD = "delete record"


_ADD, _DELETE_NAME = Action.ADD, Action.DELETE_NAME


class Operation(NamedTuple):
    """One record of the update section; `rtype` is ANY for DELETE_NAME, `rdata` empty unless ADD or DELETE_RECORD."""

    action: Action
    owner: bytes
    rtype: int
    rdata: bytes = b""

    def to_text(self) -> str:
        """As a line of nsupdate's input."""
        words = ["add" if self.action is Action.ADD else "delete", names.to_text(self.owner)]
        if self.action is not Action.DELETE_NAME:
            words.append(type_text(self.rtype))
        if self.rdata:
            words.append(rdata_text(self.rtype, self.rdata))
        return " ".join(words)

    def to_wire(self, ttl: int) -> bytes:
        """The record of an UPDATE; `ttl` in seconds, for ADD."""
        if self.action is Action.ADD:
            return message.add(self.owner, self.rtype, ttl, self.rdata)
        if self.action is Action.DELETE_RRSET:
            return message.delete_rrset(self.owner, self.rtype)
        if self.action is Action.DELETE_NAME:
            return message.delete_name(self.owner)
        return message.delete_record(self.owner, self.rtype, self.rdata)


class Condition(Enum):
    """The forms of the prerequisite section (RFC 2136 section 2.4), with the RCODE of each that does not hold."""

    RRSET_EXISTS = "rrset exists"
    RRSET_HOLDS = "rrset holds"
    RRSET_ABSENT = "rrset absent"
    NAME_IN_USE = "name in use"
    NAME_NOT_IN_USE = "name not in use"

    @property
    def rcode(self) -> Rcode:
        return _FAILED[self]


_FAILED = {
    Condition.RRSET_EXISTS: Rcode.NXRRSET,
    Condition.RRSET_HOLDS: Rcode.NXRRSET,
    Condition.RRSET_ABSENT: Rcode.YXRRSET,
    Condition.NAME_IN_USE: Rcode.NXDOMAIN,
    Condition.NAME_NOT_IN_USE: Rcode.YXDOMAIN,
}

_VALUES = frozenset((Condition.RRSET_HOLDS, Condition.RRSET_ABSENT))
"""The conditions that tell all that an RRset holds."""


class Prerequisite(NamedTuple):
    """One record of the prerequisite section; `rdata` for RRSET_HOLDS, one record of the RRset each."""

    condition: Condition
    owner: bytes
    rtype: int
    rdata: bytes = b""


@dataclass(frozen=True, slots=True)
class DelegationChange:
    """A child asks that its delegation become something else."""

    child: bytes
    prerequisites: tuple[Prerequisite, ...]
    operations: tuple[Operation, ...]

    @property
    def says_what_it_starts_from(self) -> bool:
        """True if prerequisites say what each RRset holds that it touches (RFC 2136 section 2.4.2), or that it is none.

        Then it is void on any other delegation than the one that its sender saw.
        """
        told = {(each.owner, each.rtype) for each in self.prerequisites if each.condition in _VALUES}
        return all((each.owner, each.rtype) in told for each in self.operations)

    def apply(self, before: Delegation) -> Delegation:
        """The delegation after the update section, taken as a whole (RFC 2136 section 3.4.2)."""
        records = set(before.records)
        for action, owner, rtype, rdata in self.operations:
            if action is Action.ADD:
                records.add(RR(owner, rtype, rdata))
            elif action is Action.DELETE_RECORD:
                records.discard(RR(owner, rtype, rdata))
            elif action is Action.DELETE_RRSET:
                records = {record for record in records if record.owner != owner or record.rtype != rtype}
            else:
                records = {record for record in records if record.owner != owner}
        return Delegation.of(before.child, records)


@dataclass(frozen=True, slots=True)
class KeyUpload:
    """KEY records at the child, signed by one of those that are added: the start of a bootstrap."""

    child: bytes
    replace: bool
    """All other keys are to go once the new one is trusted (`DEL child ANY KEY` came along)."""
    keys: tuple[bytes, ...]
    """KEY RDATA of the keys to add."""
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class KeyRoll:
    """KEY records at the child are added or deleted under the signature of another key."""

    child: bytes
    operations: tuple[Operation, ...]


Request = DelegationChange | KeyUpload | KeyRoll


def zone_of(envelope: Envelope) -> bytes:
    """The zone of an UPDATE (RFC 2136 section 3.1.1). Raises MalformedMessage if it is not one SOA of class IN."""
    if len(envelope.questions) != 1:
        raise MalformedMessage(f"the zone section holds {len(envelope.questions)} records, not one")
    zone = envelope.questions[0]
    if zone.qtype != _SOA:
        raise MalformedMessage(f"the type in the zone section is {type_text(zone.qtype)}, not SOA")
    if zone.qclass != _IN:
        raise MalformedMessage(f"the class in the zone section is {zone.qclass}, not IN")
    return envelope.name(zone.start)


def read_request(envelope: Envelope, zone: bytes, signer: bytes, signing_key: bytes) -> Request:
    """What an UPDATE of `zone` asks for, its signature already verified.

    `signer` is the lower-case signer's name, `signing_key` the KEY RDATA that verified. Raises MalformedMessage for
    what RFC 2136 section 3.4.1 calls a format error, and Refusal for an owner that is not the child's, a type that is
    no part of a delegation, or kinds of requests mixed.
    """
    child = signer
    prerequisites = tuple([_prerequisite(envelope, record) for record in envelope.records if record[0] == PREREQUISITE])
    operations = tuple([_operation(envelope, record) for record in envelope.records if record[0] == UPDATE])
    seen = set()
    for owner, place in _owners(envelope, prerequisites, operations):
        if owner in seen:
            continue
        seen.add(owner)
        if not names.is_at_or_below(owner, zone):
            raise Refusal("owner-in-zone", f"{place}: {names.to_text(owner)} is not in the zone", Rcode.NOTZONE)
        if not names.is_at_or_below(owner, child):
            raise Refusal(
                "owner-is-child",
                f"{place}: {names.to_text(owner)} is not at or below {names.to_text(child)}, whose key signed",
                ede=EdeCode.PROHIBITED,
            )
    if not operations:
        return DelegationChange(child, _delegation_conditions(child, prerequisites), ())
    about_keys = [operation.rtype == _KEY for operation in operations]
    if not any(about_keys):
        for operation in operations:
            _check_delegation_type(child, operation.owner, operation.rtype, operation.action is _DELETE_NAME)
        return DelegationChange(child, _delegation_conditions(child, prerequisites), operations)
    if not all(about_keys):
        raise Refusal("kinds-mixed", "KEY records and other records in one UPDATE", ede=EdeCode.PROHIBITED)
    for operation in operations:
        if operation.owner != child:
            raise Refusal(
                "key-at-child", f"a KEY at {names.to_text(operation.owner)}, not at the child", ede=EdeCode.PROHIBITED
            )
    return _key_request(child, prerequisites, operations, signing_key)


def _key_request(
    child: bytes, prerequisites: tuple[Prerequisite, ...], operations: tuple[Operation, ...], signing_key: bytes
) -> KeyUpload | KeyRoll:
    if prerequisites:
        raise Refusal("key-without-prerequisites", "a change of KEY records has no prerequisites")
    added = tuple(operation.rdata for operation in operations if operation.action is Action.ADD)
    deleted = [operation for operation in operations if operation.action is not Action.ADD]
    if signing_key in added and all(operation.action is Action.DELETE_RRSET for operation in deleted):
        return KeyUpload(child, bool(deleted), added, operations)
    return KeyRoll(child, operations)


def _owners(
    envelope: Envelope, prerequisites: tuple[Prerequisite, ...], operations: tuple[Operation, ...]
) -> list[tuple[bytes, str]]:
    sections = [(prerequisite.owner, "prerequisite") for prerequisite in prerequisites]
    return sections + [(operation.owner, "update") for operation in operations]


def _delegation_conditions(child: bytes, prerequisites: tuple[Prerequisite, ...]) -> tuple[Prerequisite, ...]:
    for prerequisite in prerequisites:
        any_type = prerequisite.condition in (Condition.NAME_IN_USE, Condition.NAME_NOT_IN_USE)
        _check_delegation_type(child, prerequisite.owner, prerequisite.rtype, any_type)
    return prerequisites


def _check_delegation_type(child: bytes, owner: bytes, rtype: int, any_type: bool) -> None:
    if any_type:
        return
    if rtype not in TYPES:
        text = f"{names.to_text(owner)} {type_text(rtype)}"
        raise Refusal(
            "delegation-types", f"{text}: a delegation consists of NS, DS, A and AAAA", ede=EdeCode.PROHIBITED
        )
    if owner != child and rtype in (_NS, _DS):
        text = f"{names.to_text(owner)} {type_text(rtype)}"
        raise Refusal("cut-at-child", f"{text}: NS and DS stand at the child's name only", ede=EdeCode.PROHIBITED)


def _prerequisite(envelope: Envelope, record: Record) -> Prerequisite:
    # RFC 2136 section 3.2.5
    rtype, rclass = record.rtype, record.rclass
    owner = envelope.name(record.start)
    if record.ttl != 0:
        raise MalformedMessage(f"{envelope.describe(record)}: its TTL is not 0")
    if rclass == RRClass.IN:
        _check_data_type(envelope, record)
        return Prerequisite(Condition.RRSET_HOLDS, owner, rtype, _rdata(envelope, record))
    _check_empty(envelope, record)
    if rclass == RRClass.ANY:
        condition = Condition.NAME_IN_USE if rtype == RRType.ANY else Condition.RRSET_EXISTS
    else:
        condition = Condition.NAME_NOT_IN_USE if rtype == RRType.ANY else Condition.RRSET_ABSENT
    return Prerequisite(condition, owner, rtype)


def _operation(envelope: Envelope, record: Record) -> Operation:
    # RFC 2136 section 3.4.1.3
    _, start, rtype, rclass, ttl, _, _ = record
    owner = envelope.name(start)
    if rclass == _IN:
        _check_data_type(envelope, record)
        if ttl > MAX_TTL:
            raise MalformedMessage(f"{envelope.describe(record)}: its TTL {record.ttl} is above {MAX_TTL}")
        return Operation(_ADD, owner, rtype, _rdata(envelope, record))
    if ttl != 0:
        raise MalformedMessage(f"{envelope.describe(record)}: a deletion has TTL 0")
    if rclass == _NONE:
        _check_data_type(envelope, record)
        return Operation(Action.DELETE_RECORD, owner, rtype, _rdata(envelope, record))
    _check_empty(envelope, record)
    if rtype == _ANY_TYPE:
        return Operation(_DELETE_NAME, owner, rtype)
    _check_data_type(envelope, record)
    return Operation(Action.DELETE_RRSET, owner, rtype)


def _check_data_type(envelope: Envelope, record: Record) -> None:
    if record.rtype in _META_TYPES:
        raise MalformedMessage(f"{envelope.describe(record)}: type {type_text(record.rtype)} is no data type")


def _check_empty(envelope: Envelope, record: Record) -> None:
    if record.rclass != _ANY and record.rclass != _NONE:
        raise MalformedMessage(f"{envelope.describe(record)}: class {record.rclass} is neither IN, NONE nor ANY")
    if record.end != record.rdata:
        raise MalformedMessage(f"{envelope.describe(record)}: it has data, which its class forbids")


_ADDRESS_LENGTH = {int(RRType.A): 4, int(RRType.AAAA): 16}


def _rdata(envelope: Envelope, record: Record) -> bytes:
    """The RDATA in the form in which delegations are kept: names lower-case and uncompressed."""
    rtype = record.rtype
    if rtype == _NS:
        # a sender may compress this name (RFC 3597 section 4)
        target, end = read_name(envelope.wire, record.rdata)
        if end != record.end:
            raise MalformedMessage(f"{envelope.describe(record)}: its data is not one name")
        return target.lower()
    rdata = envelope.wire[record.rdata : record.end]
    expected = _ADDRESS_LENGTH.get(rtype)
    if expected is not None and len(rdata) != expected:
        raise MalformedMessage(f"{envelope.describe(record)}: its data is {len(rdata)} octets, not {expected}")
    if len(rdata) < 5 and rtype in (RRType.DS, RRType.KEY):
        raise MalformedMessage(f"{envelope.describe(record)}: its data is too short")
    return rdata


def check_prerequisites(prerequisites: tuple[Prerequisite, ...], delegation: Delegation) -> None:
    """Raise Refusal with the RCODE of RFC 2136 section 3.2 for the first prerequisite that does not hold."""
    rrsets = delegation.rrsets
    expected: dict[tuple[bytes, int], set[bytes]] = {}
    for condition, owner, rtype, rdata in prerequisites:
        if condition is Condition.RRSET_HOLDS:
            expected.setdefault((owner, rtype), set()).add(rdata)
        elif not _HOLDS[condition](rrsets, owner, rtype):
            raise _unmet(condition, owner, rtype)
    for (owner, rtype), rdatas in expected.items():
        if set(rrsets.get((owner, rtype), ())) != rdatas:
            raise _unmet(Condition.RRSET_HOLDS, owner, rtype)


_RRsets = dict[tuple[bytes, int], tuple[bytes, ...]]


def _in_use(rrsets: _RRsets, owner: bytes, _: int) -> bool:
    return any(name == owner for name, _ in rrsets)


_HOLDS: dict[Condition, Callable[[_RRsets, bytes, int], bool]] = {
    Condition.RRSET_EXISTS: lambda rrsets, owner, rtype: (owner, rtype) in rrsets,
    Condition.RRSET_ABSENT: lambda rrsets, owner, rtype: (owner, rtype) not in rrsets,
    Condition.NAME_IN_USE: _in_use,
    Condition.NAME_NOT_IN_USE: lambda rrsets, owner, rtype: not _in_use(rrsets, owner, rtype),
}


def _unmet(condition: Condition, owner: bytes, rtype: int) -> Refusal:
    what = names.to_text(owner) if rtype == RRType.ANY else f"{names.to_text(owner)} {type_text(rtype)}"
    return Refusal("prerequisite", f"{what}: the prerequisite '{condition.value}' does not hold", condition.rcode)
