"""Sales: what consignments are compared by stands in the row of each version, so that a batch of sales is not read for one of them."""

from alembic import op

revision = "0015"
down_revision = "0014"
works_from = "0012"


def upgrade() -> None:
    """Add the column; it stays empty in rows of earlier releases, whose batches are read instead."""
    op.execute("alter table sale add column trade text")
