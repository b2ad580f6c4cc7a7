"""Money: what a filing tells in any currency, converted into that of the consignment's law."""

from itertools import chain

import numpy as np

from libs.columns import Strings
from services.revenue.law.assess.valuation.values import Values
from services.revenue.law.batch.arithmetic import Flags, Int64
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.groups import Groups
from services.revenue.law.program.conversions import Conversions
from services.revenue.law.program.program import Program


class Money:
    """The exchange rates of one batch: found once for each currency that it names and each group of consignments."""

    def __init__(self, program: Program, filings: Filings, values: Values, tables: Int64 | None = None) -> None:
        """Find the rates by the rulebooks' tables, or by another table a row (-1 = none) where that holds the currency."""
        told = (
            filings.price_currency,
            filings.freight_currency,
            filings.insurance_currency,
            filings.clearance_fee_currency,
        )
        words = tuple(sorted(set(chain.from_iterable(column.dictionary for column in told))))
        day, plan = values.one_exchange_day, values.plan
        self._group_ids: Int64 | None = None
        if tables is None and day is not None and plan.one_exchange is not None:
            # All consignments exchange alike, and those of the next batch too.
            known = plan.conversions.get((day, words))
            if known is None:
                known = Conversions.find(program, words, np.array([plan.one_exchange]), np.array([day]), None)
                plan.conversions.put((day, words), known)
            self._conversions = known
            return
        rows = values.groups
        if tables is not None:
            rows = Groups.by((rows.ids, rows.count), (tables + 1, len(program.exchange.tables) + 1))
        regime, days = values.regime[rows.first], values.exchange_day[rows.first]
        self._group_ids = rows.ids
        self._conversions = Conversions.find(
            program, words, regime, days, None if tables is None else tables[rows.first]
        )

    def convert(
        self, minor: Int64, currency: Strings, refused: Flags, row: Int64 | None = None
    ) -> tuple[Int64, Flags | None]:
        """Convert an amount of each row, or of each of `row`; give the amounts, and where there is no rate, if anywhere.

        Amounts without a rate stay as they are; those that are too large become 0 and are marked in `refused`.
        """
        known = self._conversions
        place = np.array([known.places[word] for word in currency.dictionary], dtype=np.int64).take(currency.indices)
        if self._group_ids is not None:
            place += (self._group_ids if row is None else self._group_ids.take(row)) * len(known.places)
        missing = None if known.lacking.isdisjoint(currency.dictionary) else known.missing.take(place)
        as_told = known.exchanged.isdisjoint(currency.dictionary)
        return minor.copy() if as_told else known.by_group.convert(minor, refused, place), missing
