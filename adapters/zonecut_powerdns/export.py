"""The lines of a zone's export: `owner<TAB>ttl<TAB>IN<TAB>type<TAB>content`, as PowerDNS writes them. Pure.

A line that cannot be read raises BackendUnavailable: what the zone holds is not known then. Where the whole zone is
listed, it is put aside instead.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from zonecut.plugin import BackendUnavailable
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import TYPES
from zonecut.protocol.rrset import ResourceRecord
from zonecut_powerdns.bodies import Holdings
from zonecut_powerdns.content import name_text, name_wire, rdata_wire, type_number
from zonecut_powerdns.senseless import Senseless

_OF_DELEGATIONS = {RRType(rtype).text.encode(): int(rtype) for rtype in TYPES}
_FIELDS = 5


def delegation_records(lines: Iterable[bytes], senseless: Senseless | None = None) -> Iterator[ResourceRecord]:
    """The NS, DS, A and AAAA records of these lines; what cannot be read is put to `senseless`, where there is one."""
    for line in lines:
        fields = line.split(b"\t", _FIELDS - 1)
        if len(fields) != _FIELDS:
            _pass_over(line)
        elif (rtype := _OF_DELEGATIONS.get(fields[3])) is not None:
            try:
                with _reading(line):
                    rdata = rdata_wire(rtype, fields[4].decode())
                    record = ResourceRecord(name_wire(fields[0].decode()), rtype, int(fields[1]), rdata)
            except BackendUnavailable as error:
                if senseless is None:
                    raise
                senseless.put(fields[0].decode("utf-8", "backslashreplace"), rtype, error.reason)
                continue
            yield record


def collect(lines: Iterable[bytes], owners: Collection[bytes], found: Holdings) -> None:
    """Add the records at these owners to `found`; `owners` as `owner_texts` gives them."""
    for line in lines:
        owner, _, rest = line.partition(b"\t")
        if owner in owners:
            with _reading(line):
                ttl, _, rtype_text, text = rest.decode("utf-8", "surrogateescape").split("\t", _FIELDS - 2)
                rtype = type_number(rtype_text)
                found.add(name_wire(owner.decode()), rtype, int(ttl), {rdata_wire(rtype, text): text})


def cuts_below(lines: Iterable[bytes], name: bytes) -> Iterator[bytes]:
    """The names below this one at which these lines have NS."""
    for record in delegation_records(line for line in lines if b"\tNS\t" in line):
        if record.rtype == RRType.NS and names.is_below(record.owner, name):
            yield record.owner


def owner_texts(owners: Iterable[bytes]) -> frozenset[bytes]:
    """These names as they begin a line."""
    return frozenset(name_text(owner).encode("ascii") for owner in owners)


def _pass_over(line: bytes) -> None:
    """Raises BackendUnavailable for a line that is neither empty nor a comment."""
    if line.strip() and not line.startswith(b";"):
        raise BackendUnavailable(f"PowerDNS exports a line that is no record: {line[:200]!r}")


@contextmanager
def _reading(line: bytes) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise BackendUnavailable(f"PowerDNS exports a line that cannot be read: {line[:200]!r} ({error})") from None
