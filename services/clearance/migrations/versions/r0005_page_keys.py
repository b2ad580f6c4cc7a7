"""The keys that page tokens are encrypted with."""

from alembic import op

from libs.store.tables import schema

revision = "0005"
down_revision = "0004"
works_from = "0001"


def upgrade() -> None:
    """Add their table; the release before goes on beside it."""
    schema.create_page_keys(op)
