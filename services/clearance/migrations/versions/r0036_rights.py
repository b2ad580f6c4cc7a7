"""Applications of rights holders. Replicas of the release before do not know the column of states, so none starts again."""

from alembic import op

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    """Create the register, which is empty, and the number of its changes."""
    op.execute(
        """
        create table rights_application (
            number text collate "C" primary key,
            holder text not null,
            rights text not null,
            countries text not null,
            from_day integer not null,
            to_day integer not null,
            goods text not null,
            words text not null,
            revoked boolean not null,
            version integer not null,
            changed_at bigint not null,
            changed_by text not null
        )
        """
    )
    op.execute("comment on table rights_application is 'applications of rights holders that customs granted'")
    op.execute(
        "comment on column rights_application.words is 'a line each; countries and goods have commas between them'"
    )
    op.execute("create table rights_revision (revision bigint not null)")
    op.execute("insert into rights_revision values (0)")
