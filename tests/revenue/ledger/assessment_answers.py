"""Answers of revenue that the ledger is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.columns import Ints, Strings, Table
from libs.store.tables.assessments import AssessmentLog
from luxor.revenue.v1.revenue_pb2 import (
    PURPOSE_CLEARANCE,
    AssessmentColumns,
)
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.former_rows import as_rows
from tests.revenue.ledger.states import TAX, Charge

FILED = (Charge(300), Charge(1_900, TAX, "EU.vat_low_value"))


def answer(duty: int, tax: int, currency: str = "EUR") -> bytes:
    columns = {"duty": Ints.of([duty]), "tax": Ints.of([tax]), "fee": Ints.of([0]), "currency": Strings.of([currency])}
    return Table.of(AssessmentColumns, 1, columns).serialize(AssessmentColumns)


async def assess(
    books: Books, mrn_: str, duty: int, tax: int, *, version: int = 1, purpose: int = PURPOSE_CLEARANCE
) -> None:
    async with books.database.transaction() as tx:
        await AssessmentLog().settle(tx, [mrn_], np.array([version]), purpose, answer(duty, tax))


async def altered(books: Books, change: str, *values: Any) -> None:
    if "ledger_entry" in change or "ledger_posting" in change:
        await as_rows(books)
    async with books.database.transaction() as tx:
        await tx.raw.execute(change, *values)
