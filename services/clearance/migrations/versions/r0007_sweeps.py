"""What the comparison of accepted with decided filings found, and what it asks for again."""

from alembic import op

from libs.feed import schema as feed

revision = "0007"
down_revision = "0006"
works_from = "0001"


def upgrade() -> None:
    """Create the tables; the release before goes on beside them."""
    feed.create_requests(op)
    op.execute(
        "create table swept (day integer primary key, digest bytea not null, missing bigint not null, "
        "swept_at timestamptz not null default clock_timestamp())"
    )
    op.execute(
        'create table filing_unknown (day integer not null, partition smallint not null, mrn text collate "C" not null, '
        "found_at timestamptz not null default clock_timestamp(), acknowledged_at timestamptz, primary key (day, mrn))"
    )
    op.execute(
        "comment on table filing_unknown is 'decided filings that ingestion does not know, since its store was set back'"
    )
