"""Who told what of accounts and scheme numbers is kept for ever; what payers wrote that names nothing is not."""

from __future__ import annotations

from services.revenue.assessment.scheme_register import OPEN_END, SchemeEntry
from services.revenue.commands.payments.forget_references import forget_references
from services.revenue.store.ledger.accounts import Account, Accounts
from services.revenue.store.payments.payments import Payment
from services.revenue.store.schemes import SchemeStore
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.states import State, mrn

UNKNOWN = mrn(5, 5)


async def test_each_limit_and_closing_of_an_account_is_kept_with_who_told_it(books: Books) -> None:
    accounts = Accounts(books.database)
    told = (
        (500, False, ("b", "c"), "officer/one"), (900, False, (), "officer/two"), (900, True, ("b",), "officer/one"),
    )  # fmt: skip
    for limit, closed, filers, who in told:
        async with books.database.transaction() as tx:
            await accounts.put(tx, [Account("deferred:a", "EUR", limit, closed, "A", filers)], who)
    async with books.database.connection() as reader:
        rows = await reader.raw.fetch(
            "select limit_minor, closed, filers, changed_by from ledger_account_version "
            "where name = 'deferred:a' order by id"
        )
    assert [(limit, closed, tuple(filers), who) for limit, closed, filers, who in rows] == list(told)
    assert (await accounts.read(["deferred:a"]))["deferred:a"] == Account("deferred:a", "EUR", 900, True, "A", ("b",))


async def test_each_version_of_a_scheme_number_is_kept_and_the_same_once(books: Books) -> None:
    store = SchemeStore(books.database)
    told = []
    for holder, last, who in (("A", OPEN_END, "one"), ("A", OPEN_END, "two"), ("B", 20_900, "two")):
        async with books.database.transaction() as tx:
            told.append(await store.put(tx, [SchemeEntry(1, "IM2760000014", holder, 20_000, last)], who))
    assert told == [{(1, "IM2760000014"): True}, {}, {(1, "IM2760000014"): False}]
    async with books.database.connection() as reader:
        rows = await reader.raw.fetch("select holder, last_day, put_by from scheme_number_version order by changed")
    assert [tuple(row) for row in rows] == [("A", None, "one"), ("B", 20_900, "two")]


async def test_what_payers_wrote_that_names_nothing_is_forgotten_after_its_days(books: Books) -> None:
    await books.take(State(mrn(1, 3)))
    references = {"b1": "for Ann Smith, Mill Lane 5", "b2": UNKNOWN, "b3": "declarant:XX1", "b4": mrn(1, 3)}
    await books.pay(*(Payment(ident, text, "EU", "EUR", 5) for ident, text in references.items()))

    async def kept() -> dict[str, str]:
        async with books.database.connection() as reader:
            return {row["id"]: row["reference"] for row in await reader.raw.fetch("select * from ledger_payment")}

    await forget_references(books.database)
    assert await kept() == references
    async with books.database.transaction() as tx:
        await tx.raw.execute("update ledger_payment set booked_at = 1")
    await forget_references(books.database)
    assert await kept() == references | {"b1": ""}
    (again,) = await books.pay(Payment("b1", references["b1"], "EU", "EUR", 5))
    assert again.reason == "PAYMENT_REUSED"
