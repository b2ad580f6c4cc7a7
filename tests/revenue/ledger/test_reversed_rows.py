"""What a reversal and a match write, they write to one payment, one payout, and one row that waits: not to those of the same id elsewhere."""

from __future__ import annotations

from typing import Any

from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.commands.payments.record_payout import Payouts
from services.revenue.store.payments.payments import Payment
from services.revenue.store.payments.payouts import Payout
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.states import State, mrn

FIRST, SECOND = mrn(1), mrn(2, 7)


def payment(ident: str, reference: str, jurisdiction: str = "EU", reverses_id: str = "") -> Payment:
    return Payment(ident, reference, jurisdiction, "EUR", 500, reverses_id)


async def rows(books: Books, question: str) -> list[tuple[Any, ...]]:
    async with books.database.connection() as reader:
        return [tuple(row) for row in await reader.raw.fetch(question)]


async def waiting(books: Books) -> list[tuple[Any, ...]]:
    return await rows(books, "select mrn, jurisdiction, id from ledger_waiting order by mrn, jurisdiction, id")


async def marks(books: Books) -> list[tuple[Any, ...]]:
    """Payments that went back, by what."""
    return await rows(
        books,
        "select jurisdiction, id, reversed_by, returned_by from ledger_payment where reversed_by <> '' or returned_by <> '' order by 1, 2",
    )


async def test_a_payment_that_is_taken_back_and_one_that_is_sent_back_stop_waiting_and_no_others(books: Books) -> None:
    await books.pay(*(payment(ident, reference, at) for ident, reference, at in (
        ("a", FIRST, "EU"), ("b", FIRST, "EU"), ("c", SECOND, "EU"), ("a", FIRST, "GB"), ("b", FIRST, "GB"), ("c", SECOND, "GB"),
    )))  # fmt: skip
    left = {(FIRST, at, ident) for at in ("EU", "GB") for ident in "ab"} | {(SECOND, at, "c") for at in ("EU", "GB")}
    assert await waiting(books) == sorted(left)
    (back,) = await books.pay(payment("z", FIRST, reverses_id="a"))
    assert back.outcome == pb.PAYMENT_OUTCOME_REVERSED
    left -= {(FIRST, "EU", "a")}
    assert await waiting(books) == sorted(left)
    assert await marks(books) == [("EU", "a", "z", "")]
    (sent,) = await Payouts(books.ledger).record(
        [Payout("p", "", "GB", "EUR", 500, returns_payment_id="b")], "officer-1"
    )
    assert sent.reason == ""
    left -= {(FIRST, "GB", "b")}
    assert await waiting(books) == sorted(left)
    assert await marks(books) == [("EU", "a", "z", ""), ("GB", "b", "", "p")]


async def test_a_payout_that_comes_back_is_marked_and_no_other_and_its_payment_waits_again(books: Books) -> None:
    await books.pay(*(payment(ident, FIRST, at) for at in ("EU", "GB") for ident in "ab"))
    outs = Payouts(books.ledger)
    for at in ("EU", "GB"):
        for ident in "ab":
            await outs.record([Payout(f"out-{ident}", "", at, "EUR", 500, returns_payment_id=ident)], "officer-1")
    assert await waiting(books) == []
    (back,) = await outs.record([Payout("back", "", "EU", "EUR", 500, reverses_id="out-a")], "officer-1")
    assert back.reason == ""
    assert await rows(books, "select jurisdiction, id from ledger_payout where reversed_by <> ''") == [("EU", "out-a")]
    assert await waiting(books) == [(FIRST, "EU", "a")]
    assert await marks(books) == [("EU", "b", "", "out-b"), ("GB", "a", "", "out-a"), ("GB", "b", "", "out-b")]


async def test_a_payment_that_waited_finds_its_debt_and_those_of_the_same_id_elsewhere_do_not(books: Books) -> None:
    await books.pay(payment("a", FIRST), payment("b", SECOND), payment("a", FIRST, "GB"))
    await books.take(State(FIRST, debt=common_pb2.DEBT_STATUS_OPEN, debt_account=""))
    found = await rows(books, "select jurisdiction, id, outcome, mrns, amounts from ledger_payment order by 1, 2")
    assert found[0] == ("EU", "a", pb.PAYMENT_OUTCOME_UNDERPAID, [FIRST], [500])
    assert [each[2] for each in found[1:]] == [pb.PAYMENT_OUTCOME_UNMATCHED] * 2
    assert (SECOND, "EU", "b") in await waiting(books)
    assert (FIRST, "EU", "a") not in await waiting(books)
