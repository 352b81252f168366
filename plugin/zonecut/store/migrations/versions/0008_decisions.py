"""What operators decide about changes that are held, or that wait."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("decision", "decided_by", "decided_because"):
        op.add_column("changes", sa.Column(name, sa.Text))
    for index, condition in (("ix_changes_held", "state = 'held'"), ("ix_changes_decided", "decision IS NOT NULL")):
        where = sa.text(condition)
        op.create_index(index, "changes", ["zone", "id"], sqlite_where=where, postgresql_where=where)
