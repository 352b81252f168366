"""What a child zone says of the DS at its parent: by CDS and CDNSKEY (RFC 7344, 8078), or by its DNSKEY records. Pure.

Whether it is proven is another question: see `proof`.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from struct import Struct

from zonecut.agent.settings import DsSettings
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import rdata_text
from zonecut.protocol.dnssec import (
    DIGEST_LENGTH,
    DIGESTS,
    MADE_DIGESTS,
    REVOKED,
    SEP,
    ZONE_ALGORITHMS,
    ZONE_KEY,
    ds_digest,
)
from zonecut.protocol.keys import Key

CDS_DELETE = bytes(5)
"""CDS 0 0 0 00 (RFC 8078 section 4)."""
CDNSKEY_DELETE = b"\0\0\3\0\0"
"""CDNSKEY 0 3 0 AA== (RFC 8078 section 4)."""

_DS_HEAD = Struct("!HBB")
_DNSKEY_HEAD = Struct("!HBB")


class Unsuitable(Exception):
    """The parent cannot be given what the zone says; `reason` names the record and the rule."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Origin(StrEnum):
    """By what the zone says it."""

    CDS = "cds"
    """By CDS, CDNSKEY, or both."""
    DNSKEY = "dnskey"
    """By the DNSKEY records with the SEP flag."""
    ABSENCE = "absence"
    """It has none of these, and the operator has said what that means."""


@dataclass(frozen=True, slots=True)
class DsStatement:
    """The DS RDATA that the parent shall have; with `ds` None the zone does not say, and `origin` is None as well."""

    ds: tuple[bytes, ...] | None = None
    origin: Origin | None = None
    notes: tuple[str, ...] = ()


def statement(content: ZoneContent, settings: DsSettings, spoke: Origin | None = None) -> DsStatement:
    """What the zone says; Unsuitable if it makes no sense.

    `spoke` is what was acted on before. Where that were CDS, their absence is no statement, and no others speak in
    their place (RFC 7344 section 4.1: absence means no change): a server may show them while keys are rolled only.
    """
    zone, notes = names.to_text(content.zone), list[str]()
    source = settings.source
    if source in ("auto", "cds") and (content.cds or content.cdnskey):
        return DsStatement(_from_cds(content, settings.digests, notes), Origin.CDS, tuple(notes))
    if source == "auto" and spoke is Origin.CDS and content.dnskey != ():
        notes.append(
            f"{zone} has no CDS now, and had: that says nothing (RFC 7344 section 4.1), and the parent's DS stay"
            " (`ds.source: dnskey` would have them made of DNSKEY instead)"
        )
        return DsStatement(notes=tuple(notes))
    if source in ("auto", "dnskey") and content.dnskey:
        found = _from_dnskey(content, settings.digests, notes)
        return DsStatement(found, None if found is None else Origin.DNSKEY, tuple(notes))
    # nothing may be concluded from what cannot be seen, nor from the mere absence of CDS while the zone is signed
    is_unsigned = content.dnskey == () and (source == "dnskey" or (content.cds, content.cdnskey) == ((), ()))
    if is_unsigned and source != "off" and settings.unsigned == "remove":
        notes.append("the zone has neither CDS nor DNSKEY records, and ds.unsigned is `remove`")
        return DsStatement((), Origin.ABSENCE, tuple(notes))
    return DsStatement(notes=tuple(notes))


def names_key(zone: bytes, ds: bytes, dnskey: bytes) -> bool:
    """Whether a DS names a DNSKEY of the zone (RFC 4034 section 5.1.4)."""
    if len(ds) <= _DS_HEAD.size or len(dnskey) <= _DNSKEY_HEAD.size:
        return False
    _, algorithm, digest_type = _DS_HEAD.unpack_from(ds)
    return algorithm == dnskey[3] and ds[_DS_HEAD.size :] == ds_digest(digest_type, zone, dnskey)


def algorithm_of(ds: bytes) -> int:
    """The algorithm of the key that a DS names; 0, which no key has, where the record is too short to name one."""
    return ds[2] if len(ds) > _DS_HEAD.size else 0


def is_delete(content: ZoneContent) -> bool:
    """Whether CDS or CDNSKEY ask that there be no DS (RFC 8078 section 4)."""
    return CDS_DELETE in (content.cds or ()) or CDNSKEY_DELETE in (content.cdnskey or ())


def _from_cds(content: ZoneContent, digests: Iterable[int], notes: list[str]) -> tuple[bytes, ...]:
    zone, cds, cdnskey = names.to_text(content.zone), content.cds or (), content.cdnskey or ()
    if CDS_DELETE in cds and len(cds) > 1:
        raise Unsuitable(f"{zone} CDS: 0 0 0 00 must stand alone (RFC 8078 section 4)")
    if CDNSKEY_DELETE in cdnskey and len(cdnskey) > 1:
        raise Unsuitable(f"{zone} CDNSKEY: 0 3 0 AA== must stand alone (RFC 8078 section 4)")
    if cds and cdnskey:
        _check_agreement(content.zone, cds, cdnskey)
    if is_delete(content):
        return ()
    found = []
    for rdata in cds or _from_keys(content.zone, cdnskey, digests, notes):
        if trouble := _trouble_of_cds(rdata):
            notes.append(f"{zone} CDS {rdata_text(RRType.DS, rdata)} is left out: {trouble}")
        else:
            found.append(rdata)
    if not found:
        kind = "CDS" if cds else "CDNSKEY"
        raise Unsuitable(f"none of the {kind} records can become a DS: {'; '.join(notes)}")
    return _signing(content, found, notes)


def _check_agreement(zone: bytes, cds: Collection[bytes], cdnskey: Collection[bytes]) -> None:
    """RFC 7344 section 4: where both are there, they say the same. Raises Unsuitable."""
    if CDS_DELETE in cds and CDNSKEY_DELETE in cdnskey:
        return
    # of a digest of an unknown kind, only tag and algorithm can be compared
    tags = {(Key.from_rdata(zone, rdata).tag, rdata[3]) for rdata in cdnskey if len(rdata) > _DNSKEY_HEAD.size}
    alone = [
        f"CDS {rdata_text(RRType.DS, rdata)}"
        for rdata in cds
        if not any(names_key(zone, rdata, key) for key in cdnskey)
        and (
            len(rdata) <= _DS_HEAD.size or rdata[3] in MADE_DIGESTS or (int.from_bytes(rdata[:2]), rdata[2]) not in tags
        )
    ]
    named = {(int.from_bytes(rdata[:2]), rdata[2]) for rdata in cds if len(rdata) > _DS_HEAD.size}
    alone += [f"CDNSKEY with key tag {tag}, algorithm {algorithm}" for tag, algorithm in sorted(tags - named)]
    if alone:
        raise Unsuitable(
            f"CDS and CDNSKEY of {names.to_text(zone)} do not agree (RFC 7344 section 4): {'; '.join(alone)}"
        )


def _trouble_of_cds(rdata: bytes) -> str | None:
    if len(rdata) <= _DS_HEAD.size:
        return "it is too short"
    _, algorithm, digest_type = _DS_HEAD.unpack_from(rdata)
    if algorithm not in ZONE_ALGORITHMS:
        return f"algorithm {algorithm} is none of {_listed(ZONE_ALGORITHMS)}"
    if digest_type not in DIGESTS:
        return f"digest type {digest_type} is neither 2 (SHA-256) nor 4 (SHA-384) (RFC 8624 section 3.3)"
    length = DIGEST_LENGTH[digest_type]
    if len(rdata) != _DS_HEAD.size + length:
        return f"a digest of type {digest_type} has {length} octets"
    return None


def _from_dnskey(content: ZoneContent, digests: Iterable[int], notes: list[str]) -> tuple[bytes, ...] | None:
    zone = names.to_text(content.zone)
    found: list[bytes] = []
    for rdata in content.dnskey or ():
        if len(rdata) <= _DNSKEY_HEAD.size:
            continue
        flags, protocol, algorithm = _DNSKEY_HEAD.unpack_from(rdata)
        if not flags & ZONE_KEY or not flags & SEP or protocol != 3:
            continue
        tag = Key.from_rdata(content.zone, rdata).tag
        if flags & REVOKED:
            notes.append(f"{zone} DNSKEY {tag} is left out: it is revoked (RFC 5011 section 2.1)")
        elif algorithm not in ZONE_ALGORITHMS:
            notes.append(
                f"{zone} DNSKEY {tag} is left out: algorithm {algorithm} is none of {_listed(ZONE_ALGORITHMS)}"
            )
        else:
            found += [_made_ds(content.zone, rdata, tag, algorithm, digest_type) for digest_type in digests]
    if not found:
        notes.append(f"{zone}: no DNSKEY record with the SEP flag can become a DS; the parent's DS stay")
        return None
    return _signing(content, found, notes)


def _from_keys(zone: bytes, cdnskey: Iterable[bytes], digests: Iterable[int], notes: list[str]) -> list[bytes]:
    """The DS of CDNSKEY records (RFC 7344 section 3.2)."""
    found: list[bytes] = []
    for rdata in cdnskey:
        if len(rdata) <= _DNSKEY_HEAD.size or not rdata[0] & (ZONE_KEY >> 8) or rdata[2] != 3:
            notes.append(f"{names.to_text(zone)} CDNSKEY {rdata.hex()} is left out: it is no key of a zone")
            continue
        tag = Key.from_rdata(zone, rdata).tag
        found += [_made_ds(zone, rdata, tag, rdata[3], digest_type) for digest_type in digests]
    return found


def _made_ds(zone: bytes, dnskey: bytes, tag: int, algorithm: int, digest_type: int) -> bytes:
    """RFC 4034 section 5.1.4: the digest of the owner name in canonical form and the DNSKEY's RDATA."""
    digest = ds_digest(digest_type, zone, dnskey)
    assert digest is not None
    return _DS_HEAD.pack(tag, algorithm, digest_type) + digest


def _signing(content: ZoneContent, found: Iterable[bytes], notes: list[str]) -> tuple[bytes, ...]:
    """Those DS whose algorithm signs the DNSKEY RRset: each algorithm at the parent has to (RFC 4035 section 2.2).

    Whether the signatures are good now is asked elsewhere: where no algorithm signs, all of them are left.
    """
    every = tuple(sorted(found))
    signed = content.signed_dnskey
    if signed is None:
        return every
    signing = {int(signature.algorithm) for signature in signed.signatures}
    idle = {algorithm_of(rdata) for rdata in every} - signing
    if not idle or idle == {algorithm_of(rdata) for rdata in every}:
        return every
    for rdata in every:
        if algorithm_of(rdata) in idle:
            tag, algorithm, _ = _DS_HEAD.unpack_from(rdata)
            notes.append(
                f"{names.to_text(content.zone)}: no DS for the key with tag {tag}: nothing of its algorithm {algorithm}"
                " signs the DNSKEY RRset (RFC 4035 section 2.2)"
            )
    return tuple(rdata for rdata in every if algorithm_of(rdata) not in idle)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
