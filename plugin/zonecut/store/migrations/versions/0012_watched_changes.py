"""Which change through us was the last one when a watch began, and when the delegation was seen: clocks may be set."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_LAST = """
UPDATE watches SET {name}_change = COALESCE((SELECT MAX(id) FROM changes WHERE changes.child = watches.child
AND changes.state = 'applied' AND changes.kind = 'delegation' AND changes.settled_at < watches.{name}_at), 0)
"""


def upgrade() -> None:
    for name in ("began", "seen"):
        number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
        op.add_column("watches", sa.Column(f"{name}_change", number, nullable=False, server_default="0"))
        op.execute(_LAST.format(name=name))
