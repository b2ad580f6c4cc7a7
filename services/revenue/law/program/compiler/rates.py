"""Compiles rates: the row of each slot's rate, then those with conditions, of tariffs and of seasons."""

from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from typing import Any

import numpy as np

from services.revenue.law.batch.arithmetic import Int64
from services.revenue.law.batch.units import LAW_UNITS
from services.revenue.law.program.conditions import ConditionTable
from services.revenue.law.program.exchange import ExchangeTables
from services.revenue.law.program.expressions import Expressions
from services.revenue.law.program.program import ProgramError, Rates, TariffUse
from services.revenue.law.source.checks import applies
from services.revenue.law.source.rates import (
    METHODS,
    Expression,
    ParsedRate,
    Sum,
    Term,
    parse_amount,
    parse_rate,
    year_of_seasons,
)
from services.revenue.law.source.rulebook import Charge, Rate, Reference, Rulebook
from services.revenue.law.source.tariff import RateTable, Tariff


def rates_on(charge: Charge, day: date, area: str) -> list[Rate]:
    """Return the rates of a day in an area, in the order in which they are tried; the last always matches.

    Rates that name areas or conditions go before the one that names neither.
    """
    found = [rate for rate in charge.rates if applies(rate, day) and (not rate.areas or area in rate.areas)]
    found.sort(key=lambda rate: not rate.areas and rate.condition is None)
    always = next(place for place, rate in enumerate(found) if rate.condition is None)
    return found[: always + 1]


_REFERENCE_MAX = 60
_OF_LAW = ("reference", "unverified", "by_tariff", "assumed", "preferential")
"""What a rate has of the place where it stands in the law, whatever it says."""


class RateCompiler:
    """Makes rows of rates; those of slots first, all others behind them once the slots are known."""

    def __init__(self, tariffs: dict[str, Tariff], exchange: ExchangeTables, conditions: ConditionTable) -> None:
        self.exchange, self.tariffs, self.conditions = exchange, tariffs, conditions
        self.expressions = Expressions()
        self.where: dict[tuple[str, str], str] = {}
        """File, line and rule of each charge, by jurisdiction and id."""
        self.references: dict[str, int] = {}
        self.legal: dict[str, Reference] = {}
        self.texts: dict[str, int] = {}
        self.tables: list[RateTable] = []
        self.uses: list[TariffUse] = []
        self._numbers: dict[tuple[int, str, bool], int] = {}
        self._slots: list[dict[str, Any]] = []
        self._conditional: list[dict[str, Any]] = []
        self._seasons: list[list[int]] = []

    def reference(self, book: Rulebook, name: str) -> int:
        """Number a reference of a rulebook."""
        full = f"{book.jurisdiction}:{name}"
        self.legal[full] = book.references[name]
        return self.references.setdefault(full, len(self.references))

    def currency(self, book: Rulebook, charge: Charge, code: str) -> int:
        """Number a currency; -1 where it is the rulebook's own."""
        if code in ("", book.currency):
            return -1
        number = self.exchange.currency(code)
        if number < 0:
            raise ProgramError(f"{self.where[book.jurisdiction, charge.id]}: no exchange table holds {code}")
        return number

    def nothing(self) -> None:
        """Add the row of a slot without a charge."""
        self._slots.append(_nothing())

    def slot(self, book: Rulebook, charge: Charge, rates: list[Rate], day: date) -> range:
        """Add the rows of a slot's rates; return the range of those with conditions, behind those of the slots."""
        rows = []
        by_tariff = any(rate.rate == "tariff" for rate in rates)
        for rate in rates:
            parsed = parse_rate(rate.rate)
            less, less_currency = parse_amount(rate.less) if rate.less else (0, "")
            rows.append(
                self._row(
                    book,
                    charge,
                    parsed,
                    rate.rate,
                    day,
                    verified=rate.verified and book.references[rate.reference].verified,
                )
                | {
                    "condition": self.conditions.number(rate.condition),
                    "of_tariff_charge": by_tariff,
                    "less": less,
                    "less_currency": self.currency(book, charge, less_currency),
                    "reference": self.reference(book, rate.reference),
                    "unverified": not (rate.verified and book.references[rate.reference].verified),
                }
            )
        # What a tariff or a season adds may stand behind; rows with conditions stand together.
        self._seasons_as(rows)
        first = len(self._conditional)
        self._conditional += rows[:-1]
        self._slots.append(rows[-1])
        return range(first, first + len(rows))

    def possible(self, place: int, slot: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield every rate that the slot at the place may have, including those of its tariff and seasons."""
        first = slot["variants"]
        for row in [self._slots[place], *self._conditional[first : first + slot["variant_count"]]]:
            yield row
            yield from self._behind(row)

    def _behind(self, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if row["season"] >= 0:
            for place in set(self._seasons[row["season"]]):
                yield self._conditional[place]
        if row["tariff"] >= 0:
            use = self.uses[row["tariff"]]
            for place in range(use.first, use.first + len(use.table.rates)):
                yield self._conditional[place]
                yield from self._behind(self._conditional[place])

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows: one for each slot, then from `first_conditional` on the others."""
        return [*self._slots, *self._conditional]

    @property
    def first_conditional(self) -> int:
        """Return the place of the first row that is no slot's own."""
        return len(self._slots)

    def tariff_uses(self) -> list[TariffUse]:
        """Return the uses of tariffs with the places of their rates among all rows."""
        return [TariffUse(use.table, use.first + self.first_conditional) for use in self.uses]

    def seasons(self) -> Int64:
        """Return for each season and day of a leap year the place of its rate among all rows."""
        return np.array(self._seasons, dtype=np.int64).reshape(-1, 366) + self.first_conditional

    def _row(
        self, book: Rulebook, charge: Charge, rate: ParsedRate, text: str, day: date, *, verified: bool = True
    ) -> dict[str, Any]:
        """Return the row of a rate; if it names a tariff or seasons, add their rows too."""
        currencies = sorted(rate.currencies)
        expression = rate.expression
        if rate.method == "percent":
            expression = Expression(Sum(rate.ppm, ()), None, None, "")
        elif rate.method == "kilogram" and charge.mass == "net":
            measure, parts = LAW_UNITS["kg"]
            expression = Expression(Sum(0, (Term(Fraction(rate.minor, parts), measure),)), None, None, rate.currency)
        return _nothing() | {
            "method": METHODS.index("expression" if rate.method == "kilogram" and expression else rate.method),
            "ppm": rate.ppm,
            "minor": rate.minor,
            "currency": self.currency(book, charge, currencies[0]) if currencies else -1,
            "expression": self.expressions.number(expression) if expression else -1,
            "season": self._season(book, charge, rate, text, day) if rate.seasons else -1,
            "tariff": self._tariff(book, charge, day, verified) if rate.method == "tariff" else -1,
            "text": self.texts.setdefault(text, len(self.texts)),
        }

    def _season(self, book: Rulebook, charge: Charge, rate: ParsedRate, text: str, day: date) -> int:
        first = len(self._conditional)
        self._conditional += [self._row(book, charge, season.rate, season.text, day) for season in rate.seasons]
        self._seasons.append([first + place for place in year_of_seasons(text, rate.seasons)])
        return len(self._seasons) - 1

    def _seasons_as(self, rows: list[dict[str, Any]]) -> None:
        """Give the rates of seasons the position in the law of the rate to which they belong."""
        for row in rows:
            if row["season"] >= 0:
                for place in set(self._seasons[row["season"]]):
                    self._conditional[place] |= {name: row[name] for name in _OF_LAW}

    def _tariff(self, book: Rulebook, charge: Charge, day: date, verified: bool) -> int:
        """Number the use of a tariff's table, its rates made rows in the order of the table."""
        table = self.tariffs[charge.tariff].on(day)
        if table is None:
            raise ProgramError(
                f"{self.where[book.jurisdiction, charge.id]}: tariff {charge.tariff!r} has no rates on {day}; "
                "go on with the tariff or end the charge before"
            )
        key = id(table), book.jurisdiction, verified
        if key in self._numbers:
            return self._numbers[key]
        if not any(table is known for known in self.tables):
            self.tables.append(table)
        rows = []
        for rate in table.rates:
            name = f"{book.jurisdiction}:{charge.tariff}/{rate.reference}"
            if len(name) > _REFERENCE_MAX:
                raise ProgramError(f"tariff {charge.tariff}: the name of reference {rate.reference!r} is too long")
            self.legal[name] = self.tariffs[charge.tariff].references[rate.reference]
            rows.append(
                self._row(book, charge, rate.rate, rate.text, day)
                | {
                    "reference": self.references.setdefault(name, len(self.references)),
                    "unverified": not (verified and rate.verified),
                    "by_tariff": True,
                    "assumed": rate.assumed,
                    "preferential": rate.preferential,
                }
            )
        self._seasons_as(rows)
        self.uses.append(TariffUse(table, len(self._conditional)))
        self._conditional += rows
        self._numbers[key] = len(self.uses) - 1
        return self._numbers[key]


def _nothing() -> dict[str, Any]:
    return dict.fromkeys(Rates.__slots__, 0) | dict.fromkeys(
        ("currency", "condition", "expression", "season", "tariff", "less_currency"), -1
    )
