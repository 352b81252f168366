"""How far those have come who make zones of the tables: by what each writes into `zonecut_consumers`."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from math import isfinite
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from zonecut.plugin import (
    MAX_CONSUMERS,
    BackendError,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Consumer,
    Progress,
)
from zonecut.protocol.foreigntext import MAX_REASON, clip
from zonecut_database import schema
from zonecut_database.failures import is_forbidden

TABLE = "zonecut_consumers"
GRANTS = f"SELECT ON {TABLE}, SELECT ON zonecut_history"
"""What a role needs to be told of them."""
_MAKING = re.compile(rf"^CREATE TABLE IF NOT EXISTS {TABLE} .*?;$", re.DOTALL | re.MULTILINE)
_AGES = {
    "sqlite": "(julianday('now') - julianday({at})) * 86400",
    # by numbers: a time that never comes has no difference to another one, and the first that there is too large a one
    "postgresql": "CASE WHEN isfinite({at}) THEN extract(epoch FROM clock_timestamp()) - extract(epoch FROM {at}) END",
    "mariadb": "timestampdiff(MICROSECOND, {at}, utc_timestamp(6)) / 1000000",
}
"""Seconds since a time, on the clock of whoever wrote it."""
_TEXTS = {
    "sqlite": "substr({text}, 1, {most})",
    # to octets, since a database of the encoding SQL_ASCII keeps and sends whatever it is given
    "postgresql": "CASE WHEN current_setting('server_encoding') = 'SQL_ASCII'"
    " THEN decode(replace(left({text}, {most}), '\\', '\\\\'), 'escape')"
    " ELSE convert_to(left({text}, {most}), 'UTF8') END",
    "mariadb": "left({text}, {most})",
}
"""The beginning of a text, however long that is."""
_NAME = 64
"""Characters of a name, as the tables have it."""
CURE = f"look at the rows of {TABLE}, and delete the one that makes no sense"


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
    """How far the consumers of a zone are; those beyond MAX_CONSUMERS as one, who has come as far as the last of them.

    What they wrote is made fit: it is theirs alone. Raises BackendMisconfigured where there is no such zone, or where
    they may not be read, BackendRejected where they cannot be.
    """
    try:
        return _progress(connection, zone)
    except (ValueError, TypeError, ArithmeticError) as error:
        # a driver that cannot read what somebody wrote
        raise BackendRejected(f"what it holds is not understood: {error}") from error


def _progress(connection: Connection, zone: str) -> Progress:
    with _octets(connection):
        rows = connection.execute(
            text(_statement(connection.dialect.name)), {"zone": zone, "most": MAX_CONSUMERS}
        ).all()
    if not rows:
        raise BackendMisconfigured(f"the database has no zone {zone}")
    found: dict[str, Consumer] = {}
    for row in rows:
        if row.consumer is not None:
            consumer = _consumer(row)
            # what is escaped may look like another one
            name = next(each for each in _alike(consumer.name) if each not in found)
            found[name] = replace(consumer, name=name)
    first = rows[0]
    others = (_others(first),) if first.others else ()
    return Progress(int(first.number), (*found.values(), *others))


def unreadable(error: BackendError) -> BackendError:
    """The error to raise where they cannot be read: with the cure."""
    cure = CURE
    if isinstance(error, BackendMisconfigured):
        cure = (
            f"GRANT {GRANTS} to zonecut's role; if it is gone, zonecut makes it at its start, or the tables' owner does"
        )
    elif isinstance(error, BackendUnavailable):
        cure = "it is tried again; it may be locked"
    return type(error)(f"how far the zone follows the tables cannot be read from {TABLE} ({error.reason}): {cure}")


def _statement(dialect: str) -> str:
    """One, so that nobody is ahead of a number that is older than his."""
    begin, age = _TEXTS[dialect], _AGES[dialect]
    owing = (
        f"(SELECT {age.format(at='h.at')} FROM zonecut_history h WHERE h.zone = z.zone AND h.serial > {{serial}}"  # noqa: S608
        " ORDER BY h.serial LIMIT 1)"
    )
    return (
        "WITH c AS ("  # noqa: S608
        f"SELECT {begin.format(text='consumer', most=_NAME + 1)} AS consumer, serial, status,"
        f" {begin.format(text='reason', most=MAX_REASON + 1)} AS reason, at,"
        f" row_number() OVER (ORDER BY consumer) AS place FROM {TABLE} WHERE zone = :zone),"
        " o AS (SELECT count(*) AS others, min(serial) AS lowest, max(serial) AS highest,"
        " sum(CASE WHEN status = 'ok' THEN 0 ELSE 1 END) AS failing FROM c WHERE place > :most)"
        " SELECT z.serial AS number, c.consumer, c.serial, c.status, c.reason,"
        f" {age.format(at='c.at')} AS idle, {owing.format(serial='c.serial')} AS owing,"
        f" o.others, o.lowest, o.highest, o.failing, {owing.format(serial='o.lowest')} AS lowest_owing"
        " FROM zonecut_zones z CROSS JOIN o LEFT JOIN c ON c.place <= :most"
        " WHERE z.zone = :zone ORDER BY c.place"
    )


@contextmanager
def _octets(connection: Connection) -> Iterator[None]:
    """SQLite keeps what is no UTF-8 as a text, and its library fails on it."""
    raw = connection.connection.dbapi_connection
    if not isinstance(raw, sqlite3.Connection):
        yield
        return
    raw.text_factory = bytes
    try:
        yield
    finally:
        raw.text_factory = str


def _consumer(row: Any) -> Consumer:
    name, status = _text(row.consumer, _NAME), _text(row.status, _NAME)
    try:
        number = int(row.serial)
    except (TypeError, ValueError, OverflowError):
        why = f"its serial in {TABLE} is no number ({_text(row.serial, _NAME)}); have it write its row anew"
        return Consumer(name, 0, failed=True, reason=why)
    return Consumer(
        name, number, status != "ok", _text(row.reason, MAX_REASON), _seconds(row.idle), _seconds(row.owing)
    )


def _others(row: Any) -> Consumer:
    """All who are not told of by name, as one: he fails with the first who does."""
    count, failing = int(row.others), int(row.failing)
    reason = f"{failing} of them" if failing else ""
    if not failing and int(row.highest) > int(row.number):
        reason = "one of them is above what is in the tables"
    return Consumer(f"({count} more)", int(row.lowest), bool(reason), reason, owing=_seconds(row.lowest_owing))


def _alike(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name} ({number})" for number in count(2))


def _text(value: Any, most: int) -> str:
    """Whatever a database hands out for a text. Octets that are none are escaped."""
    found = bytes(value).decode(errors="backslashreplace") if isinstance(value, bytes | memoryview) else str(value)
    return clip(found, most)


def _seconds(age: Any) -> float | None:
    """An age; none below nothing, as of a time that somebody wrote who has another clock. None for none."""
    if age is None or not isfinite(age):
        return None
    return max(0.0, float(age))
