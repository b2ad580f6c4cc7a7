"""Money: what a filing tells in any currency, converted into that of the consignment's law."""

from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from libs.columns import Strings
from services.revenue.law.alike import Alike
from services.revenue.law.arithmetic import Flags, Int64, some
from services.revenue.law.filings import Filings
from services.revenue.law.program import Program

if TYPE_CHECKING:
    from services.revenue.law.valuation import Values


class Money:
    """The exchange rates of one batch: found once for each currency that it tells and each kind of consignment."""

    def __init__(self, program: Program, filings: Filings, values: "Values", tables: Int64 | None = None) -> None:
        """Find the rates by the rulebooks' tables, or by another table a row (-1 = none) where that holds the currency."""
        self._exchange, regimes, self._rows = program.exchange, program.regimes, values.alike
        if tables is not None:
            self._rows = Alike.by((self._rows.kind, self._rows.kinds), (tables + 1, len(program.exchange.tables) + 1))
        told = (
            filings.price_currency,
            filings.freight_currency,
            filings.insurance_currency,
            filings.clearance_fee_currency,
        )
        words = dict.fromkeys(chain.from_iterable(column.dictionary for column in told))
        self._places = {word: place for place, word in enumerate(words)}
        currency = np.array([self._exchange.currency(word) for word in words], dtype=np.int64)
        first = self._rows.first
        regime, day = values.regime[first], values.exchange_day[first][:, None]
        self._mode, self._unit = regimes.exchange_mode[regime], regimes.exchange_unit[regime]
        # [kind of consignment, currency]
        self._rate = self._exchange.find(regimes.exchange_table[regime][:, None], currency, day)
        if tables is not None:
            other = self._exchange.find(tables[first][:, None], currency, day)
            self._rate = np.where(other >= 0, other, self._rate)

    def convert(
        self, minor: Int64, currency: Strings, refused: Flags, row: Int64 | None = None
    ) -> tuple[Int64, Flags | None]:
        """Convert an amount of each row, or of each of `row`; give the amounts, and where there is no rate, if anywhere.

        Amounts without a rate stay as they are; those that are too large become 0 and are marked in `refused`.
        """
        places = [self._places[word] for word in currency.dictionary]
        rate = self._rate.take(places, axis=1).ravel()
        kind = (self._rows.kind if row is None else self._rows.kind[row]) * len(places) + currency.indices
        mode, unit = self._mode.repeat(len(places)), self._unit.repeat(len(places))
        missing: Flags = rate < 0
        amounts = self._exchange.convert(minor, rate, mode, unit, refused, kind)
        return amounts, missing[kind] if some(missing) else None
