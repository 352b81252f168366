"""The tables as they are now. How an older store becomes like this stands in `migrations`.

Names are lower-case wire form; times are seconds since the epoch; states are the text of their enumerations.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData()


class Octets(LargeBinary):
    """Octets as they are. Both drivers take and give `bytes`; converting each value costs more than storing it."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> None:
        return None

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        return None


# SQLite numbers rows itself only where the column is INTEGER.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

keys = Table(
    "keys",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("owner", Octets, nullable=False),
    Column("tag", Integer, nullable=False),
    Column("algorithm", Integer, nullable=False),
    Column("rdata", Octets, nullable=False),
    # SHA-256 of the RDATA stands for it in the index: an ML-DSA key would not fit a PostgreSQL index entry.
    Column("digest", Octets, nullable=False),
    Column("state", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False),
    UniqueConstraint("owner", "digest", name="uq_keys_owner_digest"),
    sqlite_autoincrement=True,
)

key_events = Table(
    "key_events",
    metadata,
    Column("seq", _NUMBER, primary_key=True),
    Column("owner", Octets, nullable=False),
    sqlite_autoincrement=True,
)

changes = Table(
    "changes",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("zone", Octets, nullable=False),
    Column("child", Octets, nullable=False),
    Column("key_id", _NUMBER, ForeignKey("keys.id", name="fk_changes_key_id", ondelete="SET NULL")),
    Column("source", Text, nullable=False),
    Column("accepted_at", Double, nullable=False),
    Column("before", Octets, nullable=False),
    Column("after", Octets, nullable=False),
    Column("message", Octets, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False),
    Column("settled_at", Double),
    Column("identity", Octets),
    Column("expires_at", Double),
    Column("inception", BigInteger),
    Column("kind", Text, nullable=False, server_default="delegation"),
    Column("next_at", Double),
    Column("decision", Text),
    Column("decided_by", Text),
    Column("decided_because", Text),
    Column("history_number", BigInteger),
    sqlite_autoincrement=True,
)
Index("ix_changes_child", changes.c.child, changes.c.id)
Index("ix_changes_expires_at", changes.c.expires_at, changes.c.id)
_UNSETTLED = text("state = 'accepted'")
Index(
    "ix_changes_unsettled",
    changes.c.child,
    changes.c.id,
    sqlite_where=_UNSETTLED,
    postgresql_where=_UNSETTLED,
)
for _name, _condition in (("ix_changes_held", "state = 'held'"), ("ix_changes_decided", "decision IS NOT NULL")):
    Index(
        _name,
        changes.c.zone,
        changes.c.id,
        sqlite_where=text(_condition),
        postgresql_where=text(_condition),
    )
# The same signed data is accepted once, whoever receives it; after a failure its sender may try again.
_REMEMBERED = text("state <> 'failed'")
Index(
    "uq_changes_identity",
    changes.c.identity,
    unique=True,
    sqlite_where=_REMEMBERED,
    postgresql_where=_REMEMBERED,
)

askers = Table(
    "askers",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("change_id", _NUMBER, ForeignKey("changes.id", name="fk_askers_change_id"), nullable=False),
    Column("key_id", _NUMBER, ForeignKey("keys.id", name="fk_askers_key_id", ondelete="SET NULL")),
    Column("source", Text, nullable=False),
    Column("message", Octets, nullable=False),
    Column("identity", Octets),
    Column("expires_at", Double),
    Column("inception", BigInteger),
    sqlite_autoincrement=True,
)
Index("ix_askers_change_id", askers.c.change_id, askers.c.id)
Index("ix_askers_expires_at", askers.c.expires_at, askers.c.id)

bootstraps = Table(
    "bootstraps",
    metadata,
    Column("key_id", _NUMBER, ForeignKey("keys.id", name="fk_bootstraps_key_id"), primary_key=True),
    Column("owner", Octets, nullable=False),
    Column("zone", Octets, nullable=False),
    Column("source", Text, nullable=False),
    Column("replaces", Boolean, nullable=False),
    Column("manual", Boolean, nullable=False),
    Column("method", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("looked_at", Double, nullable=False, server_default="0"),
    Column("wanted_at", Double),
    Column("asked", Integer, nullable=False, server_default="0"),
    Column("judged", Octets),
    Column("no_ds_since", Double),
)
Index("ix_bootstraps_next_at", bootstraps.c.manual, bootstraps.c.next_at)
Index("ix_bootstraps_owner", bootstraps.c.owner)

watches = Table(
    "watches",
    metadata,
    Column("child", Octets, primary_key=True),
    Column("zone", Octets, nullable=False),
    Column("began", Octets),
    Column("began_at", Double, nullable=False),
    Column("seen", Octets),
    Column("seen_at", Double, nullable=False),
    Column("absent_since", Double),
    Column("absent_at", Double, nullable=False),
    Column("absent_for", Double, nullable=False),
    Column("looks", Integer, nullable=False),
    Column("is_held", Boolean, nullable=False, server_default=false()),
    Column("suspect_since", Double),
    Column("began_change", _NUMBER, nullable=False, server_default="0"),
    Column("seen_change", _NUMBER, nullable=False, server_default="0"),
    Column("ds_gone_since", Double),
    Column("seen_ds", Boolean, nullable=False, server_default=false()),
)
_ABSENT = text("absent_since IS NOT NULL")
Index("ix_watches_absent", watches.c.zone, watches.c.child, sqlite_where=_ABSENT, postgresql_where=_ABSENT)
Index("ix_watches_zone", watches.c.zone)
_SUSPECT = text("suspect_since IS NOT NULL")
Index("ix_watches_suspect", watches.c.zone, watches.c.child, sqlite_where=_SUSPECT, postgresql_where=_SUSPECT)

agents = Table(
    "agents",
    metadata,
    Column("zone", Octets, primary_key=True),
    Column("version", _NUMBER, nullable=False),
    Column("phase", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("changed_at", Double, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("at", Double, nullable=False),
    Column("event", Text, nullable=False),
    Column("zone", Octets),
    Column("child", Octets),
    Column("key_tag", Integer),
    Column("actor", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("rule", Text),
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_audit_child", audit.c.child, audit.c.id)

zone_states = Table(
    "zone_states",
    metadata,
    Column("zone", Octets, primary_key=True),
    Column("state", Text, nullable=False),
    Column("since", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("seen_at", Double, nullable=False),
)

zone_consumers = Table(
    "zone_consumers",
    metadata,
    Column("zone", Octets, primary_key=True),
    Column("consumer", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("failed", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("alarm", Text, nullable=False),
    Column("history_number", BigInteger, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("highest", BigInteger),
    Column("owed", BigInteger),
    Column("standing_since", Double),
)

chores = Table(
    "chores",
    metadata,
    Column("zone", Octets, primary_key=True),
    Column("child", Octets, primary_key=True),
    Column("host", Octets, primary_key=True),
    Column("change_id", BigInteger),
    Column("before", Octets, nullable=False),
    Column("after", Octets, nullable=False),
    Column("event", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("noted_at", Double, nullable=False),
)

zone_serials = Table(
    "zone_serials",
    metadata,
    Column("zone", Octets, primary_key=True),
    Column("serial", BigInteger, nullable=False),
    Column("boot", Text, nullable=False),
    Column("floor", Double),
)

store_name = Table(
    "store_name",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="ck_store_name_one"), primary_key=True),
    Column("name", Text, nullable=False),
    Column("served_at", Text),
)

restores = Table(
    "restores",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("accepted_at", Double, nullable=False),
    Column("floor", Double, nullable=False),
    Column("actor", Text, nullable=False),
    sqlite_autoincrement=True,
)

receiver_keys = Table(
    "receiver_keys",
    metadata,
    Column("target", Octets, primary_key=True),
    Column("rdata", Octets, nullable=False),
    Column("noted_at", Double, nullable=False),
)
