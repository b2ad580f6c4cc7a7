"""The first schema: references by generation, submissions by day, requests, the feed's outbox."""

from alembic import op

from libs.feed import schema as feed
from libs.store.tables import schema

revision = "0001"
down_revision = None

_REFERENCE = """
    create table reference (
        generation integer not null,
        partition smallint not null,
        filer text collate "C" not null,
        local_reference text collate "C" not null,
        digest bytea not null,
        mrn text collate "C" not null,
        accepted_at bigint not null,
        primary key (generation, partition, filer, local_reference)
    ) partition by list (generation)
"""

# A generation is dropped whole, so purging costs nothing and its index never ages. Made beside its parent and then attached: writers go on.
_MAKE_GENERATIONS = """
    create function reference_make_generations(days integer) returns integer language plpgsql as $body$
    declare
        newest integer := floor(extract(epoch from clock_timestamp()) / 86400 / days);
        child text;
        made integer := 0;
    begin
        perform pg_advisory_xact_lock(hashtextextended('luxor reference generations', 0));
        for number in newest .. newest + 1 loop
            child := format('reference_g%s', number);
            if to_regclass(child) is null then
                execute format('create table %I (like reference including all) partition by hash (partition)', child);
                for piece in 0 .. 7 loop
                    execute format('create table %I partition of %I for values with (modulus 8, remainder %s)',
                                   child || '_h' || piece, child, piece);
                end loop;
                execute format('alter table reference attach partition %I for values in (%s)', child, number);
                made := made + 1;
            end if;
        end loop;
        return made;
    end
    $body$
"""

# Plans are made while the tables are small and kept while they grow, so a scan must never look cheap.
_FIND = """
    create function reference_find(
        wanted_filer text, places integer[], partitions smallint[], names text[], first integer, last integer
    ) returns table (place integer, digest bytea, mrn text, accepted_at bigint)
    language plpgsql stable set enable_seqscan = off as $body$
    begin
        return query
        select w.place, r.digest, r.mrn, r.accepted_at
        from unnest(places, partitions, names) as w(place, partition, name)
        cross join lateral (
            select known.digest, known.mrn, known.accepted_at from reference known
            where known.partition = w.partition and known.filer = wanted_filer and known.local_reference = w.name
              and known.generation between first and last
            order by known.generation desc limit 1
        ) r;
    end
    $body$
"""


def upgrade() -> None:
    """Create it all."""
    op.execute("create sequence serial_block minvalue 0 maxvalue 78364163 start 0 cycle")
    op.execute(
        "comment on sequence serial_block is 'thousands of the 36^7 sequence numbers of a day; more than a day needs'"
    )
    op.execute(_REFERENCE)
    op.execute(_MAKE_GENERATIONS)
    op.execute("select reference_make_generations(100)")
    op.execute(_FIND)
    schema.create_day_partitioned(
        op,
        "submission",
        'day integer not null, block bigint not null, filer text collate "C" not null, accepted_at bigint not null, '
        "batch_day integer not null, batch bigint not null",
        key="day, block",
    )
    schema.create_request_log(op)
    schema.create_job_lease(op)
    feed.create_outbox(op)
