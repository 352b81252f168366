"""Whether the world takes the child zone for secure, and whether its DS and DNSKEY records belong together."""

from collections.abc import Iterator
from datetime import UTC, datetime

from zonecut.agent.content import ZoneContent
from zonecut.agent.doctor.findings import MAX_TOLD, Finding, Section, Severity
from zonecut.agent.examination import Examination
from zonecut.protocol import names
from zonecut.resolve import Status, Verdict, check_dnskey_rrset


def judge_dnssec(seen: Examination) -> Section:
    """Whether the zone is secure for the world, and would stay so."""
    facts = []
    if seen.ds:
        facts.append(("DS", f"{len(seen.ds)} at the parent"))
    newest = seen.zone.newest
    for signature in newest.signed_dnskey.signatures[:MAX_TOLD] if newest and newest.signed_dnskey else ():
        facts.append(("DNSKEY signed", f"{_moment(signature.inception)} to {_moment(signature.expiration)}"))
    return Section("DNSSEC", tuple(facts), tuple(_findings(seen)))


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _findings(seen: Examination) -> Iterator[Finding]:
    child, answer = names.to_text(seen.child), seen.soa
    match answer.verdict:
        case Verdict.SECURE | Verdict.INSECURE if answer.status is not Status.FOUND:
            yield Finding(
                "no-zone",
                Severity.PROBLEM,
                f"to the world there is no zone {child}: {answer.reason}",
                "nobody finds anything below that name",
                "have the parent delegate it, or see that CHILD is the name of a zone",
            )
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
    ds, contents = seen.ds, seen.zone.contents
    if not ds:
        newest = seen.zone.newest
        if ds is not None and newest is not None and newest.dnskey:
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
