"""Since when a child's DS are gone because somebody else took them out: its changes bring none back until that ends."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("watches", sa.Column("ds_gone_since", sa.Double))
