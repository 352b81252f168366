"""The receiver's own keys, by target name: one whose files are lost is missed, and not replaced in silence."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "receiver_keys",
        sa.Column("target", sa.LargeBinary, primary_key=True),
        sa.Column("rdata", sa.LargeBinary, nullable=False),
        sa.Column("noted_at", sa.Double, nullable=False),
    )
