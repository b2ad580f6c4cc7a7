"""Rows of payments and payouts: which of them a page, a repeat and a reversal read, condition by condition."""

from __future__ import annotations

from typing import Any

from services.revenue.store.payments import payments as stored_payments
from services.revenue.store.payments import payouts as stored_payouts
from services.revenue.store.payments.payments import Payment
from services.revenue.store.payments.payouts import Payout
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.payment_rows import MATCHED, put


def names(found: list[Any]) -> list[str]:
    return [f"{each.payout.jurisdiction}/{each.payout.id}" for each in found]


async def test_payments_are_shown_by_jurisdiction_and_id_and_those_that_nothing_was_found_for_by_themselves(
    books: Books,
) -> None:
    for jurisdiction, ident, more in (
        ("EU", "a", {}), ("EU", "b", {"outcome": MATCHED}), ("EU", "c", {"reversed_by": "z"}), ("GB", "a", {}), ("GB", "b", {"returned_by": "z"}),
    ):  # fmt: skip
        await put(books.database, "ledger_payment", jurisdiction, ident, **more)

    async def shown(after: tuple[str, str], most: int = 9, *, unmatched: bool = False) -> list[str]:
        found = await stored_payments.page(books.database, after=after, unmatched_only=unmatched, rows_max=most)
        return [f"{each.payment.jurisdiction}/{each.payment.id}" for each in found]

    everything = ["EU/a", "EU/b", "EU/c", "GB/a", "GB/b"]
    assert await shown(("", "")) == everything
    assert await shown(("", ""), 2) == everything[:2]
    assert await shown(("EU", "a")) == everything[1:]
    assert await shown(("EU", "z")) == everything[3:]
    assert await shown(("GB", "b")) == []
    assert await shown(("", ""), unmatched=True) == ["EU/a", "GB/a"]
    assert await shown(("EU", "a"), unmatched=True) == ["GB/a"]


async def test_payouts_are_shown_by_time_jurisdiction_and_id_up_to_a_moment(books: Books) -> None:
    for jurisdiction, ident, booked_at in (("EU", "b", 7), ("EU", "a", 8), ("GB", "a", 7), ("EU", "c", 9)):
        await put(books.database, "ledger_payout", jurisdiction, ident, booked_at=booked_at)
    order = ["EU/b", "GB/a", "EU/a", "EU/c"]
    assert names(await stored_payouts.page(books.database, rows_max=9)) == order
    assert names(await stored_payouts.page(books.database, rows_max=3)) == order[:3]
    for after, left in (
        ((7, "EU", "a"), order),
        ((7, "EU", "b"), order[1:]),
        ((7, "GB", "a"), order[2:]),
        ((8, "EU", "a"), order[3:]),
        ((9, "EU", "c"), []),
    ):
        assert names(await stored_payouts.page(books.database, after=after, rows_max=9)) == left, after
    for before, count in ((7, 0), (8, 2), (9, 3), (10, 4)):
        assert names(await stored_payouts.page(books.database, before=before, rows_max=9)) == order[:count], before


async def test_what_is_known_of_payments_are_they_and_those_that_they_take_back_in_their_jurisdiction(
    books: Books,
) -> None:
    for jurisdiction in ("EU", "GB"):
        for ident in ("a", "b", "c"):
            await put(books.database, "ledger_payment", jurisdiction, ident)
    asked = [
        Payment("a", "x", "EU", "EUR", 5),
        Payment("n", "x", "EU", "EUR", 5, reverses_id="b"),
        Payment("c", "x", "GB", "EUR", 5),
    ]
    async with books.database.connection() as reader:
        assert set(await stored_payments.read(reader, asked)) == {("EU", "a"), ("EU", "b"), ("GB", "c")}


async def test_what_is_known_of_a_payout_are_what_it_takes_back_and_the_payments_that_either_sends_back(
    books: Books,
) -> None:
    database = books.database
    for jurisdiction in ("EU", "GB"):
        await put(database, "ledger_payout", jurisdiction, "first", returns_payment_id="p2")
        await put(database, "ledger_payout", jurisdiction, "other")
        for ident in ("p1", "p2", "p3"):
            await put(database, "ledger_payment", jurisdiction, ident)

    async def known(payout: Payout) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        async with database.connection() as reader:
            found = await stored_payouts.related(reader, payout)
        return set(found.payouts), set(found.payments)

    assert await known(Payout("n", "x", "EU", "EUR", 5)) == (set(), set())
    assert await known(Payout("other", "x", "EU", "EUR", 5)) == ({("EU", "other")}, set())
    assert await known(Payout("n", "x", "GB", "EUR", 5, reverses_id="first")) == ({("GB", "first")}, {("GB", "p2")})
    assert await known(Payout("n", "x", "EU", "EUR", 5, returns_payment_id="p1")) == (set(), {("EU", "p1")})
