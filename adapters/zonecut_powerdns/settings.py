"""The settings of a zone on PowerDNS that matter to somebody who writes to it. Pure."""

from collections.abc import Collection, Mapping
from typing import Any

from zonecut.plugin import BackendMisconfigured
from zonecut.plugin.wholezone import MADE_OF_ZONE, ZONEMD, made_elsewhere
from zonecut.protocol import names

_SECONDARIES = frozenset(("slave", "secondary", "consumer"))
_SIGNING = "take the signatures out of the database, and have PowerDNS sign (`pdnsutil secure-zone`)"
SERIAL = {"soa_edit_api": "INCREASE"}
"""Of the ways to raise a zone's serial number the one that suits every zone, whatever its numbers look like."""
_RISING = ("INCREASE", "DEFAULT")
_BY_CLOCK = "EPOCH"
_HALF = 1 << 31


def rises(old: int, new: int) -> bool:
    """True if a serial number is a later one (RFC 1982 section 3.2): else no secondary fetches the zone."""
    return 0 < (new - old) % (2 * _HALF) < _HALF


def missing(zone: Mapping[str, Any], apex: bytes, now: int) -> dict[str, Any]:
    """What has to be set: a way to raise the serial number, and rectifying where the zone is signed.

    Zones made by pdnsutil have neither: their serial number never moves. Nor does it with other ways than the three
    that are left as they are, and with EPOCH it is that of the clock (`now`, seconds), which may be lower. Without
    rectifying, a signed zone serves signed NS and glue and leaves new children out of its NSEC records. Raises
    BackendMisconfigured for a zone that is a secondary's, or signed elsewhere: what is written there does not last.
    """
    kind = str(zone.get("kind", ""))
    if kind.lower() in _SECONDARIES:
        raise BackendMisconfigured(
            f"{names.to_text(apex)} is a zone of kind {kind} on this server: write to the one that it comes from"
        )
    if zone.get("presigned"):
        raise BackendMisconfigured(f"{names.to_text(apex)} is signed elsewhere (presigned): it cannot be changed here")
    wanted: dict[str, Any] = {}
    way = str(zone.get("soa_edit_api") or "").upper()
    if way not in _RISING and not (way == _BY_CLOCK and rises(int(zone.get("serial") or 0), now)):
        wanted.update(SERIAL)
    if is_signed(zone) and not zone.get("api_rectify"):
        wanted["api_rectify"] = True
    return wanted


def check_made(apex: bytes, rtypes: Collection[int], *, signed: bool) -> None:
    """Raises BackendMisconfigured for types at the apex that PowerDNS does not make anew: signatures in the database,
    where it does not sign, and a digest anywhere."""
    for rtype in sorted(MADE_OF_ZONE.intersection(rtypes) if not signed else {ZONEMD}.intersection(rtypes)):
        cure = "" if rtype == ZONEMD else _SIGNING
        raise made_elsewhere(apex, rtype, "PowerDNS' database", cure=cure)


def is_signed(zone: Mapping[str, Any]) -> bool:
    return bool(zone.get("dnssec"))


def words(wanted: Mapping[str, Any]) -> str:
    """Settings as PowerDNS names them, for people."""
    return ", ".join(f"{name}={str(value).lower() if value is True else value}" for name, value in wanted.items())
