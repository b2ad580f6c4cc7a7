"""Goods in temporary storage, listed with the end of their time limit and the time of their next reminder or end.

Replicas of the release before do not know the changes of temporary storage, so none starts again. The pass over the work lists lists what was held
before, and what a replica that still runs holds.
"""

from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Create the list, and the table of passes that fill it from the work lists of before."""
    op.execute(
        """
        create table storage (
            day integer not null,
            mrn text collate "C" not null,
            office text collate "C" not null,
            ends_at bigint not null,
            next_at bigint,
            primary key (day, mrn)
        )
        """
    )
    op.execute("comment on table storage is 'goods in temporary storage whose time limit is known'")
    op.execute(
        "comment on column storage.next_at is 'when the reminder or the end is due; null: the end was recorded, and an officer decides'"
    )
    op.execute("create index storage_next on storage (next_at) where next_at is not null")
    op.execute("create index storage_office on storage (office, ends_at, day, mrn)")
    op.execute("create index storage_ended on storage (ends_at) where next_at is null")
    # As due_find: a plan that does not depend on statistics.
    op.execute(
        """
        create function storage_find(until bigint, up_to integer) returns table (mrn text)
        language plpgsql stable set enable_seqscan = off as $body$
        begin
            return query select s.mrn from storage s where s.next_at <= until order by s.next_at limit up_to;
        end
        $body$
        """
    )
    op.execute(
        'create table storage_pass (list text primary key, day integer not null, mrn text collate "C" not null, passed_at bigint)'
    )
