"""What is wrong with a child zone although its parent holds all that it asks for.

Told, and never acted upon: it takes a person to say which side is right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zonecut.agent.parent.discovery import Lookups
from zonecut.agent.parent.parent_view import ParentView
from zonecut.agent.settings import DsSettings
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.resolve import Status, Verdict, can_validate, check_dnskey_rrset


@dataclass(frozen=True, slots=True)
class Unsound:
    """What is wrong, in a sentence, and what to do about it.

    `passes`: perhaps by itself, as where a change is on its way to all servers of the parent.
    """

    reason: str
    advice: str
    passes: bool = False


def unseen(content: ZoneContent, settings: DsSettings) -> str | None:
    """A sentence where the source of a zone shows neither CDS nor DNSKEY, so that no DS can follow from it."""
    if settings.source == "off" or content.cds is not None or content.dnskey is not None:
        return None
    return (
        "through its backend neither CDS nor DNSKEY can be seen: the parent's DS stay as they are, whether the zone is"
        " signed or not (`primary` shows them; `ds: {source: off}` says that it is meant so)"
    )


async def signed_unseen(resolver: Lookups, content: ZoneContent, settings: DsSettings) -> Unsound | None:
    """What is to be said of a zone whose source shows neither CDS nor DNSKEY, and that is signed as a look-up shows."""
    if unseen(content, settings) is None:
        return None
    answer = await resolver.lookup(content.zone, RRType.DNSKEY)
    return _told_unseen(content) if answer.status is Status.FOUND else None


def _told_unseen(content: ZoneContent) -> Unsound:
    return Unsound(
        f"{names.to_text(content.zone)} is signed, and through its backend neither CDS nor DNSKEY can be seen: no DS"
        " follows from them",
        "give its entry a `primary`, which shows them, or say `ds: {source: off}`",
    )


async def find_unsound(
    resolver: Lookups, content: ZoneContent, settings: DsSettings, view: ParentView, now: float
) -> Unsound | None:
    """What is wrong with the zone under the DS that the parent's servers show; None if nothing is known to be.

    A zone whose DNSKEY its source does not show is looked up. `now` is in seconds since the epoch.
    """
    shown = view.ds_sets
    usable = [ds for ds in shown if can_validate(ds)]
    if content.dnskey is not None:
        return _bogus(content, usable, now)
    if usable:
        answer = await resolver.lookup(content.zone, RRType.DNSKEY)
        return _told_bogus(content, answer.reason) if answer.verdict is Verdict.BOGUS else None
    has_none = bool(shown) and not any(shown)
    return await signed_unseen(resolver, content, settings) if has_none else None


def _bogus(content: ZoneContent, shown: Sequence[tuple[bytes, ...]], now: float) -> Unsound | None:
    troubles = [_trouble(content, ds, now) for ds in shown]
    told = next(filter(None, troubles), None)
    if told is None or None not in troubles:
        return None if told is None else _told_bogus(content, told)
    zone = names.to_text(content.zone)
    return Unsound(
        f"{zone} is bogus under the DS that some of the parent's servers show, and not under those of others: {told}",
        "if it lasts, ask the parent's operator: one of these servers is stuck",
        passes=True,
    )


def _trouble(content: ZoneContent, ds: tuple[bytes, ...], now: float) -> str | None:
    if content.dnskey == ():
        return "the parent has a DS for it, and it is not signed"
    return check_dnskey_rrset(content.zone, content.signed_dnskey, ds, now)


def _told_bogus(content: ZoneContent, trouble: str) -> Unsound:
    return Unsound(
        f"{names.to_text(content.zone)} is bogus, so validating resolvers answer SERVFAIL for all of it: {trouble}",
        "sign the zone with a key that the parent's DS names, or have the parent's DS changed or removed"
        " (by the parent's operator, or with `ds: {unsigned: remove}`: CDS 0 0 0 00 would have to be signed)",
    )
