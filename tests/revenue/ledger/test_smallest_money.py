"""Money of one minor unit, and other amounts at the bound of what the ledger does with them."""

from __future__ import annotations

from dataclasses import replace

from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.commands.payments.record_payout import Payouts
from services.revenue.jobs.credit import CreditJob
from services.revenue.store.payments.payments import Payment
from services.revenue.store.payments.payouts import Payout
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.states import TAX, Charge, State, mrn

DECLARANT = "declarant:DE1234567890"
OWN = State(mrn(1), debt=common_pb2.DEBT_STATUS_OPEN, debt_account="", charges=(Charge(2),))
FIRST = replace(OWN, mrn=mrn(3), charges=(Charge(1),))
"""With it the declarant's account is known."""
SHARED = replace(OWN, mrn=mrn(2), charges=(Charge(2), Charge(2, TAX, "EU.vat", account="border:DE")))


def paid(number: int, amount: int, reference: str, back: str = "") -> Payment:
    return Payment(f"b{number}", reference, "EU", "EUR", amount, back)


async def test_credit_of_one_minor_unit_pays_what_its_account_owes_alone_and_nothing_else(books: Books) -> None:
    await books.take(FIRST)
    await books.pay(paid(1, 2, DECLARANT))
    await books.take(SHARED)
    await CreditJob(books.ledger, interval_seconds=1).step()
    assert (await books.positions([SHARED.mrn]))[0][2:4] == (0, 4)
    await books.take(OWN)
    assert (await books.positions([OWN.mrn]))[0][2:4] == (1, 1)


async def test_credit_of_one_minor_unit_that_is_taken_back_is_open_again(books: Books) -> None:
    await books.take(FIRST)
    await books.pay(paid(1, 1, DECLARANT))
    assert (await books.positions([FIRST.mrn]))[0][2:4] == (1, 0)
    await books.pay(paid(2, 1, DECLARANT, "b1"))
    await CreditJob(books.ledger, interval_seconds=1).step()
    assert (await books.positions([FIRST.mrn]))[0][2:4] == (0, 1)
    assert await books.standing() == {DECLARANT: 1, "treasury:EU:duty": -1}


async def test_a_payment_follows_no_event_and_has_no_version(books: Books) -> None:
    await books.take(replace(OWN, version=5))
    await books.pay(paid(1, 1, OWN.mrn))
    entries = await books.chain.of_mrn(OWN.mrn, rows_max=10)
    assert [(each.kind, each.version) for each in entries] == [(pb.ENTRY_KIND_ASSESSED, 5), (pb.ENTRY_KIND_PAID, 0)]


async def test_fifty_payments_are_booked_in_one_transaction(books: Books) -> None:
    await books.pay(*(paid(number, 1, "nobody") for number in range(51)))
    async with books.database.connection() as reader:
        rows = await reader.raw.fetch("select count(*) from ledger_payment group by booked_at order by booked_at")
    assert [each["count"] for each in rows] == [50, 1]


async def test_nothing_stands_to_the_credit_of_an_account_that_is_not_known(books: Books) -> None:
    await books.pay(paid(1, 1, "nobody"))
    (found,) = await Payouts(books.ledger).record([Payout("o", "vendor:V", "EU", "EUR", 1)], "anna")
    assert (found.outcome, found.reason, found.account, found.credit) == (
        pb.PAYOUT_OUTCOME_REFUSED, "PAYOUT_EXCEEDS_CREDIT", "vendor:V", 0,
    )  # fmt: skip


async def test_the_last_minor_unit_of_a_credit_is_paid_out_and_not_one_beyond(books: Books) -> None:
    await books.take(FIRST)
    await books.pay(paid(1, 3, DECLARANT), paid(2, 9, "nobody"))
    asked = [Payout(f"o{number}", DECLARANT, "EU", "EUR", amount) for number, amount in enumerate((3, 2, 1))]
    found = await Payouts(books.ledger).record(asked, "anna")
    assert [(each.reason, each.credit) for each in found] == [
        ("PAYOUT_EXCEEDS_CREDIT", 2), ("", 0), ("PAYOUT_EXCEEDS_CREDIT", 0),
    ]  # fmt: skip
