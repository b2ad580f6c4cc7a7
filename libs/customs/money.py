"""Money as whole minor units with a currency: exact, checked, rounded only where a rule says how.

Rates are fractions of whole numbers (parts per million, or numerator and denominator), so no float touches an amount.
Results that do not fit an int64 raise MoneyOverflow. Columns of amounts are in `libs.customs.money_columns`.
"""

from dataclasses import dataclass
from enum import StrEnum

from libs.customs.currencies import minor_units

"""Denominator of rates in parts per million."""
MAX_MINOR = 10**12
"""Largest amount that the edge accepts, in minor units."""
INT64_MAX = 2**63 - 1


class Rounding(StrEnum):
    """How a fraction of a minor unit is rounded. Halves and directions are by absolute value, as the laws read."""

    HALF_UP = "HALF_UP"
    """To the nearest, halves away from zero."""
    HALF_EVEN = "HALF_EVEN"
    """To the nearest, halves to the even neighbour."""
    DOWN = "DOWN"
    """Towards zero."""
    UP = "UP"
    """Away from zero."""


class MoneyError(ValueError):
    """An amount cannot be what is asked of it; the message says which and why."""


class MoneyOverflow(MoneyError, OverflowError):
    """A result does not fit the 64 bits of an amount."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency. Arithmetic between currencies raises MoneyError."""

    minor: int
    """Minor units: cents for EUR, yen for JPY, fils for KWD."""
    currency: str
    """ISO 4217 code."""

    def __post_init__(self) -> None:
        minor_units(self.currency)
        _checked(self.minor)

    def __add__(self, other: "Money") -> "Money":
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.minor - self._same(other), self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.minor, self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.minor < self._same(other)

    def __le__(self, other: "Money") -> bool:
        return self.minor <= self._same(other)

    def times(self, numerator: int, denominator: int, rounding: Rounding) -> "Money":
        """Return this amount times a fraction, rounded to a whole minor unit."""
        return Money(scale(self.minor, numerator, denominator, rounding), self.currency)

    def convert(self, currency: str, numerator: int, denominator: int, rounding: Rounding) -> "Money":
        """Return this amount in another currency: one major unit of it is numerator / denominator of the other."""
        up, down = exchange_fraction(self.currency, currency, numerator, denominator)
        return Money(scale(self.minor, up, down, rounding), currency)

    def __str__(self) -> str:
        return money_text(self.minor, self.currency)

    def _same(self, other: "Money") -> int:
        if self.currency != other.currency:
            raise MoneyError(f"{self} and {other} are of two currencies: convert one of them first")
        return other.minor


def divide(numerator: int, denominator: int, rounding: Rounding) -> int:
    """Return numerator / denominator as a whole number, of any size. Raises MoneyError where the denominator is 0."""
    if denominator == 0:
        raise MoneyError(f"{numerator} cannot be divided by zero")
    quotient, rest = divmod(abs(numerator), abs(denominator))
    twice = 2 * rest - abs(denominator)
    if rounding is Rounding.HALF_UP:
        quotient += twice >= 0
    elif rounding is Rounding.HALF_EVEN:
        quotient += twice > 0 or (twice == 0 and quotient % 2 == 1)
    elif rounding is Rounding.UP:
        quotient += rest > 0
    return quotient if (numerator < 0) == (denominator < 0) else -quotient


def scale(minor: int, numerator: int, denominator: int, rounding: Rounding) -> int:
    """Return minor * numerator / denominator, rounded. Raises MoneyOverflow where it does not fit an int64."""
    return _checked(divide(minor * numerator, denominator, rounding))


def exchange_fraction(source: str, target: str, numerator: int, denominator: int) -> tuple[int, int]:
    """Return the fraction that takes minor units of `source` to minor units of `target`.

    One major unit of `source` is numerator / denominator major units of `target`. Raises ValueError on an unknown
    currency. KRW to EUR at 1/1500: 1 won is 100/1500 cents.
    """
    shift = minor_units(target) - minor_units(source)
    return (numerator * 10**shift, denominator) if shift >= 0 else (numerator, denominator * 10**-shift)


def parse_minor(text: str, currency: str) -> int:
    """Read an amount in major units ("1410.5") as minor units (141050).

    Digits with at most one point and one leading minus; no thousands separators, since they differ between countries.
    Raises MoneyError where the text is no such number, has more decimals than the currency, or is too large.
    """
    digits = minor_units(currency)
    whole, point, part = text.removeprefix("-").partition(".")
    if not (whole.isascii() and whole.isdigit()) or (point and not (part.isascii() and part.isdigit())):
        raise MoneyError(f"{text!r} is no amount: write digits with a point before the decimals, such as 12.50")
    if len(part) > digits:
        raise MoneyError(f"{text!r} has {len(part)} decimals; {currency} has {digits}")
    if len(whole) > 19:
        raise MoneyOverflow(_too_large(text, currency))
    minor = int(whole + part.ljust(digits, "0"))
    if minor > INT64_MAX:
        raise MoneyOverflow(_too_large(text, currency))
    return -minor if text.startswith("-") else minor


def _too_large(text: str, currency: str) -> str:
    return f"{text!r} does not fit an amount; the largest that does is {money_text(INT64_MAX, currency)}"


def decimal_text(minor: int, currency: str) -> str:
    """Return an amount in major units as plain text for programs: 141050 EUR -> "1410.50"."""
    digits = minor_units(currency)
    sign, figures = "-" if minor < 0 else "", str(abs(minor)).rjust(digits + 1, "0")
    return f"{sign}{figures[:-digits]}.{figures[-digits:]}" if digits else f"{sign}{figures}"


def money_text(minor: int, currency: str) -> str:
    """Return an amount as text with its currency: 141050 EUR -> "1,410.50 EUR"."""
    whole, point, part = decimal_text(minor, currency).removeprefix("-").partition(".")
    return f"{'-' if minor < 0 else ''}{int(whole):,}{point}{part} {currency}"


def _checked(minor: int) -> int:
    if abs(minor) > INT64_MAX:
        raise MoneyOverflow(f"{minor} minor units do not fit the 64 bits of an amount")
    return minor
