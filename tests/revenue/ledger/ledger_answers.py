"""A ledger with all kinds of entries, and all that it answers, to compare forms of its storage."""

from __future__ import annotations

from typing import Any

from libs.store.tables.schema import today
from services.revenue.commands.payments.record_payout import Payouts
from services.revenue.commands.reconcile import Reconciliation
from services.revenue.store.ledger.balances import BEGINNING, Statement, StatementLine
from services.revenue.store.ledger.treasury_cash import received
from services.revenue.store.ledger.turnover import totals_of_partition
from services.revenue.store.payments.payments import Payment
from services.revenue.store.payments.payouts import Payout
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.states import DAY, TAX, Charge, State, mrn


async def history(books: Books, start: int) -> None:
    """Consignments of several partitions, currencies and states, paid, sent back, in part paid out again."""
    await books.take(
        *(State(mrn(start + number, number % 5)) for number in range(12)),
        State(mrn(start + 20, 9), currency="SEK", destination="SE", rulebook="NO/2026.1/1f0c9a2b"),
        State(mrn(start + 21, 2), charges=(Charge(300, account="border:DE"),), debt_account=""),
        State(mrn(start + 22, 2), charges=(Charge(5), Charge(6, TAX)), debt=6, debt_account=""),
    )
    await books.take(*(State(mrn(start + number, number % 5), version=2, returned=(1,)) for number in range(3)))
    await books.pay(
        Payment(f"b{start}", mrn(start + 21, 2), "EU", "EUR", 400),
        Payment(f"c{start}", "deferred:carrier-7", "EU", "EUR", 2_000),
        Payment(f"d{start}", "nobody", "EU", "EUR", 7),
    )
    await books.pay(Payment(f"e{start}", "", "EU", "EUR", 2_000, f"c{start}"))
    await Payouts(books.ledger).record([Payout(f"o{start}", mrn(start + 21, 2), "EU", "EUR", 100)], "officer-1")


async def lines_of(
    books: Books, account: int, currency: str, days: tuple[int, int], rows_max: int
) -> list[StatementLine]:
    found: list[StatementLine] = []
    after = BEGINNING
    while lines := (await books.balances.statement(account, currency, *days, after=after, rows_max=rows_max)).lines:
        assert len(lines) <= rows_max
        found += lines
        after = lines[-1].at
    return found


async def answers(books: Books, starts: tuple[int, ...], *, lines_a_page: tuple[int, ...] = (1, 3)) -> dict[str, Any]:
    """All that the ledger tells, by question; statements are read in pages of these numbers of lines too."""
    async with books.database.connection() as reader:
        now = await today(reader)
        times = [
            row["at"] for row in await reader.raw.fetch("select distinct booked_at as at from all_entries order by 1")
        ]
    holdings = await books.balances.holdings(rows_max=1_000)
    known: dict[str, Any] = {"current": await books.balances.at(holdings)}
    for moment in (*times, times[0] - 1, times[-1] + 1):
        known[f"at {moment}"] = await books.balances.at(holdings, moment)
    days = (now - 1, now)
    for each in holdings:
        statement = await books.balances.statement(each.account, each.currency, *days, rows_max=1_000)
        assert isinstance(statement, Statement)
        known[f"statement of {each.name} {each.currency}"] = statement
        for rows_max in lines_a_page:
            assert await lines_of(books, each.account, each.currency, days, rows_max) == statement.lines
        entries, last = await books.chain.of_account(each.account, each.currency, *days, rows_max=1_000)
        known[f"entries of {each.name} {each.currency}"] = (entries, last)
    for start in starts:
        for number, partition in [*((number, number % 5) for number in range(12)), (20, 9), (21, 2), (22, 2)]:
            known[f"entries of {start + number}"] = await books.chain.of_mrn(
                mrn(start + number, partition), rows_max=100
            )
    for partition in range(10):
        found = await books.chain.check(partition, entries_max=1_000)
        assert found.discrepancies == []
        known[f"chain {partition}"] = (
            found.entries,
            found.postings,
            found.last,
            found.hash,
            found.end,
            found.mrns,
            found.seals,
        )
        async with books.database.connection() as reader:
            for day in days:
                known[f"sums of {day}, {partition}"] = sorted(await totals_of_partition(reader, day, partition))
    known["reconciled"] = await Reconciliation(books.database, books.ledger.names).page(DAY, "", 1_000)
    known["received"] = await received(books.database, books.ledger.names, "EUR")
    return known
