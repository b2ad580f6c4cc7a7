"""Filings that name guarantees, and what revenue answers to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from libs.columns import Strings, Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.revenue.assessment.aggregates import Aggregates
from services.revenue.assessment.batch import ActiveLaw, Batch
from services.revenue.law.assess.securities import Securities
from tests.revenue.bundles import ALONE, Parcel, bundling, table_of

PROGRAM = bundling()
OWED = 20_000
"""Price of goods on which something is owed."""


@dataclass(frozen=True)
class Filing:
    """A consignment that owes duty (by the consignee) and tax (by the declarant), as somebody filed it."""

    filer: str = "shop"
    declarant: str = ""
    guarantees: Sequence[str] = ()
    area: str = ALONE
    price: int = OWED


def filed(*told: Filing) -> Table:
    table = table_of([Parcel(number, each.area, each.price) for number, each in enumerate(told)])
    messages = []
    for each in told:
        message = Consignment()
        for reference in each.guarantees:
            message.guarantees.add(reference=reference)
        messages.append(message)
    guarantees = Table.from_messages(messages, ConsignmentColumns, Consignment)
    return table.with_columns(
        {
            "declarant_identifier": Strings.of([each.declarant for each in told]),
            "filer": Strings.of([each.filer for each in told]),
            "guarantees": guarantees.ragged("guarantees"),
        }
    )


def answer_to(securities: Securities, *told: Filing) -> Table:
    table = filed(*told)
    batch = Batch(ActiveLaw(PROGRAM, securities=securities), table, table.encode(ConsignmentColumns))
    return batch.answer(Aggregates.none())
