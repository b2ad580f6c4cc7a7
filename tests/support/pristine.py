"""A database that tests use again: brought back to what its migrations had made, in a tenth of the time that they take.

`remember` keeps in the schema `pristine` what a migrated database looks like: its definitions, rows and sequences. `cleared`
takes away what came since: tables that were made, rows, the places of sequences. Where a definition was changed, it says that
it cannot.
"""

from typing import Final

import asyncpg

_PREPARE: Final = r"""
create schema pristine;
create table pristine.tables as select oid from pg_class where relnamespace = 'public'::regnamespace;
create table pristine.sequences as
    select format('public.%I', sequencename) as name, coalesce(last_value, start_value) as value,
        last_value is not null as called
    from pg_sequences where schemaname = 'public';
create table pristine.seeds (name text);
create view pristine.filled as
    select relname as name from pg_class
    where relnamespace = 'public'::regnamespace and relkind = 'r' and pg_relation_size(oid) > 0;
create view pristine.made as
    select relname as name from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and oid not in (select oid from pristine.tables);
create view pristine.made_sequences as
    select relname as name from pg_class
    where relnamespace = 'public'::regnamespace and relkind = 'S' and oid not in (select oid from pristine.tables);
create view pristine.definitions as
    select sum(hashtextextended(told, 0)) as hash from (
        select concat_ws(' ', 'class', oid, relname, relkind, reloptions::text, relacl::text) as told
            from pg_class where relnamespace = 'public'::regnamespace
        union all
        select concat_ws(' ', 'column', attrelid, attnum, attname, atttypid, atttypmod, attnotnull, attstorage, attisdropped)
            from pg_attribute join pg_class c on c.oid = attrelid where relnamespace = 'public'::regnamespace
        union all
        select concat_ws(' ', 'default', d.oid, d.xmin)
            from pg_attrdef d join pg_class c on c.oid = adrelid where relnamespace = 'public'::regnamespace
        union all
        select concat_ws(' ', 'view', r.oid, r.xmin)
            from pg_rewrite r join pg_class c on c.oid = ev_class where relnamespace = 'public'::regnamespace
        union all
        select concat_ws(' ', 'trigger', t.oid, tgenabled)
            from pg_trigger t join pg_class c on c.oid = tgrelid where relnamespace = 'public'::regnamespace
        union all
        select concat_ws(' ', 'constraint', oid) from pg_constraint where connamespace = 'public'::regnamespace
        union all
        select concat_ws(' ', 'part', inhrelid, inhparent)
            from pg_inherits join pg_class c on c.oid = inhrelid where relnamespace = 'public'::regnamespace
        union all
        select concat_ws(' ', 'function', oid, xmin) from pg_proc where pronamespace = 'public'::regnamespace
    ) as definitions;
create table pristine.hashes as select hash from pristine.definitions;
do $$
declare each text;
begin
    for each in select name from pristine.filled loop
        execute format('create table pristine.%I as select * from public.%I', 'seed_' || each, each);
        insert into pristine.seeds values (each);
    end loop;
end $$;
create table pristine.changes (tag text);
create function pristine.note_change() returns event_trigger language plpgsql security definer as
$$begin
    -- `create … if not exists` changes nothing where it exists.
    if tg_tag not like 'CREATE %' or exists (select from pg_event_trigger_ddl_commands()) then
        insert into pristine.changes values (tg_tag);
    end if;
end$$;
create event trigger pristine_change on ddl_command_end execute function pristine.note_change();
alter event trigger pristine_change enable always"""

_DROP_MADE: Final = """
do $$
declare each text;
begin
    for each in select name from pristine.made loop
        execute format('drop table if exists public.%I cascade', each);
    end loop;
    for each in select name from pristine.made_sequences loop
        execute format('drop sequence public.%I', each);
    end loop;
end $$"""

# Neither triggers nor references are in the way of rows that a test left.
_CLEAR: Final = """
set session_replication_role = replica;
do $$
declare each text;
begin
    select string_agg(format('public.%I', name), ', ') into each from pristine.filled;
    if each is not null then
        execute 'truncate ' || each || ' cascade';
    end if;
    for each in select name from pristine.seeds loop
        execute format('insert into public.%I overriding system value select * from pristine.%I', each, 'seed_' || each);
    end loop;
    perform setval(name, value, called) from pristine.sequences;
end $$;
truncate pristine.changes"""


async def remember(connection: asyncpg.Connection) -> None:
    """Keeps how the database is now: right after its migrations."""
    await connection.execute(_PREPARE)


async def cleared(connection: asyncpg.Connection) -> bool:
    """Brings the database back; False where its definitions are not those remembered, or none are.

    Definitions are compared only if one was changed or made since: that takes as long as all the rest.
    """
    if not await connection.fetchval("select to_regclass('pristine.changes') is not null"):
        return False
    if await connection.fetchval("select exists (select from pristine.changes)"):
        await connection.execute(_DROP_MADE)
        if not await connection.fetchval("select hash = (select hash from pristine.definitions) from pristine.hashes"):
            return False
    await connection.execute(_CLEAR)
    return True
