"""The handler of risk's feed: screening matches of lists that changed, and clearings of matches."""

from typing import Any

import numpy as np

from libs.columns.wire import MalformedColumns
from libs.customs.identifiers.mrn import MrnError
from libs.feed.types import EventError, FeedBatch
from libs.store.database import Transaction
from services.clearance.commands.screen import Screen
from services.clearance.pre_loading.parameters import Parameters
from services.clearance.store import STATE_DAYS, EarlyMatch, Store, day_of


class Rescreening:
    """The handler of risk's feed."""

    def __init__(self, store: Store, parameters: Parameters | None = None, *, state_days: int = STATE_DAYS) -> None:
        """Work on a store; matches of consignments accepted more than `state_days` ago are ignored.

        `parameters` of the assessment before loading are by default those of this release.
        """
        self._screen = Screen(store, parameters, state_days=state_days)

    async def prepare(self, batches: list[FeedBatch]) -> list[EarlyMatch]:
        """Read the screenings, one consignment each. Raises EventError where an event cannot be read."""
        matches: list[EarlyMatch] = []
        for batch in batches:
            try:
                mrns = batch.table.strings("mrn").tolist()
                times = batch.table.ints("screened_at").tolist()
                versions = batch.table.ints("filing_version").tolist()
                for row, (mrn, screened_at) in enumerate(zip(mrns, times, strict=True)):
                    day_of(mrn)
                    count = batch.table.ragged("findings").lengths[row] + batch.table.ragged("cleared").lengths[row]
                    if screened_at is None or versions[row] is None or not count:
                        raise EventError(
                            "EVENT_MALFORMED", "A screening lacks its time, the version of the filing, or a match."
                        )
                    matches.append(EarlyMatch(mrn, screened_at, batch.table.take(np.array([row])), batch.trace))
            except (MrnError, MalformedColumns) as error:
                raise EventError("EVENT_MALFORMED", f"The screening's columns cannot be read: {error}") from error
        return matches

    async def apply(self, tx: Transaction, prepared: Any) -> None:
        """Apply matches, and store those that came before the decision."""
        matches: list[EarlyMatch] = prepared
        await self._screen.run(tx, matches)
