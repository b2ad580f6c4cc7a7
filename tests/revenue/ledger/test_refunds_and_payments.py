"""Refunds by the law's rule, payments by their reference, and what is announced of both."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from luxor.revenue.v1.revenue_columns_pb2 import DEBT_EVENT_OPENED, DEBT_EVENT_REFUNDED, DEBT_EVENT_SETTLED
from services.revenue.law.source.rulebook import Refund
from services.revenue.ledger.refund import RefundRules, Return
from services.revenue.store.payments.payments import Payment
from tests.revenue.ledger.books import Books, rules
from tests.revenue.ledger.states import DAY, DUTY, TAX, Charge, State, mrn

DECLARANT = "declarant:DE1234567890"
AT_ONCE = State(mrn(1), debt=common_pb2.DEBT_STATUS_OPEN, debt_account="")
"""2,200 to be paid at once."""
MATCHED, UNDERPAID, OVERPAID = pb.PAYMENT_OUTCOME_MATCHED, pb.PAYMENT_OUTCOME_UNDERPAID, pb.PAYMENT_OUTCOME_OVERPAID


def payment(number: int, amount: int, reference: str = AT_ONCE.mrn, currency: str = "EUR", back: str = "") -> Payment:
    return Payment(f"bank-{number}", reference, "EU", currency, amount, back)


def entry(**changed: object) -> Refund:
    told: dict[str, object] = {
        "start": date(2020, 1, 1), "reference": "x", "charges": ("flat_duty",), "because": ("withdrawn",),
    }  # fmt: skip
    return Refund(**{**told, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("refund", "how", "ppm"),
    [
        (entry(), Return(2, DAY, DAY), 1_000_000),
        (entry(share="70 %"), Return(2, DAY, DAY), 700_000),
        (entry(), Return(3, DAY, DAY), 0),
        (entry(charges=("vat",)), Return(2, DAY, DAY), 0),
        (entry(within_days=90), Return(2, DAY + 90, DAY), 1_000_000),
        (entry(within_days=90), Return(2, DAY + 91, DAY), 0),
        (entry(within_days=90), Return(2, DAY + 91, None), 1_000_000),
        (entry(to=date(2026, 11, 24)), Return(2, DAY, DAY), 0),
        (entry(to=date(2026, 11, 25)), Return(2, DAY, DAY), 1_000_000),
    ],
)
def test_what_an_entry_gives_depends_on_charge_reason_and_day(refund: Refund, how: Return, ppm: int) -> None:
    assert rules(refund).share_ppm("EU.flat_duty", how) == ppm
    assert rules(refund).share_ppm("UK.flat_duty", how) == 0
    assert RefundRules([]).share_ppm("EU.flat_duty", how) == 0


async def test_the_first_entry_that_fits_is_taken(books: Books) -> None:
    both = rules(entry(share="50 %"), entry(share="100 %"))
    assert both.share_ppm("EU.flat_duty", Return(2, DAY, DAY)) == 500_000


async def test_returned_items_are_refunded_to_the_account_that_stands_for_them(books: Books) -> None:
    charges = (Charge(300), Charge(301, item=2), Charge(99, item=None), Charge(50, code="EU.handling"))
    told = State(mrn(1), charges=charges, items=2)
    await books.take(told, replace(told, version=2, returned=(1,)))
    assert (await books.standing())["deferred:carrier-7"] == 750 - 300
    await books.take(replace(told, version=3, returned=(1, 2)))
    assert (await books.standing())["deferred:carrier-7"] == 50
    assert [each["refunded_minor"] for each in await books.news()] == [300, 700]


async def test_items_that_go_back_in_parts_keep_each_its_reason_and_day(books: Books) -> None:
    faulty, withdrawn = clearance.RETURN_REASON_FAULTY, clearance.RETURN_REASON_WITHDRAWN
    kept = Books(books.database, rules(entry(because=("faulty",), within_days=30)))
    told = State(mrn(1), charges=(Charge(300), Charge(301, item=2)), items=2)
    first = replace(
        told, version=2, returned=(1,), parts=((1, faulty, DAY + 10),), reason=faulty, returned_day=DAY + 10
    )
    await kept.take(told, first)
    assert (await kept.standing())["deferred:carrier-7"] == 301
    later = replace(
        first, version=3, returned=(1, 2), parts=((1, faulty, DAY + 10), (2, withdrawn, DAY + 40)), reason=withdrawn,
        returned_day=DAY + 40,
    )  # fmt: skip
    await kept.take(later)
    # The second goes back too late and for another reason; what the first was given stays.
    assert (await kept.standing())["deferred:carrier-7"] == 301


async def test_a_share_is_refunded_down_to_whole_minor_units(books: Books) -> None:
    shared = Books(books.database, rules(entry(share="33.3333 %")))
    await shared.take(State(mrn(1), charges=(Charge(100),), returned=(1,)))
    assert (await shared.standing())["treasury:EU:duty"] == -(100 - 33)


async def test_what_was_not_paid_is_remitted_not_refunded(books: Books) -> None:
    await books.take(AT_ONCE)
    await books.take(replace(AT_ONCE, version=2, returned=(1,)))
    assert await books.kinds(AT_ONCE.mrn) == [pb.ENTRY_KIND_ASSESSED, pb.ENTRY_KIND_REMITTED]
    assert await books.standing() == {}
    assert await books.news() == []


async def test_a_refund_is_never_more_than_what_was_paid(books: Books) -> None:
    await books.take(AT_ONCE)
    await books.pay(payment(1, 1_000))
    await books.take(replace(AT_ONCE, version=2, returned=(1,)))
    # 1,000 was paid of 2,200: that comes back, the rest is owed no more.
    assert await books.standing() == {"bank:EU": 1_000, DECLARANT: -1_000}
    (held,) = await books.positions([AT_ONCE.mrn])
    assert held[2:5] == (1_000, 0, 1_000)
    await books.pay(payment(2, 1_000, back="bank-1"))
    assert await books.standing() == {}
    (held,) = await books.positions([AT_ONCE.mrn])
    assert held[2:5] == (0, 0, 0)


async def test_a_payment_settles_and_is_announced_once(books: Books) -> None:
    await books.take(AT_ONCE)
    first, again = await books.pay(payment(1, 2_200), payment(1, 2_200))
    assert (first.outcome, first.account, first.matched, first.over) == (MATCHED, DECLARANT, 2_200, 0)
    assert again.outcome == pb.PAYMENT_OUTCOME_ALREADY_BOOKED
    (later,) = await books.pay(payment(1, 2_200))
    assert (later.outcome, later.matched) == (pb.PAYMENT_OUTCOME_ALREADY_BOOKED, 2_200)
    assert await books.news() == [
        {"mrn": AT_ONCE.mrn, "event": DEBT_EVENT_SETTLED, "number": 1, "debt_status": common_pb2.DEBT_STATUS_PAID,
         "paid_minor": 2_200, "refunded_minor": 0},
    ]  # fmt: skip
    assert await books.standing() == {"bank:EU": 2_200, "treasury:EU:duty": -300, "treasury:EU:tax": -1_900}
    await books.take(AT_ONCE)
    assert len(await books.news()) == 1


async def test_under_and_overpayment_are_told(books: Books) -> None:
    await books.take(AT_ONCE)
    part, more = await books.pay(payment(1, 2_000), payment(2, 500))
    assert (part.outcome, part.matched, part.still_owed) == (UNDERPAID, 2_000, 200)
    assert (more.outcome, more.matched, more.over, more.still_owed) == (OVERPAID, 200, 300, 0)
    assert (await books.standing())[DECLARANT] == -300
    # What was too much pays a later rise.
    await books.take(replace(AT_ONCE, version=2, charges=(Charge(600), AT_ONCE.charges[1])))
    assert DECLARANT not in await books.standing()
    assert [each["event"] for each in await books.news()] == [DEBT_EVENT_SETTLED]


async def test_a_payment_taken_back_opens_the_debt_again(books: Books) -> None:
    await books.take(AT_ONCE)
    await books.pay(payment(1, 2_200))
    (back,) = await books.pay(payment(2, 2_200, back="bank-1"))
    assert (back.outcome, back.still_owed) == (pb.PAYMENT_OUTCOME_REVERSED, 2_200)
    told = await books.news()
    assert [(each["event"], each["number"], each["paid_minor"]) for each in told] == [
        (DEBT_EVENT_SETTLED, 1, 2_200), (DEBT_EVENT_OPENED, 2, 0),
    ]  # fmt: skip
    assert told[1]["debt_status"] == common_pb2.DEBT_STATUS_OPEN
    assert await books.unbalanced() == []
    (again, unknown, differs) = await books.pay(
        payment(3, 2_200, back="bank-1"), payment(4, 1, back="bank-9"), payment(5, 1, back="bank-2")
    )
    assert (again.reason, unknown.reason, differs.reason) == (
        "PAYMENT_ALREADY_REVERSED", "PAYMENT_UNKNOWN", "PAYMENT_DIFFERS",
    )  # fmt: skip
    (paid,) = await books.pay(payment(6, 2_200))
    assert paid.outcome == MATCHED
    assert [each["event"] for each in await books.news()] == [DEBT_EVENT_SETTLED, DEBT_EVENT_OPENED, DEBT_EVENT_SETTLED]


async def test_one_request_may_pay_and_take_back(books: Books) -> None:
    await books.take(AT_ONCE)
    paid, back = await books.pay(payment(1, 2_200), payment(2, 2_200, back="bank-1"))
    assert (paid.outcome, back.outcome) == (MATCHED, pb.PAYMENT_OUTCOME_REVERSED)
    assert (await books.standing())[DECLARANT] == 2_200
    assert await books.news() == []


async def test_an_id_with_other_content_is_refused(books: Books) -> None:
    await books.take(AT_ONCE)
    _, other = await books.pay(payment(1, 10), payment(1, 20))
    (later,) = await books.pay(payment(1, 10, reference=DECLARANT))
    assert (other.reason, later.reason) == ("PAYMENT_REUSED", "PAYMENT_REUSED")
    assert (await books.standing())["bank:EU"] == 10


async def test_an_adjustment_that_raises_a_settled_debt_opens_it(books: Books) -> None:
    await books.take(AT_ONCE)
    await books.pay(payment(1, 2_200))
    await books.take(replace(AT_ONCE, version=2, charges=(Charge(900),)))
    assert [each["event"] for each in await books.news()] == [DEBT_EVENT_SETTLED]
    await books.take(replace(AT_ONCE, version=3, charges=(Charge(2_900),)))
    assert [each["event"] for each in await books.news()] == [DEBT_EVENT_SETTLED, DEBT_EVENT_OPENED]


async def test_what_names_nothing_known_is_booked_as_unmatched(books: Books) -> None:
    await books.take(AT_ONCE, State(mrn(2)))
    results = await books.pay(
        payment(1, 5, reference="thanks"),
        payment(2, 6, reference=mrn(77)),
        payment(3, 7, currency="GBP"),
        payment(4, 8, reference=mrn(2)),
        payment(5, 9, reference="vendor:IM9999999999"),
    )
    assert {each.outcome for each in results} == {pb.PAYMENT_OUTCOME_UNMATCHED}
    assert (await books.standing())["unmatched:EU"] == -(5 + 6 + 8 + 9)
    (back,) = await books.pay(payment(6, 5, back="bank-1"))
    assert back.outcome == pb.PAYMENT_OUTCOME_REVERSED
    assert (await books.standing())["unmatched:EU"] == -(6 + 8 + 9)


async def test_an_account_pays_its_oldest_open_consignments_first(books: Books) -> None:
    old, young = replace(AT_ONCE, mrn=mrn(5, 9), day=DAY - 3), replace(AT_ONCE, mrn=mrn(6, 3))
    await books.take(young, old)
    (part,) = await books.pay(payment(1, 2_500, reference=DECLARANT))
    assert (part.outcome, part.account, part.matched, part.still_owed) == (UNDERPAID, DECLARANT, 2_500, 1_900)
    assert [each["mrn"] for each in await books.news()] == [old.mrn]
    (rest,) = await books.pay(payment(2, 2_000, reference=DECLARANT))
    assert (rest.outcome, rest.over) == (OVERPAID, 100)
    assert [each["mrn"] for each in await books.news()] == [old.mrn, young.mrn]
    assert (await books.standing())[DECLARANT] == -100
    async with books.database.connection() as reader:
        assert await reader.raw.fetchval("select count(*) from ledger_open") == 0
    await books.pay(payment(3, 2_500, reference="x", back="bank-1"))
    assert (await books.standing())[DECLARANT] == 2_400
    assert await books.unbalanced() == []


async def test_a_deferred_account_is_paid_as_a_whole(books: Books) -> None:
    await books.take(State(mrn(1)), State(mrn(2, 5)))
    (paid,) = await books.pay(payment(1, 4_400, reference="deferred:carrier-7"))
    assert (paid.outcome, paid.matched) == (MATCHED, 4_400)
    assert "deferred:carrier-7" not in await books.standing()
    assert await books.news() == []


async def test_what_was_paid_follows_the_debt_to_another_account(books: Books) -> None:
    await books.take(AT_ONCE)
    await books.pay(payment(1, 2_200))
    await books.take(replace(AT_ONCE, version=2, declarant="DE99"))
    assert await books.standing() == {"bank:EU": 2_200, "treasury:EU:duty": -300, "treasury:EU:tax": -1_900}


async def test_what_was_paid_of_a_withdrawn_consignment_is_to_its_payers_credit(books: Books) -> None:
    await books.take(AT_ONCE)
    await books.pay(payment(1, 2_200))
    await books.take(replace(AT_ONCE, version=2, state=clearance.STATE_INVALIDATED))
    assert await books.standing() == {"bank:EU": 2_200, DECLARANT: -2_200}
    (back,) = await books.pay(payment(2, 2_200, back="bank-1"))
    assert back.outcome == pb.PAYMENT_OUTCOME_REVERSED
    assert await books.standing() == {}


async def test_a_buyer_and_a_declarant_may_owe_parts_of_one_consignment(books: Books) -> None:
    both = replace(AT_ONCE, charges=(Charge(300, DUTY, account="border:DE"), Charge(25, TAX, account="declarant:D")))
    await books.take(both)
    (paid,) = await books.pay(payment(1, 400))
    assert (paid.outcome, paid.account, paid.over) == (OVERPAID, "border:DE", 75)
    assert await books.standing() == {
        "bank:EU": 400, "border:DE": -75, "treasury:EU:duty": -300, "treasury:EU:tax": -25,
    }  # fmt: skip


async def test_a_refund_of_what_was_paid_is_announced(books: Books) -> None:
    await books.take(AT_ONCE)
    await books.pay(payment(1, 2_200))
    await books.take(replace(AT_ONCE, version=2, returned=(1,)))
    told = (await books.news())[-1]
    assert (told["event"], told["refunded_minor"], told["paid_minor"]) == (DEBT_EVENT_REFUNDED, 2_200, 2_200)
    assert await books.standing() == {"bank:EU": 2_200, DECLARANT: -2_200}
