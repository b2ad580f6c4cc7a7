"""News of revenue that came before the decision, and adjustments that were begun."""

from alembic import op

revision = "0004"
down_revision = "0003"
works_from = "0001"

_EARLY = """
    create table early_news (
        mrn text collate "C" not null,
        number bigint not null,
        filing_version bigint not null,
        day integer not null,
        payload bytea not null,
        traceparent text not null,
        primary key (mrn, number)
    )
"""
_ADJUSTMENT = """
    create table adjustment (
        day integer not null,
        mrn text collate "C" not null,
        version integer not null,
        officer text not null,
        payload bytea not null,
        begun_at bigint not null,
        generation bigint not null default 0,
        primary key (day, mrn)
    )
"""


def upgrade() -> None:
    """Create it all; the release before goes on beside it."""
    op.execute(_EARLY)
    op.execute(_ADJUSTMENT)
    op.execute("create index adjustment_begun on adjustment (begun_at)")
    op.execute(
        "comment on table early_news is 'news as revenue told them, of filings that are not decided yet in that version'"
    )
    op.execute(
        "comment on table adjustment is 'corrections that revenue is asked to assess, by the version of the state that they correct; "
        "gone once they are in force, so what a crash left undone is taken up. With a generation: what was adjusted is to be assessed again, "
        "since revenue told of another assessment of the filing'"
    )
