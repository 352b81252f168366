"""When the keys on their way to trust were looked at, on which delegation, and who asks for another look."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("bootstraps", sa.Column("looked_at", sa.Double, nullable=False, server_default="0"))
    op.add_column("bootstraps", sa.Column("wanted_at", sa.Double))
    op.add_column("bootstraps", sa.Column("asked", sa.Integer, nullable=False, server_default="0"))
    op.add_column("bootstraps", sa.Column("judged", sa.LargeBinary))
