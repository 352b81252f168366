"""What a parent announces (RFC 9859), and what has to change in its zone for that. Pure.

Ours are: the DSYNC records with the scheme UPDATE and those that the configuration adds; at a target in the zone its
addresses, its KEY RRset, and SVCB records that say how keys come to be trusted. All else that stands at these names
is somebody's, and stays.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from pydantic import BaseModel, ConfigDict, Field, field_validator

from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync, parent_name, per_child_name
from zonecut.protocol.announced.svcb import Method, Svcb
from zonecut.protocol.codepoints import DEFAULT, CodePoints, RRType, type_text
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.keys import Key
from zonecut.protocol.rrset import RRset, RRsetDifference

APEX, WILDCARD = "apex", "wildcard"

Rdatas = Mapping[int, tuple[bytes, ...]]
_ALIASES = (RRType.CNAME, RRType.DNAME)


class PublicationSettings(BaseModel):
    """`publication` of a parent zone: how it announces the receiver."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ttl: int = Field(3600, ge=1, le=2**31 - 1, description="The TTL, in seconds, of all that is published.")
    names: tuple[str, ...] = Field(
        (APEX,),
        min_length=1,
        description="Where DSYNC records stand: apex (_dsync.ZONE), wildcard (*._dsync.ZONE), and children by name.",
    )
    svcb_priority: int = Field(1, ge=0, le=0xFFFF, description="SvcPriority of the SVCB record; the drafts write 0.")
    dsync: tuple[str, ...] = Field(
        (), description='DSYNC records of other schemes to publish, as "CDS NOTIFY 53 notify.parent.example.".'
    )

    @field_validator("names")
    @classmethod
    def _known(cls, listed: tuple[str, ...]) -> tuple[str, ...]:
        for text in listed:
            if text not in (APEX, WILDCARD):
                names.from_text(text)
        return listed

    @field_validator("dsync")
    @classmethod
    def _readable(cls, records: tuple[str, ...]) -> tuple[str, ...]:
        for text in records:
            if Dsync.from_text(text).scheme == DEFAULT.dsync_update:
                raise ValueError(f"{text!r}: the record with the scheme UPDATE is made from `target` and `port`")
        return records


class Unpublishable(Exception):
    """What stands in the zone leaves no room for what is to be published; the message names it."""


_SOME_LABEL = b"\x01x\0"
_UPDATER = b"\x07updater"


@dataclass(frozen=True, slots=True)
class Announcement:
    """What one parent zone announces. Names are lower-case wire form.

    Without `addresses`, those of the target are somebody else's.
    """

    zone: bytes
    target: bytes
    port: int
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    methods: tuple[Method, ...] = (Method.MANUAL,)
    settings: PublicationSettings = field(default_factory=PublicationSettings)
    codepoints: CodePoints = DEFAULT

    @property
    def holds_target(self) -> bool:
        """True if the target lies in the zone; otherwise only DSYNC records are ours."""
        return names.is_at_or_below(self.target, self.zone)

    @property
    def dsync_names(self) -> tuple[bytes, ...]:
        """Where DSYNC records are to stand. Raises ValueError for a child that is not below the zone."""
        places = {APEX: parent_name(self.zone), WILDCARD: b"\x01*" + parent_name(self.zone)}
        return tuple(
            dict.fromkeys(
                places[text] if text in places else per_child_name(names.from_text(text), self.zone)
                for text in self.settings.names
            )
        )

    @property
    def names(self) -> tuple[bytes, ...]:
        """All names at which the zone may hold something of ours, also from earlier settings."""
        usual = (parent_name(self.zone), b"\x01*" + parent_name(self.zone))
        target = (self.target,) if self.holds_target else ()
        return tuple(dict.fromkeys((*usual, *self.dsync_names, *target)))

    def check_host(self) -> None:
        """Raises ValueError for addresses at a target that is no host name (RFC 1123 section 2.1): servers refuse a
        zone file that has them, BIND by its default `check-names`."""
        if self.addresses and self.holds_target and not names.is_host_name(self.target):
            text = names.to_text(self.target)
            raise ValueError(
                f"target: {text} is no host name, and servers refuse addresses there; set `target` to one that is, in "
                f"this zone or elsewhere, such as {names.to_text(_host_like(self.target))}"
            )

    @property
    def dsync_records(self) -> tuple[Dsync, ...]:
        ours = Dsync(RRType.ANY, self.codepoints.dsync_update, self.port, self.target)
        return ours, *(Dsync.from_text(text, self.codepoints) for text in self.settings.dsync)


def _host_like(name: bytes) -> bytes:
    """A host name of the same labels, but for those that no host has."""
    first, *rest = ([len(label), *label] for label in names.labels(name))
    fit = [label for label in map(bytes, rest) if names.is_host_name(label + _SOME_LABEL)]
    return (bytes(first) if names.is_host_name(bytes(first) + _SOME_LABEL) else _UPDATER) + b"".join(fit) + names.ROOT


def plan(announcement: Announcement, held: Sequence[RRset], keys: Sequence[Key]) -> RRsetDifference:
    """What turns what the zone holds at `announcement.names` into what it should hold.

    `keys` are those of the receiver; with none, no KEY is touched. Raises Unpublishable.
    """
    there = {rrset.key: rrset for rrset in held}
    wanted = dict(there)
    ttl = announcement.settings.ttl
    for owner in announcement.dsync_names:
        _check_alias(owner, there)
        _put(wanted, owner, RRType.DSYNC, ttl, _with_ours(announcement, there.get((owner, RRType.DSYNC))))
    for owner in announcement.names:
        before = there.get((owner, RRType.DSYNC))
        if before and owner not in announcement.dsync_names:  # from an earlier setting
            _put(wanted, owner, RRType.DSYNC, before.ttl, _without_ours(announcement, before))
    if announcement.holds_target:
        _check_alias(announcement.target, there)
        for rtype, rdatas in _at_target(announcement, there, keys).items():
            _put(wanted, announcement.target, rtype, ttl, rdatas)
    return RRsetDifference.between(held, wanted.values())


def plan_keys(announcement: Announcement, held: Sequence[RRset], keys: Sequence[Key]) -> RRsetDifference:
    """As `plan`, for the KEY RRset alone: what a roll needs where the rest is not ours to write."""
    wanted = {rrset.key: rrset for rrset in held}
    if announcement.holds_target and keys:
        _check_alias(announcement.target, wanted)
        data = tuple(key.rdata for key in keys)
        _put(wanted, announcement.target, RRType.KEY, announcement.settings.ttl, data)
    return RRsetDifference.between(held, wanted.values())


def plan_withdrawal(announcement: Announcement, held: Sequence[RRset], keys: Sequence[Key]) -> RRsetDifference:
    """What takes our records out of what the zone holds: exactly those, so the TTL of the others stays, too."""
    addresses = {address.packed for address in announcement.addresses}
    ours = {key.rdata for key in keys}
    wanted: dict[tuple[bytes, int], RRset] = {}
    for rrset in held:
        data = rrset.rdatas
        if rrset.rtype == RRType.DSYNC:
            data = _without_ours(announcement, rrset)
        elif rrset.owner == announcement.target and rrset.rtype == RRType.SVCB:
            data = _foreign_svcb(announcement, rrset)
        elif rrset.owner == announcement.target and rrset.rtype in (RRType.A, RRType.AAAA):
            data = tuple(rdata for rdata in data if rdata not in addresses)
        elif rrset.owner == announcement.target and rrset.rtype == RRType.KEY:
            data = tuple(rdata for rdata in data if rdata not in ours)
        _put(wanted, rrset.owner, rrset.rtype, rrset.ttl, data)
    return RRsetDifference.between(held, wanted.values())


def _at_target(announcement: Announcement, there: Mapping[tuple[bytes, int], RRset], keys: Sequence[Key]) -> Rdatas:
    """The RRsets at the target, in the zone, that are ours."""
    found: dict[int, tuple[bytes, ...]] = {}
    if announcement.addresses:
        for rtype, version in ((RRType.A, 4), (RRType.AAAA, 6)):
            found[rtype] = tuple(address.packed for address in announcement.addresses if address.version == version)
    if keys:
        found[RRType.KEY] = tuple(key.rdata for key in keys)
    settings = announcement.settings
    svcb = Svcb.announcing(
        announcement.methods, priority=settings.svcb_priority, codepoints=announcement.codepoints
    ).to_wire()
    found[RRType.SVCB] = (*_foreign_svcb(announcement, there.get((announcement.target, RRType.SVCB))), svcb)
    return found


def _with_ours(announcement: Announcement, held: RRset | None) -> tuple[bytes, ...]:
    """Our DSYNC records, and those of others. Another receiver of UPDATEs is none: children would go there, too."""
    ours = [record.to_wire() for record in announcement.dsync_records]
    update = announcement.codepoints.dsync_update
    foreign = (
        rdata
        for rdata in (held.rdatas if held else ())
        if (record := _dsync(rdata)) is None or (record.scheme != update and record not in announcement.dsync_records)
    )
    return (*foreign, *ours)


def _without_ours(announcement: Announcement, held: RRset | None) -> tuple[bytes, ...]:
    """The DSYNC records of others, receivers with another target among them."""
    found = []
    for rdata in held.rdatas if held else ():
        record = _dsync(rdata)
        if record is not None:
            is_receiver = record.scheme == announcement.codepoints.dsync_update and record.target == announcement.target
            if is_receiver or record in announcement.dsync_records:
                continue
        found.append(rdata)
    return tuple(found)


def _foreign_svcb(announcement: Announcement, held: RRset | None) -> tuple[bytes, ...]:
    found = []
    for rdata in held.rdatas if held else ():
        try:
            is_ours = Svcb.from_wire(rdata).value(announcement.codepoints.svcb_bootstrap) is not None
        except MalformedMessage:
            is_ours = False
        if not is_ours:
            found.append(rdata)
    return tuple(found)


def _dsync(rdata: bytes) -> Dsync | None:
    try:
        return Dsync.from_wire(rdata)
    except MalformedMessage:
        return None


def _check_alias(owner: bytes, there: Iterable[tuple[bytes, int]]) -> None:
    for name, rtype in there:
        if name == owner and rtype in _ALIASES:
            raise Unpublishable(f"{names.to_text(owner)} is a {type_text(rtype)}: nothing can be published beside it")


def _put(wanted: dict[tuple[bytes, int], RRset], owner: bytes, rtype: int, ttl: int, rdatas: tuple[bytes, ...]) -> None:
    if rdatas:
        wanted[owner, rtype] = RRset(owner, rtype, ttl, rdatas)
    else:
        wanted.pop((owner, rtype), None)
