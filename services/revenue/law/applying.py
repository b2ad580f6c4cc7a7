"""Whether a charge applies: the sides of limits, conditions, reliefs and preferences, by consignment and by line of goods."""

from dataclasses import dataclass

import numpy as np

from services.revenue.law.arithmetic import Flags, Int64, every, some
from services.revenue.law.collection import Standing
from services.revenue.law.filings import Filings
from services.revenue.law.program import Place, Program
from services.revenue.law.schemes import USABLE
from services.revenue.law.valuation import Values

_DIGITS = frozenset("0123456789")


@dataclass(frozen=True, slots=True)
class Applies:
    """What a charge applies to."""

    items: Flags | None
    """Which lines of goods; None for all of the batch."""


class Applying:
    """Tests the charges of one batch."""

    def __init__(self, program: Program, filings: Filings, values: Values, standing: Standing) -> None:
        """Take the batch as it stands before the charges."""
        self._program, self._filings, self._values, self._standing = program, filings, values, standing

    def of_rows(self, place: Place, row_slot: Int64, there: Flags) -> Flags:
        """Say of each row whether a charge on whole consignments applies."""
        applies = there & self._sides(place, row_slot, self._standing.row_within)
        if place.only:
            applies &= self._standing.conditions.fits_rows(self._program.slots.only[row_slot])
        return applies

    def of_items(self, place: Place, row_slot: Int64, there: Flags) -> Applies | None:
        """Say to which items a charge on lines of goods applies; None where to none."""
        slots, standing, row = self._program.slots, self._standing, self._filings.item_row
        claims = self._claims() if place.preference else None
        by_row = there & self._sides(place, row_slot, standing.row_within)
        if standing.item_within is None and claims is None and not place.only and not place.relieved:
            if not some(by_row):
                return None
            return Applies(None if every(by_row) else by_row[row])
        if not some(there):
            return None
        slot = row_slot[row]
        applies = by_row[row]
        if standing.item_within is not None:
            applies = there[row] & self._sides(place, slot, standing.item_within)
        if claims is not None:
            excepted = self._excepted(claims, slots.unless_digits[slot], slots.unless_without[slot])
            brought_in = self._excepted(claims, slots.also_digits[slot], slots.also_without[slot])
            applies = (applies & ~excepted) | (brought_in & there[row])
        if place.only:
            applies = applies & standing.conditions.fits_items(slots.only[slot])
        if place.relieved:
            for relief, relieved in standing.relieved.items():
                applies = applies & ~(relieved & ((slots.relieved_by[slot] >> relief & 1) == 1))
        return Applies(applies)

    def _sides(self, place: Place, slot: Int64, within: Flags) -> Flags:
        """Whether the slot's limits and sides fit, per element; `within` is [element, limit]."""
        slots = self._program.slots
        limit = slots.limit[slot]
        side = within[:, 0] if within.shape[1] == 1 else within[np.arange(len(slot)), limit]
        result: Flags = (limit < 0) | (side != slots.over[slot])
        if place.several:
            kept, passed = slots.more_within[slot], slots.more_over[slot]
            for each in range(within.shape[1]):
                keeps = within[:, each]
                result &= ((kept >> each & 1) == 0) | keeps
                result &= ((passed >> each & 1) == 0) | ~keeps
        return result

    def _claims(self) -> Int64 | None:
        """Per item 1 << first digit of its preference code; None where nobody claims one."""
        preference = self._filings.preference
        if not any(preference.dictionary):
            return None
        claims: Int64 = preference.map(lambda code: 1 << int(code[0]) if code[:1] in _DIGITS else 0, np.int64)
        return claims

    def _excepted(self, claims: Int64, digits: Int64, without: Int64) -> Flags:
        states = self._standing.scheme_state
        result: Flags = ((claims & digits) != 0) & (states[self._filings.item_row, without] != USABLE)
        return result
