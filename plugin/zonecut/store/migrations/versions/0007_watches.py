"""What was seen of the delegations of children whose keys are trusted; suspended keys are no pending ones."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# a key that was suspended stood there as a pending one without a source that waits for an operator without end
_SUSPEND = """
UPDATE keys SET state = 'suspended' WHERE state = 'known'
AND id IN (SELECT key_id FROM bootstraps WHERE manual AND source = '' AND expires_at > 1e300)
"""


def upgrade() -> None:
    op.create_table(
        "watches",
        sa.Column("child", sa.LargeBinary, primary_key=True),
        sa.Column("zone", sa.LargeBinary, nullable=False),
        sa.Column("began", sa.LargeBinary),
        sa.Column("began_at", sa.Double, nullable=False),
        sa.Column("seen", sa.LargeBinary),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("absent_since", sa.Double),
        sa.Column("absent_at", sa.Double, nullable=False),
        sa.Column("absent_for", sa.Double, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
    )
    absent = sa.text("absent_since IS NOT NULL")
    op.create_index("ix_watches_absent", "watches", ["zone", "child"], sqlite_where=absent, postgresql_where=absent)
    op.create_index("ix_watches_zone", "watches", ["zone"])
    op.execute(_SUSPEND)
    op.execute("DELETE FROM bootstraps WHERE key_id IN (SELECT id FROM keys WHERE state = 'suspended')")
