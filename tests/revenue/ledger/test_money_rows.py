"""Rows of payments and payouts are compared with what was booked for them: one that was altered, lost or made up is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from libs.customs.partitions import PARTITIONS
from libs.store.tables.schema import ensure_day_partitions, today
from services.revenue.ledger.account import partition_of_account
from services.revenue.store.ledger.entries import MICROS_A_DAY, PARTITIONED
from services.revenue.store.payments import payouts as stored_payouts
from services.revenue.store.proofs.day_balances import DIFFERENCES_MAX
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.payout_records import BUYER, DECLARANT, OWN, out, payment, payout
from tests.revenue.ledger.states import mrn


async def checked(books: Books) -> set[str]:
    """What is wrong with all partitions' chains."""
    found = [await books.chain.check(partition, entries_max=1_000) for partition in range(PARTITIONS)]
    return {fault for each in found for fault in each.discrepancies}


async def all_that_money_does(books: Books) -> None:
    """Payments before and after their debts, taken back in parts, and payouts that are returned or send a payment back."""
    late = replace(BUYER, mrn=OWN.mrn)
    await books.pay(payment(1, 2_000, late.mrn), payment(2, 7, "nobody"), payment(3, 9, "nobody"))
    await books.take(late, BUYER)
    await books.pay(payment(4, 2_300, BUYER.mrn), payment(5, 500, DECLARANT), payment(6, 5, BUYER.mrn))
    await books.pay(payment(7, 5, BUYER.mrn, "bank-6"), payment(8, 500, DECLARANT, "bank-5"))
    asked = (
        payout(1, 60, BUYER.mrn),
        payout(2, 7, returns_payment_id="bank-2"),
        payout(3, 9, returns_payment_id="bank-3"),
    )
    results = await out(books, *asked, payout(4, 60, reverses_id="out-1"), payout(5, 9, reverses_id="out-3"))
    assert [each.reason for each in results] == [""] * 5
    # Half of what is taken back is credit by now.
    await books.take(replace(BUYER, version=2, currency="GBP"))
    await books.pay(payment(9, 2_300, BUYER.mrn, "bank-4"))


async def test_money_that_moves_in_any_way_has_rows_that_agree_with_its_entries(books: Books) -> None:
    await all_that_money_does(books)
    assert await checked(books) == set()
    assert len(await stored_payouts.page(books.database, rows_max=9)) == 5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("update ledger_payment set amount = 2301 where id = 'bank-4'", {"payment bank-4"}),
        ("update ledger_payment set currency = 'GBP' where id = 'bank-1'", {"payment bank-1"}),
        ("update ledger_payment set id = 'other' where id = 'bank-1'", {"payment bank-1", "payment other"}),
        ("update ledger_payment set jurisdiction = 'UK' where id = 'bank-1'", {"payment bank-1"}),
        ("delete from ledger_payment where id = 'bank-1'", {"payment bank-1"}),
        ("delete from ledger_payment where id = 'bank-9'", {"payment bank-4", "payment bank-9"}),
        ("update ledger_payment set reverses_id = '' where id = 'bank-9'", {"payment bank-4", "payment bank-9"}),
        ("update ledger_payment set reversed_by = '' where id = 'bank-5'", {"payment bank-8"}),
        ("update ledger_payment set returned_by = '' where id = 'bank-2'", {"payout out-2"}),
        ("update ledger_payment set returned_by = 'out-3' where id = 'bank-3'", {"payment bank-3"}),
        ("update ledger_payment set booked_at = booked_at + 86400000000 where id = 'bank-1'", {"payment bank-1"}),
        ("update ledger_payment set booked_at = booked_at - 172800000000 where id = 'bank-1'", {"payment bank-1"}),
        ("update ledger_payout set amount = 61 where id = 'out-1'", {"payout out-1"}),
        ("update ledger_payout set reversed_by = '' where id = 'out-1'", {"payout out-4"}),
        ("delete from ledger_payout where id = 'out-2'", {"payment bank-2", "payout out-2"}),
        (
            "insert into ledger_payout select jurisdiction, 'made-up', reference, currency, amount, paid_at, '', '', account, "
            "outcome, credit, booked_at, booked_by, request, '' from ledger_payout where id = 'out-1'",
            {"payout made-up"},
        ),
    ],
)
async def test_a_row_that_was_altered_lost_or_made_up_is_named(books: Books, change: str, told: set[str]) -> None:
    await all_that_money_does(books)
    async with books.database.transaction() as tx:
        await tx.raw.execute(change)
    assert {fault.partition(" of ")[0] for fault in await checked(books)} == told


@pytest.mark.parametrize(
    "change",
    [
        "update ledger_credit set minor = minor + 1",
        "delete from ledger_credit",
        "insert into ledger_credit select account, 'NOK', 5 from ledger_holding where name like 'declarant:%'",
        "update ledger_open set minor = minor - 1",
        "delete from ledger_open",
        "insert into ledger_open select account, 'SEK', day, mrn, minor, alone from ledger_open",
    ],
)
async def test_what_is_open_and_stands_to_credit_is_what_a_declarants_account_stands_at(
    books: Books, change: str
) -> None:
    await all_that_money_does(books)
    other = [replace(OWN, mrn=mrn(40 + place, place), declarant="D1") for place in range(2)]
    await books.take(*other)
    await books.pay(payment(30, 2_500, "declarant:D1"), payment(31, 50, DECLARANT))
    await books.take(*(replace(each, version=2, currency="SEK", charges=()) for each in other[:1]))
    await books.pay(payment(32, 5, other[1].mrn))
    assert await checked(books) == set()
    async with books.database.transaction() as tx:
        await tx.raw.execute(change)
    faults = await checked(books)
    assert faults
    assert all(fault.startswith("declarant:") for fault in faults)


async def test_a_payment_whose_partitions_stand_on_two_days_is_booked_at_one_time(books: Books) -> None:
    """A clock that was set back, or midnight, has left one of the heads on the next day."""
    await books.take(BUYER, OWN)
    async with books.database.transaction() as tx:
        now = await today(tx)
        for table in PARTITIONED:
            await ensure_day_partitions(tx, table, [now, now + 1])
        home = partition_of_account("unmatched:EU")
        later = (now + 1) * MICROS_A_DAY
        await tx.raw.execute("update ledger_head set booked_at = $1 where partition = $2", later, home)
    await books.pay(payment(1, 2_300, BUYER.mrn), payment(2, 5, "nobody"))
    async with books.database.connection() as reader:
        times = await reader.raw.fetch("select distinct booked_at from all_entries where reference like 'bank-%'")
        assert [row["booked_at"] for row in times] == [later]
    # Sums of days to come are told apart; here it is money alone.
    assert [each for each in await checked(books) if "payment" in each] == []


async def test_no_more_differences_of_a_day_are_told_than_can_be_read(books: Books) -> None:
    await books.pay(*(payment(number, 5, "nobody") for number in range(DIFFERENCES_MAX + 5)))
    async with books.database.transaction() as tx:
        await tx.raw.execute("update ledger_payment set amount = 6")
    assert len(await checked(books)) == DIFFERENCES_MAX
