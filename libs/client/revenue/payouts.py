"""Payouts of the ledger as an officer's program books and lists them, as plain values."""

import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.client.pages import pages
from libs.client.plain import plain
from libs.client.revenue.money_tables import read_table
from libs.customs.time import day_text, parse_instant
from luxor.revenue.v1 import ledger_pb2 as pb
from luxor.revenue.v1.ledger_pb2_grpc import LedgerServiceStub

PAGE: Final = 1_000
BATCH: Final = 100
BOOK_SECONDS: Final = 180.0
"""What a request may take: one that pays treasuries reads all that is unpaid."""
COLUMNS: Final = ("id", "reference", "jurisdiction", "currency", "amount")
"""Columns of a table of payouts; amounts in whole units such as 12.50."""
OPTIONAL_COLUMNS: Final = ("paid_at", "reverses_id", "returns_payment_id")
"""Columns that may be left out; paid_at as 2026-11-01T08:30:00Z."""


def read_payouts(path: Path) -> list[pb.Payout]:
    """Read a CSV of payouts with the columns COLUMNS and MORE; raise LuxorError PAYOUT_FILE_WRONG naming the line."""
    return read_table(path, COLUMNS, OPTIONAL_COLUMNS, _payout, "PAYOUT_FILE_WRONG")


def _payout(cells: Mapping[str, str], minor: int, error_of: Callable[[str], LuxorError]) -> pb.Payout:
    payout = pb.Payout(
        id=cells["id"],
        reference=cells["reference"],
        jurisdiction=cells["jurisdiction"],
        currency=cells["currency"],
        amount_minor=minor,
        reverses_id=cells["reverses_id"],
        returns_payment_id=cells["returns_payment_id"],
    )
    if cells["paid_at"]:
        try:
            payout.paid_at.FromMicroseconds(parse_instant(cells["paid_at"]))
        except ValueError as error:
            raise error_of(f"has a time that is none: {error}") from None
    return payout


async def record_payouts(client: Client, payouts: Sequence[pb.Payout]) -> list[dict[str, Any]]:
    """Post payouts, BATCH in a request; return the result of each. A payout is posted only once."""
    results: list[dict[str, Any]] = []
    for start in range(0, len(payouts), BATCH):
        part = payouts[start : start + BATCH]
        request = pb.RecordPayoutsRequest(request_id=str(uuid.uuid4()), payouts=part)
        answer = await client.ask(
            "revenue", LedgerServiceStub, "RecordPayouts", request, pb.RecordPayoutsResponse, BOOK_SECONDS
        )
        results += [_plain_payout(payout, result) for payout, result in zip(part, answer.results, strict=True)]
    return results


async def iterate_payouts(client: Client, *, from_day: int = 0, to_day: int = 0) -> AsyncIterator[dict[str, Any]]:
    """Return payouts as they are stored in the ledger, in the order of posting; those of some days (since 1970-01-01 UTC; 0: all)."""
    first, last = (day_text(day) if day else "" for day in (from_day, to_day))
    request = pb.ListPayoutsRequest(page_size=PAGE, from_day=first, to_day=last)
    async for answer in pages(client, "revenue", LedgerServiceStub, "ListPayouts", request, pb.ListPayoutsResponse):
        for each in answer.payouts:
            fields = plain(each)
            del fields["payout"], fields["result"]
            yield _plain_payout(each.payout, each.result) | fields


def _plain_payout(payout: pb.Payout, result: pb.PayoutResult) -> dict[str, Any]:
    outcome = pb.PayoutOutcome.Name(result.outcome).removeprefix("PAYOUT_OUTCOME_")
    return plain(payout) | plain(result) | {"outcome": outcome}
