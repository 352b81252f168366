"""When may trusted keys go because the KEY RRset that was validated is without them?

That RRset may be an old one, from a cache or replayed while its signature lives: its holder would then evict the key
that the child has had since. What the child's own servers serve now decides, or a second look when no cache has the
first answer any more.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zonecut.plugin.bootstrap import Conclusion, Finding, Lookups, Presence
from zonecut.protocol.delegation import Delegation

EVIDENCE = "replaces"
"""Where the first look is kept in a bootstrap's evidence; no method has that name."""
SOME_SILENT = 3600.0
"""Seconds to the second look where some of the child's servers were silent, and all others agree."""
ALL_SILENT = 86400.0
"""The same where none of them answered: resolvers keep nothing for longer than a day."""


async def proven(
    finding: Finding, delegation: Delegation, lookups: Lookups, earlier: Mapping[str, Any], now: float
) -> Finding:
    """The finding as it is if trusted keys may go with it; else what has to be waited for.

    `finding` is ACCEPTED, `earlier` is the evidence under `EVIDENCE`, `now` is in seconds since the epoch.
    """
    served = await lookups.keys_from_servers(delegation)
    answered = [each for each in served if each.presence is not Presence.FAILED]
    for each in answered:
        if each.presence is not Presence.FOUND or each.keys != finding.validated:
            reason = f"{each.where}: another KEY RRset than the validated one, and no trusted key goes on an old one"
            return Finding(Conclusion.UNDECIDED, reason)
    if answered and len(answered) == len(served):
        return finding
    digest = hashlib.sha256(b"".join(sorted(finding.validated))).hexdigest()
    since = float(earlier.get("since", now)) if earlier.get("keys") == digest else now
    period = SOME_SILENT if answered else ALL_SILENT
    # a clock that was set back begins anew
    since = min(since, now)
    left = since + period - now
    if left <= 0:
        return finding
    silent = next((f"{each.where}: {each.reason}" for each in served if each not in answered), "no server of the child")
    reason = f"{silent}; the trusted keys go when the same KEY RRset is validated {left:.0f} s from now"
    return replace(
        finding,
        conclusion=Conclusion.UNDECIDED,
        reason=reason,
        evidence={EVIDENCE: {"since": since, "keys": digest}},
        again_in=left,
    )
