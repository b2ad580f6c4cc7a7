"""Compiles rulebooks, tariffs and exchange tables into the program: every regime, slot and way of collection as columns."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from libs.customs.time import day_of_date
from services.revenue.law import rulebook as law
from services.revenue.law.arithmetic import Flags, Rounding
from services.revenue.law.exchange import Exchange
from services.revenue.law.program import (
    COLLECTORS,
    DATES,
    DAY_BITS,
    DEBTORS,
    KINDS,
    SCHEMES,
    ChargeFacts,
    Outcomes,
    Place,
    Program,
    ProgramError,
    Regimes,
    Slots,
)
from services.revenue.law.reader import FOREVER, ReadRulebook, holds, in_force, last_day
from services.revenue.law.rulebook import (
    COMPONENTS,
    CONSIGNMENT_LEVEL,
    METHODS,
    Charge,
    Collection,
    Rulebook,
    parse_amount,
    parse_rate,
    positions,
)
from services.revenue.law.tariff import RateTable, Tariff


def compile_program(books: Sequence[ReadRulebook], tariffs: Iterable[Tariff], exchange: Exchange) -> Program:
    """Make the program of rulebooks, tariffs and exchange tables; ProgramError where they do not fit together."""
    return _Compiler(books, tariffs, exchange).run()


class _Compiler:
    def __init__(self, books: Sequence[ReadRulebook], tariffs: Iterable[Tariff], exchange: Exchange) -> None:
        self.books, self.exchange = list(books), exchange
        self.tariffs = {tariff.id: tariff for tariff in tariffs}
        self.tables: list[RateTable] = []
        self.references: dict[str, int] = {}
        self.charges: dict[str, int] = {}
        self.facts: list[ChargeFacts] = []

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
                    raise ProgramError(f"{read.file}: charges[{charge.id}]: tariff {charge.tariff!r} is not there")
        spans = [
            (areas[area], start, end, jurisdiction, area)
            for jurisdiction, read in enumerate(self.books)
            for area in read.rulebook.areas
            for start, end in self._spans(read.rulebook)
        ]
        active = [
            [c for c in self.books[j].rulebook.charges if holds(c, start) and (not c.areas or area in c.areas)]
            for _, start, _, j, area in spans
        ]
        slots = max((len(charges) for charges in active), default=1) or 1
        outcomes = max((len(self._collections(c, span[1])) for span, cs in zip(spans, active, strict=True) for c in cs),
                       default=1)  # fmt: skip
        limits = max((len(read.rulebook.limits) for read in self.books), default=1) or 1
        regime_rows, slot_rows, outcome_rows = [], [], []
        bases = 0
        for (_, start, _, jurisdiction, area), charges in zip(spans, active, strict=True):
            book = self.books[jurisdiction].rulebook
            regime_rows.append(self._regime(book, jurisdiction, area, start, limits, charges))
            for here in [*charges, *[None] * (slots - len(charges))]:
                slot_rows.append(self._slot(book, area, start, here))
                bases |= slot_rows[-1]["base"]
                ways = self._collections(here, start) if here else []
                for at in range(outcomes):
                    # The border is the last outcome of every slot, whatever their number.
                    way = ways[-1] if at == outcomes - 1 and ways else ways[at] if at < len(ways) - 1 else None
                    outcome_rows.append(self._outcome(book, area, start, here, way))
        return Program(
            exchange=self.exchange,
            books=self.books,
            areas=areas,
            slots_per_regime=slots,
            outcomes_per_slot=outcomes,
            starts=np.array([area << DAY_BITS | day_of_date(start) for area, start, *_ in spans], dtype=np.int64),
            ends=np.array([day_of_date(span[2]) for span in spans], dtype=np.int64),
            regimes=_columns(Regimes, regime_rows),
            slots=_columns(Slots, slot_rows),
            outcomes=_columns(Outcomes, outcome_rows),
            charges=self.facts,
            references=list(self.references),
            tariffs=self.tables,
            law_date=np.array([DATES.index(read.rulebook.law_date) for read in self.books], dtype=np.int64),
            exchange_date=np.array([DATES.index(read.rulebook.exchange.date) for read in self.books], dtype=np.int64),
            schemes=[
                [(SCHEMES.index(name), re.compile(rule.number)) for name, rule in read.rulebook.schemes.items()]
                for read in self.books
            ],
            bases_used=bases,
            book_of_area=np.array([self._book_of(area) for area in areas], dtype=np.int64),
            places=[_place(slot_rows[at::slots], outcome_rows, at, slots, outcomes) for at in range(slots)],
        )

    def _spans(self, book: Rulebook) -> list[tuple[date, date]]:
        """Cut the rulebook's time at each day on which anything of it changes."""
        entries: list[Any] = [*book.customs_value, *(limit for limits in book.limits.values() for limit in limits)]
        for charge in book.charges:
            entries += [charge, *charge.rates, *charge.rounding, *charge.minimum, *charge.collection]
            if charge.tariff:
                entries += [_Span(t.start, t.to) for t in self.tariffs[charge.tariff].tables]
        days = {book.period.start}
        for entry in entries:
            days.add(entry.start)
            if last_day(entry) < FOREVER:
                days.add(last_day(entry) + timedelta(days=1))
        cuts = sorted(day for day in days if holds(book.period, day))
        ends = [day - timedelta(days=1) for day in cuts[1:]] + [last_day(book.period)]
        return list(zip(cuts, ends, strict=True))

    def _book_of(self, area: str) -> int:
        return next(place for place, read in enumerate(self.books) if area in read.rulebook.areas)

    def _collections(self, charge: Charge, day: date) -> list[Collection]:
        ways = [way for way in charge.collection if holds(way, day)]
        return sorted(ways, key=lambda way: way.scheme == "none" and way.when is None)

    def _reference(self, book: Rulebook, name: str) -> int:
        return self.references.setdefault(f"{book.jurisdiction}:{name}", len(self.references))

    def _regime(
        self, book: Rulebook, jurisdiction: int, area: str, day: date, limits: int, charges: list[Charge]
    ) -> dict[str, Any]:
        base = in_force(book.customs_value, day)
        assert base is not None
        tax_ppm = 0
        for charge in charges:
            rate = in_force(charge.rates, day, area) if charge.kind == "tax" else None
            if rate and not tax_ppm:
                tax_ppm = parse_rate(rate.rate).ppm
        found = [in_force(values, day) for values in book.limits.values()]
        there = [limit is not None and limit.amount != "none" for limit in found]
        fill = limits - len(found)
        return {
            "jurisdiction": jurisdiction,
            "exchange_table": self.exchange.tables.index(book.exchange.table),
            "exchange_mode": Rounding[book.exchange.mode.upper()],
            "exchange_unit": parse_amount(book.exchange.unit)[0],
            "customs_base": _mask(base.base, 0),
            "tax_ppm": tax_ppm,
            "limit_there": there + [False] * fill,
            "limit_minor": [parse_amount(v.amount)[0] if t and v else 0 for v, t in zip(found, there, strict=True)]
            + [0] * fill,
            "limit_strict": [bool(v and v.at_the_limit == "over") for v in found] + [False] * fill,
            "limit_per_item": [bool(v and v.test == "item") for v in found] + [False] * fill,
            "limit_measure": [_mask(v.measure, _mask(base.base, 0)) if v else 0 for v in found] + [0] * fill,
        }

    def _slot(self, book: Rulebook, area: str, day: date, charge: Charge | None) -> dict[str, Any]:
        if charge is None:
            return dict.fromkeys(Slots.__slots__, 0) | {"line_digits": [0] * len(SCHEMES), "limit": -1, "currency": -1}
        base = in_force(book.customs_value, day)
        written = in_force(charge.rates, day, area)
        assert base is not None
        assert written is not None
        rate = parse_rate(written.rate)
        minimum = in_force(charge.minimum, day, area)
        other = book.charge(charge.also_when_unless_of) if charge.also_when_unless_of else None
        also = other.unless if other and holds(other, day) else None
        currency = -1
        if rate.currency and rate.currency != book.currency:
            currency = self.exchange.currency(rate.currency)
            if currency < 0:
                raise ProgramError(
                    f"{book.jurisdiction}: charges[{charge.id}]: no exchange table holds {rate.currency}"
                )
        tariff = -1
        reference, verified = written.reference, written.verified
        if rate.method == "tariff":
            table = self.tariffs[charge.tariff].on(day)
            if table is None:
                raise ProgramError(f"{book.jurisdiction}: charges[{charge.id}]: {charge.tariff} has no rates on {day}")
            if table not in self.tables:
                self.tables.append(table)
            tariff, verified = self.tables.index(table), verified and table.verified
        line = charge.tariff_line
        name = f"{book.jurisdiction}.{charge.id}"
        if name not in self.charges:
            self.charges[name] = len(self.facts)
            self.facts.append(ChargeFacts(name, charge.name, book.jurisdiction))
        when = next(iter(positions(charge.when)), None)
        return {
            "there": True,
            "charge": self.charges[name],
            "kind": KINDS.index(charge.kind),
            "method": METHODS.index(rate.method),
            "ppm": rate.ppm,
            "minor": rate.minor,
            "currency": currency,
            "base": _mask(charge.base, _mask(base.base, 0)),
            "limit": list(book.limits).index(when.limit) if when else -1,
            "over": bool(when and when.position == "over"),
            "unless_digits": _digits(charge.unless),
            "unless_without": SCHEMES.index(charge.unless.without_scheme) if charge.unless else 0,
            "also_digits": _digits(also),
            "also_without": SCHEMES.index(also.without_scheme) if also else 0,
            "tariff": tariff,
            "line_digits": [line.digits_under.get(scheme, line.digits) if line else 0 for scheme in SCHEMES],
            "mass_unit": charge.mass_unit_grams * 1000,
            "minimum": parse_amount(minimum.amount)[0] if minimum else 0,
            "minimum_above": bool(minimum and minimum.collected == "above"),
            "reference": self._reference(book, reference),
            "unverified": not (verified and book.references[reference].verified),
        }

    def _outcome(
        self, book: Rulebook, area: str, day: date, charge: Charge | None, way: Collection | None
    ) -> dict[str, Any]:
        if charge is None or way is None:
            return dict.fromkeys(Outcomes.__slots__, 0) | {"limit": -1, "unit": 1, "base_unit": 1}
        rounding = in_force(charge.rounding, day, area, way.scheme)
        return {
            "there": True,
            "scheme": SCHEMES.index(way.scheme),
            "limit": list(book.limits).index(way.when.limit) if way.when else -1,
            "over": bool(way.when and way.when.position == "over"),
            "collector": COLLECTORS.index(way.collector),
            "debtor": DEBTORS.index(way.debtor),
            "mode": Rounding[rounding.mode.upper()] if rounding else Rounding.DOWN,
            "unit": parse_amount(rounding.unit)[0] if rounding else 1,
            "base_unit": parse_amount(rounding.base_unit)[0] if rounding and rounding.base_unit else 1,
            "reference": self._reference(book, way.reference),
            "rounding_reference": self._reference(book, rounding.reference) if rounding else -1,
        }


def _place(
    slots: list[dict[str, Any]], outcomes: list[dict[str, Any]], at: int, slots_per_regime: int, ways: int
) -> Place:
    there = [slot for slot in slots if slot["there"]]
    methods = {METHODS[slot["method"]] for slot in there}
    return Place(
        on_rows=bool(methods & CONSIGNMENT_LEVEL),
        on_items=bool(methods - CONSIGNMENT_LEVEL),
        tariff_line="tariff_line" in methods,
        tariff="tariff" in methods,
        specific=bool(methods - {"percent", "tariff"}),
        foreign=any(slot["currency"] >= 0 for slot in there),
        minimum=any(slot["minimum"] for slot in there),
        preference=any(slot["unless_digits"] or slot["also_digits"] for slot in there),
        ways=tuple(
            way
            for way in range(ways - 1)
            if any(outcome["there"] for outcome in outcomes[at * ways + way :: slots_per_regime * ways])
        ),
    )


@dataclass(frozen=True, slots=True)
class _Span:
    start: date
    to: date | None


def _mask(base: Iterable[str], customs_value: int) -> int:
    mask = 0
    for part in base:
        mask |= customs_value if part == "customs_value" else 1 << COMPONENTS.index(part)
    return mask


def _digits(unless: law.Unless | None) -> int:
    return sum(1 << int(digit) for digit in unless.preference) if unless else 0


def _columns(kind: type[Any], rows: list[dict[str, Any]]) -> Any:
    columns = {}
    for name in kind.__slots__:
        flags = "Flags" in str(kind.__annotations__[name]) or kind.__annotations__[name] is Flags
        columns[name] = np.array([row[name] for row in rows], dtype=np.bool_ if flags else np.int64)
    return kind(**columns)
