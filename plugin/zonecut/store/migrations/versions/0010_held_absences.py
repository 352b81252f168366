"""Which absences are an operator's matter."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("watches", sa.Column("is_held", sa.Boolean, nullable=False, server_default=sa.false()))
