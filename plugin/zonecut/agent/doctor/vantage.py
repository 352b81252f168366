"""What this machine can tell at all: its resolver, its clock and its trust anchors."""

from dataclasses import replace
from datetime import UTC, datetime

from zonecut.agent.doctor.findings import Finding, Section, Severity, listed
from zonecut.agent.doctor.observation import Examination, ReceiverView, Signal
from zonecut.agent.doctor.tags import Tag
from zonecut.protocol import names
from zonecut.resolve import Answer, Verdict


def judge_vantage(seen: Examination) -> Section:
    """Whether anything can be validated from here."""
    facts = (
        ("resolver", listed(seen.resolvers)),
        ("clock", datetime.fromtimestamp(seen.now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")),
    )
    return Section("from here", facts, (_finding(seen),))


def _finding(seen: Examination) -> Finding:
    if seen.anchor is None:
        return Finding(
            Tag.NO_TRUST_ANCHOR,
            Severity.UNKNOWN,
            f"there is no trust anchor above {names.to_text(seen.child)}",
            "nothing can be validated",
            "see what --trust-anchors, or `resolver: {trust_anchors: ...}`, names",
        )
    if seen.can_validate:
        return Finding(
            Tag.DNSSEC_VALIDATES, Severity.OK, f"DNSSEC is validated here, from {names.to_text(seen.anchor.name)} on"
        )
    return Finding(
        Tag.CANNOT_VALIDATE,
        Severity.UNKNOWN,
        f"nothing can be validated with this resolver: {seen.anchor}",
        "what is said of DNSSEC below is this machine's doing, not the child's",
        "ask a resolver that passes DNSSEC records on (--resolver ADDR:PORT), and compare this machine's clock and the"
        " trust anchors",
    )


def without_blame(seen: Examination) -> Examination:
    """The examination with nothing bogus in it: where not even the trust anchor's zone validates, that says nothing."""
    return replace(
        seen,
        discovery=replace(seen.discovery, verdict=_mild(seen.discovery.verdict)),
        soa=_answer(seen.soa),
        key=_answer(seen.key),
        signals=tuple(map(_signal, seen.signals)),
        receivers=tuple(map(_receiver, seen.receivers)),
    )


def _mild(verdict: Verdict) -> Verdict:
    return Verdict.INDETERMINATE if verdict is Verdict.BOGUS else verdict


def _answer(answer: Answer) -> Answer:
    return replace(answer, verdict=_mild(answer.verdict))


def _signal(signal: Signal) -> Signal:
    return replace(signal, answer=None if signal.answer is None else _answer(signal.answer))


def _receiver(view: ReceiverView) -> ReceiverView:
    return replace(view, key=_answer(view.key), svcb=_answer(view.svcb), addresses=tuple(map(_answer, view.addresses)))
