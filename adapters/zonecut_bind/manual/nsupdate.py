"""UPDATE messages as input of nsupdate, for a person to run, or to read. Pure."""

from collections.abc import Iterator, Sequence

from zonecut.plugin import Change
from zonecut.protocol import envelope, names
from zonecut.protocol.codepoints import RRClass, RRType
from zonecut.protocol.delegation import TYPES, Ttls, rdata_text
from zonecut.protocol.envelope import Envelope, Record, walk
from zonecut.protocol.rrset import RRset
from zonecut_bind import rrsets, updates


def changes_text(zone: bytes, changes: Sequence[Change], ttls: Ttls) -> str:
    """What carries out these changes if the zone holds each `before`, and does nothing otherwise."""
    # what policy let pass nsupdate would not send
    return _text(zone, updates.write_message(zone, changes, ttls), checks_names=not updates.no_host_names(changes))


def rrsets_text(zone: bytes, before: Sequence[RRset], after: Sequence[RRset]) -> str:
    """What replaces these RRsets if the zone holds `before`, and does nothing otherwise."""
    return _text(zone, rrsets.replace_message(zone, before, after))


def _text(zone: bytes, wire: bytes, *, checks_names: bool = True) -> str:
    head = [f"zone {names.to_text(zone)}", *([] if checks_names else ["check-names no"])]
    return "".join(f"{line}\n" for line in (*head, *_lines(walk(wire)), "send"))


def _lines(message: Envelope) -> Iterator[str]:
    for record in message.section(envelope.PREREQUISITE):
        owner, kind = names.to_text(message.name(record.start)), _type(record.rtype)
        if record.rclass == RRClass.IN:
            yield f"prereq yxrrset {owner} IN {kind} {_value(message, record)}"
        else:
            yield f"prereq nxrrset {owner} IN {kind}"
    for record in message.section(envelope.UPDATE):
        owner, kind = names.to_text(message.name(record.start)), _type(record.rtype)
        if record.rclass == RRClass.ANY:
            yield f"update delete {owner} IN {kind}"
        else:
            yield f"update add {owner} {record.ttl} IN {kind} {_value(message, record)}"


def _type(rtype: int) -> str:
    """Types of our time by their numbers: not every nsupdate knows their names."""
    return RRType(rtype).text if rtype in TYPES else f"TYPE{rtype}"


def _value(message: Envelope, record: Record) -> str:
    return rdata_text(record.rtype, message.rdata(record))
