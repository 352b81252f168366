"""Whether the world takes the child zone for secure, and whether its DS and DNSKEY records belong together."""

from collections.abc import Iterator
from datetime import UTC, datetime

from zonecut.agent.doctor.chain import judge_chain
from zonecut.agent.doctor.findings import MAX_TOLD, Finding, Section, Severity
from zonecut.agent.doctor.observation import Examination
from zonecut.agent.doctor.tags import Tag
from zonecut.protocol import names
from zonecut.resolve import Status, Verdict


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
        case Verdict.SECURE | Verdict.INSECURE if answer.status not in (Status.FOUND, Status.FAILED):
            yield Finding(
                Tag.NO_ZONE,
                Severity.PROBLEM,
                f"to the world there is no zone {child}: {answer.reason}",
                "nobody finds anything below that name",
                "have the parent delegate it, or see that CHILD is the name of a zone",
            )
        case Verdict.SECURE:
            yield Finding(Tag.SECURE, Severity.OK, f"{child} is secure: {answer.reason}")
        case Verdict.INSECURE:
            yield Finding(
                Tag.INSECURE,
                Severity.NOTE,
                f"{child} is not signed as far as the world can tell: {answer.reason}",
                "its answers, and its KEY, can be forged on the way; `at-apex` cannot be used",
            )
        case Verdict.BOGUS:
            yield Finding(
                Tag.BOGUS,
                Severity.PROBLEM,
                f"{child} is bogus: {answer.reason}",
                "validating resolvers answer SERVFAIL for all of the zone",
                "compare DS and DNSKEY, and see that the zone is signed afresh; if signatures have expired or are not"
                " valid yet, compare this machine's clock first",
            )
        case Verdict.INDETERMINATE:
            yield Finding(
                Tag.UNDETERMINED,
                Severity.UNKNOWN,
                f"whether {child} is secure could not be found out: {answer.reason}",
                advice="see that the resolver answers and passes DNSSEC records on (--resolver)",
            )
    yield from judge_chain(seen)
