"""What the parent should hold for a child zone, from what the child zone says itself. Pure.

NS and glue are the zone's own (RFC 7477 section 2.1). DS come from CDS (RFC 7344, 8078), or are made from DNSKEY, and
may not make the zone bogus (RFC 7344 section 4.1).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from zonecut.agent.evidence.ds_statement import DsStatement, Origin, Unsuitable, statement
from zonecut.agent.parent.parent_view import ParentView
from zonecut.agent.settings import ChildSettings
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.resolve import check_algorithms, check_dnskey_rrset


@dataclass(frozen=True, slots=True)
class Desired:
    """The delegation as the child wants it: NS with their glue, and DS, each by itself.

    With `ns_known` False the parent's NS and glue stay as they are, whatever `delegation` has; with `ds_known` False
    its DS do, and `delegation` has none: nothing is compared, and nothing sent, that has to do with DS.
    """

    delegation: Delegation
    ds_known: bool = True
    notes: tuple[str, ...] = ()
    """What was left out, and why; a sentence each."""
    ns_known: bool = True
    unfit: tuple[bytes, ...] = ()
    """Name servers that are left out: where the parent has one, it stays, with its glue."""
    troubles: tuple[str, ...] = ()
    """What of the zone the parent cannot be given, a sentence each that names the record and the rule."""
    ds_unfit: bool = False
    """One of these is about DS: they are not known because what the zone says of them makes no sense."""
    origin: Origin | None = None
    """By what the zone says which DS there shall be."""

    @property
    def advice(self) -> str:
        """What to do about `troubles`."""
        return "mend the zone; until then the parent keeps of this what it has"

    def beside(self, held: Delegation) -> Delegation:
        """What the parent holds as far as it is to be compared with what is wanted."""
        return held if self.ds_known else replace(held, ds=())

    def seen(self, view: ParentView) -> ParentView:
        """What the parent's servers show as far as it is to be compared with what is wanted."""
        if not self.ns_known and view.agreed is None:
            view = view.without_ns()
        return view if self.ds_known else view.without_ds()

    def agreed(self, view: ParentView) -> "Desired":
        """As may be held against this view: what the parent is to keep, which its servers do not show alike, nobody
        knows, and nothing of NS and glue is sent."""
        kept = {
            frozenset(record for record in each.delegation.glue if record.owner in self.unfit)
            for each in view.answered
            if each.delegation is not None
        }
        return self if len(kept) < 2 else replace(self, ns_known=False)

    def asked(self, held: Iterable[Delegation]) -> Delegation:
        """What is wanted of a parent that holds one of these, as far as it is to be compared."""
        records = {record for record in self.delegation.records if self.ns_known or record.rtype == RRType.DS}
        for each in held:
            if not self.ns_known:
                records |= {record for record in each.records if record.rtype != RRType.DS}
                continue
            kept = {name for name in each.ns if name in self.unfit}
            records |= {RR(each.child, RRType.NS, name) for name in kept}
            records |= {record for record in each.glue if record.owner in kept}
        return Delegation.of(self.delegation.child, records)

    def to_json(self) -> dict[str, Any]:
        return {"delegation": self.delegation.to_json(), "ds_known": self.ds_known, "notes": list(self.notes)}


def wanted(content: ZoneContent, settings: ChildSettings, now: float, spoke: Origin | None = None) -> Desired:
    """The delegation that the zone asks for. `now`, in seconds since 1970, is what signatures are held against; `spoke`
    is by what the zone has said before which DS there shall be (`ds_statement`).

    That it asks for it is no proof yet: see `proof`. What is unfit in NS does not hold up DS, nor the other way round,
    and one unfit name server no other.
    """
    troubles, unfit = _unfit_servers(content)
    servers = [server for server in content.ns if server not in unfit]
    records = [RR(content.zone, RRType.NS, server) for server in servers]
    records += [record for record in content.addresses if record.owner in servers]
    said, ds_unfit = DsStatement(), False
    try:
        said = statement(content, settings.ds, spoke)
        if said.ds:
            _check_continuity(content, said.ds, now)
    except Unsuitable as error:
        troubles.append(error.reason)
        said, ds_unfit = DsStatement(), True
    records += [RR(content.zone, RRType.DS, rdata) for rdata in said.ds or ()]
    return Desired(
        Delegation.of(content.zone, records),
        ds_known=said.ds is not None,
        notes=said.notes,
        ns_known=bool(servers),
        unfit=tuple(unfit),
        troubles=tuple(troubles),
        ds_unfit=ds_unfit,
        origin=said.origin,
    )


def _unfit_servers(content: ZoneContent) -> tuple[list[str], list[bytes]]:
    """What is wrong with the name servers, and with which of them."""
    zone = names.to_text(content.zone)
    if not content.ns:
        return [f"{zone} has no NS records"], []
    troubles = {server.name: server.reason for server in content.unusable}
    addressed = {record.owner for record in content.addresses}
    for name in content.in_zone_servers():
        if name not in addressed:
            troubles.setdefault(name, "has neither A nor AAAA in the zone")
    told = [f"{zone} NS {names.to_text(name)}: the name server {reason}" for name, reason in troubles.items()]
    return told, list(troubles)


def why_broken(content: ZoneContent, ds: tuple[bytes, ...], now: float) -> str | None:
    """Why the zone would not be secure under these DS of its parent (RFC 4035 section 5.2); None where it is, or where
    the zone's DNSKEY cannot be seen."""
    if content.dnskey is None or not ds:
        return None
    return check_dnskey_rrset(content.zone, content.signed_dnskey, ds, now)


def _check_continuity(content: ZoneContent, ds: tuple[bytes, ...], now: float) -> None:
    """RFC 7344 section 4.1: with these DS, the zone has to be secure. Nothing is known where DNSKEY cannot be seen."""
    if content.dnskey is None:
        return
    trouble = check_algorithms(content.zone, content.signed_dnskey, ds, now)
    if trouble is not None:
        zone = names.to_text(content.zone)
        raise Unsuitable(f"these DS would make {zone} bogus (RFC 7344 section 4.1): {trouble}")
