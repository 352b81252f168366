"""What an operator has approved: the change that was shown, and no other that comes of the same request later. Pure."""

from collections.abc import Sequence

from zonecut.plugin import Change
from zonecut.protocol.delegation import RR

_TOLD = 3
"""So many records of each kind are told."""


def beyond(approved: Change, change: Change) -> str | None:
    """What a change would do that an approval does not cover, in words; None where it does nothing else.

    What of the approved one was done by somebody else since, or by us before a crash, is not missed.
    """
    covered, wanted = approved.difference, change.difference
    parts = (
        ("removes", sorted(set(wanted.removed).difference(covered.removed))),
        ("adds", sorted(set(wanted.added).difference(covered.added))),
    )
    found = " and ".join(f"{verb} {_words(records)}" for verb, records in parts if records)
    if not found:
        return None
    return f"another change than the approved one, since the delegation was changed meanwhile: it now {found}"


def _words(records: Sequence[RR]) -> str:
    more = ", ..." if len(records) > _TOLD else ""
    return ", ".join(record.to_text() for record in records[:_TOLD]) + more
