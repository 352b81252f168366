"""at-ns: the KEY RRset under the names of the child's name servers (RFC 9615 applied to KEY, as the draft does)."""

import asyncio
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from zonecut.plugin.bootstrap import (
    BootstrapMethod,
    Candidate,
    Conclusion,
    Finding,
    Lookups,
    Presence,
    Security,
    Sighting,
)
from zonecut.protocol import names
from zonecut.protocol.announced.signalling import signalling_name
from zonecut.receiver.keys.methods.without_ds import not_without_ds


class AtNsOptions(BaseModel):
    """`strict`: every name server must agree; `any`: one secure answer is enough if no secure one contradicts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["strict", "any"] = Field("strict", description="How many name servers must vouch for the key.")


class AtNs(BootstrapMethod):
    """Accepts a key for an unsigned child that its operators of signed name servers publish."""

    def __init__(self, options: AtNsOptions) -> None:
        self._mode = options.mode

    async def examine(self, candidate: Candidate, lookups: Lookups) -> Finding:
        delegation, rdata = candidate.delegation, candidate.key.rdata
        if refused := await not_without_ds(candidate, lookups):
            return refused
        child = candidate.key.owner
        outside = [server for server in delegation.ns if not names.is_at_or_below(server, child)]
        if not outside:
            return Finding(Conclusion.NOT_APPLICABLE, "no name server outside the child zone")
        signalling = [name for server in outside if (name := signalling_name(child, server))]
        if len(signalling) < len(outside):
            return Finding(Conclusion.NOT_APPLICABLE, "the signalling name of a name server is too long")
        seen = await asyncio.gather(*map(lookups.keys_at, signalling))
        secure = [each for each in seen if each.is_secure]
        for each in secure:
            if each.presence is not Presence.FOUND or rdata not in each.keys:
                return Finding(Conclusion.CONTRADICTED, f"{each.where}: secure, and the key is not there")
        if self._mode == "any":
            if secure:
                # what any of them vouches for is vouched for: no key goes that one of them still publishes
                vouched = frozenset().union(*(each.keys for each in secure))
                return Finding(Conclusion.ACCEPTED, f"{secure[0].where}: secure", validated=vouched)
            is_ours = all(each.is_ours for each in seen)
            return Finding(Conclusion.UNDECIDED, f"no secure signalling record: {_first_reason(seen)}", is_ours=is_ours)
        unclear = [each for each in seen if not each.is_secure and each.security is not Security.INSECURE]
        if unclear:
            reason = f"{unclear[0].where}: {unclear[0].security}: {unclear[0].reason}"
            return Finding(Conclusion.UNDECIDED, reason, is_ours=all(each.is_ours for each in unclear))
        if not secure:
            return Finding(Conclusion.CONTRADICTED, "no name server's signalling name is in a signed zone")
        return await self._at_every_server(candidate, lookups, secure)

    async def _at_every_server(self, candidate: Candidate, lookups: Lookups, secure: Sequence[Sighting]) -> Finding:
        """Every signalling RRset and every server's apex RRset are equal, and hold the key."""
        expected = secure[0].keys
        served = await lookups.keys_from_servers(candidate.delegation)
        if not served:
            return Finding(Conclusion.UNDECIDED, "no name server of the child has an address")
        for each in (*secure, *served):
            if each.presence is Presence.FAILED:
                return Finding(Conclusion.UNDECIDED, f"{each.where}: {each.reason}")
            if each.presence is not Presence.FOUND:
                found = "no KEY RRset" if each.presence is Presence.ABSENT else "no KEY RRset of its own"
                return Finding(Conclusion.CONTRADICTED, f"{each.where}: {found}, unlike at {secure[0].where}")
            if each.keys != expected:
                return Finding(Conclusion.CONTRADICTED, f"{each.where}: another KEY RRset than at {secure[0].where}")
        reason = f"{len(secure)} secure signalling record(s) and {len(served)} server address(es) agree"
        return Finding(Conclusion.ACCEPTED, reason, validated=expected)


def _first_reason(seen: Sequence[Sighting]) -> str:
    return f"{seen[0].where}: {seen[0].security}: {seen[0].reason}"
