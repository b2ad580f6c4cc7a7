"""Of each submission how many consignments each partition got, and a digest of their MRNs: what a reader compares itself with."""

from alembic import op

revision = "0004"
down_revision = "0003"
works_from = "0001"


def upgrade() -> None:
    """Add the columns; the release before goes on beside it, and what it stores is summarized when it is asked for."""
    op.execute(
        "alter table submission add column partitions smallint[], add column counts smallint[], add column digests bigint[]"
    )
