"""References are looked up in each generation by their whole key.

For a range of generations PostgreSQL read the whole index of each earlier one for every reference: a filing of 500 took seconds with a million
references stored. A store younger than 100 days has no earlier generation, so that it was not seen before.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
works_from = "0001"

# A reference that several generations have is returned several times, that of the newest one last.
_FIND = """
    create or replace function reference_find(
        wanted_filer text, places integer[], partitions smallint[], names text[], first integer, last integer
    ) returns table (place integer, digest bytea, mrn text, accepted_at bigint)
    language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off as $body$
    begin
        for wanted in first .. last loop
            if to_regclass('reference_g' || wanted) is not null then
                return query
                select w.place, r.digest, r.mrn, r.accepted_at
                from unnest((select places), (select partitions), (select names)) as w(place, partition, name)
                cross join lateral (
                    select * from reference k where k.generation = wanted and k.partition = w.partition and k.filer = wanted_filer
                        and k.local_reference = w.name offset 0
                ) r;
            end if;
        end loop;
    end
    $body$
"""


def upgrade() -> None:
    """Replace the function; the release before uses it as well."""
    op.execute(_FIND)
