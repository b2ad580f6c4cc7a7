"""A ledger as releases before pages stored it: a row for each entry and each posting, and balances of each partition."""

from __future__ import annotations

from libs.store.tables.schema import ensure_day_partitions
from services.revenue.store.ledger.pages import COLUMN_TYPES, StoredPage
from services.revenue.store.proofs.stored_entry import StoredEntry
from tests.revenue.ledger.books import Books

_PAGES = f"select day, booked_at, true as from_one, {', '.join(COLUMN_TYPES)} from ledger_page"
_POSTINGS = """
insert into ledger_posting (day, booked_at, number, amount, account, partition, place, kind, currency)
select day, booked_at, number, amount, account, partition, place, charge, currency from page_postings
"""
_BALANCES = """
insert into ledger_balance (account, currency, slot, day, debit, credit)
select account, currency, partition, day, sum(sum(greatest(amount, 0))) over earlier, sum(sum(greatest(-amount, 0))) over earlier
from ledger_posting group by account, currency, partition, day
window earlier as (partition by account, currency, partition order by day)
"""


async def as_rows(books: Books) -> None:
    """Store all that is booked in the former form; hashes, numbers and times stay. The guards are off."""
    async with books.database.transaction() as tx:
        pages = [StoredPage(row) for row in await tx.raw.fetch(_PAGES)]
        if not pages:
            return
        names = await books.ledger.names.texts(tx, {account for each in pages for account in each.page.account})
        for table in ("ledger_entry", "ledger_posting"):
            await ensure_day_partitions(tx, table, {each.day for each in pages})
        for page in pages:
            for entry in StoredEntry.of_page(page, names):
                await tx.raw.execute(
                    "insert into ledger_entry (day, partition, number, kind, reverses, booked_at, mrn, version, reference, currency, "
                    "destination, hash) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
                    entry.day, entry.partition, entry.number, entry.kind, entry.reverses, entry.booked_at, entry.mrn,
                    entry.version, entry.reference, entry.currency, entry.destination, entry.hash,
                )  # fmt: skip
        await tx.raw.execute(_POSTINGS)
        for table in ("ledger_page", "ledger_account_page", "ledger_balance"):
            await tx.raw.execute(f"delete from {table}")
        await tx.raw.execute(_BALANCES)
