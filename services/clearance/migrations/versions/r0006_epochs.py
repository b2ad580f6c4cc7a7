"""The outbox knows the store that it stands on, and begins an epoch by itself when the store goes back."""

from alembic import op

from libs.feed import schema as feed

revision = "0006"
down_revision = "0005"
works_from = "0001"


def upgrade() -> None:
    """Stamp the newest epoch; the release before goes on beside it."""
    feed.stamp_epochs(op)
