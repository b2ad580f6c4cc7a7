"""The chance of all stages of the draw together, beside what was drawn and what inspections found; of older rows it is unknown.

With it the chance of each lane for every consignment of a batch, and how many consignments there were.
"""

from alembic import op

from libs.store.tables import schema

revision = "0006"
down_revision = "0005"
works_from = "0003"


def upgrade() -> None:
    """Add columns and tables; the release before goes on beside them, and what it writes has none."""
    op.execute("alter table drawn add column inclusion_ppm integer")
    op.execute("alter table outcome add column inclusion_ppm integer")
    # A few bytes a consignment: its number among the distinct vectors of chances of the batch (services.risk.selection.chances).
    schema.create_day_partitioned(
        op,
        "selection_batch",
        "day integer not null, batch bigint not null, codes bytea not null, vectors bytea not null",
        key="day, batch",
    )
    # Appended to by every batch and added up by housekeeping, so that no two batches wait for one row.
    op.execute(
        "create table selection_count (day integer not null, cell smallint not null, support smallint not null, "
        "count bigint not null, summed boolean not null default false)"
    )
    op.execute("create index selection_count_day on selection_count (day)")
