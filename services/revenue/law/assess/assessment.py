"""The law of revenue over a batch: from consignments as filed to what is owed, by whom, to whom, and by which rule."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from services.revenue.law.assess.charges.charges import charge
from services.revenue.law.assess.eligibility.eligibility import (
    Eligibility,
    Examined,
    conditions_of,
    eligibility_of,
    examine,
)
from services.revenue.law.assess.eligibility.limits import LimitAggregates, Measures
from services.revenue.law.assess.eligibility.limits import measures_of as measures_of_limits
from services.revenue.law.assess.eligibility.scheme_register import Register
from services.revenue.law.assess.remarks import Uncovered, remark
from services.revenue.law.assess.returns import remark_returns
from services.revenue.law.assess.review import reviewed_amounts, unreviewed
from services.revenue.law.assess.valuation.valuation import value
from services.revenue.law.assess.valuation.values import Defaults
from services.revenue.law.batch.arithmetic import Flags, Int64, some
from services.revenue.law.batch.charge_lines import Lines
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.reasons import Note, Reason
from services.revenue.law.program.program import COLLECTORS, KINDS, Program


@dataclass(slots=True)
class Assessment:
    """What a batch owes. Amounts are minor units of each row's currency; rows with a reason have none."""

    program: Program
    filings: Filings
    regime: Int64
    reason: Int64
    notes: Int64
    law_day: Int64
    exchange_day: Int64
    intrinsic: Int64
    customs_value: Int64
    item_customs_value: Int64
    """Customs value of each item, 0 where its row could not be assessed."""
    goods: Int64
    """Price of each item's goods without tax; 0 where the row has a reason."""
    price: Int64
    """Goods, freight, insurance and the carrier's clearance fee, by row: what is paid before any charge."""
    by_kind: list[Int64]
    """Per kind (duty, tax, fee) its total by row."""
    by_collector: list[Int64]
    """Per collector (customs, vendor, carrier, postal operator) its total by row."""
    offsets: Int64
    """Row i owns the charges offsets[i] up to offsets[i + 1]."""
    lines: Lines
    eligibility: Eligibility
    """What each consignment was eligible for, before the charges."""
    unreviewed: Flags
    """Of each charge: some value that decided it is not verified."""
    reviewed: Int64
    """By row how much of what is owed rests on reviewed law alone."""
    defaults: Mapping[int, Defaults]
    """Per component (its place in COMPONENTS) what the law added where it is not declared."""
    uncovered: list[Uncovered]
    """What may be owed beside the charges and is not computed, with the items that it concerns."""

    @property
    def valued(self) -> Flags:
        """Rows that were assessed."""
        valued: Flags = self.reason == Reason.NONE
        return valued

    @property
    def exports(self) -> Flags:
        """Rows that owe nothing because they are exports, shape (n,)."""
        exported: Flags = self.reason == Reason.EXPORT
        return exported

    @property
    def total(self) -> Int64:
        """All that is owed, by row."""
        result = self.by_kind[0].copy()
        for part in self.by_kind[1:]:
            result += part
        return result


def prepare(program: Program, filings: Filings, register: Register | None = None) -> Examined:
    """Value a batch and measure it by its limits; what `assess` does first, for whoever must know the measures before.

    `register` tells which scheme numbers hold; without it, and for schemes of which it knows no number, the form of a
    number is enough and the note SCHEME_NUMBER_UNCHECKED says so.
    """
    values = value(program, filings, lambda valued: conditions_of(program, filings, valued, register)[1])
    return examine(program, filings, values, register)


def measures_of(program: Program, examined: Examined) -> Measures:
    """Return what a prepared batch adds to limits that are tested on an aggregate."""
    return measures_of_limits(program, examined.values, examined.limits)


def assess(
    program: Program,
    filings: Filings,
    aggregates: LimitAggregates | None = None,
    register: Register | None = None,
    prepared: Examined | None = None,
) -> Assessment:
    """Assess a batch: value it, test the limits, find the schemes, compute the charges and their totals.

    Every row is judged alone, with what `aggregates` says that other consignments count: a batch in parts gives what the whole
    gives. `prepared` is what `prepare` gave for the same batch, used once. Rows that cannot be assessed have a Reason
    and no charges; nothing is raised for them.
    """
    examined = prepared or prepare(program, filings, register)
    values = examined.values
    eligibility = eligibility_of(program, filings, examined, aggregates)
    lines = charge(program, filings, values, eligibility)
    remark_returns(program, filings, values, eligibility, lines)
    offsets = np.zeros(filings.rows + 1, dtype=np.int64)
    np.bincount(lines.row, minlength=filings.rows).cumsum(out=offsets[1:])
    kinds = program.slots.kind[lines.slot]
    collectors = program.outcomes.collector[lines.outcome]
    sound = values.sound
    notes = values.notes
    usable = eligibility.conditions.any_usable
    if some(usable):
        # A number that may be used under which nothing was collected: the scheme is not open for this consignment.
        used = np.zeros(filings.rows, dtype=np.int64)
        np.maximum.at(used, lines.row, program.outcomes.scheme[lines.outcome])
        notes |= (usable & (used == 0)) * int(Note.SCHEME_NOT_OPEN)
    doubted, unreviewed_lines = unreviewed(program, filings, values, lines)
    notes |= doubted * int(Note.UNVERIFIED_VALUE)
    coverage = [each for each in program.coverage if each.book in values.plan.books]
    uncovered: list[Uncovered] = []
    if coverage:
        jurisdiction = program.regimes.jurisdiction[values.regime]
        uncovered = remark(coverage, jurisdiction, filings, values.law_day, notes, eligibility)
    if sound is not None:
        failed = ~sound
        notes[failed] = 0
        notes[values.reason == Reason.EXPORT] = int(Note.EXPORT)
        values.intrinsic = np.where(failed, 0, values.intrinsic)
        values.customs_value = np.where(failed, 0, values.customs_value)
        values.item_customs_value = np.where(failed[filings.item_row], 0, values.item_customs_value)
        values.price = np.where(failed, 0, values.price)
        values.components[0] = np.where(failed[filings.item_row], 0, values.components[0])
    return Assessment(
        program=program,
        filings=filings,
        regime=values.regime,
        reason=values.reason,
        notes=notes,
        law_day=values.law_day,
        exchange_day=values.exchange_day,
        intrinsic=values.intrinsic,
        customs_value=values.customs_value,
        item_customs_value=values.item_customs_value,
        goods=values.components[0],
        price=values.price,
        by_kind=_totals(lines, kinds, len(KINDS), filings.rows),
        by_collector=_totals(lines, collectors, len(COLLECTORS), filings.rows),
        offsets=offsets,
        lines=lines,
        eligibility=eligibility,
        unreviewed=unreviewed_lines,
        reviewed=reviewed_amounts(lines, unreviewed_lines, filings.rows),
        defaults=values.defaults,
        uncovered=uncovered,
    )


def _totals(lines: Lines, group: Int64, groups: int, rows: int) -> list[Int64]:
    """Sum what is charged by group and row."""
    sums = np.zeros(groups * rows, dtype=np.int64)
    np.add.at(sums, group * rows + lines.row, lines.amount)
    return list(sums.reshape(groups, rows))
