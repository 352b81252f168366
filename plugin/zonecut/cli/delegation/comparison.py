"""A child's delegation as the server holds it, beside what the ledger believes of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import time
from typing import Any

from zonecut.plugin import Backend, BackendMisconfigured, Reading
from zonecut.plugin.branches import visible
from zonecut.protocol import names
from zonecut.protocol.delegation import Difference
from zonecut.receiver.keys.drift import drift
from zonecut.store import ChildLedger, Store

LOOKS = 3
BETWEEN_LOOKS = 0.2
"""Seconds after which a difference is looked at again where a change of the child was just then under way."""
RECENT = 5.0
"""Seconds for which a reading may lag behind the ledger, or the ledger behind the server."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the server holds, what the ledger says (None: nothing), and the difference, if it says what was applied."""

    reading: Reading
    ledger: ChildLedger | None
    difference: Difference | None
    unfit: tuple[str, ...] = ()
    """What the parent's rules have against it, where that was asked."""

    @classmethod
    def of(cls, reading: Reading, ledger: ChildLedger | None) -> "Comparison":
        if ledger is None:
            return cls(reading, None, None)
        applied = None if ledger.applied is None else ledger.applied.after
        return cls(reading, ledger, drift(applied, [each.after for each in ledger.unsettled], reading.delegation))

    @property
    def child(self) -> bytes:
        return self.reading.delegation.child

    @property
    def is_under_way(self) -> bool:
        """A change of the child is accepted and not applied yet."""
        return self.ledger is not None and self.ledger.waiting is not None

    def may_pass(self, since: float) -> bool:
        """Whether a difference may come from a change that was under way after `since`, in seconds since the epoch."""
        ledger = self.ledger
        if not self.difference or ledger is None:
            return False
        return bool(ledger.unsettled) or (ledger.applied is not None and ledger.applied.at > since - RECENT)

    def to_json(self, zone: bytes) -> dict[str, Any]:
        ledger = self.ledger
        applied = None if ledger is None else ledger.applied
        return {
            "zone": names.to_text(zone),
            **self.reading.to_json(),
            "applied_change": None if applied is None else applied.id,
            "ledger": None if applied is None else applied.after.to_json(),
            "difference": None if self.difference is None else self.difference.to_json(),
            "unfit": list(self.unfit),
            "unsettled": None if ledger is None or ledger.waiting is None else ledger.waiting.to_json(),
        }

    def to_text(self, now: float) -> str:
        """The server's records as lines of a zone file; comments for what else there is to say, but for agreement."""
        delegation, ledger = self.reading.delegation, self.ledger
        child = names.to_text(delegation.child)
        lines = self.reading.to_text().splitlines() or [f"; {child} is not delegated"]
        if self.reading.enclosing is not None:
            lines.append(f"; {child} lies below the delegation of {names.to_text(self.reading.enclosing)}")
        lines += [f"; {child} lies above the delegation of {names.to_text(nested)}" for nested in self.reading.nested]
        lines += [f"; unfit: {text}" for text in self.unfit]
        if self.difference and ledger is not None and ledger.applied is not None:
            lines.append(f"; {child} is not as change {ledger.applied.id} left it (-: missing, +: not ours):")
            lines += _commented(self.difference)
        if ledger is not None and (change := ledger.waiting) is not None:
            waits = (
                f"; change {change.id} of {child} is accepted and not yet applied, for {now - change.accepted_at:.0f} s"
            )
            lines.append(f"{waits}: {change.reason}" if change.reason else f"{waits}:")
            lines += _commented(Difference.between(change.before, change.after))
        return "\n".join(lines)


def _commented(difference: Difference) -> list[str]:
    return [f"; {line}" for line in difference.to_text().splitlines()]


async def compare(store: Store, backend: Backend, readings: Sequence[Reading], since: float) -> list[Comparison]:
    """Compare what was read after `since`, in seconds since the epoch, with the ledger.

    What differs although a change is just then on its way is looked at again. Raises StoreUnavailable, BackendError.
    """
    found = await _with_ledger(store, readings)
    for _ in range(LOOKS - 1):
        doubtful = [place for place, each in enumerate(found) if each.may_pass(since)]
        if not doubtful:
            break
        await asyncio.sleep(BETWEEN_LOOKS)
        since = time()
        again = [await _read_again(backend, found[place].reading) for place in doubtful]
        for place, fresh in zip(doubtful, await _with_ledger(store, again), strict=True):
            known = found[place].reading
            # a listing has orphan glue, which a reading may leave out
            same = fresh.reading.delegation == visible(known.delegation)
            found[place] = Comparison.of(known, fresh.ledger) if same else fresh
    return found


async def _read_again(backend: Backend, reading: Reading) -> Reading:
    """What the server holds now; where that makes no sense any more, what was read before. Raises BackendError."""
    try:
        return await backend.read(reading.delegation.child)
    except BackendMisconfigured:
        return reading


async def _with_ledger(store: Store, readings: Sequence[Reading]) -> list[Comparison]:
    children = [reading.delegation.child for reading in readings]
    ledgers = await store.ledgers.of(children)
    return [Comparison.of(reading, ledgers.get(child)) for child, reading in zip(children, readings, strict=True)]
