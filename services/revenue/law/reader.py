"""Reads a rulebook; refuses what cannot be law: gaps, overlaps, unknown units, values without reference or rounding."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol, TypeVar

from libs.customs.currencies import minor_units
from services.revenue.law.rulebook import (
    CONSIGNMENT_LEVEL,
    Charge,
    Position,
    Rulebook,
    parse_amount,
    parse_rate,
    positions,
)
from services.revenue.law.yaml_source import LawFileError, Path, Source

FOREVER = date(9999, 12, 31)


class _HasTime(Protocol):
    @property
    def start(self) -> date: ...
    @property
    def to(self) -> date | None: ...


D = TypeVar("D", bound=_HasTime)


@dataclass(frozen=True, slots=True)
class ReadRulebook:
    """A rulebook that passed all checks."""

    rulebook: Rulebook
    file: str
    version: str
    """Jurisdiction, version as written and the first 8 digits of the text's SHA-256. Example: "EU/2026.1/1f0c9a2b"."""


def last_day(entry: _HasTime) -> date:
    """Return the last day on which the entry holds; 9999-12-31 until further notice."""
    return entry.to or FOREVER


def holds(entry: _HasTime, day: date) -> bool:
    """Say whether the entry holds on the day."""
    return entry.start <= day <= last_day(entry)


def in_force(entries: Iterable[D], day: date, area: str = "", scheme: str = "") -> D | None:
    """Return the entry that holds on the day for the area and scheme; one that names them goes before the general."""
    best, best_rank = None, -1
    for entry in entries:
        areas: Sequence[str] = getattr(entry, "areas", ())
        schemes: Sequence[str] = getattr(entry, "schemes", ())
        if holds(entry, day) and (not areas or area in areas) and (not schemes or scheme in schemes):
            rank = 2 * bool(areas) + bool(schemes)
            if rank > best_rank:
                best, best_rank = entry, rank
    return best


def read_rulebook(file: str, text: str) -> ReadRulebook:
    """Read and check one rulebook; LawFileError names the file, the line and the rule that cannot be applied."""
    source = Source(file, text)
    rulebook = source.convert(Rulebook)
    _Checks(source, rulebook).run()
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return ReadRulebook(rulebook, file, f"{rulebook.jurisdiction}/{rulebook.version}/{digest}")


class _Checks:
    def __init__(self, source: Source, rulebook: Rulebook) -> None:
        self.source, self.book = source, rulebook

    def error(self, path: Path, message: str) -> LawFileError:
        return self.source.error(path, message)

    def run(self) -> None:
        book = self.book
        if not book.areas:
            raise self.error(("areas",), "names no country; a rulebook needs at least one")
        for place, area in enumerate(book.areas):
            if not re.fullmatch("[A-Z]{2}", area) or area in book.areas[:place]:
                raise self.error(("areas", place), f"{area!r} is no country's two letters, or stands twice")
        try:
            minor_units(book.currency)
        except ValueError:
            raise self.error(("currency",), f"unknown unit {book.currency!r}; it is no ISO 4217 code") from None
        self.order(("period",), book.period)
        self.reference(("law_date_reference",), book.law_date_reference)
        self.reference(("exchange", "reference"), book.exchange.reference)
        self.amount(("exchange", "unit"), book.exchange.unit, positive=True)
        for name, entries in (("customs_value", book.customs_value),):
            self.dated((name,), entries, book.period)
        for place, entry in enumerate(book.customs_value):
            if "customs_value" in entry.base:
                raise self.error(("customs_value", place, "base"), "the customs value cannot be made of itself")
        for name, limits in book.limits.items():
            self.dated(("limits", name), limits, book.period)
            for place, limit in enumerate(limits):
                if limit.amount != "none":
                    self.amount(("limits", name, place, "amount"), limit.amount)
        for scheme, rule in book.schemes.items():
            self.reference(("schemes", scheme, "reference"), rule.reference)
            try:
                re.compile(rule.number)
            except re.error as error:
                raise self.error(("schemes", scheme, "number"), f"is no regular expression: {error}") from None
        seen: set[str] = set()
        for place, charge in enumerate(book.charges):
            if charge.id in seen:
                raise self.error(("charges", place), "the id stands twice; charges are told apart by it")
            seen.add(charge.id)
            self.charge(("charges", place), charge)

    def charge(self, path: Path, charge: Charge) -> None:
        book = self.book
        self.order(path, charge)
        if charge.start < book.period.start or (charge.to and charge.to > last_day(book.period)):
            raise self.error(path, "its days lie outside the rulebook's period")
        for place, area in enumerate(charge.areas):
            if area not in book.areas:
                raise self.error((*path, "areas", place), f"{area!r} is not an area of this rulebook")
        for position in positions(charge.when):
            self.position(path, position)
        if charge.unless:
            self.reference((*path, "unless", "reference"), charge.unless.reference)
            for place, digit in enumerate(charge.unless.preference):
                if len(digit) != 1 or digit not in "0123456789":
                    raise self.error((*path, "unless", "preference", place), f"{digit!r} is not one digit")
        if charge.also_when_unless_of:
            other = next((c for c in book.charges if c.id == charge.also_when_unless_of), None)
            if other is None or other.unless is None:
                raise self.error(
                    (*path, "also_when_unless_of"), "names no charge of this rulebook that has an 'unless'"
                )
        methods = set()
        for place, rate in enumerate(charge.rates):
            try:
                methods.add(parse_rate(rate.rate).method)
            except ValueError as error:
                raise self.error((*path, "rates", place, "rate"), str(error)) from None
        if len({method in CONSIGNMENT_LEVEL for method in methods}) > 1:
            raise self.error(
                (*path, "rates"), "mixes rates per consignment with rates per item; make two charges of it"
            )
        if methods & {"percent", "tariff"} and not charge.base:
            raise self.error(path, "has no 'base'; a percentage needs to say of what")
        if methods & {"percent", "tariff", "kilogram"} and not charge.rounding:
            raise self.error(path, "has no 'rounding'; a computed amount needs a rule with its reference")
        if "tariff" in methods and not charge.tariff:
            raise self.error(path, "has the rate 'tariff' and names no 'tariff'")
        if "tariff_line" in methods and charge.tariff_line is None:
            raise self.error(
                path, "is levied per tariff_line and has no 'tariff_line' that says how lines are told apart"
            )
        if charge.tariff_line:
            self.reference((*path, "tariff_line", "reference"), charge.tariff_line.reference)
        areas = charge.areas or book.areas
        self.dated((*path, "rates"), charge.rates, charge, areas)
        schemes = sorted({entry.scheme for entry in charge.collection} | {"none"})
        if charge.rounding:
            self.dated((*path, "rounding"), charge.rounding, charge, areas, schemes)
        for place, rule in enumerate(charge.rounding):
            self.amount((*path, "rounding", place, "unit"), rule.unit, positive=True)
            if rule.base_unit:
                self.amount((*path, "rounding", place, "base_unit"), rule.base_unit, positive=True)
        self.dated((*path, "minimum"), charge.minimum, None, areas)
        for place, minimum in enumerate(charge.minimum):
            self.amount((*path, "minimum", place, "amount"), minimum.amount)
        self.collection(path, charge)

    def collection(self, path: Path, charge: Charge) -> None:
        for place, entry in enumerate(charge.collection):
            here = (*path, "collection", place)
            self.position(here, entry.when)
            if entry.scheme != "none" and entry.scheme not in self.book.schemes:
                raise self.error((*here, "scheme"), f"{entry.scheme!r} is not described under 'schemes'")
        for scheme in {entry.scheme for entry in charge.collection}:
            of_scheme = [entry for entry in charge.collection if entry.scheme == scheme]
            paths = [place for place, entry in enumerate(charge.collection) if entry.scheme == scheme]
            self.dated((*path, "collection"), of_scheme, None, places=paths)
        plain = [entry for entry in charge.collection if entry.scheme == "none" and entry.when is None]
        if not plain:
            raise self.error(
                (*path, "collection"), "has no entry with the scheme 'none'; that is where all else falls back"
            )
        self.covered((*path, "collection"), plain, charge, ("",), ("",))

    def position(self, path: Path, position: Position | None) -> None:
        if position and position.limit not in self.book.limits:
            raise self.error((*path, "when", "limit"), f"{position.limit!r} is not one of the rulebook's limits")

    def reference(self, path: Path, reference: str) -> None:
        if reference not in self.book.references:
            raise self.error(path, f"{reference!r} is not described under 'references'")

    def amount(self, path: Path, text: str, *, positive: bool = False) -> None:
        try:
            minor, currency = parse_amount(text)
        except ValueError as error:
            raise self.error(path, str(error)) from None
        if currency != self.book.currency:
            raise self.error(path, f"{text!r} is not in {self.book.currency}, the rulebook's currency")
        if positive and minor <= 0:
            raise self.error(path, f"{text!r} must be more than nothing")

    def order(self, path: Path, entry: _HasTime) -> None:
        if last_day(entry) < entry.start:
            raise self.error(path, f"ends on {entry.to} before it begins on {entry.start}")

    def dated(
        self,
        path: Path,
        entries: Sequence[D],
        span: _HasTime | None,
        areas: Sequence[str] = ("",),
        schemes: Sequence[str] = ("",),
        places: Sequence[int] | None = None,
    ) -> None:
        where = places or range(len(entries))
        for place, entry in zip(where, entries, strict=True):
            self.order((*path, place), entry)
            self.reference((*path, place, "reference"), getattr(entry, "reference", ""))
            for at, area in enumerate(getattr(entry, "areas", ())):
                if area not in areas:
                    raise self.error((*path, place, "areas", at), f"{area!r} is not an area of this rule")
        for later, place in zip(range(len(entries)), where, strict=True):
            for earlier in range(later):
                one, other = entries[earlier], entries[later]
                if _overlap(one, other):
                    raise self.error(
                        (*path, place),
                        f"overlaps the entry from {one.start}: on {max(one.start, other.start)} both would hold; "
                        "end one before the other begins",
                    )
        if span is not None:
            self.covered(path, entries, span, areas, schemes)

    def covered(
        self, path: Path, entries: Sequence[D], span: _HasTime, areas: Sequence[str], schemes: Sequence[str]
    ) -> None:
        days = {span.start} | {entry.start for entry in entries}
        days |= {last_day(entry) + timedelta(days=1) for entry in entries if entry.to and entry.to < FOREVER}
        for day in sorted(day for day in days if holds(span, day) and holds(self.book.period, day)):
            for area in areas:
                for scheme in schemes:
                    if in_force(entries, day, area, scheme) is None:
                        whom = f" for {area}" if area else ""
                        raise self.error(
                            path, f"has a gap: no entry holds{whom} on {day}; add one or end the rule before"
                        )


def _overlap(one: _HasTime, other: _HasTime) -> bool:
    if one.start > last_day(other) or other.start > last_day(one):
        return False
    if getattr(one, "when", None) != getattr(other, "when", None):
        return False
    for key in ("areas", "schemes"):
        mine, theirs = set(getattr(one, key, ())), set(getattr(other, key, ()))
        # A rule that names areas or schemes goes before the general one: those two may stand side by side.
        if bool(mine) != bool(theirs) or (mine and not mine & theirs):
            return False
    return True
