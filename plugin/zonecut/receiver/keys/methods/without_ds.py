"""Is a child without DS, beyond what its parent's server shows at this moment?

The methods for unsigned children are weaker than the one for signed ones. One look at a server in the middle of a
reload or an edit must not open them for a signed child: it needs the parent zone's own proof as well.
"""

from zonecut.plugin.bootstrap import Candidate, Conclusion, Finding, Lookups, Presence, Security


async def not_without_ds(candidate: Candidate, lookups: Lookups) -> Finding | None:
    """Why the child does not count as one without DS now; None if it is proven to be one (RFC 4035 section 5.2).

    It is, too, where it is proven that no chain of trust leads to the parent zone: no DS there would count.
    """
    if candidate.delegation.ds:
        return Finding(Conclusion.NOT_APPLICABLE, "the child has a DS")
    seen = await lookups.ds_at(candidate.key.owner)
    if seen.presence is Presence.ABSENT and seen.security in (Security.SECURE, Security.INSECURE):
        return None
    if seen.presence is Presence.FOUND:
        reason = f"{seen.where}: there is one for the resolver, although the parent's server shows none now"
    else:
        reason = f"{seen.where}: nothing proves that there is none: {seen.security}: {seen.reason}"
    return Finding(Conclusion.UNDECIDED, reason, is_ours=seen.is_ours)
