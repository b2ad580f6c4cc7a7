"""Payments and payouts, as callers of the ledger's service record and list them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message

from libs.customs.time import MICROS_PER_DAY, day_of_date, day_text
from libs.server import call
from libs.server.errors import Refusal
from libs.server.page_tokens import PageTokens
from libs.server.requests import Answer, day_of_text, page_size_of, recalled
from libs.store.database import Database
from luxor.errors.v1.errors_pb2 import ItemError
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.api.batch_size import check_batch_size
from services.revenue.api.ledger_messages import booked_payment, payment_error, payment_of, payment_result
from services.revenue.api.payout_messages import booked_payout, payout_error, payout_of, payout_result
from services.revenue.commands.payments.record import Recorder, record
from services.revenue.commands.payments.record_payment import PAYMENTS_MAX, Payments
from services.revenue.commands.payments.record_payout import PAYOUTS_MAX, Payouts
from services.revenue.commands.rebalance import Ledger
from services.revenue.store.payments import payments, payouts
from services.revenue.store.payments.payouts import END

PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000
FIRST_DAY, LAST_DAY = day_of_date(date(2000, 1, 1)), day_of_date(date(2100, 1, 1))
"""What the ledger is asked about lies from the first day on, and before the last."""


M = TypeVar("M")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Form(Generic[M, R, Answer]):
    """How payments or payouts of a request are read and answered."""

    response: type[Answer]
    count_max: int
    error: Callable[[int, Any, Collection[str]], ItemError | None]
    """Says why one is refused before it is tried; None where it is tried."""
    read: Callable[[Any], M]
    result: Callable[[int, M, R], Message]
    refused: Callable[[ItemError], Message]


_PAYMENTS: Final = _Form(
    pb.RecordPaymentsResponse,
    PAYMENTS_MAX,
    payment_error,
    payment_of,
    payment_result,
    lambda error: pb.PaymentResult(outcome=pb.PAYMENT_OUTCOME_REFUSED, error=error),
)
_PAYOUTS: Final = _Form(
    pb.RecordPayoutsResponse,
    PAYOUTS_MAX,
    payout_error,
    payout_of,
    payout_result,
    lambda error: pb.PayoutResult(outcome=pb.PAYOUT_OUTCOME_REFUSED, error=error),
)


class PaymentCalls:
    """The calls of the ledger's service that record and list payments and payouts."""

    def __init__(self, database: Database, ledger: Ledger, jurisdictions: Callable[[], Collection[str]]) -> None:
        """Post in a ledger and its database; jurisdictions are those whose law is loaded."""
        self._database = database
        self._pages = PageTokens(database)
        self._jurisdictions = jurisdictions
        self._payments = Payments(ledger)
        self._payouts = Payouts(ledger)

    async def record_payments(self, request: pb.RecordPaymentsRequest) -> pb.RecordPaymentsResponse:
        """Post payments, once per request and once per id of the bank; each has its own result."""
        return await self._record(request, request.payments, _PAYMENTS, self._payments)

    async def record_payouts(self, request: pb.RecordPayoutsRequest) -> pb.RecordPayoutsResponse:
        """Post payouts, once per request and once per id of the bank; each has its own result."""
        return await self._record(request, request.payouts, _PAYOUTS, self._payouts)

    async def _record(
        self, request: Any, money: Sequence[Any], form: _Form[M, R, Answer], recorder: Recorder[M, R]
    ) -> Answer:
        before = await recalled(self._database, form.response, request)
        if before is not None:
            return before
        check_batch_size(len(money), form.count_max)
        jurisdictions = self._jurisdictions()
        errors = [form.error(place, each, jurisdictions) for place, each in enumerate(money)]
        good = [form.read(each) for each, error in zip(money, errors, strict=True) if error is None]

        def answer(booked: Sequence[R]) -> Answer:
            results = zip(good, booked, strict=True)
            return form.response(
                results=[
                    form.refused(error) if error is not None else form.result(place, *next(results))
                    for place, error in enumerate(errors)
                ]
            )

        return await record(self._database, request, recorder, good, str(call.current().identity), answer)

    async def list_payments(self, request: pb.ListPaymentsRequest) -> pb.ListPaymentsResponse:
        """Return payments by jurisdiction and id."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        after = await self._pages.place(request, ("", ""))
        found = await payments.page(self._database, after=after, unmatched_only=request.unmatched, rows_max=limit + 1)
        last = found[limit - 1].payment if len(found) > limit else None
        return pb.ListPaymentsResponse(
            payments=map(booked_payment, found[:limit]),
            next_page_token=await self._pages.token(request, last.jurisdiction, last.id) if last else "",
        )

    async def list_payouts(self, request: pb.ListPayoutsRequest) -> pb.ListPayoutsResponse:
        """Return payouts in the order of booking, of all days or some."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        begin, before = _moments(request.from_day, request.to_day)
        after = await self._pages.place(request, (begin, "", ""))
        found = await payouts.page(self._database, after=after, before=before, rows_max=limit + 1)
        token = ""
        if len(found) > limit:
            last = found[limit - 1]
            token = await self._pages.token(request, last.booked_at, last.payout.jurisdiction, last.payout.id)
        return pb.ListPayoutsResponse(payouts=map(booked_payout, found[:limit]), next_page_token=token)


def _moments(from_day: str, to_day: str) -> tuple[int, int]:
    """When days begin and end, microseconds since 1970-01-01 UTC; empty for the beginning and the end of all. Raise Refusal."""
    days = {path: day_of_text(day, path) for path, day in (("from_day", from_day), ("to_day", to_day)) if day}
    for path, day in days.items():
        if not FIRST_DAY <= day < LAST_DAY:
            raise Refusal("LEDGER_DAY_OUT_OF_BOUNDS", path=path, value=day_text(day))
    if "to_day" not in days:
        return days.get("from_day", 0) * MICROS_PER_DAY, END
    first, last = days.get("from_day", 0), days["to_day"]
    if last < first:
        raise Refusal("LEDGER_DAY_OUT_OF_BOUNDS", path="to_day", value=day_text(last))
    return first * MICROS_PER_DAY, (last + 1) * MICROS_PER_DAY
