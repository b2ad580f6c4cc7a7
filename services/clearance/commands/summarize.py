"""The consignments under a master document, and how many there are by what became of them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from libs.feed.types import BatchRef
from services.clearance.consignment.state.hold_causes import hold_causes
from services.clearance.consignment.transitions import FINAL, STAYING, State
from services.clearance.store import Store

ROWS_A_LOOK: Final = 1_000
"""Consignments that are read at once, and that one transaction changes: more would delay the feed."""
COUNTED_MAX: Final = 100_000
"""Consignments that one call counts."""
_BATCHES_A_LOOK: Final = 32


@dataclass(slots=True)
class Summary:
    """Numbers of the consignments under a master document."""

    consignments: int = 0
    released: int = 0
    awaiting_arrival: int = 0
    final: int = 0
    hold_counts: dict[int, int] = field(default_factory=dict)
    """Those that are held or seized, by HoldCause."""
    incomplete: bool = False
    """Whether there are more, which were not counted."""


async def under_document(store: Store, document: str) -> AsyncIterator[list[str]]:
    """Return the MRNs under a master document, ROWS_A_LOOK at most at a time."""
    after = BatchRef(0, 0)
    while True:
        async with store.database.connection() as reading:
            batches = await store.references.under_master(reading, document, after, _BATCHES_A_LOOK)
        for ref, mrns in batches:
            for begin in range(0, len(mrns), ROWS_A_LOOK):
                yield sorted(set(mrns[begin : begin + ROWS_A_LOOK]))
            after = ref
        if len(batches) < _BATCHES_A_LOOK:
            return


async def summarize(store: Store, document: str, rows_max: int = COUNTED_MAX) -> Summary:
    """Count the consignments under a master document, at most about `rows_max`."""
    summary = Summary()
    async for mrns in under_document(store, document):
        if summary.consignments >= rows_max:
            summary.incomplete = True
            return summary
        async with store.database.connection() as reading:
            rows = (await store.find(reading, mrns)).values()
            held = await store.states(reading, [row for row in rows if row.state in STAYING])
        summary.consignments += len(rows)
        summary.released += sum(row.state == State.RELEASED for row in rows)
        summary.awaiting_arrival += sum(row.state == State.AWAITING_ARRIVAL for row in rows)
        summary.final += sum(row.state in FINAL for row in rows)
        for cause, count in zip(*np.unique(hold_causes(held), return_counts=True), strict=True):
            summary.hold_counts[int(cause)] = summary.hold_counts.get(int(cause), 0) + int(count)
    return summary
