"""Tables that several services share, and how tables are cut into partitions.

Called by the services' migrations. A migration is a file `services/<name>/migrations/versions/r0001_<subject>.py`:

    \"\"\"The first schema: request log, assessment log, ...\"\"\"

    from alembic import op

    from libs.store import schema

    revision = "0001"
    down_revision = None
    works_from = "0001"   # the oldest release's revision whose code still works beside this schema (left out: this
    one)


    def upgrade() -> None:
        schema.create_request_log(op)
        schema.create_day_partitioned(op, "lane_batch", "day integer not null, batch bigint not null, ...", key="day,
        batch")

There is no downgrade: migrations go forward only, each in a transaction of its own. Expand first, then migrate, then
contract a release later, so that each release works beside the one before it.

Partitions by day are named `<table>_<day>`, day being days since 1970-01-01 by the database's clock. A table may have partitions of several
days each (`span`), named after their first day, which is a multiple of the span. There is no default partition: a row of a day that was not
made is an error to be seen, not a row that nobody drops.
"""

import asyncio
import re
from collections.abc import Collection, Sequence
from typing import Final, Protocol

import asyncpg

from libs.store.database import Database, Transaction
from libs.store.errors import StoreMisuse, StoreUnavailable

DAYS_AHEAD: Final = 7
HASH_PARTITIONS: Final = 16
DROP_LOCK_MILLIS_MAX: Final = 30
DROP_TRIES: Final = 3

TODAY: Final = "floor(extract(epoch from now()) / 86400)::integer"
"""Today by the database's clock as SQL: days since 1970-01-01 UTC at the start of the transaction."""

_IDENTIFIER: Final = re.compile(r"[a-z_][a-z0-9_]{0,47}")


class Operations(Protocol):
    """What is used of Alembic's `op`."""

    def execute(self, sqltext: str) -> None:
        """Runs one statement."""


def checked(name: str) -> str:
    """The name, if it may stand in SQL unquoted; raises `StoreMisuse` otherwise."""
    if _IDENTIFIER.fullmatch(name) is None:
        raise StoreMisuse(f"{name!r} is no name for a table or column: lower case letters, digits and _, at most 48")
    return name


def create_hash_partitioned(
    op: Operations, table: str, columns: str, *, key: str, by: str, partitions: int = HASH_PARTITIONS
) -> None:
    """A table cut by the hash of `by` into `<table>_h<n>`; `columns` are SQL definitions, `key` the primary key's
    columns."""
    checked(table)
    op.execute(f"create table {table} ({columns}, primary key ({key})) partition by hash ({by})")
    for number in range(partitions):
        op.execute(
            f"create table {table}_h{number} partition of {table} "
            f"for values with (modulus {partitions}, remainder {number})"
        )


def create_day_partitioned(
    op: Operations,
    table: str,
    columns: str,
    *,
    key: str,
    external: Sequence[str] = (),
    days_ahead: int = DAYS_AHEAD,
    span: int = 1,
) -> None:
    """A table cut by its column `day` (integer), with the partitions from yesterday on until `days_ahead` from today, of `span` days each.

    `external` names bytea columns that are packed already: compressing them once more costs more than it saves.
    """
    checked(table)
    op.execute(f"create table {table} ({columns}, primary key ({key})) partition by range (day)")
    for column in external:
        op.execute(f"alter table {table} alter column {checked(column)} set storage external")
    # The database's clock decides, so the loop runs there.
    op.execute(
        f"do $$ begin for n in ({TODAY} - 1) / {int(span)} .. ({TODAY} + {int(days_ahead)}) / {int(span)} loop "
        f"execute format('create table {table}_%s partition of {table} for values from (%s) to (%s)', "
        f"n * {int(span)}, n * {int(span)}, (n + 1) * {int(span)}); end loop; end $$"
    )


def forbid_changes(op: Operations, table: str) -> None:
    """Make a table cut by day accept new rows alone: UPDATE, DELETE and TRUNCATE are refused, of its partitions as well.

    Two guards: the owner and everybody else lose the privileges, and a trigger raises where privileges do not count (a
    superuser). Dropping a whole day stays possible for the owner. `ensure_day_partitions` guards each new partition.
    """
    checked(table)
    op.execute(
        "create or replace function rows_are_final() returns trigger language plpgsql as $$ begin "
        "raise exception '% of % is refused: its rows are never changed', tg_op, tg_table_name "
        "using errcode = 'restrict_violation'; end $$"
    )
    # A trigger for rows is made on each partition by PostgreSQL, now and when one is attached; one for TRUNCATE is not.
    op.execute(
        f"create trigger final before update or delete on {table} for each row execute function rows_are_final()"
    )
    op.execute(
        # The name is checked.
        f"do $$ declare part regclass; begin for part in select to_regclass('{table}') union all "  # noqa: S608
        f"select inhrelid::regclass from pg_inherits where inhparent = to_regclass('{table}') loop "
        f"execute format('{_FORBID}', part); end loop; end $$"  # a checked name
    )


_FORBID: Final = (
    "create trigger final_truncate before truncate on %1$s for each statement execute function rows_are_final(); "
    "revoke update, delete, truncate on %1$s from public, current_user"
)
_FORBIDDEN: Final = """
select exists(select from pg_trigger where tgrelid = to_regclass($1) and tgname = 'final_truncate')
"""


def create_request_log(op: Operations, *, partitions: int = HASH_PARTITIONS) -> None:
    """The table of `libs.store.tables.requests.RequestLog`."""
    create_hash_partitioned(
        op,
        "request_log",
        'caller text collate "C" not null, request_id text collate "C" not null, digest bytea not null, answer bytea, '
        "day integer not null",
        key="caller, request_id",
        by="caller, request_id",
        partitions=partitions,
    )
    op.execute("create index request_log_day on request_log using brin (day) with (pages_per_range = 32)")


def create_page_keys(op: Operations) -> None:
    """The keys of page tokens: `libs.server.page_tokens`."""
    op.execute(
        "create table page_key (number integer primary key check (number between 1 and 65535), "
        "value bytea not null check (length(value) = 32), made_on integer not null)"
    )


def create_assessment_log(op: Operations, *, partitions: int = HASH_PARTITIONS) -> None:
    """The tables of `libs.store.tables.assessments.AssessmentLog`: batches by day, references by hash of the MRN."""
    op.execute("create sequence assessment_batch_number as bigint cache 1")
    create_day_partitioned(
        op,
        "assessment_batch",
        "day integer not null, batch bigint not null, payload bytea not null",
        key="day, batch",
        external=("payload",),
    )
    create_hash_partitioned(
        op,
        "assessment",
        'mrn text collate "C" not null, version integer not null, purpose smallint not null, day integer not null, '
        'batch bigint not null, "row" integer not null',
        key="mrn, version, purpose",
        by="mrn",
        partitions=partitions,
    )
    op.execute("create index assessment_day on assessment using brin (day) with (pages_per_range = 32)")


def add_assessment_trace(op: Operations) -> None:
    """Room in the assessment log for the trace context in which a batch was assessed; a release that knows of none
    leaves it empty."""
    op.execute("alter table assessment_batch add column traceparent text not null default ''")


ASSESSMENT_SLOTS: Final = 8
"""Partitions of the pages of assessments; after that many times 64 days the first is used again, when its rows are purged."""


def create_assessment_pages(op: Operations) -> None:
    """The pages of the assessment log (`libs.store.tables.assessment_pages`), partitioned by the time in the MRN, and a view of both forms.

    The last partition is for MRNs of other forms. Rows that an earlier release stored in `assessment` stay there.
    """
    op.execute(
        "create table assessment_page (slot smallint not null, block bigint not null, batch bigint not null, day integer not null, "
        "purpose smallint not null, first smallint not null, last smallint not null, newest_version integer not null, "
        'mrn text[] not null, version integer[] not null, "row" integer[] not null, primary key (slot, block, batch)) '
        "partition by list (slot)"
    )
    for slot in range(ASSESSMENT_SLOTS + 1):
        op.execute(f"create table assessment_page_{slot} partition of assessment_page for values in ({slot})")
        # Compressed in the row itself, whatever its size.
        for column in ("mrn", "version", '"row"'):
            op.execute(f"alter table assessment_page_{slot} alter column {column} set storage main")
    set_parameter(op, "assessment_page", "toast_tuple_target", 128)
    op.execute("create index assessment_page_day on assessment_page using brin (day) with (pages_per_range = 32)")
    op.execute(
        'create view all_assessments as select mrn, version, purpose, day, batch, "row" from assessment union all '
        'select x.mrn, x.version, p.purpose, p.day, p.batch, x."row" from assessment_page p '
        'cross join lateral unnest(p.mrn, p.version, p."row") as x(mrn, version, "row")'
    )


def create_job_lease(op: Operations) -> None:
    """The table of `libs.store.tables.leases`: jobs that one replica at a time may run."""
    op.execute(
        'create table job_lease (name text collate "C" primary key, owner text not null, token bigint not null, '
        "lease_until timestamptz not null)"
    )


def create_jobs(op: Operations) -> None:
    """The table of `libs.jobs.store`: long work that one process does at a time."""
    op.execute(
        "create table job (id bigint generated always as identity primary key, kind smallint not null, "
        "state smallint not null, request bytea not null, progress bytea not null default ''::bytea, "
        "result bytea not null default ''::bytea, done bigint not null default 0, total bigint not null default 0, "
        "attempt integer not null default 0, tries smallint not null default 0, told bytea not null default ''::bytea, "
        "error text not null default '', started_by text not null, started_at timestamptz not null default "
        "clock_timestamp(), ended_at timestamptz)"
    )
    op.execute("create index job_open on job (id) where state in (1, 2)")


def set_parameter(op: Operations, table: str, name: str, value: int) -> None:
    """Set a storage parameter of a table cut by day: a `fillfactor` that leaves room for updated rows, a `toast_tuple_target`.

    A partitioned table has none: it is set for the partitions, and `ensure_day_partitions` gives it to new ones.
    """
    op.execute(
        f"do $$ declare part regclass; begin for part in select inhrelid::regclass from pg_inherits where inhparent = "  # noqa: S608
        f"to_regclass('{checked(table)}') loop execute format('alter table %s set ({checked(name)} = {int(value)})', part); "
        "end loop; end $$"
    )


def prefer_lz4(op: Operations, table: str) -> None:
    """Compress the columns of a partitioned table with lz4 from now on, in a third of the time, where the server has it.

    New partitions take it from the table. What is stored stays as it is.
    """
    op.execute(
        "do $$ declare part regclass; name text; begin "  # noqa: S608  # a checked name
        "if not exists (select from pg_settings s where s.name = 'default_toast_compression' and 'lz4' = any(s.enumvals)) then return; end if; "
        f"for part in select to_regclass('{checked(table)}') union all "
        f"select inhrelid::regclass from pg_inherits where inhparent = to_regclass('{table}') loop "
        "for name in select attname from pg_attribute where attrelid = part and attnum > 0 and not attisdropped and attstorage in ('m', 'x') loop "
        "execute format('alter table %s alter column %I set compression lz4', part, name); end loop; end loop; end $$"
    )


_OPTIONS: Final = """
select coalesce((
    select 'with (' || array_to_string(part.reloptions, ', ') || ')' from pg_inherits join pg_class part on part.oid = inhrelid
    where inhparent = to_regclass($1) order by substring(part.relname from '_(-?[0-9]+)$')::integer desc nulls last limit 1
), '')
"""


async def today(tx: Transaction) -> int:
    """Today by the database's clock: days since 1970-01-01 UTC."""
    return int(await tx.raw.fetchval(f"select {TODAY}"))


async def day_partitions(tx: Transaction, table: str) -> list[int]:
    """The days that a table has partitions for, in order."""
    rows = await tx.raw.fetch(
        "select substring(part.relname from '_(-?[0-9]+)$')::integer as day from pg_inherits "
        "join pg_class part on part.oid = inhrelid where inhparent = to_regclass($1) order by 1",
        checked(table),
    )
    return [row["day"] for row in rows if row["day"] is not None]


async def make_day_partitions(tx: Transaction, table: str, days_ahead: int = DAYS_AHEAD, *, span: int = 1) -> list[int]:
    """Makes the partitions from yesterday until `days_ahead` from today that are missing; gives their (first) days.

    Writers are not held up: a partition is made alone and then attached, which locks the parent against other changes
    of schema only. Yesterday is made too, for a clock that steps back over midnight after a failover.
    """
    first = await today(tx) - 1
    return await ensure_day_partitions(tx, table, range(first, first + 2 + days_ahead), span=span)


async def ensure_day_partitions(tx: Transaction, table: str, days: Collection[int], *, span: int = 1) -> list[int]:
    """Makes the partitions of the days `days` that are missing, with the storage parameters of the newest one; gives their (first) days."""
    checked(table)
    firsts = sorted({day - day % span for day in days})
    if not set(firsts) - set(await day_partitions(tx, table)):
        return []
    await tx.raw.execute("select pg_advisory_xact_lock(hashtext('luxor day partitions'), hashtext($1))", table)
    present = set(await day_partitions(tx, table))
    missing = [day for day in firsts if day not in present]
    final = await tx.raw.fetchval(_FORBIDDEN, table)
    options = await tx.raw.fetchval(_OPTIONS, table)
    for day in missing:
        part = f"{table}_{day}"
        await tx.raw.execute(
            f"create table {part} (like {table} including defaults including constraints including storage "
            f"including compression including generated) {options}; "
            f"alter table {table} attach partition {part} for values from ({day}) to ({day + span})"
        )
        if final:
            await tx.raw.execute(_FORBID.replace("%1$s", part))
    return missing


async def drop_day(tx: Transaction, table: str, day: int) -> bool:
    """Drops one day's partition; False when there is none.

    The parent must be locked against everybody for a moment, and whoever waits for that lock makes all others queue
    behind it, so each try waits `DROP_LOCK_MILLIS_MAX` at most. Raises `StoreUnavailable` (reason `lock`) after
    `DROP_TRIES`; the transaction stays usable.
    """
    if day not in await day_partitions(tx, table):
        return False
    part = f"{table}_{day}"
    before = await tx.raw.fetchval("select current_setting('lock_timeout')")
    for tried in range(1, DROP_TRIES + 1):
        try:
            async with tx.savepoint():
                await tx.raw.execute(
                    f"set local lock_timeout = {DROP_LOCK_MILLIS_MAX}; "
                    f"alter table {table} detach partition {part}; drop table {part}; set local lock_timeout = "
                    f"'{before}'"
                )
            return True
        except asyncpg.LockNotAvailableError:
            if tried == DROP_TRIES:
                break
    raise StoreUnavailable(
        f"database {tx.database}: table {table} is too busy to drop its day {day} now; it is tried again later",
        reason="lock",
        database=tx.database,
        sqlstate="55P03",
    )


async def tables_with_pages(reader: Transaction, tables: Sequence[str]) -> list[str]:
    """Return those of `tables`, in their order, that have a page or a partition with one; the others have no row."""
    rows = await reader.raw.fetch(
        "select name from unnest($1::text[]) with ordinality as each (name, place) "
        "where pg_relation_size(name::regclass) > 0 "
        "or exists (select from pg_partition_tree(name::regclass) where pg_relation_size(relid) > 0) order by place",
        tables,
    )
    return [row["name"] for row in rows]


async def drop_days_before(database: Database, table: str, day: int, *, span: int = 1, tries: int = 20) -> list[int]:
    """Drops all partitions whose days all are before `day`, each in a transaction of its own, with growing pauses while the table
    is busy.

    Gives the (first) days dropped. Raises the last `StoreUnavailable` once a day was refused `tries` times.
    """
    async with database.connection() as reader:
        old = [each for each in await day_partitions(reader, table) if each + span <= day]
    for each in old:
        for tried in range(1, tries + 1):
            try:
                async with database.transaction() as tx:
                    await drop_day(tx, table, each)
                break
            except StoreUnavailable as error:
                if error.reason != "lock" or tried == tries:
                    raise
            await asyncio.sleep(
                min(0.05 * 2**tried, 2.0)
            )  # outside of the transaction: waiting must not hold the horizon
    return old
