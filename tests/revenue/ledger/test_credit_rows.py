"""Rows of accounts' credit: which of them each statement reads, changes and locks, condition by condition."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from libs.store.database import Database, Transaction
from services.revenue.commands.rebalance import Ledger
from services.revenue.store.ledger import credit
from services.revenue.store.ledger.credit import CreditItem, OpenItem

A, B = 1, 2
"""Accounts."""


async def fill(database: Database, table: str, *rows: tuple[Any, ...]) -> None:
    places = ", ".join(f"${place + 1}" for place in range(len(rows[0])))
    async with database.transaction() as tx:
        await tx.raw.executemany(f"insert into {table} values ({places})", rows)


async def all_of(database: Database, table: str) -> list[tuple[Any, ...]]:
    async with database.connection() as reader:
        return sorted(tuple(row) for row in await reader.raw.fetch(f"select * from {table}"))


async def in_one(database: Database, work: Callable[[Transaction], Awaitable[Any]]) -> Any:
    async with database.transaction() as tx:
        return await work(tx)


async def locked(database: Database, account: int, currency: str) -> bool:
    """Return whether another transaction holds a row of credit."""
    async with database.transaction() as tx:
        found = await tx.raw.fetchval(
            "select true from ledger_credit where account = $1 and currency = $2 for update skip locked",
            account,
            currency,
        )
    return not found


CREDIT = ((A, "EUR", 5), (A, "GBP", 1), (A, "USD", 0), (B, "EUR", -7), (B, "GBP", 9), (3, "EUR", 4))


async def test_credit_is_added_to_by_account_and_currency(database: Database) -> None:
    await fill(database, "ledger_credit", (A, "EUR", 5), (A, "GBP", 1), (B, "EUR", 7))
    changes = {(A, "EUR"): -9, (B, "GBP"): 2, (A, "GBP"): 3}
    assert await in_one(database, lambda tx: credit.add(tx, changes)) == {(A, "EUR"): -4, (A, "GBP"): 4, (B, "GBP"): 2}
    assert await all_of(database, "ledger_credit") == [(A, "EUR", -4), (A, "GBP", 4), (B, "EUR", 7), (B, "GBP", 2)]
    assert await in_one(database, lambda tx: credit.add(tx, {})) == {}


def test_amounts_are_summed_by_account_and_currency() -> None:
    parts = {(A, "EUR"): 5, (B, "EUR"): -7}, {(A, "EUR"): 3, (A, "GBP"): 1}, {(B, "EUR"): 7}
    assert credit.summed(*parts) == {(A, "EUR"): 8, (B, "EUR"): 0, (A, "GBP"): 1}
    assert credit.summed() == {}


async def test_what_consignments_leave_is_credit_of_declarants_alone(database: Database) -> None:
    ledger = Ledger(database)
    names = ledger.names
    ids = await ledger.name_ids({"declarant:D", "declarant:E", "border:DE"})
    own, other, buyers = ids["declarant:D"], ids["declarant:E"], ids["border:DE"]
    await fill(database, "ledger_credit", (own, "EUR", 5))
    before = {(own, "EUR"): 4, (own, "GBP"): 3, (buyers, "EUR"): 9}
    after = {(own, "EUR"): 6, (own, "GBP"): 3, (other, "EUR"): 8, (buyers, "EUR"): 1}
    await in_one(database, lambda tx: credit.follow_positions(names, tx, before, after))
    assert await all_of(database, "ledger_credit") == sorted([(own, "EUR", 7), (other, "EUR", 8)])
    await in_one(database, lambda tx: credit.follow_positions(names, tx, {}, {}))
    assert len(await all_of(database, "ledger_credit")) == 2


TAKEN: tuple[tuple[Callable[[Transaction], Awaitable[Any]], Any, set[tuple[int, str]]], ...] = (
    (lambda tx: credit.lock_unused(tx, [A, B, A]), {(A, "EUR"): 5, (A, "GBP"): 1, (B, "GBP"): 9}, {(A, "EUR"), (A, "GBP"), (B, "GBP")}),
    (lambda tx: credit.lock_unused(tx, [B]), {(B, "GBP"): 9}, {(B, "GBP")}),
    (lambda tx: credit.lock_unused(tx, []), {}, set()),
    (lambda tx: credit.lock(tx, [(B, "EUR"), (A, "USD"), (A, "CHF")]), {(A, "USD"): 0, (B, "EUR"): -7}, {(A, "USD"), (B, "EUR")}),
    (lambda tx: credit.lock_one(tx, (B, "EUR")), -7, {(B, "EUR")}),
    (lambda tx: credit.lock_one(tx, (B, "USD")), 0, set()),
    (lambda tx: credit.add(tx, {(A, "GBP"): 1}), {(A, "GBP"): 2}, {(A, "GBP")}),
)  # fmt: skip


async def test_credit_that_is_asked_for_is_locked_to_the_end_and_no_other(database: Database) -> None:
    await fill(database, "ledger_credit", *CREDIT)
    for take, found, held in TAKEN:
        async with database.transaction() as tx:
            assert await take(tx) == found
            locks = {
                (account, currency) for account, currency, _ in CREDIT if await locked(database, account, currency)
            }
            assert locks == held
    assert not await locked(database, A, "GBP")


async def test_credit_that_another_transaction_holds_is_not_waited_for(database: Database) -> None:
    await fill(database, "ledger_credit", *CREDIT)
    async with database.transaction() as tx:
        await credit.lock_one(tx, (A, "EUR"))
        assert await in_one(database, lambda other: credit.lock_unused(other, [A])) == {(A, "GBP"): 1}


OPEN = (
    (A, "EUR", 12, "c", 30, True), (A, "EUR", 11, "b", 20, True), (A, "EUR", 12, "a", 10, False), (A, "EUR", 12, "d", 40, True),
    (A, "GBP", 10, "e", 50, True), (B, "EUR", 9, "f", 60, True),
)  # fmt: skip


async def test_open_items_that_credit_may_pay_are_those_that_the_account_owes_alone(database: Database) -> None:
    await fill(database, "ledger_open", *OPEN)
    payable = [CreditItem("b", 11, 20), CreditItem("c", 12, 30), CreditItem("d", 12, 40)]
    for count in (1, 2, 3, 9):
        assert (
            await in_one(database, lambda tx, count=count: credit.payable_items(tx, (A, "EUR"), count))
            == payable[:count]
        )  # type: ignore[misc]


async def test_open_items_are_listed_by_currency_day_and_mrn_behind_one(database: Database) -> None:
    await fill(database, "ledger_open", *OPEN)
    own = {
        mrn: OpenItem(mrn, day, currency, minor, alone)
        for account, currency, day, mrn, minor, alone in OPEN
        if account == A
    }
    cases = [
        (("", 0, ""), 9, "bacde"), (("", 0, ""), 2, "ba"), (("EUR", 11, "b"), 9, "acde"), (("EUR", 11, "a"), 9, "bacde"),
        (("EUR", 12, "a"), 9, "cde"), (("EUR", 12, "d"), 9, "e"), (("EUR", 99, ""), 9, "e"), (("GBP", 10, "e"), 9, ""),
    ]  # fmt: skip
    async with database.transaction() as tx:
        for after, most, mrns in cases:
            assert await credit.open_items(tx, A, after, most) == [own[each] for each in mrns], after


async def test_open_items_are_summed_by_account_and_currency_alone_and_in_all(database: Database) -> None:
    await fill(database, "ledger_open", *OPEN)
    keys = [(B, "EUR"), (A, "EUR"), (A, "CHF"), (A, "GBP"), (B, "EUR")]
    found = await in_one(database, lambda tx: credit.open_totals(tx, keys))
    assert found == [(60, 60), (90, 100), (0, 0), (50, 50), (60, 60)], "one for each, in their order"


DRAWN = (
    (A, "EUR", 12, "c", 30), (A, "EUR", 11, "b", 20), (A, "EUR", 12, "a", 1), (A, "EUR", 13, "z", 0),
    (A, "GBP", 10, "e", 50), (B, "EUR", 14, "f", 60),
)  # fmt: skip


async def test_what_credit_paid_is_given_newest_first(database: Database) -> None:
    await fill(database, "ledger_drawn", *DRAWN)
    drawn = [CreditItem("c", 12, 30), CreditItem("a", 12, 1), CreditItem("b", 11, 20)]
    for count in (1, 2, 3, 9):
        assert (
            await in_one(database, lambda tx, count=count: credit.items_paid_by(tx, (A, "EUR"), count)) == drawn[:count]
        )  # type: ignore[misc]


async def test_what_credit_paid_of_a_consignment_is_added_up_and_forgotten_at_nothing(database: Database) -> None:
    others = [(A, "EUR", 11, "c", -1), (A, "EUR", 12, "b", -1), (A, "GBP", 11, "b", -1), (B, "EUR", 11, "b", -1)]
    await fill(database, "ledger_drawn", *others)
    # After 20: 25, 1, nothing, which is forgotten; and less than nothing, as well.
    for minor, left in ((20, 20), (5, 25), (-24, 1), (-1, None), (3, 3), (-4, None)):
        await in_one(
            database, lambda tx, minor=minor: credit.add_paid_items(tx, [((A, "EUR"), CreditItem("b", 11, minor))])
        )  # type: ignore[misc]
        expected = sorted([*others, *([(A, "EUR", 11, "b", left)] if left else [])])
        assert await all_of(database, "ledger_drawn") == expected


async def test_to_remember_nothing_is_no_statement() -> None:
    await credit.add_paid_items(None, [])  # type: ignore[arg-type]  # nothing is asked of it


WANTS = (
    (1, [(A, "EUR", 1, "m", 1, True)], [], True), (0, [(A, "EUR", 1, "m", 1, True)], [(A, "EUR", 1, "m", 1)], False),
    (-1, [(A, "EUR", 1, "m", 1, True)], [], False), (1, [], [(A, "EUR", 1, "m", 1)], False), (-1, [], [(A, "EUR", 1, "m", 1)], True),
    (1, [(A, "EUR", 1, "m", 1, False)], [], False), (1, [(B, "EUR", 1, "m", 1, True)], [], False), (1, [(A, "GBP", 1, "m", 1, True)], [], False),
    (-1, [], [(A, "EUR", 1, "m", 0)], False), (-1, [], [(B, "EUR", 1, "m", 1)], False), (-1, [], [(A, "GBP", 1, "m", 1)], False),
    (1, [], [], False), (-1, [], [], False),
)  # fmt: skip


async def test_an_account_wants_work_that_has_credit_and_a_debt_or_lacks_what_paid_one(database: Database) -> None:
    async with database.transaction() as tx:
        for minor, opened, drawn, wants in WANTS:
            await tx.raw.execute("delete from ledger_credit; delete from ledger_open; delete from ledger_drawn")
            await tx.raw.execute("insert into ledger_credit values ($1, 'EUR', $2)", A, minor)
            await tx.raw.executemany("insert into ledger_open values ($1, $2, $3, $4, $5, $6)", opened)
            await tx.raw.executemany("insert into ledger_drawn values ($1, $2, $3, $4, $5)", drawn)
            assert await credit.applicable(tx, 10) == ([(A, "EUR")] if wants else []), (minor, opened, drawn)


async def test_accounts_that_want_work_are_given_in_their_order_up_to_so_many(database: Database) -> None:
    await fill(database, "ledger_credit", (B, "EUR", 1), (A, "GBP", 1), (A, "EUR", 1))
    await fill(
        database,
        "ledger_open",
        *((account, currency, 1, "m", 1, True) for account in (A, B) for currency in ("EUR", "GBP")),
    )
    keys = [(A, "EUR"), (A, "GBP"), (B, "EUR")]
    for count in (1, 2, 3, 9):
        assert await in_one(database, lambda tx, count=count: credit.applicable(tx, count)) == keys[:count]  # type: ignore[misc]
