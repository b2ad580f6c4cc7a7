"""Why consignments were refused, by filer and day."""

from alembic import op

from libs.store.tables import schema

revision = "0011"
down_revision = "0010"
works_from = "0001"


def upgrade() -> None:
    """Add a table that the release before neither reads nor writes."""
    schema.create_day_partitioned(
        op,
        "scorecard_refusal",
        'day integer not null, filer text collate "C" not null, reason text not null, shard smallint not null, consignments bigint not null, '
        "local_references text[] not null, paths text[] not null, rejected text[] not null",
        key="day, filer, reason, shard",
    )
    op.execute("comment on column scorecard_refusal.consignments is 'refused for this reason on this day, each time'")
    op.execute(
        "comment on column scorecard_refusal.local_references is 'of the first of them, as are the paths and the rejected values'"
    )
