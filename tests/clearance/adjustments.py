"""Adjustments that tests ask for, and the revenue that answers them."""

from __future__ import annotations

from typing import Any

from libs.columns import Table
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1.consignment_pb2 import Money
from services.clearance.commands.act import Acted, Request
from services.clearance.commands.adjust import Adjusting
from tests.clearance.debt_events import answer
from tests.clearance.desk import TRACE, Desk, filings, mrns


class Revenue:
    """Answers adjustments: a tenth of the first price; what it was asked is kept."""

    def __init__(self) -> None:
        self.asked: list[Table] = []
        self.reason = ""
        self.account = "deferred:x"

    def __call__(self, table: Table) -> Table:
        self.asked.append(table)
        prices = table.child("items").ints("price_minor").values[table.ragged("items").offsets[:-1]]
        parts = [answer(1, int(price) // 10, self.account, reason=self.reason) for price in prices]
        return Table.concat(parts)


def correcting(mrn: str, price: int = 50_000, expected: int | None = None, **fields: Any) -> pb.Adjustment:
    ref = pb.ConsignmentRef(mrn=mrn) if expected is None else pb.ConsignmentRef(mrn=mrn, expected_version=expected)
    item = pb.ItemAdjustment(number=1, price=Money(minor=price, currency="EUR"))
    return pb.Adjustment(consignment=ref, items=[item], note="invoice found", **fields)


async def adjust(
    adjusting: Adjusting, *adjustments: pb.Adjustment, request_id: str = "j1", officer: str = "olga"
) -> list[Acted]:
    kept: list[Acted] = []

    def encode(results: Any) -> bytes:
        kept.extend(results)
        return repr(results).encode()

    wanted = [
        (
            each.consignment.mrn,
            each.consignment.expected_version if each.consignment.HasField("expected_version") else None,
        )
        for each in adjustments
    ]
    digest = b"".join(each.SerializeToString(deterministic=True) for each in adjustments)
    await adjusting.adjust(
        wanted,
        {each.consignment.mrn: each for each in adjustments},
        officer=officer,
        request=Request(f"officer/{officer}", request_id, digest, TRACE),
        encode=encode,
    )
    return kept


async def filed(desk: Desk, *references: str) -> tuple[list[str], Revenue]:
    table = filings(list(references))
    await desk.consume(table)
    desk.neighbours.revenue = revenue = Revenue()
    return mrns(table), revenue
