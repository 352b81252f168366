"""The name that a store shares with its mark; and where the daemon has the store."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "store_name",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="ck_store_name_one"), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("served_at", sa.Text),
    )
