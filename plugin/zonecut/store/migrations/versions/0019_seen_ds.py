"""Whether the looks at a delegation saw DS: they may have been put there, and taken out again, by somebody else."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("watches", sa.Column("seen_ds", sa.Boolean, nullable=False, server_default=sa.false()))
