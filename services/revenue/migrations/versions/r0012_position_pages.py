"""Positions by pages: the positions of consignments that are written together are one row for each part of a block of MRNs."""

from alembic import op

from libs.store.tables import schema

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create the pages; rows that are stored already stay, and stay rows."""
    # `first` and `last` are the places of the first and last consignment in the block. `texts` has what `records` refers to. The lines and
    # entries of a consignment end at its place in `line_ends` and `entry_ends`.
    op.execute("create sequence ledger_position_page_number as bigint cache 1")
    schema.create_hash_partitioned(
        op,
        "ledger_position_page",
        "block bigint not null, number bigint not null, day integer not null, "
        "first smallint not null, last smallint not null, mrn text[] not null, texts text[] not null, records bytea not null, "
        "line_ends integer[] not null, lines bytea not null, entry_ends integer[] not null, entries bytea not null",
        key="block, number, day",
        by="block",
    )
    op.execute("create index ledger_position_page_day on ledger_position_page (day, block)")
    # Compressed in the row itself, whatever its size.
    for column in ("mrn", "texts", "records", "line_ends", "lines", "entry_ends", "entries"):
        op.execute(f"alter table ledger_position_page alter column {column} set storage main")
    schema.set_parameter(op, "ledger_position_page", "toast_tuple_target", 128)
    # A page is written anew with each version, so its compression counts more than its last tenth of bytes.
    schema.prefer_lz4(op, "ledger_position_page")
    # A page names it as well, which is valid no more.
    op.execute("alter table ledger_position add column paged boolean not null default false")
    # A process of a former revision sees no pages and would post again what they have. An error that passes makes it try again.
    op.execute("alter table ledger_position alter column paged drop default")
    op.execute(
        "create function positions_have_pages() returns trigger language plpgsql as $$ begin "
        "raise exception 'positions have pages since revision 0012' using errcode = 'object_in_use'; end $$"
    )
    op.execute(
        "create trigger former before insert on ledger_position for each row when (new.paged is null) "
        "execute function positions_have_pages()"
    )
    op.execute("drop index ledger_position_day")
    op.execute("create index ledger_position_day on ledger_position (day, mrn) where not paged")
