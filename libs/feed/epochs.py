"""Epochs of a feed: which history of its store a cursor belongs to, and where a history broke off.

A store goes back when an older copy of it is restored, a dump of it is loaded, or a standby is promoted without the log's tail. Transaction numbers
are then given again, so a cursor of the former history must not be read on with the numbers of the new one. All of these need a server that started
anew, another database, or rows that another transaction wrote. The newest row of `feed_epoch` therefore carries a stamp (start of the server,
timeline, database) and the number of the transaction that wrote it. `feed_append` compares both before each event and begins a new epoch where they
differ, so that no event is ever written into an epoch of another history. An ordinary restart of the server begins an epoch too: from inside, it
looks like a copy that was restored.

Epochs are numbered by the clock (milliseconds since 1970-01-01 UTC), so two histories that part never give the same number to two epochs.

An epoch that ended has an end: below it, every transaction has in this history the outcome that any reader saw. The end is the first transaction,
behind the last horizon that is recorded, which did not commit; so a cursor up to the end has seen nothing that is lost. A transaction that was rolled
back looks like one that was lost, so a horizon is recorded (`feed_given`) before it is given out with one of these newly below it: an ordinary
restart ends no cursor.
"""

from typing import Final

from libs.store.database import Database
from libs.store.errors import StoreMisuse
from libs.telemetry import counter, get_logger

EPOCHS_BEGUN: Final = counter(
    "luxor_feed_epochs_total",
    "New epochs that this process noticed: the store's server was restarted or promoted, or its store was copied",
    ("feed",),
)
_GRANT: Final = (
    "database {database}: the service's account may not call {functions}, which distinguish a store from a copy of it. Let a superuser "
    "run in this database: grant execute on function {functions} to <the service's account>"
)
_FUNCTIONS: Final = ("pg_control_system()", "pg_walfile_name(pg_lsn)", "pg_current_wal_insert_lsn()")

STALE: Final = "feed_is_stale()"
"""SQL: whether the store is another one than the newest epoch was begun on."""

_COLUMNS: Final = """
    alter table feed_epoch add column system_id bigint, add column timeline bigint, add column stamp text, add column xid bigint,
        add column first_batch bigint not null default 0
"""
_HORIZON: Final = "alter table batch add column horizon bigint"

# The horizon that was given out last, by epoch: every transaction below it has ended, in this history and in each that parts from it later.
_GIVEN_TABLE: Final = "create table feed_given (epoch bigint primary key, xid bigint not null)"
# In PL/pgSQL, since that plans once in a session: both run at every append and every poll.
_STAMP: Final = """
    create function feed_stamp() returns text language plpgsql volatile as $body$
    begin
        return concat_ws('/', (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint,
            substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), (select oid from pg_database where datname = current_database()));
    end
    $body$
"""
# A row that was loaded from a dump has another writer than the one that it names.
_STALE: Final = """
    create function feed_is_stale() returns boolean language plpgsql volatile as $body$
    declare
        stale boolean;
    begin
        select not coalesce(e.xid % 4294967296 = e.xmin::text::bigint and e.stamp = concat_ws('/',
            (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8),
            (select oid from pg_database where datname = current_database())), false)
        from feed_epoch e order by e.epoch desc limit 1 into stale;
        return stale;
    end
    $body$
"""
# Before the horizon `given` is given out: `since` is what the same reader gave before (0: nothing yet).
_GIVE: Final = """
    create function feed_give(epoch bigint, since bigint, given bigint) returns void language plpgsql as $body$
    begin
        if since = 0 or since < given - 100000 or exists (
            select from generate_series(since, given - 1) x where pg_xact_status(x::text::xid8) = 'aborted'
        ) then
            insert into feed_given as g (epoch, xid) values (feed_give.epoch, given)
                on conflict on constraint feed_given_pkey do update set xid = excluded.xid where g.xid < excluded.xid;
        end if;
    end
    $body$
"""
# `why` is null where only a stale epoch is to be ended; `above` is an epoch that the new one must follow.
_BEGIN: Final = """
    create function feed_begin_epoch(why text, above bigint) returns bigint language plpgsql as $body$
    declare
        now_micros bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
        system bigint := (select system_identifier from pg_control_system());
        line bigint := ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint;
        reason text := why;
        ended record;
        begun bigint;
        mark bigint;
        following bigint;
        break_xid bigint;
    begin
        perform pg_advisory_xact_lock(hashtextextended('luxor feed epoch', 0));
        select e.*, coalesce(e.xid % 4294967296 = e.xmin::text::bigint and split_part(e.stamp, '/', 3) = split_part(feed_stamp(), '/', 3), false)
            as same_files from feed_epoch e order by e.epoch desc limit 1 into ended;
        if reason is null then
            if not feed_is_stale() then
                return ended.epoch;
            end if;
            reason := case
                when not ended.same_files then 'the store was loaded from a dump or copied into another database'
                when ended.system_id <> system then 'the store was moved to another server'
                when ended.timeline <> line then format('a standby was promoted or an archive recovered: timeline %s to %s', ended.timeline, line)
                else 'the server started: a restart, or a copy that was restored'
            end;
        end if;
        select max(c.xid) from feed_consumer c where c.epoch = ended.epoch into mark;
        mark := greatest(mark, (select max(b.horizon) from (
            select horizon, id from batch order by day desc, id desc limit 200) b where b.id >= ended.first_batch));
        mark := greatest(mark, (select g.xid from feed_given g where g.epoch = ended.epoch));
        following := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
        if not ended.same_files then
            break_xid := coalesce(mark, 0);
        elsif mark is null then
            break_xid := following;
        else
            select min(x) from generate_series(greatest(mark, following - 100000, 3), following - 1) x
                where pg_xact_status(x::text::xid8) = 'aborted' into break_xid;
            break_xid := coalesce(break_xid, following);
        end if;
        begun := greatest(ended.epoch + 1, above + 1, now_micros / 1000);
        -- Numbers of batches are never given again either: whoever remembers one by its number remembers another history's.
        perform setval('batch_id', greatest((select last_value from batch_id) + 1, now_micros));
        update feed_epoch e set end_xid = break_xid, end_seq = 0 where e.epoch = ended.epoch;
        insert into feed_epoch (epoch, reason, system_id, timeline, stamp, xid, first_batch)
            values (begun, reason, system, line, feed_stamp(), pg_current_xact_id()::text::bigint, (select last_value from batch_id));
        return begun;
    end
    $body$
"""
_CURRENT: Final = """
    create function feed_current_epoch() returns bigint language plpgsql as $body$
    begin
        if feed_is_stale() then
            return feed_begin_epoch(null, 0);
        end if;
        return (select max(epoch) from feed_epoch);
    end
    $body$
"""
_APPEND: Final = """
    create or replace function feed_append(
        payload bytea, schema text, schema_version integer, row_count integer, traceparent text,
        partitions smallint[], counts integer[], row_numbers bytea[],
        out day integer, out id bigint, out epoch bigint, out xid bigint, out created_at bigint
    ) language plpgsql as $body$
    begin
        if feed_is_stale() then
            perform feed_begin_epoch(null, 0);
        end if;
        perform pg_advisory_xact_lock_shared(hashtextextended('luxor feed epoch', 0));
        select max(e.epoch) into epoch from feed_epoch e;
        xid := pg_current_xact_id()::text::bigint;
        created_at := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
        day := created_at / 86400000000;
        id := nextval('batch_id');
        insert into batch values (day, id, created_at, row_count, schema_version, schema, traceparent, payload,
            pg_snapshot_xmin(pg_current_snapshot())::text::bigint);
        insert into outbox (epoch, xid, seq, day, count, partition, rows)
            select feed_append.epoch, feed_append.xid, feed_append.id, feed_append.day, u.count, u.partition, u.rows
            from unnest(partitions, counts, row_numbers) as u(partition, count, rows);
    end
    $body$
"""
# The store as it is now is the one that its newest epoch was begun on.
_STAMPED: Final = """
    update feed_epoch set system_id = (select system_identifier from pg_control_system()), stamp = feed_stamp(),
        timeline = ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint, xid = pg_current_xact_id()::text::bigint
    where epoch = (select max(epoch) from feed_epoch)
"""
STATEMENTS: Final = (_COLUMNS, _HORIZON, _GIVEN_TABLE, _STAMP, _STALE, _GIVE, _BEGIN, _CURRENT, _APPEND, _STAMPED)
CURRENT_EPOCH: Final = "select feed_current_epoch()"
"""SQL: the number of the newest epoch; one begins where it is due. What is numbered by it is never numbered again after a restore."""
STAMP_IF_ANY: Final = f"do $$ begin if to_regclass('feed_epoch') is not null then {_STAMPED}; end if; end $$"
"""SQL: take the store as it is now for the one that its newest epoch was begun on; for tests, which use a database again."""

BEGIN_EPOCH: Final = "select feed_begin_epoch($1, $2)"
"""SQL: begin an epoch for a reason ($1; null: only where the newest one is stale) behind another ($2), and return the newest."""
GIVE: Final = "select feed_give($1, $2, $3)"
"""SQL: record the horizon of an epoch ($1) that is given out ($3), where it needs that; $2 is the one that was given out before, or 0."""
_PRESENT: Final = "select to_regprocedure('feed_begin_epoch(text, bigint)') is not null"
_ALLOWED: Final = "select has_function_privilege($1, 'execute')"


async def at_start(database: Database) -> None:
    """Begin a new epoch where the store is another one than the newest epoch was begun on; nothing in a store without a feed of its own.

    Raises StoreMisuse where the account may not read what tells stores apart.
    """
    async with database.connection() as reading:
        if not await reading.raw.fetchval(_PRESENT):
            return
        before = await reading.raw.fetchval("select max(epoch) from feed_epoch")
        missing = [each for each in _FUNCTIONS if not await reading.raw.fetchval(_ALLOWED, each)]
        if missing:
            raise StoreMisuse(
                _GRANT.format(database=database.name, functions=", ".join(missing)), database=database.name
            )
    async with database.transaction(timeout_millis=5_000) as tx:
        epoch = await tx.raw.fetchval(BEGIN_EPOCH, None, 0)
        reason = await tx.raw.fetchval("select reason from feed_epoch where epoch = $1", epoch)
    if epoch != before:
        note_begun(database.name, epoch, reason)


def note_begun(feed: str, epoch: int, reason: str) -> None:
    """Count and log an epoch that began."""
    EPOCHS_BEGUN.labels(feed).inc()
    get_logger().warning(
        "FEED_EPOCH_BEGUN",
        feed=feed,
        epoch=epoch,
        text=reason,
        hint="after a restart nothing is to be done; after a restore see docs/operating/faults.md, A store that went back",
    )
