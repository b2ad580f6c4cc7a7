"""The imported marks of release lists. Replicas of the release before work beside them."""

from alembic import op

revision = "0021"
down_revision = "0020"
works_from = "0012"


def upgrade() -> None:
    """Create the table, which has a row for each decision on a line of a list, or on goods that are not on it."""
    op.execute(
        """
        create table release_list_mark (
            serial text collate "C" not null,
            line integer not null,
            house_document text collate "C" not null,
            decision smallint not null,
            marked_at bigint not null,
            marked_by text not null,
            mrn text collate "C" not null,
            outcome smallint not null,
            state smallint not null,
            version integer not null,
            imported_by text not null,
            day integer not null,
            primary key (serial, line, house_document, mrn, decision)
        )
        """
    )
