"""Lines: what is charged, one element a charge on a consignment or on one of its lines of goods."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.revenue.law.batch.arithmetic import Flags, Int64, in_order


@dataclass(slots=True)
class Lines:
    """Charges of one slot, or of all; one element a charge, rising by row."""

    row: Int64
    item: Int64
    """Place of the item in the batch; -1 for a charge on the whole consignment."""
    slot: Int64
    rate: Int64
    """Place in Program.rates."""
    outcome: Int64
    basis: Int64
    """What a percentage was taken of, the milligrams of a charge by mass; 0 for other amounts."""
    minor: Int64
    """Specific amount in the jurisdiction's currency; 0 for percentages and for rates of several parts."""
    amount: Int64
    waived: Flags
    quantity: Int64 | None = None
    """What a rate per unit was taken of, in smallest parts; 0 where nothing was measured; None where nowhere."""
    forgone: Int64 | None = None
    """What a waived charge would come to if it were levied; 0 where nothing is waived; None where nowhere."""

    def pick(self, selected: Flags) -> "Lines":
        """Return the selected lines."""
        columns = (getattr(self, name) for name in Lines.__slots__)
        return Lines(*(None if column is None else column[selected] for column in columns))  # type: ignore[arg-type]

    @staticmethod
    def join(parts: list["Lines"], rows: int) -> "Lines":
        """Join the slots' charges on a batch of so many rows in the order row, slot, item."""
        if not parts:
            none = np.zeros(0, dtype=np.int64)
            return Lines(none, none, none, none, none, none, none, none, np.zeros(0, dtype=np.bool_))
        columns = [_joined(parts, name) for name in Lines.__slots__]
        if len(parts) > 1 and columns[0] is not None:
            order = in_order(columns[0], rows)
            columns = [None if column is None else column[order] for column in columns]
        return Lines(*columns)  # type: ignore[arg-type]


def _joined(parts: list[Lines], name: str) -> NDArray[Any] | None:
    """Return one column of several parts joined, with zeros where a part has none; None if no part has it."""
    columns = [getattr(part, name) for part in parts]
    if all(column is None for column in columns):
        return None
    filled = [
        np.zeros(len(part.row), dtype=np.int64) if column is None else column
        for part, column in zip(parts, columns, strict=True)
    ]
    return np.concatenate(filled)
