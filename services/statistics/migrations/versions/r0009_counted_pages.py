"""Where counted states stand, by pages of blocks of consignments in place of a row for each consignment."""

from alembic import op

from libs.store.tables import schema

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the pages. Rows that are stored stay and are read; a replica of the release before that still runs waits until it is replaced."""
    schema.create_day_partitioned(
        op,
        "counted_page",
        "day integer not null, block bigint not null, first smallint not null, last smallint not null, batch bigint not null, "
        'batch_day integer not null, epoch bigint not null, mrn text[] not null, version integer[] not null, "row" integer[] not null',
        key="day, block, first, last, batch",
    )
    # Compressed in the row itself, whatever its size.
    for column in ("mrn", "version", '"row"'):
        op.execute(f"alter table counted_page alter column {column} set storage main")
    schema.set_parameter(op, "counted_page", "toast_tuple_target", 128)
    # It reads no pages and would count again what they have. An error that passes makes it try again; others would make dead letters.
    op.execute(
        "create function counted_is_final() returns trigger language plpgsql as $$ begin "
        "raise exception 'consignments are counted by pages since revision 0009' using errcode = 'object_in_use'; end $$"
    )
    op.execute("create trigger final before insert on counted for each statement execute function counted_is_final()")
    # A day is searched where it has a partition.
    op.execute(
        "do $$ declare part regclass; is_filled boolean; begin "
        "for part in select inhrelid::regclass from pg_inherits where inhparent = 'counted'::regclass loop "
        "execute format('select exists (select from %s)', part) into is_filled; "
        "if not is_filled then execute format('drop table %s', part); end if; end loop; end $$"
    )
