"""Consignments that count in history without a known value: those filed before their declaration."""

from alembic import op

from libs.store.tables import schema

revision = "0009"
down_revision = "0008"
works_from = "0008"


def upgrade() -> None:
    """Create the table; what is in the log already counted with the value 0, and stays so."""
    schema.create_hash_partitioned(
        op, "awaited_value", 'mrn text collate "C" not null, day integer not null', key="mrn", by="mrn"
    )
    op.execute("create index awaited_value_day on awaited_value using brin (day) with (pages_per_range = 32)")
