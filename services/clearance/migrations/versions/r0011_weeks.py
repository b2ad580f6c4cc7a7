"""Local references and house documents by weeks of acceptance.

Tables that are partitioned by a hash for ever have keys at random places of an index that grows with what is stored. A week is filled and
later dropped whole, so that a new reference costs the same however many are stored (docs/decisions/references.md).
"""

from alembic import op

from libs.store.tables import schema

revision = "0011"
down_revision = "0010"

# Of a reference that was used again after its retention, the later consignment: the newest week that has it ends the search.
_FIND_REFERENCE = """
    create function local_reference_find(partitions smallint[], filers text[], names text[])
    returns table (place integer, mrn text)
    language plpgsql stable set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $body$
    begin
        return query
        select w.place::integer, r.mrn from unnest(partitions, filers, names) with ordinality as w(partition, filer, name, place)
        cross join lateral (
            select known.mrn from (
                (
                    select k.mrn, k.day from local_reference k
                    where k.filer = w.filer and k.local_reference = w.name order by k.day desc limit 1
                ) union all (
                    select f.mrn, f.day from former_local_reference f
                    where f.partition = w.partition and f.filer = w.filer and f.local_reference = w.name limit 1
                )
            ) known order by known.day desc limit 1
        ) r;
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
            select d.mrn from (
                (
                    select k.mrn from house_document k
                    where k.document_number = w.number and k.mrn > w.after order by k.mrn limit w.up_to
                ) union (
                    select f.mrn from former_house_document f
                    where f.document_number = w.number and f.mrn > w.after order by f.mrn limit w.up_to
                )
            ) d order by d.mrn limit w.up_to
        ) h;
    end
    $body$
"""


def upgrade() -> None:
    """Rename the tables of before, which are read until their rows are purged, and create those by weeks."""
    op.execute("drop function local_reference_find(smallint[], text[], text[])")
    op.execute("drop function house_document_find(text[], text[], integer[])")
    for table in ("local_reference", "house_document"):
        op.execute(f"alter table {table} rename to former_{table}")
        op.execute(f"alter index {table}_pkey rename to former_{table}_pkey")
    schema.create_day_partitioned(
        op,
        "local_reference",
        'filer text collate "C" not null, local_reference text collate "C" not null, mrn text collate "C" not null, day integer not null',
        key="filer, local_reference, day",
        span=7,
    )
    schema.create_day_partitioned(
        op,
        "house_document",
        'document_number text collate "C" not null, mrn text collate "C" not null, day integer not null',
        key="document_number, mrn, day",
        span=7,
    )
    op.execute(_FIND_REFERENCE)
    op.execute(_FIND_HOUSE)
