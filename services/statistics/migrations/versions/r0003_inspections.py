"""What inspections found, by why goods were selected."""

from alembic import op

from libs.store.tables import schema

revision = "0003"
down_revision = "0002"
works_from = "0001"


def upgrade() -> None:
    """Create the cells; the release before goes on beside it."""
    schema.create_day_partitioned(
        op,
        "inspection_cell",
        'day integer not null, destination text collate "C" not null, origin text collate "C" not null, '
        'chapter text collate "C" not null, lane text collate "C" not null, cause text collate "C" not null, '
        "inspected bigint not null, found bigint not null, items_inspected bigint not null, items_found bigint not null",
        key="day, destination, origin, chapter, lane, cause",
    )
