"""What the ledger's edge checks and tells: accounts and payments as they come, entries and statement lines as they go."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from libs.chain.seals import Seal
from libs.customs.currencies import minor_units
from libs.customs.money import money_text
from libs.customs.time import date_of_day, day_of_date
from libs.server.errors import Refusal, item_error
from libs.server.identity import is_id
from luxor.common.v1 import common_pb2
from luxor.errors.v1 import errors_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.account import (
    COLLECTING,
    FILERS_MAX,
    MONTHLY,
    DueDays,
    account_name_error,
    kind_of,
    prefix_of,
)
from services.revenue.ledger.entry import AMOUNT_MAX
from services.revenue.store.ledger.accounts import Account, Change
from services.revenue.store.ledger.balances import Close, StatementLine
from services.revenue.store.payments.payments import BookedPayment, Payment, PaymentResult
from services.revenue.store.proofs.stored_entry import StoredEntry

TEXT_MAX: Final = 70
REFERENCE_MAX: Final = 80
JURISDICTION_MAX: Final = 10
ACCOUNT_FIELDS: Final = ("currency", "limit_minor", "closed", "holder", "filers")
"""Fields of an account that a request may change."""


def _known_currency(code: str) -> bool:
    try:
        minor_units(code)
    except ValueError:
        return False
    return True


def _amount_error(path: str, minor: int, currency: str) -> errors_pb2.ItemError:
    """Return the error of an amount that is out of bounds, in the form of its currency if that is known."""
    amounts = (money_text(each, currency) if currency else f"{each} minor units" for each in (minor, AMOUNT_MAX))
    return item_error("LEDGER_AMOUNT_OUT_OF_BOUNDS", path, minor, amount=next(amounts), amount_max=next(amounts))


def changed_fields(request: pb.PutAccountsRequest) -> frozenset[str] | None:
    """Return the fields that the mask of a request names; None without a mask, for those that have a value. Raise Refusal for an unknown path."""
    paths = frozenset(request.update_mask.paths)
    for path in request.update_mask.paths:
        if path not in (*ACCOUNT_FIELDS, "*"):
            raise Refusal("UPDATE_MASK_PATH_UNKNOWN", path="update_mask", value=path, known=", ".join(ACCOUNT_FIELDS))
    if "*" in paths:
        return frozenset(ACCOUNT_FIELDS)
    return paths or None


def account_error(place: int, account: pb.Account, fields: frozenset[str] | None = None) -> errors_pb2.ItemError | None:
    """Return why an account of a request, of which some fields are changed, is refused; None where it is accepted."""
    here = f"accounts[{place}]"
    if why := account_name_error(account.name, MONTHLY):
        return item_error("ACCOUNT_NAME_MALFORMED", f"{here}.name", account.name, why=why)
    named = _fields_of(account, fields)
    if prefix_of(account.name) in COLLECTING:
        for name, states in (("limit_minor", account.HasField("limit_minor")), ("closed", account.closed)):
            if states and name in named:
                return item_error("ACCOUNT_SECURES_NOTHING", f"{here}.{name}", account.name)
    if "currency" in named and account.currency and not _known_currency(account.currency):
        return item_error("LEDGER_CURRENCY_UNKNOWN", f"{here}.currency", account.currency)
    if "limit_minor" in named and not 0 <= account.limit_minor <= AMOUNT_MAX:
        return _amount_error(f"{here}.limit_minor", account.limit_minor, account.currency)
    if "holder" in named and (len(account.holder) > TEXT_MAX or not account.holder.isprintable()):
        return item_error("LEDGER_TEXT_MALFORMED", f"{here}.holder", characters_max=TEXT_MAX)
    return _filers_error(here, account, replaced="filers" in named)


def _filers_error(path: str, account: pb.Account, *, replaced: bool) -> errors_pb2.ItemError | None:
    changed = [("adds_filers", account.adds_filers), ("drops_filers", account.drops_filers)]
    if replaced:
        for name, idents in changed:
            if idents:
                return item_error("ACCOUNT_FILERS_TOLD_TWOFOLD", f"{path}.{name}")
    seen: set[str] = set()
    lists = [("filers", account.filers), *changed] if replaced else changed
    for name, idents in lists:
        if len(idents) > FILERS_MAX:
            return item_error("ACCOUNT_FILERS_TOO_MANY", f"{path}.{name}", count_max=FILERS_MAX)
        for place, ident in enumerate(idents):
            if not is_id(ident):
                return item_error("ACCOUNT_FILER_MALFORMED", f"{path}.{name}[{place}]", ident)
            if ident in seen:
                return item_error("ACCOUNT_FILER_REPEATED", f"{path}.{name}[{place}]", ident)
            seen.add(ident)
    return None


def _fields_of(account: pb.Account, fields: frozenset[str] | None) -> frozenset[str]:
    """Return which fields of an account are changed: those of the mask, without one those that have a value."""
    return frozenset(field.name for field, _ in account.ListFields()) if fields is None else fields


def change_of(account: pb.Account, fields: frozenset[str] | None = None) -> Change:
    """Read the change of an account: `fields` are those of the mask, None without one."""
    named = _fields_of(account, fields)
    has_limit = account.HasField("limit_minor")
    return Change(
        account.name,
        currency=account.currency if "currency" in named else None,
        limit_minor=account.limit_minor if "limit_minor" in named and has_limit else None,
        no_limit="limit_minor" in named and not has_limit,
        closed=account.closed if "closed" in named else None,
        holder=account.holder if "holder" in named else None,
        filers=tuple(account.filers) if "filers" in named else None,
        adds_filers=tuple(account.adds_filers),
        drops_filers=tuple(account.drops_filers),
    )


def account_message(account: Account) -> pb.Account:
    """Return an account as a message."""
    return pb.Account(
        name=account.name,
        currency=account.currency,
        limit_minor=account.limit_minor,
        closed=account.closed,
        holder=account.holder,
        filers=account.filers,
    )


def account_result(place: int, outcome: Account | str, request: pb.Account) -> pb.AccountResult:
    """Return the result for the account at `place` of its request."""
    if isinstance(outcome, Account):
        return pb.AccountResult(account=account_message(outcome))
    if outcome == "ACCOUNT_FILERS_TOO_MANY":
        error = item_error("ACCOUNT_FILERS_TOO_MANY", f"accounts[{place}].adds_filers", count_max=FILERS_MAX)
    else:
        error = item_error(outcome, f"accounts[{place}].currency", request.currency, account=request.name)
    return pb.AccountResult(error=error)


def payment_error(place: int, payment: pb.Payment, jurisdictions: Collection[str]) -> errors_pb2.ItemError | None:
    """Return why a payment of a request is refused; None where it is accepted. Jurisdictions are those whose law is loaded."""
    return money_error(f"payments[{place}]", payment, jurisdictions)


def money_error(
    path: str, payment: pb.Payment | pb.Payout, jurisdictions: Collection[str], *extra_texts: tuple[str, str, int, bool]
) -> errors_pb2.ItemError | None:
    """Return why a payment or payout of a request is refused; None where it is accepted.

    `extra_texts` are texts to check beside: name, text, characters at most, and whether it is needed.
    """
    texts = (
        ("id", payment.id, TEXT_MAX, True),
        ("reference", payment.reference, REFERENCE_MAX, False),
        ("reverses_id", payment.reverses_id, TEXT_MAX, False),
        ("jurisdiction", payment.jurisdiction, JURISDICTION_MAX, True),
        *extra_texts,
    )
    for name, text, characters, needed in texts:
        if (needed and not text) or len(text) > characters or not text.isprintable():
            return item_error("LEDGER_TEXT_MALFORMED", f"{path}.{name}", characters_max=characters)
    # What is taken back may have been booked while the jurisdiction's law was still loaded.
    if payment.jurisdiction not in jurisdictions and not payment.reverses_id:
        known = ", ".join(sorted(jurisdictions))
        return item_error("JURISDICTION_UNKNOWN", f"{path}.jurisdiction", payment.jurisdiction, known=known)
    if not _known_currency(payment.currency):
        return item_error("LEDGER_CURRENCY_UNKNOWN", f"{path}.currency", payment.currency)
    if not 1 <= payment.amount_minor <= AMOUNT_MAX:
        return _amount_error(f"{path}.amount_minor", payment.amount_minor, payment.currency)
    return None


_PAYMENT_REASONS: Final = {
    "AMOUNT_OUT_OF_BOUNDS": "PAYMENT_SUM_OUT_OF_BOUNDS",
    "BALANCE_OUT_OF_BOUNDS": "PAYMENT_BALANCE_OUT_OF_BOUNDS",
    "JURISDICTION_DIFFERS": "PAYMENT_JURISDICTION_DIFFERS",
}


def payment_of(payment: pb.Payment) -> Payment:
    """Read a payment of a request."""
    return Payment(
        payment.id,
        payment.reference,
        payment.jurisdiction,
        payment.currency,
        payment.amount_minor,
        payment.reverses_id,
    )


def payment_result(place: int, payment: Payment, result: PaymentResult) -> pb.PaymentResult:
    """Return the result for the payment at `place` of its request."""
    told = pb.PaymentResult(
        outcome=result.outcome,  # type: ignore[arg-type]  # a number of the enumeration
        account=result.account,
        matched_minor=result.matched,
        unapplied_minor=result.over,
        open_minor=result.still_owed,
        currency=payment.currency,
    )
    if result.reason:
        reason = _PAYMENT_REASONS.get(result.reason, result.reason)
        told.error.CopyFrom(item_error(reason, f"payments[{place}]"))
    return told


def booked_payment(booked: BookedPayment) -> pb.BookedPayment:
    """Return a stored payment as a message."""
    payment = booked.payment
    return pb.BookedPayment(
        payment=pb.Payment(
            id=payment.id,
            reference=payment.reference,
            jurisdiction=payment.jurisdiction,
            currency=payment.currency,
            amount_minor=payment.amount,
            reverses_id=payment.reverses_id,
        ),
        result=payment_result(0, payment, booked.result),
        booked_at=stamp_of(booked.booked_at),
        booked_by=booked.booked_by,
        reversed_by=booked.reversed_by,
        returned_by=booked.returned_by,
    )


def kind(number: int) -> common_pb2.ChargeKind.ValueType:
    """Return the kind of a charge by its number."""
    return common_pb2.ChargeKind.ValueType(number)


def stamp_of(micros: int) -> Timestamp:
    """Return a moment, microseconds since 1970-01-01 UTC, as a timestamp."""
    stamp = Timestamp()
    stamp.FromMicroseconds(micros)
    return stamp


def statement_line(line: StatementLine) -> pb.StatementLine:
    """Return a line of a statement as a message."""
    return pb.StatementLine(
        booked_at=stamp_of(line.at.booked_at),
        entry_kind=line.entry_kind,  # type: ignore[arg-type]  # a number of the enumeration
        mrn=line.mrn,
        reference=line.reference,
        destination=line.destination,
        kind=kind(line.kind),
        amount_minor=line.amount,
        reverses=line.reverses,  # type: ignore[arg-type]  # a number of the enumeration
    )


def entry_message(entry: StoredEntry) -> pb.Entry:
    """Return an entry as a message."""
    return pb.Entry(
        partition=entry.partition,
        number=entry.number,
        kind=entry.kind,  # type: ignore[arg-type]  # a number of the enumeration
        booked_at=stamp_of(entry.booked_at),
        mrn=entry.mrn,
        version=entry.version,
        reference=entry.reference,
        currency=entry.currency,
        postings=[
            pb.Posting(account=each.account, amount_minor=each.amount, kind=kind(each.kind)) for each in entry.postings
        ],
        hash=entry.hash,
        reverses=entry.reverses,  # type: ignore[arg-type]  # a number of the enumeration
        destination=entry.destination,
    )


def seal_message(seal: Seal | None) -> pb.Seal | None:
    """Return a seal as a message."""
    return None if seal is None else pb.Seal(number=seal.number, sealed_at=stamp_of(seal.sealed_at), hash=seal.hash)


def close_message(close: Close, month_end: int, due_days: DueDays, opened: Account | None) -> pb.MonthlyClose:
    """Return the message of a month's close; `month_end` is the last day of the month, days since 1970."""
    name, currency = close.closing.name, close.closing.currency
    due = due_days.due_day(name, date_of_day(month_end))
    message = pb.MonthlyClose(
        account=name,
        kind=kind_of(name),  # type: ignore[arg-type]  # a number of the enumeration
        currency=currency,
        opening_minor=close.opening.minor,
        debit_minor=close.closing.debit - close.opening.debit,
        credit_minor=close.closing.credit - close.opening.credit,
        closing_minor=close.closing.minor,
        outstanding_minor=close.outstanding,
        due_day="" if due is None else due.isoformat(),
        state=_close_state(close, month_end, None if due is None else day_of_date(due)),
    )
    if opened is not None and opened.limit_minor is not None and opened.currency == currency:
        message.limit_minor = opened.limit_minor
        message.used_minor = max(0, close.present.minor)
    return message


def _close_state(close: Close, month_end: int, due_day: int | None) -> pb.CloseState.ValueType:
    if close.today <= month_end:
        return pb.CLOSE_STATE_OPEN
    if not close.outstanding:
        return pb.CLOSE_STATE_PAID
    return pb.CLOSE_STATE_OVERDUE if due_day is not None and close.today > due_day else pb.CLOSE_STATE_DUE
