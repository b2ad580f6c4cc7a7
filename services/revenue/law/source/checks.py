"""What all checks of a rulebook need: which entry holds on a day, and the refusal of gaps, overlaps and unknown units."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Protocol, TypeVar

from libs.customs.countries import COUNTRIES, ORIGINS
from services.revenue.law.source.rates import parse_amount
from services.revenue.law.source.rulebook import (
    Charge,
    Condition,
    Limit,
    Position,
    Rulebook,
    StatutoryDefault,
    asks_of_items,
)
from services.revenue.law.source.yaml_source import Path, Source

FOREVER = date(9999, 12, 31)
YEARS_MAX, TRANSIT_DAYS_MAX = 50, 366
"""Longest term of returned goods, and longest time that they may have been on their way abroad; more is a slip of the pen."""


class _HasTime(Protocol):
    @property
    def start(self) -> date: ...
    @property
    def to(self) -> date | None: ...


D = TypeVar("D", bound=_HasTime)


def last_day(entry: _HasTime) -> date:
    """Return the last day on which the entry holds; 9999-12-31 until further notice."""
    return entry.to or FOREVER


def applies(entry: _HasTime, day: date) -> bool:
    """Return whether the entry applies on the day."""
    return entry.start <= day <= last_day(entry)


def active_entry(entries: Iterable[D], day: date, area: str = "", scheme: str = "") -> D | None:
    """Return the entry that holds on the day for the area and scheme; one that names them goes before the general.

    Entries with a condition of their own are passed over: whether they fit is asked of each consignment.
    """
    best, best_rank = None, -1
    for entry in entries:
        if getattr(entry, "condition", None) is not None:
            continue
        areas: Sequence[str] = getattr(entry, "areas", ())
        schemes: Sequence[str] = getattr(entry, "schemes", ())
        if applies(entry, day) and (not areas or area in areas) and (not schemes or scheme in schemes):
            rank = 2 * bool(areas) + bool(schemes)
            if rank > best_rank:
                best, best_rank = entry, rank
    return best


class Checks:
    """A rulebook under examination; each check adds its errors to the source, with file, line and rule."""

    def __init__(self, source: Source, rulebook: Rulebook) -> None:
        self.source, self.book = source, rulebook

    def refuse(self, path: Path, message: str) -> None:
        """Add the error of the element at the path; the checks go on behind it."""
        self.source.refuse(path, message)

    def position(self, path: Path, position: Position | None) -> None:
        """Refuse a position that names no limit of the rulebook."""
        if position and position.limit not in self.book.limits:
            self.refuse((*path, "when", "limit"), f"{position.limit!r} is not one of the rulebook's limits")

    def scheme(self, path: Path, scheme: str) -> None:
        """Refuse a scheme that the rulebook does not have; `none` is the border."""
        if scheme != "none" and scheme not in self.book.schemes:
            self.refuse(path, f"{scheme!r} is not described under 'schemes'")

    def reference(self, path: Path, reference: str) -> None:
        """Refuse a reference that is not described."""
        if reference not in self.book.references:
            self.refuse(path, f"{reference!r} is not described under 'references'")

    def amount(self, path: Path, text: str, *, positive: bool = False, foreign: bool = False) -> None:
        """Refuse what is no amount in the rulebook's currency, or, where `foreign`, in any currency."""
        try:
            minor, currency = parse_amount(text)
        except ValueError as error:
            self.refuse(path, str(error))
            return
        if currency != self.book.currency and not foreign:
            self.refuse(path, f"{text!r} is not in {self.book.currency}, the rulebook's currency")
        if positive and minor <= 0:
            self.refuse(path, f"{text!r} must be more than nothing")

    def condition(self, path: Path, condition: Condition | None, *, items: bool = True) -> None:
        """Refuse a condition that asks nothing, of unknown countries, codes or schemes, or of items where it may not."""
        if condition is None:
            return
        if condition == Condition():
            self.refuse(path, "asks nothing; leave it out or say what must be true")
        if not items and asks_of_items(condition):
            self.refuse(path, "asks of items; what is decided here is decided for the whole consignment")
        for name, known, what in (
            ("dispatch", COUNTRIES, "country"),
            ("origin", ORIGINS, "country of origin"),
            ("origin_except", ORIGINS, "country of origin"),
        ):
            for place, code in enumerate(getattr(condition, name)):
                if code not in known:
                    self.refuse((*path, name, place), f"{code!r} is no {what}; it takes the two letters of ISO 3166")
        self.codes((*path, "goods"), condition.goods)
        self.codes((*path, "goods_except"), condition.goods_except)
        for place, head in enumerate(condition.preference):
            if not re.fullmatch("[0-9]{1,3}", head):
                self.refuse((*path, "preference", place), f"{head!r} begins no preference code; it has 1 to 3 digits")
        for place, code in enumerate(condition.additional_procedure):
            if not re.fullmatch("[A-Z0-9]{3}", code):
                self.refuse(
                    (*path, "additional_procedure", place),
                    f"{code!r} is no additional procedure; it has three letters or digits",
                )
        if condition.returned is not None:
            self._returned(path, condition)
        self._regions((*path, "region"), condition.region)
        for place, scheme in enumerate(condition.scheme):
            if scheme != "none" and scheme not in self.book.schemes:
                self.refuse((*path, "scheme", place), f"{scheme!r} is not described under 'schemes'")

    def _returned(self, path: Path, condition: Condition) -> None:
        """Refuse a condition of returned goods that asks for other consignments too, or for no proof."""
        asked = condition.returned
        assert asked is not None
        if condition.nature != ("return",):
            self.refuse((*path, "returned"), "is a condition of returns alone; write nature: [return] beside it")
        if not asked.proof:
            self.refuse((*path, "returned", "proof"), "names nothing; say which MRN proves that the goods left")
        for name, most in (("within_years", YEARS_MAX), ("transit_days", TRANSIT_DAYS_MAX)):
            if not 0 <= getattr(asked, name) <= most:
                self.refuse((*path, "returned", name), f"is {getattr(asked, name)}; it is 0 to {most}")

    def _regions(self, path: Path, regions: Sequence[str]) -> None:
        """Refuse a region that is neither a name nor a code as the rulebook's other codes of regions are."""
        codes = Counter(_shape(each) for each in _regions_of(self.book) if _CODE.fullmatch(each))
        for place, region in enumerate(regions):
            if _CODE.fullmatch(region):
                if 2 * codes[_shape(region)] <= codes.total():
                    self.refuse(
                        (*path, place),
                        f"{region!r} is written otherwise than the rulebook's other codes of regions; write the part of the "
                        "ISO 3166-2 code behind the country",
                    )
            elif not re.fullmatch(r"[^\W\d_].*[^\W\d_]{2}.*", region):
                self.refuse(
                    (*path, place), f"{region!r} is no region; write the ISO 3166-2 code without the country, or a name"
                )

    def codes(self, path: Path, heads: Sequence[str]) -> None:
        """Refuse what does not begin a commodity code, and what another of the list holds already."""
        # By beginning, a code of the list that has it: a list may hold thousands.
        listed: dict[str, str] = {}
        for place, head in enumerate(heads):
            if not re.fullmatch("[0-9]{2,10}", head):
                self.refuse((*path, place), f"{head!r} begins no commodity code; it has 2 to 10 digits")
                continue
            beginnings = [head[:width] for width in range(2, len(head) + 1)]
            other = listed.get(head) or next((each for each in beginnings if listed.get(each) == each), None)
            if other is not None:
                self.refuse((*path, place), f"{head!r} and {other!r} name the same goods; keep the shorter")
            listed.update(dict.fromkeys(beginnings, head))

    def order(self, path: Path, entry: _HasTime) -> None:
        """Refuse an entry that ends before it begins."""
        if last_day(entry) < entry.start:
            self.refuse(path, f"ends on {entry.to} before it begins on {entry.start}")

    def reached(self, path: Path, entries: Sequence[Limit | StatutoryDefault], place: int) -> None:
        """Refuse an entry that an earlier one without conditions precedes on some day."""
        entry = entries[place]
        for earlier in entries[:place]:
            if earlier.condition is None and overlapping(earlier, entry):
                self.refuse(
                    path,
                    f"is never reached from {max(earlier.start, entry.start)} on: the entry from {earlier.start} "
                    "before it fits always; put the one without 'only' last",
                )
                break

    def dated(
        self,
        path: Path,
        entries: Sequence[D],
        span: _HasTime | None,
        areas: Sequence[str] = ("",),
        schemes: Sequence[str] = ("",),
        places: Sequence[int] | None = None,
    ) -> None:
        """Refuse entries of time that overlap, leave a gap in the span or name no reference."""
        where = places or range(len(entries))
        for place, entry in zip(where, entries, strict=True):
            self.order((*path, place), entry)
            self.reference((*path, place, "reference"), getattr(entry, "reference", ""))
            for at, area in enumerate(getattr(entry, "areas", ())):
                if area not in areas:
                    self.refuse((*path, place, "areas", at), f"{area!r} is not an area of this rule")
        for later, place in zip(range(len(entries)), where, strict=True):
            for earlier in range(later):
                one, other = entries[earlier], entries[later]
                if _overlap(one, other):
                    self.refuse(
                        (*path, place),
                        f"overlaps the entry from {one.start}: on {max(one.start, other.start)} both would apply; "
                        "end the first before the second begins",
                    )
                    break
        if span is not None:
            self.covered(path, entries, span, areas, schemes)

    def covered(
        self, path: Path, entries: Sequence[D], span: _HasTime, areas: Sequence[str], schemes: Sequence[str]
    ) -> None:
        """Refuse a day, area or scheme for which no entry holds."""
        days = {span.start} | {entry.start for entry in entries}
        days |= {last_day(entry) + timedelta(days=1) for entry in entries if entry.to and entry.to < FOREVER}
        for day in sorted(day for day in days if applies(span, day) and applies(self.book.period, day)):
            for area in areas:
                for scheme in schemes:
                    if active_entry(entries, day, area, scheme) is None:
                        whom = f" for {area}" if area else ""
                        some = any(applies(entry, day) and getattr(entry, "condition", None) for entry in entries)
                        which = "entry without 'only'" if some else "entry"
                        self.refuse(path, f"has a gap: no {which} holds{whom} on {day}; add one or end the rule before")
                        return


_CODE = re.compile("[A-Z0-9]{1,3}")


def _shape(code: str) -> str:
    return re.sub("[A-Z]", "A", re.sub("[0-9]", "0", code))


def _regions_of(book: Rulebook) -> set[str]:
    asked: list[Condition | None] = [limit.condition for limits in book.limits.values() for limit in limits]
    asked += [relief.condition for reliefs in book.reliefs.values() for relief in reliefs]
    asked += [entry.condition for entries in book.defaults.values() for entry in entries]
    for charge in book.charges:
        asked += conditions_of(charge)
    return {region for condition in asked if condition for region in condition.region}


def conditions_of(charge: Charge) -> list[Condition | None]:
    """Yield the conditions of a charge, of its rates and of its ways of collection."""
    return [charge.condition, *(rate.condition for rate in charge.rates), *(way.condition for way in charge.collection)]


def overlapping(one: _HasTime, other: _HasTime) -> bool:
    """Return whether both apply on some day."""
    return one.start <= last_day(other) and other.start <= last_day(one)


def _overlap(one: _HasTime, other: _HasTime) -> bool:
    if not overlapping(one, other):
        return False
    if getattr(one, "when", None) != getattr(other, "when", None):
        return False
    # Of entries with conditions the first that fits is taken, so that those may hold side by side.
    if getattr(one, "condition", None) != getattr(other, "condition", None):
        return False
    for key in ("areas", "schemes"):
        mine, theirs = set(getattr(one, key, ())), set(getattr(other, key, ()))
        # A rule that names areas or schemes goes before the general one: those two may stand side by side.
        if bool(mine) != bool(theirs) or (mine and not mine & theirs):
            return False
    return True
