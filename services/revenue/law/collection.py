"""Collection: under which scheme each consignment comes, which limits it keeps, and how each of its charges is collected."""

from dataclasses import dataclass

import numpy as np

from services.revenue.law.arithmetic import Flags, Int64, some
from services.revenue.law.conditions import Conditions
from services.revenue.law.filings import Filings
from services.revenue.law.limits import LimitTest, Sums, keep_limits, test_limits
from services.revenue.law.problems import Note
from services.revenue.law.program import Place, Program
from services.revenue.law.register import Register
from services.revenue.law.reliefs import relieve
from services.revenue.law.scheme_numbers import USABLE
from services.revenue.law.schemes import scheme_states
from services.revenue.law.values import Values


@dataclass(slots=True)
class Examined:
    """What a batch says by itself, before anything that other consignments add."""

    values: Values
    scheme_state: Int64
    """[row, scheme]: how the consignment stands with the scheme, `schemes.ABSENT` to `schemes.USABLE`."""
    conditions: Conditions
    """The program's conditions over this batch."""
    limits: list[LimitTest]
    """By place of the limit in the rulebook."""


@dataclass(slots=True)
class Standing:
    """Where each consignment stands before the charges."""

    scheme_state: Int64
    """[row, scheme]: how the consignment stands with the scheme, `schemes.ABSENT` to `schemes.USABLE`."""
    row_within: Flags
    """[row, limit]: whether the consignment (all of its items where items are tested) keeps the limit."""
    item_within: Flags | None
    """[item, limit]; None where no item is tested alone, so that each keeps what its consignment keeps."""
    conditions: Conditions
    """The program's conditions over this batch."""
    relieved: dict[int, Flags]
    """Per place of a relief in its rulebook which items it relieves; a relief that relieves none is absent."""
    relief_entries: dict[int, Int64]
    """Of the same reliefs by row the entry that relieves; -1 = none fits."""
    limits: list[LimitTest]
    """What was tested, by place of the limit in the rulebook."""


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


def stand(program: Program, filings: Filings, examined: Examined, sums: Sums | None = None) -> Standing:
    """Say who keeps which limit and what is relieved, and note what people will want to know.

    `sums` is what other consignments count towards the limits; without it each consignment counts alone.
    """
    values, tests = examined.values, examined.limits
    row_within, item_within = keep_limits(filings, values, tests, sums)
    first = row_within[:, 0]
    values.notes |= np.where(first, int(Note.WITHIN_LIMIT), tests[0].known * int(Note.OVER_LIMIT))
    relieved, entries = relieve(program, filings, values, examined.conditions)
    return Standing(examined.scheme_state, row_within, item_within, examined.conditions, relieved, entries, tests)


def outcome_of(program: Program, standing: Standing, place: Place, slot: Int64, rows: Int64 | slice) -> Int64:
    """Return the number of the collection that applies to each row's slot: the first that fits, else the border."""
    ways = program.outcomes_per_slot
    chosen = slot * ways + ways - 1
    if not place.ways:
        return chosen
    states, within = standing.scheme_state[rows], standing.row_within[rows]
    each = np.arange(len(slot))
    outcomes = program.outcomes
    open_: Flags = np.ones(len(slot), dtype=np.bool_)
    for at in place.ways:
        way = slot * ways + at
        fits = open_ & outcomes.there[way]
        if not some(fits):
            continue
        scheme = outcomes.scheme[way]
        fits &= (scheme == 0) | (states[each, scheme] == USABLE)
        limit = outcomes.limit[way]
        if some(limit >= 0):
            fits &= (limit < 0) | (within[each, limit] != outcomes.over[way])
        only = outcomes.only[way]
        if some(only >= 0):
            fits &= standing.conditions.fits_rows(only, rows)
        chosen = np.where(fits, way, chosen)
        open_ &= ~fits
    return chosen
