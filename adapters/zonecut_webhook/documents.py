"""Delegations, changes and RRsets as JSON of the API, to values and back. Pure.

Names and addresses are in presentation form, delegations as everywhere with `--json`; the RDATA of other RRsets is in
hexadecimal wire form, so that nobody has to know every type's text.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Any

import dns.exception
import dns.rdatatype

from zonecut.plugin import BackendRejected, Change, Reading, Unreadable
from zonecut.protocol import names, rrset
from zonecut.protocol.announced.dsync import from_generic_text
from zonecut.protocol.codepoints import RRType, type_text
from zonecut.protocol.delegation import RR, TYPES, Delegation, Ttls, aaaa_from_text, ds_from_text
from zonecut.protocol.envelope import read_name
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.rrset import RRset
from zonecut.protocol.update import MAX_TTL

_ADDRESS_LENGTH = {RRType.A: 4, RRType.AAAA: 16}
_TYPES = {RRType(rtype).text: int(rtype) for rtype in TYPES}
_FRAME = 200
"""Octets of a change in JSON beside its delegations; on the large side."""


def dump(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


# Delegations


def delegation_json(delegation: Delegation) -> dict[str, Any]:
    """NS, DS and glue. Raises BackendRejected for a record that has no text: no system could hold it."""
    for record in delegation.records:
        _check_writable(record)
    document = delegation.to_json()
    del document["child"]
    return document


def _check_writable(record: RR) -> None:
    if record.rtype == RRType.NS:
        try:
            right = read_name(record.rdata, 0)[1] == len(record.rdata)
        except MalformedMessage:
            right = False
    else:
        right = len(record.rdata) == _ADDRESS_LENGTH.get(RRType(record.rtype), len(record.rdata))
    if not right:
        raise BackendRejected.telling(
            f"{names.to_text(record.owner)} {type_text(record.rtype)}: {record.rdata.hex()} is no data of this type"
        )


def delegation_of(child: bytes, document: Any) -> Delegation:
    """The value of NS, DS and glue in a document. Raises ValueError for anything else."""
    for key in ("ns", "ds"):
        if isinstance(document, dict) and document.get(key) is None:
            raise ValueError(f"a delegation without {key!r}: what is not there is said by an empty list")
    records = [RR(child, RRType.NS, names.from_text(_text(target))) for target in _list(document, "ns")]
    records += [RR(child, RRType.DS, _ds(_text(text))) for text in _list(document, "ds")]
    glue = document.get("glue") or {}
    if not isinstance(glue, dict):
        raise ValueError("`glue` is an object: lists of addresses by the name of the server")
    for host in glue:
        owner = names.from_text(host)
        if not names.is_at_or_below(owner, child):
            raise ValueError(f"glue: {host} is not at or below {names.to_text(child)}")
        for text in _list(glue, host):
            rtype, rdata = _address(_text(text))
            records.append(RR(owner, rtype, rdata))
    return Delegation.of(child, records)


def _address(text: str) -> tuple[RRType, bytes]:
    if ":" in text:
        return RRType.AAAA, aaaa_from_text(text)
    return RRType.A, IPv4Address(text).packed


def reading_of(document: Any) -> Reading:
    """What the system says of a name, as `Reading.to_json` writes it. Raises ValueError for anything else."""
    if not isinstance(document, dict) or not isinstance(document.get("child"), str):
        raise ValueError("a delegation is an object with `child`, `ns`, `ds` and `glue`")
    child, enclosing = names.from_text(document["child"]), document.get("enclosing")
    return Reading(
        delegation_of(child, document),
        None if enclosing is None else names.from_text(_text(enclosing)),
        tuple(sorted(names.from_text(_text(name)) for name in _list(document, "nested"))),
        _ttls(document.get("ttls") or {}),
    )


def entry_of(document: Any) -> Reading | Unreadable:
    """What an entry of a listing says; an entry that makes no sense says only that, and of which child."""
    try:
        return reading_of(document)
    except ValueError as error:
        name = document.get("child") if isinstance(document, dict) else None
        text = name if isinstance(name, str) else "a child without a name"
        child = None
        with suppress(ValueError):
            child = names.from_text(text)
        return Unreadable(child, text, str(error))


def _ttls(document: Any) -> dict[tuple[bytes, int], int]:
    found = {}
    try:
        for owner, ttls in document.items():
            for text, ttl in ttls.items():
                found[names.from_text(owner), _TYPES[text]] = _ttl(ttl)
    except (AttributeError, KeyError):
        raise ValueError("`ttls` is an object: seconds by type, by the name of the RRset") from None
    return found


def _ttl(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_TTL:
        raise ValueError(f"{value!r} is no TTL")
    return value


def _list(document: Any, key: str) -> list[Any]:
    if not isinstance(document, dict):
        raise ValueError("a delegation is an object with `ns`, `ds` and `glue`")
    found = document.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise ValueError(f"{key!r} is a list")
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no string")
    return value


def _ds(text: str) -> bytes:
    return from_generic_text(text) if text.startswith("\\#") else ds_from_text(text)


# Changes


def change_id(zone: bytes, change: Change) -> str:
    """The name of a change: the same for the same request and the same values, whenever it is written.

    A change that is nobody's request gets one of its own each time.
    """
    identity = change.identity or secrets.token_bytes(32)
    parts = (zone, identity, change.before.to_wire(), change.after.to_wire())
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()[:32]


def idempotency_key(ids: Iterable[str]) -> str:
    """The name of a request with these changes."""
    return hashlib.sha256(" ".join(ids).encode()).hexdigest()[:32]


def changes_json(zone: bytes, changes: Sequence[Change], ids: Sequence[str], ttls: Ttls) -> dict[str, Any]:
    """The body that asks for changes. Raises BackendRejected as `delegation_json` does."""
    return {
        "zone": names.to_text(zone),
        "ttl": {"ns": ttls.ns, "ds": ttls.ds, "glue": ttls.glue},
        "changes": [
            {
                "id": identity,
                "child": names.to_text(change.child),
                "before": delegation_json(change.before),
                "after": delegation_json(change.after),
            }
            for identity, change in zip(ids, changes, strict=True)
        ],
    }


def withdrawal_json(zone: bytes, change: Change, identity: str) -> dict[str, Any]:
    """The body that asks for a change to be forgotten, by the id under which it was asked for."""
    return {"zone": names.to_text(zone), "changes": [{"id": identity, "child": names.to_text(change.child)}]}


def fitting(changes: Sequence[Change], most: int, octets: int) -> int:
    """How many of these changes, from the first on, take no more octets in a request; at least one."""
    for count, change in enumerate(changes[:most]):
        # an octet of a name or of RDATA is up to five in JSON
        octets -= _FRAME + sum(
            5 * len(value.to_wire()) + 20 * len(value.glue) for value in (change.before, change.after)
        )
        if count and octets < 0:
            return count
    return max(1, min(most, len(changes)))


# RRsets


def rrset_json(value: RRset) -> dict[str, Any]:
    return {
        "name": names.to_text(value.owner),
        "type": type_text(value.rtype),
        "ttl": value.ttl,
        "records": [{"rdata": rdata.hex(), "text": rrset.rdata_text(value.rtype, rdata)} for rdata in value.rdatas],
    }


def rrset_of(document: Any) -> RRset:
    """The value of an RRset in a document. Raises ValueError for anything else."""
    try:
        return RRset(
            names.from_text(_text(document["name"])),
            int(dns.rdatatype.from_text(_text(document["type"]))),
            _ttl(document["ttl"]),
            tuple(bytes.fromhex(_text(record["rdata"])) for record in document["records"]),
        )
    except (KeyError, TypeError, dns.exception.DNSException) as error:
        raise ValueError(f"no RRset: {error!r}") from None
