"""Behaviour as an assumption: how much less of an item is bought if its price with all charges rises, by an elasticity that the caller states.

The quantity after is 1 + e * (P1 - P0) / P0 of the quantity before, never less than 0: e is the own-price elasticity of demand (not positive), P0
and P1 the value of the goods with all charges before and after. It is linear, because an elasticity is measured for small changes. Quantities are
millionths, rounded half to even.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import numpy as np

from services.revenue.law.batch.arithmetic import Flags, Int64, Rounding, mul_div_round, row_totals, some, unbounded
from services.revenue.law.batch.filings import Filings

WHOLE: Final = 1_000_000
"""The quantity before, in millionths."""
ELASTICITIES_MAX: Final = 100
STRONGEST: Final = 10
_TEXT: Final = re.compile(r"-?[0-9]{1,2}(?:\.[0-9]{1,4})?")
_KEYS: Final[Mapping[str, re.Pattern[str]]] = {
    "": re.compile(""),
    "origin": re.compile("[A-Z]{2}"),
    "hs_chapter": re.compile("[0-9]{2}"),
}

Elasticity = tuple[str, str, int]
"""What it applies to ("origin", "hs_chapter" or "" for all), which of them, and its amount without the sign in millionths."""


class ElasticityMalformed(ValueError):
    """An elasticity that cannot be applied; the message says why."""


def elasticity_of(by: str, key: str, text: str) -> Elasticity:
    """Read an elasticity. Raises ElasticityMalformed.

    >>> elasticity_of("hs_chapter", "61", "-1.5")
    ('hs_chapter', '61', 1500000)
    """
    if by not in _KEYS or not _KEYS[by].fullmatch(key):
        raise ElasticityMalformed(
            f"applies to {f'{by} {key}'.strip()[:60]!r}; write an origin such as CN, a chapter such as 61, or neither for all goods"
        )
    amount = Decimal(text) if _TEXT.fullmatch(text) else Decimal(1)
    if not -STRONGEST <= amount <= 0:
        raise ElasticityMalformed(
            f"is {text[:40]!r}; write a number from -{STRONGEST} to 0 with at most 4 decimals, such as -1.2: a higher price is never bought more"
        )
    return by, key, int(-amount * WHOLE)


def item_elasticities(elasticities: Sequence[Elasticity], filings: Filings) -> Int64:
    """Return the elasticity of each item, without its sign in millionths: the first in the list that applies, 0 where none does."""
    found = np.full(filings.items, -1, np.int64)
    chapters = filings.code.translate(lambda code: code[:2])
    for by, key, amount in elasticities:
        applies = found < 0
        if by:
            applies &= (filings.origin if by == "origin" else chapters).isin((key,))
        found[applies] = amount
    return np.maximum(found, 0)


def quantities(elasticity: Int64, worth: Int64, before: Int64, after: Int64) -> Int64:
    """Return the quantity after of each item in millionths of that before.

    `worth` is the value of its goods, `before` and `after` its charges. An item without a price buys as before.
    """
    price, change = worth + before, np.abs(after - before)
    refused: Flags = np.zeros(len(worth), np.bool_)
    response = mul_div_round(change, elasticity, np.maximum(price, 1), Rounding.HALF_EVEN, 1, refused)
    result = np.where(after > before, WHOLE - response, WHOLE + response)
    # What is too large to be computed is a rise beyond any quantity.
    result[refused] = 0
    return np.where(price > 0, np.maximum(result, 0), WHOLE)


def quantities_of_rows(quantity: Int64, worth: Int64, filings: Filings) -> Int64:
    """Return the quantity of each consignment: that of its items by their value, or of each alike where they have none."""
    weight = row_totals(worth, filings.item_row, filings.rows)
    weights = np.where(weight[filings.item_row] > 0, worth, 1)
    total = row_totals(weights, filings.item_row, filings.rows)
    result = np.full(filings.rows, WHOLE, np.int64)
    there = np.flatnonzero(total)
    if not some(quantity != WHOLE):
        return result
    # A value times a quantity may not fit 64 bits: Python's integers do.
    sums = np.zeros(filings.rows, object)
    np.add.at(sums, filings.item_row, weights.astype(object) * quantity)
    refused: Flags = np.zeros(len(there), np.bool_)
    result[there] = unbounded(sums[there], total[there], Rounding.HALF_EVEN, 1, refused)
    return result
