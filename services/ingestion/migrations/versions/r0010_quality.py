"""The quality of each version of a filing, and the scorecards of filers by day."""

from alembic import op

from libs.store.tables import schema

revision = "0010"
down_revision = "0009"
works_from = "0001"


def upgrade() -> None:
    """Add columns that the release before leaves empty, and tables that it neither reads nor writes."""
    op.execute("alter table submission add column quality bytea")
    op.execute(
        "comment on column submission.quality is '12 bytes for each serial number of the block from its first on: scores of four terms, bits of "
        "reasons; null: filed by a release without scores'"
    )
    op.execute("alter table amendment add column quality bytea")
    op.execute("comment on column amendment.quality is 'as in submission; null: an invalidation, or not scored'")
    schema.create_day_partitioned(
        op,
        "scorecard",
        'day integer not null, filer text collate "C" not null, shard smallint not null, refused bigint not null, '
        "first bigint[] not null, newest bigint[] not null",
        key="day, filer, shard",
    )
    op.execute("comment on column scorecard.day is 'of the first versions of the filings, days since 1970-01-01 UTC'")
    op.execute("comment on column scorecard.shard is 'a part of the sums, so that calls of one filer do not wait'")
    schema.create_day_partitioned(
        op,
        "scorecard_example",
        'day integer not null, filer text collate "C" not null, reason text not null, mrns text[] not null, '
        "paths text[] not null, rejected text[] not null",
        key="day, filer, reason",
    )
