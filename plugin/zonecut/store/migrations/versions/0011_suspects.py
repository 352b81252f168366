"""Since when the name servers of a delegation are such that its child's keys would be suspended."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("watches", sa.Column("suspect_since", sa.Double))
    suspect = sa.text("suspect_since IS NOT NULL")
    op.create_index("ix_watches_suspect", "watches", ["zone", "child"], sqlite_where=suspect, postgresql_where=suspect)
