"""The outbox knows the store that it stands on, and begins an epoch by itself when the store goes back; a position knows the epoch of its version."""

from alembic import op

from libs.feed import schema as feed

revision = "0007"
down_revision = "0006"
works_from = "0001"


def upgrade() -> None:
    """Stamp the newest epoch; the release before goes on beside it."""
    feed.stamp_epochs(op)
    op.execute("alter table ledger_position add column epoch bigint not null default 0")
