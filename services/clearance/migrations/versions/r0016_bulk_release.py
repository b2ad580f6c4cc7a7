"""How far bulk releases have come, and the documents of a conveyance. Replicas of the release before work beside both."""

from alembic import op

revision = "0016"
down_revision = "0013"
works_from = "0012"


def upgrade() -> None:
    """Create the table, which has a row for each bulk release under way, and the index of arrivals by conveyance."""
    op.execute(
        'create table bulk_release (caller text collate "C" not null, request_id text collate "C" not null, day integer not null, '
        "progress bytea not null, primary key (caller, request_id))"
    )
    op.execute(
        "create index arrival_conveyance on arrival (conveyance_reference, arrived_at) where conveyance_reference <> ''"
    )
