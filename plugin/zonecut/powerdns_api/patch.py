"""A PATCH of the PowerDNS API, and the changes of delegations that it asks for. Pure.

Of a zone's RRsets we take those of delegations; what such a PATCH may say beside that (TTLs, which are the parent's
here) is read and has no effect, or is refused where somebody would miss it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Any

from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import TYPES, aaaa_from_text, ds_from_text
from zonecut.protocol.envelope import MAX_MESSAGE, walk
from zonecut.protocol.errors import Refusal
from zonecut.protocol.foreigntext import clip, quoted
from zonecut.protocol.update import DelegationChange, read_request

_TYPES = {RRType(rtype).text: RRType(rtype) for rtype in TYPES}
_AT_CUT = (RRType.NS, RRType.DS)


class MalformedPatch(Exception):
    """The body is no PATCH of a zone; the message says where it stops making sense."""

    def __init__(self, reason: str) -> None:
        super().__init__(clip(reason))


class Kind(StrEnum):
    """What becomes of an RRset: `changetype`, where DELETE is a replacement by nothing."""

    REPLACE = "REPLACE"
    EXTEND = "EXTEND"
    PRUNE = "PRUNE"


@dataclass(frozen=True, slots=True)
class Edit:
    """One RRset as it is to be, without records none; or, with another kind, the one record that it gets or loses."""

    owner: bytes
    rtype: RRType
    rdatas: tuple[bytes, ...]
    kind: Kind = Kind.REPLACE

    def __str__(self) -> str:
        return f"{names.to_text(self.owner)} {self.rtype.text}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for one child: the request, and the same as an UPDATE without a signature."""

    request: DelegationChange
    message: bytes

    @property
    def child(self) -> bytes:
        return self.request.child


def read_patch(body: bytes, zone: bytes) -> tuple[Edit, ...]:
    """The RRsets that a PATCH of `zone` replaces or deletes. Raises MalformedPatch and Refusal."""
    try:
        document = json.loads(body, object_pairs_hook=_without_repetitions)
    except (ValueError, RecursionError) as error:
        raise MalformedPatch(f"the body is no JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("rrsets"), list):
        raise MalformedPatch("the body is no object with a list `rrsets`")
    edits: list[Edit] = []
    seen: dict[tuple[bytes, int], set[Kind]] = {}
    for rrset in document["rrsets"]:
        edit = _edit(rrset, zone)
        kinds = seen.setdefault((edit.owner, edit.rtype), set())
        kinds.add(edit.kind)
        # records may come and go one by one; the RRset as a whole is replaced once, and by nothing else
        if Kind.REPLACE in kinds and any(each.owner == edit.owner and each.rtype == edit.rtype for each in edits):
            raise Refusal("rrset-once", f"{edit}: it is there twice")
        edits.append(edit)
    return tuple(edits)


def _without_repetitions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object names one of its members twice")
    return found


def _edit(rrset: Any, zone: bytes) -> Edit:
    if not isinstance(rrset, dict):
        raise MalformedPatch("an entry of `rrsets` is no object")
    text, type_text, change = (rrset.get(key) for key in ("name", "type", "changetype"))
    if not isinstance(text, str) or not isinstance(type_text, str) or not isinstance(change, str):
        raise MalformedPatch("an RRset has a `name`, a `type` and a `changetype`")
    rrset_text = f"{quoted(text)} {quoted(type_text)}"
    owner = _understood(rrset_text, _name, text)
    if not names.is_at_or_below(owner, zone):
        raise Refusal("owner-in-zone", f"{quoted(text)} is not in {names.to_text(zone)}", Rcode.NOTZONE)
    rtype = _TYPES.get(type_text.upper())
    if rtype is None:
        raise Refusal("delegation-types", f"{rrset_text}: a delegation consists of NS, DS, A and AAAA")
    if rrset.get("comments"):
        raise Refusal("no-comments", f"{rrset_text}: comments are not kept here")
    if change.upper() == "DELETE":
        return Edit(owner, rtype, ())
    try:
        kind = Kind(change.upper())
    except ValueError:
        known = "REPLACE, DELETE, EXTEND and PRUNE are taken here"
        raise Refusal("changetype", f"{rrset_text}: changetype '{quoted(change)}'; {known}") from None
    rdatas = _rdatas(rrset, rrset_text, rtype)
    if kind is not Kind.REPLACE and len(rdatas) != 1:
        raise MalformedPatch(f"{rrset_text}: {kind} is of exactly one record")
    return Edit(owner, rtype, rdatas, kind)


def _rdatas(rrset: Mapping[str, Any], text: str, rtype: RRType) -> tuple[bytes, ...]:
    records = rrset.get("records")
    if not isinstance(records, list):
        raise MalformedPatch(f"{text}: a replacement has a list `records`")
    found = []
    for record in records:
        content = record.get("content") if isinstance(record, dict) else None
        if not isinstance(content, str):
            raise MalformedPatch(f"{text}: a record has a `content`")
        if record.get("disabled"):
            reason = f"{text} {quoted(content)}: a record that is switched off is no part of a delegation"
            raise Refusal("record-enabled", reason)
        found.append(_understood(text, _READ[rtype], content))
    return tuple(found)


def _understood(rrset: str, read: Callable[[str], bytes], text: str) -> bytes:
    try:
        return read(text)
    except ValueError as error:
        raise Refusal("record-readable", f"{rrset} '{quoted(text)}' cannot be read: {quoted(str(error))}") from None


def _name(text: str) -> bytes:
    if not text.endswith("."):
        raise ValueError("a name ends in a dot")
    return names.from_text(text)


def _ds(text: str) -> bytes:
    rdata = ds_from_text(text)
    if len(rdata) < 5:
        raise ValueError("it has no digest")
    return rdata


_READ: Mapping[RRType, Callable[[str], bytes]] = {
    RRType.NS: _name,
    RRType.DS: _ds,
    RRType.A: lambda text: IPv4Address(text).packed,
    RRType.AAAA: aaaa_from_text,
}


def without_cut(edits: Sequence[Edit]) -> tuple[bytes, ...]:
    """The owners of addresses that lie below no child whose NS or DS are edited along with them."""
    cuts = _cuts(edits)
    return tuple(dict.fromkeys(edit.owner for edit in edits if _cut_above(edit.owner, cuts) is None))


def _cuts(edits: Sequence[Edit]) -> frozenset[bytes]:
    return frozenset(edit.owner for edit in edits if edit.rtype in _AT_CUT)


def _cut_above(owner: bytes, cuts: frozenset[bytes]) -> bytes | None:
    """The nearest of these at or above a name."""
    return max((cut for cut in cuts if names.is_at_or_below(owner, cut)), key=len, default=None)


def by_child(
    edits: Sequence[Edit], zone: bytes, known: Mapping[bytes, bytes | None], max_records: int
) -> tuple[Asked, ...]:
    """What is asked for each child, in the order in which they come.

    `known` says for each of `without_cut` at or below which delegation it lies. Raises Refusal for an address that
    lies in none, and for more than fits an UPDATE with `max_records` records.
    """
    cuts = _cuts(edits)
    parts: dict[bytes, list[Edit]] = {}
    for edit in edits:
        child = _cut_above(edit.owner, cuts) or known.get(edit.owner)
        if child is None:
            raise Refusal("child-delegated", f"{edit}: it lies in no delegation of {names.to_text(zone)}")
        parts.setdefault(child, []).append(edit)
    return tuple(_asked(zone, child, part, max_records) for child, part in parts.items())


def _asked(zone: bytes, child: bytes, edits: Sequence[Edit], max_records: int) -> Asked:
    updates = []
    for edit in edits:
        # as nsupdate writes it (RFC 2136 section 2.5); the TTL is the parent's
        if edit.kind is Kind.PRUNE:
            updates += [message.delete_record(edit.owner, edit.rtype, rdata) for rdata in edit.rdatas]
            continue
        if edit.kind is Kind.REPLACE:
            updates.append(message.delete_rrset(edit.owner, edit.rtype))
        updates += [message.add(edit.owner, edit.rtype, 0, rdata) for rdata in edit.rdatas]
    wire = message.update(0, zone, (), updates) if len(updates) <= max_records else b""
    if not wire or len(wire) > MAX_MESSAGE:
        reason = f"{names.to_text(child)}: {len(updates)} records, more than {max_records}, or than a message holds"
        raise Refusal("max-records", reason)
    # through the reader that will read it again after a crash
    request = read_request(walk(wire), zone, child, b"")
    assert isinstance(request, DelegationChange)
    return Asked(request, wire)
