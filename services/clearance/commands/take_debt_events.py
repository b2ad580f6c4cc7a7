"""Apply debt events of revenue: debts that are settled or open again, and consignments that were assessed again.

A consignment that only its debt holds is released once the debt is settled; one that is not released is held when its debt opens. An event may
come before the decision: it then waits in clearance's store. The event with the highest number counts, in whatever order they come.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY
from libs.store.database import Transaction
from libs.telemetry import counter
from luxor.revenue.v1 import revenue_columns_pb2 as pb
from services.clearance.consignment.debt import reassessed, settled, with_debt_events
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.transitions import Event, State
from services.clearance.store import STATE_DAYS, EarlyDebtEvent, Row, Store, days_of

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
CHUNK_ROWS: Final = 1_000
"""Consignments looked up and changed by one statement."""

_outcomes = counter(
    "luxor_clearance_debt_events_total",
    "Debt events of revenue by result: released, held, changed (only amounts), known (applied before, or a later one was), outdated by a newer "
    "filing, adjusted (assessed again with an officer's corrections), early (stored until the decision), forgotten",
    ("outcome",),
)


@dataclass(frozen=True, slots=True)
class DebtEventPage:
    """A page of debt events: a row of `events` (luxor.revenue.v1.RevenueColumns) each, with its MRN and trace."""

    events: Table
    mrns: list[str]
    traces: list[str]


class TakeDebtEvents:
    """Applies debt events of revenue."""

    def __init__(self, store: Store, *, state_days: int = STATE_DAYS) -> None:
        """Work on a store; events of consignments accepted more than `state_days` ago are ignored."""
        self._store = store
        self._state_days = state_days

    async def run(self, tx: Transaction, page: DebtEventPage) -> None:
        """Apply events, and store those that came before the decision."""
        oldest = await self._store.now(tx) // MICROS_PER_DAY - self._state_days
        young = [row for row, day in enumerate(days_of(page.mrns)) if day >= oldest]
        outcomes = Counter(forgotten=len(page.mrns) - len(young))
        kinds, last = page.events.ints("event").values, _last(page, young)
        outcomes["known"] += len(young) - len(last)
        known = await self._store.find(tx, [page.mrns[row] for row in last])
        if any(_early(page, row, known) for row in last):
            # Wait for the decisions that are being made, then look again.
            await self._store.early_matches.bar_decisions(tx)
            known = await self._store.find(tx, [page.mrns[row] for row in last])
            early = [row for row in last if _early(page, row, known)]
            await self._store.early_debt_events.add(
                tx,
                [EarlyDebtEvent(page.mrns[row], page.events.take(np.array([row])), page.traces[row]) for row in early],
            )
            outcomes["early"] += len(early)
            last = [row for row in last if row not in set(early)]
        for reassessment in (True, False):
            rows = [row for row in last if (kinds[row] == pb.DEBT_EVENT_REASSESSED) == reassessment]
            for begin in range(0, len(rows), CHUNK_ROWS):
                await self._apply(
                    tx, page, rows[begin : begin + CHUNK_ROWS], reassessment=reassessment, outcomes=outcomes
                )
        tx.after_commit(lambda: _count(outcomes))

    async def _apply(
        self, tx: Transaction, page: DebtEventPage, rows: Sequence[int], *, reassessment: bool, outcomes: Counter[str]
    ) -> None:
        """Apply events of one kind, at most one per consignment."""
        versions = page.events.ints("filing_version").values
        # Of several versions of a filing only the newest can be current.
        by_mrn = {page.mrns[row]: row for row in sorted(rows, key=versions.__getitem__)}
        outcomes["outdated"] += len(rows) - len(by_mrn)
        locked = list((await self._store.lock(tx, list(by_mrn))).values())
        if not locked:
            return
        before = await self._store.states(tx, locked)
        places = [by_mrn[row.mrn] for row in locked]
        events = page.events.take(np.array(places, np.int64))
        if reassessment:
            table, fit = _reassessed(before, events)
            outdated = events.ints("filing_version").filled(0) < before.ints("filing_version").values
            outcomes["outdated"] += int(outdated.sum())
            outcomes["known"] += int((~fit & ~outdated).sum())
            event, hidden = Event.REASSESSED, np.zeros(before.rows, np.bool_)
            # The event assesses the goods as filed: what an officer adjusted is assessed again with the corrections.
            corrected = fit & before.ints("adjusted_at").valid
            if corrected.any():
                reassessed_rows = np.flatnonzero(corrected).tolist()
                numbers = events.child("assessments").ints("generation").values
                await self._store.adjustments.reassess(
                    tx,
                    [locked[place] for place in reassessed_rows],
                    [int(numbers[place]) for place in reassessed_rows],
                    0,
                )
                outcomes["adjusted"] += len(reassessed_rows)
                fit &= ~corrected
        else:
            table, fit, hidden = with_debt_events(before, events)
            outcomes["known"] += int((~fit).sum())
            event = Event.DEBT
        new = np.flatnonzero(fit)
        if not len(new):
            return
        details = EventDetails(event=event, at=await self._store.now(tx), hidden=hidden[new])
        after, outcome = apply_event(table.take(new), details)
        assert bool(outcome.effective.all()), "a debt event is effective in each state that can be reached"
        chosen = [locked[place] for place in new.tolist()]
        # The trace of the work that made the event; of several, that of the first.
        await self._store.succeed(tx, after, chosen, trace=page.traces[places[int(new[0])]])
        _count_moves(outcomes, chosen, outcome.state)


def bind(tx: Transaction, table: Table, release: BoolArray, early: Sequence[EarlyDebtEvent]) -> tuple[Table, BoolArray]:
    """Return states that are about to be decided and which of them to release, with the events that came before the decision."""
    places = {mrn: place for place, mrn in enumerate(table.strings("mrn").tolist())}
    outcomes: Counter[str] = Counter()
    for each in early:
        if each.mrn not in places:
            continue
        place = np.array([places[each.mrn]])
        state = table.take(place)
        if each.event.ints("event").values[0] == pb.DEBT_EVENT_REASSESSED:
            changed, fit = _reassessed(state, each.event)
        else:
            changed, fit, _ = with_debt_events(state, each.event)
        outcomes["changed" if fit[0] else "outdated"] += 1
        if fit[0]:
            order = np.arange(table.rows)
            order[place] = table.rows
            table = Table.concat([table, changed]).take(order)
    tx.after_commit(lambda: _count(outcomes))
    return table, release | settled(table)


def _reassessed(states: Table, events: Table) -> tuple[Table, BoolArray]:
    """Return the states with the assessments of the events, and which of these are newer than theirs."""
    answers = events.child("assessments")
    generation = answers.ints("generation").filled(0)
    fit = events.ints("filing_version").filled(0) == states.ints("filing_version").values
    fit &= generation > states.ints("assessment_generation").filled(0)
    return reassessed(states, answers), fit


def _last(page: DebtEventPage, rows: Sequence[int]) -> list[int]:
    """Return, in order, the rows with the last debt event of each consignment and the last assessment of each version of its filing."""
    numbers, kinds = page.events.ints("number").values, page.events.ints("event").values
    versions = page.events.ints("filing_version").values
    generations = _generations(page.events)
    last: dict[tuple[str, int], tuple[int, int]] = {}
    for row in rows:
        reassessment = kinds[row] == pb.DEBT_EVENT_REASSESSED
        key = (page.mrns[row], int(versions[row]) if reassessment else 0)
        order = int(generations[row]) if reassessment else int(numbers[row])
        if key not in last or last[key][0] < order:
            last[key] = (order, row)
    return sorted(row for _, row in last.values())


def _generations(events: Table) -> IntArray:
    """Return the number of each row's assessment, 0 where it has none."""
    found = np.zeros(events.rows, np.int64)
    found[events.ragged("assessments").owners()] = events.child("assessments").ints("generation").filled(0)
    return found


def _early(page: DebtEventPage, row: int, decided: dict[str, Row]) -> bool:
    """Return whether the version of the filing that an event concerns is not decided yet."""
    found = decided.get(page.mrns[row])
    if found is None:
        return True
    reassessment = page.events.ints("event").values[row] == pb.DEBT_EVENT_REASSESSED
    return bool(reassessment and page.events.ints("filing_version").values[row] > found.filing_version)


def _count_moves(outcomes: Counter[str], before: Sequence[Row], after: IntArray) -> None:
    for row, state in zip(before, after.tolist(), strict=True):
        if state == row.state:
            outcomes["changed"] += 1
        else:
            outcomes["held" if state == State.HELD else "released"] += 1


def _count(outcomes: Counter[str]) -> None:
    for outcome, count in outcomes.items():
        _outcomes.labels(outcome).inc(count)
