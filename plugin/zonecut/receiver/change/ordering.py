"""The order of a child's changes: a message that somebody held back must not undo what came after it.

An inception is no serial number: genuine clients date it back by chance, and two hosts may sign for one child. So what
is signed is compared with a tolerance. What comes through another channel (the hook, a scan) counts with the time at
which it was accepted; over that, a message dated before it, or in the same second, goes only where its prerequisites
say what it starts from (RFC 2136 section 2.4): they hold, or it is void.

Whatever was stored while our own clock was fast counts as now: else a child would be locked out until then.
"""

from collections.abc import Iterable

from zonecut.protocol.codepoints import EdeCode, Rcode
from zonecut.protocol.errors import Refusal
from zonecut.protocol.sig0 import seconds_until
from zonecut.protocol.update import DelegationChange, KeyRoll
from zonecut.receiver.bounded import Bounded
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.change.readings import REMEMBERED_CHILDREN
from zonecut.receiver.provenance import Provenance, channel_of
from zonecut.receiver.zone_settings import ZoneSettings
from zonecut.store import TRUSTED_ANEW, AcceptedChange, StoredKey
from zonecut.store.timestamps import to_text

AHEAD_AT_MOST = 3600
"""Seconds that a floor may lie ahead of our clock, since those of children may be fast."""


class Newest:
    """The newest changes accepted from a child: of those that were signed, and of those through another channel."""

    __slots__ = ("posted", "posted_at", "signed", "signed_at")

    def __init__(self, accepted: Iterable[AcceptedChange] = ()) -> None:
        self.signed: AcceptedChange | None = None
        self.posted: AcceptedChange | None = None
        self.signed_at = self.posted_at = 0
        """As when they count in the order, in seconds since the epoch; 0: there is none."""
        for each in accepted:
            self.add(each)

    def add(self, accepted: AcceptedChange) -> None:
        """Another change was accepted."""
        at = dated(accepted.inception, int(accepted.at))
        if accepted.inception is None:
            if at >= self.posted_at:
                self.posted, self.posted_at = accepted, at
        elif at >= self.signed_at:
            self.signed, self.signed_at = accepted, at


def dated(inception: int | None, now: int) -> int:
    """The time as which an inception, modulo 2**32, counts where it is `now`; both in seconds.

    One that lies ahead of our clock counts as now: else a client whose clock is fast would lock out all others of its
    child, and itself once its clock is right.
    """
    return now if inception is None else now + min(0, seconds_until(inception, now))


def _behind(newer: int, at: int, now: int) -> int | None:
    """By how many seconds a message of `at` may lie behind what is newer, 0 for the same second; None: not at all.

    All in seconds since the epoch.
    """
    if newer > now:
        # our clock was set back: of this second it is not known
        return now - at if at < now else None
    return newer - at if at <= newer else None


def check_order(
    newest: Newest, inception: int, now: int, settings: ZoneSettings, request: DelegationChange | KeyRoll
) -> None:
    """Raise Refusal with BADTIME for a message that may have been held back while something newer was accepted.

    `inception` in seconds modulo 2**32, `now` in seconds since the epoch.
    """
    if settings.ordering == "off":
        return
    tolerance = settings.ordering_tolerance if settings.ordering == "tolerant" else 0
    at = dated(inception, now)
    if newest.signed is not None and (_behind(newest.signed_at, at, now) or 0) > tolerance:
        raise _stale(inception, min(newest.signed_at, now) - at, now, newest.signed, tolerance)
    if newest.posted is not None and (behind := _behind(newest.posted_at, at, now)) is not None:
        if behind > tolerance:
            raise _stale(inception, behind, now, newest.posted, tolerance)
        if isinstance(request, DelegationChange) and not request.says_what_it_starts_from:
            raise _stale(inception, behind, now, newest.posted, None)


def check_floor(floor: float | None, inception: int, now: int) -> None:
    """Raise Refusal with BADTIME for a message that was signed before a store was restored from a backup.

    Whether something newer was accepted meanwhile is not known. It counts as what it is dated, for clocks that are fast
    were so before as well. A floor that lies further ahead than such a clock may be comes of our own one, and counts as
    now: else everybody would be locked out until then. `floor` and `now` in seconds since the epoch.
    """
    if floor is None:
        return
    ahead = now < floor <= now + AHEAD_AT_MOST
    at = now + seconds_until(inception, now) if ahead else dated(inception, now)
    if at < (floor if ahead else min(floor, now)):
        reason = (
            f"stale: signed at {_signed(inception, now)}, and what was accepted before {_text(floor)} is not known,"
            f" since the store was restored from a backup, or the zone was: sign it anew from then on; it is"
            f" {_text(now)} here"
        )
        raise Refusal("store-restored", reason, Rcode.BADTIME, EdeCode.OTHER)


def check_trusted_anew(stored: StoredKey | None, inception: int, now: int) -> None:
    """Raise Refusal with BADTIME for a message that was signed before an operator trusted its suspended key anew.

    What was asked for before the delegation looked like another holder's is not what was trusted then. `now` in seconds
    since the epoch.
    """
    if stored is None or stored.method != TRUSTED_ANEW or dated(inception, now) >= min(int(stored.changed_at), now):
        return
    reason = (
        f"stale: signed at {_signed(inception, now)}, before an operator trusted key {stored.key.tag} anew at"
        f" {_text(stored.changed_at)}: sign it anew; it is {_text(now)} here"
    )
    raise Refusal("signature-order", reason, Rcode.BADTIME, EdeCode.OTHER)


def _stale(inception: int, behind: int, now: int, newer: AcceptedChange, tolerance: float | None) -> Refusal:
    if newer.inception is None:
        what = f"a change through {channel_of(newer.source)}, accepted at {_text(newer.at)}"
    else:
        key = "a key that is gone" if newer.key_tag is None else f"key {newer.key_tag}"
        signed = _signed(newer.inception, int(newer.at))
        what = f"a change that {key} signed at {signed} and that was accepted at {_text(newer.at)}"
    because = (
        "and without prerequisites that say what it starts from"
        if tolerance is None
        else f"more than the {tolerance:g} s that are tolerated"
    )
    when = f"{behind} s before" if behind else "in the same second as"
    reason = f"stale: signed at {_signed(inception, now)}, {when} {what}, {because}; it is {_text(now)} here"
    return Refusal("signature-order", reason, Rcode.BADTIME, EdeCode.OTHER)


def _signed(inception: int, near: int) -> str:
    """An inception, modulo 2**32, as the time that it means near another one; both in seconds."""
    return _text(near + seconds_until(inception, near))


def _text(seconds: float) -> str:
    return to_text(int(seconds)).replace(".000Z", "Z")


class ChildOrder:
    """The newest changes of the children of one parent zone, from the ledger and then in memory."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._newest: Bounded[bytes, Newest] = Bounded(REMEMBERED_CHILDREN)
        self.floor: float | None = None
        """The time before which messages are stale, in seconds since the epoch, where the store was restored."""

    async def check(
        self, provenance: Provenance, request: DelegationChange | KeyRoll, now: float, settings: ZoneSettings
    ) -> None:
        """Raise Refusal for a request that is stale; StoreUnavailable. `now` in seconds since the epoch."""
        if provenance.inception is None:
            return
        check_floor(self.floor, provenance.inception, int(now))
        if settings.ordering == "off":
            return
        child = provenance.child
        newest = self._newest.get(child)
        if newest is None:
            newest = self._newest[child] = Newest(await self._ledger.accepted(child))
        check_order(newest, provenance.inception, int(now), settings, request)

    def accepted(self, provenance: Provenance, now: float) -> None:
        """A change is in the ledger. `now` in seconds since the epoch."""
        newest = self._newest.get(provenance.child)
        if newest is not None:  # else the ledger tells of it
            newest.add(AcceptedChange(now, provenance.inception, provenance.key_tag, provenance.source))
