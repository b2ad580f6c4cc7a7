"""Open controls, listed apart from the states that contain them, with the time of their next reminder or deadline.

Replicas of the release before do not know the states and changes of controls, so none starts again.
"""

from alembic import op

revision = "0018"
down_revision = "0016"


def upgrade() -> None:
    """Create the list; no control is open in stores of earlier releases."""
    op.execute(
        """
        create table control (
            day integer not null,
            mrn text collate "C" not null,
            number smallint not null,
            form smallint not null,
            authority text collate "C" not null,
            office text collate "C" not null,
            answered boolean not null,
            overdue_at bigint,
            next_at bigint,
            primary key (day, mrn, number)
        )
        """
    )
    op.execute("comment on table control is 'open controls; the state of the consignment contains them as a whole'")
    op.execute(
        "comment on column control.next_at is 'when a reminder or the deadline is due; null: the authority acts next'"
    )
    op.execute("create index control_authority on control (authority, day, mrn, number)")
    op.execute("create index control_next on control (next_at) where next_at is not null")
    op.execute("create index control_overdue on control (overdue_at) where overdue_at is not null")
