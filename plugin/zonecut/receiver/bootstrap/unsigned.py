"""unsigned: the KEY RRset as every address of every name server gives it, from several places, for a long time."""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from zonecut.plugin.bootstrap import BootstrapMethod, Candidate, Conclusion, Finding, Lookups, Presence


class UnsignedOptions(BaseModel):
    """How long and from where an unsigned child is looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hold: PositiveFloat = Field(72 * 3600, description="Seconds for which every answer must stay the same.")
    rounds: PositiveInt = Field(12, description="The fewest looks in that time, evenly spread.")
    min_vantage_points: NonNegativeInt = Field(2, description="The fewest places from which to look, ours included.")


class Unsigned(BootstrapMethod):
    """Accepts a key for an unsigned child when nobody on any path has said anything else; it replaces no trusted key.

    A finding without evidence starts the hold period over.
    """

    replaces_trusted = False

    def __init__(self, options: UnsignedOptions) -> None:
        self._options = options

    async def examine(self, candidate: Candidate, lookups: Lookups) -> Finding:
        delegation, now = candidate.delegation, candidate.now
        if delegation.ds:
            return Finding(Conclusion.NOT_APPLICABLE, "the child has a DS")
        places = [None, *lookups.vantage_points]
        if len(places) < self._options.min_vantage_points:
            needed = self._options.min_vantage_points
            return Finding(Conclusion.NOT_APPLICABLE, f"{len(places)} vantage point(s), {needed} are required")
        rounds = await asyncio.gather(*(lookups.keys_from_servers(delegation, place) for place in places))
        seen = [each for sightings in rounds for each in sightings]
        if not all(rounds):
            return Finding(Conclusion.UNDECIDED, "no name server of the child has an address")
        for each in seen:
            if each.presence is Presence.FAILED:
                # silence is failure: whoever can silence one path could speak on the others
                return Finding(Conclusion.UNDECIDED, f"{each.where}: {each.reason}")
            if each.presence is not Presence.FOUND or candidate.key.rdata not in each.keys:
                return Finding(Conclusion.CONTRADICTED, f"{each.where}: the key is not there")
            if each.keys != seen[0].keys:
                return Finding(Conclusion.CONTRADICTED, f"{each.where}: another KEY RRset than {seen[0].where}")
        watched = {
            "delegation": hashlib.sha256(delegation.to_wire()).hexdigest(),
            "keys": hashlib.sha256(b"".join(sorted(seen[0].keys))).hexdigest(),
        }
        earlier = candidate.evidence
        since, count = _since(earlier, watched, now)
        lasted, options = now - since, self._options
        if count >= options.rounds and lasted >= options.hold:
            reason = f"{len(seen)} answers from {len(places)} places agree, {count} times in {lasted:.0f} s"
            return Finding(Conclusion.ACCEPTED, reason, validated=seen[0].keys)
        interval = options.hold / max(options.rounds - 1, 1)
        left = max(options.hold - lasted, 0.0)
        return Finding(
            Conclusion.UNDECIDED,
            f"{len(seen)} answers agree for {lasted:.0f} s of {options.hold:.0f} s",
            evidence={**watched, "since": since, "count": count},
            again_in=min(interval, left) if left else interval,
        )


def _since(earlier: Mapping[str, Any], watched: Mapping[str, str], now: float) -> tuple[float, int]:
    """Since when everything has been as it is, and how often it was seen so, this time included."""
    if all(earlier.get(what) == digest for what, digest in watched.items()):
        return float(earlier["since"]), int(earlier["count"]) + 1
    return now, 1
