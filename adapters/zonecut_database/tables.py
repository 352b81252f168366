"""The tables as statements name them. What they are made of stands in `sql/*.sql`, for each database its own way."""

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, text

_METADATA = MetaData()

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

IS_DEEP = text(
    "type = 'NS' AND child <> zone"
    " AND length(child) - length(replace(child, '.', '')) > length(zone) - length(replace(zone, '.', '')) + 1"
)
"""True for the NS of a delegation more than one label below the apex; to the letter the condition of an index."""
