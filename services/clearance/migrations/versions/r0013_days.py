"""Functions whose plans have the partitions of the days alone that are looked up, however many days are stored.

The days are a variable in sight of the planner (docs/decisions/plans.md). An update has no form in which the planner knows the days and
cannot begin with the table, so it names the partition of each day.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
works_from = "0012"

_FIND = """
    create or replace function consignment_find(days integer[], mrns text[])
    returns table (
        place integer, partition smallint, filer text, version integer, filing_version integer, state smallint, lane smallint,
        batch_day integer, batch_id bigint, batch_row integer
    ) language plpgsql stable set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $body$
    declare
        wanted integer[] := array(select distinct u.day from unnest(days) as u(day));
    begin
        return query
        select w.place::integer, c.partition, c.filer, c.version, c.filing_version, c.state, c.lane, c.batch_day, c.batch_id, c.batch_row
        from unnest((select days), (select mrns)) with ordinality as w(day, mrn, place)
        cross join lateral (select * from consignment k where k.day = any(wanted) and k.day = w.day and k.mrn = w.mrn offset 0) c;
    end
    $body$
"""
_UPDATE = """
    create or replace function consignment_update(
        days integer[], mrns text[], versions integer[], filing_versions integer[], states smallint[], lanes smallint[],
        new_day integer, new_id bigint, rows integer[]
    ) returns integer language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $body$
    declare
        wanted integer;
        updated integer;
        done integer := 0;
    begin
        for wanted in select distinct u.day from unnest(days) as u(day) order by 1 loop
            execute format($update$
                update consignment_%s c set version = w.version, filing_version = w.filing_version, state = w.state, lane = w.lane,
                    batch_day = $7, batch_id = $8, batch_row = w.row_number
                from unnest($1, $2, $3, $4, $5, $6, $9) as w(day, mrn, version, filing_version, state, lane, row_number)
                where w.day = $10 and c.day = any(array[w.day]) and c.mrn = w.mrn
            $update$, wanted) using days, mrns, versions, filing_versions, states, lanes, new_day, new_id, rows, wanted;
            get diagnostics updated = row_count;
            done := done + updated;
        end loop;
        return done;
    end
    $body$
"""


def upgrade() -> None:
    """Replace the functions; the release before uses them as well."""
    for statement in (_FIND, _UPDATE):
        op.execute(statement)
