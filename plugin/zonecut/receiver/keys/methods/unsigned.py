"""unsigned: the KEY RRset as every address of every name server gives it, from several places, for a long time."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from zonecut.plugin.bootstrap import (
    BootstrapMethod,
    Candidate,
    Conclusion,
    Finding,
    Lookups,
    Presence,
    Sighting,
)
from zonecut.receiver.keys.methods.without_ds import not_without_ds

_ROUNDING = 1.0
"""Seconds by which a TTL that counts down is off: it is told in whole ones."""


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
        self._interval = options.hold / max(options.rounds - 1, 1)
        """Seconds from one round to the next."""

    async def examine(self, candidate: Candidate, lookups: Lookups) -> Finding:
        delegation = candidate.delegation
        if refused := await not_without_ds(candidate, lookups):
            return refused
        places = [None, *lookups.vantage_points]
        if len(places) < self._options.min_vantage_points:
            needed = self._options.min_vantage_points
            return Finding(Conclusion.NOT_APPLICABLE, f"{len(places)} vantage point(s), {needed} are required")
        rounds = await asyncio.gather(*(lookups.keys_from_servers(delegation, place) for place in places))
        if not all(rounds):
            return Finding(Conclusion.UNDECIDED, "no name server of the child has an address")
        seen = [each for sightings in rounds for each in sightings]
        return self._disagreement(candidate, seen) or self._weigh(candidate, seen, len(places))

    def _disagreement(self, candidate: Candidate, seen: Sequence[Sighting]) -> Finding | None:
        """What keeps a round from counting; None if all that was seen agrees."""
        first, *_ = seen
        for each in seen:
            if each.presence is Presence.FAILED:
                continue
            if each.presence is not Presence.FOUND or candidate.key.rdata not in each.keys:
                return Finding(Conclusion.CONTRADICTED, f"{each.where}: the key is not there")
            if first.presence is Presence.FOUND and each.keys != first.keys:
                return Finding(Conclusion.CONTRADICTED, f"{each.where}: another KEY RRset than {first.where}")
        failed = [each for each in seen if each.presence is Presence.FAILED]
        for each in failed:
            if not each.is_ours:
                # silence is failure: whoever can silence one path could speak on the others
                return Finding(Conclusion.UNDECIDED, f"{each.where}: {each.reason}")
        for each in failed:
            # a look-up of ours that fails for a while is not the child's silence: what was seen stays seen
            earlier = candidate.evidence
            is_fresh = bool(earlier) and candidate.now - float(earlier.get("seen_at", 0.0)) <= 2 * self._interval
            reason = f"{each.where}: {each.reason}"
            return Finding(Conclusion.UNDECIDED, reason, evidence=earlier if is_fresh else {}, is_ours=is_fresh)
        return None

    def _weigh(self, candidate: Candidate, seen: Sequence[Sighting], places: int) -> Finding:
        """What a round in which all agree adds to the rounds before it."""
        now, options = candidate.now, self._options
        watched = {
            "delegation": hashlib.sha256(candidate.delegation.to_wire()).hexdigest(),
            "keys": hashlib.sha256(b"".join(sorted(seen[0].keys))).hexdigest(),
        }
        earlier: Mapping[str, Any] = candidate.evidence
        if any(earlier.get(what) != digest for what, digest in watched.items()):
            earlier = {}
        since, count = float(earlier.get("since", now)), int(earlier.get("count", 0))
        if earlier:
            since_round = now - float(earlier.get("seen_at", 0.0))
            if since_round < self._interval / 2:
                # made for another reason than that it is time for a round
                reason = f"{len(seen)} answers agree for {now - since:.0f} s of {options.hold:.0f} s"
                pause = self._interval - since_round
                return Finding(Conclusion.UNDECIDED, reason, evidence=earlier, again_in=pause)
            if stale := _not_anew(seen, earlier, now):
                reason = f"{stale.where}: the answer of an earlier round, which is kept there for {stale.ttl} s more"
                return Finding(Conclusion.UNDECIDED, reason, evidence=earlier, again_in=(stale.ttl or 0) + _ROUNDING)
        count += 1
        lasted = now - since
        if count >= options.rounds and lasted >= options.hold:
            reason = f"{len(seen)} answers from {places} places agree, {count} times in {lasted:.0f} s"
            return Finding(Conclusion.ACCEPTED, reason, validated=seen[0].keys)
        left = max(options.hold - lasted, 0.0)
        expires = {each.where: now + each.ttl for each in seen if each.ttl is not None}
        return Finding(
            Conclusion.UNDECIDED,
            f"{len(seen)} answers agree for {lasted:.0f} s of {options.hold:.0f} s",
            evidence={**watched, "since": since, "count": count, "seen_at": now, "expires": expires},
            again_in=min(self._interval, left) if left else self._interval,
        )


def _not_anew(seen: Sequence[Sighting], earlier: Mapping[str, Any], now: float) -> Sighting | None:
    """A sighting that a resolver keeps from an earlier round, its TTL counted down since then; None: all are new."""
    expires: Mapping[str, float] = earlier.get("expires", {})
    for each in seen:
        if each.ttl and now + each.ttl <= expires.get(each.where, 0.0) + _ROUNDING:
            return each
    return None
