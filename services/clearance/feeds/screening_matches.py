"""Risk's feed, as clearance takes it: parties that are on a list since it changed."""

from typing import Any

import numpy as np

from libs.columns.wire import MalformedColumns
from libs.customs.identifiers.mrn import MrnError
from libs.feed.types import EventError, FeedBatch
from libs.store.database import Transaction
from services.clearance.commands.screen import Screen
from services.clearance.store import STATE_DAYS, EarlyMatch, Store, day_of


class Rescreening:
    """The handler of risk's feed."""

    def __init__(self, store: Store, *, state_days: int = STATE_DAYS) -> None:
        """Put hits into force in a store; those of consignments accepted more than `state_days` ago are left alone."""
        self._screen = Screen(store, state_days=state_days)

    async def prepare(self, batches: list[FeedBatch]) -> list[EarlyMatch]:
        """Read the hits, one consignment each. Raises EventError where an event cannot be read."""
        hits: list[EarlyMatch] = []
        for batch in batches:
            try:
                mrns = batch.table.strings("mrn").tolist()
                times = batch.table.ints("screened_at").tolist()
                versions = batch.table.ints("filing_version").tolist()
                for row, (mrn, screened_at) in enumerate(zip(mrns, times, strict=True)):
                    day_of(mrn)
                    told = batch.table.ragged("findings").lengths[row] + batch.table.ragged("cleared").lengths[row]
                    if screened_at is None or versions[row] is None or not told:
                        raise EventError(
                            "EVENT_MALFORMED", "A screening lacks its time, the version of the filing, or a hit."
                        )
                    hits.append(EarlyMatch(mrn, screened_at, batch.table.take(np.array([row])), batch.trace))
            except (MrnError, MalformedColumns) as error:
                raise EventError("EVENT_MALFORMED", f"The screening's columns cannot be read: {error}") from error
        return hits

    async def apply(self, tx: Transaction, prepared: Any) -> None:
        """Put hits into force, and keep those that came before the decision."""
        hits: list[EarlyMatch] = prepared
        await self._screen.run(tx, hits)
