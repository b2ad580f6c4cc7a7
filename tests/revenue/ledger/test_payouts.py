"""Payouts: credit goes back to its owner once and never more than there is, unmatched money to its payer; and what comes back."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.revenue.v1 import ledger_pb2 as pb
from luxor.revenue.v1.revenue_columns_pb2 import DEBT_EVENT_OPENED, DEBT_EVENT_REFUNDED, DEBT_EVENT_SETTLED
from services.revenue.api.ledger_messages import statement_line
from services.revenue.ledger.account import partition_of_account
from services.revenue.store.payments import payments as stored_payments
from services.revenue.store.payments import payouts as stored_payouts
from services.revenue.store.payments.payouts import Payout
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.invariants import settle, sound
from tests.revenue.ledger.payout_records import BUYER, BUYERS, CARRIER, DECLARANT, OWN, out, payment, payout
from tests.revenue.ledger.states import DUTY, MICROS_A_DAY, TAX, Charge, State, batch, mrn

BOOKED, KNOWN, BACK = pb.PAYOUT_OUTCOME_BOOKED, pb.PAYOUT_OUTCOME_ALREADY_BOOKED, pb.PAYOUT_OUTCOME_REVERSED


async def reasons(books: Books, *payouts: Payout) -> list[tuple[str, int]]:
    return [(each.reason, each.credit) for each in await out(books, *payouts)]


async def open_of(books: Books, state: State) -> int:
    (held,) = await books.positions([state.mrn])
    open_minor: int = held[3]
    async with books.database.connection() as reader:
        listed = await reader.raw.fetchval("select sum(minor)::bigint from ledger_open where mrn = $1", state.mrn)
    assert (listed or 0) == open_minor
    return open_minor


async def test_credit_of_a_declarant_goes_back_once_and_never_beyond_what_it_owes(books: Books) -> None:
    await books.take(OWN)
    await books.pay(payment(1, 3_000, DECLARANT))
    first, again, more = await out(
        books, payout(1, 500, DECLARANT), payout(1, 500, DECLARANT), payout(2, 301, DECLARANT)
    )
    assert (first.outcome, first.account, first.credit) == (BOOKED, DECLARANT, 300)
    assert (again.outcome, again.credit) == (KNOWN, 300)
    assert (more.outcome, more.reason, more.credit) == (pb.PAYOUT_OUTCOME_REFUSED, "PAYOUT_EXCEEDS_CREDIT", 300)
    assert await reasons(books, payout(1, 499, DECLARANT)) == [("PAYOUT_REUSED", 0)]
    assert await books.standing() == {
        "bank:EU": 2_500, DECLARANT: -300, "treasury:EU:duty": -300, "treasury:EU:tax": -1_900,
    }  # fmt: skip
    # A debt that comes later finds what is left alone.
    await books.take(replace(OWN, mrn=mrn(9, 9)))
    assert (await books.positions([mrn(9, 9)]))[0][2:4] == (300, 1_900)
    assert await reasons(books, payout(3, 1, DECLARANT)) == [("PAYOUT_EXCEEDS_CREDIT", 0)]
    await sound(books)


async def test_a_payout_that_the_bank_returned_is_credit_again_and_pays_what_is_open(books: Books) -> None:
    await books.take(OWN)
    await books.pay(payment(1, 2_700, DECLARANT))
    await out(books, payout(1, 500, DECLARANT))
    await books.take(replace(OWN, mrn=mrn(9, 9)))
    back, twice, unknown, of_return = await out(
        books, payout(2, 500, reverses_id="out-1"), payout(3, 500, reverses_id="out-1"), payout(4, 1, reverses_id="out-9"),
        payout(5, 500, reverses_id="out-2"),
    )  # fmt: skip
    assert (back.outcome, back.account) == (BACK, DECLARANT)
    assert [each.reason for each in (twice, unknown, of_return)] == [
        "PAYOUT_ALREADY_REVERSED", "PAYOUT_UNKNOWN", "PAYOUT_OF_RETURN",
    ]  # fmt: skip
    assert (await books.positions([mrn(9, 9)]))[0][2:4] == (500, 1_700)
    kinds = {(kind, reverses) for kind, reverses in await _money(books)}
    assert (pb.ENTRY_KIND_PAID_OUT, 0) in kinds
    assert (pb.ENTRY_KIND_REVERSED, pb.ENTRY_KIND_PAID_OUT) in kinds
    await sound(books)


async def _money(books: Books) -> list[tuple[int, int]]:
    async with books.database.connection() as reader:
        return [tuple(row) for row in await reader.raw.fetch("select kind, reverses from all_entries")]


async def test_a_buyer_is_paid_by_the_mrn_what_was_refunded_or_paid_too_much(books: Books) -> None:
    await books.take(BUYER)
    await books.pay(payment(1, 2_300, BUYER.mrn))
    shared, early, over = await out(books, payout(1, 100, BUYERS), payout(2, 101, BUYER.mrn), payout(3, 100, BUYER.mrn))
    assert (shared.reason, early.reason, early.credit) == ("PAYOUT_REFERENCE_SHARED", "PAYOUT_EXCEEDS_CREDIT", 100)
    assert (over.outcome, over.account, over.credit) == (BOOKED, BUYERS, 0)
    await books.take(replace(BUYER, version=2, returned=(1,)))
    assert (await out(books, payout(4, 2_200, BUYER.mrn)))[0].outcome == BOOKED
    assert await reasons(books, payout(5, 1, BUYER.mrn)) == [("PAYOUT_EXCEEDS_CREDIT", 0)]
    assert await books.standing() == {}
    assert await open_of(books, BUYER) == 0
    # The same states again change nothing of it.
    before = await books.postings()
    await books.take(replace(BUYER, version=2, returned=(1,)))
    assert await books.postings() == before
    assert (await books.kinds(BUYER.mrn)).count(pb.ENTRY_KIND_PAID_OUT) == 2
    await sound(books)


async def test_what_was_paid_out_is_owed_where_its_credit_goes_and_paid_like_any_debt(books: Books) -> None:
    await books.take(BUYER)
    await books.pay(payment(1, 2_300, BUYER.mrn))
    await out(books, payout(1, 100, BUYER.mrn))
    await books.pay(payment(2, 2_300, BUYER.mrn, "bank-1"))
    assert await open_of(books, BUYER) == 2_300
    assert (await books.standing())[BUYERS] == 2_300
    (short,) = await books.pay(payment(3, 2_200, BUYER.mrn))
    assert (short.outcome, short.still_owed) == (pb.PAYMENT_OUTCOME_UNDERPAID, 100)
    await books.pay(payment(4, 100, BUYER.mrn))
    assert await open_of(books, BUYER) == 0
    told = [(each["event"], each["paid_minor"]) for each in await books.news()]
    assert told == [(DEBT_EVENT_SETTLED, 2_300), (DEBT_EVENT_OPENED, 0), (DEBT_EVENT_SETTLED, 2_300)]
    await sound(books)


async def test_what_was_paid_out_of_a_withdrawn_consignment_is_open_until_it_comes_back(books: Books) -> None:
    other = replace(BUYER, mrn=mrn(4, 3))
    await books.take(BUYER, other)
    await books.pay(payment(1, 2_200, BUYER.mrn), payment(2, 2_200, other.mrn))
    await books.take(*(replace(each, version=2, state=clearance.STATE_INVALIDATED) for each in (BUYER, other)))
    await out(books, payout(1, 2_200, BUYER.mrn), payout(2, 2_200, other.mrn))
    await books.pay(payment(3, 2_200, BUYER.mrn, "bank-1"), payment(4, 2_200, other.mrn, "bank-2"))
    assert (await open_of(books, BUYER), await open_of(books, other)) == (2_200, 2_200)
    # The buyer pays once more, and the bank returns the other payout.
    await books.pay(payment(5, 2_200, BUYER.mrn))
    await out(books, payout(3, 2_200, reverses_id="out-2"))
    assert (await open_of(books, BUYER), await open_of(books, other)) == (0, 0)
    told = [(each["event"], each["paid_minor"]) for each in await books.news() if each["mrn"] == BUYER.mrn]
    assert told == [(DEBT_EVENT_SETTLED, 2_200), (DEBT_EVENT_OPENED, 0), (DEBT_EVENT_SETTLED, 2_200)]
    assert [each["event"] for each in await books.news() if each["mrn"] == other.mrn][-1] == DEBT_EVENT_SETTLED
    await sound(books)


async def test_what_was_paid_stays_where_it_is_while_a_state_has_no_answer(books: Books) -> None:
    none = replace(BUYER, version=2, charges=(), currency="", rulebook="", decided=False)
    await books.take(BUYER)
    await books.pay(payment(1, 2_300, BUYER.mrn))
    await out(books, payout(1, 50, BUYER.mrn))
    await books.take(none)
    assert await reasons(books, payout(2, 2_251, BUYER.mrn), payout(3, 50, BUYER.mrn)) == [
        ("PAYOUT_EXCEEDS_CREDIT", 2_250), ("", 2_200),
    ]  # fmt: skip
    # The answer that comes after all is paid by it.
    await books.take(replace(BUYER, version=3))
    assert await open_of(books, BUYER) == 0
    await sound(books)


async def test_a_refund_that_was_paid_out_and_is_corrected_opens_the_debt(books: Books) -> None:
    await books.take(BUYER)
    await books.pay(payment(1, 2_200, BUYER.mrn))
    await books.take(replace(BUYER, version=2, returned=(1,)))
    await out(books, payout(1, 2_200, BUYER.mrn))
    await books.take(replace(BUYER, version=3))
    assert await open_of(books, BUYER) == 2_200
    told = [(each["event"], each["paid_minor"], each["refunded_minor"]) for each in await books.news()]
    assert told == [
        (DEBT_EVENT_SETTLED, 2_200, 0),
        (DEBT_EVENT_REFUNDED, 2_200, 2_200),
        (DEBT_EVENT_OPENED, 0, 0),
        (DEBT_EVENT_REFUNDED, 0, 0),
    ]
    (back,) = await out(books, payout(2, 2_200, reverses_id="out-1"))
    assert (back.outcome, back.credit) == (BACK, 0)
    assert await open_of(books, BUYER) == 0
    await sound(books)


async def test_what_was_paid_out_follows_the_debt_to_another_account(books: Books) -> None:
    await books.take(BUYER)
    await books.pay(payment(1, 2_300, BUYER.mrn))
    await out(books, payout(1, 60, BUYER.mrn))
    charges = tuple(replace(each, account=DECLARANT) for each in BUYER.charges)
    await books.take(replace(BUYER, version=2, charges=charges))
    assert await books.standing() == {
        "bank:EU": 2_240, DECLARANT: -40, "treasury:EU:duty": -300, "treasury:EU:tax": -1_900,
    }  # fmt: skip
    named, account = await out(books, payout(2, 40, BUYER.mrn), payout(3, 40, DECLARANT))
    assert (named.reason, named.account, account.outcome) == ("PAYOUT_OF_ACCOUNT", DECLARANT, BOOKED)
    await out(books, payout(4, 60, reverses_id="out-1"))
    assert (await books.standing())[DECLARANT] == -60
    await sound(books)


async def test_money_of_a_currency_that_a_debt_lost_comes_back_to_whose_credit_it_was_then(books: Books) -> None:
    """Buyers paid, the declarant owes it, then in pounds, and then in euros once more: what is returned stands with the declarant."""
    await books.take(BUYER)
    await books.pay(payment(1, 2_300, BUYER.mrn))
    await out(books, payout(1, 60, BUYER.mrn))
    charges = tuple(replace(each, account=DECLARANT) for each in BUYER.charges)
    await books.take(replace(BUYER, version=2, charges=charges))
    await books.take(replace(BUYER, version=3, charges=charges, currency="GBP"))
    assert await books.standing() == {"bank:EU": 2_240, DECLARANT: -2_240}
    (back,) = await out(books, payout(2, 60, reverses_id="out-1"))
    assert (back.outcome, back.account, back.credit) == (BACK, DECLARANT, 2_300)
    await sound(books)
    assert (await out(books, payout(3, 60, DECLARANT)))[0].outcome == BOOKED
    # The bank takes the payment itself back: nobody keeps credit of it.
    await books.pay(payment(2, 2_300, BUYER.mrn, "bank-1"))
    assert await books.standing() == {"bank:EU": -60, DECLARANT: 60}
    await sound(books)


async def test_a_payment_of_a_currency_that_a_debt_had_before_takes_no_later_payment_with_it(books: Books) -> None:
    await books.take(BUYER)
    await books.pay(payment(1, 2_200, BUYER.mrn))
    charges = tuple(replace(each, account=DECLARANT) for each in BUYER.charges)
    await books.take(replace(BUYER, version=2, charges=charges))
    await books.take(replace(BUYER, version=3, charges=charges, currency="GBP"))
    await books.take(replace(BUYER, version=4))
    await books.pay(payment(2, 2_200, BUYER.mrn))
    assert await open_of(books, BUYER) == 0
    await books.pay(payment(3, 2_200, BUYER.mrn, "bank-1"))
    assert await open_of(books, BUYER) == 0
    assert await books.standing() == {"bank:EU": 2_200, "treasury:EU:duty": -300, "treasury:EU:tax": -1_900}
    await sound(books)


async def test_a_payment_that_the_bank_calls_as_the_ledger_calls_lost_money_is_a_payment(books: Books) -> None:
    await books.take(BUYER)
    await books.pay(payment(1, 2_200, BUYER.mrn), replace(payment(2, 100, BUYER.mrn), id="currency"))
    await books.pay(payment(3, 2_200, BUYER.mrn, "bank-1"))
    assert await open_of(books, BUYER) == 2_100
    await sound(books)


async def test_a_buyer_beside_a_declarant_is_paid_its_own_part(books: Books) -> None:
    charges = (Charge(25, TAX, "EU.handling", item=None, account=DECLARANT), Charge(300, DUTY, account=BUYERS))
    both = replace(BUYER, charges=charges)
    await books.take(both)
    await books.pay(payment(1, 325, both.mrn))
    await books.take(replace(both, version=2, returned=(1,)))
    refused, paid = await out(books, payout(1, 301, both.mrn), payout(2, 300, both.mrn))
    assert (refused.reason, refused.credit, paid.outcome) == ("PAYOUT_EXCEEDS_CREDIT", 300, BOOKED)
    assert await books.standing() == {"bank:EU": 25, "treasury:EU:tax": -25}
    await sound(books)


async def test_other_accounts_are_paid_what_they_stand_at_below_nothing(books: Books) -> None:
    await books.take(State(mrn(1)))
    await books.pay(payment(1, 2_500, CARRIER))
    assert await reasons(books, payout(1, 301, CARRIER), payout(2, 300, CARRIER), payout(3, 1, "vendor:IM1")) == [
        ("PAYOUT_EXCEEDS_CREDIT", 300), ("", 0), ("PAYOUT_EXCEEDS_CREDIT", 0),
    ]  # fmt: skip
    assert CARRIER not in await books.standing()
    await out(books, payout(4, 300, reverses_id="out-2"))
    (number,) = (await books.ledger.name_ids({CARRIER})).values()
    async with books.database.connection() as reader:
        today = await reader.now() // MICROS_A_DAY
    statement = await books.balances.statement(number, "EUR", today - 1, today, rows_max=9)
    assert [(each.entry_kind, each.reverses, each.reference, each.amount) for each in statement.lines[-3:]] == [
        (pb.ENTRY_KIND_PAID, 0, "bank-1", -2_500), (pb.ENTRY_KIND_PAID_OUT, 0, "out-2", 300),
        (pb.ENTRY_KIND_REVERSED, pb.ENTRY_KIND_PAID_OUT, "out-4", -300),
    ]  # fmt: skip
    told = statement_line(statement.lines[-1])
    assert (told.reverses, told.reference) == (pb.ENTRY_KIND_PAID_OUT, "out-4")


async def test_another_jurisdiction_pays_out_nothing_that_it_did_not_receive(books: Books) -> None:
    await books.take(BUYER, OWN)
    await books.pay(payment(1, 2_300, BUYER.mrn), payment(2, 2_300, OWN.mrn))
    elsewhere = [
        replace(payout(1, 100, DECLARANT), jurisdiction="UK"),
        replace(payout(2, 100, BUYER.mrn), jurisdiction="UK"),
    ]
    account, own = await out(books, *elsewhere)
    assert (account.reason, own.reason) == ("PAYOUT_EXCEEDS_BANK", "PAYOUT_CONSIGNMENT_DIFFERS")
    assert (own.account, own.credit, own.stored) == (BUYERS, 0, (100, "EUR", "EU"))
    assert [each.reason for each in await out(books, replace(payout(3, 100, DECLARANT), currency="GBP"))] == [
        "PAYOUT_EXCEEDS_CREDIT"
    ]


async def test_unmatched_money_goes_back_to_its_payer_once_and_pays_no_debt_then(books: Books) -> None:
    await books.pay(payment(1, 2_200, BUYER.mrn), payment(2, 5, "thanks"))
    differs, sent, twice, unknown = await out(
        books, payout(1, 2_199, returns_payment_id="bank-1"), payout(2, 2_200, returns_payment_id="bank-1"),
        payout(3, 2_200, returns_payment_id="bank-1"), payout(4, 5, returns_payment_id="bank-9"),
    )  # fmt: skip
    assert (sent.outcome, sent.account) == (BOOKED, "unmatched:EU")
    assert (differs.credit, differs.stored) == (0, (2_200, "EUR", "EU"))
    assert [each.reason for each in (differs, twice, unknown)] == [
        "PAYOUT_DIFFERS", "PAYOUT_PAYMENT_USED", "PAYOUT_PAYMENT_UNKNOWN",
    ]  # fmt: skip
    found = await stored_payments.page(books.database, after=("", ""), unmatched_only=True, rows_max=9)
    assert [each.payment.id for each in found] == ["bank-2"]
    (listed, _) = await stored_payments.page(books.database, after=("", ""), unmatched_only=False, rows_max=9)
    assert (listed.result.outcome, listed.returned_by) == (pb.PAYMENT_OUTCOME_RETURNED, "out-2")
    await books.take(BUYER)
    assert await open_of(books, BUYER) == 2_200
    # The bank returned it: it finds the debt that came meanwhile.
    await out(books, payout(5, 2_200, reverses_id="out-2"), payout(6, 5, returns_payment_id="bank-2"))
    assert await open_of(books, BUYER) == 0
    assert await books.standing() == {"bank:EU": 2_200, "treasury:EU:duty": -300, "treasury:EU:tax": -1_900}
    assert await reasons(books, payout(7, 2_200, returns_payment_id="bank-1")) == [("PAYOUT_PAYMENT_USED", 0)]
    await sound(books)


async def test_money_that_the_bank_takes_back_after_it_was_paid_out_is_owed(books: Books) -> None:
    await books.take(OWN)
    await books.pay(payment(1, 3_000, DECLARANT), payment(2, 5, "thanks"))
    await out(books, payout(1, 800, DECLARANT), payout(2, 5, returns_payment_id="bank-2"))
    back, lost = await books.pay(payment(3, 3_000, DECLARANT, "bank-1"), payment(4, 5, "thanks", "bank-2"))
    assert (back.still_owed, lost.still_owed) == (3_000, 5)
    assert await open_of(books, OWN) == 2_200
    await sound(books)
    # The next payment makes up for what was paid out, then pays what is open.
    await books.pay(payment(5, 1_000, DECLARANT))
    await settle(books)
    assert await open_of(books, OWN) == 2_000
    (returned,) = await out(books, payout(3, 5, reverses_id="out-2"))
    assert returned.outcome == BACK
    assert await books.standing() == {
        "bank:EU": 200, DECLARANT: 2_000, "treasury:EU:duty": -300, "treasury:EU:tax": -1_900,
    }  # fmt: skip
    await sound(books)


async def test_a_request_that_was_cut_off_books_nothing_twice_and_answers_the_same(books: Books) -> None:
    await books.take(OWN)
    await books.pay(payment(1, 3_000, DECLARANT))
    wanted = [payout(1, 500, DECLARANT), payout(1, 500, DECLARANT), payout(2, 500, reverses_id="out-1")]
    await out(books, wanted[0], request="r1")
    told = [each.outcome for each in await out(books, *wanted, request="r1")]
    assert told == [BOOKED, KNOWN, BACK]
    assert [each.outcome for each in await out(books, *wanted, request="r2")] == [KNOWN] * 3
    assert (await books.standing())["bank:EU"] == 3_000
    (first, second) = await stored_payouts.page(books.database, rows_max=9)
    assert (first.payout, first.reversed_by, second.payout.id) == (wanted[0], "out-2", "out-2")


async def test_a_payout_waits_for_credit_that_pays_a_debt_just_then(books: Books) -> None:
    await books.take(OWN)
    await books.pay(payment(1, 5_200, DECLARANT))
    elsewhere = next(
        each for each in range(64) if each not in map(partition_of_account, (DECLARANT, "bank:EU", "unmatched:EU"))
    )
    prepared = await books.intake.prepare([batch([replace(OWN, mrn=mrn(9, elsewhere))])])
    async with books.database.transaction() as held:
        await books.intake.apply(held, prepared)
        asked = asyncio.create_task(out(books, payout(1, 3_000, DECLARANT)))
        async with books.database.connection() as reader:
            while not await reader.raw.fetchval("select count(*) from pg_locks where not granted"):
                assert not asked.done()
    (refused,) = await asked
    assert (refused.reason, refused.credit) == ("PAYOUT_EXCEEDS_CREDIT", 800)
    assert (await books.positions([mrn(9, elsewhere)]))[0][2:4] == (2_200, 0)
    await sound(books)


async def test_payouts_and_debts_at_once_use_no_money_twice(books: Books) -> None:
    await books.take(OWN)
    await books.pay(payment(1, 6_600, DECLARANT))
    later = [replace(OWN, mrn=mrn(10 + place, place)) for place in range(3)]
    results = await asyncio.gather(
        *(out(books, payout(place, 1_500, DECLARANT)) for place in range(3)), *(books.take(each) for each in later)
    )
    paid = [each[0].outcome == BOOKED for each in results[:3] if each]
    await settle(books)
    left = 4_400 - 1_500 * sum(paid)
    used = [held[2] for held in await books.positions([each.mrn for each in later])]
    # Each sum of money is at one place: paid out, used for a debt, or left.
    assert (await books.standing())["bank:EU"] == 2_200 + left
    assert left >= 0
    assert sum(used) == left
    await sound(books)
