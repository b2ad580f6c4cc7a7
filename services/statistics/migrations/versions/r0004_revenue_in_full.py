"""What was paid, refunded and returned."""

from alembic import op

revision = "0004"
down_revision = "0003"
works_from = "0001"


def upgrade() -> None:
    """Add the sums; the release before goes on beside it and leaves them at nothing."""
    for name in ("paid_minor", "refunded_minor", "items_returned"):
        op.execute(f"alter table count_cell add column {name} bigint not null default 0")
