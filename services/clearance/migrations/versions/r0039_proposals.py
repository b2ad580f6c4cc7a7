"""Decisions that wait for a second person, listed apart from the states that contain them, with the time at which each lapses.

Replicas of the release before do not know the columns and changes of proposals, so none starts again. One that still runs ignores what a rule
requires and loses open proposals: no rule may require a second person before all replicas have this release. The list forgets what such a replica
lost.
"""

from alembic import op

revision = "0039"
down_revision = "0038"


def upgrade() -> None:
    """Create the list, which is empty."""
    op.execute(
        """
        create table proposal (
            day integer not null,
            mrn text collate "C" not null,
            office text collate "C" not null,
            proposed_by text collate "C" not null,
            due_at bigint not null,
            primary key (day, mrn)
        )
        """
    )
    op.execute(
        "comment on table proposal is 'open proposals of officers; the state of the consignment contains them as a whole'"
    )
    op.execute("comment on column proposal.proposed_by is 'id of the officer, in small letters'")
    op.execute("create index proposal_due on proposal (due_at)")
