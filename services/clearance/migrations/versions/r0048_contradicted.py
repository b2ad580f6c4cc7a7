"""Goods whose filing contradicts parts of other parties, listed by office and acceptance until the last contradiction ends.

Replicas of the release before do not know the columns of states, so none starts again.
"""

from alembic import op

revision = "0048"
down_revision = "0047"

# As work_find: a plan that does not depend on statistics.
_FIND = """
    create function contradicted_find(of_office text, after_accepted bigint, after_day integer, after_mrn text, up_to integer)
    returns table (accepted_at bigint, day integer, mrn text)
    language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $body$
    begin
        if of_office = '' then
            return query select c.accepted_at, c.day, c.mrn from contradicted c
                where (c.accepted_at, c.day, c.mrn) > (after_accepted, after_day, after_mrn) order by c.accepted_at, c.day, c.mrn limit up_to;
        else
            return query select c.accepted_at, c.day, c.mrn from contradicted c
                where c.office = of_office and (c.accepted_at, c.day, c.mrn) > (after_accepted, after_day, after_mrn)
                order by c.accepted_at, c.day, c.mrn limit up_to;
        end if;
    end
    $body$
"""


def upgrade() -> None:
    """Create the list, which is empty: no state of an earlier release has contradictions."""
    op.execute(
        """
        create table contradicted (
            day integer not null,
            mrn text collate "C" not null,
            office text collate "C" not null,
            accepted_at bigint not null,
            primary key (day, mrn)
        )
        """
    )
    op.execute(
        "comment on table contradicted is 'goods that are neither released nor final, of which parts of other parties contradict the filing'"
    )
    op.execute("create index contradicted_oldest on contradicted (accepted_at, day, mrn)")
    op.execute("create index contradicted_office on contradicted (office, accepted_at, day, mrn)")
    op.execute(_FIND)
