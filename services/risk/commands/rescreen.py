"""Screen stored batches again, and announce the new matches and the cleared ones.

The matches of some batches and the mark that these are screened are written in one transaction, so that nothing is announced
twice after a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from libs.columns import Table
from libs.columns.arrays import BoolArray
from libs.columns.stored import InputError
from libs.columns.wire import MalformedColumns
from libs.filing_stages.direction import exports
from libs.store.tables.inputs import BatchPlace
from libs.store.tables.leases import require_lease
from libs.telemetry import counter, get_logger
from luxor.common.v1.common_pb2 import LANE_RED
from luxor.risk.v1.risk_pb2 import PURPOSE_CLEARANCE
from services.risk.commands.load_lists import ActiveLists
from services.risk.elements.stored_inputs import Input, read_answers
from services.risk.screening.matching.index import Index
from services.risk.screening.matching.list_changes import ChangedEntries
from services.risk.screening.new_matches import (
    NEVER,
    BatchMatches,
    Changes,
    bearers,
    cleared_in,
    likely_names,
    remaining_lane,
    rescreen_likely,
)
from services.risk.screening.parties import MatchLevels, lower_than, party_names
from services.risk.store.assessment_inputs import StoredBatch
from services.risk.store.screening_matches import Announcement, NewMatches, ScreeningMatchStore

LEASE: Final = "rescreening"
SLICE_FILINGS: Final = 500
"""Filings with matches in a slice after which it takes no further batch, because its transaction must not hold back the feeds'
horizon for long."""
PREPARED_MAX: Final = 32
"""Versions for which the newer entries are cached."""

_screened = counter("luxor_risk_rescreened_total", "Consignments screened again because a list changed")
_matches = counter(
    "luxor_risk_rescreening_matches_total",
    "Screening matches that a rescreening found and published to clearance, by recommended lane",
    ("lane",),
)
_cleared = counter(
    "luxor_risk_rescreening_cleared_total",
    "Consignments with a match that a cleared pair removed, as published to clearance",
)
_unreadable = counter(
    "luxor_risk_rescreening_unreadable_total",
    "Stored batches that cannot be read and are not screened again",
)
_log = get_logger()

Thresholds = tuple[int, int, int]
ThresholdsOf = Callable[[Table, BoolArray], list[Thresholds]]
ANY_SCORE: Final[Thresholds] = (1, 1, 1)
"""By default any score of other findings keeps the goods held."""
#: A batch and the names that may match, or the reason why it cannot be read.
_Opened = tuple[Input, frozenset[str]] | InputError | MalformedColumns


class Rescreen:
    """The screening of stored batches against the active lists."""

    def __init__(self, store: ScreeningMatchStore, levels: MatchLevels, thresholds: ThresholdsOf) -> None:
        """Screen by `levels` of matches.

        `thresholds` returns for answers, and which are of exports, the points from which blue, yellow and red are required.
        """
        self._store = store
        self._levels = levels
        self._thresholds = thresholds
        self._changed_entries: dict[str, ChangedEntries] = {}
        self._changed_lists: ActiveLists | None = None
        self.unreadable: set[int] = set()
        """Numbers of the batches that could not be read."""

    async def run(self, token: int, batches: list[StoredBatch], state: ActiveLists, lists: str) -> tuple[int, int]:
        """Screen some of the batches under a lease; return the number of screened consignments, and of those with changes. Raises
        the errors of the store.
        """
        hits, done = await self._slice(batches, state)
        if not done:
            return 0, 0
        await write_matches(self._store, token, done, lists, state.versions, self._levels.minimum, hits)
        return _count(done, hits)

    async def note_lists(self, lists: str, *, are_new: bool) -> None:
        """Record the active lists; those that became active are the newest from now on."""
        async with self._store.database.transaction() as tx:
            await self._store.lists_seen(tx, lists, are_new=are_new)

    async def _slice(
        self, batches: list[StoredBatch], state: ActiveLists
    ) -> tuple[list[NewMatches], list[StoredBatch]]:
        """Return the new matches of batches, and the batches that they are of."""
        hits: list[NewMatches] = []
        done: list[StoredBatch] = []
        told: set[tuple[str, int]] = set()
        opened = await self._open(batches, state)
        for batch in batches:
            try:
                found = await self._look(batch, opened[batch.place], state)
            except (InputError, MalformedColumns) as error:
                self.unreadable.add(batch.place.batch)
                _unreadable.inc()
                _log.error("RESCREENING_UNREADABLE", error, day=batch.place.day, batch=batch.place.batch)
                continue
            filings = set(zip(found.mrns, found.versions, strict=True))
            if told & filings:
                # The filing was assessed for both purposes: the next slice compares with the result of this one.
                break
            told |= filings
            hits.append(found)
            done.append(batch)
            if len(told) >= SLICE_FILINGS:
                break
        return hits, done

    async def _open(self, batches: list[StoredBatch], state: ActiveLists) -> dict[BatchPlace, _Opened]:
        """Return the opened batches; those of the same lists are searched together, in a thread, so that the event loop continues."""
        by_lists: dict[str, list[StoredBatch]] = {}
        for batch in batches:
            by_lists.setdefault(batch.lists, []).append(batch)
        opened: dict[BatchPlace, _Opened] = {}
        for screened, same in by_lists.items():
            again = await self._prepared(screened, state)
            # Only if the pairs have changed: a party with a cleared name may no longer match.
            pairs = state.index.cleared.version
            cleared = pairs is not None and pairs.id not in screened.split()
            opened |= await asyncio.to_thread(_opened, same, again, self._levels, state.index if cleared else None)
        return opened

    async def _look(self, batch: StoredBatch, opened: _Opened, state: ActiveLists) -> NewMatches:
        """Return the new matches of a batch. Raises InputError and MalformedColumns."""
        if isinstance(opened, Exception):
            raise opened
        given, likely = opened
        table, rows = given.table, given.rows
        # In a thread too: a batch of the largest size takes tens of milliseconds.
        found = await asyncio.to_thread(rescreen_likely, likely, state.index, table, self._levels)
        mrns, versions = table.strings("mrn"), table.ints("version").values
        newest = await self._store.newest([mrns[row] for row in found.rows.tolist()]) if len(found.rows) else {}
        current = [place for place, row in enumerate(found.rows.tolist()) if newest.get(mrns[row]) == versions[row]]
        found = found.take(np.array(current, np.int64))
        payload = await self._store.answers(batch.place) if current else None
        if payload is None:
            nothing = found.findings.take(np.zeros(0, np.int64))
            return NewMatches([], [], [], nothing, nothing, [])
        answers = read_answers(payload, rows).take(rows)
        names = [mrns[row] for row in found.rows.tolist()]
        numbers = versions[found.rows].tolist()
        earlier = await self._store.earlier(names, numbers)
        changes = await asyncio.to_thread(found.changes, answers, earlier, cleared_in(state.index, table))
        places = changes.places.tolist()
        return NewMatches(
            [names[place] for place in places],
            [numbers[place] for place in places],
            [earlier.get(place, NEVER).at for place in places],
            changes.findings,
            changes.cleared,
            self._left(batch, table, answers, found, changes),
        )

    def _left(
        self, batch: StoredBatch, table: Table, answers: Table, matches: BatchMatches, changes: Changes
    ) -> list[int | None]:
        """Return the lanes that remain without the cleared matches; none for an assessment before loading, because clearance has
        another answer.
        """
        if batch.purpose != PURPOSE_CLEARANCE or not changes.cleared.lengths.any():
            return [None] * len(changes.places)
        rows = matches.rows[changes.places]
        chosen = answers.take(rows)
        lanes = remaining_lane(chosen, changes.cleared, self._thresholds(chosen, exports(table)[rows])).tolist()
        return [lane if count else None for lane, count in zip(lanes, changes.cleared.lengths.tolist(), strict=True)]

    async def _prepared(self, screened: str, state: ActiveLists) -> ChangedEntries:
        if self._changed_lists is not state:
            self._changed_entries, self._changed_lists = {}, state
        again = self._changed_entries.get(screened)
        if again is None:
            if len(self._changed_entries) >= PREPARED_MAX:
                self._changed_entries.clear()
            coming = state.coming_since(screened)
            if lower_than(self._levels, screened):
                coming = dict.fromkeys((version.source for version in state.index.versions), None)
            again = self._changed_entries[screened] = await asyncio.to_thread(ChangedEntries, state.index, coming)
        return again


async def write_matches(
    store: ScreeningMatchStore,
    token: int,
    batches: Sequence[StoredBatch],
    by: str,
    lists: str,
    threshold: int,
    matches: Sequence[NewMatches],
) -> None:
    """Announce and store the matches of a slice with `lists`, and mark its batches as screened `by` them, all or nothing.

    Raises LeaseLost, and SliceTaken if a batch has changed since it was read.
    """
    matches = [each for each in matches if each.mrns]
    # All slow work is done before the transaction begins.
    announcement = None
    if matches:
        now = await store.database.now()
        announcement = await asyncio.to_thread(Announcement.from_matches, matches, lists, threshold, now)
    async with store.database.transaction() as tx:
        await require_lease(tx, LEASE, token)
        await store.move(tx, batches, by)
        if announcement is not None:
            await store.announce(tx, announcement)


def _count(batches: list[StoredBatch], matches: list[NewMatches]) -> tuple[int, int]:
    consignments = sum(batch.count for batch in batches)
    _screened.inc(consignments)
    for each in matches:
        findings = each.findings.values
        assert isinstance(findings, Table)
        red = int((findings.ints("lane").values == LANE_RED).sum())
        _matches.labels("red").inc(red)
        _matches.labels("yellow").inc(findings.rows - red)
        _cleared.inc(int((each.cleared.lengths > 0).sum()))
    return consignments, sum(len(each.mrns) for each in matches)


def _opened(
    batches: list[StoredBatch], changed_entries: ChangedEntries, levels: MatchLevels, cleared: Index | None
) -> dict[BatchPlace, _Opened]:
    opened: dict[BatchPlace, _Opened] = {}
    readable: dict[BatchPlace, Input] = {}
    for batch in batches:
        try:
            batch_input = batch.unpack()
            party_names(batch_input.table)  # Columns are decoded when they are first read.
            readable[batch.place] = batch_input
        except (InputError, MalformedColumns) as error:
            opened[batch.place] = error
    tables = [batch_input.table for batch_input in readable.values()]
    likely = likely_names(changed_entries, tables, levels)
    if cleared is not None:
        likely |= bearers(cleared, tables)
    return opened | {place: (batch_input, likely) for place, batch_input in readable.items()}
