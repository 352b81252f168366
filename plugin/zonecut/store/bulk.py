"""One statement for many rows, with next to nothing between the rows and the driver.

SQLAlchemy's own path for many rows costs more than SQLite's work on them, and the ledger takes that for every change.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Insert, Update


class Bulk:
    """A statement, compiled once a dialect. All its parameters come from the rows; none of their types converts."""

    def __init__(self, statement: Insert | Update, columns: Sequence[str] | None = None) -> None:
        """`columns`: what an INSERT without values of its own is given."""
        self._statement = statement
        self._columns = columns
        self._compiled: dict[str, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {}

    def execute(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Execute it for each row, by parameters' names; how many rows of the table that concerned."""
        text, parameters = self._compiled.get(connection.dialect.name) or self._compile(connection)
        return connection.exec_driver_sql(text, [parameters(row) for row in rows]).rowcount

    def _compile(self, connection: Connection) -> tuple[str, Callable[[Mapping[str, Any]], Any]]:
        dialect = connection.dialect
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
        # SQLite takes parameters by place, psycopg by name
        parameters = itemgetter(*compiled.positiontup or ()) if compiled.positional else dict
        self._compiled[dialect.name] = compiled.string, parameters
        return compiled.string, parameters
