"""Compiles limits and reliefs: per regime the entries that hold, in the order of the file, as columns."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import msgspec

from services.revenue.law.program.compiler.slots import columns_of, mask_of
from services.revenue.law.program.conditions import ConditionTable, Prefixes
from services.revenue.law.program.exchange import ExchangeTables
from services.revenue.law.program.program import (
    EVERYTHING,
    EXCLUDED,
    FOREIGN,
    ITEMS,
    KNOWN,
    SUMMED,
    TABLE,
    TESTS,
    UNVERIFIED,
    Limits,
    ProgramError,
    Reliefs,
)
from services.revenue.law.source.checks import active_entry, applies
from services.revenue.law.source.rates import parse_amount
from services.revenue.law.source.reader import ReadRulebook
from services.revenue.law.source.rulebook import AGGREGATE_TESTS, Limit, Reference, Relief, Rulebook

_NO_LIMIT = dict.fromkeys(Limits.__slots__, 0) | {"currency": -1, "condition": -1, "excluded": -1, "table": -1}
_NO_RELIEF = dict.fromkeys(Reliefs.__slots__, 0) | {"currency": -1, "condition": -1, "excluded": -1, "apart": -1}


class LimitCompiler:
    """Gathers the limits and reliefs of regime after regime."""

    def __init__(self, exchange: ExchangeTables, conditions: ConditionTable) -> None:
        """Take the exchange tables for amounts and the program's table of conditions."""
        self.exchange, self.conditions = exchange, conditions
        self.prefixes: list[Prefixes] = []
        self.references: dict[str, int] = {}
        self.legal: dict[str, Reference] = {}
        self._sets: dict[tuple[str, ...], int] = {}
        self._limits: list[list[list[dict[str, Any]]]] = []
        self._reliefs: list[list[list[dict[str, Any]]]] = []

    def add(self, read: ReadRulebook, day: date) -> None:
        """Add the next regime: the law of a rulebook on a day."""
        book = read.rulebook
        self._limits.append(
            [
                [self._limit(read, name, entry, day) for entry in entries if applies(entry, day)]
                for name, entries in book.limits.items()
            ]
        )
        self._reliefs.append(
            [
                [self._relief(read, name, entry, day) for entry in entries if applies(entry, day)]
                for name, entries in book.reliefs.items()
            ]
        )

    def limits(self) -> tuple[Limits, tuple[int, ...]]:
        """Return the columns, and for each place of a limit the largest number of entries of a regime; at least one place."""
        rows, most = _laid_out(self._limits, _NO_LIMIT, least=1)
        return columns_of(Limits, rows), most

    def reliefs(self) -> tuple[Reliefs, tuple[int, ...]]:
        """Return the columns, and for each place of a relief the largest number of entries of a regime."""
        rows, most = _laid_out(self._reliefs, _NO_RELIEF, least=0)
        return columns_of(Reliefs, rows), most

    def _limit(self, read: ReadRulebook, name: str, entry: Limit, day: date) -> dict[str, Any]:
        only, book = self.conditions.number(entry.condition), read.rulebook
        verified = entry.verified and book.references[entry.reference].verified
        if entry.amount == "none":
            return _NO_LIMIT | {"exists": True, "condition": only, "uses": 0 if verified else UNVERIFIED}
        every = entry.amount == "all"
        currency = -1 if every else self._currency(read, f"limits.{name}", entry.amount)
        table = self._table(read, name, entry.exchange_table)
        uses = (
            (KNOWN, True),
            (ITEMS, entry.test == "item"),
            (SUMMED, entry.test in AGGREGATE_TESTS),
            (FOREIGN, currency >= 0),
            (EXCLUDED, bool(entry.excluded)),
            (TABLE, table >= 0),
            (UNVERIFIED, not verified),
        )
        return {
            "exists": True,
            "uses": sum(bit for bit, used in uses if used),
            "minor": EVERYTHING if every else parse_amount(entry.amount)[0],
            "currency": currency,
            "strict": entry.at_the_limit == "over",
            "test": TESTS.index(entry.test),
            "measure": self._measure(book, entry.measure, day),
            "condition": only,
            "excluded": self._excluded(entry.excluded),
            "table": table,
            "reference": self._reference(book, entry.reference),
        }

    def _relief(self, read: ReadRulebook, name: str, entry: Relief, day: date) -> dict[str, Any]:
        book, every, only = read.rulebook, entry.amount == "all", entry.condition
        return {
            "exists": True,
            "minor": EVERYTHING if every else parse_amount(entry.amount)[0],
            "currency": -1 if every else self._currency(read, f"reliefs.{name}", entry.amount),
            "measure": self._measure(book, entry.measure, day),
            "condition": self.conditions.number(only),
            "excluded": self._excluded(entry.excluded),
            "returned": only.returned is not None,
            "apart": self.conditions.number(msgspec.structs.replace(only, returned=None)),
            "unverified": not (entry.verified and book.references[entry.reference].verified),
            "reference": self._reference(book, entry.reference),
        }

    def _reference(self, book: Rulebook, name: str) -> int:
        full = f"{book.jurisdiction}:{name}"
        self.legal[full] = book.references[name]
        return self.references.setdefault(full, len(self.references))

    def _measure(self, book: Rulebook, measure: Iterable[str], day: date) -> int:
        base = active_entry(book.customs_value, day)
        assert base is not None
        return mask_of(measure, mask_of(base.base, 0))

    def _currency(self, read: ReadRulebook, where: str, amount: str) -> int:
        code = parse_amount(amount)[1]
        if code == read.rulebook.currency:
            return -1
        number = self.exchange.currency(code)
        if number < 0:
            raise ProgramError(f"{read.file}: {where}: no exchange table holds {code}")
        return number

    def _table(self, read: ReadRulebook, name: str, table: str) -> int:
        if not table:
            return -1
        if self.exchange.home.get(table) != read.rulebook.currency:
            raise ProgramError(
                f"{read.file}: limits.{name}: exchange table {table!r} is not there or does not convert into "
                f"{read.rulebook.currency}"
            )
        return self.exchange.tables.index(table)

    def _excluded(self, heads: tuple[str, ...]) -> int:
        if not heads:
            return -1
        if heads not in self._sets:
            self._sets[heads] = len(self.prefixes)
            self.prefixes.append(Prefixes(heads))
        return self._sets[heads]


def _laid_out(
    regimes: Sequence[Sequence[Sequence[dict[str, Any]]]], empty: dict[str, Any], *, least: int
) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    """Lay regimes out so that each has as many places, and each place as many entries; the rest is empty."""
    places = max((len(regime) for regime in regimes), default=0)
    most = tuple(
        max((len(regime[place]) for regime in regimes if place < len(regime)), default=0) for place in range(places)
    )
    most += (0,) * (least - len(most))
    stride = max(most, default=0)
    rows: list[dict[str, Any]] = []
    for regime in regimes:
        for place in range(len(most)):
            entries = regime[place] if place < len(regime) else ()
            rows += [*entries, *[empty] * (stride - len(entries))]
    return rows or [empty], most
