"""When the absence of a delegation is proven: away at every look of a period (PROTOCOL section 4, "Trust ends"). Pure.

A zone file is saved in two writes, an old copy is there for a moment, a server comes up without its zones: one look, or
some looks at one time, prove nothing. An absence that nobody looked at for long is not known to have lasted. Nor does
one look prove that a delegation has been given to somebody else.
"""

from dataclasses import replace
from math import inf

from zonecut.protocol.delegation import Delegation
from zonecut.store import Watch

PART = 4
"""No time between two looks counts for more than one in so many of the period: that makes five looks at least."""


def pause(gone_after: float) -> float:
    """Seconds within which what is away is to be looked at again, so that all of the time counts."""
    return gone_after / (2 * PART)


def away(watch: Watch, now: float, gone_after: float, passed: float = inf) -> Watch:
    """A watch after a look at which the delegation was away; `now` in seconds since the epoch.

    `passed` are the seconds since the look before by a clock that nobody sets, where that is known.
    """
    watch = replace(watch, suspect_since=None)
    if watch.absent_since is None or not watch.looks:
        return replace(watch, absent_since=now, absent_at=now, absent_for=0.0, looks=1)
    counts = min(max(0.0, now - watch.absent_at), passed, gone_after / PART)
    return replace(watch, absent_at=now, absent_for=watch.absent_for + counts, looks=watch.looks + 1)


def there(watch: Watch, held: Delegation, now: float, change: int) -> Watch:
    """A watch after a look at which the delegation was there like this, and after this change."""
    seen = replace(watch, seen=held.ns, seen_at=now, seen_change=change, suspect_since=None)
    seen = replace(seen, seen_ds=sees_ds(watch, held, change))
    return replace(seen, absent_since=None, absent_at=0.0, absent_for=0.0, looks=0, is_held=False)


def sees_ds(watch: Watch, held: Delegation, change: int) -> bool:
    """Whether a look after this change counts as one that saw DS.

    The first one after a change does not: it may have begun before the change was written that took them out.
    """
    return bool(held.ds) and watch.seen_change >= change


def suspect(watch: Watch, now: float) -> Watch:
    """A watch after a look at which it was there with name servers for which its keys are to be suspended.

    What was away has not come back yet, but was not away over the whole period either.
    """
    since = watch.suspect_since
    # a clock that is set back proves nothing
    since = now if since is None else min(since, now)
    return replace(watch, suspect_since=since, absent_for=0.0, looks=0)


def is_confirmed(watch: Watch, now: float, suspend_after: float) -> bool:
    """Whether what a watch is suspected for was seen for so many seconds."""
    return watch.suspect_since is not None and now - watch.suspect_since >= suspend_after


def is_proven(watch: Watch, gone_after: float) -> bool:
    return watch.is_absent and watch.looks > PART and watch.absent_for >= gone_after
