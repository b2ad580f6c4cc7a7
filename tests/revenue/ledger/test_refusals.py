"""Each clause of each refusal alone: what is refused by it, and the nearest that is not, at both sides of every bound."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from luxor.errors.v1.errors_pb2 import ItemError
from luxor.revenue.v1 import ledger_pb2 as pb
from luxor.revenue.v1 import schemes_pb2
from services.revenue.api.ledger_messages import account_error, payment_error
from services.revenue.api.payout_messages import payout_error
from services.revenue.assessment.scheme_register import RejectedEntry, SchemeEntry, read_entry
from services.revenue.commands.payments.record_payout import Payouts
from services.revenue.law.program.beneficiaries import Sharing
from services.revenue.law.source.rulebook import Refund
from services.revenue.ledger.account import account_name_error
from services.revenue.ledger.allocation import Booking, Match, entries_of, match
from services.revenue.ledger.charge import charges_of
from services.revenue.ledger.entry import LedgerError, check
from services.revenue.ledger.line import LINE
from services.revenue.ledger.position import PaidOut, settled
from services.revenue.store.ledger.accounts import Account, Accounts, Change
from services.revenue.store.ledger.securities import ActiveSecurities
from services.revenue.store.payments.payments import Payment
from services.revenue.store.payments.payouts import Payout
from tests.revenue.ledger.books import Books, rules
from tests.revenue.ledger.service_client import open_state
from tests.revenue.ledger.states import Charge, State, mrn, states_table

ONE = mrn(1, 3)
LARGEST = 10**16
"""The documented bound of an amount, minor units."""
GOOD_PAYMENT: dict[str, Any] = {
    "id": "b1", "reference": ONE, "jurisdiction": "EU", "currency": "EUR", "amount_minor": 1,
}  # fmt: skip


def found(error: ItemError | None) -> tuple[str, str]:
    return ("", "") if error is None else (error.reason, error.path)


TEXT = "LEDGER_TEXT_MALFORMED"
MONEY: list[tuple[dict[str, Any], str, str]] = [
    ({}, "", ""),
    ({"id": ""}, TEXT, "id"),
    ({"id": "b" * 70}, "", ""),
    ({"id": "b" * 71}, TEXT, "id"),
    ({"id": "b\n"}, TEXT, "id"),
    ({"reverses_id": "b" * 70}, "", ""),
    ({"reverses_id": "b" * 71}, TEXT, "reverses_id"),
    ({"reverses_id": "b\x00"}, TEXT, "reverses_id"),
    ({"jurisdiction": ""}, TEXT, "jurisdiction"),
    ({"jurisdiction": "E" * 10, "reverses_id": "b0"}, "", ""),
    ({"jurisdiction": "E" * 11, "reverses_id": "b0"}, TEXT, "jurisdiction"),
    ({"jurisdiction": "E\t", "reverses_id": "b0"}, TEXT, "jurisdiction"),
    ({"jurisdiction": "ZZ"}, "JURISDICTION_UNKNOWN", "jurisdiction"),
    # What is taken back may have been booked while that law was still loaded.
    ({"jurisdiction": "ZZ", "reverses_id": "b0"}, "", ""),
    ({"currency": ""}, "LEDGER_CURRENCY_UNKNOWN", "currency"),
    ({"currency": "XYZ"}, "LEDGER_CURRENCY_UNKNOWN", "currency"),
    ({"currency": "JPY"}, "", ""),
    ({"amount_minor": 0}, "LEDGER_AMOUNT_OUT_OF_BOUNDS", "amount_minor"),
    ({"amount_minor": -1}, "LEDGER_AMOUNT_OUT_OF_BOUNDS", "amount_minor"),
    ({"amount_minor": LARGEST}, "", ""),
    ({"amount_minor": LARGEST + 1}, "LEDGER_AMOUNT_OUT_OF_BOUNDS", "amount_minor"),
]


@pytest.mark.parametrize(("change", "reason", "element"), MONEY)
def test_payments_and_payouts_are_refused_by_each_clause_alone(
    change: dict[str, Any], reason: str, element: str
) -> None:
    error = payment_error(4, pb.Payment(**GOOD_PAYMENT | change), {"EU", "UK"})
    assert found(error) == (reason, f"payments[4].{element}" if reason else "")
    error = payout_error(5, pb.Payout(**GOOD_PAYMENT | change), {"EU", "UK"})
    assert found(error) == (reason, f"payouts[5].{element}" if reason else "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        # What a payer wrote may be anything that can be printed, or nothing.
        ({"reference": ""}, ""), ({"reference": "r" * 80}, ""), ({"reference": "r" * 81}, TEXT), ({"reference": "r\n"}, TEXT),
    ],
)  # fmt: skip
def test_the_reference_of_a_payment_is_a_printable_text(change: dict[str, Any], reason: str) -> None:
    assert found(payment_error(0, pb.Payment(**GOOD_PAYMENT | change), {"EU"}))[0] == reason


PAYEE = "PAYOUT_REFERENCE_MALFORMED"


@pytest.mark.parametrize(
    ("change", "reason", "element"),
    [
        ({"reference": "declarant:D"}, "", ""), ({"reference": "vendor:V"}, "", ""), ({"reference": "carrier:C"}, "", ""),
        ({"reference": "deferred:D"}, "", ""), ({"reference": "guarantee:G"}, "", ""), ({"reference": "treasury:DE:tax"}, "", ""),
        # Told apart where it is booked, with its own reason.
        ({"reference": "border:DE"}, "", ""),
        ({"reference": ""}, PAYEE, "reference"), ({"reference": "rent"}, PAYEE, "reference"),
        ({"reference": ONE[:-1]}, PAYEE, "reference"), ({"reference": "bank:EU"}, PAYEE, "reference"),
        ({"reference": "unmatched:EU"}, PAYEE, "reference"), ({"reference": "declarant:"}, PAYEE, "reference"),
        ({"reference": "declarant: D"}, PAYEE, "reference"), ({"reference": "Declarant:D"}, PAYEE, "reference"),
        # What takes one back may name nobody, and nothing else than a payee.
        ({"reference": "", "reverses_id": "o1"}, "", ""), ({"reference": "rent", "reverses_id": "o1"}, PAYEE, "reference"),
        # What sends a payment back names nobody and takes nothing back.
        ({"reference": "", "returns_payment_id": "b1"}, "", ""), ({"reference": "declarant:D", "returns_payment_id": "b1"}, PAYEE, "reference"),
        ({"reference": ONE, "returns_payment_id": "b1"}, PAYEE, "reference"),
        ({"reference": "", "returns_payment_id": "b1", "reverses_id": "o1"}, PAYEE, "reference"),
        ({"reference": "", "returns_payment_id": "b" * 70}, "", ""), ({"reference": "", "returns_payment_id": "b" * 71}, TEXT, "returns_payment_id"),
        ({"reference": "", "returns_payment_id": "b\n"}, TEXT, "returns_payment_id"),
        # 2000-01-01 is the first day, 2099-12-31 the last.
        ({"paid_at": Timestamp(seconds=946_684_800)}, "", ""), ({"paid_at": Timestamp(seconds=4_102_444_799)}, "", ""),
        ({"paid_at": Timestamp(seconds=946_684_799)}, "MOMENT_OUT_OF_BOUNDS", "paid_at"),
        ({"paid_at": Timestamp(seconds=4_102_444_800)}, "MOMENT_OUT_OF_BOUNDS", "paid_at"),
    ],
)  # fmt: skip
def test_a_payee_is_an_mrn_or_an_account_that_can_be_paid(change: dict[str, Any], reason: str, element: str) -> None:
    error = payout_error(0, pb.Payout(**GOOD_PAYMENT | change), {"EU"})
    assert found(error) == (reason, f"payouts[0].{element}" if reason else "")


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("deferred:x", True), ("guarantee:x", True), ("declarant:x", False), ("deferred", False), ("deferred:", False),
        ("deferred: x", False), ("deferred:x ", False), ("deferred:x\n", False), (":x", False), ("", False),
        ("deferred:" + "x" * 71, True), ("deferred:" + "x" * 72, False),
    ],
)  # fmt: skip
def test_an_account_is_named_by_its_kind_and_an_id(name: str, good: bool) -> None:
    assert (account_name_error(name, ("deferred", "guarantee")) == "") is good


@pytest.mark.parametrize(
    ("change", "reason", "element"),
    [
        ({}, "", ""),
        ({"name": "declarant:x"}, "ACCOUNT_NAME_MALFORMED", "name"),
        ({"currency": ""}, "", ""),
        ({"currency": "XYZ"}, "LEDGER_CURRENCY_UNKNOWN", "currency"),
        ({"closed": True}, "", ""),
        ({"limit_minor": 0}, "", ""),
        ({"limit_minor": -1}, "LEDGER_AMOUNT_OUT_OF_BOUNDS", "limit_minor"),
        ({"limit_minor": LARGEST}, "", ""),
        ({"limit_minor": LARGEST + 1}, "LEDGER_AMOUNT_OUT_OF_BOUNDS", "limit_minor"),
        ({"holder": "h" * 70}, "", ""),
        ({"holder": "h" * 71}, TEXT, "holder"),
        ({"holder": "h\n"}, TEXT, "holder"),
        ({"filers": ["a"], "drops_filers": ["b"]}, "ACCOUNT_FILERS_TOLD_TWOFOLD", "drops_filers"),
        ({"filers": ["a"], "adds_filers": ["b"]}, "ACCOUNT_FILERS_TOLD_TWOFOLD", "adds_filers"),
        ({"adds_filers": ["a"], "drops_filers": ["b"]}, "", ""),
        ({"adds_filers": ["a"], "drops_filers": ["a"]}, "ACCOUNT_FILER_REPEATED", "drops_filers[0]"),
        ({"filers": ["a", "a"]}, "ACCOUNT_FILER_REPEATED", "filers[1]"),
        ({"filers": [str(n) for n in range(100)]}, "", ""),
        ({"filers": [str(n) for n in range(101)]}, "ACCOUNT_FILERS_TOO_MANY", "filers"),
        ({"adds_filers": [str(n) for n in range(101)]}, "ACCOUNT_FILERS_TOO_MANY", "adds_filers"),
        ({"drops_filers": [str(n) for n in range(101)]}, "ACCOUNT_FILERS_TOO_MANY", "drops_filers"),
        ({"filers": ["f" * 64]}, "", ""),
        ({"filers": ["f" * 65]}, "ACCOUNT_FILER_MALFORMED", "filers[0]"),
        ({"filers": [""]}, "ACCOUNT_FILER_MALFORMED", "filers[0]"),
        ({"filers": ["a/b"]}, "ACCOUNT_FILER_MALFORMED", "filers[0]"),
        ({"filers": ["-a"]}, "ACCOUNT_FILER_MALFORMED", "filers[0]"),
    ],
)  # fmt: skip
def test_an_account_is_refused_by_each_clause_alone(change: dict[str, Any], reason: str, element: str) -> None:
    error = account_error(2, pb.Account(**{"name": "deferred:x", "currency": "EUR"} | change))
    assert found(error) == (reason, f"accounts[2].{element}" if reason else "")


async def test_an_accounts_currency_is_needed_once_and_fixed_by_a_limit_or_a_booking(books: Books) -> None:
    accounts = Accounts(books.database)

    async def told(*changes: Change) -> list[str]:
        async with books.database.transaction() as tx:
            return [
                each if isinstance(each, str) else each.currency
                for each in await accounts.change(tx, changes, "officer")
            ]

    assert await told(Change("deferred:a"), Change("deferred:b", currency="EUR")) == ["ACCOUNT_CURRENCY_MISSING", "EUR"]
    # Neither limit nor booking: the currency may still change; with a limit it may not, whatever the limit is.
    assert await told(Change("deferred:b", currency="GBP", limit_minor=0)) == ["GBP"]
    assert await told(Change("deferred:b", currency="EUR")) == ["ACCOUNT_CURRENCY_FIXED"]
    assert await told(Change("deferred:b", currency="GBP")) == ["GBP"]
    assert await told(Change("deferred:b", no_limit=True)) == ["GBP"]
    assert await told(Change("deferred:b", currency="EUR")) == ["EUR"]
    assert await told(Change("deferred:carrier-7", currency="EUR")) == ["EUR"]
    await books.take(State(ONE))
    assert await told(Change("deferred:carrier-7", currency="GBP")) == ["ACCOUNT_CURRENCY_FIXED"]
    assert await told(Change("deferred:carrier-7", currency="EUR")) == ["EUR"]
    full = tuple(str(number) for number in range(100))
    assert await told(Change("deferred:b", filers=full)) == ["EUR"]
    assert await told(Change("deferred:b", adds_filers=("x",))) == ["ACCOUNT_FILERS_TOO_MANY"]
    assert await told(Change("deferred:b", adds_filers=("x",), drops_filers=("0",))) == ["EUR"]


async def test_an_account_is_usable_while_it_is_open_and_stands_for_less_than_its_limit(books: Books) -> None:
    await books.take(State(ONE, charges=(Charge(300),)))
    following = ActiveSecurities(books.database, everyone=False)
    for account, usable, room in (
        (Account("deferred:carrier-7", "EUR", None, False, ""), True, None),
        (Account("deferred:carrier-7", "EUR", None, True, ""), False, None),
        (Account("deferred:carrier-7", "EUR", 301, False, ""), True, 1),
        (Account("deferred:carrier-7", "EUR", 301, True, ""), False, None),
        (Account("deferred:carrier-7", "EUR", 300, False, ""), False, 0),
        (Account("deferred:carrier-7", "EUR", 299, False, ""), False, -1),
        # What stands there in another currency than the limit's takes nothing of it.
        (Account("deferred:carrier-7", "GBP", 1, False, ""), True, 1),
        (Account("deferred:carrier-7", "GBP", 0, False, ""), False, 0),
    ):  # fmt: skip
        async with books.database.transaction() as tx:
            await Accounts(books.database).put(tx, [account], "officer")
        await following.look()
        opened = following.securities.opened["deferred:carrier-7"]
        assert (opened.usable, opened.room and opened.room.minor) == (usable, room), account


async def test_a_payment_is_taken_back_or_told_again_only_as_it_was_booked(books: Books) -> None:
    await books.take(open_state(ONE))
    first = Payment("b1", ONE, "EU", "EUR", 100)
    (booked,) = await books.pay(first)
    assert booked.reason == ""
    back = Payment("b2", "", "EU", "EUR", 100, "b1")
    cases = [
        # The same id again with any other content, field by field; another jurisdiction has ids of its own.
        (first, ""), (replace(first, reference="x"), "PAYMENT_REUSED"), (replace(first, currency="GBP"), "PAYMENT_REUSED"),
        (replace(first, amount=101), "PAYMENT_REUSED"), (replace(first, amount=99), "PAYMENT_REUSED"),
        (replace(first, reverses_id="b0"), "PAYMENT_REUSED"),
        # Taken back: unknown, of another bank, another amount, another currency.
        (replace(back, reverses_id="b9"), "PAYMENT_UNKNOWN"), (replace(back, jurisdiction="UK"), "PAYMENT_UNKNOWN"),
        (replace(back, amount=101), "PAYMENT_DIFFERS"), (replace(back, amount=99), "PAYMENT_DIFFERS"),
        (replace(back, currency="GBP"), "PAYMENT_DIFFERS"), (replace(back, currency="USD", amount=99), "PAYMENT_DIFFERS"),
        (Payment("b3", "border:DE", "EU", "EUR", 1), "PAYMENT_REFERENCE_SHARED"),
    ]  # fmt: skip
    for payment, reason in cases:
        (result,) = await books.pay(payment)
        assert result.reason == reason, payment
        assert (await books.standing())["bank:EU"] == 100, payment
    (result,) = await books.pay(back)
    assert (result.reason, result.outcome) == ("", pb.PAYMENT_OUTCOME_REVERSED)
    assert "bank:EU" not in await books.standing()
    (twice,) = await books.pay(replace(back, id="b4"))
    (of_return,) = await books.pay(Payment("b5", "", "EU", "EUR", 100, "b2"))
    assert (twice.reason, of_return.reason) == ("PAYMENT_ALREADY_REVERSED", "PAYMENT_DIFFERS")
    assert "bank:EU" not in await books.standing()


async def test_payments_of_one_consignment_are_at_most_the_largest_amount(books: Books) -> None:
    await books.take(open_state(ONE))
    told = [
        Payment("b1", ONE, "EU", "EUR", LARGEST - 1),
        Payment("b2", ONE, "EU", "EUR", 2),
        Payment("b3", ONE, "EU", "EUR", 1),
    ]
    assert [each.reason for each in await books.pay(*told)] == ["", "AMOUNT_OUT_OF_BOUNDS", ""]
    (result,) = await books.pay(Payment("b4", ONE, "EU", "EUR", 1))
    assert result.reason == "AMOUNT_OUT_OF_BOUNDS"
    assert (await books.standing())["bank:EU"] == LARGEST


async def test_a_payout_is_refused_by_each_clause_alone_and_moves_nothing(books: Books) -> None:
    owner, other = "declarant:DE1234567890", mrn(2, 7)
    buyer = open_state(other, charges=(Charge(300, account="border:DE"),))
    await books.take(open_state(ONE, charges=(Charge(300),)), buyer)
    await books.pay(
        Payment("b1", owner, "EU", "EUR", 800), Payment("b2", "rent", "EU", "EUR", 40), Payment("b3", other, "EU", "EUR", 310),
        Payment("b4", "rent", "UK", "EUR", 5), Payment("b5", owner, "EU", "GBP", 7), Payment("b6", "rent", "EU", "EUR", 3),
        Payment("b7", "", "EU", "EUR", 3, "b6"),
    )  # fmt: skip

    async def out(payout: Payout) -> str:
        (result,) = await Payouts(books.ledger).record([payout], "officer-1")
        return result.reason

    own, sent, back = (
        Payout("o1", owner, "EU", "EUR", 500),
        Payout("o2", "", "EU", "EUR", 40, returns_payment_id="b2"),
        Payout("o3", "", "EU", "EUR", 500, reverses_id="o1"),
    )
    before = await books.standing()
    for payout, reason in [
        (replace(own, amount=501), "PAYOUT_EXCEEDS_CREDIT"), (replace(own, currency="GBP", amount=8), "PAYOUT_EXCEEDS_CREDIT"),
        (replace(own, reference="declarant:X"), "PAYOUT_EXCEEDS_CREDIT"), (replace(own, jurisdiction="UK", amount=6), "PAYOUT_EXCEEDS_BANK"),
        (replace(own, reference="border:DE"), "PAYOUT_REFERENCE_SHARED"), (replace(own, reference=ONE, amount=1), "PAYOUT_OF_ACCOUNT"),
        (replace(own, reference=other, amount=11), "PAYOUT_EXCEEDS_CREDIT"), (replace(own, reference=mrn(9, 9), amount=1), "PAYOUT_EXCEEDS_CREDIT"),
        (replace(own, reference=other, amount=1, currency="GBP"), "PAYOUT_CONSIGNMENT_DIFFERS"),
        (replace(own, reference=other, amount=1, jurisdiction="UK"), "PAYOUT_CONSIGNMENT_DIFFERS"),
        (replace(own, reference="treasury:GB:tax", amount=1), "PAYOUT_TREASURY_DIFFERS"),
        (replace(sent, returns_payment_id="b9"), "PAYOUT_PAYMENT_UNKNOWN"), (replace(sent, jurisdiction="UK"), "PAYOUT_PAYMENT_UNKNOWN"),
        (replace(sent, amount=41), "PAYOUT_DIFFERS"), (replace(sent, amount=39), "PAYOUT_DIFFERS"), (replace(sent, currency="GBP"), "PAYOUT_DIFFERS"),
        (replace(sent, returns_payment_id="b1", amount=800), "PAYOUT_PAYMENT_USED"),
        (replace(sent, returns_payment_id="b6", amount=3), "PAYOUT_PAYMENT_USED"),
        (back, "PAYOUT_UNKNOWN"),
    ]:  # fmt: skip
        assert await out(payout) == reason, payout
        assert await books.standing() == before, payout
    # Each at its bound, and then what may not follow it.
    assert [await out(each) for each in (own, sent, Payout("o4", other, "EU", "EUR", 10))] == ["", "", ""]
    for payout, reason in [
        (own, ""), (replace(own, amount=499), "PAYOUT_REUSED"), (replace(own, reference="vendor:V"), "PAYOUT_REUSED"),
        (replace(own, currency="GBP"), "PAYOUT_REUSED"), (replace(own, paid_at=1), "PAYOUT_REUSED"),
        (replace(own, reverses_id="o2"), "PAYOUT_REUSED"),
        (replace(own, returns_payment_id="b2"), "PAYOUT_REUSED"), (replace(sent, id="o5"), "PAYOUT_PAYMENT_USED"),
        (replace(back, amount=499), "PAYOUT_DIFFERS"), (replace(back, currency="GBP"), "PAYOUT_DIFFERS"),
        (replace(back, jurisdiction="UK"), "PAYOUT_UNKNOWN"),
    ]:  # fmt: skip
        assert await out(payout) == reason, payout
    assert await out(back) == ""
    assert [await out(replace(back, id="o6")), await out(Payout("o7", "", "EU", "EUR", 500, reverses_id="o3"))] == [
        "PAYOUT_ALREADY_REVERSED", "PAYOUT_OF_RETURN",
    ]  # fmt: skip


SCHEME: dict[str, Any] = {"scheme": 1, "number": "IM2760000014", "holder": "Shop", "from_day": "2026-01-01"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""), ({"scheme": 0}, "SCHEME_NOT_KNOWN"), ({"scheme": 999}, "SCHEME_NOT_KNOWN"),
        ({"number": ""}, "SCHEME_NUMBER_UNREADABLE"), ({"number": "N" * 35}, ""), ({"number": "N" * 36}, "SCHEME_NUMBER_UNREADABLE"),
        ({"number": "N\x07N"}, "SCHEME_NUMBER_UNREADABLE"),
        ({"holder": ""}, ""), ({"holder": "h" * 70}, ""), ({"holder": "h" * 71}, "SCHEME_HOLDER_UNREADABLE"),
        ({"holder": "h\n"}, "SCHEME_HOLDER_UNREADABLE"),
        ({"from_day": ""}, "SCHEME_DAY_WRONG"), ({"from_day": "2026-13-01"}, "SCHEME_DAY_WRONG"), ({"from_day": "20260101"}, "SCHEME_DAY_WRONG"),
        ({"to_day": "2026-13-01"}, "SCHEME_DAY_WRONG"), ({"to_day": ""}, ""), ({"to_day": "2026-01-01"}, ""),
        ({"to_day": "2025-12-31"}, "SCHEME_DAYS_TURNED"),
    ],
)  # fmt: skip
def test_a_scheme_number_is_refused_by_each_clause_alone(change: dict[str, Any], reason: str) -> None:
    told = schemes_pb2.SchemeNumber()
    for name, value in (SCHEME | change).items():
        setattr(told, name, value)
    read = read_entry(told, {})
    assert (read.reason if isinstance(read, RejectedEntry) else "") == reason
    assert isinstance(read, SchemeEntry) is (reason == "")


def booking(*postings: tuple[int, int]) -> Booking:
    return Booking(3, ONE, 1, "", "EUR", "DE", False, list(postings))


@pytest.mark.parametrize(
    ("postings", "reason"),
    [
        ([(1, 5), (2, -5)], ""), ([(1, 5), (2, -4)], "UNBALANCED"), ([(1, 5), (2, -6)], "UNBALANCED"), ([(1, 0)], "UNBALANCED"),
        ([(1, LARGEST), (2, -LARGEST)], ""), ([(1, LARGEST + 1), (2, -LARGEST - 1)], "AMOUNT_OUT_OF_BOUNDS"),
        ([(1, LARGEST), (2, -LARGEST - 1), (3, 1)], "AMOUNT_OUT_OF_BOUNDS"),
        ([(1, -(2**63)), (2, 5), (3, -5)], "AMOUNT_OUT_OF_BOUNDS"),
        # Sums beyond 64 bits are neither wrapped nor refused where each posting is within its bound.
        ([(1, LARGEST)] * 1_000 + [(2, -LARGEST)] * 1_000, ""),
        # 2^64 wraps to nothing: 1,844 of the largest and the rest of 2^64 are no balance.
        ([(1, LARGEST)] * 1_844 + [(2, 2**64 - 1_844 * LARGEST)], "UNBALANCED"),
        ([(1, 1)] * 5_000 + [(2, -1)] * 5_000, ""), ([(1, 1)] * 5_001 + [(2, -1)] * 5_001, "UNBALANCED"),
    ],
)  # fmt: skip
def test_an_entry_is_booked_only_where_it_is_balanced_and_within_its_bounds(
    postings: list[tuple[int, int]], reason: str
) -> None:
    entries = entries_of([booking((1, 1), (2, -1)), booking(*postings)])
    if not reason:
        check(entries)
        return
    with pytest.raises(LedgerError) as error:
        check(entries)
    assert error.value.reason == reason


@pytest.mark.parametrize(
    ("amount", "owed", "expected"),
    [
        (5, 5, (pb.PAYMENT_OUTCOME_MATCHED, 5, 0, 0)), (4, 5, (pb.PAYMENT_OUTCOME_UNDERPAID, 4, 0, 1)),
        (6, 5, (pb.PAYMENT_OUTCOME_OVERPAID, 5, 1, 0)), (1, 0, (pb.PAYMENT_OUTCOME_OVERPAID, 0, 1, 0)),
        (1, -1, (pb.PAYMENT_OUTCOME_OVERPAID, 0, 1, 0)), (LARGEST, LARGEST, (pb.PAYMENT_OUTCOME_MATCHED, LARGEST, 0, 0)),
    ],
)  # fmt: skip
def test_a_payment_is_matched_underpaid_or_overpaid_at_the_minor_unit(
    amount: int, owed: int, expected: tuple[int, int, int, int]
) -> None:
    assert match(amount, owed) == Match(*expected)


def test_shares_of_refunds_are_rounded_down_at_ties_and_near_the_bounds() -> None:
    """The oracle is the definition in exact fractions: parts of a minor unit are not paid back."""
    for text, share in (("50 %", Fraction(1, 2)), ("33.3333 %", Fraction(333_333, 1_000_000)), ("100 %", Fraction(1))):
        amounts = [1, 2, 3, 5, 7, 99, 101, LARGEST // 2 + 1, LARGEST - 1, LARGEST]
        refund = Refund(
            start=date(2020, 1, 1), reference="x", charges=("flat_duty",), because=("withdrawn",), share=text
        )
        told = states_table(
            [State(mrn(n, 3), charges=(Charge(each),), returned=(1,)) for n, each in enumerate(amounts)]
        )
        charged = charges_of(told, Sharing())
        ids = {name: number for number, name in enumerate(sorted(charged.names()), 1)}
        lines = charged.page(ids, rules(refund)).lines
        assert lines["entitled"].tolist() == [int(each * share) for each in amounts]


@pytest.mark.parametrize(
    ("paid", "entitled", "remitted", "refunded", "still"),
    [
        (0, 0, 0, 0, LARGEST), (LARGEST, 0, 0, 0, 0), (LARGEST - 1, 0, 0, 0, 1), (LARGEST + 1, 0, 0, 0, 0),
        # A refund pays back what was paid, and remits the rest of the debt first.
        (0, LARGEST, LARGEST, 0, 0), (LARGEST, LARGEST, 0, LARGEST, 0), (1, LARGEST, LARGEST - 1, 1, 0),
        (LARGEST - 1, 1, 1, 0, 0), (LARGEST - 1, 2, 1, 1, 0), (LARGEST, 1, 0, 1, 0), (5, 3, 3, 0, LARGEST - 8),
    ],
)  # fmt: skip
def test_what_is_remitted_refunded_and_open_is_exact_to_the_minor_unit(
    paid: int, entitled: int, remitted: int, refunded: int, still: int
) -> None:
    line = np.zeros(1, LINE)
    line["amount"], line["entitled"], line["debtor"], line["account"] = LARGEST, entitled, 1, 1
    done, left = settled(line, np.array([0, 1]), np.array([paid]), PaidOut.nothing(1))
    assert (done["remitted"][0], done["refunded"][0], left[0]) == (remitted, refunded, still)
