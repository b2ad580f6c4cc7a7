"""Carriers that master documents are bound to, refused arrivals, and arrivals that can be reversed: one a document and carrier."""

from alembic import op

revision = "0008"
down_revision = "0007"
works_from = "0001"

_BINDING = """
    create table carrier_binding (
        kind smallint not null,
        value text collate "C" not null,
        carrier text collate "C" not null,
        from_day integer not null,
        to_day integer not null,
        changed_by text not null,
        primary key (kind, value, carrier)
    )
"""
_REFUSED = """
    create table arrival_refused (
        day integer not null,
        document_number text collate "C" not null,
        carrier text collate "C" not null,
        recorded boolean not null,
        times integer not null,
        refused_at bigint not null,
        primary key (day, carrier, document_number)
    )
"""
# A scan must never look cheap, as in all of these (see the first schema).
_FIND_BINDINGS = """
    create function carrier_binding_find(kinds smallint[], vals text[])
    returns table (kind smallint, value text, carrier text, from_day integer, to_day integer)
    language plpgsql stable set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $body$
    begin
        return query
        select b.kind, b.value, b.carrier, b.from_day, b.to_day
        from unnest(kinds, vals) as w(kind, value) join carrier_binding b on b.kind = w.kind and b.value = w.value;
    end
    $body$
"""
_FIND_ARRIVALS = """
    create function arrivals_find(numbers text[])
    returns table (document_number text, carrier text, conveyance_reference text, arrived_at bigint, place text, recorded_at bigint)
    language plpgsql stable set enable_seqscan = off as $body$
    begin
        return query
        select a.document_number, a.carrier, a.conveyance_reference, a.arrived_at, a.place, a.recorded_at
        from arrival a where a.document_number = any(numbers) and a.reversed_at is null
        order by a.document_number, a.recorded_at, a.carrier;
    end
    $body$
"""
# The release before asks this way; it must not see what was reversed.
_FIND_ARRIVAL = """
    create or replace function arrival_find(numbers text[])
    returns table (document_number text, carrier text, conveyance_reference text, arrived_at bigint, place text)
    language plpgsql stable set enable_seqscan = off as $body$
    begin
        return query
        select a.document_number, a.carrier, a.conveyance_reference, a.arrived_at, a.place
        from arrival a where a.document_number = any(numbers) and a.reversed_at is null;
    end
    $body$
"""
_SEEK_MASTER = """
    create function master_document_seek(
        number text, after_day integer, after_id bigint, up_to integer, of_filer text, of_names text[]
    )
    returns table (batch_day integer, batch_id bigint, mrns text[])
    language plpgsql stable set enable_seqscan = off as $body$
    begin
        return query
        select m.batch_day, m.batch_id, m.mrns from master_document m
        where m.document_number = number and (m.batch_day, m.batch_id) > (after_day, after_id)
            and (of_filer = '' or m.filers is null or of_filer = any(m.filers))
            and (of_names is null or (select array_agg(upper(n)) from unnest(coalesce(m.names, array[''])) as n) && of_names)
        order by m.batch_day, m.batch_id limit up_to;
    end
    $body$
"""
_FIND_NAMES = """
    create function master_document_names(numbers text[])
    returns table (document_number text, names text[])
    language plpgsql stable set enable_seqscan = off as $body$
    begin
        return query
        select m.document_number, array_agg(distinct n.name)
        from master_document m cross join lateral unnest(coalesce(m.names, array[''])) as n(name)
        where m.document_number = any(numbers) and not m.amended group by m.document_number;
    end
    $body$
"""
_FIND_AMENDED = """
    create function master_document_amended(numbers text[])
    returns table (document_number text, mrns text[])
    language plpgsql stable set enable_seqscan = off as $body$
    begin
        return query
        select m.document_number, m.mrns from master_document m where m.document_number = any(numbers) and m.amended;
    end
    $body$
"""
# In the order in which all lock arrivals.
_MARK_ARRIVALS = """
    create function arrivals_mark(unbound_numbers text[], again_numbers text[])
    returns void language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $body$
    begin
        update arrival a set revision = a.revision + 1,
            unbound = a.unbound or a.document_number = any(unbound_numbers),
            again = a.again or a.document_number = any(again_numbers)
        from (
            select o.document_number, o.carrier from arrival o
            where o.document_number = any(unbound_numbers || again_numbers) and o.reversed_at is null
                and (not o.unbound or o.document_number = any(again_numbers))
            order by o.document_number, o.carrier for update
        ) c where a.document_number = c.document_number and a.carrier = c.carrier;
    end
    $body$
"""
# Planning it over all partitions for each list of numbers takes three times as long as carrying it out; each look is by the key.
_ARRIVALS_DONE = """
    create function arrivals_done(
        numbers text[], carriers text[], revisions bigint[], unbound_numbers text[], bindings_changed boolean
    )
    returns table (document_number text, carrier text)
    language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
    set plan_cache_mode = force_generic_plan as $body$
    begin
        return query
        with chosen as materialized (
            select a.document_number, a.carrier, a.unbound as before, a.document_number = any(unbound_numbers) as found
            from unnest(numbers, carriers, revisions) as w(document_number, carrier, revision)
            join arrival a on a.document_number = w.document_number and a.carrier = w.carrier
            where a.revision = w.revision and a.reversed_at is null
            order by a.document_number, a.carrier for update of a
        ), done as (
            update arrival a set pending = false,
                unbound = case when c.found and bindings_changed then a.unbound else c.found end,
                again = c.found and bindings_changed
            from chosen c where a.document_number = c.document_number and a.carrier = c.carrier
                and (a.pending or a.again or c.found <> a.unbound or (c.found and bindings_changed))
        )
        select c.document_number, c.carrier from chosen c where c.found and not c.before and not bindings_changed;
    end
    $body$
"""


def upgrade() -> None:
    """Create it all; the release before goes on beside it, and binds no carriers."""
    op.execute(_BINDING)
    op.execute("create index carrier_binding_carrier on carrier_binding (carrier)")
    op.execute(_REFUSED)
    op.execute(
        "comment on table arrival_refused is 'arrivals by carriers that nothing binds to the document, one a day; "
        "an empty number: reports of documents that are not listed'"
    )
    op.execute("alter table arrival add column reversed_at bigint, add column reversed_by text not null default ''")
    op.execute(
        "alter table arrival add column unbound boolean not null default false, "
        "add column again boolean not null default false, add column revision bigint not null default 0"
    )
    op.execute("comment on column arrival.unbound is 'it has no effect on some consignments under the document'")
    op.execute("comment on column arrival.again is 'it is to be carried out again, since bindings or filings changed'")
    op.execute(
        "comment on column arrival.revision is 'raised by each mark: who carried it out clears the marks that it saw alone'"
    )
    # Read before bindings are, and compared where arrivals are marked: what was judged by older bindings is judged again.
    op.execute("create table binding_revision (revision bigint not null)")
    op.execute("insert into binding_revision (revision) values (0)")
    op.execute("alter table arrival drop constraint arrival_pkey, add primary key (document_number, carrier)")
    op.execute("create index arrival_unbound on arrival (document_number, carrier) where unbound")
    op.execute("create index arrival_again on arrival (document_number) where again")
    op.execute(
        'alter table master_document add column filers text[] collate "C", add column names text[] collate "C", '
        "add column amended boolean not null default false"
    )
    op.execute(
        "comment on column master_document.names is 'who carries, by the filings of the row, each once and empty for nobody; null: nobody'"
    )
    op.execute(
        "comment on column master_document.amended is 'newer filings name other carriers or documents: names has former ones too'"
    )
    for statement in (
        _FIND_BINDINGS,
        _FIND_ARRIVALS,
        _FIND_ARRIVAL,
        _SEEK_MASTER,
        _FIND_NAMES,
        _FIND_AMENDED,
        _MARK_ARRIVALS,
        _ARRIVALS_DONE,
    ):
        op.execute(statement)
