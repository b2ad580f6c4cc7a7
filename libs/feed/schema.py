"""The feed's tables, as steps that a service's migrations call.

Producers: `create_outbox(op)`, `stamp_epochs(op)` and, for readers by a text key, `create_notices(op)`. Consumers: `create_consumer(op)`.
All tables that grow are partitioned by day, the number of days since 1970-01-01 UTC by the database's clock.
"""

from typing import Any, Final, Protocol

from libs.feed.epochs import STATEMENTS

DAYS_AHEAD: Final = 7
"""How many days beyond today have their partitions made."""

CLOCK: Final = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
"""The database's clock, microseconds since 1970-01-01 UTC."""


class Operations(Protocol):
    """The one method of Alembic's `op` that is needed."""

    def execute(self, sqltext: str) -> Any:
        """Run one statement."""


def create_outbox(op: Operations) -> None:
    """Create what a producer of a feed needs: epochs, batches, outbox, floors, consumers' positions, and `feed_append`."""
    for statement in (
        *_EPOCHS,
        _BATCH,
        *_entries("outbox", "partition", "smallint"),
        _FLOOR,
        _CONSUMER,
        _MAKE_DAYS,
        _APPEND,
    ):
        op.execute(statement)
    for table in ("batch", "outbox"):
        op.execute(f"select feed_make_days('{table}', {DAYS_AHEAD})")


def stamp_epochs(op: Operations) -> None:
    """Record the store in the outbox, so that it starts an epoch when the store is restored; after `create_outbox`."""
    for statement in STATEMENTS:
        op.execute(statement)


def create_notices(op: Operations) -> None:
    """Create `notice`, the entries of batches for readers that are named by a text (filers); after `create_outbox`."""
    for statement in (*_entries("notice", "key", "text"), _NOTIFY):
        op.execute(statement)
    op.execute(f"select feed_make_days('notice', {DAYS_AHEAD})")


def create_consumer(op: Operations) -> None:
    """Create what a consumer of feeds needs: cursors with their leases, members, dead letters."""
    for statement in (_CURSOR, _MEMBER, *_DEAD_LETTER):
        op.execute(statement)


def create_requests(op: Operations) -> None:
    """Create the list of what a consumer wants again; after `create_consumer`."""
    op.execute(
        "create table feed_request (source text not null, partition smallint not null, day integer not null, "
        "asked_at timestamptz not null default clock_timestamp(), primary key (source, partition, day))"
    )


def _entries(name: str, column: str, kind: str) -> tuple[str, ...]:
    """One row per transaction and reader: which rows of a batch are events for it. seq is the batch's id."""
    return (
        f"""
        create table {name} (
            epoch bigint not null,
            xid bigint not null,
            seq bigint not null,
            day integer not null,
            count integer not null,
            {column} {kind} not null,
            rows bytea not null,
            primary key ({column}, epoch, xid, seq, day)
        ) partition by list (day)
        """,
        f"comment on column {name}.rows is 'row numbers in the batch, 16 bits each, little-endian, ascending'",
    )


_EPOCHS: Final = (
    """
    create table feed_epoch (
        epoch bigint primary key,
        reason text not null,
        begun_at timestamptz not null default clock_timestamp(),
        end_xid bigint,
        end_seq bigint
    )
    """,
    "comment on column feed_epoch.end_xid is "
    "'where the epoch broke off and lost what came after; null while it lasts, and when it ended with nothing lost'",
    "insert into feed_epoch (epoch, reason) values (1, 'the first')",
    "create sequence batch_id",
)

# The payload is bytes of protobuf columns: compressing it costs more CPU than the bytes it saves (see the storage clause in _MAKE_DAYS).
_BATCH: Final = """
    create table batch (
        day integer not null,
        id bigint not null,
        created_at bigint not null,
        row_count integer not null,
        schema_version integer not null,
        schema text not null,
        traceparent text not null,
        payload bytea not null,
        primary key (day, id)
    ) partition by list (day)
"""

_FLOOR: Final = """
    create table feed_floor (
        name text primary key,
        epoch bigint not null,
        xid bigint not null,
        seq bigint not null,
        day integer not null
    )
"""

_CONSUMER: Final = """
    create table feed_consumer (
        consumer text not null,
        partition smallint not null,
        epoch bigint not null,
        day integer not null,
        xid bigint not null,
        seq bigint not null,
        seen_at timestamptz not null default clock_timestamp(),
        primary key (consumer, partition)
    ) with (fillfactor = 50)
"""

# A table is made beside its parent and then attached: that takes a lock which lets writers go on, "partition of" does not.
_MAKE_DAYS: Final = """
    create function feed_make_days(parent text, ahead integer) returns integer language plpgsql as $body$
    declare
        today integer := floor(extract(epoch from clock_timestamp()) / 86400);
        child text;
        made integer := 0;
    begin
        perform pg_advisory_xact_lock(hashtextextended('luxor feed days', 0));
        for number in today .. today + ahead loop
            child := format('%s_d%s', parent, number);
            if to_regclass(quote_ident(child)) is null then
                execute format('create table %I (like %I including all)', child, parent);
                if parent = 'batch' then
                    execute format('alter table %I alter column payload set storage external', child);
                end if;
                execute format('alter table %I attach partition %I for values in (%s)', parent, child, number);
                made := made + 1;
            end if;
        end loop;
        return made;
    end
    $body$
"""

# The epoch is read in a statement of its own behind the shared lock: who waited while it was raised sees the new one.
_APPEND: Final = """
    create function feed_append(
        payload bytea, schema text, schema_version integer, row_count integer, traceparent text,
        partitions smallint[], counts integer[], row_numbers bytea[],
        out day integer, out id bigint, out epoch bigint, out xid bigint, out created_at bigint
    ) language plpgsql as $body$
    begin
        perform pg_advisory_xact_lock_shared(hashtextextended('luxor feed epoch', 0));
        select max(e.epoch) into epoch from feed_epoch e;
        xid := pg_current_xact_id()::text::bigint;
        created_at := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
        day := created_at / 86400000000;
        id := nextval('batch_id');
        insert into batch values (day, id, created_at, row_count, schema_version, schema, traceparent, payload);
        insert into outbox (epoch, xid, seq, day, count, partition, rows)
            select feed_append.epoch, feed_append.xid, feed_append.id, feed_append.day, u.count, u.partition, u.rows
            from unnest(partitions, counts, row_numbers) as u(partition, count, rows);
    end
    $body$
"""

_NOTIFY: Final = """
    create function feed_notify(batch_day integer, batch_id bigint, keys text[], counts integer[], row_numbers bytea[])
    returns void language plpgsql as $body$
    declare
        current_epoch bigint;
        xid bigint := pg_current_xact_id()::text::bigint;
    begin
        perform pg_advisory_xact_lock_shared(hashtextextended('luxor feed epoch', 0));
        select max(e.epoch) into current_epoch from feed_epoch e;
        insert into notice (epoch, xid, seq, day, count, key, rows)
            select current_epoch, xid, batch_id, batch_day, u.count, u.key, u.rows
            from unnest(keys, counts, row_numbers) as u(key, count, rows);
    end
    $body$
"""

_CURSOR: Final = """
    create table feed_cursor (
        source text not null,
        partition smallint not null,
        epoch bigint not null default 0,
        day integer not null default 0,
        xid bigint not null default 0,
        seq bigint not null default 0,
        ready boolean not null default false,
        owner text,
        token bigint not null default 0,
        lease_until timestamptz,
        primary key (source, partition)
    ) with (fillfactor = 20)
"""

_MEMBER: Final = """
    create table feed_member (
        source text not null,
        replica text not null,
        seen_at timestamptz not null,
        primary key (source, replica)
    )
"""

_DEAD_LETTER: Final = (
    """
    create table dead_letter (
        id bigint generated always as identity primary key,
        source text not null,
        partition smallint not null,
        key text not null,
        epoch bigint not null,
        day integer not null,
        xid bigint not null,
        seq bigint not null,
        row integer not null,
        snapshot boolean not null,
        schema text not null,
        schema_version integer not null,
        committed_at bigint not null,
        traceparent text not null,
        reason text not null,
        message text not null,
        tries integer not null,
        set_aside_at timestamptz not null default clock_timestamp(),
        tried_at timestamptz,
        replay boolean not null default false,
        payload bytea not null
    )
    """,
    "create index dead_letter_key on dead_letter (source, partition, key, id)",
    "create index dead_letter_replay on dead_letter (source, partition, key) where replay",
)
