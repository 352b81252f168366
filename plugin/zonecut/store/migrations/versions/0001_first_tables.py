"""Child keys, the ledger of changes, the audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "keys",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("owner", sa.LargeBinary, nullable=False),
        sa.Column("tag", sa.Integer, nullable=False),
        sa.Column("algorithm", sa.Integer, nullable=False),
        sa.Column("rdata", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
        sa.UniqueConstraint("owner", "digest", name="uq_keys_owner_digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "key_events",
        sa.Column("seq", _NUMBER, primary_key=True),
        sa.Column("owner", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "changes",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("zone", sa.LargeBinary, nullable=False),
        sa.Column("child", sa.LargeBinary, nullable=False),
        sa.Column("key_id", _NUMBER, sa.ForeignKey("keys.id", name="fk_changes_key_id", ondelete="SET NULL")),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("accepted_at", sa.Double, nullable=False),
        sa.Column("before", sa.LargeBinary, nullable=False),
        sa.Column("after", sa.LargeBinary, nullable=False),
        sa.Column("message", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("settled_at", sa.Double),
        sa.Column("identity", sa.LargeBinary),
        sa.Column("expires_at", sa.Double),
        sa.Column("inception", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_changes_child", "changes", ["child", "id"])
    op.create_index("ix_changes_expires_at", "changes", ["expires_at", "id"])
    unsettled = sa.text("state = 'accepted'")
    op.create_index(
        "ix_changes_unsettled", "changes", ["child", "id"], sqlite_where=unsettled, postgresql_where=unsettled
    )
    remembered = sa.text("state <> 'failed'")
    op.create_index(
        "uq_changes_identity",
        "changes",
        ["identity"],
        unique=True,
        sqlite_where=remembered,
        postgresql_where=remembered,
    )
    op.create_table(
        "audit",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("zone", sa.LargeBinary),
        sa.Column("child", sa.LargeBinary),
        sa.Column("key_tag", sa.Integer),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("rule", sa.Text),
        sa.Column("detail", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_child", "audit", ["child", "id"])


def downgrade() -> None:
    raise NotImplementedError("a store is never taken back to an older version: restore the copy made before")
