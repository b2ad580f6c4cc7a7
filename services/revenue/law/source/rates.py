"""The grammar of rates: per cent, specific amounts, compounds with least and most, seasons; from text to exact fractions.

Amounts (`150.00 EUR`) and shares (`70 %`) are read here too.

19 %                                        per cent of the base
free, suspended                             nothing
3.00 EUR per tariff_line                    once a tariff classification; also per item, consignment, kilogram (gross)
17.00 GBP per 100 kg                        per any unit of `services.revenue.law.batch.units`
8 % + 30.00 EUR per 100 kg                  a sum
12 % min 2.00 EUR per pair max 5.00 EUR per pair
14 % from 01-07 to 31-01; free from 01-02 to 30-06     by the day of the law, day-month; several periods with `and`
tariff                                      what the charge's tariff says of the commodity code
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import Literal

from libs.customs.currencies import minor_units
from libs.customs.money import MoneyError, parse_minor
from services.revenue.law.batch.arithmetic import FITS
from services.revenue.law.batch.units import LAW_UNITS, Measure
from services.revenue.law.source.rulebook import LARGEST_RATE_PPM, PPM

Method = Literal["percent", "tariff", "tariff_line", "item", "consignment", "kilogram", "expression", "seasonal"]
METHODS: tuple[Method, ...] = (
    "percent", "tariff", "tariff_line", "item", "consignment", "kilogram", "expression", "seasonal",
)  # fmt: skip
"""How an amount is found: seasonal rates are one of the others on any day."""
CONSIGNMENT_LEVEL = frozenset({"consignment", "kilogram"})
TEXT_MAX = 300
_TERMS_MAX = 4
_LARGEST_PART = 10**12
_LEAP_YEAR = 2000

_SPECIFIC = re.compile(r"(\d+(?:\.\d+)?) ([A-Z]{3}) per ([a-z_]+)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?) ([A-Z]{3})")
_PER = re.compile(r"(\d+(?:\.\d+)?) ([A-Z]{3}) per (?:(\d{1,3}(?:,\d{3})+|\d+) )?(.+)")
_SEASON = re.compile(r"(.+?) from (\d\d-\d\d to \d\d-\d\d(?: and \d\d-\d\d to \d\d-\d\d)*)")
_HINT = "write '19 %', '3.00 EUR per tariff_line', '8 % + 30.00 EUR per 100 kg', 'free' or 'tariff'"


@dataclass(frozen=True, slots=True)
class Term:
    """An amount per a unit of quantity."""

    amount: Fraction
    """Minor units of the expression's currency for one smallest part of the measure."""
    measure: Measure


@dataclass(frozen=True, slots=True)
class Sum:
    """A percentage of the base and amounts per quantity, together."""

    ppm: int
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Expression:
    """A rate of several parts, or of one that is per a quantity."""

    whole: Sum
    least: Sum | None
    most: Sum | None
    currency: str
    """Of all its amounts; empty where it has none."""

    @property
    def totals(self) -> tuple[Sum | None, Sum | None, Sum | None]:
        """Return the value, its minimum and its maximum."""
        return self.whole, self.least, self.most

    @property
    def percent(self) -> int | None:
        """Return the rate in parts per million if it is a single percentage."""
        plain = not self.whole.terms and self.least is None and self.most is None
        return self.whole.ppm if plain else None


@dataclass(frozen=True, slots=True)
class Season:
    """A rate that holds on some days of each year."""

    days: tuple[tuple[int, int], ...]
    """First and last day of the leap year, from 0; a period over the turn of the year has its first after its last."""
    rate: "ParsedRate"
    text: str


@dataclass(frozen=True, slots=True)
class ParsedRate:
    """What the text of a rate says."""

    method: Method
    ppm: int = 0
    """For percent."""
    minor: int = 0
    """For specific amounts by the methods' own words, minor units of `currency`."""
    currency: str = ""
    expression: Expression | None = None
    seasons: tuple[Season, ...] = ()

    @property
    def leaves(self) -> tuple["ParsedRate", ...]:
        """Return the rate itself, or those of its seasons."""
        return tuple(season.rate for season in self.seasons) or (self,)

    @property
    def currencies(self) -> set[str]:
        """Currencies of its amounts."""
        named = {leaf.expression.currency if leaf.expression else leaf.currency for leaf in self.leaves}
        return named - {""}


def parse_amount(text: str) -> tuple[int, str]:
    """Read an amount such as `150.00 EUR`: minor units and currency; ValueError for anything else."""
    match = _AMOUNT.fullmatch(text)
    if not match:
        raise ValueError(f"amount {text!r} is no amount; write it as '150.00 EUR'")
    try:
        return parse_minor(match[1], match[2]), match[2]
    except MoneyError as error:
        raise ValueError(f"amount {text!r}: {error}") from None
    except ValueError:
        raise ValueError(f"amount {text!r}: unknown unit {match[2]!r}; it is no ISO 4217 code") from None


def parse_share(text: str) -> int:
    """Read a share such as `70 %`: parts per million, up to the whole; ValueError for anything else."""
    match = _PERCENT.fullmatch(text)
    ppm = Decimal(match[1]) * 10_000 if match else Decimal(-1)
    if ppm != int(ppm) or not 0 < ppm <= PPM:
        raise ValueError(f"share {text!r} is no share; write it as '70 %', more than nothing and at most '100 %'")
    return int(ppm)


def parse_rate(text: str) -> ParsedRate:
    """Read the text of a rate; ValueError says what a rate may look like."""
    if len(text) > TEXT_MAX:
        raise ValueError(f"rate {text[:40]!r}…: is longer than {TEXT_MAX} characters")
    if text == "tariff":
        return ParsedRate("tariff")
    if re.search(r" from \d\d-\d\d", text):
        return _seasonal(text)
    if match := _SPECIFIC.fullmatch(text):
        method = next((known for known in METHODS[2:6] if known == match[3]), None)
        if method:
            return ParsedRate(method, minor=parse_amount(f"{match[1]} {match[2]}")[0], currency=match[2])
    expression = parse_expression(text)
    if expression.percent is not None:
        return ParsedRate("percent", ppm=expression.percent)
    return ParsedRate("expression", expression=expression)


def parse_expression(text: str) -> Expression:
    """Read a sum with its least and its most; ValueError says what it may look like."""
    match = re.fullmatch(r"(.+?)(?: min (.+?))?(?: max (.+))?", text)
    if not match:
        raise ValueError(f"rate {text!r} is no rate; {_HINT}")
    currencies: set[str] = set()
    sums = [_sum(text, part, currencies) if part else None for part in match.groups()]
    whole = sums[0]
    assert whole is not None
    if len(currencies) > 1:
        raise ValueError(
            f"rate {text!r}: names amounts in {' and '.join(sorted(currencies))}; one rate has one currency"
        )
    expression = Expression(whole, sums[1], sums[2], next(iter(currencies), ""))
    denominator = common_denominator(expression)
    figures = [figure for each in sums if each for figure in (Fraction(each.ppm), *(t.amount for t in each.terms))]
    if max(*figures, Fraction(1)) * denominator >= FITS:
        raise ValueError(f"rate {text!r}: its amounts have no common denominator of a sane size; write fewer digits")
    return expression


def common_denominator(expression: Expression) -> int:
    """Return what all parts of an expression are whole numbers over."""
    whole = PPM
    for each in expression.totals:
        for term in each.terms if each else ():
            whole = lcm(whole, term.amount.denominator)
    return whole


def percent_text(ppm: int) -> str:
    """Write a rate in per cent: 255000 -> "25.5 %"."""
    whole, part = divmod(ppm, PPM // 100)
    digits = f"{part:04d}".rstrip("0")
    return f"{whole}.{digits} %" if digits else f"{whole} %"


def _sum(text: str, part: str, currencies: set[str]) -> Sum:
    ppm, terms = 0, []
    for piece in part.split(" + "):
        if piece in ("free", "suspended"):
            continue
        if match := _PERCENT.fullmatch(piece):
            ppm += _ppm(text, match[1])
            continue
        match = _PER.fullmatch(piece)
        if not match and re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            raise ValueError(f"{text} is not a rate; write {text} %")
        if not match:
            raise ValueError(f"rate {text!r} is no rate: {piece!r} is neither per cent nor an amount per unit; {_HINT}")
        amount, currency, count, unit = match.groups()
        terms.append(_term(text, amount, currency, int((count or "1").replace(",", "")), unit, counted=bool(count)))
        currencies.add(currency)
    if len(terms) > _TERMS_MAX:
        raise ValueError(f"rate {text!r}: adds {len(terms)} amounts; at most {_TERMS_MAX} are known")
    if ppm > LARGEST_RATE_PPM:
        raise ValueError(f"rate {text!r}: per cent are at most 10000")
    return Sum(ppm, tuple(terms))


def _term(text: str, amount: str, currency: str, count: int, unit: str, *, counted: bool) -> Term:
    found = LAW_UNITS.get(unit)
    if found is None or (unit == "items" and not counted):
        raise ValueError(
            f"rate {text!r}: unknown unit {unit!r}; known are {', '.join(METHODS[2:6])} alone, and "
            f"{', '.join(LAW_UNITS)} in any rate (a line of goods is an item, a single thing a piece)"
        )
    try:
        places = minor_units(currency)
    except ValueError:
        raise ValueError(f"rate {text!r}: unknown currency {currency!r}; it is no ISO 4217 code") from None
    measure, parts = found
    if count <= 0:
        raise ValueError(f"rate {text!r}: is per nothing; a number of units is 1 or more")
    value = Fraction(Decimal(amount)) * 10**places / (count * parts)
    if max(value.numerator, value.denominator) >= _LARGEST_PART:
        raise ValueError(f"rate {text!r}: {amount} {currency} has too many digits")
    return Term(value, measure)


def _ppm(text: str, figure: str) -> int:
    ppm = Decimal(figure) * 10_000
    if ppm != int(ppm) or ppm > LARGEST_RATE_PPM:
        raise ValueError(f"rate {text!r}: per cent have at most four decimals and are at most 10000")
    return int(ppm)


def _seasonal(text: str) -> ParsedRate:
    seasons = []
    for part in text.split("; "):
        match = _SEASON.fullmatch(part)
        if not match:
            raise ValueError(f"rate {text!r}: {part!r} is no season; write '8 % from 01-05 to 31-10; 4 % from …'")
        periods = []
        for period in match[2].split(" and "):
            start, _, end = period.partition(" to ")
            periods.append((_day_of_year(text, start), _day_of_year(text, end)))
        rate = parse_rate(match[1])
        if rate.method not in ("percent", "expression"):
            raise ValueError(f"rate {text!r}: {match[1]!r} cannot change with the season; per cent and sums can")
        seasons.append(Season(tuple(periods), rate, match[1]))
    year_of_seasons(text, tuple(seasons))
    return ParsedRate("seasonal", seasons=tuple(seasons))


def year_of_seasons(text: str, seasons: tuple[Season, ...]) -> list[int]:
    """Return for each day of a leap year its season; ValueError for a day with none or two.

    29 February has the season of 28 February where no period names it.
    """
    year = [-1] * 366
    for place, season in enumerate(seasons):
        for first, last in season.days:
            days = range(first, last + 1) if first <= last else [*range(first, 366), *range(last + 1)]
            for day in days:
                if year[day] >= 0:
                    raise ValueError(f"rate {text!r}: two seasons hold on {_day_text(day)}")
                year[day] = place
    leap = 31 + 28
    if year[leap] < 0:
        year[leap] = year[leap - 1]
    if -1 in year:
        raise ValueError(f"rate {text!r}: no season holds on {_day_text(year.index(-1))}")
    return year


def day_of_leap_year(day: date) -> int:
    """Return the place of a day in `year_of_seasons`."""
    return (date(_LEAP_YEAR, day.month, day.day) - date(_LEAP_YEAR, 1, 1)).days


def _day_of_year(text: str, written: str) -> int:
    day, _, month = written.partition("-")
    try:
        return day_of_leap_year(date(_LEAP_YEAR, int(month), int(day)))
    except ValueError:
        raise ValueError(f"rate {text!r}: {written} is no day of the year; write day-month, as in 31-01") from None


def _day_text(day: int) -> str:
    return f"{date(_LEAP_YEAR, 1, 1) + timedelta(days=day):%d-%m}"
