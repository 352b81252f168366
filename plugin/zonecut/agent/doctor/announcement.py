"""What the parent announces (DSYNC), and whether the receivers can be reached and believed."""

from collections.abc import Iterator

from zonecut.agent.doctor.findings import Finding, Section, Severity, listed
from zonecut.agent.examination import Examination, ReceiverView
from zonecut.agent.meaning import say
from zonecut.agent.party import Worth
from zonecut.agent.reach import KeyWord, Reached
from zonecut.agent.response import Signed
from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints, ReceiverState, RRType
from zonecut.protocol.foreigntext import quoted
from zonecut.protocol.keys import algorithm_text
from zonecut.protocol.keystate import state_text
from zonecut.resolve import Verdict


def judge_announcement(seen: Examination) -> Section:
    facts = [("DSYNC", record.to_text(seen.codepoints)) for record in seen.discovery.records]
    return Section("announcement", tuple(facts), tuple(_announced(seen)))


def _announced(seen: Examination) -> Iterator[Finding]:
    discovery = seen.discovery
    if discovery.verdict is Verdict.BOGUS:
        yield Finding(
            "dsync-bogus",
            Severity.PROBLEM,
            f"what the parent announces is bogus: {discovery.reason}",
            "no child will use it",
            "it is for the parent's operator; if signatures have expired or are not valid yet, compare this machine's"
            " clock first",
        )
    elif not discovery.is_known:
        yield Finding(
            "dsync-unknown",
            Severity.UNKNOWN,
            f"what the parent announces could not be found out: {discovery.reason}",
            advice="see that the resolver answers and passes DNSSEC records on (--resolver)",
        )
    elif not discovery.records:
        yield Finding(
            "no-dsync",
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
        yield Finding("dsync", Severity.OK, f"{discovery.verdict}: {', '.join(ways) or 'no scheme known here'}")
        if discovery.verdict is Verdict.INSECURE:
            yield Finding(
                "dsync-insecure",
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
    facts += [(f"of key {word.tag}", _word_fact(word)) for word in view.words]
    findings = [*_found(view), *_worth(view), *_methods(seen, view), *_reached(view), *_words(view)]
    return Section("receiver", tuple(facts), tuple(findings), names.to_text(view.record.target))


def _reached_fact(each: Reached, codepoints: CodePoints) -> str:
    if each.response is None:
        return f"{each.address}: {each.reason.removeprefix(f'{each.address}: ')}"
    by = each.response.by
    signed = f"signed by key {by.tag}" if by is not None else f"signature: {each.response.signed}"
    return f"{say(each.response, codepoints)}, {signed}"


def _word_fact(word: KeyWord) -> str:
    text = f": {quoted(word.told.extra_text)}" if word.told.extra_text else ""
    return f"{state_text(word.told.key_state)} ({word.told.key_state}){text}{'' if word.signed else ', unsigned'}"


def _found(view: ReceiverView) -> Iterator[Finding]:
    target = names.to_text(view.record.target)
    if view.party is None:
        bogus = any(answer.verdict is Verdict.BOGUS for answer in view.addresses)
        unknown = not bogus and any(answer.verdict is Verdict.INDETERMINATE for answer in view.addresses)
        yield Finding(
            "receiver-lost",
            Severity.UNKNOWN if unknown else Severity.PROBLEM,
            f"{target} cannot be talked to: {view.reason}",
            "UPDATEs have nowhere to go",
            "it is for the parent's operator; in a lab, --any-address takes any address",
        )
        return
    for answer in (*view.addresses, view.svcb):
        if answer.verdict is Verdict.BOGUS:
            yield Finding(
                "receiver-bogus",
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
        case Worth.PINNED | Worth.VALIDATED | Worth.REMEMBERED:
            yield Finding("receiver-key", Severity.OK, f"its KEY is {party.worth}: {party.reason}")
        case Worth.INSECURELY_ANNOUNCED:
            yield Finding(
                "receiver-announced-insecurely",
                Severity.WARNING,
                f"{target} is announced insecurely: {party.reason}",
                "somebody on the way could announce a receiver of his own",
                "compare its fingerprint with the parent's operator, and pin it (`parent: {pins: [...]}`)",
            )
        case Worth.INSECURE if not party.keys:
            yield Finding(
                "receiver-key-missing",
                Severity.WARNING,
                f"{target} publishes no KEY that can be used",
                "nobody can tell its answers from forged ones",
                "it is for the parent's operator to publish the receiver's KEY",
            )
        case Worth.INSECURE:
            yield Finding(
                "receiver-key-insecure",
                Severity.WARNING,
                f"the KEY of {target} is insecure: {party.reason}",
                "somebody on the way could speak as the receiver",
                "compare its fingerprint with the parent's operator, and pin it (`parent: {pins: [...]}`)",
            )
        case Worth.UNKNOWN:
            undecided = view.key.verdict is Verdict.INDETERMINATE
            yield Finding(
                "receiver-key-unknown",
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
            "no-svcb",
            Severity.NOTE,
            f"{names.to_text(view.record.target)} does not say how it comes to trust a key (SVCB): {view.svcb.reason}",
            "a child has to try, or ask the parent's operator",
        )
    else:
        told = ", ".join(methods) or "no method that is known here"
        yield Finding("svcb", Severity.OK, f"it trusts keys by {told} ({view.svcb.verdict})")


def _reached(view: ReceiverView) -> Iterator[Finding]:
    routed = [each for each in view.reached if each.routed]
    unrouted = dict.fromkeys(str(each.address) for each in view.reached if not each.routed)
    if unrouted:
        yield Finding(
            "no-way",
            Severity.NOTE,
            f"not asked, as this machine has no way there: {listed(list(unrouted))}",
            "nothing is known about these addresses of the receiver",
            "run this on a machine that has IPv6 (or IPv4), too",
        )
    for way, severity, why in (
        ("tcp", Severity.PROBLEM, "UPDATEs go over TCP"),
        ("udp", Severity.WARNING, "clients that ask over UDP, as nsupdate does first, wait in vain"),
    ):
        silent = [each for each in routed if each.transport == way and each.response is None]
        answered = any(each.transport == way and each.response for each in routed)
        if silent:
            yield Finding(
                f"receiver-silent-{way}",
                Severity.WARNING if answered else severity,
                f"no answer over {way.upper()}: {'; '.join(each.reason for each in silent[:3])}",
                why,
                "look for a firewall on this side; else it is for the parent's operator",
            )
    if routed and all(each.response for each in routed):
        yield Finding("receiver-reached", Severity.OK, "it answers over UDP and TCP")
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
            "answer-wrongly-signed",
            Severity.PROBLEM,
            f"{wrong[0].address} signs its answers, and none of the published keys makes the signature good",
            "agents believe nothing of it: the key was changed without its KEY record, the clocks differ by more than"
            " five minutes, or somebody else answers",
            "compare this machine's clock; else it is for the parent's operator",
        )
    if unsigned:
        yield Finding(
            "answer-unsigned",
            Severity.WARNING,
            f"{unsigned[0].address} does not sign its answers, although it publishes a KEY",
            "agents ignore an unsigned answer",
            "it is for the parent's operator; some receivers sign only answers to signed messages",
        )
    if not wrong and not unsigned:
        yield Finding("answers-signed", Severity.OK, "its answers are signed by its KEY")


_FAILED = frozenset((ReceiverState.INVALID, ReceiverState.REFUSED, ReceiverState.VALIDATION_FAILED))


def _words(view: ReceiverView) -> Iterator[Finding]:
    for word in view.words:
        if not word.signed:
            continue
        state, told = word.told.receiver_state, f"the receiver's word on key {word.tag}: {_word_fact(word)}"
        if state is ReceiverState.TRUSTED:
            yield Finding("key-trusted", Severity.OK, f"the receiver trusts key {word.tag} of the child")
        elif state in _FAILED:
            yield Finding(
                "key-failed",
                Severity.WARNING,
                told,
                "changes that this key signs are refused",
                "see below which method would find the key; then zonecut child bootstrap uploads it again",
            )
        elif state is ReceiverState.BOOTSTRAP_MANUAL:
            yield Finding(
                "key-waits",
                Severity.WARNING,
                told,
                "an operator of the parent has to compare its fingerprint",
                "tell the parent's operator the fingerprint",
            )
        else:
            yield Finding("key-state", Severity.NOTE, told, advice="zonecut child bootstrap uploads a key")
