"""Lines: what is charged, one element a charge on a consignment or on one of its lines of goods."""

from dataclasses import dataclass

import numpy as np

from services.revenue.law.arithmetic import Flags, Int64, in_order


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

    def pick(self, which: Flags) -> "Lines":
        """Give the lines that are marked."""
        columns = (getattr(self, name) for name in Lines.__slots__)
        return Lines(*(None if column is None else column[which] for column in columns))  # type: ignore[arg-type]

    @staticmethod
    def join(parts: list["Lines"], rows: int) -> "Lines":
        """Put the slots' charges on a batch of so many rows in order of row, slot, item."""
        if not parts:
            none = np.zeros(0, dtype=np.int64)
            return Lines(none, none, none, none, none, none, none, none, np.zeros(0, dtype=np.bool_))
        names = Lines.__slots__[:-1]
        columns = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
        if any(part.quantity is not None for part in parts):
            nothing = [np.zeros(len(part.row), dtype=np.int64) for part in parts]
            measured = [
                none if part.quantity is None else part.quantity for part, none in zip(parts, nothing, strict=True)
            ]
            columns.append(np.concatenate(measured))
        if len(parts) > 1:
            order = in_order(columns[0], rows)
            columns = [column[order] for column in columns]
        return Lines(*columns)
