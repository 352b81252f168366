"""Looks at delegations, and what a child keeps after them. No tests of its own."""

from pathlib import Path

from receiver_support import ZONE_TEXT, Site
from zonecut.store import KeyState

HOUR = 3600.0

DAY = 24 * HOUR

TRUSTED, ENDED, SUSPENDED = KeyState.TRUSTED, KeyState.ENDED, KeyState.SUSPENDED


def without(directory: Path, *children: str) -> None:
    """The zone file as it is while these delegations are away."""
    lines = ZONE_TEXT.format(directory=directory).splitlines(keepends=True)
    (directory / "parent.zone").write_text(
        "".join(line for line in lines if not any(line.startswith(f"{child} ") for child in children))
    )


def whole(directory: Path, **changed: str) -> None:
    """The zone file as it was, but for the name servers of some children."""
    text = ZONE_TEXT.format(directory=directory)
    for child, server in changed.items():
        text = "".join(
            f"{child} NS {server}\n" if line.startswith(f"{child} NS") else line
            for line in text.splitlines(keepends=True)
        )
    (directory / "parent.zone").write_text(text)


async def looks(here: Site, *hours: float) -> None:
    """A sweep after each of these pauses."""
    for pause in hours:
        here.clock.now += pause * HOUR
        await here.served_zone.sweep.once()
