"""Exchange rates: dated tables of exact fractions, and the conversion of columns of money.

A table belongs to one currency and says how many units of each other currency one unit of it is worth, or the other way
round, as its authority publishes it. There are no cross rates: what a table does not hold on a day cannot be converted by it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Literal

import msgspec
import numpy as np

from libs.customs.currencies import minor_units
from services.revenue.law.batch.arithmetic import Division, Flags, Int64, Rounding, every, mul_div_round, some
from services.revenue.law.source.rulebook import Dated, Reference
from services.revenue.law.source.yaml_source import Path, Source

_EPOCH = date(1970, 1, 1).toordinal()
_DAY_BITS = 24
_DAY_MASK = (1 << _DAY_BITS) - 1
_CURRENCY_BITS = 12
_LARGEST_PART = 2**31
_ITSELF = "the currency itself"


class RatePeriod(Dated, frozen=True, kw_only=True):
    """Rates that hold from one day to another."""

    rates: dict[str, str] = msgspec.field(default_factory=dict)
    """Units of the currency for one of the table's: {"USD": "1.0834"}, or as an exact fraction "10834/10000"."""
    inverse_rates: dict[str, str] = msgspec.field(default_factory=dict)
    """Units of the table's currency for one of the currency, as some authorities publish them: {"AUD": "0.91"} in a table of
    USD says 1 AUD = 0.91 USD. They are exact too: nothing is divided and rounded."""


class ExchangeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table as written."""

    format: Literal[1]
    table: str
    name: str
    currency: str
    references: dict[str, Reference]
    periods: tuple[RatePeriod, ...]


@dataclass(frozen=True, slots=True)
class ExchangeRate:
    """One rate: minor units of the table's currency = minor units of `currency` times numerator over denominator."""

    table: str
    currency: str
    start: int
    """First day, days since 1970-01-01."""
    end: int
    """Last day."""
    numerator: int
    denominator: int
    quoted: str
    """As the table says it. Example: "1 EUR = 1.0834 USD"."""
    reference: str
    verified: bool


def read_exchange(file: str, text: str) -> list[ExchangeRate]:
    """Read and check a table; LawFileError has the file, the line and the rate of everything that cannot be applied."""
    source = Source(file, text)
    written = source.convert(ExchangeFile)
    rates = [ExchangeRate(written.table, written.currency, 0, (1 << _DAY_BITS) - 1, 1, 1, _ITSELF, "", True)]
    verified = {name: reference.verified for name, reference in written.references.items()}
    last: date | None = None
    for place, period in enumerate(written.periods):
        here = ("periods", place)
        if period.to is None or period.to < period.start:
            source.refuse(here, "needs a last day that is not before its first: rates are never open-ended")
            continue
        if last is not None and period.start <= last:
            source.refuse(here, f"overlaps the period before it, which ends on {last}")
        if period.reference not in written.references:
            source.refuse((*here, "reference"), f"{period.reference!r} is not described under 'references'")
        last = period.to
        if not period.rates and not period.inverse_rates:
            source.refuse(here, "has neither 'rates' nor 'inverse_rates'")
        for at, currency, figure, factor in _factors(source, written, here, period):
            inverse = at[-2] == "inverse_rates"
            rates.append(
                ExchangeRate(
                    written.table,
                    currency,
                    period.start.toordinal() - _EPOCH,
                    period.to.toordinal() - _EPOCH,
                    factor.numerator,
                    factor.denominator,
                    f"1 {currency} = {figure} {written.currency}"
                    if inverse
                    else f"1 {written.currency} = {figure} {currency}",
                    period.reference,
                    period.verified and verified.get(period.reference, False),
                )
            )
    source.finish()
    return rates


def _factors(
    source: Source, written: ExchangeFile, path: Path, period: RatePeriod
) -> Iterator[tuple[Path, str, str, Fraction]]:
    """Yield for each rate of a period its path, its currency, its figure, and the value of one minor unit."""
    try:
        home = minor_units(written.currency)
    except ValueError:
        raise source.error(("currency",), f"{written.currency!r} is no ISO 4217 code") from None
    for name in ("rates", "inverse_rates"):
        for currency, figure in getattr(period, name).items():
            at = (*path, name, currency)
            with source:
                if currency == written.currency:
                    raise source.error(at, "is the table's own currency, which is worth itself")
                if name == "inverse_rates" and currency in period.rates:
                    raise source.error(at, "stands under 'rates' too; keep the one that the authority publishes")
                yield at, currency, figure, _factor(source, at, currency, figure, home)


def _factor(source: Source, at: Path, currency: str, figure: str, home: int) -> Fraction:
    """Return the value of one minor unit of a currency in minor units of the table's own. Raises LawFileError."""
    try:
        factor = Fraction(10) ** (home - minor_units(currency))
        factor = factor * Fraction(figure) if at[-2] == "inverse_rates" else factor / Fraction(figure)
    except ZeroDivisionError:
        raise source.error(at, f"{figure!r} is no rate; a rate is more than nothing") from None
    except ValueError:
        raise source.error(at, f"{figure!r} is no rate, or {currency!r} no ISO 4217 code") from None
    if factor <= 0:
        raise source.error(at, f"{figure!r} is no rate; a rate is more than nothing")
    if max(factor.numerator, factor.denominator) >= _LARGEST_PART:
        raise source.error(at, f"{figure!r} has too many digits; seven are enough")
    return factor


@dataclass(frozen=True, slots=True)
class Conversion:
    """How money of several kinds is converted."""

    numerator: Int64
    """[kind]"""
    division: Division | None
    """By kind; None where all are in the currency wanted."""
    exchanged: Flags
    """[kind]: whether it is not in the currency wanted."""

    def convert(self, minor: Int64, refused: Flags, kind: Int64 | None = None) -> Int64:
        """Convert minor units, rounded; `refused` marks what is too large. Without `kind` each amount has its own."""
        if self.division is None:
            return minor.copy()
        return self.division.divide(minor, self.numerator if kind is None else self.numerator.take(kind), refused, kind)


class ExchangeTables:
    """All tables, for look-up by whole columns."""

    def __init__(self, rates: Sequence[ExchangeRate]) -> None:
        """Index the rates by table, currency and first day."""
        self.tables = sorted({rate.table for rate in rates})
        self.home = {rate.table: rate.currency for rate in rates if rate.quoted == _ITSELF}
        """Each table's own currency, which its rates convert into."""
        self._currency = {code: place for place, code in enumerate(sorted({rate.currency for rate in rates}))}
        self.rates = sorted(rates, key=lambda rate: self._key(rate.table, rate.currency, rate.start))
        self._keys = np.array([self._key(rate.table, rate.currency, rate.start) for rate in self.rates], dtype=np.int64)
        self._end = np.array([rate.end for rate in self.rates], dtype=np.int64)
        # One more at the end, so that the place -1 (no rate) converts 1:1.
        self.verified: Flags = np.array([*(rate.verified for rate in self.rates), True], dtype=np.bool_)
        self._numerator = np.array([*(rate.numerator for rate in self.rates), 1], dtype=np.int64)
        self._denominator = np.array([*(rate.denominator for rate in self.rates), 1], dtype=np.int64)

    def _key(self, table: str, currency: str, day: int) -> int:
        place = self.tables.index(table) << _CURRENCY_BITS | self._currency[currency]
        return place << _DAY_BITS | day

    def currency(self, code: str) -> int:
        """Return the number by which `find` knows a currency; -1 where no table holds it."""
        return self._currency.get(code, -1)

    def code(self, currency: int) -> str:
        """Return the code of a currency by its number."""
        return next(code for code, number in self._currency.items() if number == currency)

    def find(self, table: Int64, currency: Int64, day: Int64) -> Int64:
        """Return the place in `rates` per element, -1 where the table has no rate of the currency on the day."""
        # A table or currency of -1 makes a key before all others.
        place = (table << _CURRENCY_BITS) | currency
        # A day outside the bits may look like another; the test of the last day below, and of 0, sorts it out.
        keys = (place << _DAY_BITS) | (day & _DAY_MASK)
        found: Int64 = self._keys.searchsorted(keys, side="right") - 1
        known = (found >= 0) & ((self._keys[found] >> _DAY_BITS) == place) & (self._end[found] >= day) & (day >= 0)
        if every(known):
            return found
        return np.where(known, found, -1)

    def conversion(self, rate: Int64, mode: Int64, unit: Int64) -> "Conversion":
        """Prepare the conversion by rates that were found (-1 = 1:1), each with its mode and unit of rounding."""
        numerator, denominator = self._numerator[rate], self._denominator[rate]
        exchanged = numerator != denominator
        # What is not exchanged is not rounded either.
        division = Division.by(denominator, mode, np.where(exchanged, unit, 1)) if some(exchanged) else None
        return Conversion(numerator, division, exchanged)

    def fractions(self, rate: Int64) -> tuple[Int64, Int64]:
        """Return numerators and denominators of the rates (-1 = 1:1)."""
        return self._numerator[rate], self._denominator[rate]

    def bounds(self, minor: Int64, rate: Int64, refused: Flags) -> tuple[Int64, Int64]:
        """Convert minor units exactly: the whole minor units just below or at the result, and just above or at it."""
        numerator, denominator = self._numerator[rate], self._denominator[rate]
        below = mul_div_round(minor, numerator, denominator, int(Rounding.DOWN), 1, refused)
        return below, mul_div_round(minor, numerator, denominator, int(Rounding.UP), 1, refused)
