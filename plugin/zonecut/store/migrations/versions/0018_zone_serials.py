"""The serials of the parent zones as they were last seen: what was written since the machine was put back shows."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "zone_serials",
        sa.Column("zone", sa.LargeBinary, primary_key=True),
        sa.Column("serial", sa.BigInteger, nullable=False),
        sa.Column("boot", sa.Text, nullable=False),
        sa.Column("floor", sa.Double),
    )
