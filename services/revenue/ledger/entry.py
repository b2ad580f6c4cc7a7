"""Entries and their postings as columns, and what must be true of them before they are booked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from luxor.revenue.v1 import ledger_pb2 as pb

Int64 = npt.NDArray[np.int64]

AMOUNT_MAX: Final = 10**16
"""No posting is larger, minor units; sums of a hundred of them still fit into 64 bits."""
POSTINGS_MAX: Final = 10_000
"""Postings of one entry."""
STAGES: Final = (
    pb.ENTRY_KIND_ASSESSED,
    pb.ENTRY_KIND_SECURED,
    pb.ENTRY_KIND_REMITTED,
    pb.ENTRY_KIND_REFUNDED,
)
"""What a consignment's state makes true, in this order."""


class LedgerError(ValueError):
    """Entries that must not be booked; the message says which and why."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Entries:
    """n entries and their m postings; entry i owns the postings offsets[i] up to offsets[i + 1]."""

    partition: Int64
    kind: Int64
    """luxor.revenue.v1.EntryKind."""
    reverses: Int64
    """Kind of the entry undone, with ENTRY_KIND_REVERSED; else 0."""
    mrn: Sequence[str]
    """Empty for payments of accounts."""
    version: Int64
    """Version of clearance's state; 0 where it follows no event."""
    reference: Sequence[str]
    currency: Sequence[str]
    destination: Sequence[str]
    offsets: Int64
    account: Int64
    """Ids of accounts' names, one a posting."""
    charge_kind: Int64
    """luxor.revenue.v1.Kind, one a posting; 0 for none or several."""
    amount: Int64
    """Minor units, one a posting; positive is a debit."""

    def __len__(self) -> int:
        return len(self.kind)

    @staticmethod
    def concat(parts: Sequence[Entries]) -> Entries:
        """Join entries."""
        if len(parts) == 1:
            return parts[0]
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])

        def joined(name: str) -> Int64:
            return np.concatenate([getattr(part, name) for part in parts])

        def texts(name: str) -> list[str]:
            return [text for part in parts for text in getattr(part, name)]

        return Entries(
            joined("partition"),
            joined("kind"),
            joined("reverses"),
            texts("mrn"),
            joined("version"),
            texts("reference"),
            texts("currency"),
            texts("destination"),
            np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
            joined("account"),
            joined("charge_kind"),
            joined("amount"),
        )

    def reversed(self, reference: str) -> Entries:
        """Return the reversals of these entries."""
        return replace(
            self,
            kind=np.full(len(self), pb.ENTRY_KIND_REVERSED, np.int64),
            reverses=self.kind,
            version=np.zeros(len(self), np.int64),
            reference=[reference] * len(self),
            amount=-self.amount,
        )


def check(entries: Entries) -> None:
    """Raise LedgerError unless each entry has postings that sum to nothing and none is out of bounds.

    An entry has one currency, so that its sum is the sum in that currency.
    """
    lengths = np.diff(entries.offsets)
    if len(lengths) and int(lengths.min()) < 2:
        raise LedgerError("UNBALANCED", f"entry {int(lengths.argmin())} has fewer than two postings")
    if len(lengths) and int(lengths.max()) > POSTINGS_MAX:
        raise LedgerError(
            "UNBALANCED", f"an entry has {int(lengths.max())} postings; at most {POSTINGS_MAX} are booked"
        )
    # The minimum of int64 has no positive counterpart, so both bounds are compared.
    large = (entries.amount > AMOUNT_MAX) | (entries.amount < -AMOUNT_MAX)
    if large.any():
        place = int(np.searchsorted(entries.offsets, int(large.argmax()), side="right")) - 1
        raise LedgerError(
            "AMOUNT_OUT_OF_BOUNDS",
            f"entry {place} of {entries.mrn[place] or entries.reference[place]!r} posts more than {AMOUNT_MAX} minor units",
        )
    # A running sum may wrap, the difference of two of its values is right all the same: 10,000 postings of 10^16 are
    # beyond 64 bits only where an entry has over 900 of the largest, which Python's own numbers settle.
    if len(entries.amount) and int(lengths.max()) * int(np.abs(entries.amount).max()) >= 2**63:
        sums = [
            sum(entries.amount[a:b].tolist()) for a, b in zip(entries.offsets[:-1], entries.offsets[1:], strict=True)
        ]
        wrong = [place for place, total in enumerate(sums) if total]
    else:
        running = np.concatenate([np.zeros(1, np.int64), np.cumsum(entries.amount)])
        wrong = np.flatnonzero(np.diff(running[entries.offsets])).tolist()
    if wrong:
        place = wrong[0]
        raise LedgerError(
            "UNBALANCED",
            f"the postings of entry {place} of {entries.mrn[place] or entries.reference[place]!r} do not sum to nothing",
        )
