"""The ledger by pages: the entries and postings of one transaction and partition in one row, and each account's share of a transaction."""

from __future__ import annotations

from typing import Final

from alembic import op

from libs.store.tables import schema

revision = "0010"
down_revision = "0009"

# Columns that are compressed: one value an entry, or one a posting.
ENTRY_COLUMNS: Final = ("kind", "reverses", "version", "mrn", "reference", "currency", "destination")
POSTING_COLUMNS: Final = ("entry", "place", "account", "charge", "amount", "posting_currency")


def upgrade() -> None:
    """Create pages, the list of them by account and the views of both forms; what is booked already stays in its rows."""
    _pages()
    _accounts()
    _views()
    # A row holds what an account came to by the transactions that have the same lowest partition, so that it is still written by one
    # transaction at a time: whoever writes it holds the head of that partition. Of former rows the lowest partition is the only one.
    op.execute("alter table ledger_balance rename column partition to slot")


def _pages() -> None:
    # A page has the numbers from `first_number` to `last_number` of its partition. `entry` is the place of a posting's entry in the page,
    # from 1 on, and `place` its own in the entry, from 0 on; `currency`, `destination` and `posting_currency` are places in the page's lists.
    schema.create_day_partitioned(
        op,
        "ledger_page",
        "day integer not null, partition smallint not null, first_number bigint not null, last_number bigint not null, "
        "booked_at bigint not null, slot smallint not null, batch bigint not null, hash_before bytea not null, hash bytea not null, "
        "currencies text[] not null, destinations text[] not null, "
        "kind smallint[] not null, reverses smallint[] not null, version bigint[] not null, mrn text[] not null, "
        "reference text[] not null, currency smallint[] not null, destination smallint[] not null, "
        "entry smallint[] not null, place smallint[] not null, account integer[] not null, charge smallint[] not null, "
        "amount bigint[] not null, posting_currency smallint[] not null, check (partition between 0 and 63), "
        "check (slot between 0 and 63)",
        key="partition, last_number, first_number, day",
    )
    # The pages of one batch, for those that the list of an account names, and of one slot in a day for the proof of its balances.
    op.execute("create index ledger_page_batch on ledger_page (slot, batch, partition, first_number)")
    # Compressed in the row itself, whatever its size.
    for column in (*ENTRY_COLUMNS, *POSTING_COLUMNS):
        op.execute(f"alter table ledger_page alter column {column} set storage main")
    schema.set_parameter(op, "ledger_page", "toast_tuple_target", 128)
    schema.forbid_changes(op, "ledger_page")


def _accounts() -> None:
    # A batch is what was booked together: `slot` is its lowest partition, `batch` its first number there. `partitions` has a bit for each
    # partition in which it posts on the account.
    schema.create_day_partitioned(
        op,
        "ledger_account_page",
        "day integer not null, account integer not null, currency text not null, booked_at bigint not null, "
        "slot smallint not null, batch bigint not null, partitions bigint not null, lines integer not null, debit bigint not null, "
        "credit bigint not null, check (slot between 0 and 63)",
        key="account, currency, booked_at, slot, batch, day",
    )
    schema.forbid_changes(op, "ledger_account_page")


def _views() -> None:
    # Concatenation with an empty array decompresses an array once a page and not once a posting.
    entry_columns = ", ".join(
        f"{column} || '{{}}'::{kind}[] as {column}"
        for column, kind in (
            ("kind", "smallint"), ("reverses", "smallint"), ("version", "bigint"), ("mrn", "text"), ("reference", "text"),
            ("destination", "smallint"),
        )
    )  # fmt: skip
    op.execute(
        "create view page_postings as "  # noqa: S608  # our own names
        "select p.day, p.partition, p.slot, p.first_number + x.entry - 1 as number, p.first_number, p.last_number, "
        "p.batch, p.booked_at, x.place, x.account, x.charge, x.amount, p.currencies[x.currency] as currency, "
        "each.kind[x.entry] as kind, each.reverses[x.entry] as reverses, each.version[x.entry] as version, "
        "each.mrn[x.entry] as mrn, each.reference[x.entry] as reference, "
        "p.destinations[each.destination[x.entry]] as destination "
        f"from ledger_page p cross join lateral (select {entry_columns} offset 0) each "
        "cross join lateral unnest(p.entry, p.place, p.account, p.charge, p.amount, p.posting_currency) "
        "as x(entry, place, account, charge, amount, currency)"
    )
    op.execute(
        "create view row_postings as "
        "select p.day, p.partition, p.partition as slot, p.number, p.number as first_number, p.number as last_number, "
        "p.number as batch, p.booked_at, p.place, p.account, p.kind as charge, p.amount, p.currency, "
        "e.kind, e.reverses, e.version, e.mrn, e.reference, e.destination "
        "from ledger_posting p join ledger_entry e on e.day = p.day and e.partition = p.partition and e.number = p.number"
    )
    op.execute("create view all_postings as select * from row_postings union all select * from page_postings")
    op.execute(
        "create view all_entries as "
        "select day, partition, number, number as first_number, number as last_number, kind, reverses, booked_at, mrn, "
        "version, reference, currency, destination from ledger_entry "
        "union all "
        "select p.day, p.partition, p.first_number + x.entry - 1, p.first_number, p.last_number, x.kind, x.reverses, "
        "p.booked_at, x.mrn, x.version, x.reference, p.currencies[x.currency], p.destinations[x.destination] "
        "from ledger_page p cross join lateral unnest(p.kind, p.reverses, p.version, p.mrn, p.reference, p.currency, "
        "p.destination) with ordinality as x(kind, reverses, version, mrn, reference, currency, destination, entry)"
    )
