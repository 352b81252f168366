"""Keys on their way to being trusted, and changes of keys in the ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "bootstraps",
        sa.Column("key_id", _NUMBER, sa.ForeignKey("keys.id", name="fk_bootstraps_key_id"), primary_key=True),
        sa.Column("owner", sa.LargeBinary, nullable=False),
        sa.Column("zone", sa.LargeBinary, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("replaces", sa.Boolean, nullable=False),
        sa.Column("manual", sa.Boolean, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("next_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
    )
    op.create_index("ix_bootstraps_next_at", "bootstraps", ["manual", "next_at"])
    op.create_index("ix_bootstraps_owner", "bootstraps", ["owner"])
    op.add_column("changes", sa.Column("kind", sa.Text, nullable=False, server_default="delegation"))
