"""Since when an open control waits for its authority. Replicas of the release before work beside it and leave it empty."""

from alembic import op

revision = "0028"
down_revision = "0027"
works_from = "0027"


def upgrade() -> None:
    """Add it. Controls of before have none until they change."""
    op.execute("alter table control add column waits_since bigint")
    op.execute("create index control_waits on control (waits_since) where waits_since is not null")
