"""Since when a consumer stands still, up to where it once was, and up to where it has to come."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("zone_consumers", sa.Column("highest", sa.BigInteger))
    op.add_column("zone_consumers", sa.Column("owed", sa.BigInteger))
    op.add_column("zone_consumers", sa.Column("standing_since", sa.Double))
