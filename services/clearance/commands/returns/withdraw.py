"""Decides the filings of a page, and ends the declarations that their filers invalidate in it, in the order of the versions of each consignment.

Law: UCC, article 174: neither after the release nor once customs informed the declarant of an examination; ICS2: only before the goods are presented.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from libs.columns import Table
from libs.store.database import Transaction
from services.clearance.commands.decide import Decide, Tally
from services.clearance.commands.filings.versions import DecidedFilings
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.state.transport_numbers import numbers_of
from services.clearance.consignment.state.withdrawal import refused_states, withdrawing
from services.clearance.consignment.transitions import Event
from services.clearance.store import Store


@dataclass(frozen=True, slots=True)
class Withdrawals:
    """Invalidations: versions of filings that end their declarations."""

    table: Table
    """ConsignmentColumns."""
    trace: str

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Return MRN and version of each."""
        return list(zip(self.table.strings("mrn").tolist(), self.table.ints("version").values.tolist(), strict=True))


class DecideAndWithdraw:
    """Decides filings and ends those that are invalidated."""

    def __init__(self, decide: Decide) -> None:
        """Decide with `decide`, in its store."""
        self._decide = decide
        self._store: Store = decide.store

    async def run(self, tx: Transaction, parts: Sequence[DecidedFilings], withdrawals: Sequence[Withdrawals]) -> Tally:
        """Store decisions and ends in the caller's transaction, and return the results. Each filing that ends is decided, here or before."""
        if not withdrawals:
            return await self._decide.run(tx, parts)
        tables = [*(part.table for part in parts), *(each.table for each in withdrawals)]
        masters = {number for table in tables for number in numbers_of(table)}
        # All that the page concerns is locked at once: what one step after the other locks may wait for each other.
        await self._store.arrivals.block_recording(tx, masters)
        await self._store.lock(tx, [mrn for table in tables for mrn in table.strings("mrn").tolist()])
        whole = Tally(at=await self._store.now(tx))
        for some, ends in _steps(parts, withdrawals):
            if some:
                whole.add(await self._decide.run(tx, some))
            for each in ends:
                whole.add(await self._withdraw(tx, each))
        return whole

    async def _withdraw(self, tx: Transaction, withdrawals: Withdrawals) -> Tally:
        """End these declarations; those that may not be invalidated any more get a notice and are unchanged."""
        tally = Tally(at=await self._store.now(tx))
        requested = {mrn: (version, row) for row, (mrn, version) in enumerate(withdrawals.keys)}
        found = await self._store.find(tx, list(requested))
        assert requested.keys() <= found.keys(), "what is invalidated was decided, at the latest in this page"
        newer = [mrn for mrn, (version, _) in requested.items() if version > found[mrn].filing_version]
        tally.replayed = withdrawals.table.rows - len(newer)
        if not newer:
            return tally
        rows = [found[mrn] for mrn in newer]
        filed = withdrawals.table.take(np.array([requested[mrn][1] for mrn in newer], np.int64))
        stored = await self._store.states(tx, rows)
        details = EventDetails(event=Event.INVALIDATED, at=tally.at)
        states, outcome = apply_event(withdrawing(stored, filed), details)
        done, late = np.flatnonzero(outcome.effective), np.flatnonzero(~outcome.effective)
        if len(done):
            places = [rows[place] for place in done.tolist()]
            await self._store.succeed(tx, states.take(done), places, trace=withdrawals.trace)
            tally.withdrawn = len(done)
        if len(late):
            await self._store.notify(
                tx,
                refused_states(stored.take(late), filed.take(late).ints("version"), tally.at),
                trace=withdrawals.trace,
            )
            tally.too_late = len(late)
        return tally


def _steps(
    parts: Sequence[DecidedFilings], withdrawals: Sequence[Withdrawals]
) -> Iterator[tuple[list[DecidedFilings], list[Withdrawals]]]:
    """Yield what is done together: filings, then the invalidations that follow them, then the filings that follow these."""
    ends: dict[str, list[int]] = {}
    for mrn, version in sorted({key for each in withdrawals for key in each.keys}):
        ends.setdefault(mrn, []).append(version)
    filing_steps, end_steps = (
        [np.array([bisect_left(ends.get(mrn, ()), version) for mrn, version in keys], np.int64) for keys in all_keys]
        for all_keys in (
            [
                zip(part.table.strings("mrn").tolist(), part.table.ints("filing_version").values.tolist(), strict=True)
                for part in parts
            ],
            [each.keys for each in withdrawals],
        )
    )
    for step in range(max(map(len, ends.values())) + 1):
        chosen = [np.flatnonzero(steps == step) for steps in filing_steps]
        some = [part.take(rows) for part, rows in zip(parts, chosen, strict=True) if len(rows)]
        ending = [np.flatnonzero(steps == step) for steps in end_steps]
        yield (
            some,
            [
                Withdrawals(each.table.take(rows), each.trace)
                for each, rows in zip(withdrawals, ending, strict=True)
                if len(rows)
            ],
        )
