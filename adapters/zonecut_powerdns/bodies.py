"""RRsets as JSON of the API: read from a zone's document, and written into a PATCH. Pure."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from zonecut.plugin import Change
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation, Ttls
from zonecut.protocol.rrset import RRset
from zonecut_powerdns.content import name_text, name_wire, rdata_text, rdata_wire, type_number, type_text

_NS, _DS, _A, _AAAA = (int(rtype) for rtype in (RRType.NS, RRType.DS, RRType.A, RRType.AAAA))
_RECORD_OCTETS = 80
"""Of a record or an RRset in a PATCH, beside names and contents; on the large side."""

Key = tuple[bytes, int]
"""Owner and type of an RRset."""

SwitchedOff = Mapping[Key, tuple[str, ...]]
"""The contents that are switched off, as the server writes them, by owner and type."""
NOTHING: SwitchedOff = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Held:
    """An RRset as the server serves it: its TTL in seconds, and text by RDATA."""

    ttl: int
    contents: Mapping[bytes, str]

    @property
    def rdatas(self) -> tuple[bytes, ...]:
        return tuple(sorted(self.contents))


@dataclass(slots=True)
class Holdings:
    """What a server was found to hold at some owners; what is not in it is not there."""

    rrsets: dict[Key, Held] = field(default_factory=dict)

    def rdatas(self, owner: bytes, rtype: int) -> tuple[bytes, ...]:
        """The records that are served, sorted; none where there is no such RRset."""
        held = self.rrsets.get((owner, rtype))
        return held.rdatas if held else ()

    def add(self, owner: bytes, rtype: int, ttl: int, contents: Mapping[bytes, str]) -> None:
        """Take an RRset, or more of it, into account."""
        known = self.rrsets.get((owner, rtype))
        self.rrsets[owner, rtype] = Held(ttl, {**known.contents, **contents} if known else contents)

    def update(self, other: "Holdings") -> None:
        self.rrsets.update(other.rrsets)

    def holds(self, delegation: Delegation, owners: Iterable[bytes]) -> bool:
        """True if NS and DS are exactly those of the delegation, and so are the addresses at each of these owners."""
        rrsets, child = delegation.rrsets, delegation.child
        keys = [(child, _NS), (child, _DS), *((owner, rtype) for owner in owners for rtype in (_A, _AAAA))]
        return all(self.rdatas(*key) == rrsets.get(key, ()) for key in keys)


def holdings(document: Mapping[str, Any], owner: bytes | None = None) -> Holdings:
    """The RRsets in a zone's document, or those of one owner. Raises ValueError for what cannot be understood.

    Records that are switched off are not served, and so not there.
    """
    found = Holdings()
    try:
        for rrset in document["rrsets"]:
            name = name_wire(rrset["name"])
            if owner is not None and name != owner:
                continue  # a server that is older than the parameter rrset_name answers with the whole zone
            rtype = type_number(rrset["type"])
            served = [record["content"] for record in rrset["records"] if not record["disabled"]]
            if served:
                found.add(name, rtype, int(rrset["ttl"]), {rdata_wire(rtype, text): text for text in served})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no RRsets as PowerDNS writes them: {error!r}") from None
    return found


def patch(rrsets: Iterable[dict[str, Any]]) -> bytes:
    """The body of the PATCH that makes these replacements, all or none."""
    return json.dumps({"rrsets": list(rrsets)}, separators=(",", ":")).encode()


def replacement(
    key: Key, ttl: int, rdatas: Collection[bytes], held: Held | None = None, off: Collection[str] = ()
) -> dict[str, Any]:
    """The item of a PATCH that makes one RRset what it is to be; without records, it is deleted.

    What is `held` keeps its text: the server would not take every other way of writing it. `off` are the contents that
    are switched off, and stay so: an item replaces all there is.
    """
    known: Mapping[bytes, str] = held.contents if held else {}
    records = [{"content": known.get(rdata) or rdata_text(key[1], rdata), "disabled": False} for rdata in rdatas]
    records += [{"content": text, "disabled": True} for text in off if rdata_wire(key[1], text) not in rdatas]
    item: dict[str, Any] = {"name": name_text(key[0]), "type": type_text(key[1])}
    if not records:
        return {**item, "changetype": "DELETE"}
    return {**item, "changetype": "REPLACE", "ttl": ttl, "records": records}


def changed_keys(change: Change) -> list[Key]:
    """The RRsets that are written for a change: NS first, then DS, then glue.

    Those that differ; and, at owners of glue whose content is no condition, both families of addresses: what lies there
    is replaced whatever it is, but for what is known to be there and stays.
    """
    old, new = change.before.rrsets, change.after.rrsets
    keys = dict.fromkeys(key for key in (*new, *old) if old.get(key) != new.get(key))
    if not keys:
        return []
    for owner in sorted(unconditional_owners(change)):
        both = ((owner, rtype) for rtype in (_A, _AAAA))
        keys |= dict.fromkeys(key for key in both if key not in old or old[key] != new.get(key))
    return list(keys)


def replacements(change: Change, ttls: Ttls, off: SwitchedOff = NOTHING) -> list[dict[str, Any]]:
    """The items of a PATCH for one change."""
    new = change.after.rrsets
    return [replacement(key, ttls.of(key[1]), new.get(key, ()), off=off.get(key, ())) for key in changed_keys(change)]


def rrset_replacements(
    before: Iterable[RRset], after: Iterable[RRset], found: Holdings, off: SwitchedOff = NOTHING
) -> list[dict[str, Any]]:
    """The items of a PATCH that turn RRsets into others; what is the same in both is left alone."""
    old = {rrset.key: rrset for rrset in before}
    new = {rrset.key: rrset for rrset in after}
    items = []
    for key in sorted(old.keys() | new.keys(), key=lambda key: (key not in new, key)):
        becomes, held = new.get(key), found.rrsets.get(key)
        if becomes is not None and becomes == old.get(key) and held is not None and held.ttl == becomes.ttl:
            continue
        ttl, rdatas = (becomes.ttl, becomes.rdatas) if becomes else (held.ttl if held else 0, ())
        items.append(replacement(key, ttl, rdatas, held, off.get(key, ())))
    return items


def glue_owners(delegation: Delegation) -> set[bytes]:
    return {record.owner for record in delegation.glue}


def conditional_owners(change: Change) -> set[bytes]:
    """The owners of glue of which `before` is a condition: those that its NS name."""
    return set(change.before.in_domain_ns())


def unconditional_owners(change: Change) -> set[bytes]:
    """The other owners of glue: what `before` knows as orphan glue, and what only `after` names."""
    return (glue_owners(change.before) | glue_owners(change.after)) - conditional_owners(change)


def fitting(changes: Sequence[Change], octets: int) -> int:
    """How many of these changes, from the first on, take no more octets in a PATCH; at least one.

    A PATCH may name an RRset once only, so two changes that write the same one (glue in a nested delegation) do not go
    together.
    """
    taken: set[Key] = set()
    for count, change in enumerate(changes):
        keys = changed_keys(change)
        octets -= _octets(change, keys)
        if count and (octets < 0 or not taken.isdisjoint(keys)):
            return count
        taken.update(keys)
    return max(len(changes), 1)


def _octets(change: Change, keys: Iterable[Key]) -> int:
    """No fewer octets than this change takes: an octet of a name or of RDATA is up to five in JSON."""
    new = change.after.rrsets
    found = 0
    for key in keys:
        found += _RECORD_OCTETS + 5 * len(key[0])
        found += sum(_RECORD_OCTETS + 5 * len(rdata) for rdata in new.get(key, ()))
    return found
