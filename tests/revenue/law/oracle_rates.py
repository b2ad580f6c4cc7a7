"""Rates, amounts and days in plain words: what the law's texts say, read without the program's own grammar."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from functools import cache
from typing import Any

import msgspec

from libs.customs.currencies import minor_units
from services.revenue.law.source import rulebook, tariff

CLAUSES = {
    name
    for module in (rulebook, tariff)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, msgspec.Struct)
    for name in each.__struct_fields__
}
"""The clauses that entries of rulebooks and tariffs may have."""

ONCE = ("tariff_line", "item", "consignment", "kilogram")
"""What an amount may be per by a word of its own."""
MASS, LITRE = 1_000_000, 1_000_000
UNITS = {
    "kg": ("net mass", MASS), "kilogram": ("net mass", MASS), "tonne": ("net mass", 1000 * MASS),
    "kg gross": ("gross mass", MASS), "piece": ("pieces", 1000), "pieces": ("pieces", 1000), "items": ("pieces", 1000),
    "pair": ("pairs", 1000), "pairs": ("pairs", 1000), "litre": ("volume", LITRE), "hl": ("volume", 100 * LITRE),
    "m3": ("volume", 1000 * LITRE), "% vol per hl": ("alcohol", LITRE), "litre of pure alcohol": ("alcohol", LITRE),
    "m": ("length", 1_000_000), "m2": ("area", 1000), "kg drained": ("drained", MASS), "kg dry matter": ("dry matter", MASS),
    "kg lactic matter": ("lactic matter", MASS), "kg dry lactic matter": ("dry lactic matter", MASS),
    "kg standard quality": ("standard quality", MASS), "% sucrose per 100 kg": ("sucrose", MASS),
    "kg total alcohol": ("total alcohol", MASS),
}  # fmt: skip
"""What is measured, and its smallest parts in one unit: milligrams, thousandths of pieces, microlitres."""


@dataclass(frozen=True)
class Total:
    """A percentage of the base and amounts per smallest part of what is measured."""

    percent: Fraction = Fraction(0)
    per: tuple[tuple[Fraction, str], ...] = ()


@dataclass(frozen=True)
class Plain:
    """What a rate says; amounts in minor units of its currency."""

    method: str
    ppm: int = 0
    minor: int = 0
    currency: str = ""
    whole: Total = field(default_factory=Total)
    least: Total | None = None
    most: Total | None = None
    seasons: tuple[tuple[str, tuple[tuple[tuple[int, int], tuple[int, int]], ...]], ...] = ()
    """Rate and its periods, first and last month and day."""


@cache
def read_rate(text: str) -> Plain:
    """Read a rate that loads."""
    if text == "tariff":
        return Plain("tariff")
    if " from " in text:
        return Plain("seasonal", seasons=tuple(_season(part) for part in text.split("; ")))
    words = text.split(" ")
    if len(words) == 4 and words[2] == "per" and words[3] in ONCE:
        minor, currency = read_amount(" ".join(words[:2]))
        return Plain(words[3], minor=minor, currency=currency)
    rest, _, most = text.partition(" max ")
    plain, _, least = rest.partition(" min ")
    currency = next((word for word in words if len(word) == 3 and word.isupper()), "")
    whole = _total(plain)
    if not (whole.per or least or most):
        return Plain("percent", ppm=int(whole.percent * 1_000_000), whole=whole)
    return Plain(
        "sum", 0, 0, currency, whole, _total(least) if least else None, _total(most) if most else None
    )  # fmt: skip


def _total(text: str) -> Total:
    percent, per = Fraction(0), []
    for part in text.split(" + "):
        if part in ("free", "suspended"):
            continue
        if part.endswith("%") and " per " not in part:
            percent += Fraction(part.rstrip("% ")) / 100
            continue
        amount, _, unit = part.partition(" per ")
        count = 1
        if unit[0].isdigit():
            told, _, unit = unit.partition(" ")
            count = int(told.replace(",", ""))
        figure, currency = amount.split(" ")
        what, parts = UNITS[unit]
        per.append((Fraction(figure) * 10 ** minor_units(currency) / (count * parts), what))
    return Total(percent, tuple(per))


def _season(text: str) -> tuple[str, tuple[tuple[tuple[int, int], tuple[int, int]], ...]]:
    rate, _, when = text.partition(" from ")
    periods = []
    for period in when.split(" and "):
        first, last = ((int(day[3:]), int(day[:2])) for day in period.split(" to "))
        periods.append((first, last))
    return rate, tuple(periods)


def in_season(rate: Plain, day: date) -> str:
    """Give the text of the rate of the season; 29 February has that of the day before where no period names it."""
    for today in ((day.month, day.day), (2, 28)):
        for text, periods in rate.seasons:
            if any(a <= today <= b if a <= b else today >= a or today <= b for a, b in periods):
                return text
    raise AssertionError(f"no season on {day}")


@cache
def read_amount(text: str) -> tuple[int, str]:
    """Read an amount such as `150.00 EUR`: minor units and currency."""
    figure, currency = text.split(" ")
    return int(Fraction(figure) * 10 ** minor_units(currency)), currency


@cache
def read_quoted(text: str) -> Fraction:
    """What one minor unit of a currency is worth in a table's own, of a sentence such as `1 EUR = 1.0834 USD`."""
    if "=" not in text:
        return Fraction(1)
    home, _, other = text.removeprefix("1 ").partition(" = ")
    figure, currency = other.split(" ")
    return Fraction(10) ** (minor_units(home) - minor_units(currency)) / Fraction(figure)


def claims(claimed: str, code: str) -> bool:
    """Whether a claimed preference is one of the law: digits are the beginning of one, letters the whole."""
    return claimed.startswith(code) if claimed.isdigit() else claimed == code


def held(entry: Any, day: date) -> bool:
    """Whether an entry with a first and perhaps a last day holds, both included."""
    return bool(entry.start <= day and (entry.to is None or day <= entry.to))


def clause(entry: Any, name: str, absent: Any) -> Any:
    """A clause of an entry, or `absent` where entries of its class have none; no class may have it under another name."""
    assert name in CLAUSES, name
    return getattr(entry, name, absent)


def the_one(entries: Iterable[Any], day: date, area: str = "", scheme: str = "") -> Any:
    """The entry that holds: of the area and scheme before of the area, before of the scheme, before any; None for none.

    One with a condition is passed over.
    """
    fitting = [
        entry
        for entry in entries
        if held(entry, day)
        and clause(entry, "condition", None) is None
        and area in (clause(entry, "areas", ()) or (area,))
        and scheme in (clause(entry, "schemes", ()) or (scheme,))
    ]
    return max(fitting, key=lambda e: (bool(getattr(e, "areas", ())), bool(getattr(e, "schemes", ()))), default=None)


def of_returns(entries: Collection[rulebook.Relief]) -> bool:
    """Whether a relief is of returned goods, which are charged and not levied."""
    return any(entry.condition.returned is not None for entry in entries)
