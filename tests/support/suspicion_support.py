"""Name servers that somebody else changed, for tests of what follows. No tests of its own."""

from pathlib import Path

from receiver_support import OTHER, ZONE_TEXT, Site, replace_ns
from zonecut.protocol import names

FOREIGN = "ns.staging.example."


def zone(directory: Path, server: str, count: int = 1) -> None:
    """The zone file, with these name servers for `other` and for so many more children."""
    text = ZONE_TEXT.format(directory=directory)
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("other NS")]
    lines += [f"other NS {server}\n", *(f"c{number} NS {server}\n" for number in range(1, count))]
    (directory / "parent.zone").write_text("".join(lines))


def children(count: int) -> list[bytes]:
    return [OTHER, *(names.from_text(f"c{number}.parent.example.") for number in range(1, count))]


async def looks(here: Site, *pauses: float) -> None:
    """A sweep after each of these pauses, in seconds."""
    for pause in pauses:
        here.clock.now += pause
        await here.served_zone.sweep.once()


async def change(here: Site, server: str = "mine.example.", identity: int = 1) -> int:
    return (await here.ask(here.signed(*replace_ns(OTHER, server), child=OTHER, identity=identity))).rcode
