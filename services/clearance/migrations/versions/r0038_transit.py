"""Goods in transit to another office, listed with the end of their time limit.

Replicas of the release before do not know the columns of states, so none starts again: begin the first movement once all replicas are replaced.
"""

from alembic import op

revision = "0038"
down_revision = "0036"


def upgrade() -> None:
    """Create the list."""
    op.execute(
        """
        create table transit (
            day integer not null,
            mrn text collate "C" not null,
            departure_office text collate "C" not null,
            destination_office text collate "C" not null,
            due_at bigint not null,
            next_at bigint,
            primary key (day, mrn)
        )
        """
    )
    op.execute("comment on table transit is 'goods that move to another office under customs control'")
    op.execute(
        "comment on column transit.next_at is 'when the end of the limit is recorded; null: it was, and the goods are overdue'"
    )
    op.execute("create index transit_next on transit (next_at) where next_at is not null")
    op.execute("create index transit_overdue on transit (due_at) where next_at is null")
    op.execute("create index transit_departure on transit (departure_office, due_at, day, mrn)")
    op.execute("create index transit_destination on transit (destination_office, due_at, day, mrn)")
    # As storage_find: a plan that does not depend on statistics.
    op.execute(
        """
        create function transit_find(until bigint, up_to integer) returns table (mrn text)
        language plpgsql stable set enable_seqscan = off as $body$
        begin
            return query select t.mrn from transit t where t.next_at <= until order by t.next_at limit up_to;
        end
        $body$
        """
    )
