"""Whether the parent holds what the child asks for, and whether an agent would have it changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from zonecut.agent.doctor.findings import Finding, Section, Severity
from zonecut.agent.doctor.observation import Examination
from zonecut.agent.doctor.tags import Tag
from zonecut.agent.evidence.desired import Desired, wanted
from zonecut.agent.evidence.ds_statement import Origin
from zonecut.agent.evidence.proof import rule
from zonecut.agent.evidence.witnesses import Look
from zonecut.agent.transitions import Now
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation, Difference

MAX_CHANGES = 20
"""Records of a difference that are shown."""

SEEN_BY_NOBODY = (
    "the agent reads the zone through its backend, where neither DNSKEY nor the CDS that a server makes by itself can"
    " be seen: give the child's entry a `primary`, and zonecut child sync does it"
)
_SYNC = "zonecut child sync does it where the parent takes UPDATEs; else the parent's registrar or operator has to"


def judge_sync(seen: Examination) -> Section:
    """Whether the parent holds what the child asks for."""
    return Section("in sync", (), tuple(_sync_findings(seen)))


def _sync_findings(seen: Examination) -> Iterator[Finding]:
    content, held = seen.zone.newest, None if seen.parent is None else seen.parent.held
    if content is not None and seen.parent is not None and seen.parent.is_hidden and seen.ds is not None:
        # NS and glue of the parent cannot be seen; its DS can
        held = Delegation(seen.child, content.ns, seen.ds, content.addresses)
    if content is None or held is None:
        missing = "what the child says" if content is None else "what the parent holds"
        yield Finding(Tag.SYNC_UNKNOWN, Severity.UNKNOWN, f"{missing} is not known: the two cannot be compared")
        return
    if not held.is_delegated:
        return
    for server in held.in_domain_ns():
        if not any(record.owner == server for record in held.glue):
            yield Finding(
                Tag.GLUE_MISSING,
                Severity.PROBLEM,
                f"the parent has no address for {names.to_text(server)}, which lies in the child zone",
                "without glue nobody can find that server (RFC 9471)",
                f"have the parent add its address: {_SYNC}",
            )
    asked = wanted(content, seen.settings, seen.now, seen.kept.spoke)
    for trouble in asked.troubles:
        yield Finding(
            Tag.ZONE_UNSUITABLE,
            Severity.PROBLEM,
            f"the parent could not be given what the zone says: {trouble}",
            "a parent that checks refuses this, and one that does not would break the zone",
            "change the zone first",
        )
    if not asked.ns_known and not asked.ds_known:
        return
    what = "what the child asks for" if seen.parent and not seen.parent.is_hidden else "the DS that the child asks for"
    yield from _differences(seen, held, asked, what)
    for note in asked.notes:
        yield Finding(Tag.RECORD_LEFT_OUT, Severity.NOTE, note)


_DS = "DS records"


def _differences(seen: Examination, held: Delegation, asked: Desired, what: str) -> Iterator[Finding]:
    difference = Difference.between(asked.beside(held), asked.asked([held]))
    if not difference:
        yield Finding(Tag.IN_SYNC, Severity.OK, f"the parent holds {what}")
        return
    servers = replace(asked, ds_known=False, delegation=replace(asked.delegation, ds=()))
    kinds = (
        (Tag.NS_DIFFER, (RRType.NS,), "name servers", "resolvers see one set first and another later (RFC 1034 4.2.2)"),
        (Tag.GLUE_DIFFERS, (RRType.A, RRType.AAAA), "glue", "resolvers start with the parent's addresses"),
        (Tag.DS_DIFFER, (RRType.DS,), _DS, _by_what(asked)),
    )
    for tag, rtypes, records, why in kinds:
        changes = [
            f"{sign} {record.to_text()}"
            for sign, changed in (("-", difference.removed), ("+", difference.added))
            for record in changed
            if record.rtype in rtypes
        ]
        if not changes:
            continue
        more = [f"and {len(changes) - MAX_CHANGES} more"] if len(changes) > MAX_CHANGES else []
        told = f"the parent holds other {records} than the child asks for:\n" + "\n".join(
            [*changes[:MAX_CHANGES], *more]
        )
        missing = _missing(seen, replace(asked, ns_known=False) if records is _DS else servers)
        if missing.troubles:
            yield _unproven(told, missing.troubles, is_ds=records is _DS)
        else:
            yield Finding(tag, Severity.WARNING, told, why, _advice(seen, asked, missing.waits, is_ds=records is _DS))


def _by_what(asked: Desired) -> str:
    if asked.origin is Origin.DNSKEY:
        return "the child has no CDS, and DNSKEY records with the SEP flag that are not those of the parent's DS"
    return "the child asks by CDS for other DS records (RFC 7344)"


@dataclass(frozen=True, slots=True)
class _Missing:
    """What keeps an agent from signing for a change: what it holds for, and what it waits for."""

    troubles: tuple[str, ...]
    waits: tuple[str, ...]


def _missing(seen: Examination, asked: Desired) -> _Missing:
    """What an agent that sees this says of it, save that it looks twice and waits for who is silent."""
    content, parent = seen.zone.newest, seen.parent
    if content is None or parent is None:
        return _Missing((), ())
    look = Look(content, asked, parent, seen.zone.servers, left_out=seen.zone.left_out)
    again, long = seen.settings.looks.again, seen.settings.looks.silent_for
    first = rule(look, None, long, Now(seen.now - again, 0.5, seen.settings))
    ruling = rule(look, None, long, Now(seen.now, 0.5, seen.settings), first.going)
    troubles = tuple(trouble for trouble in ruling.aim.troubles if trouble not in asked.troubles)
    return _Missing(troubles, ruling.waits)


def _unproven(told: str, troubles: Sequence[str], *, is_ds: bool) -> Finding:
    why = f"an agent does not sign for that, and holds: {'; '.join(troubles)}"
    if not is_ds:
        advice = "have the new name servers serve the zone with the keys that the parent's DS name, before NS name them"
        return Finding(Tag.NS_UNPROVEN, Severity.WARNING, told, why, advice)
    return Finding(
        Tag.DS_UNPROVEN,
        Severity.WARNING,
        told,
        why,
        "sign DNSKEY and CDS with a key that a DS at the parent names; where there is none any more, the parent's"
        " registrar or operator has to change the DS",
    )


def _advice(seen: Examination, asked: Desired, waits: Sequence[str], *, is_ds: bool) -> str:
    if is_ds and seen.by_backend:
        return SEEN_BY_NOBODY
    if waits:
        return f"what is missing before it can be changed: {'; '.join(waits)}; then {_SYNC}"
    if is_ds and asked.origin is Origin.DNSKEY and not seen.kept.is_known and seen.settings.ds.source == "auto":
        # what was said before by CDS is not seen from outside
        return (
            "publish CDS for the DS that are wanted (RFC 7344); an agent goes by DNSKEY only where the zone never had"
            " CDS, whose absence says nothing"
        )
    return f"have the parent change it: {_SYNC}"
