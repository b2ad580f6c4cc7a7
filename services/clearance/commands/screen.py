"""Put hits of the screening into force: what is not released is held; what is, officers hear of. Where a hit was cleared, what it alone held goes on.

Hits may be told before the consignment is decided here: then they wait for the decision, in clearance's own store.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY
from libs.store.database import Transaction
from libs.telemetry import counter
from services.clearance.consignment.assessment import findings_of
from services.clearance.consignment.screening import Cleared, cleared, held_by_hits, screened, with_hits
from services.clearance.consignment.state import SCREENING, Happening, evolve
from services.clearance.consignment.transitions import FINAL, Event, State
from services.clearance.store import STATE_DAYS, EarlyMatch, Row, Store, day_of

_told = counter(
    "luxor_clearance_screenings_total",
    "Consignments with new screening matches from risk, by result: held, added to a hold, released already (marked for audit), freed by a cleared "
    "match, cleared (another hold remains), final, known, outdated by a newer filing, early (stored until the decision), forgotten",
    ("outcome",),
)


class Screen:
    """Puts hits into force."""

    def __init__(self, store: Store, *, state_days: int = STATE_DAYS) -> None:
        """Put hits into force in a store; those of consignments accepted more than `state_days` ago are left alone."""
        self._store = store
        self._state_days = state_days

    async def run(self, tx: Transaction, hits: Sequence[EarlyMatch]) -> None:
        """Put hits into force, and keep those that came before the decision."""
        oldest = await self._store.now(tx) // MICROS_PER_DAY - self._state_days
        young = [hit for hit in hits if day_of(hit.mrn) >= oldest]
        outcomes = Counter(forgotten=len(hits) - len(young))
        mrns = list(dict.fromkeys(hit.mrn for hit in young))
        known = await self._store.find(tx, mrns)
        if len(known) < len(mrns):
            # What is being decided right now comes to its end first, and is looked for again.
            await self._store.early_matches.bar_decisions(tx)
            known = await self._store.find(tx, mrns)
            early = [hit for hit in young if hit.mrn not in known]
            await self._store.early_matches.add(tx, early)
            outcomes["early"] += len(early)
        await self._in_force(tx, [hit for hit in young if hit.mrn in known], outcomes)
        tx.after_commit(lambda: _count(outcomes))

    async def _in_force(self, tx: Transaction, hits: Sequence[EarlyMatch], outcomes: Counter[str]) -> None:
        """Apply hits; of those of one consignment the next follows the one before."""
        left = sorted(hits, key=lambda hit: (hit.mrn, hit.screened_at))
        while left:
            first = {hit.mrn: hit for hit in reversed(left)}
            locked = await self._store.lock(tx, list(first))
            await self._round(tx, first, locked, outcomes)
            left = [hit for hit in left if first[hit.mrn] is not hit]

    async def _round(
        self, tx: Transaction, hits: Mapping[str, EarlyMatch], locked: Mapping[str, Row], outcomes: Counter[str]
    ) -> None:
        rows: list[Row] = []
        for row in locked.values():
            filing_version = hits[row.mrn].hits.ints("filing_version").filled(0)[0]
            if row.state in FINAL:
                outcomes["final"] += 1
            elif filing_version < row.filing_version:
                outcomes["outdated"] += 1
            else:
                rows.append(row)
        if not rows:
            return
        states = await self._store.states(tx, rows)
        told = Table.concat([hits[row.mrn].hits for row in rows])
        over = cleared(states, told)
        findings, added = with_hits(over.states.ragged("findings"), findings_of(told))
        outcomes["known"] += int((~over.removed & (added == 0)).sum())
        await self._clear(tx, over, added == 0, [hits[row.mrn] for row in rows], rows, outcomes)
        states, new = over.states, np.flatnonzero(added > 0)
        if not len(new):
            return
        before = states.ints("state").values[new]
        happening = Happening(event=Event.SCREENING_MATCHED, at=await self._store.now(tx), by=SCREENING)
        after, outcome = evolve(screened(states, findings, told).take(new), happening)
        assert bool(outcome.effective.all()), "a hit has its effect in each state that is reached and not final"
        # The work that told the hit; of several the first stands for all.
        trace = hits[rows[int(new[0])].mrn].trace
        await self._store.succeed(tx, after, [rows[place] for place in new.tolist()], trace=trace)
        for state in before.tolist():
            outcomes[{State.HELD: "added", State.RELEASED: "released"}.get(state, "held")] += 1

    async def _clear(
        self,
        tx: Transaction,
        over: Cleared,
        alone: NDArray[np.bool_],
        hits: Sequence[EarlyMatch],
        rows: Sequence[Row],
        outcomes: Counter[str],
    ) -> None:
        """Let go what cleared hits alone held; `alone` tells where no new hit came with it."""
        changed = np.flatnonzero(over.removed & alone)
        if not len(changed):
            return
        states = over.states.take(changed)
        goes = over.free[changed] & (states.ints("state").values == State.HELD)
        events = np.where(goes, np.int64(Event.SCREENING_MATCH_CLEARED), np.int64(Event.FOUND))
        after, outcome = evolve(states, Happening(event=events, at=await self._store.now(tx), by=SCREENING))
        assert bool(outcome.effective.all()), "a cleared hit has its effect in each state that is reached and not final"
        await self._store.succeed(
            tx, after, [rows[place] for place in changed.tolist()], trace=hits[int(changed[0])].trace
        )
        freed = int((goes & (outcome.state != State.HELD)).sum())
        outcomes["freed"] += freed
        outcomes["cleared"] += len(changed) - freed


def bind(
    tx: Transaction, states: Table, release: NDArray[np.bool_], hits: Sequence[EarlyMatch]
) -> tuple[Table, NDArray[np.bool_]]:
    """Give states that are about to be decided for the first time, and which are to be released, with what came before the decision: held by new
    hits, and not by those that are cleared; counted once `tx` commits.
    """
    outcomes: Counter[str] = Counter()
    left = sorted(hits, key=lambda hit: (hit.mrn, hit.screened_at))
    places = {mrn: place for place, mrn in enumerate(states.strings("mrn").tolist())}
    versions = states.ints("filing_version").values
    while left:
        first = {hit.mrn: hit for hit in reversed(left)}
        left = [hit for hit in left if first[hit.mrn] is not hit]
        here = {places[mrn]: hit.hits for mrn, hit in first.items() if mrn in places}
        fit = sorted(row for row, told in here.items() if told.ints("filing_version").filled(0)[0] >= versions[row])
        outcomes["outdated"] += len(here) - len(fit)
        if not fit:
            continue
        chosen = states.take(np.array(fit, np.int64))
        told = Table.concat([here[row] for row in fit])
        over = cleared(chosen, told)
        findings, added = with_hits(over.states.ragged("findings"), findings_of(told))
        outcomes["held"] += int((added > 0).sum())
        outcomes["cleared"] += int((over.removed & (added == 0)).sum())
        outcomes["known"] += int((~over.removed & (added == 0)).sum())
        held = held_by_hits(screened(over.states, findings, told), added > 0)
        release = release.copy()
        # A decision releases nothing that an officer or an unsettled debt holds.
        release[fit] |= over.free & (added == 0)
        states = _put(states, np.array(fit, np.int64), _picked(added > 0, held, over.states))
    tx.after_commit(lambda: _count(outcomes))
    return states, release


def _picked(rows: NDArray[np.bool_], new: Table, old: Table) -> Table:
    """Take some rows of `new` and the others of `old`."""
    if rows.all():
        return new
    places = np.arange(len(rows))
    return Table.concat([old, new]).take(places + np.where(rows, len(rows), 0))


def _put(table: Table, rows: NDArray[np.int64], changed: Table) -> Table:
    """Put `changed` in the place of some rows."""
    others = np.setdiff1d(np.arange(table.rows), rows)
    order = np.argsort(np.concatenate([others, rows]), kind="stable")
    return Table.concat([table.take(others), changed]).take(order)


def _count(outcomes: Counter[str]) -> None:
    for outcome, count in outcomes.items():
        _told.labels(outcome).inc(count)
