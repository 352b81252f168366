"""Judgement of a batch of changes against what the files hold: which are needed, which conflict, which cannot be."""

from collections.abc import Collection, Sequence

from zonecut.plugin import BackendConflict, BackendRejected, Change
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.envelope import read_name
from zonecut.protocol.errors import MalformedMessage
from zonecut_zonefile.index import Zone


def outstanding(zone: Zone, aliases: Collection[bytes], changes: Sequence[Change]) -> list[Change]:
    """Those changes whose `after` does not stand there yet, all of them possible and their `before` true.

    Raises BackendRejected for the first one that the files cannot hold, BackendConflict with all that conflict.
    """
    needed = []
    conflicts = []
    for change in changes:
        _check_place(change, zone.apex)
        held = zone.delegation(change.child)
        if holds(held, change):
            continue
        if not agrees(held, change.before):
            conflicts.append(change.child)
        needed.append(change)
    if conflicts:
        listed = ", ".join(names.to_text(child) for child in conflicts)
        raise BackendConflict(f"the zone file holds something else than expected for {listed}", conflicts)
    for change in needed:
        _check_aliases(change.after, aliases)
        _check_movable(change.child, zone)
    return needed


def agrees(held: Delegation, before: Delegation) -> bool:
    """True if `before` is what is held, orphan glue aside: glue that no NS of `before` names."""
    if (held.ns, held.ds) != (before.ns, before.ds):
        return False
    return {rr for rr in held.glue if rr.owner in before.ns} == {rr for rr in before.glue if rr.owner in before.ns}


def holds(held: Delegation, change: Change) -> bool:
    """True if `after` is what is held. DS without NS are nothing.

    Glue beside it that neither its NS nor the glue of `before` names is somebody else's, and does no harm.
    """
    after = change.after
    if not after.is_delegated:
        return not held.is_delegated and not held.ds
    if (held.ns, held.ds) != (after.ns, after.ds):
        return False
    concerned = {*after.ns, *(rr.owner for rr in (*change.before.glue, *after.glue))}
    return set(after.glue) <= set(held.glue) and all(
        rr.owner not in concerned for rr in set(held.glue) - set(after.glue)
    )


def _check_place(change: Change, apex: bytes) -> None:
    child = change.child
    if not names.is_below(child, apex):
        raise BackendRejected.telling(f"{names.to_text(child)} is not below the zone {names.to_text(apex)}")
    for rr in change.after.glue:
        if not names.is_at_or_below(rr.owner, child):
            raise BackendRejected.telling(f"{rr.to_text()} is no glue of {names.to_text(child)}")
    for target in change.after.ns:
        if not _is_name(target):
            raise BackendRejected.telling(f"{names.to_text(child)} has an NS that is no name: {target.hex()}")


def _check_aliases(after: Delegation, aliases: Collection[bytes]) -> None:
    for rr in after.records if after.is_delegated else ():
        if rr.owner in aliases:
            raise BackendRejected.telling(
                f"the zone file holds a CNAME or DNAME at {names.to_text(rr.owner)}: nothing goes beside it"
            )


def _check_movable(child: bytes, zone: Zone) -> None:
    fixed = [record for record in zone.belonging(child) if record.fixed is not None]
    if fixed:
        record = min(fixed, key=lambda record: (record.file, record.line))
        raise BackendRejected(
            f"{record.file}, line {record.line}: {record.rr.to_text()} stands {record.fixed}, where zonecut "
            f"changes nothing; move the delegation of {names.to_text(child)} to the zone file itself",
            told=f"{record.rr.to_text()} stands in the parent's zone where it can be changed by hand only",
        )


def _is_name(octets: bytes) -> bool:
    try:
        name, end = read_name(octets, 0)
    except MalformedMessage:
        return False
    return end == len(octets) and name == octets
