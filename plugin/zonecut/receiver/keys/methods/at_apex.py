"""at-apex: the KEY RRset at the apex of a signed child zone (draft-ietf-dnsop-delegation-mgmt-via-ddns)."""

from pydantic import BaseModel, ConfigDict

from zonecut.plugin.bootstrap import (
    BootstrapMethod,
    Candidate,
    Conclusion,
    Finding,
    Lookups,
    Presence,
    Security,
)
from zonecut.protocol import names


class AtApexOptions(BaseModel):
    """It has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AtApex(BootstrapMethod):
    """Accepts a key that a secure chain of trust down to the child's apex holds, signed by the child zone itself.

    The last step of that chain is the DS that the parent's own server has now, whatever caches have (RFC 4035 section
    5.2): a name that was given to somebody else does not come back through the chain to who had it before.
    """

    def __init__(self, options: AtApexOptions) -> None:
        """There is nothing to choose."""

    async def examine(self, candidate: Candidate, lookups: Lookups) -> Finding:
        child = candidate.key.owner
        if not candidate.delegation.ds:
            return Finding(Conclusion.NOT_APPLICABLE, "the child has no DS")
        seen = await lookups.keys_under(candidate.delegation)
        if seen.presence is Presence.FAILED or seen.security in (Security.BOGUS, Security.INDETERMINATE):
            reason = f"{seen.where}: {seen.security}: {seen.reason}"
            return Finding(Conclusion.UNDECIDED, reason, is_ours=seen.is_ours)
        if not seen.is_secure:
            # the parent has a DS, so this answer was given before it, or past it
            return Finding(Conclusion.UNDECIDED, f"{seen.where}: insecure although the child has a DS: {seen.reason}")
        if seen.presence is not Presence.FOUND:
            return Finding(Conclusion.CONTRADICTED, f"{seen.where}: no KEY of its own there: {seen.reason}")
        if seen.signer != child:
            signer = names.to_text(seen.signer) if seen.signer else "nobody"
            return Finding(Conclusion.CONTRADICTED, f"{seen.where}: signed by {signer}, not by the child zone")
        if candidate.key.rdata not in seen.keys:
            return Finding(
                Conclusion.CONTRADICTED, f"{seen.where}: {len(seen.keys)} KEY record(s), this one is not there"
            )
        return Finding(Conclusion.ACCEPTED, f"{seen.where}: secure, and the key is there", validated=seen.keys)
