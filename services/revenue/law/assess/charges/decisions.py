"""Decisions: whether each charge applies, its rate and who collects it, made once for all that is charged alike.

A batch of a thousand lines of goods holds some dozens of cases: what has the same regime and the same answers to all
that the charges ask (see `features`) is decided alike. One row or item of each case is decided; the rest look their case
up. Cases stay known from batch to batch, since a stream repeats them.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.revenue.law.assess.charges.applicability import (
    applies_to_items,
    applies_to_rows,
    outcome_of,
    variant_of_items,
    variant_of_rows,
)
from services.revenue.law.assess.charges.case_keys import item_answers, row_keys
from services.revenue.law.assess.eligibility.eligibility import Eligibility
from services.revenue.law.assess.valuation.values import Values
from services.revenue.law.batch.arithmetic import Flags, Int64, every, some
from services.revenue.law.batch.caches import Memo
from services.revenue.law.batch.filings import Filings
from services.revenue.law.program.plans import Charges, Charging, Steps, steps_of
from services.revenue.law.program.program import Place, Program
from services.revenue.law.source.rates import CONSIGNMENT_LEVEL, METHODS

_ON_ROWS = np.array([method in CONSIGNMENT_LEVEL for method in METHODS])
_TARIFF_LINE = METHODS.index("tariff_line")
_PERCENT = METHODS.index("percent")


class Decisions:
    """What was decided for one batch."""

    def __init__(self, program: Program, filings: Filings, values: Values, eligibility: Eligibility) -> None:
        """Decide the new cases of a batch."""
        self._program, self._filings, self._values, self._eligibility = program, filings, values, eligibility
        self.plan = plan = values.plan
        if not plan.keyed:
            self.row_case, self.item_case = np.arange(filings.rows), np.arange(filings.items)
            self._on_rows = self._charges_on_rows(self._decide(self.row_case, None))
            self._on_items = self._charges_on_items(self._decide(filings.item_row, self.item_case))
            # All items are taken for those of one consignment.
            self.steps = steps_of(self._on_rows, self._on_items, np.zeros(filings.items, dtype=np.int64))
            return
        features, item_row = plan.features, filings.item_row
        keys = row_keys(features, values.regime, eligibility)
        rows, self.row_case = Memo.find(plan.rows, keys, lambda rows: self._decide(rows, None), self._charges_on_rows)
        plan.rows = rows
        answers, known = item_answers(features, program, filings, values, eligibility), plan.steps
        case: Int64 | None = None
        if answers is None and known is not None and known.rows is rows:
            # No item has an answer of its own: the case of its consignment is enough, unless no item was met in it before.
            of_row = known.item_case[self.row_case]
            case = None if some(of_row < 0) else of_row[item_row]
        if case is None or known is None:
            keys = (keys << features.item_bits)[item_row]
            items, case = Memo.find(
                plan.items,
                keys if answers is None else keys + answers,
                lambda items: self._decide(item_row[items], items),
                self._charges_on_items,
            )
            plan.items = items
            if known is None or known.rows is not rows or known.items is not items:
                known = plan.steps = Steps.combine(rows, items, features.item_bits)
        self.item_case = case
        self._on_rows, self._on_items, self.steps = known.rows.facts, known.items.facts, known.steps

    def on_items(self, at: int) -> Charging | None:
        """Return the charges on lines of goods at a place of the law, if any applies in a known case."""
        return self._on_items[at]

    def _decide(self, rows: Int64, items: Int64 | None) -> list[NDArray[Any]]:
        """Decide every place for these rows, or for these items of theirs: applies, slot, rate and outcome of each."""
        program, eligibility = self._program, self._eligibility
        first_slot = self._values.regime[rows] * program.slots_per_regime
        decided: list[NDArray[Any]] = []
        for at, place in enumerate(self.plan.places):
            if not (place.on_rows if items is None else place.on_items):
                continue
            slot = first_slot + at
            applies: Flags = program.slots.exists[slot]
            if place.on_rows and place.on_items:
                applies = applies & (_ON_ROWS[program.rates.method[slot]] == (items is None))
            if items is None:
                applies = applies_to_rows(program, eligibility, place, slot, rows, applies)
                rate = variant_of_rows(program, eligibility, place, slot, rows)
            else:
                applies = applies_to_items(program, self._filings, eligibility, place, slot, rows, items, applies)
                rate = variant_of_items(program, eligibility, place, slot, items)
            decided += [applies, slot, rate, outcome_of(program, eligibility, place, slot, rows)]
        return decided

    def _charges_on_rows(self, decided: list[NDArray[Any]]) -> Charges:
        return self._charges(decided, [place.on_rows for place in self.plan.places])

    def _charges_on_items(self, decided: list[NDArray[Any]]) -> Charges:
        return self._charges(decided, [place.on_items for place in self.plan.places])

    def _charges(self, decided: list[NDArray[Any]], present: list[bool]) -> Charges:
        columns = iter(decided)
        charges: Charges = []
        for place, has in zip(self.plan.places, present, strict=True):
            of_place = [next(columns) for _ in range(4)] if has else []
            charges.append(self._charging(place, *of_place) if has and some(of_place[0]) else None)
        return charges

    def _charging(self, place: Place, applies: Flags, slot: Int64, rate: Int64, outcome: Int64) -> Charging:
        slots, rates, outcomes = self._program.slots, self._program.rates, self._program.outcomes
        of_slot, of_rate, of_way = slot[applies], rate[applies], outcome[applies]
        method = rates.method[of_rate]
        narrower = {
            "minimum": some(slots.minimum[of_slot] != 0),
            "joint_minimum": some(slots.tested_with[of_slot] != 0),
            "inside": some(slots.inside[of_slot] != 0),
            "over_only": some(slots.over_only[of_slot] >= 0),
            "total": some(outcomes.total_unit[of_way] != 1),
            "rounds_totals": some(outcomes.sum_unit[of_way] != 0),
        }
        # What a tariff or a season leads to may be anything that the rulebooks have.
        if not some((rates.tariff[of_rate] >= 0) | (rates.season[of_rate] >= 0)):
            plain = ((method == _PERCENT) | (rates.expression[of_rate] < 0)) & (slots.uplift_of[of_slot] == 0)
            plain &= (slots.inside[of_slot] == 0) & (slots.share_numerator[of_slot] == slots.share_denominator[of_slot])
            narrower |= {
                "tariff_line": some(method == _TARIFF_LINE),
                "specific": not every(method == _PERCENT),
                "exact": not every(plain),
                "foreign": some(rates.currency[of_rate] >= 0),
                "less": some(rates.less[of_rate] != 0),
                "seasons": False,
            }
        kept = {name: found for name, found in narrower.items() if not found and getattr(place, name)}
        return Charging(replace(place, **kept), applies, slot, rate, outcome)  # type: ignore[arg-type]
