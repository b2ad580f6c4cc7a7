"""In which epoch of clearance's feed a state was announced that was counted: a version counts within its epoch."""

from alembic import op

revision = "0007"
down_revision = "0006"
works_from = "0001"


def upgrade() -> None:
    """Add the column; the release before goes on beside it."""
    op.execute("alter table counted add column epoch bigint not null default 0")
