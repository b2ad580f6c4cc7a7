"""The first schema: states by day, references by hash, arrivals, requests, the feed's outbox and notices, its consumer."""

from alembic import op

from libs.feed import schema as feed
from libs.store.tables import schema

revision = "0001"
down_revision = None

_STATE = """
    day integer not null,
    mrn text collate "C" not null,
    partition smallint not null,
    filer text collate "C" not null,
    version integer not null,
    filing_version integer not null,
    state smallint not null,
    lane smallint not null,
    batch_day integer not null,
    batch_id bigint not null,
    batch_row integer not null
"""

# What officers have to look at stands apart: an index over the state would cost every arrival, this costs the few that are held.
_HELD = """
    create table held (
        day integer not null,
        mrn text collate "C" not null,
        lane smallint not null,
        primary key (day, mrn)
    )
"""

# Plans are made while the tables are small and kept while they grow, so in all of these a scan must never look cheap.
_FIND = """
    create function consignment_find(days integer[], mrns text[])
    returns table (
        place integer, partition smallint, filer text, version integer, filing_version integer, state smallint, lane smallint,
        batch_day integer, batch_id bigint, batch_row integer
    ) language plpgsql stable set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $body$
    begin
        return query
        select w.place::integer, c.partition, c.filer, c.version, c.filing_version, c.state, c.lane, c.batch_day, c.batch_id, c.batch_row
        from unnest(days, mrns) with ordinality as w(day, mrn, place)
        join consignment c on c.day = w.day and c.mrn = w.mrn;
    end
    $body$
"""
_LOCK = """
    create function consignment_lock(wanted integer, mrns text[])
    returns table (
        mrn text, partition smallint, filer text, version integer, filing_version integer, state smallint, lane smallint,
        batch_day integer, batch_id bigint, batch_row integer
    ) language plpgsql set enable_seqscan = off as $body$
    begin
        return query
        select c.mrn, c.partition, c.filer, c.version, c.filing_version, c.state, c.lane, c.batch_day, c.batch_id, c.batch_row
        from consignment c where c.day = wanted and c.mrn = any(mrns) order by c.mrn for update;
    end
    $body$
"""
_UPDATE = """
    create function consignment_update(
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
        where c.day = w.day and c.mrn = w.mrn;
        get diagnostics done = row_count;
        return done;
    end
    $body$
"""
_FIND_REFERENCE = """
    create function local_reference_find(partitions smallint[], filers text[], names text[])
    returns table (place integer, mrn text)
    language plpgsql stable set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $body$
    begin
        return query
        select w.place::integer, r.mrn from unnest(partitions, filers, names) with ordinality as w(partition, filer, name, place)
        join local_reference r on r.partition = w.partition and r.filer = w.filer and r.local_reference = w.name;
    end
    $body$
"""
_FIND_HOUSE = """
    create function house_document_find(numbers text[], after text[], limits integer[])
    returns table (place integer, mrn text)
    language plpgsql stable set enable_seqscan = off as $body$
    begin
        return query
        select w.place::integer, h.mrn from unnest(numbers, after, limits) with ordinality as w(number, after, up_to, place)
        cross join lateral (
            select d.mrn from house_document d where d.document_number = w.number and d.mrn > w.after order by d.mrn limit w.up_to
        ) h;
    end
    $body$
"""
_FIND_MASTER = """
    create function master_document_find(number text, after_day integer, after_id bigint, up_to integer)
    returns table (batch_day integer, batch_id bigint, mrns text[])
    language plpgsql stable set enable_seqscan = off as $body$
    begin
        return query
        select m.batch_day, m.batch_id, m.mrns from master_document m
        where m.document_number = number and (m.batch_day, m.batch_id) > (after_day, after_id)
        order by m.batch_day, m.batch_id limit up_to;
    end
    $body$
"""
_FIND_ARRIVAL = """
    create function arrival_find(numbers text[])
    returns table (document_number text, carrier text, conveyance_reference text, arrived_at bigint, place text)
    language plpgsql stable set enable_seqscan = off as $body$
    begin
        return query
        select a.document_number, a.carrier, a.conveyance_reference, a.arrived_at, a.place
        from arrival a where a.document_number = any(numbers);
    end
    $body$
"""


def upgrade() -> None:
    """Create it all."""
    schema.create_day_partitioned(op, "consignment", _STATE, key="day, mrn")
    op.execute(
        "comment on table consignment is 'the state in force, by day of acceptance; the whole of it is a row of a batch'"
    )
    op.execute(_HELD)
    schema.create_hash_partitioned(
        op,
        "local_reference",
        'partition smallint not null, filer text collate "C" not null, local_reference text collate "C" not null, '
        'mrn text collate "C" not null, day integer not null',
        key="partition, filer, local_reference",
        by="partition",
    )
    schema.create_hash_partitioned(
        op,
        "house_document",
        'document_number text collate "C" not null, mrn text collate "C" not null, day integer not null',
        key="document_number, mrn",
        by="document_number",
    )
    schema.create_hash_partitioned(
        op,
        "master_document",
        'document_number text collate "C" not null, batch_day integer not null, batch_id bigint not null, mrns text[] not null, '
        "day integer not null",
        key="document_number, batch_day, batch_id",
        by="document_number",
    )
    op.execute("comment on table master_document is 'a row a document and batch, so that a flight of 50,000 costs few'")
    schema.create_hash_partitioned(
        op,
        "arrival",
        'document_number text collate "C" not null, carrier text not null, request_id text not null, '
        "conveyance_reference text not null, arrived_at bigint not null, place text not null, recorded_at bigint not null, "
        "pending boolean not null, day integer not null",
        key="document_number",
        by="document_number",
    )
    op.execute("create index arrival_pending on arrival (recorded_at) where pending")
    for table in ("local_reference", "house_document", "master_document", "arrival"):
        # For the purge alone: small, and free for who writes.
        op.execute(f"create index {table}_day on {table} using brin (day) with (pages_per_range = 32)")
    for statement in (_FIND, _LOCK, _UPDATE, _FIND_REFERENCE, _FIND_HOUSE, _FIND_MASTER, _FIND_ARRIVAL):
        op.execute(statement)
    schema.create_request_log(op)
    schema.create_job_lease(op)
    feed.create_outbox(op)
    feed.create_notices(op)
    feed.create_consumer(op)
