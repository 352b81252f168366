"""The tables as statements name them. What they are made of stands in `sql/*.sql`, for each database its own way."""

from typing import Any, TypeVar

from sqlalchemy import BigInteger, Column, ColumnElement, FromClause, Integer, MetaData, Select, Table, Text
from sqlalchemy.ext.compiler import compiles

_METADATA = MetaData()
_Columns = TypeVar("_Columns", bound=tuple[Any, ...])

SCHEMA = Table("zonecut_schema", _METADATA, Column("version", Integer))

ZONES = Table("zonecut_zones", _METADATA, Column("zone", Text), Column("serial", BigInteger))

RECORDS = Table(
    "zonecut_records",
    _METADATA,
    Column("id", BigInteger),
    Column("zone", Text),
    Column("child", Text),
    Column("owner", Text),
    Column("type", Text),
    Column("ttl", Integer),
    Column("rdata", Text),
)


class _IsDeep(ColumnElement[bool]):
    """True for the NS of a delegation more than one label below the apex: as an index of each database has it."""

    inherit_cache = True


IS_DEEP = _IsDeep()


@compiles(_IsDeep)
def _by_condition(_element: _IsDeep, _compiler: Any, **_options: Any) -> str:
    # to the letter the condition of a partial index
    return (
        "type = 'NS' AND child <> zone"
        " AND length(child) - length(replace(child, '.', '')) > length(zone) - length(replace(zone, '.', '')) + 1"
    )


@compiles(_IsDeep, "mariadb")
def _by_column(_element: _IsDeep, _compiler: Any, **_options: Any) -> str:
    # it has no partial indexes, but columns that it fills in itself
    return "deep = 1"


def by_index(statement: Select[_Columns], index: str, table: FromClause = RECORDS) -> Select[_Columns]:
    """A statement that looks rows up by an index, `zonecut_records_` and this, whatever MariaDB has counted of late.

    Without such a word it reads the whole table now and then, the more often the newer it is.
    """
    return statement.with_hint(table, f"FORCE INDEX (zonecut_records_{index})", "mariadb")
