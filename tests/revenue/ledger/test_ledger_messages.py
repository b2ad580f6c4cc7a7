"""What requests about accounts and payments may contain, and what answers say of them: both sides of each bound."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from libs.chain.seals import Seal
from libs.server.errors import Refusal
from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.api.ledger_messages import (
    account_error,
    account_message,
    account_result,
    booked_payment,
    change_of,
    changed_fields,
    entry_message,
    money_error,
    payment_error,
    payment_result,
    seal_message,
    statement_line,
)
from services.revenue.store.ledger.accounts import Account, Change
from services.revenue.store.ledger.balances import LinePlace, StatementLine
from services.revenue.store.payments.payments import BookedPayment, Payment, PaymentResult
from services.revenue.store.proofs.stored_entry import StoredEntry, StoredPosting

MAX = 10**16
HUNDRED = [f"f{number}" for number in range(100)]


def account(**fields: Any) -> pb.Account:
    return pb.Account(**{"name": "deferred:D1", **fields})


@pytest.mark.parametrize(
    ("asked", "reason", "path"),
    [
        (account(), "", ""),
        (account(name="guarantee:G"), "", ""),
        (account(name="treasury:T"), "ACCOUNT_NAME_MALFORMED", ".name"),
        (account(name="vendor:V"), "", ""),
        (account(name="vendor:V", limit_minor=0), "ACCOUNT_SECURES_NOTHING", ".limit_minor"),
        (account(name="carrier:C", closed=True), "ACCOUNT_SECURES_NOTHING", ".closed"),
        (account(currency="EUR"), "", ""),
        (account(currency="EUX"), "LEDGER_CURRENCY_UNKNOWN", ".currency"),
        (account(limit_minor=0), "", ""),
        (account(closed=True), "", ""),
        (account(limit_minor=MAX), "", ""),
        (account(limit_minor=MAX + 1), "LEDGER_AMOUNT_OUT_OF_BOUNDS", ".limit_minor"),
        (account(limit_minor=-1, currency="EUR"), "LEDGER_AMOUNT_OUT_OF_BOUNDS", ".limit_minor"),
        (account(holder="x" * 70), "", ""),
        (account(holder="x" * 71), "LEDGER_TEXT_MALFORMED", ".holder"),
        (account(holder="a\nb"), "LEDGER_TEXT_MALFORMED", ".holder"),
        (account(filers=HUNDRED), "", ""),
        (account(filers=[*HUNDRED, "g"]), "ACCOUNT_FILERS_TOO_MANY", ".filers"),
        (account(filers=["a"], adds_filers=["b"]), "ACCOUNT_FILERS_TOLD_TWOFOLD", ".adds_filers"),
        (account(filers=["a"], drops_filers=["b"]), "ACCOUNT_FILERS_TOLD_TWOFOLD", ".drops_filers"),
        (account(adds_filers=["a"], drops_filers=["b"]), "", ""),
        (account(adds_filers=["a", "b"], drops_filers=["b"]), "ACCOUNT_FILER_REPEATED", ".drops_filers[0]"),
        (account(filers=["a", "b", "a"]), "ACCOUNT_FILER_REPEATED", ".filers[2]"),
        (account(filers=["a", "b c"]), "ACCOUNT_FILER_MALFORMED", ".filers[1]"),
        (account(adds_filers=[*HUNDRED, "g"]), "ACCOUNT_FILERS_TOO_MANY", ".adds_filers"),
        (account(drops_filers=[*HUNDRED, "g"]), "ACCOUNT_FILERS_TOO_MANY", ".drops_filers"),
        (account(drops_filers=HUNDRED), "", ""),
    ],
)
def test_an_account_is_refused_for_one_reason_at_its_place(asked: pb.Account, reason: str, path: str) -> None:
    error = account_error(7, asked)
    assert (error.reason if error else "") == reason
    if error is not None:
        assert f"accounts[7]{path}" in error.message
        assert "?" not in error.message


def test_an_amount_out_of_bounds_is_shown_in_its_currency_where_there_is_one() -> None:
    plain, euros = (account_error(0, account(limit_minor=-5, currency=each)) for each in ("", "EUR"))
    assert plain is not None
    assert euros is not None
    assert "-5 minor units" in plain.message
    assert f"{MAX} minor units" in plain.message
    assert "-0.05 EUR" in euros.message
    assert "minor units" not in euros.message


def test_a_change_of_an_account_leaves_what_the_request_does_not_state() -> None:
    assert change_of(account()) == Change("deferred:D1")
    assert change_of(account(limit_minor=0, closed=True, filers=["a"], holder="H", currency="EUR")) == Change(
        "deferred:D1", "EUR", 0, False, True, "H", ("a",)
    )
    added = change_of(account(adds_filers=["b"], drops_filers=["c"]), frozenset({"holder"}))
    assert added == Change("deferred:D1", holder="", adds_filers=("b",), drops_filers=("c",))
    emptied = change_of(account(), frozenset({"currency", "limit_minor", "closed", "holder", "filers"}))
    assert emptied == Change("deferred:D1", "", None, True, False, "", ())
    limited = change_of(account(limit_minor=0, closed=True, holder="H"), frozenset({"limit_minor"}))
    assert limited == Change("deferred:D1", limit_minor=0)


def test_a_mask_names_fields_of_an_account_and_a_star_all_of_them() -> None:
    def fields(*paths: str) -> frozenset[str] | None:
        return changed_fields(pb.PutAccountsRequest(update_mask=FieldMask(paths=paths)))

    everything = frozenset({"currency", "limit_minor", "closed", "holder", "filers"})
    assert changed_fields(pb.PutAccountsRequest()) is None
    assert fields() is None
    assert fields("holder", "closed", "holder") == {"holder", "closed"}
    assert fields("*") == fields(*everything) == everything
    assert fields("holder", "*") == everything
    with pytest.raises(Refusal) as caught:
        fields("*", "name")
    assert (caught.value.reason, caught.value.path, caught.value.value) == (
        "UPDATE_MASK_PATH_UNKNOWN", "update_mask", "name",
    )  # fmt: skip


def test_an_account_is_answered_or_refused_at_its_place() -> None:
    opened = Account("deferred:D1", "EUR", 5, True, "H", ("a", "b"))
    message = account(currency="EUR", limit_minor=5, closed=True, holder="H", filers=["a", "b"])
    assert account_message(opened) == message
    assert not account_message(Account("deferred:D1", "EUR", None, False, "")).HasField("limit_minor")
    assert account_result(3, opened, account()) == pb.AccountResult(account=message)
    many = account_result(3, "ACCOUNT_FILERS_TOO_MANY", account()).error
    assert many.reason == "ACCOUNT_FILERS_TOO_MANY"
    assert "accounts[3].adds_filers" in many.message
    assert "100" in many.message
    other = account_result(3, "ACCOUNT_CURRENCY_FIXED", account(currency="GBP")).error
    assert other.reason == "ACCOUNT_CURRENCY_FIXED"
    assert "accounts[3].currency" in other.message


def paid(**fields: Any) -> pb.Payment:
    usual: dict[str, Any] = {"id": "b", "jurisdiction": "EU", "currency": "EUR", "amount_minor": 1}
    return pb.Payment(**{**usual, **fields})


LONG = "J" * 10


@pytest.mark.parametrize(
    ("asked", "reason", "path"),
    [
        (paid(), "", ""),
        (paid(id=""), "LEDGER_TEXT_MALFORMED", ".id"),
        (paid(id="x" * 70), "", ""),
        (paid(id="x" * 71), "LEDGER_TEXT_MALFORMED", ".id"),
        (paid(id="a\tb"), "LEDGER_TEXT_MALFORMED", ".id"),
        (paid(reference="x" * 80), "", ""),
        (paid(reference="x" * 81), "LEDGER_TEXT_MALFORMED", ".reference"),
        (paid(reverses_id="x" * 70), "", ""),
        (paid(reverses_id="x" * 71), "LEDGER_TEXT_MALFORMED", ".reverses_id"),
        (paid(jurisdiction=""), "LEDGER_TEXT_MALFORMED", ".jurisdiction"),
        (paid(jurisdiction=LONG), "", ""),
        (paid(jurisdiction=LONG + "J", reverses_id="a"), "LEDGER_TEXT_MALFORMED", ".jurisdiction"),
        (paid(jurisdiction="UK"), "JURISDICTION_UNKNOWN", ".jurisdiction"),
        (paid(jurisdiction="UK", reverses_id="a"), "", ""),
        (paid(currency=""), "LEDGER_CURRENCY_UNKNOWN", ".currency"),
        (paid(amount_minor=0), "LEDGER_AMOUNT_OUT_OF_BOUNDS", ".amount_minor"),
        (paid(amount_minor=-1), "LEDGER_AMOUNT_OUT_OF_BOUNDS", ".amount_minor"),
        (paid(amount_minor=MAX), "", ""),
        (paid(amount_minor=MAX + 1), "LEDGER_AMOUNT_OUT_OF_BOUNDS", ".amount_minor"),
    ],
)
def test_a_payment_is_refused_for_one_reason_at_its_place(asked: pb.Payment, reason: str, path: str) -> None:
    error = payment_error(7, asked, {"EU", LONG})
    assert (error.reason if error else "") == reason
    if error is not None:
        assert f"payments[7]{path}" in error.message
        assert "?" not in error.message


def test_further_texts_are_checked_beside() -> None:
    def reason(text: str, needed: bool) -> str:
        error = money_error("here", paid(), {"EU"}, ("extra", text, 3, needed))
        return "" if error is None else error.reason

    assert reason("", False) == reason("abc", True) == ""
    assert reason("", True) == reason("abcd", False) == "LEDGER_TEXT_MALFORMED"


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("AMOUNT_OUT_OF_BOUNDS", "PAYMENT_SUM_OUT_OF_BOUNDS"),
        ("BALANCE_OUT_OF_BOUNDS", "PAYMENT_BALANCE_OUT_OF_BOUNDS"),
        ("JURISDICTION_DIFFERS", "PAYMENT_JURISDICTION_DIFFERS"),
        ("PAYMENT_REUSED", "PAYMENT_REUSED"),
    ],
)
def test_an_answer_says_what_became_of_a_payment_and_why(reason: str, shown: str) -> None:
    payment = Payment("b", "M", "EU", "EUR", 3)
    found = payment_result(7, payment, PaymentResult(pb.PAYMENT_OUTCOME_UNDERPAID, "declarant:D", 1, 2, 3, reason))
    assert (found.outcome, found.account) == (pb.PAYMENT_OUTCOME_UNDERPAID, "declarant:D")
    assert (found.matched_minor, found.unapplied_minor, found.open_minor, found.currency) == (1, 2, 3, "EUR")
    assert found.error.reason == shown
    assert "payments[7]" in found.error.message
    assert not payment_result(7, payment, PaymentResult(pb.PAYMENT_OUTCOME_MATCHED)).HasField("error")


SECOND = 1_000_000


def test_what_stands_in_the_ledger_is_answered_field_by_field() -> None:
    booked = BookedPayment(
        Payment("b", "M", "EU", "EUR", 5, "a"),
        PaymentResult(pb.PAYMENT_OUTCOME_MATCHED, "declarant:D", 5),
        9 * SECOND,
        "anna",
        "c",
        "d",
    )
    payment = booked_payment(booked)
    assert payment.payment == paid(reference="M", amount_minor=5, reverses_id="a")
    assert (payment.result.matched_minor, payment.booked_at.seconds) == (5, 9)
    assert (payment.booked_by, payment.reversed_by, payment.returned_by) == ("anna", "c", "d")
    line = statement_line(StatementLine(LinePlace(9 * SECOND, 1, 2, 3), 4, 3, "M", "r", "DE", 2, -7))
    assert line == pb.StatementLine(
        booked_at=payment.booked_at, entry_kind=4, reverses=3, mrn="M", reference="r", destination="DE",  # type: ignore[arg-type]  # numbers
        kind=common_pb2.CHARGE_KIND_TAX, amount_minor=-7,
    )  # fmt: skip
    entry = StoredEntry(
        8,
        1,
        2,
        4,
        3,
        9 * SECOND,
        "M",
        6,
        "r",
        "EUR",
        "DE",
        b"h",
        [StoredPosting("vendor:V", 7, 1), StoredPosting("bank:EU", -7, 0)],
    )
    assert entry_message(entry) == pb.Entry(
        partition=1, number=2, kind=4, reverses=3, booked_at=payment.booked_at, mrn="M", version=6, reference="r",  # type: ignore[arg-type]  # numbers
        currency="EUR", destination="DE", hash=b"h",
        postings=[pb.Posting(account="vendor:V", amount_minor=7, kind=common_pb2.CHARGE_KIND_DUTY), pb.Posting(account="bank:EU", amount_minor=-7)],
    )  # fmt: skip
    assert seal_message(None) is None
    assert seal_message(Seal(3, b"h", 9 * SECOND)) == pb.Seal(number=3, hash=b"h", sealed_at=payment.booked_at)
