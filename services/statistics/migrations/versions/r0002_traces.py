"""The service's own records of traces, and in which trace a batch was counted."""

from alembic import op

from libs.store.tables.trace_records import create_trace_records

revision = "0002"
down_revision = "0001"
works_from = "0001"


def upgrade() -> None:
    """Create it all; the release before goes on beside it."""
    create_trace_records(op)
    op.execute("alter table counted_batch add column traceparent text not null default ''")
