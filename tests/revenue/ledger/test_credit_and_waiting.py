"""Money finds its debt: credit that pays later debts, payments that come first, and requests that are cut off in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest

from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from luxor.revenue.v1.revenue_columns_pb2 import DEBT_EVENT_OPENED, DEBT_EVENT_SETTLED
from services.revenue.commands import apply_credit
from services.revenue.commands.apply_credit import ITEMS_MAX
from services.revenue.commands.payments import record_payment as payments_of
from services.revenue.store.payments import payments as stored_payments
from services.revenue.store.payments.payments import Payment
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.invariants import rows, settle, sound
from tests.revenue.ledger.states import TAX, Charge, State, batch, mrn

DECLARANT = "declarant:DE1234567890"
FIRST = State(mrn(1), debt=common_pb2.DEBT_STATUS_OPEN, debt_account="")
"""2,200 to be paid at once."""
OTHER = replace(FIRST, mrn=mrn(2, 7))
MATCHED, UNDERPAID, OVERPAID = pb.PAYMENT_OUTCOME_MATCHED, pb.PAYMENT_OUTCOME_UNDERPAID, pb.PAYMENT_OUTCOME_OVERPAID
UNMATCHED, KNOWN = pb.PAYMENT_OUTCOME_UNMATCHED, pb.PAYMENT_OUTCOME_ALREADY_BOOKED


def payment(number: int, amount: int, reference: str = FIRST.mrn, currency: str = "EUR", back: str = "") -> Payment:
    return Payment(f"bank-{number}", reference, "EU", currency, amount, back)


async def test_credit_pays_more_consignments_than_one_transaction_takes(books: Books) -> None:
    many = [replace(FIRST, mrn=mrn(1 + place, place % 64)) for place in range(2 * ITEMS_MAX + 5)]
    # Debts that somebody else owes a part of stand in front and hold nobody up.
    part = (Charge(300, account="border:DE"), Charge(25, TAX, account=DECLARANT))
    shared = [
        replace(FIRST, mrn=mrn(500 + place, 3), charges=part, day=FIRST.day - 1) for place in range(ITEMS_MAX + 1)
    ]
    await books.take(*shared, *many)
    (paid,) = await books.pay(payment(1, 2_200 * len(many), DECLARANT))
    assert (paid.outcome, paid.matched, paid.over) == (UNDERPAID, 2_200 * len(many), 0)
    assert paid.still_owed == 25 * len(shared)
    assert [each["event"] for each in await books.news()] == [DEBT_EVENT_SETTLED] * len(many)
    assert {row[0] for row in await rows(books, "select mrn from ledger_open")} == {each.mrn for each in shared}
    await sound(books)


async def test_the_background_goes_on_where_a_request_stopped(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payments_of, "CHUNKS_MAX", 0)
    await books.take(FIRST, OTHER)
    (paid,) = await books.pay(payment(1, 4_500, DECLARANT))
    assert (paid.outcome, paid.matched, paid.over) == (OVERPAID, 4_400, 100)
    assert await books.news() == []
    assert await settle(books) == 2
    assert [each["mrn"] for each in await books.news()] == [FIRST.mrn, OTHER.mrn]
    assert await settle(books) == 0
    await sound(books)


async def test_credit_pays_a_debt_that_arises_later(books: Books) -> None:
    await books.take(FIRST)
    await books.pay(payment(1, 3_000))
    await books.take(OTHER)
    (held,) = await books.positions([OTHER.mrn])
    assert held[2:4] == (800, 1_400)
    await books.pay(payment(2, 1_400, DECLARANT))
    await books.take(OTHER)
    assert [(each["mrn"], each["event"]) for each in await books.news()] == [
        (FIRST.mrn, DEBT_EVENT_SETTLED), (OTHER.mrn, DEBT_EVENT_SETTLED),
    ]  # fmt: skip
    await sound(books)


async def test_what_was_paid_is_taken_back_also_where_its_refund_paid_another_debt(books: Books) -> None:
    await books.take(FIRST)
    await books.pay(payment(1, 2_200))
    await books.take(replace(FIRST, version=2, returned=(1,)), OTHER)
    assert (await books.positions([OTHER.mrn]))[0][2:4] == (2_200, 0)
    (back,) = await books.pay(payment(2, 2_200, back="bank-1"))
    assert back.outcome == pb.PAYMENT_OUTCOME_REVERSED
    await settle(books)
    assert (await books.positions([OTHER.mrn]))[0][2:4] == (0, 2_200)
    told = [each["event"] for each in await books.news() if each["mrn"] == OTHER.mrn]
    assert told == [DEBT_EVENT_SETTLED, DEBT_EVENT_OPENED]
    assert (await books.standing())[DECLARANT] == 2_200
    await sound(books)


async def test_a_payment_of_an_account_that_is_taken_back_opens_what_it_paid(books: Books) -> None:
    await books.take(FIRST, OTHER)
    await books.pay(payment(1, 4_400, DECLARANT))
    (back,) = await books.pay(payment(2, 4_400, back="bank-1"))
    assert back.still_owed == 4_400
    assert [row[3] for row in await books.positions([FIRST.mrn, OTHER.mrn])] == [2_200, 2_200]
    await sound(books)


async def test_a_payment_that_comes_before_the_debt_pays_it_once(books: Books) -> None:
    early, wrong = await books.pay(payment(1, 2_000), payment(2, 200, currency="GBP"))
    assert (early.outcome, wrong.outcome) == (UNMATCHED, UNMATCHED)
    await books.take(FIRST)
    assert await books.news() == []
    await books.take(FIRST)
    (known, rest) = await books.pay(payment(1, 2_000), payment(3, 200))
    assert (known.outcome, known.account, known.matched, known.still_owed) == (KNOWN, DECLARANT, 2_000, 200)
    assert rest.outcome == MATCHED
    await books.take(replace(FIRST, version=2))
    assert [each["event"] for each in await books.news()] == [DEBT_EVENT_SETTLED]
    # Of another currency than the debt, it goes on waiting and is found.
    found = await stored_payments.page(books.database, after=("", ""), unmatched_only=True, rows_max=10)
    assert [each.payment.id for each in found] == ["bank-2"]
    assert "unmatched:EU" not in await books.standing()
    (back,) = await books.pay(payment(4, 2_000, back="bank-1"))
    assert (back.outcome, back.still_owed) == (pb.PAYMENT_OUTCOME_REVERSED, 2_000)
    await sound(books)


async def test_a_waiting_payment_that_is_taken_back_pays_nothing_later(books: Books) -> None:
    await books.pay(payment(1, 2_200))
    await books.pay(payment(2, 2_200, back="bank-1"))
    paid, back = await books.pay(payment(3, 2_200), payment(4, 2_200, back="bank-3"))
    assert (paid.outcome, back.outcome) == (UNMATCHED, pb.PAYMENT_OUTCOME_REVERSED)
    await books.take(FIRST)
    assert (await books.standing())[DECLARANT] == 2_200
    assert await stored_payments.page(books.database, after=("", ""), unmatched_only=True, rows_max=10) == []
    await sound(books)


async def test_what_was_paid_keeps_its_currency_where_the_debt_gets_another(books: Books) -> None:
    await books.take(FIRST)
    await books.pay(payment(1, 2_200))
    await books.take(replace(FIRST, version=2, currency="GBP"))
    assert [each["event"] for each in await books.news()] == [DEBT_EVENT_SETTLED, DEBT_EVENT_OPENED]
    assert (await books.positions([FIRST.mrn]))[0][2:4] == (0, 2_200)
    assert await books.standing() == {"bank:EU": 2_200, DECLARANT: -2_200}
    await sound(books)
    (back,) = await books.pay(payment(2, 2_200, back="bank-1"))
    assert (back.outcome, back.still_owed) == (pb.PAYMENT_OUTCOME_REVERSED, 2_200)
    assert await books.standing() == {}
    await sound(books)


async def test_the_common_account_of_buyers_is_no_reference(books: Books) -> None:
    await books.take(replace(FIRST, charges=(Charge(300, account="border:DE"),)))
    (shared,) = await books.pay(payment(1, 300, "border:DE"))
    assert (shared.outcome, shared.reason) == (pb.PAYMENT_OUTCOME_REFUSED, "PAYMENT_REFERENCE_SHARED")


async def test_a_payment_that_the_ledger_cannot_hold_is_refused_alone(books: Books) -> None:
    largest = 10**16
    first, *many = await books.pay(
        payment(1_000, 5, "thanks"), *(payment(number, largest, "please") for number in range(930))
    )
    assert (first.outcome, many[0].outcome) == (UNMATCHED, UNMATCHED)
    # 922 of the largest fit into 64 bits.
    assert [each.reason for each in many[920:]] == [""] * 2 + ["BALANCE_OUT_OF_BOUNDS"] * 8
    (small,) = await books.pay(payment(1_001, 5, "please"))
    assert small.outcome == UNMATCHED


async def test_a_request_that_was_cut_off_books_nothing_twice_and_answers_the_same(books: Books) -> None:
    await books.take(FIRST)
    wanted = [payment(1, 2_200), payment(1, 2_200), *(payment(number, 5, "thanks") for number in range(2, 70))]
    # Cut off behind its first transaction.
    await books.payments.record(wanted[:50], "officer-1", "request-1")
    again = await books.payments.record(wanted, "officer-1", "request-1")
    assert [each.outcome for each in again] == [MATCHED, KNOWN] + [UNMATCHED] * 68
    other = await books.payments.record(wanted, "officer-1", "request-2")
    assert {each.outcome for each in other} == {KNOWN}
    assert (await books.standing())["bank:EU"] == 2_200 + 68 * 5


async def test_payments_need_no_second_connection_while_they_book(books: Books) -> None:
    await books.take(FIRST)
    # As many requests at once as there are connections, each with a jurisdiction that has no names yet.
    size = books.database.connections[2] if len(books.database.connections) > 2 else 4
    told = [Payment(f"b{number}", "thanks", f"X{number}", "EUR", 5) for number in range(2 * size)]
    async with asyncio.timeout(60):
        results = await asyncio.gather(*(books.pay(each) for each in told))
    assert {each.outcome for (each,) in results} == {UNMATCHED}


async def test_two_replicas_whose_pages_use_each_others_credit_wait_for_nobody_in_a_circle(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page leaves credit to the declarant whose credit the other one would use."""
    one, two = (replace(FIRST, mrn=mrn(1 + place, place), declarant=f"D{place}") for place in range(2))
    await books.take(one, two)
    await books.pay(payment(1, 2_200, one.mrn), payment(2, 2_200, two.mrn))
    await books.pay(payment(3, 500, "declarant:D0"), payment(4, 500, "declarant:D1"))
    met = asyncio.Barrier(2)
    matching = apply_credit.match_waiting

    async def both_have_booked(*what: Any) -> None:
        await matching(*what)
        await met.wait()

    monkeypatch.setattr(apply_credit, "match_waiting", both_have_booked)
    gone = [replace(each, version=2, returned=(1,)) for each in (one, two)]
    new = [replace(each, mrn=mrn(8 + place, place)) for place, each in enumerate((two, one))]
    async with asyncio.timeout(30):
        await asyncio.gather(books.take(gone[0], new[0]), books.take(gone[1], new[1]))
    monkeypatch.undo()
    await settle(books)
    assert [row[2:4] for row in await books.positions([each.mrn for each in new])] == [(2_200, 0)] * 2
    await sound(books)


async def test_a_page_of_many_declarants_with_credit_asks_as_often_as_one_of_a_few(books: Books) -> None:
    every = [replace(FIRST, mrn=mrn(20 + place, 3), declarant=f"D{place}") for place in range(21)]
    later = [replace(each, mrn=mrn(60 + place, 3)) for place, each in enumerate(every)]
    await books.take(*every)
    await books.pay(*(payment(place, 5_000, f"declarant:D{place}") for place in range(21)))
    counts = []
    for page in (later[:8], later[8:]):
        asked: list[str] = []
        prepared = await books.intake.prepare([batch(page)])
        async with books.database.transaction() as tx:
            with tx.raw.query_logger(lambda record, asked=asked: asked.append(record.query)):
                await books.intake.apply(tx, prepared)
        counts.append(len(asked))
    assert counts[0] == counts[1] > 0
    assert {row[2:4] for row in await books.positions([each.mrn for each in later])} == {(2_200, 0)}
    await sound(books)


async def test_payments_and_states_at_once_settle_everything_once(books: Books) -> None:
    states = [replace(FIRST, mrn=mrn(1 + place, place % 8)) for place in range(12)]
    takes = [books.take(*states[start : start + 4]) for start in range(0, 12, 4)]
    by_mrn = [books.pay(payment(place, 2_200, states[place].mrn)) for place in range(6)]
    by_account = [books.pay(payment(100 + place, 4_400, DECLARANT)) for place in range(3)]
    turns = asyncio.Semaphore(3)  # More would wait for one another's heads beyond the limit of a transaction.

    async def in_turn(work: Awaitable[object]) -> None:
        async with turns:
            await work

    mixed = (*takes[:1], *by_mrn[:3], *by_account[:1], *takes[1:], *by_mrn[3:], *by_account[1:])
    await asyncio.gather(*map(in_turn, mixed))
    # An account that nothing was owed by yet was not known: its money waits for an officer.
    lost = await stored_payments.page(books.database, after=("", ""), unmatched_only=True, rows_max=100)
    for each in lost:
        await books.pay(replace(each.payment, id=f"{each.payment.id}-back", reverses_id=each.payment.id))
        await books.pay(replace(each.payment, id=f"{each.payment.id}-anew"))
    await settle(books)
    told = await books.news()
    assert sorted(each["mrn"] for each in told) == sorted(each.mrn for each in states)
    assert {each["event"] for each in told} == {DEBT_EVENT_SETTLED}
    assert DECLARANT not in await books.standing()
    await sound(books)
