"""Whether the world takes the child zone for secure, and whether its DS and DNSKEY records belong together."""

from collections.abc import Iterator
from datetime import UTC, datetime

from zonecut.agent.content import ZoneContent
from zonecut.agent.doctor.findings import Finding, Section, Severity
from zonecut.agent.examination import Examination
from zonecut.protocol import names
from zonecut.resolve import Verdict, check_dnskey_rrset


def judge_dnssec(seen: Examination) -> Section:
    facts = [("this machine", datetime.fromtimestamp(seen.now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))]
    if seen.parent is not None and seen.parent.held is not None and seen.parent.held.ds:
        facts.append(("DS", f"{len(seen.parent.held.ds)} at the parent"))
    return Section("DNSSEC", tuple(facts), tuple(_findings(seen)))


def _findings(seen: Examination) -> Iterator[Finding]:
    child, answer = names.to_text(seen.child), seen.soa
    match answer.verdict:
        case Verdict.SECURE:
            yield Finding("secure", Severity.OK, f"{child} is secure: {answer.reason}")
        case Verdict.INSECURE:
            yield Finding(
                "insecure",
                Severity.NOTE,
                f"{child} is not signed as far as the world can tell: {answer.reason}",
                "its answers, and its KEY, can be forged on the way; `at-apex` cannot be used",
            )
        case Verdict.BOGUS:
            yield Finding(
                "bogus",
                Severity.PROBLEM,
                f"{child} is bogus: {answer.reason}",
                "validating resolvers answer SERVFAIL for all of the zone",
                "compare DS and DNSKEY, and see that the zone is signed afresh; if signatures have expired or are not"
                " valid yet, compare this machine's clock first",
            )
        case Verdict.INDETERMINATE:
            yield Finding(
                "undetermined",
                Severity.UNKNOWN,
                f"whether {child} is secure could not be found out: {answer.reason}",
                advice="see that the resolver answers and passes DNSSEC records on (--resolver)",
            )
    yield from _continuity(seen)


def _continuity(seen: Examination) -> Iterator[Finding]:
    held = None if seen.parent is None else seen.parent.held
    ds = held.ds if held is not None and held.is_delegated else ()
    contents = seen.zone.contents
    if not ds:
        newest = seen.zone.newest
        if held is not None and held.is_delegated and newest is not None and newest.dnskey:
            yield Finding(
                "ds-missing",
                Severity.WARNING,
                "the zone is signed, and the parent has no DS for it",
                "nobody can validate it: the signatures are in vain",
                "publish CDS and have the parent told (zonecut child sync), or give it the DS by hand",
            )
        return
    broken = [(server, trouble) for server, content in contents if (trouble := _trouble(seen, content, ds)) is not None]
    if broken:
        told = "; ".join(f"{server}: {trouble}" for server, trouble in broken[:3])
        yield Finding(
            "ds-without-dnskey",
            Severity.PROBLEM,
            f"the DNSKEY records do not fit the parent's DS: {told}",
            "validating resolvers take the zone for forged",
            "bring back a key that the DS names, or have the parent's DS changed; if signatures have expired or are not"
            " valid yet, compare this machine's clock first",
        )
    elif contents:
        yield Finding("continuity", Severity.OK, "every server's DNSKEY records are signed by a key that a DS names")


def _trouble(seen: Examination, content: ZoneContent, ds: tuple[bytes, ...]) -> str | None:
    if content.dnskey is None:
        return None
    return check_dnskey_rrset(seen.child, content.signed_dnskey, ds, seen.now)
