"""Jobs: what-if runs."""

from alembic import op

from libs.store.tables import schema

revision = "0005"
down_revision = "0004"
works_from = "0001"


def upgrade() -> None:
    """Create it all; the release before goes on beside it."""
    schema.create_jobs(op)
