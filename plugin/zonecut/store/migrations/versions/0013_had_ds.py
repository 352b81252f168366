"""Whether a child whose key is on its way to trust had a DS, and since when it has none: a restart forgets nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("bootstraps", sa.Column("no_ds_since", sa.Double))
