"""What the parent announces (DSYNC), and whether the receivers can be reached and believed."""

from collections.abc import Iterator
from ipaddress import ip_address

from zonecut.agent.doctor.findings import Finding, Section, Severity, listed, not_all
from zonecut.agent.doctor.memory import judge_memory, judge_remembered_keys
from zonecut.agent.doctor.observation import Examination, ReceiverView
from zonecut.agent.doctor.reachability import Reached
from zonecut.agent.doctor.tags import Tag
from zonecut.agent.doctor.words import judge_words, word_fact
from zonecut.agent.exchange.response import Signed
from zonecut.agent.exchange.result import say
from zonecut.agent.parent.receiver import MAX_ADDRESSES, KeyTrust
from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints, RRType
from zonecut.protocol.keys import algorithm_text
from zonecut.resolve import Verdict


def judge_announcement(seen: Examination) -> Section:
    facts = [("DSYNC", record.to_text(seen.codepoints)) for record in seen.discovery.records]
    return Section("announcement", tuple(facts), (*_announced(seen), *judge_memory(seen)))


def _announced(seen: Examination) -> Iterator[Finding]:
    discovery = seen.discovery
    if discovery.verdict is Verdict.BOGUS:
        yield Finding(
            Tag.DSYNC_BOGUS,
            Severity.PROBLEM,
            f"what the parent announces is bogus: {discovery.reason}",
            "no child will use it",
            "it is for the parent's operator; if signatures have expired or are not valid yet, compare this machine's"
            " clock first",
        )
    elif not discovery.is_known:
        yield Finding(
            Tag.DSYNC_UNKNOWN,
            Severity.UNKNOWN,
            f"what the parent announces could not be found out: {discovery.reason}",
            advice="see that the resolver answers and passes DNSSEC records on (--resolver)",
        )
    elif not discovery.records:
        yield Finding(
            Tag.NO_DSYNC,
            Severity.NOTE,
            f"the parent announces nothing for its children (DSYNC, RFC 9859), {discovery.verdict}",
            "the delegation can only be changed by other ways: a registrar, or a scanner that is not announced",
        )
    else:
        updates = len(discovery.updates)
        notifies = [rrtype.text for rrtype in (RRType.CDS, RRType.CSYNC) if discovery.notifies(rrtype)]
        ways = [f"UPDATE ({updates} receiver{'s' if updates > 1 else ''})"] if updates else []
        ways += [f"NOTIFY of {' and '.join(notifies)}"] if notifies else []
        ways += ["a scanner"] if any(each.scheme == seen.codepoints.dsync_scanner for each in discovery.records) else []
        yield Finding(Tag.DSYNC, Severity.OK, f"{discovery.verdict}: {', '.join(ways) or 'no scheme known here'}")
        asked = {view.record for view in seen.receivers}
        yield from not_all("receivers", [record.to_text() for record in discovery.updates if record not in asked])
        if discovery.verdict is Verdict.INSECURE:
            yield Finding(
                Tag.DSYNC_INSECURE,
                Severity.NOTE,
                "DNSSEC does not vouch for the announcement",
                "somebody on the way could lead the child to another receiver",
                "it is for the parent's operator to sign the zone",
            )


def judge_receiver(seen: Examination, view: ReceiverView) -> Section:
    """A receiver: how it is reached, what its key is worth, and what it says of the child's keys."""
    facts: list[tuple[str, str]] = []
    if view.party is not None:
        worth = sorted({answer.verdict.value for answer in view.addresses if answer.rdatas})
        facts.append(("addresses", f"{listed(view.party.addresses)}  ({', '.join(worth)})"))
        facts += [
            ("its key", f"{key.tag} {algorithm_text(key.algorithm, seen.codepoints)}  {key.fingerprint()}")
            for key in view.party.keys
        ]
    facts += [(f"over {each.transport.upper()}", _reached_fact(each, seen.codepoints)) for each in view.reached]
    facts += [(f"of key {word.tag}", word_fact(word)) for word in view.words]
    findings = [
        *_found(view),
        *_worth(view),
        *judge_remembered_keys(seen, view),
        *_methods(seen, view),
        *_reached(view),
        *judge_words(view),
    ]
    return Section("receiver", tuple(facts), tuple(findings), names.to_text(view.record.target))


def _reached_fact(each: Reached, codepoints: CodePoints) -> str:
    if each.response is None:
        return f"{each.address}: {each.reason.removeprefix(f'{each.address}: ')}"
    by = each.response.by
    signed = f"signed by key {by.tag}" if by is not None else f"signature: {each.response.signed}"
    return f"{say(each.response, codepoints)}, {signed}"


def _found(view: ReceiverView) -> Iterator[Finding]:
    target = names.to_text(view.record.target)
    if view.party is None:
        bogus = any(answer.verdict is Verdict.BOGUS for answer in view.addresses)
        unknown = not bogus and any(answer.verdict is Verdict.INDETERMINATE for answer in view.addresses)
        yield Finding(
            Tag.RECEIVER_LOST,
            Severity.UNKNOWN if unknown else Severity.PROBLEM,
            f"{target} cannot be talked to: {view.reason}",
            "UPDATEs have nowhere to go",
            "it is for the parent's operator; in a lab, --any-address takes any address",
        )
        return
    if len(view.party.addresses) >= MAX_ADDRESSES:
        talked_to = {each.address for each in view.party.addresses}
        published = [str(ip_address(rdata)) for answer in view.addresses for rdata in answer.rdatas]
        yield from not_all("addresses of the receiver", [each for each in published if each not in talked_to])
    for answer in (*view.addresses, view.svcb):
        if answer.verdict is Verdict.BOGUS:
            yield Finding(
                Tag.RECEIVER_RECORDS_BOGUS,
                Severity.WARNING,
                f"of {target}: {answer}",
                "no child will use these records",
                "it is for the parent's operator",
            )


def _worth(view: ReceiverView) -> Iterator[Finding]:
    party, target = view.party, names.to_text(view.record.target)
    if party is None:
        return
    match party.worth:
        case KeyTrust.PINNED | KeyTrust.REMEMBERED if view.key.verdict is Verdict.BOGUS:
            yield Finding(
                Tag.RECEIVER_KEY_BOGUS,
                Severity.WARNING,
                f"the KEY of {target} is bogus: {view.key.reason}; {party.reason}",
                "an agent that knows the key already goes on with it; any other believes nothing and sends nothing, and"
                " nobody learns of a new key",
                "it is for the parent's operator",
            )
        case KeyTrust.REMEMBERED if view.key.verdict is not Verdict.SECURE:
            unknown = view.key.verdict is Verdict.INDETERMINATE
            yield Finding(
                Tag.RECEIVER_KEY_UNVERIFIED,
                Severity.UNKNOWN if unknown else Severity.WARNING,
                f"the KEY of {target} cannot be validated any more: {party.reason}",
                "an agent that knows the key already goes on with it; nobody learns of a new one",
                "see that the resolver answers (--resolver); else it is for the parent's operator",
            )
        case KeyTrust.PINNED | KeyTrust.VALIDATED | KeyTrust.REMEMBERED:
            yield Finding(Tag.RECEIVER_KEY, Severity.OK, f"its KEY is {party.worth}: {party.reason}")
        case KeyTrust.INSECURELY_ANNOUNCED:
            yield Finding(
                Tag.RECEIVER_ANNOUNCED_INSECURELY,
                Severity.WARNING,
                f"{target} is announced insecurely: {party.reason}",
                "somebody on the way could announce a receiver of his own",
                "compare its fingerprint with the parent's operator, and pin it (`parent: {pins: [...]}`)",
            )
        case KeyTrust.INSECURE if not party.keys:
            yield Finding(
                Tag.RECEIVER_KEY_MISSING,
                Severity.WARNING,
                f"{target} publishes no KEY that can be used",
                "nobody can tell its answers from forged ones",
                "it is for the parent's operator to publish the receiver's KEY",
            )
        case KeyTrust.INSECURE:
            yield Finding(
                Tag.RECEIVER_KEY_INSECURE,
                Severity.WARNING,
                f"the KEY of {target} is insecure: {party.reason}",
                "somebody on the way could speak as the receiver",
                "compare its fingerprint with the parent's operator, and pin it (`parent: {pins: [...]}`)",
            )
        case KeyTrust.UNKNOWN:
            undecided = view.key.verdict is Verdict.INDETERMINATE
            yield Finding(
                Tag.RECEIVER_KEY_UNKNOWN,
                Severity.UNKNOWN if undecided else Severity.PROBLEM,
                f"the KEY of {target} cannot be believed: {party.reason}",
                "agents believe nothing that the receiver says, and send it nothing",
                "it is for the parent's operator",
            )


def _methods(seen: Examination, view: ReceiverView) -> Iterator[Finding]:
    if view.party is None:
        return
    methods = view.methods(seen.codepoints)
    if methods is None:
        yield Finding(
            Tag.NO_SVCB,
            Severity.NOTE,
            f"{names.to_text(view.record.target)} does not say how it comes to trust a key (SVCB): {view.svcb.reason}",
            "a child has to try, or ask the parent's operator",
        )
    else:
        told = ", ".join(methods) or "no method that is known here"
        yield Finding(Tag.SVCB, Severity.OK, f"it trusts keys by {told} ({view.svcb.verdict})")


def _reached(view: ReceiverView) -> Iterator[Finding]:
    routed = [each for each in view.reached if each.routed]
    unrouted = dict.fromkeys(str(each.address) for each in view.reached if not each.routed)
    if unrouted:
        yield Finding(
            Tag.NO_WAY,
            Severity.NOTE,
            f"not asked, as this machine has no way there: {listed(list(unrouted))}",
            "nothing is known about these addresses of the receiver",
            "run this on a machine that has IPv6 (or IPv4), too",
        )
    for way, tag, severity, why in (
        ("tcp", Tag.RECEIVER_SILENT_TCP, Severity.PROBLEM, "UPDATEs go over TCP"),
        (
            "udp",
            Tag.RECEIVER_SILENT_UDP,
            Severity.WARNING,
            "clients that ask over UDP, as nsupdate does first, wait in vain",
        ),
    ):
        silent = [each for each in routed if each.transport == way and each.response is None]
        answered = any(each.transport == way and each.response for each in routed)
        if silent:
            yield Finding(
                tag,
                Severity.WARNING if answered else severity,
                f"no answer over {way.upper()}: {listed([each.reason for each in silent], 3, '; ')}",
                why,
                "look for a firewall on this side; else it is for the parent's operator",
            )
    if routed and all(each.response for each in routed):
        yield Finding(Tag.RECEIVER_REACHED, Severity.OK, "it answers over UDP and TCP")
    yield from _signed(view)


def _signed(view: ReceiverView) -> Iterator[Finding]:
    keys = view.party.keys if view.party else ()
    responses = [each.response for each in view.reached if each.response is not None]
    if not keys or not responses:
        return
    wrong = [response for response in responses if response.signed is Signed.WRONG]
    unsigned = [response for response in responses if response.signed is Signed.NONE]
    if wrong:
        yield Finding(
            Tag.ANSWER_WRONGLY_SIGNED,
            Severity.PROBLEM,
            f"{wrong[0].address} signs its answers, and none of the published keys makes the signature good",
            "agents believe nothing of it: the key was changed without its KEY record, the clocks differ by more than"
            " five minutes, or somebody else answers",
            "compare this machine's clock; else it is for the parent's operator",
        )
    if unsigned:
        yield Finding(
            Tag.ANSWER_UNSIGNED,
            Severity.WARNING,
            f"{unsigned[0].address} does not sign its answers, although it publishes a KEY",
            "agents ignore an unsigned answer",
            "it is for the parent's operator; some receivers sign only answers to signed messages",
        )
    if not wrong and not unsigned:
        yield Finding(Tag.ANSWERS_SIGNED, Severity.OK, "its answers are signed by its KEY")
