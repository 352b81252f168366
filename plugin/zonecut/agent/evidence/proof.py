"""Whether what a child zone asks for may be signed: held against all that was seen in one look. Pure.

A DS is added or removed only if a key that a DS at the parent names has signed for it (RFC 7344 section 4.1, RFC 8078
section 4) or, where the parent has none, after the zone was seen signed everywhere for long enough; and only if each
server of the zone stays secure (RFC 4035 section 2.2, RFC 8901). Name servers are added where the zone is secure only.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from hashlib import sha256

from zonecut.agent.evidence.desired import Desired
from zonecut.agent.evidence.ds_statement import Origin, algorithm_of, is_delete, names_key
from zonecut.agent.evidence.transit import check_caches, staying_ds
from zonecut.agent.evidence.witnesses import (
    Look,
    NotYet,
    Unproven,
    check_complete,
    check_order,
    everywhere,
    heard_of,
    why_unproven,
)
from zonecut.agent.parent.parent_view import ParentView
from zonecut.agent.state import Watch
from zonecut.agent.transitions import Now
from zonecut.agent.zone.caches import KEPT
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.resolve import Verdict, Work, can_validate, check_algorithms, check_dnskey_rrset, check_signed_under

_LOOKS = 2
_LONGEST_GAP = 600.0
"""Seconds between looks at what is being watched."""

_PROVIDERS = (
    "where the operator of the zone changes, both publish each other's keys first, DS of both go to the parent, and the"
    " name servers move after that (RFC 6781 section 4.3.5)"
)


@dataclass(frozen=True, slots=True)
class Ruling:
    """`aim` is what of the zone's wishes may be signed: what may not is not known there, as if the zone had not said.

    `waits` tell what is missing that may come by itself, looked at again at `look_at` (None: after the usual pause).
    What a person has to do something about is in the `troubles` of `aim`.
    """

    aim: Desired
    waits: tuple[str, ...] = ()
    watch: Watch | None = None
    look_at: float | None = None
    proven: Origin | None = None
    """By what the zone has proven which DS there shall be."""
    silence: Watch | None = None
    going: Watch | None = None
    """That the same DS are to go, while others stay."""


def rule(look: Look, watch: Watch | None, waited: float, now: Now, going: Watch | None = None) -> Ruling:
    """What may be signed of `look.aim`. `waited`: seconds for which the servers have been silent that are now."""
    aim, waits, look_at, proven = look.aim, list[str](), None, None
    before, going = going, None
    changes_ds = aim.ds_known and any(set(each) != set(aim.delegation.ds) for each in look.shown)
    if aim.ds_known and not look.shown:
        aim = _without_ds(aim)
        waits.append("what DS the parent has is not known")
    elif changes_ds:
        try:
            check_order(look, lambda content: not look.says_so(content), "DNSKEY, CDS or CDNSKEY", now)
            ds, notes, watch = _ds(look, watch, waited, now)
            going, lack = _leaving(look, ds, before, now)
            if lack is not None:
                raise NotYet(lack.reason, watch, lack.at)
            if (staying := staying_ds(look, ds, watch, now)) is not None:
                ds, look_at = tuple(sorted({*ds, *staying.ds})), staying.at
                waits.append(staying.reason)
            proven = aim.origin
            aim = replace(aim, delegation=replace(aim.delegation, ds=ds), notes=(*aim.notes, *notes))
        except NotYet as lack:
            aim, watch, look_at = _without_ds(aim), lack.watch, lack.at
            waits.append(lack.reason)
        except Unproven as lack:
            aim, watch = replace(_without_ds(aim), troubles=(*aim.troubles, lack.reason)), None
    else:
        watch = None
    if aim.ns_known:
        try:
            check_order(look, look.has_other_servers, "NS or addresses", now)
            if look.newcomers:
                _check_newcomers(look, aim, waited, now)
        except NotYet as lack:
            aim = replace(aim, ns_known=False)
            waits.append(lack.reason)
            look_at = min(filter(None, (look_at, lack.at)), default=None)
        except Unproven as lack:
            aim = replace(aim, ns_known=False, troubles=(*aim.troubles, lack.reason))
    return Ruling(aim, tuple(waits), watch, look_at, proven, going=going)


def proven_origin(content: ZoneContent, aim: Desired, view: ParentView, now: float) -> Origin | None:
    """By what the zone proves that the DS which it asks for, and the parent has, are its own; None: it does not."""
    held = [server.ds for server in view.servers if server.ds]
    if aim.origin not in (Origin.CDS, Origin.DNSKEY) or not held:
        return None
    return aim.origin if why_unproven(content, aim.origin, held, now) is None else None


def _without_ds(aim: Desired) -> Desired:
    return replace(aim, ds_known=False, delegation=replace(aim.delegation, ds=()))


_Permitted = tuple[tuple[bytes, ...], tuple[str, ...], Watch | None]


def _ds(look: Look, watch: Watch | None, waited: float, now: Now) -> _Permitted:
    """The DS that may be signed, what is to be noted, and what goes on being watched. Raises NotYet, Unproven."""
    believed = [server for server in look.parent.servers if server.ds is not None and _is_believed(server.verdict)]
    if not believed:
        untold = next(server for server in look.parent.servers if server.ds is not None)
        raise NotYet(f"the DS at the parent cannot be validated: {untold} {untold.verdict_reason}")
    held = [server.ds for server in believed if server.ds]
    asked = look.aim.delegation.ds
    if not asked and not held:
        raise NotYet("a server of the parent shows DS that cannot be validated, and others that there are none")
    if not asked:
        return (), (), _removal(look, held, watch, now)
    # under DS of kinds that are not in use any more, a zone counts as one that is not signed (RFC 4035 section 5.2)
    useful = [ds for ds in held if can_validate(ds)]
    if not useful:
        return asked, (), _first(look, asked, watch, now)
    return _change(look, asked, useful, watch, waited, now)


def _is_believed(verdict: Verdict) -> bool:
    return verdict in (Verdict.SECURE, Verdict.INSECURE)


def _first(look: Look, asked: tuple[bytes, ...], watch: Watch | None, now: Now) -> Watch:
    """From no DS to DS: the zone is signed at every server, and was for as long as unsigned answers live in caches."""
    zone, span = look.zone, now.settings.looks.signed_for
    for server, content in everywhere(look, now):
        signed = content.signed_dnskey
        why = check_algorithms(zone, signed, asked, now.time, look.work)
        for rtype in (RRType.SOA, RRType.NS):
            found = content.rrset(rtype)
            if why is None:
                why = (
                    "it cannot be seen"
                    if found is None
                    else check_signed_under(zone, signed, found, asked, now.time, look.work, by_entry=False)
                )
            span = max(span, min(found.ttl, KEPT) if found else 0)
        if why is None and look.aim.origin is Origin.CDS:
            why = (
                why_unproven(content, Origin.CDS, [asked], now.time, look.work)
                if look.says_so(content)
                else "its CDS are others"
            )
        if why is not None:
            raise NotYet(f"before its first DS, the zone has to be signed at {server}: {why}")
        soa = content.rrset(RRType.SOA)
        assert soa is not None
        # RFC 2308 section 5: for so long an answer that there is nothing is kept
        span = max(span, min(soa.ttl, int.from_bytes(soa.wires[0][-4:]), KEPT))
    reason = "before its first DS, the zone has to be seen signed"
    seen = _seen_again(watch, _subject("first", look), span, reason, now)
    # who lowered the TTLs with the signing has not lowered those in caches
    if (left := look.unsigned_until - now.time) > 0:
        reason = f"before its first DS, answers from when it was not signed have to be out of caches, in {left:.0f} s"
        raise NotYet(reason, seen, now.time + min(left, _LONGEST_GAP))
    return seen


def _removal(look: Look, held: Collection[tuple[bytes, ...]], watch: Watch | None, now: Now) -> Watch:
    """The last DS goes only if all servers say so, twice."""
    by_cds = look.aim.origin is Origin.CDS
    if by_cds:
        _witness(look, held, now)
    for server, content in everywhere(look, now):
        if by_cds and content.dnskey and not is_delete(content):
            raise NotYet(f"before the last DS goes, all servers have to say so: {server} does not")
        if not by_cds and (content.dnskey or content.cds or content.cdnskey):
            raise NotYet(f"before the last DS goes, the zone has to be unsigned everywhere: at {server} it is signed")
    reason = "before the last DS goes, all servers have to say so at two looks"
    return _seen_again(watch, _subject("removal", look), now.settings.looks.again, reason, now)


def _change(
    look: Look,
    asked: tuple[bytes, ...],
    held: Collection[tuple[bytes, ...]],
    watch: Watch | None,
    waited: float,
    now: Now,
) -> _Permitted:
    """DS remain: what is asked for is proven, and no server is left without one that it needs."""
    zone = look.zone
    _witness(look, held, now)
    notes = heard_of(look, look.names, waited, now)
    kept: set[bytes] = set()
    for server, content in look.contents:
        if check_dnskey_rrset(zone, content.signed_dnskey, asked, now.time, look.work) is None:
            continue
        keys = content.dnskey or ()
        needed = {ds for each in held for ds in each if any(names_key(zone, ds, key) for key in keys)} - set(asked)
        kept |= needed
        tags = ", ".join(str(int.from_bytes(ds[:2])) for ds in sorted(needed))
        if needed:
            notes.append(f"DS with key tag {tags} of the parent stay: {server} is secure only with these (RFC 8901)")
    final = tuple(sorted({*asked, *kept}))
    if not {ds for each in held for ds in each} <= set(final):
        check_complete(look)
    every = [(str(server), content) for server, content in look.contents]
    if look.content.dnskey is not None:
        every.append(("the server that the zone is read from", look.content))
    if not every:
        raise NotYet("no server of the zone shows its DNSKEY: `primary` names one that does")
    for place, content in every:
        if (why := check_algorithms(zone, content.signed_dnskey, final, now.time, look.work)) is not None:
            raise NotYet(f"with the DS that are asked for the zone would be bogus at {place}: {why}")
    common = set.intersection(*[set(map(algorithm_of, each)) for each in held])
    new = set(map(algorithm_of, final)) - common
    if not new:
        return final, tuple(notes), None
    # whoever insists on RFC 4035 section 2.2 must not have the DNSKEY RRset of before in his cache
    span = max(min(content.signed_dnskey.ttl, KEPT) if content.signed_dnskey else 0 for _, content in every)
    listed = ", ".join(map(str, sorted(new)))
    reason = (
        f"keys of algorithm {listed} have to be seen at all servers for as long as caches have the DNSKEY of before"
    )
    return final, tuple(notes), _seen_again(watch, _subject(f"algorithms {listed}", look), span, reason, now)


def _leaving(look: Look, ds: tuple[bytes, ...], before: Watch | None, now: Now) -> tuple[Watch | None, NotYet | None]:
    """DS go while others remain at the second look that shows the same; why not yet, at the first.

    One look at a server behind which there are several, or at whoever is on the way to it, takes none away. Until then
    none is added either: a signer withdraws its CDS once it sees the new DS, and the old one would stay. Where the DS
    that are there are of kinds not in use any more, the zone was watched already.
    """
    held = [server.ds for server in look.parent.servers if server.ds and _is_believed(server.verdict)]
    leaving = {each for there in held for each in there} - set(ds)
    if not ds or not leaving or not any(map(can_validate, held)):
        return None, None
    subject = _subject(f"leaving {sha256(b''.join(sorted(leaving))).hexdigest()[:16]}", look)
    tags = ", ".join(str(int.from_bytes(each[:2])) for each in sorted(leaving))
    reason = f"before DS with key tag {tags} go, two looks have to show that they are not needed"
    try:
        return _seen_again(before, subject, now.settings.looks.again, reason, now), None
    except NotYet as lack:
        return lack.watch, lack


def _witness(look: Look, held: Collection[tuple[bytes, ...]], now: Now) -> None:
    """One server at least shows what is asked for, signed by a key that a DS at the parent names. Raises Unproven."""
    origin = look.aim.origin
    assert origin is not None
    reasons: list[str] = []
    for content in (look.content, *(content for _, content in look.contents)):
        if not look.says_so(content) or content.dnskey is None:
            continue
        why = why_unproven(content, origin, held, now.time, look.work)
        if why is None:
            return
        reasons.append(why)
    zone, what = names.to_text(look.zone), "CDS" if origin is Origin.CDS else "DNSKEY"
    why = reasons[0] if reasons else "no server shows it with signatures; `primary` names one that does"
    raise Unproven(
        f"the {what} of {zone} are not signed by a key that a DS at the parent names (RFC 7344 section 4.1): {why}"
    )


def _check_newcomers(look: Look, aim: Desired, waited: float, now: Now) -> None:
    """Servers that the parent does not have yet serve the zone, and it is secure there. Raises NotYet, Unproven."""
    shown = [server for server in look.parent.servers if server.ds]
    believed = [server.ds for server in shown if server.ds and _is_believed(server.verdict)]
    if shown and not believed:
        raise NotYet(f"the DS at the parent cannot be validated: {shown[0]} {shown[0].verdict_reason}")
    sets = {tuple(sorted(ds)) for ds in believed if can_validate(ds)}
    if aim.ds_known and aim.delegation.ds:
        sets.add(tuple(sorted(aim.delegation.ds)))
    own = look.content
    for ds in sorted(sets):
        if own.dnskey and (why := _why_not_its_own(own, ds, now, look.work)) is not None:
            raise Unproven(
                f"no name server is added: the zone as it is read is bogus under the DS at the parent: {why};"
                f" {_PROVIDERS}"
            )
        for server, content in look.contents:
            if server.server not in look.newcomers:
                continue
            if (why := check_dnskey_rrset(look.zone, content.signed_dnskey, ds, now.time, look.work)) is not None:
                raise Unproven(
                    f"the name server {server} is not added: under the DS at the parent the zone is bogus there: {why};"
                    f" {_PROVIDERS}"
                )
    heard_of(look, look.newcomers, waited, now)
    check_caches(look, now)


def _why_not_its_own(content: ZoneContent, ds: tuple[bytes, ...], now: Now, work: Work) -> str | None:
    """Why the NS of a signed zone are not proven under these DS, as far as signatures can be seen; None if they are."""
    found = content.rrset(RRType.NS)
    if found is None:
        return check_dnskey_rrset(content.zone, content.signed_dnskey, ds, now.time, work)
    return check_signed_under(content.zone, content.signed_dnskey, found, ds, now.time, work, by_entry=False)


def longest_pause(now: Now) -> float:
    """Seconds, at most, between two looks at something that is watched."""
    return now.settings.looks.again + _LONGEST_GAP


def went_on(watch: Watch | None, subject: str, now: Now) -> Watch:
    """The watch of what is so at this look, too; anew where it is something else, or was not seen for long."""
    time = now.time
    if watch is None or watch.subject != subject or watch.is_interrupted(time, longest_pause(now)):
        return Watch(subject, time, time, 1, 0.0)
    return replace(watch, last=time, looks=watch.looks + 1)


def _subject(what: str, look: Look) -> str:
    """What is watched, and where: with another server it begins anew."""
    places = "\n".join(sorted(f"{each.server.hex()} {each.address}" for each in look.servers))
    return f"{what} at {sha256(places.encode()).hexdigest()[:16]}"


def _seen_again(watch: Watch | None, subject: str, span: float, reason: str, now: Now) -> Watch:
    """The watch, once this has been seen often and long enough; NotYet with the watch before.

    It begins anew where nothing was seen for long: the agent was down, or a server of the zone or of the parent.
    """
    again, time = now.settings.looks.again, now.time
    interrupted = ""
    if watch is not None and watch.subject == subject and watch.is_interrupted(time, longest_pause(now)):
        interrupted = f", anew: nothing was seen for {time - watch.last:.0f} s"
        watch = None
    if watch is None or watch.subject != subject:
        watch = Watch(subject, time, time, 1, span)
    else:
        counts = time - watch.last >= again
        watch = replace(
            watch,
            last=time if counts else watch.last,
            looks=watch.looks + counts,
            span=max(watch.span, span),
        )
    left = watch.since + watch.span - time
    if watch.looks >= _LOOKS and left <= 0:
        return watch
    at = max(watch.last + again, time + min(left, _LONGEST_GAP))
    raise NotYet(f"{reason}, for {watch.span:.0f} s at least{interrupted}", watch, at)
