"""What becomes of a payment that is reversed, worked out in memory: where its money is taken from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from services.revenue.commands.payments.payment_batch import PaymentBatch
from services.revenue.ledger.account import partition_of_account
from services.revenue.store.payments.payments import Payment, PaymentResult
from tests.revenue.ledger.pages import line
from tests.revenue.ledger.payment_work import (
    BACK,
    CARRIER,
    IDS,
    LOST,
    MATCHED,
    ONE,
    OWNER,
    TWO,
    back,
    booked,
    consignment,
    paid,
    refused,
    row,
    told,
    work,
)


@pytest.mark.parametrize(
    ("first", "stored", "payment", "reason"),
    [
        (paid("a", 7), {}, back("b", 7, "x"), "PAYMENT_UNKNOWN"),
        (paid("a", 7), {}, back("b", 7, "a", jurisdiction="UK"), "PAYMENT_UNKNOWN"),
        (paid("a", 7), {"reversed_by": "c"}, back("b", 7, "a"), "PAYMENT_ALREADY_REVERSED"),
        (paid("a", 7), {}, back("b", 6, "a"), "PAYMENT_DIFFERS"),
        (paid("a", 7), {}, back("b", 7, "a", currency="GBP"), "PAYMENT_DIFFERS"),
        (back("a", 7, "z"), {}, back("b", 7, "a"), "PAYMENT_DIFFERS"),
    ],
)
def test_what_cannot_be_taken_back_is_refused(
    first: Payment, stored: dict[str, Any], payment: Payment, reason: str
) -> None:
    one = work({ONE: consignment(line(3, 7), paid=7)})
    known = {("EU", "a"): row(first, PaymentResult(MATCHED, OWNER, 7, parts=[(ONE, 7)]), **stored)}
    assert told(one.book(payment, known, set())) == refused(reason)
    assert (one.bookings, one.reversed, one.done) == ([], {}, {})


def test_a_payment_is_taken_back_once_also_within_its_request() -> None:
    one = work({ONE: consignment(line(3, 7))})
    results = [one.book(each, {}, set()) for each in (paid("a", 7), back("b", 7, "a"), back("c", 7, "a"))]
    assert [told(each) for each in results[1:]] == [(BACK, OWNER, 0, 0, 7, ""), refused("PAYMENT_ALREADY_REVERSED")]
    assert one.reversed == {("EU", "a"): "b"}
    stored = {("EU", "a"): row(paid("a", 7), PaymentResult(MATCHED, OWNER, 7, parts=[(ONE, 7)]))}
    one = work({ONE: consignment(line(3, 7), paid=7)})
    results = [one.book(each, stored, set()) for each in (back("b", 7, "a"), back("c", 7, "a"))]
    assert [told(each) for each in results] == [(BACK, OWNER, 0, 0, 7, ""), refused("PAYMENT_ALREADY_REVERSED")]


def taken(
    one: PaymentBatch,
    amount: int,
    parts: Sequence[tuple[str, int]],
    account: str = OWNER,
    reference: str = ONE,
    currency: str = "EUR",
) -> PaymentResult:
    """Take back what was stored as paid in parts."""
    first = paid("a", amount, reference, currency=currency)
    known = {("EU", "a"): row(first, PaymentResult(MATCHED, account, parts=list(parts)))}
    return one.book(back("b", amount, "a", currency=currency), known, set())


@pytest.mark.parametrize(("held", "still"), [(7, 7), (9, 5), (5, 7), (0, 7)])
def test_what_a_consignment_has_is_taken_from_it_and_the_rest_from_the_account(held: int, still: int) -> None:
    own = consignment(line(3, 7), paid=held)
    one = work({ONE: own}, {(3, "EUR"): (40, 50, 1)})
    result = taken(one, 7, [(ONE, 7)])
    assert told(result) == (BACK, OWNER, 0, 0, still, "")
    assert result.parts == [(ONE, 7)]
    part = min(held, 7)
    home = partition_of_account(OWNER)
    of_it = [(3, ONE, 0, "b", "DE", True, [(1, -part), (3, part)])] if part else []
    rest = [(home, "", 0, "b", "", True, [(1, part - 7), (3, 7 - part)])] if part < 7 else []
    assert booked(one) == of_it + rest
    assert own.paid == held - part
    assert (one.credit_accounts[3, "EUR"].credit, one.credit_accounts[3, "EUR"].change) == (1 + part - 7, part - 7)
    assert one.waits_no_more == {("EU", "a"): ONE}


def test_money_of_a_currency_that_the_debt_lost_is_taken_from_the_account() -> None:
    """Nobody's name is noted, as releases before this one did: the currency tells it."""
    own = consignment(line(3, 7), paid=7, currency="GBP")
    one = work({ONE: own}, {(3, "EUR"): (0, 0, 7)})
    assert told(taken(one, 7, [(ONE, 7)])) == (BACK, OWNER, 0, 0, 0, "")
    assert own.paid == 7
    assert booked(one) == [(partition_of_account(OWNER), "", 0, "b", "", True, [(1, -7), (3, 7)])]


@pytest.mark.parametrize(
    ("gone", "account", "currency"),
    [([6], 6, "GBP"), ([6, 3], 3, "GBP"), ([3, 6], 3, "GBP"), ([6, 4], 6, "GBP"), ([6], 6, "EUR")],
)
def test_money_that_became_an_accounts_own_is_taken_from_that_account(
    gone: list[int], account: int, currency: str
) -> None:
    own = consignment(line(3, 7), paid=7, currency=currency)
    one = work({ONE: own})
    one.owners = {(ONE, "a"): gone}
    result = taken(one, 7, [(ONE, 7)])
    assert told(result) == (BACK, OWNER, 0, 0, 0, "")
    assert own.paid == 7, "what was paid of it since is other money"
    assert booked(one) == [(3, "", 0, "b", "", True, [(1, -7), (account, 7)])]
    assert one.credit_accounts[account, "EUR"].change == -7


@pytest.mark.parametrize(
    ("account", "reference", "home", "still"),
    [
        (LOST, ONE, 3, 0), (LOST, "thanks", partition_of_account(LOST), 11), (CARRIER, CARRIER, partition_of_account(CARRIER), 12),
        (OWNER, OWNER, partition_of_account(OWNER), 49),
    ],
)  # fmt: skip
def test_money_of_no_consignment_is_taken_from_where_it_stands(
    account: str, reference: str, home: int, still: int
) -> None:
    one = work({}, {(3, "EUR"): (40, 50, 8)}, {LOST: 4, CARRIER: 5})
    assert told(taken(one, 7, [("", 7)], account, reference)) == (BACK, account, 0, 0, still, "")
    assert booked(one) == [(home, "", 0, "b", "", True, [(1, -7), (IDS[account], 7)])]
    assert one.waits_no_more == ({("EU", "a"): ONE} if reference == ONE else {})


@pytest.mark.parametrize(("account", "balances", "credit"), [(LOST, {LOST: -8}, 0), (OWNER, {}, 57), (OWNER, {}, 58)])
def test_nothing_is_owed_where_what_stands_there_covers_it(account: str, balances: dict[str, int], credit: int) -> None:
    one = work({}, {(3, "EUR"): (40, 50, credit)}, balances)
    assert taken(one, 7, [("", 7)], account, "thanks").still_owed == 0


def test_a_payment_in_parts_is_taken_back_from_each() -> None:
    """As releases before this one shared a payment among consignments."""
    own = {ONE: consignment(line(3, 7), paid=7), TWO: consignment(line(3, 9), paid=9)}
    one = work(own, {(3, "EUR"): (0, 0, 2)})
    assert told(taken(one, 18, [(ONE, 7), (TWO, 9), ("", 2)], OWNER, OWNER)) == (BACK, OWNER, 0, 0, 7 + 9 + 16, "")
    assert [(each.partition, each.postings[0][1]) for each in one.bookings] == [
        (3, -7), (7, -9), (partition_of_account(OWNER), -2),
    ]  # fmt: skip


def test_what_waited_and_is_taken_back_within_its_request_waits_no_more() -> None:
    one = work()
    for each in (paid("a", 7), paid("c", 7), back("b", 7, "a")):
        one.book(each, {}, set())
    assert list(one.waiting) == [("EU", "c")]
