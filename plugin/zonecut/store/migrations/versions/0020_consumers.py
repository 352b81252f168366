"""How far those are who make a zone of a server's tables, and by which number of its history a change is written."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("changes", sa.Column("history_number", sa.BigInteger))
    op.create_table(
        "zone_consumers",
        sa.Column("zone", sa.LargeBinary, primary_key=True),
        sa.Column("consumer", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("alarm", sa.Text, nullable=False),
        sa.Column("history_number", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
    )
