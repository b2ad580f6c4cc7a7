"""Eligibility: which schemes each consignment may use, which limits it keeps, and which of its items are relieved."""

from dataclasses import dataclass

import numpy as np

from services.revenue.law.assess.eligibility.limits import LimitAggregates, LimitTest, test_limits, within_limits
from services.revenue.law.assess.eligibility.reliefs import relieve
from services.revenue.law.assess.eligibility.scheme_register import Register
from services.revenue.law.assess.eligibility.schemes import scheme_states
from services.revenue.law.assess.valuation.values import Values
from services.revenue.law.batch.arithmetic import Flags, Int64
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.reasons import Note
from services.revenue.law.program.conditions import Conditions
from services.revenue.law.program.program import Program
from services.revenue.law.program.scheme_numbers import USABLE


@dataclass(slots=True)
class Examined:
    """What a batch says by itself, before anything that other consignments add."""

    values: Values
    scheme_state: Int64
    """[row, scheme]: how the consignment stands with the scheme, `scheme_numbers.ABSENT` to `scheme_numbers.USABLE`."""
    conditions: Conditions
    """The program's conditions over this batch."""
    limits: list[LimitTest]
    """By place of the limit in the rulebook."""


@dataclass(slots=True)
class Eligibility:
    """What each consignment is eligible for, before the charges."""

    scheme_state: Int64
    """[row, scheme]: how the consignment stands with the scheme, `scheme_numbers.ABSENT` to `scheme_numbers.USABLE`."""
    row_within: Flags
    """[row, limit]: whether the consignment (all of its items where items are tested) keeps the limit."""
    item_within: Flags | None
    """[item, limit]; None where no item is tested alone, so that each keeps what its consignment keeps."""
    conditions: Conditions
    """The program's conditions over this batch."""
    relieved: dict[int, Flags]
    """Per place of a relief in its rulebook which items it relieves, so that they are not charged; one that relieves none is absent."""
    returned: dict[int, Flags]
    """The same of reliefs of returned goods, whose charges are waived."""
    relief_entries: dict[int, Int64]
    """Of the same reliefs by row the entry that relieves; -1 = none fits."""
    limits: list[LimitTest]
    """What was tested, by place of the limit in the rulebook."""

    def come_back(self, relieved_by: Int64, items: Int64 | slice) -> Flags:
        """Return which of the selected items, each with the reliefs of a charge as bits, are returned goods that the charge is waived of."""
        found = np.zeros(len(relieved_by), dtype=np.bool_)
        for relief, returned in self.returned.items():
            found |= returned[items] & ((relieved_by >> relief & 1) == 1)
        return found


def conditions_of(
    program: Program, filings: Filings, values: Values, register: Register | None
) -> tuple[Int64, Conditions]:
    """Test scheme numbers and take up the conditions that may ask for them; the law of each row must be known."""
    states = scheme_states(program, filings, values, register)
    return states, Conditions(program.conditions, filings, states == USABLE)


def examine(program: Program, filings: Filings, values: Values, register: Register | None = None) -> Examined:
    """Test scheme numbers and measure limits of a valued batch."""
    states, conditions = conditions_of(program, filings, values, register)
    return Examined(values, states, conditions, test_limits(program, filings, values, conditions))


def eligibility_of(
    program: Program, filings: Filings, examined: Examined, aggregates: LimitAggregates | None = None
) -> Eligibility:
    """Return who keeps which limit and what is relieved, and note what people will want to know.

    `aggregates` is what other consignments count towards the limits; without it each consignment counts alone.
    """
    values, tests = examined.values, examined.limits
    row_within, item_within = within_limits(filings, values, tests, aggregates)
    first = row_within[:, 0]
    values.notes |= np.where(first, int(Note.WITHIN_LIMIT), tests[0].has_amount * int(Note.OVER_LIMIT))
    relieved, returned, entries = relieve(program, filings, values, examined.conditions)
    return Eligibility(
        examined.scheme_state, row_within, item_within, examined.conditions, relieved, returned, entries, tests
    )
