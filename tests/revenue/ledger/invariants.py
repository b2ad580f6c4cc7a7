"""What holds of a ledger at any moment, and its job that applies credit."""

from __future__ import annotations

from typing import Any

from services.revenue.commands.reconcile import Reconciliation
from services.revenue.jobs.credit import CreditJob
from tests.revenue.ledger.books import Books


async def settle(books: Books) -> int:
    return await CreditJob(books.ledger, interval_seconds=1).step()


async def rows(books: Books, question: str) -> list[tuple[Any, ...]]:
    async with books.database.connection() as reader:
        return [tuple(row) for row in await reader.raw.fetch(question)]


async def sound(books: Books) -> None:
    """Entries balance and come to what is held; of each declarant credit is what is open less what its account stands at."""
    assert await books.unbalanced() == []
    for (day,) in await rows(books, "select day from ledger_position union select day from ledger_position_page"):
        page = await Reconciliation(books.database, books.ledger.names).page(day, "", 1_000)
        assert [each.sentence for each in page.differences if each.reason == "UNBALANCED"] == []
    wrong = await rows(
        books,
        """
        with stands as (
            select h.name, h.account, h.currency, coalesce((select sum(amount) from all_postings p
                where p.account = h.account and p.currency = h.currency), 0) as minor
            from ledger_holding h where h.name like 'declarant:%'
        )
        select s.name, s.currency, s.minor, o.minor, c.minor from stands s
        left join lateral (select coalesce(sum(minor), 0) as minor from ledger_open
            where account = s.account and currency = s.currency) o on true
        left join ledger_credit c on c.account = s.account and c.currency = s.currency
        where s.minor <> o.minor - coalesce(c.minor, 0)
        """,
    )
    assert wrong == []
