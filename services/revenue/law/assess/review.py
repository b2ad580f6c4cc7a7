"""Review: which charges, and how much of what is owed, rest on law that somebody has compared with its text.

A charge rests on reviewed law where every value that decided it says so: what the customs value is made of, the exchange and
its rates, the limits and reliefs that were asked, its rate, minimum, rounding and collection, and the charges that its base
holds. Anything less is not counted, so that the figure never says more than is known.
"""

import numpy as np

from services.revenue.law.assess.valuation.valuation import consignment_amounts
from services.revenue.law.assess.valuation.values import Values
from services.revenue.law.batch.arithmetic import Flags, Int64, every, some
from services.revenue.law.batch.charge_lines import Lines
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.reasons import Note
from services.revenue.law.program.program import Program
from services.revenue.law.source.rulebook import COMPONENTS, PPM

_CHARGED = sum(1 << COMPONENTS.index(name) for name in ("duty", "tax", "fee"))


def unreviewed(program: Program, filings: Filings, values: Values, lines: Lines) -> tuple[Flags, Flags]:
    """Return which rows rest, with all that was charged on them, on a value that nobody reviewed, and which lines do."""
    doubted: Flags = program.regimes.unverified[values.regime]
    if every(doubted):
        # Where the law of every row is doubted already, no charge adds to it.
        return doubted, np.ones(len(lines.row), dtype=np.bool_)
    doubted |= (values.notes & int(Note.UNVERIFIED_VALUE)) != 0
    slots = program.slots
    by_line: Flags = program.rates.unverified[lines.rate] | slots.unverified[lines.slot]
    by_line |= program.outcomes.unverified[lines.outcome]
    rows = doubted.copy()
    rows[lines.row[by_line]] = True
    uncertain = doubted | _at_unreviewed_rates(program, filings, values)
    # The tax that was taken out of a price is the seller's own figure, or goes by a rate that no charge tells.
    uncertain |= (values.notes & int(Note.TAX_TAKEN_OUT)) != 0
    holds_charges = ((slots.base | slots.uplift_of)[lines.slot] & _CHARGED) != 0
    by_line |= uncertain[lines.row] | (rows[lines.row] & (holds_charges | (slots.inside[lines.slot] != 0)))
    return rows, by_line


def reviewed_amounts(lines: Lines, unreviewed_lines: Flags, rows: int) -> Int64:
    """Return per row how much of what is owed rests on reviewed law, minor units."""
    amounts = np.zeros(rows, dtype=np.int64)
    if not every(unreviewed_lines):
        at = np.flatnonzero(~unreviewed_lines)
        np.add.at(amounts, lines.row[at], lines.amount[at])
    return amounts


def reviewed_ppm(charged: int, reviewed: int) -> int | None:
    """Return the part that rests on reviewed law in parts per million, rounded down; None where nothing is charged."""
    return reviewed * PPM // charged if charged else None


def _at_unreviewed_rates(program: Program, filings: Filings, values: Values) -> Flags:
    """Return for each row whether an amount was converted at an unreviewed exchange rate."""
    exchange = program.exchange
    if every(exchange.verified):
        return np.zeros(filings.rows, dtype=np.bool_)
    table, day = program.regimes.exchange_table[values.regime], values.exchange_day
    found: Flags = np.zeros(filings.rows, dtype=np.bool_)
    of_rows = np.arange(filings.rows)
    columns = [(filings.price_currency, filings.item_row)]
    columns += [
        (currency, of_rows) for _, amounts, currency in consignment_amounts(filings) if some(amounts.values != 0)
    ]
    for currency, row in columns:
        number = currency.map(exchange.currency, np.int64)
        at = exchange.find(table[row], np.where(currency.present, number, -1), day[row])
        found[row[~exchange.verified[at]]] = True
    return found
