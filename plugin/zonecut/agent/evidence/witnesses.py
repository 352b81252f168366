"""What is seen of a child zone in one look, and who of its servers says it. Pure."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from zonecut.agent.evidence.desired import Desired
from zonecut.agent.evidence.ds_statement import Origin
from zonecut.agent.evidence.serials import precedes
from zonecut.agent.evidence.zone_view import ChildServer, Standing
from zonecut.agent.parent.parent_view import ParentView
from zonecut.agent.state import Watch
from zonecut.agent.transitions import Now
from zonecut.agent.zone.caches import Sight
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation
from zonecut.resolve import Limits, Work, check_dnskey_rrset, check_signed_under

_LIMITS = Limits(validations=8192, hashes=50_000)
"""Of all checks of one look: an honest zone takes a few for each address of its servers, and fails none."""


class Unproven(Exception):
    """The zone does not prove what it asks for; `reason` names the record and the rule."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotYet(Exception):
    """What is missing may come by itself. `watch` goes on, with the next look at the time `at` (None: as usual)."""

    def __init__(self, reason: str, watch: Watch | None = None, at: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.watch = watch
        self.at = at


@dataclass(frozen=True, slots=True)
class Look:
    """`content` is the zone as it is read, and `aim` what it asks for; `parent` is what the parent's servers show, and
    `servers` how the zone's own servers do: those that the parent names and those that the zone names. `sights` are
    what caches may have of the delegation, and `past` the servers that they may ask although these are named no more.
    """

    content: ZoneContent
    aim: Desired
    parent: ParentView
    servers: tuple[ChildServer, ...]
    remembered: Delegation | None = None
    """What the parent holds where none of its servers shows it."""
    sights: tuple[Sight, ...] = ()
    past: tuple[ChildServer, ...] = ()
    left_out: tuple[str, ...] = ()
    """Name servers, and addresses of them, that were not asked because there are so many."""
    forgotten_until: float = 0.0
    """Until when caches may have delegations that are not among the `sights`."""
    unsigned_until: float = 0.0
    """Until when caches may have answers from when the zone was not signed."""
    work: Work = field(default_factory=lambda: Work(_LIMITS), compare=False, repr=False)
    """What checking it all has cost: a server may lie so that it costs much."""

    @property
    def zone(self) -> bytes:
        return self.content.zone

    @property
    def shown(self) -> tuple[tuple[bytes, ...], ...]:
        """The DS that each of the parent's servers shows."""
        return tuple(server.ds for server in self.parent.servers if server.ds is not None)

    @property
    def names(self) -> frozenset[bytes]:
        """The name servers of the zone, as the parent has them and as they shall be."""
        return frozenset((*(name for each in self._may_hold for name in each.ns), *self.content.ns))

    @property
    def newcomers(self) -> frozenset[bytes]:
        """Those that the parent does not have yet."""
        held = [frozenset(each.ns) for each in self._may_hold]
        return frozenset(self.aim.delegation.ns) - (frozenset.intersection(*held) if held else frozenset())

    @property
    def _may_hold(self) -> Sequence[Delegation]:
        shown = [each.delegation for each in self.parent.answered if each.delegation is not None]
        return shown if shown or self.remembered is None else [self.remembered]

    @property
    def contents(self) -> tuple[tuple[ChildServer, ZoneContent], ...]:
        """The servers that showed the zone, and what they showed."""
        return tuple((server, server.content) for server in self.servers if server.content is not None)

    def has_other_servers(self, content: ZoneContent) -> bool:
        """Whether a server shows other name servers of the zone, or other addresses of them, than are asked for."""
        own = self.content
        return (set(content.ns), set(content.addresses)) != (set(own.ns), set(own.addresses))

    def says_so(self, content: ZoneContent) -> bool:
        """Whether a server shows the very records by which the zone says which DS it wants."""
        own = self.content
        if self.aim.origin is Origin.DNSKEY:
            return content.dnskey == own.dnskey
        return (content.cds or (), content.cdnskey or ()) == (own.cds or (), own.cdnskey or ())


def why_unproven(
    content: ZoneContent,
    origin: Origin,
    held: Collection[tuple[bytes, ...]],
    now: float,
    work: Work | None = None,
) -> str | None:
    """Why a server's answers are not signed for under each of these DS RRsets, chain and all; None if they are."""
    zone, signed = content.zone, content.signed_dnskey
    for ds in held:
        if (why := check_dnskey_rrset(zone, signed, ds, now, work)) is not None:
            return why
        if origin is not Origin.CDS:
            continue
        for rtype, rdatas in ((RRType.CDS, content.cds), (RRType.CDNSKEY, content.cdnskey)):
            found = content.rrset(rtype)
            if not rdatas:
                continue
            if found is None:
                return f"{rtype.text}: its signatures cannot be seen"
            if (why := check_signed_under(zone, signed, found, ds, now, work, by_entry=True)) is not None:
                return why
    return None


def check_order(look: Look, is_other: Callable[[ZoneContent], bool], what: str, now: Now) -> None:
    """Raises NotYet where a server of the zone has a later version than the one that is read, and it is another there.

    Whoever lags would move back what somebody has moved (RFC 1982). Equal numbers, and such as have no order, say
    nothing.
    """
    own = look.content.serial
    if own is None or now.settings.serial == "any":
        return
    for server, content in look.contents:
        if content.serial is not None and precedes(own, content.serial) and is_other(content):
            raise NotYet(
                f"{names.to_text(look.zone)} has the serial {own} where it is read, and {content.serial} with other"
                f" {what} at {server}: the one that lags is waited for (`serial: any` where they are unrelated)"
            )


def check_complete(look: Look) -> None:
    """Raises NotYet where a server, or an address of one, was not asked."""
    asked = {server.server for server in look.servers}
    unasked = [*(names.to_text(name) for name in sorted(look.names - asked)), *look.left_out]
    if unasked:
        raise NotYet(f"all servers of the zone have to be seen: {unasked[0]} was not asked")


def everywhere(look: Look, now: Now) -> Iterator[tuple[ChildServer, ZoneContent]]:
    """What each address of each server shows. Raises NotYet where one is not seen.

    An address to which this machine has no way is let off where the same server was seen at another.
    """
    seen = {server.server for server, _ in look.contents}
    check_complete(look)
    for server in look.servers:
        is_let_off = server.standing is Standing.UNREACHABLE and server.server in seen
        if server.content is None and not is_let_off:
            raise NotYet(f"all servers of the zone have to be seen: {server} {server.reason or server.trouble}")
    if not look.servers:
        raise NotYet("all servers of the zone have to be seen, and none is known")
    yield from look.contents


def is_awaited(server: ChildServer) -> bool:
    """Whether a server that shows nothing may do so a little later: all but one that may not be asked.

    That it has no address, or that there is no way to it, may be so for a moment only, or somebody's word.
    """
    return server.content is None and not (server.standing is Standing.UNASKED and server.address)


def silent(look: Look) -> frozenset[bytes]:
    """The servers that show nothing at any address, and may do so later."""
    seen = {server.server for server, _ in look.contents}
    return frozenset(server.server for server in look.servers if is_awaited(server)) - seen


def heard_of(look: Look, asked: Collection[bytes], waited: float, now: Now) -> list[str]:
    """A sentence on each of these servers that was not heard of. Raises NotYet while it is worth waiting for it.

    One that may not be asked is not waited for.
    """
    seen = {server.server for server, _ in look.contents}
    notes: list[str] = []
    for server in look.servers:
        if server.server in seen or server.server not in asked:
            continue
        told = f"{server} shows nothing of the zone: {server.reason or server.trouble}"
        if is_awaited(server) and waited < now.settings.looks.silent_for:
            raise NotYet(f"the zone's servers have to be asked before a change: {told}")
        notes.append(told)
    return notes
