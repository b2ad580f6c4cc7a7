"""Goods whose filing risk could not judge before loading, listed by office and acceptance until an officer judges it or the goods arrive.

Replicas of the release before do not know the columns of states, so none starts again: list destinations in LUXOR_CLEARANCE_PRE_LOADING once all
replicas are replaced.
"""

from alembic import op

revision = "0042"
down_revision = "0040"

# As work_find: a plan that does not depend on statistics.
_FIND = """
    create function unjudged_find(of_office text, after_accepted bigint, after_day integer, after_mrn text, up_to integer)
    returns table (accepted_at bigint, day integer, mrn text)
    language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $body$
    begin
        if of_office = '' then
            return query select u.accepted_at, u.day, u.mrn from unjudged u
                where (u.accepted_at, u.day, u.mrn) > (after_accepted, after_day, after_mrn) order by u.accepted_at, u.day, u.mrn limit up_to;
        else
            return query select u.accepted_at, u.day, u.mrn from unjudged u
                where u.office = of_office and (u.accepted_at, u.day, u.mrn) > (after_accepted, after_day, after_mrn)
                order by u.accepted_at, u.day, u.mrn limit up_to;
        end if;
    end
    $body$
"""


def upgrade() -> None:
    """Create the list, which is empty."""
    op.execute(
        """
        create table unjudged (
            day integer not null,
            mrn text collate "C" not null,
            office text collate "C" not null,
            accepted_at bigint not null,
            primary key (day, mrn)
        )
        """
    )
    op.execute(
        "comment on table unjudged is 'goods that have not arrived and whose assessment before loading is UNJUDGED; an officer judges them'"
    )
    op.execute("create index unjudged_oldest on unjudged (accepted_at, day, mrn)")
    op.execute("create index unjudged_office on unjudged (office, accepted_at, day, mrn)")
    op.execute(_FIND)
