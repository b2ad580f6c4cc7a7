"""Former rows of the ledger may be deleted where a page has the same content, so that a job can pack them into pages."""

from alembic import op

from services.revenue.ledger.page import ENTRIES_MAX

revision = "0013"
down_revision = "0012"
works_from = "0012"

# Of each former table the columns of a row, and the same of the pages that contain the deleted rows.
ENTRY = "day, partition, number, kind, reverses, booked_at, mrn, version, reference, currency, destination"
PAGED_ENTRIES = (
    "select p.day, p.partition, p.first_number + x.entry - 1, x.kind, x.reverses, p.booked_at, x.mrn, x.version, x.reference, "
    "p.currencies[x.currency], p.destinations[x.destination] from found cross join lateral unnest(p.kind, p.reverses, p.version, "
    "p.mrn, p.reference, p.currency, p.destination) with ordinality as x(kind, reverses, version, mrn, reference, currency, "
    "destination, entry)"
)
POSTING = "day, partition, number, booked_at, place, account, kind, amount, currency"
PAGED_POSTINGS = (
    "select p.day, p.partition, p.first_number + x.entry - 1, p.booked_at, x.place, x.account, x.charge, x.amount, "
    "p.currencies[x.currency] from found cross join lateral unnest(p.entry, p.place, p.account, p.charge, p.amount, "
    "p.posting_currency) as x(entry, place, account, charge, amount, currency)"
)


def upgrade() -> None:
    """Let DELETE of the two tables pass where pages have what is deleted; all other changes stay forbidden, and those of a day's table."""
    for table, columns, paged in (("ledger_entry", ENTRY, PAGED_ENTRIES), ("ledger_posting", POSTING, PAGED_POSTINGS)):
        op.execute(
            # The deleted rows as a set, since a page is unpacked once and not for each of its rows. A temporary table of the same name is never
            # found first. The days are in sight, so that the pages of no other day are opened.
            f"create function {table}_is_packed() returns trigger language plpgsql set search_path = pg_catalog, public, pg_temp as $$ "  # noqa: S608  # our own names
            "declare days integer[] := array(select distinct day from gone); begin if exists ("
            f"select {columns} from gone except all ("
            "with found as materialized (select distinct p.day, p.partition, p.last_number, p.first_number from "
            "(select distinct day, partition, number from gone) g cross join lateral (select * from ledger_page where "
            "day = any(days) and day = g.day and partition = g.partition and first_number <= g.number "
            f"and last_number between g.number and g.number + {ENTRIES_MAX - 1} offset 0) p) "
            + paged.replace(
                "from found", "from found join ledger_page p using (day, partition, last_number, first_number)"
            )
            + " where p.day = any(days))) then "
            "raise exception '% of % is refused: its rows are never changed, and only those that a page has are deleted', "
            "tg_op, tg_table_name using errcode = 'restrict_violation'; end if; return null; end $$"
        )
        op.execute(f"drop trigger final on {table}")
        op.execute(f"create trigger final before update on {table} for each row execute function rows_are_final()")
        op.execute(
            f"create trigger packed after delete on {table} referencing old table as gone for each statement "
            f"execute function {table}_is_packed()"
        )
        # Rows are deleted by way of the table alone: that of a day has neither the privilege nor that comparison.
        op.execute(
            f"do $$ declare part regclass; begin for part in select inhrelid::regclass from pg_inherits "  # noqa: S608  # our own names
            f"where inhparent = to_regclass('{table}') loop execute format('create trigger final_delete before delete on %s "
            "for each statement execute function rows_are_final()', part); end loop; end $$"
        )
        op.execute(f"grant delete on {table} to current_user")
