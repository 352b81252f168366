"""What runs while it is measured: the receiver with its keys on one core, the server behind it on the other."""

import asyncio
import hashlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cores import RECEIVER_CORE
from bench.servers import SERVERS, Server
from bench.traffic.requests import Children, key_of, make_pairs
from lab.ports import LOOPBACK, free_port
from lab.process import until
from lab.zonecut import ZonecutProcess
from lab.zones import PARENT, ParentZone
from zonecut.protocol.keys import Key, KeyPair
from zonecut.store import KeyState, Store, tables

DELEGATIONS = 1000
MANY_DELEGATIONS = 20_000
CHILDREN = 1000
"""Children that take part, of however many the zone has."""
OWN = 500
"""Those of them whose changes go through zonecut; those of the others go to the server directly."""
WAITING = 50
"""Children that wait for their changes at the same time."""
UNLIMITED = {"source_burst": 10**9, "source_rate": 1e9, "child_burst": 10**9, "child_rate": 1e9}
CHECKS_OFF = {"ds_continuity": "off", "ns_consistency": "off"}
ANSWER_WITHIN = 60.0
"""Seconds that an answer waits for the backend: here NOERROR means that the change is written."""
_READY = 120.0
_REPORT_EVERY = 50_000


@dataclass(frozen=True)
class Scene:
    """A receiver in front of a server, with the children that take part."""

    server: Server
    process: ZonecutProcess
    numbers: range
    pairs: Sequence[KeyPair]

    def children(self, first: int, end: int | None = None) -> Children:
        """Some of the children, to take turns. No child may be in two such groups."""
        return Children(self.numbers[first:end], self.pairs)


@contextmanager
def scene(server: str, delegations: int, directory: Path) -> Iterator[Scene]:
    """A server of `SERVERS` whose zone has so many delegations, and a receiver that trusts a key of each child."""
    pairs = make_pairs()
    store = new_store(directory / "zonecut.db", delegations, pairs)
    # in a large zone they are spread all over it
    numbers = range(0, delegations, delegations // CHILDREN)
    with (
        SERVERS[server](directory / server, delegations) as running,
        receiver(directory, running.backend, store) as process,
    ):
        # until then it sets up the zone, and looks at all of it
        until(lambda: bool(process.log_events("zone.ready")), timeout=_READY, what="zone.ready in the log")
        yield Scene(running, process, numbers, pairs)


def file_backend(directory: Path, delegations: int = 0) -> dict[str, Any]:
    """A backend that has no server to wait for: a zone file with so many delegations."""
    directory.mkdir(parents=True, exist_ok=True)
    generated = directory / f"{PARENT}delegations"
    zone_file = directory / f"{PARENT}zone"
    zone_file.write_text(f"$INCLUDE {generated} {PARENT}\n{ParentZone(PARENT, delegations=delegations).master_file}")
    return {"adapter": "zonefile", "zone_file": str(zone_file), "directory": str(directory)}


def receiver(
    directory: Path, backend: Mapping[str, Any], store: Path, responses: Mapping[str, Any] | None = None
) -> ZonecutProcess:
    """`zonecut serve` on its own core, with its rate limits out of the way.

    Nothing is looked up: keys are trusted from the start, and the checks that ask others are off.
    """
    configuration = {
        "version": 1,
        "store": {"url": f"sqlite:///{store}"},
        "receiver": {
            "listen": [f"{LOOPBACK}:{free_port()}"],
            "limits": UNLIMITED,
            "responses": dict(responses or {}),
        },
        "resolver": {"nameservers": [f"{LOOPBACK}:{free_port()}"]},
        "parents": [{"zone": PARENT, "backend": dict(backend), "checks": CHECKS_OFF, "answer_within": ANSWER_WITHIN}],
    }
    return ZonecutProcess(directory, configuration, cpus=[RECEIVER_CORE], start_timeout=120.0)


def address(process: ZonecutProcess) -> tuple[str, int]:
    return process.host, process.port


def new_store(file: Path, count: int, pairs: Sequence[KeyPair]) -> Path:
    """A store with a trusted key for each of the first `count` children."""
    file.parent.mkdir(parents=True, exist_ok=True)
    asyncio.run(_add(file, (key_of(number, pairs) for number in range(count)), count))
    return file


def kept_store(directory: Path, count: int, pairs: Sequence[KeyPair]) -> Path:
    """Such a store that is kept for the next time: a million keys take a minute or two, and 440 MB."""
    identity = hashlib.sha256(Path(tables.__file__).read_bytes())
    for pair in pairs:
        identity.update(pair.key.public_key)
    file = directory / f"keys-{count}-{identity.hexdigest()[:12]}.db"
    complete = file.with_suffix(".complete")
    if not complete.exists():
        for old in directory.glob(f"keys-{count}-*"):
            old.unlink()
        new_store(file, count, pairs)
        complete.touch()
    return file


async def _add(file: Path, keys: Iterable[Key], count: int) -> None:
    start = time.monotonic()

    def progress(added: int, present: int) -> None:
        if added % _REPORT_EVERY == 0:
            print(f"  {file.name}: {added:,} of {count:,} keys, {time.monotonic() - start:.0f} s", file=sys.stderr)

    async with Store.open(f"sqlite:///{file}") as store:
        await store.keys.add_many(keys, KeyState.TRUSTED, "bench", "bench", progress=progress)
