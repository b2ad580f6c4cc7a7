"""Put news of revenue into force: debts that are settled or open again, and consignments that owe something else.

What waits for its debt alone is released once that is settled; what is not released is held when its debt opens. News may come before the
decision: then they wait for it, in clearance's own store. By their numbers the last counts, in whatever order they come.
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
from services.clearance.consignment.debt import reassessed, settled, told
from services.clearance.consignment.state import Happening, evolve
from services.clearance.consignment.transitions import Event, State
from services.clearance.store import STATE_DAYS, EarlyDebtEvent, Row, Store, day_of

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
CHUNK_ROWS: Final = 1_000
"""Consignments looked up and changed by one statement."""

_told = counter(
    "luxor_clearance_revenue_news_total",
    "Debt events of revenue by result: released, held, changed (only amounts), known (applied before, or a later one was), outdated by a newer "
    "filing, adjusted (assessed again with an officer's corrections), early (stored until the decision), forgotten",
    ("outcome",),
)


@dataclass(frozen=True, slots=True)
class Heard:
    """A page of news: a row of `news` (luxor.revenue.v1.RevenueColumns) each, with its MRN and the work that told it."""

    news: Table
    mrns: list[str]
    traces: list[str]


class TakeDebtEvents:
    """Puts news of revenue into force."""

    def __init__(self, store: Store, *, state_days: int = STATE_DAYS) -> None:
        """Put news into force in a store; those of consignments accepted more than `state_days` ago are left alone."""
        self._store = store
        self._state_days = state_days

    async def run(self, tx: Transaction, heard: Heard) -> None:
        """Put news into force, and keep those that came before the decision."""
        oldest = await self._store.now(tx) // MICROS_PER_DAY - self._state_days
        young = [row for row, mrn in enumerate(heard.mrns) if day_of(mrn) >= oldest]
        outcomes = Counter(forgotten=len(heard.mrns) - len(young))
        kinds, last = heard.news.ints("event").values, _last(heard, young)
        outcomes["known"] += len(young) - len(last)
        known = await self._store.find(tx, [heard.mrns[row] for row in last])
        if any(_early(heard, row, known) for row in last):
            # What is being decided right now comes to its end first, and is looked for again.
            await self._store.early_matches.bar_decisions(tx)
            known = await self._store.find(tx, [heard.mrns[row] for row in last])
            early = [row for row in last if _early(heard, row, known)]
            await self._store.early_debt_events.add(
                tx,
                [EarlyDebtEvent(heard.mrns[row], heard.news.take(np.array([row])), heard.traces[row]) for row in early],
            )
            outcomes["early"] += len(early)
            last = [row for row in last if row not in set(early)]
        for again in (True, False):
            rows = [row for row in last if (kinds[row] == pb.DEBT_EVENT_REASSESSED) == again]
            for begin in range(0, len(rows), CHUNK_ROWS):
                await self._in_force(tx, heard, rows[begin : begin + CHUNK_ROWS], again=again, outcomes=outcomes)
        tx.after_commit(lambda: _count(outcomes))

    async def _in_force(
        self, tx: Transaction, heard: Heard, rows: Sequence[int], *, again: bool, outcomes: Counter[str]
    ) -> None:
        """Apply news of one kind, one a consignment."""
        versions = heard.news.ints("filing_version").values
        # Of several versions of a filing the newest may be in force; the others are not any more.
        by_mrn = {heard.mrns[row]: row for row in sorted(rows, key=versions.__getitem__)}
        outcomes["outdated"] += len(rows) - len(by_mrn)
        locked = list((await self._store.lock(tx, list(by_mrn))).values())
        if not locked:
            return
        before = await self._store.states(tx, locked)
        places = [by_mrn[row.mrn] for row in locked]
        news = heard.news.take(np.array(places, np.int64))
        if again:
            table, fit = _reassessed(before, news)
            outdated = news.ints("filing_version").filled(0) < before.ints("filing_version").values
            outcomes["outdated"] += int(outdated.sum())
            outcomes["known"] += int((~fit & ~outdated).sum())
            event, quiet = Event.REASSESSED, np.zeros(before.rows, np.bool_)
            # It is of the goods as filed: what an officer adjusted is assessed again as she corrected it.
            corrected = fit & before.ints("adjusted_at").valid
            if corrected.any():
                again_rows = np.flatnonzero(corrected).tolist()
                numbers = news.child("assessments").ints("generation").values
                await self._store.adjustments.reassess(
                    tx, [locked[place] for place in again_rows], [int(numbers[place]) for place in again_rows], 0
                )
                outcomes["adjusted"] += len(again_rows)
                fit &= ~corrected
        else:
            table, fit, quiet = told(before, news)
            outcomes["known"] += int((~fit).sum())
            event = Event.DEBT
        new = np.flatnonzero(fit)
        if not len(new):
            return
        happening = Happening(event=event, at=await self._store.now(tx), quiet=quiet[new])
        after, outcome = evolve(table.take(new), happening)
        assert bool(outcome.effective.all()), "news of revenue have their effect in each state that is reached"
        chosen = [locked[place] for place in new.tolist()]
        # The work that told the news; of several the first stands for all.
        await self._store.succeed(tx, after, chosen, trace=heard.traces[places[int(new[0])]])
        _count_moves(outcomes, chosen, outcome.state)


def bind(tx: Transaction, table: Table, release: BoolArray, early: Sequence[EarlyDebtEvent]) -> tuple[Table, BoolArray]:
    """Give states that are about to be decided, and which are to be released, with the news that came before the decision."""
    places = {mrn: place for place, mrn in enumerate(table.strings("mrn").tolist())}
    outcomes: Counter[str] = Counter()
    for each in early:
        if each.mrn not in places:
            continue
        place = np.array([places[each.mrn]])
        state = table.take(place)
        if each.news.ints("event").values[0] == pb.DEBT_EVENT_REASSESSED:
            changed, fit = _reassessed(state, each.news)
        else:
            changed, fit, _ = told(state, each.news)
        outcomes["changed" if fit[0] else "outdated"] += 1
        if fit[0]:
            order = np.arange(table.rows)
            order[place] = table.rows
            table = Table.concat([table, changed]).take(order)
    tx.after_commit(lambda: _count(outcomes))
    return table, release | settled(table)


def _reassessed(states: Table, news: Table) -> tuple[Table, BoolArray]:
    """Give states with the assessments of news, and which of these are newer than theirs."""
    answers = news.child("assessments")
    generation = answers.ints("generation").filled(0)
    fit = news.ints("filing_version").filled(0) == states.ints("filing_version").values
    fit &= generation > states.ints("assessment_generation").filled(0)
    return reassessed(states, answers), fit


def _last(heard: Heard, rows: Sequence[int]) -> list[int]:
    """Keep of each consignment the last news of its debt, and the last assessment of each version of its filing, in the order of the rows."""
    numbers, kinds = heard.news.ints("number").values, heard.news.ints("event").values
    versions = heard.news.ints("filing_version").values
    generations = _generations(heard.news)
    last: dict[tuple[str, int], tuple[int, int]] = {}
    for row in rows:
        again = kinds[row] == pb.DEBT_EVENT_REASSESSED
        key = (heard.mrns[row], int(versions[row]) if again else 0)
        order = int(generations[row]) if again else int(numbers[row])
        if key not in last or last[key][0] < order:
            last[key] = (order, row)
    return sorted(row for _, row in last.values())


def _generations(news: Table) -> IntArray:
    """Give the number of each row's assessment, 0 where it has none."""
    found = np.zeros(news.rows, np.int64)
    found[news.ragged("assessments").owners()] = news.child("assessments").ints("generation").filled(0)
    return found


def _early(heard: Heard, row: int, known: dict[str, Row]) -> bool:
    """Tell whether what a news concerns is not decided yet."""
    found = known.get(heard.mrns[row])
    if found is None:
        return True
    again = heard.news.ints("event").values[row] == pb.DEBT_EVENT_REASSESSED
    return bool(again and heard.news.ints("filing_version").values[row] > found.filing_version)


def _count_moves(outcomes: Counter[str], before: Sequence[Row], after: IntArray) -> None:
    for row, state in zip(before, after.tolist(), strict=True):
        if state == row.state:
            outcomes["changed"] += 1
        else:
            outcomes["held" if state == State.HELD else "released"] += 1


def _count(outcomes: Counter[str]) -> None:
    for outcome, count in outcomes.items():
        _told.labels(outcome).inc(count)
