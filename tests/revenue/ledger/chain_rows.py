"""Rows of entries and postings, written without the ledger."""

from __future__ import annotations

from tests.revenue.ledger.books import Books

MICROS_A_DAY = 86_400_000_000
Place = tuple[int, int, int]
"""Days from today, partition, number."""


async def put(books: Books, places: list[Place], *, age_seconds: int = 0) -> int:
    """Store entries, each with two postings whose amount says where it stands; return today."""
    async with books.database.transaction() as tx:
        now = await tx.now()
        today = now // MICROS_A_DAY
        await tx.raw.execute(
            "insert into ledger_name (id, name) overriding system value values (7, 'bank:EU') on conflict do nothing"
        )
        for ahead, partition, number in places:
            booked_at = now - age_seconds * 1_000_000 + ahead * MICROS_A_DAY
            await tx.raw.execute(
                "insert into ledger_entry (day, partition, number, kind, reverses, booked_at, mrn, version, reference, currency, destination, hash) "
                "values ($1, $2, $3, 1, 0, $4, '', 0, '', 'EUR', '', '')",
                today + ahead, partition, number, booked_at,
            )  # fmt: skip
            amount = ahead * 100 + partition * 10 + number
            for place, account, sign in ((0, 7, 1), (1, 8, -1)):
                await tx.raw.execute(
                    "insert into ledger_posting (day, booked_at, number, amount, account, partition, place, kind, currency) "
                    "values ($1, $2, $3, $4, $5, $6, $7, 1, 'EUR')",
                    today + ahead, booked_at, number, sign * amount, account, partition, place,
                )  # fmt: skip
        for ahead, partition in sorted({each[:2] for each in places}):
            numbers = [number for *at, number in places if at == [ahead, partition]]
            await tx.raw.execute(
                "insert into ledger_day values ($1, $2, $3, $4)", partition, today + ahead, min(numbers), max(numbers)
            )
    return today
