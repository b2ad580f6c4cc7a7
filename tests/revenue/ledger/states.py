"""States of consignments as clearance tells them, for tests of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from libs.columns import Bools, Ints, Ragged, Strings, Table, schema_of
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.feed.types import BEGINNING, FeedBatch
from luxor.clearance.v1 import clearance_columns_pb2 as clearance
from luxor.clearance.v1 import clearance_pb2
from luxor.common.v1 import common_pb2
from luxor.common.v1.common_pb2 import CHARGE_KIND_DUTY, CHARGE_KIND_TAX, COLLECTOR_CUSTOMS, DEBTOR_DECLARANT

DAY = 20_782
MICROS_A_DAY = 86_400_000_000
DUTY, TAX = CHARGE_KIND_DUTY, CHARGE_KIND_TAX


def mrn(serial: int, partition: int = 0, day: int = DAY) -> str:
    """An MRN of a partition."""
    return make_mrns(["DE"], [partition], day, serial)[0]


@dataclass(frozen=True)
class Charge:
    """One charge."""

    amount: int | None
    kind: int = DUTY
    code: str = "EU.flat_duty"
    item: int | None = 1
    account: str = ""
    collector: int = COLLECTOR_CUSTOMS
    debtor: int = DEBTOR_DECLARANT


@dataclass(frozen=True)
class State:
    """One version of one consignment."""

    mrn: str
    version: int = 1
    charges: Sequence[Charge] = (Charge(300), Charge(1_900, TAX, "EU.vat_low_value"))
    debt: int = common_pb2.DEBT_STATUS_DEFERRED
    debt_account: str = "deferred:carrier-7"
    state: int = clearance_pb2.STATE_AWAITING_ARRIVAL
    currency: str = "EUR"
    destination: str = "DE"
    declarant: str = "DE1234567890"
    platform: str = ""
    rulebook: str = "EU/2026.1/1f0c9a2b"
    decided: bool = True
    items: int = 1
    parts: Sequence[tuple[int, int, int]] = ()
    """Number, reason and day of each item that went back, where they went one by one."""
    returned: Sequence[int] = ()
    """Numbers of the items that went back."""
    reason: int = clearance_pb2.RETURN_REASON_WITHDRAWN
    released_day: int | None = DAY
    former_released_day: int | None = None
    """Of goods that an officer held again after their release."""
    transit_outcome: int = 0
    returned_day: int = DAY + 10
    day: int = DAY
    filing: int = field(default=1)
    change: int = clearance_pb2.CHANGE_DECIDED
    generation: int = 0
    """Of the assessment in force; 0 for the first."""
    adjusted_at: int = 0
    """When an officer adjusted it; 0 for never."""


def states_table(rows: Sequence[State]) -> Table:
    """Put states into columns."""
    schema = schema_of(clearance.ClearanceColumns)
    lines = [charge for row in rows for charge in row.charges]
    charges = Table(
        schema.children["charges"],
        len(lines),
        {
            "item_number": Ints.of([line.item or 0 for line in lines], [line.item is not None for line in lines]),
            "kind": Ints.of([line.kind for line in lines]),
            "charge": Strings.of([line.code for line in lines]),
            "amount": Ints.of([line.amount or 0 for line in lines], [line.amount is not None for line in lines]),
            "collector": Ints.of([line.collector for line in lines]),
            "debtor": Ints.of([line.debtor for line in lines]),
            "account": Strings.of([line.account for line in lines]),
        },
    )
    goods = [(number, number in row.returned) for row in rows for number in range(1, row.items + 1)]
    parts = [
        next(((why, day) for part, why, day in row.parts if part == number), (0, 0))
        for row in rows
        for number in range(1, row.items + 1)
    ]
    alone = [bool(why) for why, _ in parts]
    items = Table(
        schema.children["items"],
        len(goods),
        {
            "number": Ints.of([number for number, _ in goods]),
            "returned": Bools.of(np.array([b for _, b in goods])),
            "return_reason": Ints.of([why for why, _ in parts], alone),
            "returned_at": Ints.of([day * MICROS_A_DAY for _, day in parts], alone),
        },
    )
    gone = [bool(row.returned) for row in rows]
    released = [row.released_day is not None for row in rows]
    former = [row.former_released_day is not None for row in rows]
    return Table(
        schema,
        len(rows),
        {
            "mrn": Strings.of([row.mrn for row in rows]),
            "version": Ints.of([row.version for row in rows]),
            "filing_version": Ints.of([row.filing for row in rows]),
            "state": Ints.of([row.state for row in rows]),
            "accepted_at": Ints.of([row.day * MICROS_A_DAY + 1 for row in rows]),
            "decided_at": Ints.of([row.day * MICROS_A_DAY + 2 for row in rows], [row.decided for row in rows]),
            "released_at": Ints.of([(row.released_day or 0) * MICROS_A_DAY for row in rows], released),
            "transit_outcome": Ints.of(
                [row.transit_outcome for row in rows], [row.transit_outcome > 0 for row in rows]
            ),
            "former_released_at": Ints.of([(row.former_released_day or 0) * MICROS_A_DAY for row in rows], former),
            "destination_country": Strings.of([row.destination for row in rows]),
            "declarant_identifier": Strings.of([row.declarant for row in rows]),
            "platform": Strings.of([row.platform for row in rows]),
            "debt_account": Strings.of([row.debt_account for row in rows]),
            "debt_status": Ints.of([row.debt for row in rows]),
            "revenue_currency": Strings.of([row.currency for row in rows]),
            "rulebook_version": Strings.of([row.rulebook for row in rows]),
            "returned_at": Ints.of([row.returned_day * MICROS_A_DAY for row in rows], gone),
            "change": Ints.of([row.change for row in rows]),
            "assessment_generation": Ints.of([row.generation for row in rows], [bool(row.generation) for row in rows]),
            "adjusted_at": Ints.of([row.adjusted_at for row in rows], [bool(row.adjusted_at) for row in rows]),
            "return_reason": Ints.of([row.reason for row in rows], gone),
            "items": Ragged.of_lengths([row.items for row in rows], items),
            "charges": Ragged.of_lengths([len(row.charges) for row in rows], charges),
        },
    )


def batch(rows: Sequence[State]) -> FeedBatch:
    """States as a batch of the feed."""
    nothing = np.zeros(len(rows), np.int64)
    return FeedBatch(states_table(rows), nothing, BEGINNING, nothing, 0, "", "luxor.clearance.v1.ClearanceColumns")
