"""Whether the DS records of the parent and the DNSKEY records of the child belong together, DS by DS."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime

import dns.dnssec
import dns.exception
import dns.name
from dns.dnssectypes import DSDigest
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from zonecut.agent.doctor.findings import Finding, Severity, listed
from zonecut.agent.doctor.observation import Examination
from zonecut.agent.doctor.sync import SEEN_BY_NOBODY
from zonecut.agent.doctor.tags import Tag
from zonecut.agent.evidence.ds_statement import algorithm_of
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import rdata_text
from zonecut.resolve import can_validate, check_dnskey_rrset
from zonecut.resolve.reply import RRset

SOON = 86400.0
"""A signature that ends within so many seconds ends soon; one that does not last ten times as long, within a tenth of
what it lasts."""
_ROLL = "during a roll of keys it is as it should be; else have the parent's DS removed"


def judge_chain(seen: Examination) -> Iterator[Finding]:
    """What there is to say of the DS that each server of the parent shows, and the DNSKEY of each of the child."""
    sets = [ds for ds in seen.ds_sets if ds]
    if not sets:
        yield from _without_ds(seen)
        return
    records = tuple(dict.fromkeys(rdata for ds in sets for rdata in ds))
    usable = [ds for ds in sets if can_validate(ds)]
    yield from _unsupported(records, len(usable) < len(sets))
    signed = [(server, content) for server, content in seen.zone.contents if content.dnskey is not None]
    broken = [
        (server, trouble)
        for server, content in signed
        for ds in usable
        if (trouble := check_dnskey_rrset(seen.child, content.signed_dnskey, ds, seen.now)) is not None
    ]
    if broken:
        told = listed([f"{server}: {trouble}" for server, trouble in broken], 3, "; ")
        yield Finding(
            Tag.CHAIN_BROKEN,
            Severity.PROBLEM,
            f"the DNSKEY records do not fit the parent's DS: {told}",
            "validating resolvers take the zone for forged",
            "bring back a key that the DS names, or have the parent's DS changed; if signatures have expired or are not"
            " valid yet, compare this machine's clock first",
        )
    elif signed and usable:
        told = "every server's DNSKEY records are signed by a key that a DS names"
        yield Finding(Tag.CHAIN_HOLDS, Severity.OK, told)
        contents = [content for _, content in signed]
        yield from _each(seen, [ds for ds in records if can_validate([ds])], contents)
        yield from _soon(seen, usable, contents)


def _without_ds(seen: Examination) -> Iterator[Finding]:
    newest = seen.zone.newest
    if seen.ds is None or newest is None or not newest.dnskey:
        return
    if newest.cds:
        advice = "it asks for DS by CDS: see below what differs"
    elif seen.by_backend:
        advice = SEEN_BY_NOBODY
    elif seen.settings.ds.source in ("auto", "dnskey"):
        advice = "zonecut child sync gives it the DS of the keys with the SEP flag"
    elif seen.settings.ds.source == "off":
        advice = "give it the DS by hand: `ds: {source: off}` has the agent ask for none"
    else:
        advice = "publish CDS, and have the parent told then (zonecut child sync), or give it the DS by hand"
    yield Finding(
        Tag.DS_MISSING,
        Severity.WARNING,
        "the zone is signed, and the parent has no DS for it",
        "nobody can validate it: the signatures are in vain",
        advice,
    )


def _unsupported(records: Collection[bytes], alone: bool) -> Iterator[Finding]:
    """Of a kind that is not used any more, as with a digest by SHA-1 (RFC 8624 section 3.3, RFC 9905)."""
    old = [ds for ds in records if not can_validate([ds])]
    if not old:
        return
    told = listed([rdata_text(RRType.DS, ds) for ds in old], 3)
    yield Finding(
        Tag.DS_UNSUPPORTED,
        Severity.WARNING if alone else Severity.NOTE,
        f"of an algorithm or digest type that is not to be used any more: DS {told}",
        "validators that do not know it take the zone for one that is not signed, and its answers can be forged"
        if alone
        else "validators leave it aside (RFC 4035 section 5.2)",
        "have the parent hold a DS with a digest by SHA-256 (type 2) of a key with a current algorithm",
    )


def _each(seen: Examination, records: Collection[bytes], contents: Collection[ZoneContent]) -> Iterator[Finding]:
    """DS that lead nowhere, beside one that holds."""
    for ds in records:
        rrsets = [content.signed_dnskey for content in contents]
        if all(check_dnskey_rrset(seen.child, rrset, [ds], seen.now) is None for rrset in rrsets):
            continue
        text = rdata_text(RRType.DS, ds)
        # who asks for it by CDS publishes it before its key (RFC 6781 section 4.1.2)
        severity = Severity.NOTE if all(ds in (content.cds or ()) for content in contents) else Severity.WARNING
        if not all(_signs(seen, rrset, algorithm_of(ds)) for rrset in rrsets):
            yield Finding(
                Tag.DS_ALGORITHM_SIGNS_NOTHING,
                Severity.WARNING,
                f"DS {text}: algorithm {algorithm_of(ds)} does not sign the DNSKEY records",
                "a validator that knows no other algorithm, or holds to RFC 4035 section 2.2, answers SERVFAIL",
                "sign with that algorithm as well, or have this DS removed",
            )
        elif not all(_is_there(seen, rrset, ds) for rrset in rrsets):
            yield Finding(
                Tag.DS_MATCHES_NO_DNSKEY,
                severity,
                f"DS {text}: no DNSKEY matches it{'' if len(contents) < 2 else ' at every server'}",
                "it leads nowhere, and whoever has that key can sign for the zone",
                _ROLL,
            )
        else:
            yield Finding(
                Tag.DS_KEY_SIGNS_NOTHING,
                severity,
                f"DS {text}: the DNSKEY that it names does not sign the DNSKEY records",
                "it leads nowhere now",
                _ROLL,
            )


def _signs(seen: Examination, rrset: RRset | None, algorithm: int) -> bool:
    """Whether some key of that algorithm signs the DNSKEY RRset."""
    keys = [key for key in _keys(rrset) if key.algorithm == algorithm]
    return any(
        check_dnskey_rrset(seen.child, rrset, made, seen.now) is None
        for key in keys
        if (made := _made(seen.child, key, 2))
    )


def _is_there(seen: Examination, rrset: RRset | None, ds: bytes) -> bool:
    return any(ds in _made(seen.child, key, ds[3]) for key in _keys(rrset))


def _keys(rrset: RRset | None) -> list[DNSKEY]:
    return [rdata for rdata in rrset.rdatas if isinstance(rdata, DNSKEY)] if rrset else []


def _made(zone: bytes, key: DNSKEY, digest_type: int) -> list[bytes]:
    """The DS RDATA of a key with a digest of that type; none where that cannot be made."""
    owner, _ = dns.name.from_wire(zone, 0)
    try:
        return [dns.dnssec.make_ds(owner, key, DSDigest.make(digest_type), validating=True).to_digestable()]
    except (dns.exception.DNSException, ValueError):
        return []


def _soon(
    seen: Examination, usable: Collection[tuple[bytes, ...]], contents: Collection[ZoneContent]
) -> Iterator[Finding]:
    """The signatures hold now, and will not much longer."""
    ends = [end for content in contents for ds in usable if (end := _end(seen, content.signed_dnskey, ds)) is not None]
    if ends:
        moment = datetime.fromtimestamp(min(ends), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        yield Finding(
            Tag.DNSKEY_SIGNATURE_ENDS_SOON,
            Severity.WARNING,
            f"the signature of the DNSKEY records ends {moment}, in {min(ends) - seen.now:.0f} s",
            "from then on validating resolvers answer SERVFAIL for all of the zone",
            "see that the zone is signed afresh in time, and that every secondary gets it",
        )


def _end(seen: Examination, rrset: RRset | None, ds: Collection[bytes]) -> float | None:
    """When the last signature ends that holds under these DS, if that is soon."""
    valid = [each for each in rrset.signatures if each.inception <= seen.now <= each.expiration] if rrset else []
    if not valid:
        return None
    margin = min(SOON, max(each.expiration - each.inception for each in valid) / 10)
    if check_dnskey_rrset(seen.child, rrset, ds, seen.now + margin) is None:
        return None
    within = [each.expiration for each in valid if each.expiration < seen.now + margin]
    return max(within, default=None)
