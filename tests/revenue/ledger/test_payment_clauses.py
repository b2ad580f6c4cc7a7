"""What becomes of one payment, worked out in memory: each part of each condition, and both sides of each bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.commands.payments import record_payment as payments_of
from services.revenue.commands.payments.payment_batch import CreditAccount, PaymentConsignment, outcome_of
from services.revenue.commands.payments.payout_entries import home_of
from services.revenue.commands.payments.record_payment import Payments
from services.revenue.commands.rebalance import Ledger
from services.revenue.ledger.account import is_mrn, partition_of_account, partition_of_mrn
from services.revenue.ledger.allocation import Match
from services.revenue.ledger.entry import LedgerError
from services.revenue.ledger.line import SECURED
from services.revenue.ledger.position import PaidOut
from services.revenue.store.ledger.credit import Key
from services.revenue.store.payments.payments import Payment, PaymentResult, of_row
from tests.revenue.ledger.pages import line
from tests.revenue.ledger.payment_work import (
    BACK,
    BUYERS,
    CARRIER,
    IDS,
    KNOWN,
    LOST,
    MATCHED,
    ONE,
    OVERPAID,
    OWNER,
    REFUSED,
    TWO,
    UNDERPAID,
    UNMATCHED,
    back,
    booked,
    consignment,
    paid,
    refused,
    row,
    told,
    work,
)

LARGEST = 10_000_000_000_000_000


@pytest.mark.parametrize(
    ("reference", "good"),
    [(ONE, True), (ONE[:-1], False), (ONE[:-1] + chr(ord(ONE[-1]) ^ 1), False), (OWNER, False), ("thanks", False), ("", False)],
)  # fmt: skip
def test_an_mrn_is_told_from_other_references(reference: str, *, good: bool) -> None:
    assert is_mrn(reference) is good


def test_the_common_account_of_buyers_is_refused_and_nothing_is_booked() -> None:
    found = work()
    assert told(found.book(paid("a", 5, BUYERS), {}, set())) == refused("PAYMENT_REFERENCE_SHARED")
    assert (found.done, found.bookings) == ({}, [])


@pytest.mark.parametrize(
    ("amount", "before", "found"),
    [(5, 0, (UNDERPAID, 5, 0, 2)), (7, 0, (MATCHED, 7, 0, 0)), (8, 0, (OVERPAID, 7, 1, 0)), (3, 4, (MATCHED, 3, 0, 0)), (1, 7, (OVERPAID, 0, 1, 0))],
)  # fmt: skip
def test_a_payment_by_an_mrn_pays_what_is_open_of_it_to_whom_owes_first(
    amount: int, before: int, found: tuple[int, ...]
) -> None:
    own = consignment(line(4, 3), line(3, 4), paid=before)
    one = work({ONE: own})
    outcome, matched, over, still = found
    result = one.book(paid("a", amount), {}, set())
    assert told(result) == (outcome, BUYERS, matched, over, still, "")
    assert result.parts == [(ONE, amount)]
    assert (own.paid, list(one.touched)) == (before + amount, [ONE])
    postings = one.bookings[0].postings
    assert sum(minor for _, minor in postings) == 0
    assert booked(one) == [(3, ONE, 0, "a", "DE", False, list(postings))]
    assert postings[0] == (1, amount)


def test_what_a_payment_pays_is_open_no_more_of_the_account_that_owes_it_alone() -> None:
    for lines, left in (((line(3, 3), line(3, 4)), (95, 97)), ((line(3, 3), line(4, 4)), (100, 102))):
        one = work({ONE: consignment(*lines)}, {(3, "EUR"): (100, 102, 9)}, {OWNER: 50, BUYERS: 8})
        one.book(paid("a", 5), {}, set())
        credit_account = one.credit_accounts[3, "EUR"]
        assert (
            credit_account.payable_by_credit,
            credit_account.open,
            credit_account.credit,
            credit_account.change,
        ) == (
            *left,
            9,
            0,
        )
        parts = {OWNER: 5} if left[0] == 95 else {OWNER: 3, BUYERS: 2}
        assert one.balances == {
            (name, "EUR"): {OWNER: 50, BUYERS: 8}[name] - parts.get(name, 0) for name in (OWNER, BUYERS)
        }
    # What is paid beyond it is no debt of the account's others, and an account without credit or debts here has no sums.
    one = work({ONE: consignment(line(3, 3))}, {(3, "EUR"): (100, 102, 9)})
    one.book(paid("a", 5), {}, set())
    assert (one.credit_accounts[3, "EUR"].payable_by_credit, one.credit_accounts[3, "EUR"].open) == (97, 99)
    assert one.balances == {(OWNER, "EUR"): -5}
    assert work({ONE: consignment(line(3, 3))}).book(paid("a", 5), {}, set()).outcome == OVERPAID


@pytest.mark.parametrize(
    ("own", "payment", "reason"),
    [
        (consignment(line(3, 7)), paid("a", 5, jurisdiction="UK"), "JURISDICTION_DIFFERS"),
        (consignment(line(3, 7)), paid("a", 5, currency="GBP"), ""),
        (consignment(line(3, 7, SECURED)), paid("a", 5), ""),
        (None, paid("a", 5), ""),
    ],
)
def test_a_payment_by_an_mrn_that_pays_nothing_is_unmatched_and_waits(
    own: PaymentConsignment | None, payment: Payment, reason: str
) -> None:
    one = work({ONE: own} if own else {})
    name = f"unmatched:{payment.jurisdiction}"
    result = one.book(payment, {}, set())
    assert told(result) == (UNMATCHED, name, 0, 5, 0, reason)
    assert result.parts == [("", 5)]
    assert one.waiting == {(payment.jurisdiction, "a"): payment}
    bank = IDS[f"bank:{payment.jurisdiction}"]
    assert booked(one) == [(3, "", 0, "a", "", False, [(bank, 5), (IDS[name], -5)])]
    assert one.touched == {}
    assert one.balances == {(name, payment.currency): -5}


def test_a_payment_that_names_nothing_is_unmatched_and_waits_for_nothing() -> None:
    one = work()
    assert told(one.book(paid("a", 5, "thanks"), {}, set())) == (UNMATCHED, LOST, 0, 5, 0, "")
    assert one.waiting == {}
    assert one.bookings[0].partition == partition_of_account(LOST)
    assert partition_of_account(LOST) != partition_of_mrn(ONE)


@pytest.mark.parametrize(("amount", "reason"), [(LARGEST - 7, ""), (LARGEST - 6, "AMOUNT_OUT_OF_BOUNDS")])
def test_of_a_consignment_the_largest_sum_is_paid_and_not_one_beyond(amount: int, reason: str) -> None:
    one = work({ONE: consignment(line(3, 9), paid=7)})
    result = one.book(paid("a", amount), {}, set())
    assert result.reason == reason
    assert len(one.bookings) == (not reason)


@pytest.mark.parametrize(
    ("amount", "credit_account", "found"),
    [
        (5, (7, 7, 0), (UNDERPAID, 5, 0, 2)), (7, (7, 7, 0), (MATCHED, 7, 0, 0)), (8, (7, 7, 0), (OVERPAID, 7, 1, 0)),
        # With credit that is there already, and with debts that others owe a part of.
        (5, (7, 7, 2), (MATCHED, 5, 0, 0)), (6, (7, 7, 2), (OVERPAID, 5, 1, 0)), (1, (7, 7, 9), (OVERPAID, 0, 1, 0)),
        (7, (7, 9, 0), (UNDERPAID, 7, 0, 2)), (7, (7, 8, 0), (UNDERPAID, 7, 0, 1)), (8, (7, 9, 0), (OVERPAID, 7, 1, 1)),
        (3, (7, 7, -4), (UNDERPAID, 3, 0, 8)),
    ],
)  # fmt: skip
def test_a_payment_of_a_declarants_account_is_credit_for_what_it_owes_alone(
    amount: int, credit_account: tuple[int, int, int], found: tuple[int, ...]
) -> None:
    one = work({}, {(3, "EUR"): credit_account}, {OWNER: 99})
    outcome, matched, over, still = found
    result = one.book(paid("a", amount, OWNER), {}, set())
    assert told(result) == (outcome, OWNER, matched, over, still, "")
    assert result.parts == [("", amount)]
    assert booked(one) == [(partition_of_account(OWNER), "", 0, "a", "", False, [(1, amount), (3, -amount)])]
    after = one.credit_accounts[3, "EUR"]
    assert (after.payable_by_credit, after.open, after.credit, after.change) == (
        *credit_account[:2],
        credit_account[2] + amount,
        amount,
    )
    assert list(one.credits) == [(3, "EUR")]
    assert one.balances == {(OWNER, "EUR"): 99 - amount}


def test_a_declarant_that_has_nothing_in_a_currency_is_credited_with_all_that_is_paid_in_it() -> None:
    one = work({}, {(3, "EUR"): (7, 7, 0)}, {OWNER: 7})
    payment = paid("a", 5, OWNER, currency="USD")
    assert told(one.book(payment, {}, set())) == (OVERPAID, OWNER, 0, 5, 0, "")
    assert list(one.credits) == [(3, "USD")]
    assert told(one.book(replace(payment, id="b", amount=1), {}, set())) == (OVERPAID, OWNER, 0, 1, 0, "")
    one = work()
    one.book(payment, {}, set())
    assert told(one.book(back("b", 5, "a", currency="USD"), {}, set())) == (BACK, OWNER, 0, 0, 0, "")


@pytest.mark.parametrize(
    ("amount", "balance", "found"),
    [
        (5, 7, (UNDERPAID, 5, 0, 2)), (7, 7, (MATCHED, 7, 0, 0)), (8, 7, (OVERPAID, 7, 1, 0)),
        (1, None, (OVERPAID, 0, 1, 0)), (1, -3, (OVERPAID, 0, 1, 0)),
    ],
)  # fmt: skip
def test_a_payment_of_another_account_pays_what_it_stands_at(
    amount: int, balance: int | None, found: tuple[int, ...]
) -> None:
    one = work({}, {}, {} if balance is None else {CARRIER: balance})
    outcome, matched, over, still = found
    assert told(one.book(paid("a", amount, CARRIER), {}, set())) == (outcome, CARRIER, matched, over, still, "")
    assert one.balances == {(CARRIER, "EUR"): (balance or 0) - amount}
    assert (one.credit_accounts, list(one.credits)) == ({}, [])


@pytest.mark.parametrize(
    ("outcome", "open_minor", "credit", "found"),
    [(MATCHED, 5, 5, MATCHED), (MATCHED, 6, 5, UNDERPAID), (MATCHED, 4, 5, MATCHED), (OVERPAID, 6, 5, OVERPAID), (UNDERPAID, 5, 5, UNDERPAID)],
)  # fmt: skip
def test_what_an_account_cannot_pay_is_owed_all_the_same(
    outcome: int, open_minor: int, credit: int, found: int
) -> None:
    assert outcome_of(Match(outcome, 1, 0, 0), CreditAccount(0, open_minor, credit)) == found


@pytest.mark.parametrize(
    ("change", "request_", "by", "seen", "found"),
    [
        ({}, "r1", "officer-1", False, MATCHED),
        ({}, "", "officer-1", False, KNOWN),
        ({}, "r2", "officer-1", False, KNOWN),
        ({}, "r1", "officer-2", False, KNOWN),
        ({}, "r1", "officer-1", True, KNOWN),
        ({"amount": 8}, "r1", "officer-1", False, REFUSED),
        ({"reference": TWO}, "r1", "officer-1", False, REFUSED),
        ({"currency": "GBP"}, "r2", "officer-1", False, REFUSED),
    ],
)
def test_a_payment_that_is_known_is_booked_no_more_and_its_own_request_gets_what_it_was_given(
    change: dict[str, Any], request_: str, by: str, seen: bool, found: int
) -> None:
    first = paid("a", 7)
    stored = row(
        first, PaymentResult(MATCHED, OWNER, 6, 1, 2, parts=[(ONE, 7)]), booked_by=by, request="r1" if request_ else ""
    )
    one = work({ONE: consignment(line(3, 7))}, request=request_)
    known, ident = {("EU", "a"): stored}, ("EU", "a")
    result = one.book(replace(first, **change), known, {ident} if seen else set())
    assert told(result) == (refused("PAYMENT_REUSED") if found == REFUSED else (found, OWNER, 6, 1, 2, ""))
    assert one.bookings == []
    again = one.book(first, known, set())
    assert told(again) == (KNOWN, OWNER, 6, 1, 2, ""), "the second one of the request"


@pytest.mark.parametrize(("outcome", "reason"), [(UNMATCHED, "JURISDICTION_DIFFERS"), (MATCHED, "")])
def test_a_request_that_was_cut_off_is_told_once_more_why_a_payment_is_unmatched(outcome: int, reason: str) -> None:
    first = paid("a", 7)
    one = work({ONE: consignment(line(3, 7), jurisdiction="UK")}, request="r1")
    assert one.book(first, {("EU", "a"): row(first, PaymentResult(outcome, LOST, 0, 7))}, set()).reason == reason


def test_a_payment_twice_in_a_request_is_booked_once() -> None:
    one = work({ONE: consignment(line(3, 7))})
    first, again, other = (one.book(each, {}, set()) for each in (paid("a", 7), paid("a", 7), paid("a", 6)))
    assert told(first) == (MATCHED, OWNER, 7, 0, 0, "")
    assert told(again) == (KNOWN, OWNER, 7, 0, 0, "")
    assert told(other) == refused("PAYMENT_REUSED")
    assert len(one.bookings) == 1


def test_a_stored_payment_is_read_with_its_parts_and_what_was_sent_back_is_told_so() -> None:
    first, result = paid("a", 7, reverses_id="z"), PaymentResult(MATCHED, OWNER, 6, 1, 2, parts=[(ONE, 3), ("", 4)])
    assert of_row(row(first, result)) == (first, result)
    assert of_row(row(first, result, returned_by="o"))[1].outcome == pb.PAYMENT_OUTCOME_RETURNED
    bare = row(first, result)
    assert of_row({name: each for name, each in bare.items() if name not in ("mrns", "amounts")})[1].parts == []


def test_of_a_consignment_all_lines_that_are_paid_at_once_are_open() -> None:
    own = consignment(line(3, 7), line(4, 2, SECURED), line(4, 5), paid=4)
    assert (own.owed(), own.debtors()) == (8, [3, 4])
    assert consignment(line(3, 7, entitled=2)).owed() == 5
    own.paid_out = PaidOut(np.array([3]), np.array([3]))
    assert own.owed() == 11


def test_an_unmatched_payment_is_booked_where_its_debt_would_be() -> None:
    assert home_of(ONE, LOST) == partition_of_mrn(ONE) == 3
    assert home_of("thanks", LOST) == partition_of_account(LOST) != 3


async def test_what_the_ledger_cannot_hold_is_refused_alone_and_the_others_of_its_part_are_booked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    booked: list[tuple[str, set[tuple[str, str]]]] = []
    settled: list[Any] = []

    async def book(self: Payments, part: Sequence[Payment], by: str, request: str, seen: set[tuple[str, str]]) -> Any:
        if any(each.id == "bad" for each in part):
            raise LedgerError("BALANCE_OUT_OF_BOUNDS", "too much")
        booked.append(("".join(each.id for each in part), set(seen)))
        return [PaymentResult(MATCHED, each.id) for each in part], {(int(each.amount), each.currency) for each in part}

    async def settle_some(_: Ledger, keys: Sequence[Key], transactions_max: int) -> int:
        settled.append((keys, transactions_max))
        return 0

    class Nothing:
        database = None

    monkeypatch.setattr(Payments, "book", book)
    monkeypatch.setattr(payments_of, "settle_some", settle_some)
    for idents, parts in (
        (["bad"], []), (["a", "b"], [("ab", "")]), (["a", "bad"], [("a", "")]), (["bad", "b"], [("b", "")]),
        (["a", "bad", "c"], [("a", ""), ("c", "a")]),
    ):  # fmt: skip
        booked.clear()
        settled.clear()
        results = await Payments(cast(Ledger, Nothing)).record(
            [paid(each, place + 1) for place, each in enumerate(idents)], "officer-1"
        )
        assert [each.reason or each.account for each in results] == [
            "BALANCE_OUT_OF_BOUNDS" if each == "bad" else each for each in idents
        ]
        assert booked == [(part, {("EU", each) for each in seen}) for part, seen in parts]
        assert settled == [([(place + 1, "EUR") for place, each in enumerate(idents) if each != "bad"], 20)]
    # In parts of fifty, of which each knows what came before.
    booked.clear()
    many = [paid("x", 1) for _ in range(101)]
    assert len(await Payments(cast(Ledger, Nothing)).record(many, "officer-1")) == 101
    assert booked == [("x" * 50, set()), ("x" * 50, {("EU", "x")}), ("x", {("EU", "x")})]
