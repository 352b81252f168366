"""The earlier messages that asked for a change which waits for an operator: any of them may count in the end."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "askers",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("change_id", _NUMBER, sa.ForeignKey("changes.id", name="fk_askers_change_id"), nullable=False),
        sa.Column("key_id", _NUMBER, sa.ForeignKey("keys.id", name="fk_askers_key_id", ondelete="SET NULL")),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("message", sa.LargeBinary, nullable=False),
        sa.Column("identity", sa.LargeBinary),
        sa.Column("expires_at", sa.Double),
        sa.Column("inception", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_askers_change_id", "askers", ["change_id", "id"])
    op.create_index("ix_askers_expires_at", "askers", ["expires_at", "id"])
