"""Would a zone still be secure under another DS RRset? (RFC 7344 section 4.1)"""

from collections.abc import Collection, Iterable

import dns.exception
import dns.rdata
import dns.rdataclass
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DS import DS

from zonecut.protocol import names
from zonecut.resolve.anchors import supported
from zonecut.resolve.failures import Bogus, Undecided
from zonecut.resolve.reply import RRset
from zonecut.resolve.signatures import verify
from zonecut.resolve.values import Direct
from zonecut.resolve.work import Limits, Work
from zonecut.resolve.zone import Zone, entry_keys, verify_keys

_LIMITS = Limits(validations=16)
"""One server of many: an honest zone takes one verification, and this bounds what all of a child's may cost."""


def check_dnskeys(direct: Direct, ds: Iterable[bytes], now: float, limits: Limits = _LIMITS) -> str | None:
    """Why the DNSKEY RRset that a server handed out does not validate under these DS RDATA; None if it does.

    `now` is in seconds since 1970. For each algorithm that the DS name, one DS of a supported kind has to name a key
    which signs the RRset (RFC 4035 sections 2.2 and 5.2): who knows only that algorithm has to get through as well.
    """
    if direct.reply is None:
        return direct.reason
    return check_algorithms(direct.name, direct.reply.find(direct.name, RdataType.DNSKEY), tuple(ds), now, Work(limits))


def check_algorithms(
    zone: bytes, found: RRset | None, ds: Collection[bytes], now: float, work: Work | None = None
) -> str | None:
    """As `check_dnskeys`, for the DNSKEY RRset of a zone with its signatures; None if there is none.

    `work` is shared with other checks, and may be used up.
    """
    work = work or Work(_LIMITS)
    if (reason := check_dnskey_rrset(zone, found, ds, now, work)) is not None:
        return reason
    of_algorithm: dict[int, list[bytes]] = {}
    for rdata in ds:
        if any(supported(_read([rdata]))):
            of_algorithm.setdefault(rdata[2], []).append(rdata)
    if len(of_algorithm) < 2:
        return None
    for algorithm, records in sorted(of_algorithm.items()):
        if (reason := check_dnskey_rrset(zone, found, records, now, work)) is not None:
            return f"for the DS of algorithm {algorithm}: {reason}"
    return None


def check_dnskey_rrset(
    zone: bytes, found: RRset | None, ds: Iterable[bytes], now: float, work: Work | None = None
) -> str | None:
    """The same without regard to algorithms: one DS that leads to a key which signs is enough."""
    verified = zone_under(zone, found, ds, now, work or Work(_LIMITS))
    return verified if isinstance(verified, str) else None


def check_signed_under(
    zone: bytes,
    keys: RRset | None,
    found: RRset,
    ds: Collection[bytes],
    now: float,
    work: Work | None = None,
    *,
    by_entry: bool,
) -> str | None:
    """Why an RRset at the apex of a zone is not proven by its DNSKEY RRset and these DS RDATA; None if it is.

    `by_entry`: signed by a key that one of the DS names, as CDS and CDNSKEY are (RFC 7344 section 4.1); otherwise any
    key of the zone will do (RFC 4035 section 5.3.1).
    """
    work = work or Work(_LIMITS)
    under = zone_under(zone, keys, ds, now, work)
    if isinstance(under, str) or keys is None:
        return under if isinstance(under, str) else f"{names.to_text(zone)} has no DNSKEY"
    try:
        signers = entry_keys(zone, keys, _read(ds), work) if by_entry else under.keys
        verified = verify(found, zone, signers, now, work)
    except (Bogus, Undecided) as failure:
        return str(failure)
    return "it was made from a wildcard" if verified.expanded else None


def zone_under(apex: bytes, found: RRset | None, ds: Iterable[bytes], now: float, work: Work) -> Zone | str:
    """The zone whose DNSKEY RRset validates under these DS RDATA, or why it does not."""
    records = supported(_read(ds))
    if not records:
        return "no DS is of an algorithm and a digest type that can be validated here"
    try:
        return verify_keys(apex, found, records, (), now, work)
    except (Bogus, Undecided) as failure:
        return str(failure)


def can_validate(ds: Iterable[bytes]) -> bool:
    """Whether one of these DS RDATA is of an algorithm and a digest type in use: under none, a zone counts as one that
    is not signed (RFC 4035 section 5.2)."""
    return bool(supported(_read(ds)))


def _read(ds: Iterable[bytes]) -> Iterable[DS]:
    for rdata in ds:
        try:
            record = dns.rdata.from_wire(dns.rdataclass.IN, RdataType.DS, rdata, 0, len(rdata))
        except (dns.exception.DNSException, ValueError):
            # a DS that nobody can read leads nowhere: it counts like one of an unknown kind
            continue
        if isinstance(record, DS):
            yield record
