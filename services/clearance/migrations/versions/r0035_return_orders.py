"""Return orders, and the departures that fulfil them.

Replicas of the release before work beside both: goods that they return or otherwise end leave their orders open until the next time of these, which
then ends them.
"""

from alembic import op

revision = "0035"
down_revision = "0034"
works_from = "0034"


def upgrade() -> None:
    """Create both tables, and the view of open orders that the check of the store reads as a work list."""
    op.execute(
        """
        create table return_order (
            day integer not null,
            mrn text collate "C" not null,
            number smallint not null,
            status smallint not null,
            reason smallint not null,
            document_number text collate "C" not null,
            ordered_by text collate "C" not null,
            ordered_at bigint not null,
            valid_until bigint not null,
            note text not null,
            departed_at bigint,
            departure_document text not null default '',
            obstacle text not null default '',
            ended_at bigint,
            ended_by text not null default '',
            next_at bigint,
            primary key (day, mrn, number)
        )
        """
    )
    op.execute("comment on column return_order.next_at is 'when the order is looked at next; null: it has ended'")
    op.execute("create unique index return_order_open on return_order (day, mrn) where status = 1")
    op.execute("create index return_order_next on return_order (next_at) where next_at is not null")
    op.execute(
        "create index return_order_document on return_order (document_number, day, mrn, number) where status = 1"
    )
    op.execute("create index return_order_status on return_order (status, day, mrn, number)")
    op.execute("create index return_order_ordered_by on return_order (ordered_by, day, mrn, number)")
    op.execute(
        "create index return_order_departed on return_order (day, mrn, number) where status = 1 and departed_at is not null"
    )
    op.execute("create view open_return_order as select day, mrn from return_order where status = 1")
    # As storage_find: a plan that does not depend on statistics.
    op.execute(
        """
        create function return_order_find(until bigint, up_to integer) returns table (mrn text)
        language plpgsql stable set enable_seqscan = off as $body$
        begin
            return query select r.mrn from return_order r where r.next_at <= until order by r.next_at limit up_to;
        end
        $body$
        """
    )
    op.execute(
        """
        create table departure (
            document_number text collate "C" not null,
            reporter text collate "C" not null,
            departed_at bigint not null,
            recorded_at bigint not null,
            bound boolean not null,
            day integer not null,
            primary key (document_number, reporter)
        )
        """
    )
    op.execute(
        "comment on column departure.bound is 'false: it concerns only orders of goods that are bound to the reporter'"
    )
