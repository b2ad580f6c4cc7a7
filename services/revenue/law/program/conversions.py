"""Conversions: the rates at which money in several currencies is exchanged, for each group of consignments."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.revenue.law.batch.arithmetic import Flags, Int64
from services.revenue.law.program.exchange import Conversion
from services.revenue.law.program.program import Program


@dataclass(frozen=True, slots=True)
class Conversions:
    """How money in some currencies is converted for some groups of consignments."""

    places: dict[str, int]
    """Of each currency."""
    by_group: Conversion
    """[group of consignments, currency], in one column."""
    missing: Flags
    """Of the same, where there is no rate."""
    lacking: set[str]
    """Currencies that have no rate for one group of consignments or more."""
    exchanged: set[str]
    """Currencies that any group of consignments exchanges."""

    @staticmethod
    def find(program: Program, words: Sequence[str], regime: Int64, day: Int64, tables: Int64 | None) -> "Conversions":
        """Find the rates of groups of consignments, one element each; `tables` are asked before the rulebooks' where given."""
        exchange, regimes, day = program.exchange, program.regimes, day[:, None]
        currency = np.array([exchange.currency(word) for word in words], dtype=np.int64)
        rate = exchange.find(regimes.exchange_table[regime][:, None], currency, day)
        if tables is not None:
            other = exchange.find(tables[:, None], currency, day)
            rate = np.where(other >= 0, other, rate)
        mode, unit = (column[regime].repeat(len(words)) for column in (regimes.exchange_mode, regimes.exchange_unit))
        by_group = exchange.conversion(rate.ravel(), mode, unit)
        missing: Flags = rate < 0
        return Conversions(
            places={word: place for place, word in enumerate(words)},
            by_group=by_group,
            missing=missing.ravel(),
            lacking=_named(words, missing),
            exchanged=_named(words, by_group.exchanged.reshape(rate.shape)),
        )


def _named(words: Sequence[str], flags: Flags) -> set[str]:
    """Return the currencies that are marked for any group of consignments, of [group, currency]."""
    marked = np.logical_or.reduce(flags, axis=0).tolist()
    return {word for word, is_marked in zip(words, marked, strict=True) if is_marked}
