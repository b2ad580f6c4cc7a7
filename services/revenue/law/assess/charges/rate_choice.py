"""Which rate each line of goods has by the tariff, for its code, origin and preference, and by the season."""

from string import ascii_uppercase

import numpy as np

from services.revenue.law.assess.valuation.values import Values
from services.revenue.law.batch.arithmetic import Flags, Int64, some
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.groups import Groups
from services.revenue.law.batch.reasons import Note, Reason
from services.revenue.law.program.plans import Charging
from services.revenue.law.program.program import Program, TariffUse

_MONTHS = np.array([0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335], dtype=np.int64)
"""Days of the leap year before each month."""
_PREFERENCES = frozenset("023456789" + ascii_uppercase)


class RateChoice:
    """Chooses rates in one batch."""

    def __init__(self, program: Program, filings: Filings, values: Values) -> None:
        """Take the batch."""
        self._program, self._filings, self._values = program, filings, values
        self._claims: Flags | None = None

    def of_items(self, charging: Charging, case: Int64, items: Int64 | slice, row: Int64) -> Int64:
        """Return the place in Program.rates for each selected item, of the rate that its conditions gave.

        `case` is the case of each, `row` the consignment. Rows of goods without any rate get a reason.
        """
        found = rate = charging.rate[case]
        if charging.place.tariff:
            for number in charging.tariffs(self._program.rates):
                found = self._by_tariff(number, rate, found, items, row)
        if any(self._filings.preference.dictionary):
            self._note_preferences(rate, found, items, row)
        return self._by_season(found, row) if charging.place.seasons else found

    def _by_tariff(self, number: int, rate: Int64, chosen: Int64, items: Int64 | slice, row: Int64) -> Int64:
        """Return the chosen rates, with the tariff's rates in the place of those that name it."""
        rates, notes = self._program.rates, self._values.notes
        at = (rates.tariff[rate] == number).nonzero()[0]
        if not len(at):
            return chosen
        item = at if isinstance(items, slice) else items[at]
        looked = self._look_up(self._program.tariff_uses[number], item)
        unknown: Flags = looked < 0
        if some(unknown):
            self._fail(row[at[unknown]], Reason.NO_DUTY_RATE)
            looked = np.where(unknown, rate[at], looked)
        if some(assumed := rates.assumed[looked]):
            notes[row[at[assumed]]] |= int(Note.DEFAULT_DUTY_RATE)
        if "" in self._filings.code.dictionary:
            notes[row[at[~self._filings.code.present[item]]]] |= int(Note.CODE_MISSING)
        chosen = chosen.copy()
        chosen[at] = looked
        return chosen

    def _note_preferences(self, rate: Int64, chosen: Int64, items: Int64 | slice, row: Int64) -> None:
        """Note what is claimed and not given, where the charge goes by a tariff, though perhaps not for these goods."""
        if self._claims is None:
            # First digit 1 is no preference; a letter begins the code of a programme.
            self._claims = self._filings.preference.map(lambda code: code[:1] in _PREFERENCES, np.bool_)
        claimed = self._claims[items]
        if some(claimed):
            rates = self._program.rates
            unapplied = rates.of_tariff_charge[rate] & claimed & ~rates.preferential[chosen]
            self._values.notes[row[unapplied]] |= int(Note.PREFERENCE_NOT_APPLIED)

    def _look_up(self, use: TariffUse, items: Int64) -> Int64:
        """Look rates up once per distinct code, origin and preference of the items; -1 where there is none."""
        filings = self._filings
        columns = [filings.code]
        if use.table.preferences:
            columns += [filings.origin, filings.preference]
        told_apart = [column for column in columns if len(column.dictionary) > 1] or columns[:1]
        groups = Groups.by(*((column.indices.take(items), len(column.dictionary)) for column in told_apart))
        first = items[groups.first]
        words = [map(column.dictionary.__getitem__, column.indices[first].tolist()) for column in columns]
        found = [number if number < 0 else use.first + number for number in map(use.table.find, *words)]
        return np.array(found, dtype=np.int64)[groups.ids]

    def _by_season(self, rate: Int64, row: Int64) -> Int64:
        season = self._program.rates.season[rate]
        seasonal = season >= 0
        if not some(seasonal):
            return rate
        days = self._values.law_day[row[seasonal]].astype("datetime64[D]")
        months = days.astype("datetime64[M]")
        of_year = _MONTHS[months.astype(np.int64) % 12] + (days - months.astype("datetime64[D]")).astype(np.int64)
        chosen = rate.copy()
        chosen[seasonal] = self._program.seasons[season[seasonal], of_year]
        return chosen

    def _fail(self, rows: Int64, reason: Reason) -> None:
        failed = np.zeros(self._filings.rows, dtype=np.bool_)
        failed[rows] = True
        self._values.fail(failed, reason)
