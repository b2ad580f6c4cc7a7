"""The status of filers as trusted operators: first day, last day and the reference of the decision."""

from alembic import op

revision = "0009"
down_revision = "0008"
works_from = "0001"


def upgrade() -> None:
    """Add the column; what the release before registers has no status."""
    op.execute("alter table filer add column trusted text not null default ''")
    op.execute(
        "comment on column filer.trusted is 'first and last day since 1970, and the decision; empty: not trusted'"
    )
