"""Where the child's KEY is published, and what each way of establishing trust would find (PROTOCOL: bootstrap)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zonecut.agent.doctor.findings import Finding, Section, Severity, listed, not_all
from zonecut.agent.doctor.observation import Examination, Signal, keys_of
from zonecut.agent.doctor.reachability import MAX_KEYS
from zonecut.agent.doctor.tags import Tag
from zonecut.agent.doctor.words import UPLOADED
from zonecut.agent.evidence.zone_view import Standing
from zonecut.protocol import names
from zonecut.protocol.announced.svcb import Method
from zonecut.protocol.keys import algorithm_text
from zonecut.resolve import Answer, Status, Verdict


def judge_keys(seen: Examination) -> Section:
    """The KEY records at the apex and at the signalling names."""
    facts = [
        ("KEY", f"{key.tag} {algorithm_text(key.algorithm, seen.codepoints)}  {key.fingerprint()}")
        for key in seen.published
    ]
    known = set(seen.published)
    for server, content in seen.zone.contents:
        others = [key for key in keys_of(seen.child, content.key) if key not in known]
        facts += [(f"KEY at {server}", f"{key.tag}  {key.fingerprint()}") for key in others]
    facts.append(("apex", _place(seen.key)))
    facts += [(names.to_text(signal.server), _signal_fact(signal)) for signal in seen.signals]
    return Section("the child's KEY", tuple(facts), tuple(_key_findings(seen)))


def _place(answer: Answer) -> str:
    return f"{answer.status}, {answer.verdict}"


def _signal_fact(signal: Signal) -> str:
    if signal.owner is None or signal.answer is None:
        return "its signalling name would be too long"
    return f"{names.to_text(signal.owner)}  {_place(signal.answer)}"


def _key_findings(seen: Examination) -> Iterator[Finding]:
    answer, child = seen.key, names.to_text(seen.child)
    if answer.verdict is Verdict.BOGUS:
        yield Finding(
            Tag.KEY_BOGUS,
            Severity.WARNING,
            f"the KEY of {child} is bogus: {answer.reason}",
            "no parent will take it",
            "see that the zone is signed afresh",
        )
    elif answer.status is Status.FOUND and answer.rdatas:
        worth = {
            Verdict.SECURE: "which DNSSEC vouches for",
            Verdict.INSECURE: "which DNSSEC does not vouch for",
        }.get(answer.verdict, str(answer.verdict))
        if len({content.key for _, content in seen.zone.contents}) < 2:
            yield Finding(Tag.KEY, Severity.OK, f"{len(answer.rdatas)} KEY at the apex, {worth}")
    elif answer.says_nothing:
        yield Finding(
            Tag.KEY_UNDETERMINED, Severity.UNKNOWN, f"the KEY of {child} could not be looked up: {answer.reason}"
        )
    elif answer.status in (Status.WILDCARD, Status.ALIAS):
        yield Finding(
            Tag.KEY_NOT_AT_APEX,
            Severity.WARNING,
            f"the KEY of {child} is {'an alias' if answer.status is Status.ALIAS else 'made from a wildcard'}",
            "neither counts",
            "put KEY records at the apex itself",
        )
    else:
        yield Finding(
            Tag.NO_KEY,
            Severity.NOTE,
            f"{child} publishes no KEY",
            "a parent has no key with which it could verify changes",
            "where the parent takes UPDATEs: zonecut child keygen, then zonecut child publish",
        )
    yield from _differing_keys(seen)
    if seen.receivers:
        yield from not_all("KEY records", [f"what receivers say of key {key.tag}" for key in seen.published[MAX_KEYS:]])
    yield from not_all("names below `_signal`", [names.to_text(server) for server in seen.unlooked_signals])
    for signal in seen.signals:
        yield from _signal_findings(seen, signal)


def _differing_keys(seen: Examination) -> Iterator[Finding]:
    held: dict[tuple[bytes, ...], list[str]] = {}
    for server, content in seen.zone.contents:
        held.setdefault(content.key, []).append(str(server))
    if len(held) < 2:
        return
    told = [
        f"{listed([key.tag for key in keys_of(seen.child, rdatas)])} at {listed(servers, 2)}"
        for rdatas, servers in held.items()
    ]
    yield Finding(
        Tag.KEYS_DIFFER,
        Severity.WARNING,
        f"the servers do not have the same KEY records: {listed(told, between='; ')}",
        "whether a parent finds the key depends on whom it asks, and most methods want all to agree",
        "see that zone transfers reach every secondary; with several providers, publish all keys at each",
    )


def _signal_findings(seen: Examination, signal: Signal) -> Iterator[Finding]:
    answer = signal.answer
    if answer is None or signal.owner is None:
        return
    owner = names.to_text(signal.owner)
    if answer.verdict is Verdict.BOGUS:
        yield Finding(
            Tag.SIGNAL_BOGUS,
            Severity.WARNING,
            f"{owner} is bogus: {answer.reason}",
            "at-ns waits for it in vain",
            "it is for the operator of that name server",
        )
    elif answer.status is Status.FOUND and answer.rdatas and answer.rdatas != seen.key.rdatas:
        yield Finding(
            Tag.SIGNAL_DIFFERS,
            Severity.WARNING,
            f"{owner} holds other KEY records than the apex",
            "at-ns takes a key only where all are equal",
            "copy the KEY records of the apex there (zonecut child publish shows them)",
        )


@dataclass(frozen=True, slots=True)
class Prospect:
    """What one method would come to: whether it would take the child's keys, None if that cannot be told; and why."""

    method: Method
    takes: bool | None
    reason: str


def prospects(seen: Examination) -> tuple[Prospect, ...]:
    """What each method would find now, whether or not the parent offers it."""
    if not seen.published:
        if _keys_are_unknown(seen):
            return tuple(Prospect(method, None, "whether there is a KEY to find is not known") for method in Method)
        return tuple(Prospect(method, False, "there is no KEY to find") for method in Method)
    return (_at_apex(seen), _at_ns(seen), _unsigned(seen), _manual(seen))


def _keys_are_unknown(seen: Examination) -> bool:
    """Neither the resolver nor a server of the child says whether it publishes a key."""
    return seen.key.says_nothing and not seen.zone.contents


def _at_apex(seen: Examination) -> Prospect:
    answer = seen.key
    if answer.is_proven:
        signer = answer.signer == seen.child
        reason = "the KEY at the apex is secure" if signer else "another zone signed the KEY at the apex"
        return Prospect(Method.AT_APEX, signer, reason)
    takes = None if answer.verdict is Verdict.INDETERMINATE else False
    return Prospect(Method.AT_APEX, takes, f"the KEY at the apex: {_place(answer)}")


def _at_ns(seen: Examination) -> Prospect:
    """As the receiver examines it, in its strict mode (PROTOCOL section 5)."""

    def result(takes: bool | None, reason: str) -> Prospect:
        return Prospect(Method.AT_NS, takes, reason)

    if seen.ds:
        return result(False, "not for a child with DS")
    held = None if seen.parent is None else seen.parent.held
    named = held.ns if held is not None and held.is_delegated else None
    signals = [signal for signal in seen.signals if named is None or signal.server in named]
    if not signals:
        return result(False, "all name servers are in the child zone, where nobody else vouches for it")
    if any(signal.answer is None for signal in signals):
        return result(False, "the signalling name of a name server is too long")
    answers = [signal.answer for signal in signals if signal.answer is not None]
    secure = [answer for answer in answers if answer.verdict is Verdict.SECURE]
    for answer in secure:
        if not answer.is_proven:
            return result(False, f"{names.to_text(answer.name)}: {_place(answer)}")
    unclear = [answer for answer in answers if answer.verdict in (Verdict.BOGUS, Verdict.INDETERMINATE)]
    if unclear:
        return result(None, f"{names.to_text(unclear[0].name)}: {_place(unclear[0])}")
    if not secure:
        return result(False, "no name server's signalling name is in a signed zone")
    expected = secure[0].rdatas
    if any(answer.rdatas != expected for answer in secure):
        return result(False, "the signalling names do not hold the same KEY records")
    trouble = _at_every_server(seen, expected)
    return trouble or result(True, f"{len(secure)} signalling name(s) and every server of the child agree, secure")


def _at_every_server(seen: Examination, expected: Sequence[bytes]) -> Prospect | None:
    for server in seen.zone.servers:
        if server.content is None:
            return Prospect(Method.AT_NS, None, f"{server} does not show the zone")
        if server.content.key != expected:
            return Prospect(
                Method.AT_NS, False, f"{server} has other KEY records at the apex than the signalling names"
            )
    return None


def _unsigned(seen: Examination) -> Prospect:
    if seen.ds:
        return Prospect(Method.UNSIGNED, False, "not for a child with DS")
    shown = [server for server in seen.zone.servers if server.standing is not Standing.UNREACHABLE]
    silent = [server for server in shown if server.content is None]
    if silent or not shown:
        reason = f"{silent[0]} does not show the zone: silence is failure" if silent else "no server shows the zone"
        return Prospect(Method.UNSIGNED, False, reason)
    keys = {server.content.key for server in shown if server.content is not None}
    if len(keys) > 1 or () in keys:
        return Prospect(Method.UNSIGNED, False, "the servers do not have the same KEY records")
    return Prospect(Method.UNSIGNED, True, f"{len(shown)} server address(es) agree; it takes days (72 h by default)")


def _manual(seen: Examination) -> Prospect:
    prints = listed([key.fingerprint() for key in seen.published], 2)
    return Prospect(Method.MANUAL, True, f"an operator of the parent compares the fingerprint {prints}")


def judge_methods(seen: Examination) -> Section:
    """What each method would find, and which of them the parent offers."""
    offered = _offered(seen)
    found = prospects(seen)
    words = {True: "would take it", False: "would not", None: "cannot be told"}
    facts = [
        (each.method.value, f"{_offer_text(each.method, offered)}{words[each.takes]}: {each.reason}") for each in found
    ]
    return Section("bootstrap", tuple(facts), tuple(_method_findings(seen, found, offered)))


def _is_uploaded(seen: Examination) -> bool:
    return any(word.signed and word.told.receiver_state in UPLOADED for view in seen.receivers for word in view.words)


def _offered(seen: Examination) -> frozenset[Method] | None:
    """What the receivers announce; None: there is none, or none of them says."""
    told = [methods for view in seen.receivers if (methods := view.methods(seen.codepoints)) is not None]
    return frozenset(method for methods in told for method in methods) if told else None


def _offer_text(method: Method, offered: frozenset[Method] | None) -> str:
    if offered is None:
        return ""
    return "offered, " if method in offered else "not offered, "


def _method_findings(
    seen: Examination, found: Sequence[Prospect], offered: frozenset[Method] | None
) -> Iterator[Finding]:
    if not seen.receivers and not seen.discovery.is_known:
        yield Finding(Tag.RECEIVER_UNKNOWN, Severity.NOTE, "whether the parent has a receiver is not known")
        return
    if not seen.receivers:
        yield Finding(Tag.NO_RECEIVER, Severity.NOTE, "the parent has no receiver that could come to trust a key")
        return
    if any(word.signed and word.told.key_state == 4 for view in seen.receivers for word in view.words):
        yield Finding(Tag.BOOTSTRAPPED, Severity.OK, "nothing has to be done: a key of the child is trusted")
        return
    if _keys_are_unknown(seen):
        return  # as the section about the keys says
    if not seen.published:
        yield Finding(Tag.NOTHING_TO_TRUST, Severity.NOTE, "no method finds a KEY, since the child publishes none")
        return
    good = [each.method for each in found if each.takes and (offered is None or each.method in offered)]
    automatic = [method for method in good if method is not Method.MANUAL]
    if offered is None:
        yield Finding(
            Tag.METHODS_UNKNOWN, Severity.NOTE, f"what the parent offers is not said; possible: {listed(good)}"
        )
    elif automatic:
        yield Finding(Tag.METHOD_WORKS, Severity.OK, f"{automatic[0]} would take the key")
    elif good:
        yield Finding(
            Tag.MANUAL_ONLY,
            Severity.NOTE,
            "of what the parent offers, only `manual` would take the key",
            "an operator of the parent has to compare its fingerprint",
            "tell the parent's operator the fingerprint"
            if _is_uploaded(seen)
            else "zonecut child bootstrap, then tell the parent's operator the fingerprint",
        )
    else:
        yield Finding(
            Tag.NO_METHOD,
            Severity.WARNING,
            f"nothing that the parent offers ({listed(sorted(offered))}) would take the key",
            "the key cannot come to be trusted",
            "publish it where one of these methods looks, as said above",
        )
