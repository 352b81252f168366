"""What people are to do in zones that are changed by hand, beside what the ledger says of each change."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chores",
        sa.Column("zone", sa.LargeBinary, primary_key=True),
        sa.Column("child", sa.LargeBinary, primary_key=True),
        sa.Column("host", sa.LargeBinary, primary_key=True),
        sa.Column("change_id", sa.BigInteger),
        sa.Column("before", sa.LargeBinary, nullable=False),
        sa.Column("after", sa.LargeBinary, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("noted_at", sa.Double, nullable=False),
    )
