"""RRsets of any type beside the delegations: those that the parent publishes for itself, at the generated file's end.

A record stands in the operator's file or in ours; an RRset that is replaced stands in ours as a whole from then on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from zonecut.plugin import BackendConflict, BackendRejected
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import generic_text
from zonecut.protocol.codepoints import RRType, type_text
from zonecut.protocol.rrset import ResourceRecord, RRset, RRsetDifference, rdata_text
from zonecut_zonefile.files import Source
from zonecut_zonefile.master.placed import Placed
from zonecut_zonefile.master.reader import read_master_file

MARK = b"; Records of the zone itself, which zonecut publishes:\n"
"""The line after which they follow in the generated file."""

_WELL_KNOWN = (RRType.A, RRType.AAAA, RRType.KEY, RRType.NS, RRType.DS)


def split(data: bytes) -> tuple[bytes, bytes]:
    """The generated file's delegations, and the block that begins with the mark (empty without one)."""
    delegations, mark, block = data.partition(MARK)
    return delegations, mark + block


def read(source: Source, apex: bytes) -> list[Placed]:
    """The records of that block of the generated file. Raises MasterFileError."""
    delegations, block = split(source.data)
    # empty lines before it, so that an error names the right one
    data = b"\n" * delegations.count(b"\n") + block if block else b""
    file = read_master_file(replace(source, data=data), apex, generated=None)
    return [*file.index, *file.kept]


def written(rrsets: Iterable[RRset]) -> bytes:
    """The block of these RRsets with its mark; empty for none.

    Types that some server does not know, or knows by another syntax, are written as RFC 3597 section 5 says.
    """
    lines = []
    for rrset in sorted(rrsets, key=lambda each: (names.sort_key(each.owner), each.rtype)):
        lines += [_line(record) for record in rrset.records]
    return MARK + "".join(lines).encode() if lines else b""


def _line(record: ResourceRecord) -> str:
    owner, rtype, ttl, rdata = record
    text = rdata_text(rtype, rdata)
    start = f"{names.to_text(owner)}\t{ttl}\tIN\t"
    if rtype in _WELL_KNOWN:
        return f"{start}{RRType(rtype).text}\t{text}\n"
    generic = generic_text(rdata)
    comment = f"\t; {type_text(rtype)} {text}" if text != generic else ""
    return f"{start}TYPE{rtype}\t{generic}{comment}\n"


def rrsets(records: Iterable[Placed]) -> tuple[RRset, ...]:
    """The RRsets that these records make. The first TTL counts where they differ, as it does for servers."""
    found: dict[tuple[bytes, int], tuple[int, list[bytes]]] = {}
    for record in records:
        _, rdatas = found.setdefault((record.rr.owner, record.rr.rtype), (record.ttl or 0, []))
        rdatas.append(record.rr.rdata)
    return tuple(RRset(*key, ttl, tuple(rdatas)) for key, (ttl, rdatas) in found.items())


def outstanding(held: Iterable[RRset], before: Sequence[RRset], after: Sequence[RRset]) -> RRsetDifference:
    """What is to be replaced of what is held. Raises BackendConflict unless RDATA and absence are as `before` says."""
    concerned = {rrset.key for rrset in (*before, *after)}
    there = {rrset.key: rrset for rrset in held if rrset.key in concerned}
    believed = {rrset.key: rrset.rdatas for rrset in before}
    if {key: rrset.rdatas for key, rrset in there.items()} != believed:
        owners = ", ".join(sorted({names.to_text(owner) for owner, _ in concerned}))
        raise BackendConflict(f"the zone file holds something else than expected at {owners}")
    return RRsetDifference.between(there.values(), after)


def check_movable(record: Placed) -> None:
    """Raises BackendRejected for a record that stands where zonecut changes nothing."""
    if record.fixed is not None:
        raise BackendRejected(
            f"{record.file}, line {record.line}: a record of {names.to_text(record.rr.owner)} stands {record.fixed}, "
            f"where zonecut changes nothing; move it to the zone file itself"
        )
