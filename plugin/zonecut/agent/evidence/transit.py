"""What of a change has to wait until caches do not have what was before: keys and servers move in two steps. Pure.

RFC 6781 section 4.3.5: the DS that a new server needs are at the parent for the TTL of DS before the server is, and
those that an old server needs stay there for the TTL of NS after it was.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from zonecut.agent.evidence.ds_statement import names_key
from zonecut.agent.evidence.witnesses import Look, NotYet
from zonecut.agent.evidence.zone_view import ChildServer
from zonecut.agent.state import Watch
from zonecut.agent.transitions import Now
from zonecut.agent.zone.caches import past_delegations, past_ds
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol.codepoints import RRType
from zonecut.resolve import check_dnskey_rrset, check_signed_under

_LONGEST_GAP = 600.0
"""Seconds between looks while caches are waited for."""


@dataclass(frozen=True, slots=True)
class Staying:
    """DS that the zone does not want any more, and that stay at the parent: at the time `at` it is looked again."""

    ds: tuple[bytes, ...]
    reason: str
    at: float


def staying_ds(look: Look, ds: tuple[bytes, ...], watch: Watch | None, now: Now) -> Staying | None:
    """Which DS beside these are needed at name servers that caches still know.

    Raises NotYet, with this watch, where the zone is not signed at one of them and is about to have its first DS.
    """
    held = [each for each in look.shown if each]
    if ds and (left := look.forgotten_until - now.time) > 0:
        at = now.time + min(left, _LONGEST_GAP)
        told = f"caches may have name servers that were too many to be remembered, for {left:.0f} s more"
        if not held:
            raise NotYet(f"before its first DS, the zone has to be signed at all servers: {told}", watch, at)
        if needed := {old for each in held for old in each} - set(ds):
            return Staying(tuple(sorted(needed)), f"DS with key tag {_tags(needed)} of the parent stay: {told}", at)
    for server in look.past if ds else ():
        content = server.content
        if content is None or check_dnskey_rrset(look.zone, content.signed_dnskey, ds, now.time, look.work) is None:
            continue
        until = max(
            (each.ns_until for each in past_delegations(look.sights, now.time) if server.server in each.delegation.ns),
            default=now.time + _LONGEST_GAP,
        )
        told = f"caches may have {server} for a name server, for {until - now.time:.0f} s more"
        at = min(until, now.time + _LONGEST_GAP)
        if not held:
            raise NotYet(f"before its first DS, the zone has to be signed there, too: {told}", watch, at)
        if not _may_be_secure(look, server, content, held, now):
            continue
        keys = content.dnskey or ()
        needed = {old for each in held for old in each if any(names_key(look.zone, old, key) for key in keys)} - set(ds)
        if needed:
            return Staying(tuple(sorted(needed)), f"DS with key tag {_tags(needed)} of the parent stay: {told}", at)
    return None


def _may_be_secure(
    look: Look, server: ChildServer, content: ZoneContent, held: Collection[tuple[bytes, ...]], now: Now
) -> bool:
    """Whether a server is secure under DS of the parent, or such NS name it as are: anybody can show DNSKEY records."""
    if any(check_dnskey_rrset(look.zone, content.signed_dnskey, ds, now.time, look.work) is None for ds in held):
        return True
    shown = (*(each for _, each in look.contents), *(each.content for each in look.past if each.content))
    naming = [(each, ns) for each in shown if server.server in each.ns and (ns := each.rrset(RRType.NS)) is not None]
    return any(
        check_signed_under(look.zone, each.signed_dnskey, ns, ds, now.time, look.work, by_entry=False) is None
        for each, ns in naming
        for ds in held
    )


def _tags(ds: Iterable[bytes]) -> str:
    return ", ".join(str(int.from_bytes(each[:2])) for each in sorted(ds))


def check_caches(look: Look, now: Now) -> None:
    """Name servers that the parent does not have yet are secure under the DS that caches may have. Raises NotYet."""
    if look.newcomers and (left := look.forgotten_until - now.time) > 0:
        raise NotYet(
            f"no name server is added yet: caches may have DS that were too many to be remembered, for {left:.0f} s"
            " more",
            at=now.time + min(left, _LONGEST_GAP),
        )
    for ds, until in past_ds(look.sights, now.time).items():
        for server, content in look.contents:
            if server.server not in look.newcomers:
                continue
            if (why := check_dnskey_rrset(look.zone, content.signed_dnskey, ds, now.time, look.work)) is not None:
                raise NotYet(
                    f"the name server {server} is not added yet: caches may have other DS for {until - now.time:.0f} s"
                    f" more, and under those the zone is bogus there: {why}",
                    at=min(until, now.time + _LONGEST_GAP),
                )
