"""The adapter `database`: a parent zone that is made from tables, in SQLite, PostgreSQL or MariaDB.

The delegations, and what zonecut publishes for itself, are rows of one table; a second one has every change of it,
whoever made it. README.md describes them for those who read and edit them.
"""

from zonecut.plugin import Adapter, Backend, BackendContext, hookimpl
from zonecut_database.options import DatabaseOptions

__all__ = ["DatabaseOptions", "zonecut_adapters"]


@hookimpl
def zonecut_adapters() -> list[Adapter]:
    """The adapter that this package brings."""
    return [Adapter(name="database", options=DatabaseOptions, create=_create)]


def _create(context: BackendContext, options: DatabaseOptions) -> Backend:
    # imported when it is used: a daemon has in memory what its own servers need
    from zonecut_database.backend import DatabaseBackend

    return DatabaseBackend(context, options)
