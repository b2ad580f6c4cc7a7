"""Applies screening matches and clearings of matches. A match holds goods that are not released, and marks released goods for audit. A cleared match
releases goods that only it held.

A match that comes before the decision on its consignment is stored until the decision.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY
from libs.store.database import Transaction
from libs.telemetry import counter
from services.clearance.commands.goods.referrals import store_referrals
from services.clearance.consignment.assessment import findings_of
from services.clearance.consignment.columns import choose
from services.clearance.consignment.decision import SCREENING, lacks_parts
from services.clearance.consignment.inspection import open_violations
from services.clearance.consignment.screening import Cleared, cleared, held_by_matches, screened, with_matches
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.transitions import CONTROLLED, FINAL, HELD, Event, State
from services.clearance.pre_loading import recommendation
from services.clearance.pre_loading.parameters import Parameters, included
from services.clearance.store import STATE_DAYS, EarlyMatch, Row, Store, day_of

_outcomes = counter(
    "luxor_clearance_screenings_total",
    "Consignments with new screening matches from risk, by result: held, added to a hold or seizure, released already (marked for audit), freed by a "
    "cleared match, cleared (another hold remains), final, known, outdated by a newer filing, early (stored until the decision), forgotten",
    ("outcome",),
)


_OUTCOMES = {**dict.fromkeys((*HELD, State.SEIZED), "added"), State.RELEASED: "released"}
"""What a match did, by the state before it; "held" for all others."""


class Screen:
    """Applies screening matches that come after the assessment, and clearings of them."""

    def __init__(self, store: Store, parameters: Parameters | None = None, *, state_days: int = STATE_DAYS) -> None:
        """Work on a store; matches of consignments accepted more than `state_days` ago are ignored.

        `parameters` of the assessment before loading are by default those of this release.
        """
        self._store = store
        self._parameters = parameters or included()
        self._state_days = state_days

    async def run(self, tx: Transaction, matches: Sequence[EarlyMatch]) -> None:
        """Apply matches, and store those that came before the decision."""
        oldest = await self._store.now(tx) // MICROS_PER_DAY - self._state_days
        young = [each for each in matches if day_of(each.mrn) >= oldest]
        outcomes = Counter(forgotten=len(matches) - len(young))
        mrns = list(dict.fromkeys(each.mrn for each in young))
        rows = await self._store.find(tx, mrns)
        if len(rows) < len(mrns):
            # Wait for decisions that other transactions store now, then read again.
            await self._store.early_matches.bar_decisions(tx)
            rows = await self._store.find(tx, mrns)
            early = [each for each in young if each.mrn not in rows]
            await self._store.early_matches.add(tx, early)
            outcomes["early"] += len(early)
        await self._apply(tx, [each for each in young if each.mrn in rows], outcomes)
        tx.after_commit(lambda: _count(outcomes))

    async def _apply(self, tx: Transaction, matches: Sequence[EarlyMatch], outcomes: Counter[str]) -> None:
        """Apply matches; several of one consignment in the order of their times."""
        left = sorted(matches, key=lambda each: (each.mrn, each.screened_at))
        while left:
            first = {each.mrn: each for each in reversed(left)}
            locked = await self._store.lock(tx, list(first))
            await self._round(tx, first, locked, outcomes)
            left = [each for each in left if first[each.mrn] is not each]

    async def _round(
        self, tx: Transaction, matches: Mapping[str, EarlyMatch], locked: Mapping[str, Row], outcomes: Counter[str]
    ) -> None:
        rows: list[Row] = []
        for row in locked.values():
            filing_version = matches[row.mrn].matches.ints("filing_version").filled(0)[0]
            if row.state in FINAL:
                outcomes["final"] += 1
            elif filing_version < row.filing_version:
                outcomes["outdated"] += 1
            else:
                rows.append(row)
        if not rows:
            return
        states = await self._store.states(tx, rows)
        screenings = Table.concat([matches[row.mrn].matches for row in rows])
        over = cleared(states, screenings)
        findings, added = with_matches(over.states.ragged("findings"), findings_of(screenings))
        outcomes["known"] += int((~over.removed & (added == 0)).sum())
        await self._clear(tx, over, added == 0, [matches[row.mrn] for row in rows], rows, outcomes)
        states, new = over.states, np.flatnonzero(added > 0)
        if not len(new):
            return
        before = states.ints("state").values[new]
        at = await self._store.now(tx)
        details = EventDetails(event=Event.SCREENING_MATCHED, at=at, by=SCREENING)
        after, outcome = apply_event(screened(states, findings, screenings).take(new), details)
        assert bool(outcome.effective.all()), (
            "a screening match is effective in each state that can be reached and is not final"
        )
        # The trace of the work that found the match; of several, that of the first.
        trace = matches[rows[int(new[0])].mrn].trace
        ref = await self._store.succeed(tx, after, [rows[place] for place in new.tolist()], trace=trace)
        if recommendation.is_assessed(after):
            await store_referrals(self._store, tx, recommendation.reopen(after, at, self._parameters), ref, trace, at)
        for state in before.tolist():
            outcomes[_OUTCOMES.get(state, "held")] += 1

    async def _clear(
        self,
        tx: Transaction,
        over: Cleared,
        without_new: NDArray[np.bool_],
        matches: Sequence[EarlyMatch],
        rows: Sequence[Row],
        outcomes: Counter[str],
    ) -> None:
        """Free what only cleared matches held; `without_new` is true where no new match came with the clearing."""
        changed = np.flatnonzero(over.removed & without_new)
        if not len(changed):
            return
        states = over.states.take(changed)
        state = states.ints("state").values
        # Of goods with an open control nothing but the controls may be left, so that filers read it as an officer's release.
        free = ~states.bools("officer_hold").values & ~open_violations(states)
        free &= ~lacks_parts(states.ragged("reasons"))
        goes = over.free[changed] & ((state == State.HELD) | (np.isin(state, CONTROLLED) & free))
        events = np.where(goes, np.int64(Event.SCREENING_MATCH_CLEARED), np.int64(Event.FINDINGS_CHANGED))
        after, outcome = apply_event(states, EventDetails(event=events, at=await self._store.now(tx), by=SCREENING))
        assert bool(outcome.effective.all()), (
            "a cleared match is effective in each state that can be reached and is not final"
        )
        await self._store.succeed(
            tx, after, [rows[place] for place in changed.tolist()], trace=matches[int(changed[0])].trace
        )
        freed = int((goes & ~np.isin(outcome.state, HELD)).sum())
        outcomes["freed"] += freed
        outcomes["cleared"] += len(changed) - freed


def bind(
    tx: Transaction, states: Table, release: NDArray[np.bool_], matches: Sequence[EarlyMatch]
) -> tuple[Table, NDArray[np.bool_]]:
    """Return states that are about to be decided for the first time and which of them to release, with the matches that came before the decision.

    A new match holds, a cleared one does not. The outcomes are counted once `tx` commits.
    """
    outcomes: Counter[str] = Counter()
    left = sorted(matches, key=lambda each: (each.mrn, each.screened_at))
    places = {mrn: place for place, mrn in enumerate(states.strings("mrn").tolist())}
    versions = states.ints("filing_version").values
    while left:
        first = {each.mrn: each for each in reversed(left)}
        left = [each for each in left if first[each.mrn] is not each]
        here = {places[mrn]: each.matches for mrn, each in first.items() if mrn in places}
        fit = sorted(
            row for row, screenings in here.items() if screenings.ints("filing_version").filled(0)[0] >= versions[row]
        )
        outcomes["outdated"] += len(here) - len(fit)
        if not fit:
            continue
        chosen = states.take(np.array(fit, np.int64))
        screenings = Table.concat([here[row] for row in fit])
        over = cleared(chosen, screenings)
        findings, added = with_matches(over.states.ragged("findings"), findings_of(screenings))
        outcomes["held"] += int((added > 0).sum())
        outcomes["cleared"] += int((over.removed & (added == 0)).sum())
        outcomes["known"] += int((~over.removed & (added == 0)).sum())
        held = held_by_matches(screened(over.states, findings, screenings), added > 0)
        release = release.copy()
        # A decision releases nothing that an officer or an unsettled debt holds.
        release[fit] |= over.free & (added == 0)
        states = _put(states, np.array(fit, np.int64), choose(added > 0, held, over.states))
    tx.after_commit(lambda: _count(outcomes))
    return states, release


def _put(table: Table, rows: NDArray[np.int64], changed: Table) -> Table:
    """Put `changed` in the place of some rows."""
    others = np.setdiff1d(np.arange(table.rows), rows)
    order = np.argsort(np.concatenate([others, rows]), kind="stable")
    return Table.concat([table.take(others), changed]).take(order)


def _count(outcomes: Counter[str]) -> None:
    for outcome, count in outcomes.items():
        _outcomes.labels(outcome).inc(count)
