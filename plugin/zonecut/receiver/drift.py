"""How what a server holds for a child differs from what zonecut left there: what somebody else did. Pure."""

from collections.abc import Collection
from dataclasses import replace

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


def _between(left: Delegation, held: Delegation) -> Difference:
    difference = Difference.between(left, held)
    added = tuple([record for record in difference.added if not _is_orphan(record, held)])
    removed = tuple([record for record in difference.removed if not _is_orphan(record, left)])
    return Difference(held.child, removed, added)


def _is_orphan(record: RR, held: Delegation) -> bool:
    return record.rtype in (RRType.A, RRType.AAAA) and record.owner not in held.ns
