"""Reconciliation finds money that was lost: what was not posted, what rests on another answer, and postings that do not add up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.common.v1 import common_pb2
from luxor.common.v1.common_pb2 import COLLECTOR_VENDOR
from luxor.revenue.v1.revenue_pb2 import (
    PURPOSE_ADJUSTMENT,
)
from services.revenue.commands.payments.record_payout import Payouts
from services.revenue.commands.reconcile import Reconciliation
from services.revenue.store.payments.payments import Payment
from services.revenue.store.payments.payouts import Payout
from services.revenue.store.positions import days
from tests.revenue.ledger.assessment_answers import FILED, altered, answer, assess
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.states import DAY, TAX, Charge, State, mrn

ONE, TWO = mrn(1, 3), mrn(2, 7)
ADJUSTED = (Charge(500), Charge(2_000, TAX, "EU.vat_low_value"))


async def assess_again(books: Books, mrn_: str, generation: int, duty: int, tax: int) -> None:
    async with books.database.transaction() as tx:
        await tx.raw.execute(
            "insert into reassessed (mrn, version, generation, day, reason, sums, payload) "
            "values ($1, 1, $2, 1, 'BUNDLED', '', $3)",
            mrn_, generation, answer(duty, tax),
        )  # fmt: skip


async def yesterday(books: Books, mrn_: str, version: int) -> None:
    """Date an answer back, as if its day were over."""
    async with books.database.transaction() as tx:
        await tx.raw.execute(
            "update assessment_page set day = 1 where mrn = array[$1] and version = array[$2::integer]", mrn_, version
        )


async def reconciled(books: Books) -> list[tuple[str, str]]:
    """What differs of what the ledger holds of the day; a page is one consignment."""
    reconciling, found, after = Reconciliation(books.database, books.ledger.names), [], ""
    while not after.startswith("batch "):
        page = await reconciling.page(DAY, after, 1)
        found += [(each.mrn, each.reason) for each in page.differences]
        assert all(each.sentence.endswith(".") for each in page.differences)
        after = page.after
        if not after:
            break
    return found


async def test_what_is_posted_as_it_was_assessed_agrees(books: Books) -> None:
    await assess(books, ONE, 300, 1_900)
    await books.take(State(ONE, charges=FILED))
    await books.take(State(ONE, 2, charges=FILED, state=clearance.STATE_RELEASED))
    assert await reconciled(books) == []


async def test_what_was_paid_out_of_a_consignment_changes_nothing_that_is_compared(books: Books) -> None:
    charges = tuple(replace(each, account="border:DE") for each in FILED)
    told = State(ONE, charges=charges, debt=common_pb2.DEBT_STATUS_OPEN, debt_account="")
    await assess(books, ONE, 300, 1_900)
    await books.take(told)
    await books.pay(Payment("b1", ONE, "EU", "EUR", 2_300))
    payouts = Payouts(books.ledger)
    paid = await payouts.record([Payout("o1", ONE, "EU", "EUR", 100)], "officer-1")
    await books.take(replace(told, version=2, returned=(1,)))
    paid += await payouts.record([Payout("o2", ONE, "EU", "EUR", 2_200)], "officer-1")
    paid += await payouts.record([Payout("o3", "", "EU", "EUR", 100, reverses_id="o1")], "officer-1")
    assert [each.reason for each in paid] == ["", "", ""]
    assert await reconciled(books) == []


@pytest.mark.parametrize(
    "change",
    [
        "update ledger_position set paid_out = 0, payee = 0",
        "update ledger_position set paid = paid - 1",
        "update ledger_entry set kind = 3 where kind = 7",
        "delete from ledger_posting where (partition, number) in (select partition, number from ledger_entry where kind = 7)",
    ],
)
async def test_what_is_held_as_paid_and_paid_out_is_compared_with_what_was_booked(books: Books, change: str) -> None:
    told = State(ONE, charges=FILED, debt=common_pb2.DEBT_STATUS_OPEN, debt_account="")
    buyers = replace(told, charges=tuple(replace(each, account="border:DE") for each in FILED))
    await assess(books, ONE, 300, 1_900)
    # Half is paid by credit; then the buyers owe it, who pay too much.
    await books.take(told)
    await books.pay(Payment("b1", "declarant:DE1234567890", "EU", "EUR", 1_100))
    await books.take(replace(buyers, version=2))
    await books.pay(Payment("b2", ONE, "EU", "EUR", 1_200), Payment("b3", ONE, "EU", "EUR", 7))
    await books.pay(Payment("b4", "", "EU", "EUR", 7, "b3"))
    (out,) = await Payouts(books.ledger).record([Payout("o1", ONE, "EU", "EUR", 100)], "officer-1")
    assert not out.reason
    assert await reconciled(books) == []
    await altered(books, change)
    assert (ONE, "UNBALANCED") in await reconciled(books)


async def test_a_state_that_owes_nothing_agrees_only_where_it_was_withdrawn(books: Books) -> None:
    for each in (ONE, TWO):
        await assess(books, each, 300, 1_900)
    await books.take(State(ONE, charges=()), State(TWO, charges=FILED))
    await books.take(State(TWO, 2, charges=FILED, state=clearance.STATE_INVALIDATED))
    assert await reconciled(books) == [(ONE, "AMOUNT_DIFFERS")]


async def test_the_answer_in_force_is_required_and_no_other_will_do(books: Books) -> None:
    """An adjustment is in force: what the filing was assessed at does not agree any more."""
    for each in (ONE, TWO):
        await assess(books, each, 300, 1_900)
        await assess(books, each, 500, 2_000, version=2, purpose=PURPOSE_ADJUSTMENT)
    await books.take(State(ONE), State(TWO))
    made: dict[str, Any] = {"change": clearance.CHANGE_ADJUSTED, "adjusted_at": 77}
    await books.take(State(ONE, 2, charges=FILED, **made), State(TWO, 2, charges=ADJUSTED, **made))
    assert await reconciled(books) == [(ONE, "AMOUNT_DIFFERS")]
    # It stays in force through what happens later, and an adjustment that never came into force does not count.
    await assess(books, TWO, 1, 1, version=3, purpose=PURPOSE_ADJUSTMENT)
    later: dict[str, Any] = {"change": clearance.CHANGE_ARRIVED, "adjusted_at": 77}
    await books.take(State(TWO, 3, charges=ADJUSTED, **later))
    assert await reconciled(books) == [(ONE, "AMOUNT_DIFFERS")]
    # A new version of the filing takes its place.
    await assess(books, TWO, 10, 20, version=2)
    new = (Charge(10), Charge(20, TAX, "EU.vat_low_value"))
    amended: dict[str, Any] = {"change": clearance.CHANGE_AMENDED, "adjusted_at": 77}
    await books.take(State(TWO, 4, charges=new, filing=2, **amended))
    assert await reconciled(books) == [(ONE, "AMOUNT_DIFFERS")]


async def test_an_adjustment_that_a_late_reader_is_told_of_is_found(books: Books) -> None:
    await assess(books, ONE, 300, 1_900)
    await assess(books, ONE, 500, 2_000, version=2, purpose=PURPOSE_ADJUSTMENT)
    await books.take(State(ONE, 5, charges=ADJUSTED, change=clearance.CHANGE_ARRIVED, adjusted_at=77))
    assert await reconciled(books) == []


async def test_an_adjustment_that_no_state_followed_is_a_difference_once_its_day_is_over(books: Books) -> None:
    await assess(books, ONE, 300, 1_900)
    await books.take(State(ONE, charges=FILED))
    await assess(books, ONE, 500, 2_000, version=2, purpose=PURPOSE_ADJUSTMENT)
    assert await reconciled(books) == []
    await yesterday(books, ONE, 2)
    await altered(books, "create table assessment_batch_1 partition of assessment_batch for values from (1) to (2)")
    await altered(books, "update assessment_batch set day = 1")
    await altered(books, "update assessment_page set day = 1")
    assert await reconciled(books) == [(ONE, "NOT_POSTED")]


async def test_after_a_change_of_a_sum_its_own_number_is_required(books: Books) -> None:
    await assess(books, ONE, 300, 1_900)
    await assess_again(books, ONE, 1, 500, 2_000)
    await books.take(State(ONE, charges=ADJUSTED, generation=1))
    assert await reconciled(books) == []
    await assess_again(books, ONE, 2, 600, 2_000)
    assert await reconciled(books) == [(ONE, "NOT_POSTED")]
    await books.take(State(ONE, 2, charges=ADJUSTED, generation=2))
    assert await reconciled(books) == [(ONE, "AMOUNT_DIFFERS")]


async def test_a_refund_is_compared_with_what_was_paid_secured_or_collected(books: Books) -> None:
    vendor = (Charge(1_900, TAX, "EU.vat_low_value", account="vendor:IM1", collector=COLLECTOR_VENDOR),)
    await assess(books, ONE, 300, 1_900)
    await assess(books, TWO, 0, 1_900)
    await books.take(
        State(ONE, charges=FILED, debt=common_pb2.DEBT_STATUS_OPEN, debt_account=""), State(TWO, charges=vendor)
    )
    await books.pay(Payment("b1", ONE, "EU", "EUR", 1_000))
    await altered(books, "update ledger_position set refunded = case mrn when $1 then 1000 else 1900 end", ONE)
    assert await reconciled(books) == []
    await altered(books, "update ledger_position set refunded = refunded + 1")
    assert await reconciled(books) == [(ONE, "REFUND_OVER_PAID"), (TWO, "REFUND_OVER_PAID")]


@pytest.mark.parametrize(
    ("change", "differences"),
    [
        ("update ledger_posting set amount = amount * 2 where partition = 3 and kind = 1", 2),
        ("delete from ledger_posting where partition = 3 and kind = 2", 2),
        ("update ledger_position set entries = entries[2:], days = days[2:]", 4),
    ],
)
async def test_postings_that_do_not_come_to_what_is_held_are_named(books: Books, change: str, differences: int) -> None:
    await assess(books, ONE, 300, 1_900)
    await books.take(State(ONE, charges=FILED, debt=common_pb2.DEBT_STATUS_OPEN, debt_account=""))
    await books.pay(Payment("b1", ONE, "EU", "EUR", 2_200))
    assert await reconciled(books) == []
    await altered(books, change)
    assert await reconciled(books) == [(ONE, "UNBALANCED")] * differences


async def test_a_changed_currency_jurisdiction_refund_and_payment_leave_nothing_unbalanced(books: Books) -> None:
    await assess(books, ONE, 300, 1_900)
    await books.take(State(ONE, charges=FILED, debt=common_pb2.DEBT_STATUS_OPEN, debt_account=""))
    await books.take(State(ONE, 2, charges=FILED, destination="NO", currency="NOK", rulebook="NO/2026.1/1f0c9a2b"))
    await books.take(State(ONE, 3, charges=FILED, debt=common_pb2.DEBT_STATUS_OPEN, debt_account=""))
    await books.pay(Payment("b1", ONE, "EU", "EUR", 2_500))
    await books.take(State(ONE, 4, charges=FILED, returned=(1,), debt=common_pb2.DEBT_STATUS_PAID, debt_account=""))
    await books.pay(Payment("b2", "", "EU", "EUR", 2_500, "b1"))
    assert await reconciled(books) == []


@pytest.mark.parametrize("owner", ["declarant:DE1234567890", "border:DE"])
async def test_money_of_a_currency_that_a_debt_had_for_a_while_leaves_nothing_unbalanced(
    books: Books, owner: str
) -> None:
    """In between it owed nothing in another currency, so that no entry tells of that one."""
    charges = tuple(replace(each, account=owner) for each in FILED)
    told = State(ONE, charges=charges, debt=common_pb2.DEBT_STATUS_OPEN, debt_account="")
    await assess(books, ONE, 300, 1_900)
    await books.take(told)
    await books.pay(Payment("b1", ONE, "EU", "EUR", 2_300))
    if owner == "border:DE":
        (out,) = await Payouts(books.ledger).record([Payout("o1", ONE, "EU", "EUR", 60)], "officer-1")
        assert not out.reason
    await books.take(replace(told, version=2, currency="NOK", charges=()))
    await books.take(replace(told, version=3))
    await books.pay(Payment("b2", ONE, "EU", "EUR", 10))
    assert await reconciled(books) == []
    assert await books.unbalanced() == []


async def test_what_is_open_stands_under_the_day_that_was_held_first(books: Books) -> None:
    owed: dict[str, Any] = {"charges": FILED, "debt": common_pb2.DEBT_STATUS_OPEN, "debt_account": ""}
    await books.take(State(ONE, **owed))
    await books.take(State(ONE, 2, day=DAY + 1, **owed))
    await books.pay(Payment("b1", ONE, "EU", "EUR", 2_200))
    async with books.database.connection() as reader:
        assert await reader.raw.fetch("select * from ledger_open") == []
        assert await reader.raw.fetchval("select day from ledger_position") == DAY


async def test_totals_of_a_day_are_those_of_its_parts(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    states = [
        State(mrn(number, number), charges=FILED if number % 2 else (*FILED, Charge(7, TAX, "EU.x")), destination=to)
        for number, to in enumerate(("DE", "FR", "DE", "DE", "FR"))
    ]
    await books.take(*states, State(mrn(9, 9, DAY + 1), day=DAY + 1))
    whole, count = await days.totals(books.database, DAY)
    assert count == 5
    sums: dict[tuple[str, int], list[int]] = {}
    for state in states:
        for kind in {each.kind for each in state.charges}:
            total = sums.setdefault((state.destination, kind), [0, 0])
            total[0] += sum(each.amount or 0 for each in state.charges if each.kind == kind)
            total[1] += 1
    assert {(each.destination, each.kind): [each.amount, each.consignments] for each in whole} == sums
    monkeypatch.setattr(days, "DAY_ROWS", 2)
    assert await days.totals(books.database, DAY) == (whole, 5)
    assert await days.totals(books.database, DAY - 1) == ([], 0)
