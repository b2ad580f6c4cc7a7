"""News of revenue as its feed tells them, for tests, and a hand that takes them in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from libs.columns import Ints, Ragged, Strings, Table, schema_of
from libs.feed.types import Cursor, FeedBatch
from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import revenue_columns_pb2 as pb
from luxor.revenue.v1 import revenue_pb2
from services.clearance.consignment.transitions import Change, Debt, State
from services.clearance.feeds.debt_events import DebtEventHandler
from tests.clearance.desk import ACCEPTED_AT, DAY, TRACE, Desk

SETTLED, OPENED, REASSESSED, REFUNDED = (
    pb.DEBT_EVENT_SETTLED,
    pb.DEBT_EVENT_OPENED,
    pb.DEBT_EVENT_REASSESSED,
    pb.DEBT_EVENT_REFUNDED,
)


def debt(
    mrns: Sequence[str],
    number: int,
    status: int = Debt.PAID,
    *,
    kind: int = SETTLED,
    paid: int = 380,
    refunded: int = 0,
    account: str = "",
    filing_version: int = 1,
) -> FeedBatch:
    """Tell how debts stand, the same of all."""
    rows = len(mrns)
    table = Table.of(
        pb.RevenueColumns,
        rows,
        {
            "mrn": Strings.of(list(mrns)),
            "filing_version": Ints.constant(filing_version, rows),
            "event": Ints.constant(kind, rows),
            "number": Ints.constant(number, rows),
            "debt_status": Ints.constant(status, rows),
            "account": Strings.constant(account, rows),
            "paid_minor": Ints.constant(paid, rows),
            "refunded_minor": Ints.constant(refunded, rows),
            "currency": Strings.constant("EUR", rows),
        },
    )
    return _batch(table)


def anew(
    mrns: Sequence[str],
    number: int,
    generation: int,
    amount: int,
    *,
    account: str = "deferred:DE123456789012345",
    filing_version: int = 1,
    reason: str = "",
) -> FeedBatch:
    """Tell what is owed now: one charge of `amount`, collected by customs, or the reason why nobody can tell."""
    rows = len(mrns)
    table = Table.of(
        pb.RevenueColumns,
        rows,
        {
            "mrn": Strings.of(list(mrns)),
            "filing_version": Ints.constant(filing_version, rows),
            "event": Ints.constant(REASSESSED, rows),
            "number": Ints.constant(number, rows),
            "reason": Strings.constant("BUNDLED", rows),
            "assessments": Ragged.of_lengths(
                np.ones(rows, np.int64), answer(rows, amount, account, generation=generation, reason=reason)
            ),
        },
    )
    return _batch(table)


def answer(rows: int, amount: int, account: str = "", *, generation: int = 0, reason: str = "") -> Table:
    """Answer as revenue does: one charge of `amount` on the first item."""
    known = not reason
    count = rows if known else 0
    charges = Table(
        schema_of(revenue_pb2.AssessmentColumns).children["charges"],
        count,
        {
            "item_number": Ints.constant(1, count),
            "charge": Strings.constant("EU.vat", count),
            "kind": Ints.constant(common_pb2.CHARGE_KIND_TAX, count),
            "basis": Ints.constant(amount * 5, count),
            "rate_ppm": Ints.constant(200_000, count),
            "amount": Ints.constant(amount, count),
            "currency": Strings.constant("EUR", count),
            "collector": Ints.constant(1, count),
            "reference": Strings.constant("EU:vat", count),
            "sentence": Strings.constant("percent", count),
            "account": Strings.constant(account or "border:DE", count),
            "rate": Strings.constant("20 %", count),
        },
    )

    def money(value: int) -> Ints:
        return Ints.constant(value, rows) if known else Ints.absent(rows)

    return Table.of(
        revenue_pb2.AssessmentColumns,
        rows,
        {
            "reason": Strings.constant(reason, rows),
            "currency": Strings.constant("EUR", rows),
            "intrinsic_value": money(amount * 5),
            "customs_value": money(amount * 5),
            "item_customs_values": Ragged.of_lengths([int(known)] * rows, Ints.constant(amount * 5, count)),
            "duty": money(0),
            "tax": money(amount),
            "fee": money(0),
            "collected_by_customs": money(amount),
            "collected_by_vendor": money(0),
            "collected_by_carrier": money(0),
            "collected_by_postal_operator": money(0),
            "deferred_account": Strings.constant(account if amount else "", rows),
            "rulebook_version": Strings.constant("EU/2026.2/aa00bb11", rows),
            "charges": Ragged.of_lengths([int(known)] * rows, charges),
            "generation": Ints.constant(generation, rows),
        },
    )


async def hear(desk: Desk, *batches: FeedBatch) -> None:
    """Take news as the feed's runner does: a page, in one transaction."""
    handler = DebtEventHandler(desk.store)
    prepared = await handler.prepare(list(batches))
    async with desk.store.database.transaction() as tx:
        await handler.apply(tx, prepared)


def _batch(table: Table) -> FeedBatch:
    partitions = np.array([int(mrn[4:6]) if mrn[4:6].isdigit() else 0 for mrn in table.strings("mrn").tolist()])
    return FeedBatch(table, partitions, Cursor(1, DAY, 1, 1), np.arange(table.rows), ACCEPTED_AT, TRACE, "", 1)


def told_of(states: Table) -> list[tuple[State, Debt, Change, bool]]:
    values = (states.ints(name).filled(0).tolist() for name in ("state", "debt_status", "change"))
    holds = states.bools("debt_hold").values.tolist()
    return [(State(s), Debt(d), Change(c), h) for s, d, c, h in zip(*values, holds, strict=True)]


def amounts(states: Table) -> list[tuple[int | None, ...]]:
    names = (
        "payable_minor",
        "tax_minor",
        "customs_value_minor",
        "paid_minor",
        "refunded_minor",
        "assessment_generation",
    )
    return list(zip(*(states.ints(name).tolist() for name in names), strict=True))
