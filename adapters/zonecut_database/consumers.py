"""How far those have come who make zones of the tables: by what each writes into `zonecut_consumers`."""

import re
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from zonecut.plugin import MAX_CONSUMERS, BackendMisconfigured, Consumer, Progress
from zonecut.protocol.foreigntext import clip
from zonecut_database import schema
from zonecut_database.failures import is_forbidden

TABLE = "zonecut_consumers"
GRANTS = f"SELECT ON {TABLE}, SELECT ON zonecut_history"
"""What a role needs to be told of them."""
_MAKING = re.compile(rf"^CREATE TABLE IF NOT EXISTS {TABLE} .*?;$", re.DOTALL | re.MULTILINE)
_AGES = {
    "sqlite": "(julianday('now') - julianday({at})) * 86400",
    "postgresql": "extract(epoch FROM clock_timestamp() - {at})",
    "mariadb": "timestampdiff(MICROSECOND, {at}, utc_timestamp(6)) / 1000000",
}
"""Seconds since a time, on the clock of whoever wrote it."""


def exist(connection: Connection) -> bool:
    """False for tables that were made before there was one of consumers; True where we may not know."""
    try:
        return inspect(connection).has_table(TABLE)
    except DBAPIError as error:
        if not is_forbidden(error):
            raise
        return True


def making(dialect: str) -> str:
    """The statement that makes that table."""
    found = _MAKING.search(schema.script(dialect))
    assert found is not None
    return found[0]


def make(connection: Connection) -> None:
    """Make it, in a writing transaction that is not over yet."""
    connection.exec_driver_sql(making(connection.dialect.name), execution_options={"no_parameters": True})


def progress(connection: Connection, zone: str) -> Progress:
    """How far the consumers of a zone are. Raises BackendMisconfigured where there is no such zone."""
    age = _AGES[connection.dialect.name]
    # one statement, so that nobody is ahead of a number that is older than his
    statement = text(
        f"SELECT z.serial AS number, c.consumer, c.serial, c.status, c.reason, {age.format(at='c.at')} AS idle,"  # noqa: S608
        f" (SELECT {age.format(at='h.at')} FROM zonecut_history h WHERE h.zone = z.zone AND h.serial > c.serial"
        " ORDER BY h.serial LIMIT 1) AS owing"
        f" FROM zonecut_zones z LEFT JOIN {TABLE} c ON c.zone = z.zone"
        " WHERE z.zone = :zone ORDER BY c.consumer LIMIT :most"
    )
    rows = connection.execute(statement, {"zone": zone, "most": MAX_CONSUMERS}).all()
    if not rows:
        raise BackendMisconfigured(f"the database has no zone {zone}")
    return Progress(int(rows[0].number), tuple(_consumer(row) for row in rows if row.consumer is not None))


def _consumer(row: Any) -> Consumer:
    return Consumer(
        clip(row.consumer),
        int(row.serial),
        row.status != "ok",
        clip(row.reason),
        _seconds(row.idle),
        _seconds(row.owing),
    )


def _seconds(age: Any) -> float | None:
    """An age; none below nothing, as of a time that somebody wrote who has another clock."""
    return None if age is None else max(0.0, float(age))
