"""RRsets of any type at names of the zone's own: what knotd shows of them, and commands that replace them. Pure."""

from collections.abc import Iterable, Sequence

from zonecut.plugin import BackendConflict, BackendRejected, BackendUnavailable
from zonecut.plugin.wholezone import MADE_BY_SIGNER
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import generic_text
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.rrset import RRset
from zonecut_knot.control import Command, Item
from zonecut_knot.text import any_rdata, type_number, type_text


def rrsets(owner: bytes, items: Iterable[Item]) -> tuple[RRset, ...]:
    """The RRsets at an owner, but for what a signer makes. Raises BackendUnavailable for what cannot be understood."""
    found: dict[int, tuple[int, list[bytes]]] = {}
    for item in items:
        try:
            rtype = type_number(item.rtype)
            if rtype in MADE_BY_SIGNER:
                continue
            _, rdatas = found.setdefault(rtype, (int(item.ttl), []))
            rdatas.append(any_rdata(rtype, item.data))
        except ValueError as error:
            raise BackendUnavailable(f"knotd shows a record at {item.owner} that makes no sense: {error}") from error
    return tuple(RRset(owner, rtype, ttl, tuple(rdatas)) for rtype, (ttl, rdatas) in found.items())


def commands(held: Sequence[RRset], before: Sequence[RRset], after: Sequence[RRset]) -> list[Command]:
    """What turns `before` into `after`. Raises BackendConflict if something else is held, BackendRejected for an alias.

    RDATA is written in the form that every release of Knot takes for every type (RFC 3597 section 5).
    """
    there = {rrset.key: rrset for rrset in held}
    old = {rrset.key: rrset for rrset in before}
    new = {rrset.key: rrset for rrset in after}
    differing = [
        key
        for key in old.keys() | new.keys()
        if (there[key].rdatas if key in there else None) != (old[key].rdatas if key in old else None)
    ]
    if differing:
        owners = ", ".join(sorted({names.to_text(owner) for owner, _ in differing}))
        raise BackendConflict(f"knotd holds something else than was expected at {owners}")
    found: list[Command] = []
    for key in sorted(old.keys() | new.keys()):
        becomes = new.get(key)
        if there.get(key) == becomes:
            continue
        owner, rtype = key
        text = names.to_text(owner)
        if becomes and (owner, int(RRType.CNAME)) in there and rtype != RRType.CNAME:
            raise BackendRejected(f"{text} is a CNAME: nothing can be published beside it")
        if key in there:
            # all of it, since its TTL may change, too
            found.append(Command("unset", text, rtype=type_text(rtype)))
        if becomes:
            found += [
                Command("set", text, str(becomes.ttl), type_text(rtype), generic_text(rdata))
                for rdata in becomes.rdatas
            ]
    return found
