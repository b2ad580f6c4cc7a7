"""Versions of filings after the first: amendments and invalidations, each with the batch that has its content.

A filing without them has no row here. The day is that of the MRN, so that the key is unique in one partition.
"""

from alembic import op

from libs.store.tables import schema

revision = "0007"
down_revision = "0006"
works_from = "0001"


def upgrade() -> None:
    """Create the table; the release before reads and writes nothing of it."""
    schema.create_day_partitioned(
        op,
        "amendment",
        'day integer not null, mrn text collate "C" not null, version integer not null, accepted_at bigint not null, '
        "batch_day integer not null, batch bigint not null",
        key="day, mrn, version",
    )
