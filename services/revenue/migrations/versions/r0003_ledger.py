"""Revenue's side of clearance's feed, its own feed, and the ledger."""

from alembic import op

from libs.feed import schema as feed
from libs.store import schema

revision = "0003"
down_revision = "0002"
works_from = "0001"


def upgrade() -> None:
    """Create it all; the release before goes on beside it, and what it assesses is posted when clearance tells of it."""
    schema.create_request_log(op)
    feed.create_outbox(op)
    feed.create_consumer(op)
