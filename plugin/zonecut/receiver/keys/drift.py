"""How what a server holds for a child differs from what zonecut left there: what somebody else did. Pure."""

from collections.abc import Collection
from dataclasses import replace

from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Difference


def drift(applied: Delegation | None, ours: Collection[Delegation], held: Delegation) -> Difference | None:
    """What is missing (`removed`) and what is not ours (`added`) in a delegation, beside what `applied` left there.

    `ours` is what else may be there because of us: a change that is about to be recorded as applied. None without
    `applied`: what the ledger knows nothing of is no difference. Glue that no NS names is nobody's, and a reading may
    show it or not: where the server has more or less of it, that is no difference either.
    """
    if applied is None:
        return None
    differences = [_between(each, held) for each in (applied, *ours)]
    return differences[0] if all(differences) else Difference(held.child, (), ())


def is_ds_removal(reference: Delegation, held: Delegation) -> bool:
    """Whether two delegations differ only in that one has no DS any more."""
    return bool(reference.ds) and held == replace(reference, ds=())


def half(before: Delegation, after: Delegation, held: Delegation) -> tuple[Delegation, ...]:
    """What is held, where it may lie on the way from one to the other, which people go step by step; nothing else.

    It has nothing that neither has, and lacks nothing that both have. Glue that no NS names makes no difference.
    """
    old, new, there = ({each for each in one.records if not _is_orphan(each, one)} for one in (before, after, held))
    return (held,) if old & new <= there <= old | new else ()


def _between(left: Delegation, held: Delegation) -> Difference:
    difference = Difference.between(left, held)
    added = tuple([record for record in difference.added if not _is_orphan(record, held)])
    removed = tuple([record for record in difference.removed if not _is_orphan(record, left)])
    return Difference(held.child, removed, added)


def _is_orphan(record: RR, held: Delegation) -> bool:
    return record.rtype in (RRType.A, RRType.AAAA) and record.owner not in held.ns


def seen_instead(reference: Delegation, held: Delegation, difference: dict[str, list[str]]) -> dict[str, list[str]]:
    """What is told of a delegation that somebody else changed."""
    return {"applied": texts(reference.ns), "found": texts(held.ns), **difference}


def texts(servers: tuple[bytes, ...]) -> list[str]:
    """Names as text."""
    return [names.to_text(name) for name in servers]
