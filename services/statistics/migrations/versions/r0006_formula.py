"""By which formula a batch was counted: what is taken out again is taken out as it went in."""

from alembic import op

revision = "0006"
down_revision = "0005"
# The release before would take out by its own formula what this one counted by another.
works_from = "0006"


def upgrade() -> None:
    """Mark what is there as counted by version 0.2."""
    op.execute("alter table counted_batch add column formula smallint not null default 2")
