"""Judgement of a batch of changes against what the files hold: which are needed, which conflict, which cannot be."""

from collections.abc import Collection, Sequence

from zonecut.plugin import BackendConflict, BackendRejected, Change
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.envelope import read_name
from zonecut.protocol.errors import MalformedMessage
from zonecut_zonefile.master.index import Index, Zone, ancestors
from zonecut_zonefile.master.placed import Placed


def outstanding(zone: Zone, aliases: Collection[bytes], changes: Sequence[Change]) -> list[Change]:
    """Those changes whose `after` does not stand there yet, all of them possible and their `before` true.

    Raises BackendRejected for the first one that the files cannot hold, BackendConflict with all that conflict.
    """
    needed = []
    conflicts = []
    for change in changes:
        _check_place(change, zone.apex)
        held = zone.held(change)
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
        _check_movable(change, zone)
    return needed


def agrees(held: Delegation, before: Delegation) -> bool:
    """True if `before` is what is held, but for addresses that no NS of `before` names."""
    if (held.ns, held.ds) != (before.ns, before.ds):
        return False
    return {rr for rr in held.glue if rr.owner in before.ns} == {rr for rr in before.glue if rr.owner in before.ns}


def holds(held: Delegation, change: Change) -> bool:
    """True if `after` is what is held at the owners that the change names. DS without NS are nothing."""
    if not change.after.is_delegated:
        return not held.is_delegated and not held.ds
    return held == change.after


def is_doubled(record: Placed, zone: Zone, outer: Index, generated: Index) -> bool:
    """True for a line of the zone's own file that a change took over into the generated one, or took out with it.

    Those are NS and DS of children that are there, and addresses that such lines name or that are there, too.
    """
    owner = record.rr.owner
    if record.rr.rtype in (RRType.NS, RRType.DS):
        return owner in generated.cuts
    if zone.home(owner) not in generated.cuts:
        return False
    lines = [line for name in ancestors(owner, zone.apex) if name in generated.cuts for line in outer.at(name)]
    if any(line.rr.rtype == RRType.NS and line.rr.rdata == owner for line in lines):
        return True
    return any(each.rr.rtype in (RRType.A, RRType.AAAA) for each in generated.at(owner))


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


def _check_movable(change: Change, zone: Zone) -> None:
    child = change.child
    fixed = [record for record in zone.concerned(change) if record.fixed is not None]
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
