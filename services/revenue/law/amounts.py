"""Amounts and shares as law files write them: `150.00 EUR`, `70 %`."""

import re
from decimal import Decimal

from libs.customs.money import MoneyError, parse_minor
from services.revenue.law.rulebook import PPM

_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?) ([A-Z]{3})")


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
