"""A registry's tables and the adapter `database` on them, for tests of either."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.daemons.mariadb import MariaDb
from lab.daemons.postgresql import PostgreSql
from lab.registry import MariaDbRegistry, PostgreSqlRegistry, Record, Registry, SqliteRegistry
from lab.zones import PARENT
from zonecut.plugin import BackendContext
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut_database import DatabaseOptions
from zonecut_database.backend import DatabaseBackend

ZONE = names.from_text(PARENT)
CHILD = f"child1.{PARENT}"
KINDS = ("sqlite", "postgresql", "mariadb")


def registry_of(request: pytest.FixtureRequest, directory: Path) -> Registry:
    """The registry of the kind that is the parameter of a fixture."""
    if request.param == "sqlite":
        return SqliteRegistry(directory / "registry")
    return made_on(request.getfixturevalue(request.param), directory)


def made_on(server: PostgreSql | MariaDb, directory: Path) -> Registry:
    """A registry in a database of this server."""
    if isinstance(server, MariaDb):
        return MariaDbRegistry(server, directory, "registry")
    return PostgreSqlRegistry(server, directory, "registry")


def made(registry: Registry | dict[str, Any], **options: Any) -> DatabaseBackend:
    """A backend that is not open yet."""
    given = registry.backend() if isinstance(registry, Registry) else registry
    chosen = {**given, "timeout": 3.0, **options}
    chosen.pop("adapter", None)
    return DatabaseBackend(BackendContext(ZONE, Ttls(7200, 1800, 900)), DatabaseOptions.model_validate(chosen))


@asynccontextmanager
async def opened(registry: Registry | dict[str, Any], **options: Any) -> AsyncIterator[DatabaseBackend]:
    backend = made(registry, **options)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


def name(text: str) -> bytes:
    return names.from_text(f"{text}.{PARENT}")


def delegation(child: str, number: int) -> Delegation:
    """A delegation of a child, unlike those with another number."""
    owner = name(child)
    server = name(f"ns{number}.{child}")
    return Delegation.of(
        owner,
        [
            RR(owner, RRType.NS, server),
            RR(owner, RRType.NS, names.from_text("ns.elsewhere.test.")),
            RR(owner, RRType.DS, number.to_bytes(2) + b"\x0d\2" + number.to_bytes(32)),
            RR(server, RRType.A, b"\x0b\0" + number.to_bytes(2)),
        ],
    )


def replayed(registry: Registry, start: Sequence[Record] = ()) -> set[Record]:
    """What the history says that the zone holds."""
    held = set(start)
    for place, (serial, action, record) in enumerate(registry.history(PARENT), 1):
        assert serial == place
        if action == "added":
            assert record not in held
            held.add(record)
        else:
            held.remove(record)
    return held
