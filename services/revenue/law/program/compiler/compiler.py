"""Compiles rulebooks, tariffs and exchange tables into the program: every regime, slot and way of collection as columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from libs.customs.time import day_of_date
from services.revenue.law.batch.arithmetic import Rounding
from services.revenue.law.program.beneficiaries import Sharing
from services.revenue.law.program.compiler.coverage import coverage_of
from services.revenue.law.program.compiler.defaults import default_references, defaults_of
from services.revenue.law.program.compiler.limits import LimitCompiler
from services.revenue.law.program.compiler.rates import rates_on
from services.revenue.law.program.compiler.slots import (
    SlotCompiler,
    check_inside,
    columns_of,
    mask_of,
    place_of,
    placed,
)
from services.revenue.law.program.conditions import ConditionTable
from services.revenue.law.program.exchange import ExchangeTables
from services.revenue.law.program.program import (
    DATES,
    DAY_BITS,
    SCHEMES,
    Outcomes,
    Program,
    ProgramError,
    Rates,
    Regimes,
    Slots,
)
from services.revenue.law.program.scheme_numbers import form_of
from services.revenue.law.source.checks import FOREVER, active_entry, applies, last_day
from services.revenue.law.source.rates import parse_amount, parse_rate
from services.revenue.law.source.reader import ReadRulebook
from services.revenue.law.source.rulebook import Charge, Collection, Reference, Rulebook
from services.revenue.law.source.tariff import Tariff


def compile_program(books: Sequence[ReadRulebook], tariffs: Iterable[Tariff], exchange: ExchangeTables) -> Program:
    """Compile rulebooks, tariffs and exchange tables; ProgramError if they do not fit together."""
    return _Compiler(books, tariffs, exchange).run()


class _Compiler:
    def __init__(self, books: Sequence[ReadRulebook], tariffs: Iterable[Tariff], exchange: ExchangeTables) -> None:
        self.books, self.exchange = list(books), exchange
        self.tariffs = {tariff.id: tariff for tariff in tariffs}
        self.conditions = ConditionTable()
        self.slots = SlotCompiler(self.tariffs, exchange, self.conditions)
        self.slots.rates.where = {
            (read.rulebook.jurisdiction, charge.id): read.where(charge.id)
            for read in self.books
            for charge in read.rulebook.charges
        }

    def run(self) -> Program:
        areas: dict[str, int] = {}
        for read in self.books:
            book = read.rulebook
            for area in book.areas:
                if area in areas:
                    raise ProgramError(f"{read.file}: area {area} belongs to another rulebook too; each has one law")
                areas[area] = len(areas)
            if book.exchange.table not in self.exchange.tables:
                raise ProgramError(f"{read.file}: exchange table {book.exchange.table!r} is not there")
            for charge in book.charges:
                if charge.tariff and charge.tariff not in self.tariffs:
                    raise ProgramError(f"{read.where(charge.id)}: tariff {charge.tariff!r} is not there")
        spans = [
            (areas[area], start, end, jurisdiction, area)
            for jurisdiction, read in enumerate(self.books)
            for area in read.rulebook.areas
            for start, end in self._spans(read.rulebook)
        ]
        active = [
            [c for c in self.books[j].rulebook.charges if applies(c, start) and (not c.areas or area in c.areas)]
            for _, start, _, j, area in spans
        ]
        slots = max((len(charges) for charges in active), default=1) or 1
        outcomes = max((len(self._collections(c, span[1])) for span, cs in zip(spans, active, strict=True) for c in cs),
                       default=1)  # fmt: skip
        limits = LimitCompiler(self.exchange, self.conditions)
        regime_rows, slot_rows, outcome_rows = [], [], []
        for (_, start, _, jurisdiction, area), charges in zip(spans, active, strict=True):
            book = self.books[jurisdiction].rulebook
            regime_rows.append(self._regime(book, jurisdiction, area, start, charges))
            limits.add(self.books[jurisdiction], start)
            for here in [*charges, *[None] * (slots - len(charges))]:
                slot_rows.append(self.slots.slot(book, area, start, here, charges))
                ways = self._collections(here, start) if here else []
                for at in range(outcomes):
                    # The border is the last outcome of every slot, whatever their number.
                    way = ways[-1] if at == outcomes - 1 and ways else ways[at] if at < len(ways) - 1 else None
                    outcome_rows.append(self.slots.outcome(book, area, start, here, way))
        check_inside(slot_rows, slots, self.slots.rates, self.slots.facts)
        self.slots.rates.expressions.close()
        compiled_limits, limit_entries = limits.limits()
        compiled_reliefs, relief_entries = limits.reliefs()
        books = [read.rulebook for read in self.books]
        self.conditions.countries.update((area, place) for place, book in enumerate(books) for area in book.areas)
        return Program(
            exchange=self.exchange,
            books=self.books,
            areas=areas,
            slots_per_regime=slots,
            outcomes_per_slot=outcomes,
            starts=np.array([area << DAY_BITS | day_of_date(start) for area, start, *_ in spans], dtype=np.int64),
            ends=np.array([day_of_date(span[2]) for span in spans], dtype=np.int64),
            regimes=columns_of(Regimes, regime_rows),
            limits=compiled_limits,
            reliefs=compiled_reliefs,
            slots=placed(columns_of(Slots, slot_rows), self.slots.rates.first_conditional),
            rates=columns_of(Rates, self.slots.rates.rows()),
            outcomes=columns_of(Outcomes, outcome_rows),
            charges=self.slots.facts,
            references=list(self.slots.rates.references),
            legal=self.slots.rates.legal | limits.legal | _of_beneficiaries(books) | default_references(books),
            sharing=Sharing(books),
            tariffs=self.slots.rates.tables,
            tariff_uses=self.slots.rates.tariff_uses(),
            rate_texts=list(self.slots.rates.texts),
            expressions=self.slots.rates.expressions,
            seasons=self.slots.rates.seasons(),
            law_date=np.array([DATES.index(read.rulebook.law_date) for read in self.books], dtype=np.int64),
            exchange_date=np.array([DATES.index(read.rulebook.exchange.date) for read in self.books], dtype=np.int64),
            schemes=[
                [form_of(SCHEMES.index(name), rule) for name, rule in read.rulebook.schemes.items()]
                for read in self.books
            ],
            book_of_area=np.array([self._book_of(area) for area in areas], dtype=np.int64),
            conditions=self.conditions,
            prefixes=limits.prefixes,
            limit_entries=limit_entries,
            relief_entries=relief_entries,
            limit_references=list(limits.references),
            coverage=coverage_of(self.books, self.conditions),
            defaults=defaults_of(books, self.conditions),
            places=[
                [
                    place_of(slot_rows, outcome_rows, at, slots, outcomes, self.slots.rates, of_book)
                    for at in range(slots)
                ]
                for of_book in _regimes_of_books(spans, len(self.books))
            ],
        )

    def _spans(self, book: Rulebook) -> list[tuple[date, date]]:
        """Cut the rulebook's time at each day on which anything of it changes."""
        entries: list[Any] = [*book.customs_value]
        for dated in (*book.limits.values(), *book.reliefs.values()):
            entries += dated
        for charge in book.charges:
            entries += [charge, *charge.rates, *charge.rounding, *charge.minimum, *charge.collection]
            if charge.tariff:
                entries += [_Span(t.start, t.to) for t in self.tariffs[charge.tariff].tables]
        days = {book.period.start}
        for entry in entries:
            days.add(entry.start)
            if last_day(entry) < FOREVER:
                days.add(last_day(entry) + timedelta(days=1))
        cuts = sorted(day for day in days if applies(book.period, day))
        ends = [day - timedelta(days=1) for day in cuts[1:]] + [last_day(book.period)]
        return list(zip(cuts, ends, strict=True))

    def _book_of(self, area: str) -> int:
        return next(place for place, read in enumerate(self.books) if area in read.rulebook.areas)

    def _collections(self, charge: Charge, day: date) -> list[Collection]:
        ways = [way for way in charge.collection if applies(way, day)]
        return sorted(ways, key=lambda way: way.scheme == "none" and way.when is None and way.condition is None)

    def _regime(self, book: Rulebook, jurisdiction: int, area: str, day: date, charges: list[Charge]) -> dict[str, Any]:
        base = active_entry(book.customs_value, day)
        assert base is not None
        taxes = (
            place
            for place, charge in enumerate(charges)
            if charge.kind == "tax" and parse_rate(rates_on(charge, day, area)[-1].rate).ppm
        )
        return {
            "jurisdiction": jurisdiction,
            "exchange_table": self.exchange.tables.index(book.exchange.table),
            "exchange_mode": Rounding[book.exchange.mode.upper()],
            "exchange_unit": parse_amount(book.exchange.unit)[0],
            "customs_base": mask_of(base.base, 0),
            "unverified": book.doubted(base, book.exchange.reference, book.law_date_reference),
            "tax_at": next(taxes, -1),
            "taxed_parts": mask_of(book.prices_with_tax.parts if book.prices_with_tax else (), 0),
        }


@dataclass(frozen=True, slots=True)
class _Span:
    start: date
    to: date | None


def _regimes_of_books(spans: list[tuple[int, date, date, int, str]], books: int) -> list[list[int]]:
    """Return for each rulebook its regimes."""
    return [[at for at, span in enumerate(spans) if span[3] == book] for book in range(books)]


def _of_beneficiaries(books: Iterable[Rulebook]) -> dict[str, Reference]:
    """Return the references that say whose revenue charges are, by id."""
    return {
        f"{book.jurisdiction}:{entry.reference}": book.references[entry.reference]
        for book in books
        for entry in book.beneficiaries
    }
