"""What the parent should hold for a child zone, from what the child zone says itself. Pure.

NS and glue are the zone's own (RFC 7477 section 2.1). DS come from CDS (RFC 7344, 8078), or are made from DNSKEY, and
may not make the zone bogus (RFC 7344 section 4.1).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256, sha384
from struct import Struct
from typing import Any

from zonecut.agent.content import ZoneContent
from zonecut.agent.parent_view import ParentView
from zonecut.agent.settings import ChildSettings, DsSettings
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, rdata_text
from zonecut.protocol.keys import Key
from zonecut.resolve import check_dnskey_rrset

_DIGESTS: dict[int, tuple[int, Callable[[bytes], Any]]] = {2: (32, sha256), 4: (48, sha384)}
"""Digest types that a parent may be given, and their lengths in octets (RFC 8624 section 3.3)."""

_ALGORITHMS = frozenset((8, 10, 13, 14, 15, 16))
"""DNSKEY algorithms with which a zone may be signed (RFC 8624 section 3.1, RFC 9905), and that are of any use."""

_CDS_DELETE = b"\0\0\0\0\0"
"""CDS 0 0 0 00 (RFC 8078 section 4)."""

_DS_HEAD = Struct("!HBB")
_DNSKEY_HEAD = Struct("!HBB")
_ZONE_KEY, _REVOKED, _SEP = 0x0100, 0x0080, 0x0001


class Unsuitable(Exception):
    """The parent cannot be given what the zone says; `reason` names the record and the rule."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Wanted:
    """The delegation as the child wants it: NS with their glue, and DS, each by itself.

    With `ns_known` False the parent's NS and glue stay as they are, whatever `delegation` has; with `ds_known` False
    its DS do, and `delegation` has none: nothing is compared, and nothing sent, that has to do with DS.
    """

    delegation: Delegation
    ds_known: bool = True
    notes: tuple[str, ...] = ()
    """What was left out, and why; a sentence each."""
    ns_known: bool = True
    unfit: tuple[bytes, ...] = ()
    """Name servers that are left out: where the parent has one, it stays, with its glue."""
    troubles: tuple[str, ...] = ()
    """What of the zone the parent cannot be given, a sentence each that names the record and the rule."""
    ds_unfit: bool = False
    """One of these is about DS: they are not known because what the zone says of them makes no sense."""

    @property
    def advice(self) -> str:
        """What to do about `troubles`."""
        return "mend the zone; until then the parent keeps of this what it has"

    def beside(self, held: Delegation) -> Delegation:
        """What the parent holds as far as it is to be compared with what is wanted."""
        return held if self.ds_known else replace(held, ds=())

    def seen(self, view: ParentView) -> ParentView:
        """What the parent's servers show as far as it is to be compared with what is wanted."""
        if not self.ns_known and view.agreed is None:
            view = view.without_ns()
        return view if self.ds_known else view.without_ds()

    def asked(self, held: Iterable[Delegation]) -> Delegation:
        """What is wanted of a parent that holds one of these, as far as it is to be compared."""
        records = {record for record in self.delegation.records if self.ns_known or record.rtype == RRType.DS}
        for each in held:
            if not self.ns_known:
                records |= {record for record in each.records if record.rtype != RRType.DS}
                continue
            kept = {name for name in each.ns if name in self.unfit}
            records |= {RR(each.child, RRType.NS, name) for name in kept}
            records |= {record for record in each.glue if record.owner in kept}
        return Delegation.of(self.delegation.child, records)

    def to_json(self) -> dict[str, Any]:
        return {"delegation": self.delegation.to_json(), "ds_known": self.ds_known, "notes": list(self.notes)}


def wanted(content: ZoneContent, settings: ChildSettings, now: float) -> Wanted:
    """The delegation that the zone asks for. `now`, in seconds since 1970, is what signatures are held against.

    What is unfit in NS does not hold up DS, nor the other way round, and one unfit name server no other.
    """
    troubles, unfit = _unfit_servers(content)
    servers = [server for server in content.ns if server not in unfit]
    records = [RR(content.zone, RRType.NS, server) for server in servers]
    records += [record for record in content.addresses if record.owner in servers]
    ds: tuple[bytes, ...] | None = None
    notes: list[str] = []
    ds_unfit = False
    try:
        ds, notes = _ds(content, settings.ds)
        if ds:
            _check_continuity(content, ds, now)
    except Unsuitable as error:
        troubles.append(error.reason)
        ds, ds_unfit = None, True
    records += [RR(content.zone, RRType.DS, rdata) for rdata in ds or ()]
    return Wanted(
        Delegation.of(content.zone, records),
        ds_known=ds is not None,
        notes=tuple(notes),
        ns_known=bool(servers),
        unfit=tuple(unfit),
        troubles=tuple(troubles),
        ds_unfit=ds_unfit,
    )


def _unfit_servers(content: ZoneContent) -> tuple[list[str], list[bytes]]:
    """What is wrong with the name servers, and with which of them."""
    zone = names.to_text(content.zone)
    if not content.ns:
        return [f"{zone} has no NS records"], []
    troubles = {server.name: server.reason for server in content.unusable}
    addressed = {record.owner for record in content.addresses}
    for name in content.in_zone_servers():
        if name not in addressed:
            troubles.setdefault(name, "has neither A nor AAAA in the zone")
    told = [f"{zone} NS {names.to_text(name)}: the name server {reason}" for name, reason in troubles.items()]
    return told, list(troubles)


def why_broken(content: ZoneContent, ds: tuple[bytes, ...], now: float) -> str | None:
    """Why the zone would not be secure under these DS of its parent (RFC 4035 section 5.2); None where it is, or where
    the zone's DNSKEY cannot be seen."""
    if content.dnskey is None or not ds:
        return None
    return check_dnskey_rrset(content.zone, content.signed_dnskey, ds, now)


def _ds(content: ZoneContent, settings: DsSettings) -> tuple[tuple[bytes, ...] | None, list[str]]:
    """The DS RDATA, None where the zone does not say; and what is to be noted."""
    source, notes = settings.source, list[str]()
    if source in ("auto", "cds") and content.cds:
        return _from_cds(content, notes), notes
    if source in ("auto", "dnskey") and content.dnskey:
        return _from_dnskey(content, settings.digests, notes), notes
    # nothing may be concluded from what cannot be seen, nor from the mere absence of CDS while the zone is signed
    is_unsigned = content.dnskey == () and (source == "dnskey" or content.cds == ())
    if is_unsigned and source != "off" and settings.unsigned == "remove":
        notes.append("the zone has neither CDS nor DNSKEY records, and ds.unsigned is `remove`")
        return (), notes
    return None, notes


def _from_cds(content: ZoneContent, notes: list[str]) -> tuple[bytes, ...]:
    zone, cds = names.to_text(content.zone), content.cds or ()
    if _CDS_DELETE in cds:
        if len(cds) > 1:
            raise Unsuitable(f"{zone} CDS: 0 0 0 00 must stand alone (RFC 8078 section 4)")
        return ()
    found = []
    for rdata in cds:
        if trouble := _trouble_of_cds(rdata):
            notes.append(f"{zone} CDS {rdata_text(RRType.DS, rdata)} is left out: {trouble}")
        else:
            found.append(rdata)
    if not found:
        raise Unsuitable(f"none of the CDS records can become a DS: {'; '.join(notes)}")
    return tuple(found)


def _trouble_of_cds(rdata: bytes) -> str | None:
    if len(rdata) <= _DS_HEAD.size:
        return "it is too short"
    _, algorithm, digest_type = _DS_HEAD.unpack_from(rdata)
    if algorithm not in _ALGORITHMS:
        return f"algorithm {algorithm} is none of {_listed(_ALGORITHMS)}"
    if digest_type not in _DIGESTS:
        return f"digest type {digest_type} is neither 2 (SHA-256) nor 4 (SHA-384) (RFC 8624 section 3.3)"
    length = _DIGESTS[digest_type][0]
    if len(rdata) != _DS_HEAD.size + length:
        return f"a digest of type {digest_type} has {length} octets"
    return None


def _from_dnskey(content: ZoneContent, digests: Iterable[int], notes: list[str]) -> tuple[bytes, ...] | None:
    zone = names.to_text(content.zone)
    found = []
    for rdata in content.dnskey or ():
        if len(rdata) <= _DNSKEY_HEAD.size:
            continue
        flags, protocol, algorithm = _DNSKEY_HEAD.unpack_from(rdata)
        if not flags & _ZONE_KEY or not flags & _SEP or protocol != 3:
            continue
        tag = Key.from_rdata(content.zone, rdata).tag
        if flags & _REVOKED:
            notes.append(f"{zone} DNSKEY {tag} is left out: it is revoked (RFC 5011 section 2.1)")
        elif algorithm not in _ALGORITHMS:
            notes.append(f"{zone} DNSKEY {tag} is left out: algorithm {algorithm} is none of {_listed(_ALGORITHMS)}")
        else:
            found += [_made_ds(content.zone, rdata, tag, algorithm, digest_type) for digest_type in digests]
    if not found:
        notes.append(f"{zone}: no DNSKEY record with the SEP flag can become a DS; the parent's DS stay")
        return None
    return tuple(sorted(found))


def _made_ds(zone: bytes, dnskey: bytes, tag: int, algorithm: int, digest_type: int) -> bytes:
    """RFC 4034 section 5.1.4: the digest of the owner name in canonical form and the DNSKEY's RDATA."""
    digest = _DIGESTS[digest_type][1](zone + dnskey).digest()
    return _DS_HEAD.pack(tag, algorithm, digest_type) + bytes(digest)


def _check_continuity(content: ZoneContent, ds: tuple[bytes, ...], now: float) -> None:
    """RFC 7344 section 4.1: with these DS, the zone has to be secure."""
    trouble = why_broken(content, ds, now)
    if trouble is not None:
        zone = names.to_text(content.zone)
        raise Unsuitable(f"these DS would make {zone} bogus (RFC 7344 section 4.1): {trouble}")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
