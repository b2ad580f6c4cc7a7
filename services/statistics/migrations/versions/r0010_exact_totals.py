"""Sums in cells are exact, whatever filers declare: an item may weigh 10^14 mg, and 92,234 such items exceed 64 bits."""

from alembic import op

revision = "0010"
down_revision = "0009"

_EXACT = {
    "count_cell": ("value_minor", "net_mass_mg", "paid_minor", "refunded_minor"),
    "revenue_cell": ("amount_minor",),
    "time_cell": ("sum_micros",),
}


def upgrade() -> None:
    """Rewrite the cells, which are a small part of the store. A replica of the release before cannot read larger sums in deltas."""
    for table, columns in _EXACT.items():
        op.execute(f"alter table {table} " + ", ".join(f"alter column {each} type numeric" for each in columns))
