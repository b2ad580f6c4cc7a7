"""Functions whose plans do not depend on statistics: each row is looked up by its key, however small the tables were when the plan was made.

A plan of the first minutes of a day is cached and used until autovacuum analyses the day's partition. Made for a few rows, it may read
the whole day for each call. How statements are written so that no such plan exists: docs/decisions/plans.md.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
works_from = "0001"

_FIND = """
    create or replace function consignment_find(days integer[], mrns text[])
    returns table (
        place integer, partition smallint, filer text, version integer, filing_version integer, state smallint, lane smallint,
        batch_day integer, batch_id bigint, batch_row integer
    ) language plpgsql stable set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $body$
    begin
        return query
        select w.place::integer, c.partition, c.filer, c.version, c.filing_version, c.state, c.lane, c.batch_day, c.batch_id, c.batch_row
        from unnest(days, mrns) with ordinality as w(day, mrn, place)
        cross join lateral (select * from consignment k where k.day = w.day and k.mrn = w.mrn offset 0) c;
    end
    $body$
"""
# The rows are locked in the order of the outer query, which is that of their MRNs.
_LOCK = """
    create or replace function consignment_lock(wanted integer, mrns text[])
    returns table (
        mrn text, partition smallint, filer text, version integer, filing_version integer, state smallint, lane smallint,
        batch_day integer, batch_id bigint, batch_row integer
    ) language plpgsql set enable_seqscan = off set enable_bitmapscan = off as $body$
    begin
        return query
        select c.mrn, c.partition, c.filer, c.version, c.filing_version, c.state, c.lane, c.batch_day, c.batch_id, c.batch_row
        from (select distinct u.mrn from unnest(mrns) as u(mrn) order by u.mrn) w
        cross join lateral (select * from consignment k where k.day = wanted and k.mrn = w.mrn for update) c;
    end
    $body$
"""
_UPDATE = """
    create or replace function consignment_update(
        days integer[], mrns text[], versions integer[], filing_versions integer[], states smallint[], lanes smallint[],
        new_day integer, new_id bigint, rows integer[]
    ) returns integer language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $body$
    declare
        done integer;
    begin
        update consignment c set version = w.version, filing_version = w.filing_version, state = w.state, lane = w.lane,
            batch_day = new_day, batch_id = new_id, batch_row = w.row_number
        from unnest(days, mrns, versions, filing_versions, states, lanes, rows)
            as w(day, mrn, version, filing_version, state, lane, row_number)
        where c.day = any(array[w.day]) and c.mrn = w.mrn;
        get diagnostics done = row_count;
        return done;
    end
    $body$
"""


def upgrade() -> None:
    """Replace the functions; the release before uses them as well."""
    for statement in (_FIND, _LOCK, _UPDATE):
        op.execute(statement)
