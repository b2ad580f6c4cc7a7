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

from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.monitoring.gauges import Look
from libs.store.tables.leases import LeaseLost, release_lease, try_lease
from libs.tasks.stop import wait_for_stop
from libs.telemetry import gauge, get_logger
from services.risk.commands.load_lists import ActiveLists
from services.risk.commands.rescreen import ANY_SCORE, LEASE, Rescreen, ThresholdsOf
from services.risk.screening.parties import LEVELS, MatchLevels, screened_by
from services.risk.store.screening_matches import ScreeningMatchStore, SliceTaken

LEASE_SECONDS: Final = 30.0
SLICE_BATCHES: Final = 4
AHEAD_SECONDS: Final = 900.0
"""For so long a batch is left alone that was screened against a list published later than the one in force here: this replica
has not taken it yet. After that the list was set back, and what the older one has again is looked for."""

_left = gauge(
    "luxor_risk_rescreening_batches_left",
    "Batches that were screened against other versions of lists than the active ones and wait to be screened again",
)
_log = get_logger()


class Rescreening:
    """The work of one replica."""

    def __init__(
        self,
        store: ScreeningMatchStore,
        replica: str,
        lists: Callable[[], ActiveLists],
        *,
        days: int,
        levels: MatchLevels = LEVELS,
        thresholds: ThresholdsOf = lambda answers, _: [ANY_SCORE] * answers.rows,
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
        self._rescreen = Rescreen(store, levels, thresholds)
        self._pause_seconds = pause_seconds
        self._slice_batches = slice_batches
        self._clock = clock
        self._token: int | None = None
        self._ahead: dict[str, float] = {}
        self._done = self._matches = 0
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
            await wait_for_stop(stop, self._pause_seconds)
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
            lists, self._days, self._slice_batches, leave=leave, broken=list(self._rescreen.unreadable)
        )
        ready = [batch for batch in batches if not self._wait_for(batch.lists, state, now)]
        if not batches:
            await self._end()
            return False
        if not ready:
            return True
        async with self._store.database.transaction() as tx:
            token = await try_lease(tx, LEASE, self._replica, LEASE_SECONDS)
        if token is None:
            self._token = None
            return False
        if self._token is None:
            self._done = self._matches = 0
            _log.info("RESCREENING_BEGUN", lists=lists, screened_against=ready[0].lists)
        self._token = token
        consignments, found = await self._rescreen.run(token, ready, state, lists)
        self._done += consignments
        self._matches += found
        return True

    async def _leads(self, lists: str, state: ActiveLists) -> bool:
        """Whether no replica has lists that came into force later than these: so replicas that differ do not undo each other's work.

        Lists are newest when they come into force, here or for the first time anywhere, unless a replica has some that were
        published later. What no replica has had for a quarter of an hour counts no more.
        """
        known = await self._store.newest_lists(lists, max(AHEAD_SECONDS, 3 * self._pause_seconds))
        anew = known.number is None or self._last not in (None, lists)
        if anew and known.other is not None and is_ahead(known.other, state):
            leads = False
        else:
            await self._rescreen.note_lists(lists, are_new=anew)
            self._last = lists
            leads = anew or known.other_number is None or known.other_number < (known.number or 0)
        newer = None if leads else known.other
        if newer is not None and newer != self._newer:
            _log.info("RESCREENING_LEFT_TO_NEWER", lists=lists, newer=newer)
        self._newer = newer
        return leads

    def _wait_for(self, screened: str, state: ActiveLists, now: float) -> bool:
        """Whether a batch was screened against a list that this replica has yet to take."""
        if screened in self._ahead:
            return now < self._ahead[screened] + AHEAD_SECONDS
        if not is_ahead(screened, state):
            return False
        self._ahead[screened] = now
        _log.info("RESCREENING_WAITS", screened_against=screened, lists=state.versions)
        return True

    async def _end(self) -> None:
        """Give the lease back, once there is nothing left or the service stops."""
        token, self._token = self._token, None
        if token is None:
            return
        _log.info("RESCREENING_ENDED", lists=self._lists().versions, consignments=self._done, matches=self._matches)
        try:
            async with self._store.database.transaction() as tx:
                await release_lease(tx, LEASE, token)
        except StoreError as error:
            _log.warning("RESCREENING_POSTPONED", why=str(error))


def is_ahead(screened: str, state: ActiveLists) -> bool:
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


def batches_left(
    store: ScreeningMatchStore, lists: Callable[[], ActiveLists], days: int, levels: MatchLevels = LEVELS
) -> Look:
    """A look at how many batches wait, by the active lists of this replica."""

    async def look(_: Database) -> None:
        _left.set(await store.left(screened_by(lists().versions, levels), days))

    return look
