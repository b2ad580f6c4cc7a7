"""Screens again what was assessed against other versions of the lists than are in force, or by higher levels of matches, and
announces the new hits. Where a pair was cleared, it announces what is hit no more: that alone frees what only such a hit held.

One replica at a time works, of replicas that differ one with the newest lists. It works in slices: a slice's hits and the note
that its batches are screened are one transaction, so that it goes on where it was after a crash and tells nothing twice. It
also covers what a replica assessed that had a list later than others: such a batch names the older version.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from libs.columns import Table
from libs.columns.stored import InputError
from libs.columns.wire import MalformedColumns
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.gauges import Look
from libs.store.inputs import BatchPlace
from libs.store.leases import LeaseLost
from libs.telemetry import counter, gauge, get_logger
from luxor.risk.v1.risk_pb2 import LANE_RED, PURPOSE_CLEARANCE
from services.risk.commands.load_lists import State
from services.risk.elements.stored_inputs import Input, read_answers
from services.risk.screening.matching.index import Index
from services.risk.screening.matching.list_changes import Again
from services.risk.screening.new_matches import (
    NEVER,
    Changes,
    Found,
    bearers,
    cleared_in,
    lane_left,
    likely_names,
    look_again,
)
from services.risk.screening.parties import LEVELS, MatchLevels, lower_than, party_names, screened_by
from services.risk.store.assessment_inputs import StoredBatch
from services.risk.store.screening_matches import HitStore, NewHits, SliceTaken

SLICE_BATCHES: Final = 4
SLICE_FILINGS: Final = 500
"""Filings hit in a slice after which it takes no further batch: its transaction must not hold the feeds' horizon for long."""
PREPARED_MAX: Final = 32
"""Versions for which what has come since is held ready."""
AHEAD_SECONDS: Final = 900.0
"""For so long a batch is left alone that was screened against a list published later than the one in force here: this replica
has not taken it yet. After that the list was set back, and what the older one has again is looked for."""

_left = gauge(
    "luxor_risk_rescreening_batches_left",
    "Batches whose parties were screened against other versions of lists than are in force, and wait to be screened again",
)
_screened = counter("luxor_risk_rescreened_total", "Consignments screened again since a list changed")
_hits = counter(
    "luxor_risk_rescreening_hits_total",
    "Hits found by screening again and announced to clearance, by the lane they advise",
    ("lane",),
)
_cleared = counter(
    "luxor_risk_rescreening_cleared_total",
    "Consignments of which a hit was cleared by a pair, as announced to clearance",
)
_unreadable = counter(
    "luxor_risk_rescreening_unreadable_total",
    "Stored batches that could not be read, so that they are not screened again",
)
_log = get_logger()

Thresholds = tuple[int, int, int]
ANY_SCORE: Final[Thresholds] = (1, 1, 1)
"""Where nobody tells otherwise, whatever else scores holds the goods on."""
#: A batch and the names that may be hit, or why it cannot be read.
_Opened = tuple[Input, frozenset[str]] | InputError | MalformedColumns


class Rescreening:
    """The work of one replica."""

    def __init__(
        self,
        store: HitStore,
        replica: str,
        lists: Callable[[], State],
        *,
        days: int,
        levels: MatchLevels = LEVELS,
        thresholds: Callable[[Table], list[Thresholds]] = lambda answers: [ANY_SCORE] * answers.rows,
        pause_seconds: float = 10.0,
        slice_batches: int = SLICE_BATCHES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Screen batches of the last `days` against what `lists` tells is in force; `thresholds` gives of answers the points from
        which blue, yellow and red are called for.
        """
        self._store = store
        self._replica = replica
        self._lists = lists
        self._days = days
        self._levels = levels
        self._thresholds = thresholds
        self._pause_seconds = pause_seconds
        self._slice_batches = slice_batches
        self._clock = clock
        self._token: int | None = None
        self._again: dict[str, Again] = {}
        self._again_of: State | None = None
        self._ahead: dict[str, float] = {}
        self._broken: set[int] = set()
        self._done = self._found = 0
        self._last: str | None = None
        self._newer: str | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; what fails is logged and tried again."""
        while not stop.is_set():
            try:
                more = True
                while more and not stop.is_set():
                    more = await self.step()
            except (SliceTaken, LeaseLost) as error:
                self._token = None
                _log.info("RESCREENING_TAKEN", why=str(error))
            except StoreError as error:
                _log.warning("RESCREENING_POSTPONED", why=str(error))
            except Exception as error:  # unexpected: it must not end the service; the gauge tells what is left
                _log.error("RESCREENING_FAILED", error)
            try:
                async with asyncio.timeout(self._pause_seconds):
                    await stop.wait()
            except TimeoutError:
                continue
        await self._end()

    async def step(self) -> bool:
        """Do a slice; whether there may be more to do. Raises what the store raises."""
        state = self._lists()
        lists = screened_by(state.versions, self._levels)
        if not await self._leads(lists, state):
            await self._end()
            return False
        now = self._clock()
        leave = [text for text, since in self._ahead.items() if text != lists and now < since + AHEAD_SECONDS]
        batches = await self._store.stale(
            lists, self._days, self._slice_batches, leave=leave, broken=list(self._broken)
        )
        ready = [batch for batch in batches if not self._wait_for(batch.lists, state, now)]
        if not batches:
            await self._end()
            return False
        if not ready:
            return True
        token = await self._store.lease(self._replica)
        if token is None:
            self._token = None
            return False
        if self._token is None:
            self._done = self._found = 0
            _log.info("RESCREENING_BEGUN", lists=lists, screened_against=ready[0].lists)
        self._token = token
        hits, done = await self._slice(ready, state)
        if done:
            await self._store.write(token, done, lists, state.versions, self._levels.hit, hits)
            self._count(done, hits)
        return True

    async def _leads(self, lists: str, state: State) -> bool:
        """Whether no replica has lists that came into force later than these: so replicas that differ do not undo each other's work.

        Lists are newest when they come into force, here or for the first time anywhere, unless a replica has some that were
        published later. What no replica has had for a quarter of an hour counts no more.
        """
        known = await self._store.newest_lists(lists, max(AHEAD_SECONDS, 3 * self._pause_seconds))
        anew = known.number is None or self._last not in (None, lists)
        if anew and known.other is not None and is_ahead(known.other, state):
            leads = False
        else:
            await self._store.lists_seen(lists, anew=anew)
            self._last = lists
            leads = anew or known.other_number is None or known.other_number < (known.number or 0)
        newer = None if leads else known.other
        if newer is not None and newer != self._newer:
            _log.info("RESCREENING_LEFT_TO_NEWER", lists=lists, newer=newer)
        self._newer = newer
        return leads

    async def _slice(self, batches: list[StoredBatch], state: State) -> tuple[list[NewHits], list[StoredBatch]]:
        """The new hits of batches, and which batches they are of."""
        hits: list[NewHits] = []
        done: list[StoredBatch] = []
        told: set[tuple[str, int]] = set()
        opened = await self._open(batches, state)
        for batch in batches:
            try:
                found = await self._look(batch, opened[batch.place], state)
            except (InputError, MalformedColumns) as error:
                self._broken.add(batch.place.batch)
                _unreadable.inc()
                _log.error("RESCREENING_UNREADABLE", error, day=batch.place.day, batch=batch.place.batch)
                continue
            filings = set(zip(found.mrns, found.versions, strict=True))
            if told & filings:
                # A filing that was assessed for both purposes: the next slice compares with what this one tells.
                break
            told |= filings
            hits.append(found)
            done.append(batch)
            if len(told) >= SLICE_FILINGS:
                break
        return hits, done

    def _wait_for(self, screened: str, state: State, now: float) -> bool:
        """Whether a batch was screened against a list that this replica has yet to take."""
        if screened in self._ahead:
            return now < self._ahead[screened] + AHEAD_SECONDS
        if not is_ahead(screened, state):
            return False
        self._ahead[screened] = now
        _log.info("RESCREENING_WAITS", screened_against=screened, lists=state.versions)
        return True

    async def _open(self, batches: list[StoredBatch], state: State) -> dict[BatchPlace, _Opened]:
        """The batches, those of the same lists looked through together; in a thread, so that the loop turns."""
        by_lists: dict[str, list[StoredBatch]] = {}
        for batch in batches:
            by_lists.setdefault(batch.lists, []).append(batch)
        opened: dict[BatchPlace, _Opened] = {}
        for screened, same in by_lists.items():
            again = await self._prepared(screened, state)
            # Only where the pairs are others than they were: who bears a cleared name may be hit no more.
            pairs = state.index.cleared.version
            cleared = pairs is not None and pairs.id not in screened.split()
            opened |= await asyncio.to_thread(_opened, same, again, self._levels, state.index if cleared else None)
        return opened

    async def _look(self, batch: StoredBatch, opened: _Opened, state: State) -> NewHits:
        """Find the new hits of a batch. Raises InputError and MalformedColumns."""
        if isinstance(opened, Exception):
            raise opened
        given, likely = opened
        table, rows = given.table, given.rows
        # In a thread too: a batch of the largest size takes tens of milliseconds.
        found = await asyncio.to_thread(look_again, likely, state.index, table, self._levels)
        mrns, versions = table.strings("mrn"), table.ints("version").values
        newest = await self._store.newest([mrns[row] for row in found.rows.tolist()]) if len(found.rows) else {}
        kept = [place for place, row in enumerate(found.rows.tolist()) if newest[mrns[row]] == versions[row]]
        found = found.take(np.array(kept, np.int64))
        payload = await self._store.answers(batch.place) if kept else None
        if payload is None:
            nothing = found.findings.take(np.zeros(0, np.int64))
            return NewHits([], [], [], nothing, nothing, [])
        answers = read_answers(payload, rows).take(rows)
        names = [mrns[row] for row in found.rows.tolist()]
        numbers = versions[found.rows].tolist()
        earlier = await self._store.earlier(names, numbers)
        changes = await asyncio.to_thread(found.changes, answers, earlier, cleared_in(state.index, table))
        places = changes.places.tolist()
        return NewHits(
            [names[place] for place in places],
            [numbers[place] for place in places],
            [earlier.get(place, NEVER).at for place in places],
            changes.findings,
            changes.cleared,
            self._left(batch, answers, found, changes),
        )

    def _left(self, batch: StoredBatch, answers: Table, found: Found, changes: Changes) -> list[int | None]:
        """The lanes that are left without what was cleared. Of an assessment before loading none is: clearance has another answer."""
        if batch.purpose != PURPOSE_CLEARANCE or not changes.cleared.lengths.any():
            return [None] * len(changes.places)
        chosen = answers.take(found.rows[changes.places])
        lanes = lane_left(chosen, changes.cleared, self._thresholds(chosen)).tolist()
        return [lane if count else None for lane, count in zip(lanes, changes.cleared.lengths.tolist(), strict=True)]

    async def _prepared(self, screened: str, state: State) -> Again:
        if self._again_of is not state:
            self._again, self._again_of = {}, state
        again = self._again.get(screened)
        if again is None:
            if len(self._again) >= PREPARED_MAX:
                self._again.clear()
            coming = state.coming_since(screened)
            if lower_than(self._levels, screened):
                coming = dict.fromkeys((version.source for version in state.index.versions), None)
            again = self._again[screened] = await asyncio.to_thread(Again, state.index, coming)
        return again

    def _count(self, batches: list[StoredBatch], hits: list[NewHits]) -> None:
        consignments = sum(batch.count for batch in batches)
        _screened.inc(consignments)
        self._done += consignments
        for each in hits:
            findings = each.findings.values
            assert isinstance(findings, Table)
            red = int((findings.ints("lane").values == LANE_RED).sum())
            _hits.labels("red").inc(red)
            _hits.labels("yellow").inc(findings.rows - red)
            _cleared.inc(int((each.cleared.lengths > 0).sum()))
            self._found += len(each.mrns)

    async def _end(self) -> None:
        """Give the lease back, once there is nothing left or the service stops."""
        token, self._token = self._token, None
        if token is None:
            return
        _log.info("RESCREENING_ENDED", lists=self._lists().versions, consignments=self._done, hit=self._found)
        try:
            await self._store.release(token)
        except StoreError as error:
            _log.warning("RESCREENING_POSTPONED", why=str(error))


def _opened(
    batches: list[StoredBatch], again: Again, levels: MatchLevels, cleared: Index | None
) -> dict[BatchPlace, _Opened]:
    opened: dict[BatchPlace, _Opened] = {}
    readable: dict[BatchPlace, Input] = {}
    for batch in batches:
        try:
            given = batch.unpack()
            party_names(given.table)  # Columns are read when they are asked for.
            readable[batch.place] = given
        except (InputError, MalformedColumns) as error:
            opened[batch.place] = error
    tables = [given.table for given in readable.values()]
    likely = likely_names(again, tables, levels)
    if cleared is not None:
        likely |= bearers(cleared, tables)
    return opened | {place: (given, likely) for place, given in readable.items()}


def is_ahead(screened: str, state: State) -> bool:
    """Whether a list was published later than the version in force here, and was never in force here."""
    mine = {version.source: version for version in state.index.versions}
    for each in screened.split():
        source, _, rest = each.partition(":")
        version = mine.get(source)
        if version is None or version.published is None or each == version.id:
            continue
        published = rest.partition(":")[0]
        was_here = any(older == each for older, _ in state.steps.get(source, ()))
        if published != "undated" and published > version.published.isoformat() and not was_here:
            return True
    return False


def batches_left(store: HitStore, lists: Callable[[], State], days: int, levels: MatchLevels = LEVELS) -> Look:
    """A look at how many batches wait, by what this replica has in force."""

    async def look(_: Database) -> None:
        _left.set(await store.left(screened_by(lists().versions, levels), days))

    return look
