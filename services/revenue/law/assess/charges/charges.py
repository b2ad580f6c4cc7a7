"""Charges: duty, tax and fees of valued consignments, step by step in the order of the law, over the whole batch."""

import numpy as np

from services.revenue.law.assess.charges.bases import Bases, Ground, OneRate, summed
from services.revenue.law.assess.charges.decisions import Decisions
from services.revenue.law.assess.charges.rate_choice import RateChoice
from services.revenue.law.assess.eligibility.eligibility import Eligibility
from services.revenue.law.assess.valuation.valuation import ITEMS_MAX
from services.revenue.law.assess.valuation.values import Values
from services.revenue.law.batch.arithmetic import (
    LARGEST,
    Flags,
    Int64,
    Rounding,
    apportion,
    every,
    in_order,
    mul_div_round,
    row_totals,
    some,
)
from services.revenue.law.batch.charge_lines import Lines
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.reasons import Note, Reason
from services.revenue.law.batch.units import Measure, Quantities
from services.revenue.law.program.expressions import Scaling
from services.revenue.law.program.plans import Charging
from services.revenue.law.program.program import Place, Program
from services.revenue.law.source.rates import METHODS

_PERCENT, _KILOGRAM, _TARIFF_LINE = (METHODS.index(method) for method in ("percent", "kilogram", "tariff_line"))
_BELOW_MINIMUM = int(Note.BELOW_MINIMUM)


def charge(program: Program, filings: Filings, values: Values, eligibility: Eligibility) -> Lines:
    """Compute every charge of a batch; a row that cannot be assessed has its reason in `values`, and no charges."""
    work = _Work(program, filings, values, eligibility)
    for step in work.decisions.steps:
        charge_on = work.on_rows if step.on_rows else work.on_items
        charged = charge_on(step.at, step.charging, values.sound)
        if charged is not None:
            kind = step.charging.of_slot(program.slots, "kind")
            if not isinstance(kind, int) or kind in values.plan.later:
                _add_to_components(program, filings, values, charged)
            work.charged.append(charged)
    lines = Lines.join(work.charged, filings.rows)
    sound = values.sound
    return lines if sound is None else lines.pick(sound[lines.row])


class _Work:
    """One batch under assessment."""

    def __init__(self, program: Program, filings: Filings, values: Values, eligibility: Eligibility) -> None:
        self.program, self.filings, self.values, self.eligibility = program, filings, values, eligibility
        self.decisions = Decisions(program, filings, values, eligibility)
        self.choice = RateChoice(program, filings, values)
        self.bases = Bases(program, filings, values, eligibility, self.decisions, self.choice)
        self.quantities = Quantities(filings)
        self.charged: list[Lines] = []

    def on_rows(self, at: int, charging: Charging, sound: Flags | None) -> Lines | None:
        """Charges on whole consignments at one place of the law."""
        place, row_case = charging.place, self.decisions.row_case
        applies = charging.applies[row_case]
        rows = (applies if sound is None else applies & sound).nonzero()[0]
        if not len(rows):
            return None
        rates = self.program.rates
        case = row_case[rows]
        slot, rate, outcome = charging.slot[case], charging.rate[case], charging.outcome[case]
        specific = self._specific(charging, case, rate, rows)
        amount = specific.copy()
        basis = np.zeros(len(rows), dtype=np.int64)
        quantity: Int64 | None = None
        kilograms = rates.method[rate] == _KILOGRAM
        if some(kilograms):
            basis, amount = self._by_mass(rows, slot, outcome, specific, kilograms)
            quantity = basis
        lines = Lines(
            rows, np.full(len(rows), -1), slot, rate, outcome, basis, specific, amount, _none_of(rows), quantity
        )
        return self._waived(place, lines)

    def _by_mass(
        self, rows: Int64, slot: Int64, outcome: Int64, specific: Int64, kilograms: Flags
    ) -> tuple[Int64, Int64]:
        """Mass (rounded up to the rule's unit) and amount of what is levied per kilogram."""
        slots, outcomes, gross = self.program.slots, self.program.outcomes, self.filings.gross_mass
        self._fail(rows, kilograms & ~gross.valid[rows], Reason.MASS_MISSING)
        told = gross.values[rows]
        refused = kilograms & ((told < 0) | (told > LARGEST))
        mass = np.where(kilograms & ~refused, told, 0)
        mass = mul_div_round(mass, 1, 1, int(Rounding.UP), slots.mass_unit[slot], refused)
        amount = mul_div_round(mass, specific, 1_000_000, outcomes.mode[outcome], outcomes.unit[outcome], refused)
        self._fail(rows, refused, Reason.AMOUNT_OUT_OF_BOUNDS)
        return mass, np.where(kilograms, amount, specific)

    def _fail(self, rows: Int64, failing: Flags, reason: Reason) -> None:
        if some(failing):
            failed = np.zeros(self.filings.rows, dtype=np.bool_)
            failed[rows[failing]] = True
            self.values.fail(failed, reason)

    def on_items(self, at: int, charging: Charging, sound: Flags | None) -> Lines | None:
        """Charges on lines of goods at one place of the law; `sound` marks the rows without a reason."""
        program, filings, values = self.program, self.filings, self.values
        outcomes, place, item_case = program.outcomes, charging.place, self.decisions.item_case
        applies: Flags = charging.applies[item_case]
        if sound is not None:
            applies &= sound[filings.item_row]
        if place.tariff_line:
            applies = self._first_of_tariff_line(charging, applies)
        items = applies.nonzero()[0]
        if not len(items):
            return None
        select: Int64 | slice = slice(None) if len(items) == filings.items else items
        row, case = filings.item_row[select], item_case[select]
        slot, outcome = charging.slot[case], charging.outcome[case]
        rate = self.choice.of_items(charging, case, select, row)
        refused = np.zeros(len(items), dtype=np.bool_)
        basis = specific = np.zeros(len(items), dtype=np.int64)
        quantity: Int64 | None = None
        returned = self._returned(place, slot, select)
        if place.exact or place.rounds_totals:
            basis, specific, amount, quantity = self._exactly(
                at, place, slot, rate, outcome, select, row, refused, returned
            )
        else:
            percent: Flags | None = None
            if place.specific:
                percent = program.rates.method[rate] == _PERCENT
                amount = specific = self._specific(charging, case, rate, row)
            if percent is None or some(percent):
                ground = self.bases.plain(charging, slot, outcome, case, select, refused)
                computed = charging.division(outcomes).divide(ground, program.rates.ppm[rate], refused, case)
                amount = computed if percent is None else np.where(percent, computed, amount)
                basis = ground if percent is None else np.where(percent, ground, 0)
        forgone: Int64 | None = None
        if returned is not None:
            forgone, amount = np.where(returned, amount, 0), np.where(returned, 0, amount)
        if place.less or place.total:
            amount = self._reduced(place, rate, outcome, select, row, amount, refused)
        refused |= basis > LARGEST
        # Where no amount is large, no sum of a consignment's can be: most batches need no sums.
        if some(refused) or int(np.maximum.reduce(amount)) > LARGEST // ITEMS_MAX:
            over = _row_totals(filings, select, amount) > LARGEST
            over[row[refused]] = True
            values.fail(over, Reason.AMOUNT_OUT_OF_BOUNDS)
            amount = np.where(over[row], 0, amount)
        waived = _none_of(items) if returned is None else returned
        return self._waived(
            place, Lines(row, items, slot, rate, outcome, basis, specific, amount, waived, quantity, forgone)
        )

    def _returned(self, place: Place, slot: Int64, select: Int64 | slice) -> Flags | None:
        """Return which of the selected items are relieved of the charge because they come back; None where none is."""
        if not (place.relieved and self.eligibility.returned):
            return None
        found = self.eligibility.come_back(self.program.slots.relieved_by[slot], select)
        return found if some(found) else None

    def _exactly(
        self, at: int, place: Place, slot: Int64, rate: Int64, outcome: Int64, select: Int64 | slice, row: Int64,
        refused: Flags, returned: Flags | None,
    ) -> tuple[Int64, Int64, Int64, Int64 | None]:  # fmt: skip
        """Basis, specific amount, amount and quantity where rates have several parts or bases are fractions.

        Goods that come back are no part of the sums of others (`returned`).
        """
        rates, outcomes = self.program.rates, self.program.outcomes
        specific = np.zeros(len(slot), dtype=np.int64)
        number = rates.expression[rate]
        evaluated: Flags = number >= 0
        if place.specific:
            minor, currency = np.where(evaluated, 0, rates.minor[rate]), np.where(evaluated, -1, rates.currency[rate])
            specific = self._converted(minor, currency, row)
        if not some(evaluated):
            return np.zeros(len(slot), dtype=np.int64), specific, specific, None
        if not every(evaluated):
            # The other rows are computed with a rate of zero, and their result is ignored.
            number = np.where(evaluated, number, number[int(np.argmax(evaluated))])
        ground = self.bases.exact(at, place, slot, rate, outcome, select, row, refused)
        measured = self._measured(slot, rate, number, evaluated, select, row)
        lines: OneRate | None = None
        if place.rounds_totals:
            # A base that is too large is refused with the sum that it is in.
            told = ground.rounded(outcomes.mode[outcome], np.zeros(len(slot), dtype=np.bool_))
            one = rate if returned is None else 2 * rate + returned
            lines = OneRate(row, one, evaluated & (outcomes.sum_unit[outcome] != 0), told)
            slot, rate, outcome, row, number = (lines.first(each) for each in (slot, rate, outcome, row, number))
            every_line, evaluated = (refused, evaluated), lines.first(evaluated)
            refused = np.zeros(len(row), dtype=np.bool_)
            unit = np.maximum(outcomes.sum_unit[outcome], 1)
            ground = summed(ground, lines, outcomes.mode[outcome], unit, refused)
        of_rates = measured if lines is None else {each: lines.totals(parts) for each, parts in measured.items()}
        computed = self.program.expressions.levied(
            number, ground.basis, of_rates.__getitem__, self._scaling(place, slot, rate, row, ground),
            outcomes.mode[outcome], outcomes.unit[outcome], refused,
        )  # fmt: skip
        basis = np.where(evaluated, ground.rounded(outcomes.mode[outcome], refused), 0)
        refused &= evaluated
        if lines is not None:
            basis, computed, number = lines.share(basis), lines.share(computed), lines.each(number)
            every_line[0][:] |= lines.each(refused)
            evaluated = every_line[1]
        quantity: Int64 | None = None
        first = self.program.expressions.first_measure[number]
        if measured:
            quantity = np.zeros(len(basis), dtype=np.int64)
            for measure, parts in measured.items():
                quantity = np.where(evaluated & (first == int(measure)), parts, quantity)
        return basis, specific, np.where(evaluated, computed, specific), quantity

    def _measured(
        self, slot: Int64, rate: Int64, number: Int64, evaluated: Flags, select: Int64 | slice, row: Int64
    ) -> dict[Measure, Int64]:
        """Return the quantities that the rates need, for the selected items; a row that does not declare them cannot be assessed."""
        slots, expressions = self.program.slots, self.program.expressions
        found = {}
        for measure in expressions.measures(number):
            known = self.quantities.measured(measure)
            needed = evaluated & expressions.needed(number, measure)
            self._fail(row, needed & ~known.declared[select], Reason.QUANTITY_MISSING)
            self.values.notes[row[needed & known.assumed[select]]] |= int(Note.UNIT_ASSUMED)
            parts = np.where(needed, known.parts[select], 0)
            if measure is Measure.NET_MASS and some(slots.net_mass[slot]):
                up = np.where(slots.net_mass[slot], slots.mass_unit[slot], 1)
                refused = np.zeros(len(slot), dtype=np.bool_)
                parts = mul_div_round(parts, 1, 1, int(Rounding.UP), up, refused)
                self._fail(row, refused, Reason.AMOUNT_OUT_OF_BOUNDS)
            found[measure] = parts
        return found

    def _scaling(self, place: Place, slot: Int64, rate: Int64, row: Int64, ground: Ground) -> Scaling:
        slots = self.program.slots
        share = numerator = denominator = home = None
        if some(slots.share_numerator[slot] != slots.share_denominator[slot]):
            share, denominator = slots.share_numerator[slot], slots.share_denominator[slot]
        if place.foreign:
            currency = self.program.rates.currency[rate]
            place_of = self._exchange(np.where(self.program.rates.expression[rate] >= 0, currency, -1), row)
            if some(place_of >= 0):
                numerator, home = self.program.exchange.fractions(place_of)
        return Scaling(ground.multiplier, ground.divisor, share, denominator, numerator, home)

    def _specific(self, charging: Charging, case: Int64, rate: Int64, rows: Int64) -> Int64:
        """Specific amounts of the rates in each row's jurisdiction's currency."""
        rates, day = self.program.rates, self.values.one_exchange_day
        if not charging.place.foreign:
            return rates.minor[rate]
        by_case = None if day is None else charging.specific(self.program, day)
        return self._converted(rates.minor[rate], rates.currency[rate], rows) if by_case is None else by_case[case]

    def _exchange(self, currency: Int64, rows: Int64) -> Int64:
        """Place of the exchange rate of each element's currency, -1 for the jurisdiction's own."""
        foreign = currency >= 0
        if not some(foreign):
            return np.full(len(rows), -1)
        regime = self.values.regime[rows]
        table = self.program.regimes.exchange_table[regime]
        found = self.program.exchange.find(table, currency, self.values.exchange_day[rows])
        self._fail(rows, foreign & (found < 0), Reason.NO_EXCHANGE_RATE)
        return np.where(foreign, found, -1)

    def _converted(self, minor: Int64, currency: Int64, rows: Int64) -> Int64:
        """Amounts of law in each row's jurisdiction's currency, rounded as the jurisdiction rounds what it converts."""
        at = (currency >= 0).nonzero()[0]
        if not len(at):
            return minor
        rows, refused = rows[at], np.zeros(len(at), dtype=np.bool_)
        found = self._exchange(currency[at], rows)
        regimes, regime = self.program.regimes, self.values.regime[rows]
        mode, unit = regimes.exchange_mode[regime], regimes.exchange_unit[regime]
        converted = minor.copy()
        converted[at] = self.program.exchange.conversion(found, mode, unit).convert(minor[at], refused)
        self._fail(rows, refused, Reason.AMOUNT_OUT_OF_BOUNDS)
        return converted

    def _reduced(
        self, place: Place, rate: Int64, outcome: Int64, select: Int64 | slice, row: Int64, amount: Int64,
        refused: Flags,
    ) -> Int64:  # fmt: skip
        """Subtract the fixed deduction of the law from the sum of a consignment and round the sum; it is divided among the items by amount."""
        program, filings = self.program, self.filings
        if some(refused):
            amount = np.where(refused, 0, amount)
        sums = _row_totals(filings, select, amount)
        wrong = sums > LARGEST
        self.values.fail(wrong, Reason.AMOUNT_OUT_OF_BOUNDS)
        wanted = np.where(wrong, 0, sums)
        if place.less:
            less = np.zeros(filings.rows, dtype=np.int64)
            # Once a consignment, whatever its items: where their rates take off different amounts, the largest.
            np.maximum.at(less, row, self._converted(program.rates.less[rate], program.rates.less_currency[rate], row))
            wanted = np.maximum(wanted - less, 0)
        if place.total:
            # All items of a row are collected alike.
            mode, unit = np.zeros(filings.rows, dtype=np.int64), np.ones(filings.rows, dtype=np.int64)
            mode[row], unit[row] = program.outcomes.mode[outcome], program.outcomes.total_unit[outcome]
            too_large = np.zeros(filings.rows, dtype=np.bool_)
            rounded = mul_div_round(wanted, 1, 1, mode, unit, too_large)
            self.values.fail(too_large, Reason.AMOUNT_OUT_OF_BOUNDS)
            wanted = rounded
        changed = wanted != sums
        if not some(changed):
            return amount
        everywhere = np.zeros(filings.items, dtype=np.int64)
        everywhere[select] = amount
        # Rows that failed may hold weights beyond what can be shared.
        everywhere[wrong[filings.item_row]] = 0
        shares = apportion(wanted, everywhere, filings.offsets, filings.item_row)
        return np.where(changed[row], shares[select], amount)

    def _waived(self, place: Place, lines: Lines) -> Lines:
        """Waive what is too small to be levied, and what is tested together with it; what it would be stays with the lines."""
        if not place.minimum:
            return lines
        slots, values = self.program.slots, self.values
        # If each amount of a consignment reaches the minimum, so does their sum: most lines need no further test.
        near = lines.amount < slots.waived_below[lines.slot]
        if not some(near):
            return lines
        tested = np.zeros(self.filings.rows, dtype=np.bool_)
        tested[lines.row[near]] = True
        at = tested[lines.row].nonzero()[0]
        row, slot = lines.row[at], lines.slot[at]
        sums = np.zeros(self.filings.rows, dtype=np.int64)
        np.add.at(sums, row, lines.amount[at])
        # Most minima are tested on one charge alone.
        named = slots.tested_with[slot]
        together = self._tested_lines(tested, row, named) if place.joint_minimum and some(named != 0) else []
        for earlier, mine in together:
            np.add.at(sums, earlier.row[mine], earlier.amount[mine])
        whole, least = sums[row], self._converted(slots.minimum[slot], slots.minimum_currency[slot], row)
        below: Flags = (whole > 0) & ((whole < least) | (slots.minimum_above[slot] & (whole == least)))
        if not some(below):
            return lines
        waived = np.zeros(self.filings.rows, dtype=np.bool_)
        waived[row[below]] = True
        values.notes[waived] |= _BELOW_MINIMUM
        for earlier, mine in together:
            mine = mine[waived[earlier.row[mine]]]
            if len(mine):
                which = np.zeros(len(earlier.row), dtype=np.bool_)
                which[mine] = True
                _add_to_components(self.program, self.filings, values, earlier.pick(which), sign=-1)
                _forgo(earlier, which)
        _forgo(lines, waived[lines.row])
        return lines

    def _tested_lines(self, tested: Flags, row: Int64, named: Int64) -> list[tuple[Lines, Int64]]:
        """Return the earlier charges with those of their lines that are tested together with charges of these rows.

        `named` has of each row the bits of the places of the law that its charge names.
        """
        places = np.zeros(self.filings.rows, dtype=np.int64)
        places[row] = named
        found = []
        for earlier in self.charged:
            at = tested[earlier.row].nonzero()[0]
            mine = places[earlier.row[at]] >> earlier.slot[at] % self.program.slots_per_regime & 1
            at = at[mine == 1]
            if len(at):
                found.append((earlier, at))
        return found

    def _first_of_tariff_line(self, charging: Charging, applies: Flags) -> Flags:
        """Select the first item of each tariff line of a consignment, if the charge is per tariff line.

        Codes are told apart by as many digits as the rule says under the scheme. An item without a code is its own line.
        """
        filings, code = self.filings, self.filings.code
        known, case = charging.tariff_lines(self.program), self.decisions.item_case
        items = (applies & known.per_line[case]).nonzero()[0]
        if not len(items):
            return applies
        lines: dict[str, int] = {}
        by_width = [[lines.setdefault(each[:width], len(lines)) for each in code.dictionary] for width in known.widths]
        place = code.indices.take(items)
        if len(known.widths) > 1:
            place = known.width[case[items]] * len(code.dictionary) + place
        line = np.array(by_width, dtype=np.int64).ravel().take(place)
        span = len(lines)
        if "" in lines:
            line = np.where(line == lines[""], span + items, line)
            span += filings.items
        line += filings.item_row[items] * span
        order = in_order(line, filings.rows * span)
        line = line[order]
        applies[items[order[1:][line[1:] == line[:-1]]]] = False
        return applies


def _none_of(column: Int64) -> Flags:
    return np.zeros(len(column), dtype=np.bool_)


def _forgo(lines: Lines, selected: Flags) -> None:
    """Waive the amounts of these lines, and store them as forgone."""
    before = np.zeros(len(lines.row), dtype=np.int64) if lines.forgone is None else lines.forgone
    lines.forgone = np.where(selected & ~lines.waived, lines.amount, before)
    lines.amount = np.where(selected, 0, lines.amount)
    lines.waived = lines.waived | selected


def _row_totals(filings: Filings, select: Int64 | slice, amount: Int64) -> Int64:
    if isinstance(select, slice):
        return row_totals(amount, filings.item_row, filings.rows)
    everywhere = np.zeros(filings.items, dtype=np.int64)
    everywhere[select] = amount
    return row_totals(everywhere, filings.item_row, filings.rows)


def _add_to_components(program: Program, filings: Filings, values: Values, lines: Lines, sign: int = 1) -> None:
    """Add charges to the components of later bases, if any rulebook's base names them; subtract them with the sign -1."""
    kinds = program.slots.kind[lines.slot]
    for kind, component in values.plan.later.items():
        mine = kinds == kind
        if not some(mine):
            continue
        amounts = lines.amount if every(mine) else np.where(mine, lines.amount, 0)
        by_item = np.zeros(filings.items, dtype=np.int64)
        on_item = lines.item >= 0
        if every(on_item):
            by_item[lines.item] = amounts
        else:
            whole = np.zeros(filings.rows, dtype=np.int64)
            whole[lines.row] = amounts
            by_item = apportion(whole, values.components[0], filings.offsets, filings.item_row)
        by_item = by_item if sign > 0 else -by_item
        known = values.components.get(component)
        values.components[component] = by_item if known is None else known + by_item
