"""Conditions, limits and reliefs in plain numbers: what one consignment and each of its items fit, keep and are relieved of."""

import re
from calendar import isleap
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from math import ceil, floor

import msgspec

from libs.customs.identifiers import mrn
from services.revenue.law.source.rulebook import Condition, Limit, Relief, Returned, Rulebook, SchemeRule
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law.oracle_rates import held, of_returns, read_amount

MEMBERS = (
    "040 056 100 191 196 203 208 233 246 250 276 300 348 372 380 428 440 442 470 528 616 620 642 703 705 724 752 900"
)
_PIECES = {"H87": 1, "C62": 1, "EA": 1, "PCE": 1, "NAR": 1, "NMB": 1, "DZN": 12, "CEN": 100, "MIL": 1000}
"""Units that count pieces."""
Rate = Callable[[str, str], Fraction]
"""What one minor unit of a currency is worth, by a table ("" = the rulebook's)."""

ServiceSpan = Callable[[tuple[str, ...], str], tuple[list[int | None], int | None]]
"""What each item and the whole count by a measure where they are told in a currency; None where they are not."""


@dataclass
class Judged:
    """What a consignment stands for before the charges."""

    within: dict[str, list[bool]] = field(default_factory=dict)
    """Per limit, whether each item keeps it."""
    relieved: dict[str, list[bool]] = field(default_factory=dict)
    measured: dict[str, int] = field(default_factory=dict)
    """Per limit that sums several consignments, what this one adds."""
    notes: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set, compare=False)
    """Limits of which an amount is in force."""
    doubted: bool = field(default=False, compare=False)
    """Whether an amount that was compared with is not verified."""


def proof_of(asked: Returned, filed: Consignment, home: Collection[str]) -> str:
    """What the first MRN proves of a return to these countries: none, ended, unknown or within."""
    text, today = filed.first_mrn, filed.accepted
    if not mrn.is_valid(text):
        return "none"
    country, letter, year = text[2:4], text[16], 2000 + int(text[:2])
    first, last = date(year, 1, 1), date(year, 12, 31)
    if letter in "RS":
        if "arrival" not in asked.proof or country in home or country != filed.dispatch:
            return "none"
        # The form of Luxor's numbers: partition 00 to 63, day of the year.
        if text[4:9].isdigit() and int(text[4:6]) < 64 and 1 <= int(text[6:9]) <= last.timetuple().tm_yday:
            first = last = first + timedelta(int(text[6:9]) - 1)
        accepted = first
        first, last = first - timedelta(asked.transit_days), last + timedelta(asked.transit_days)
    elif letter in "AB" and "export" in asked.proof and country in home:
        accepted = first
    else:
        return "none"
    # A declaration that was accepted later than the return says nothing of it, however short the transit may have been.
    if accepted > today:
        return "none"
    if not asked.within_years or today <= same_date(first, asked.within_years):
        return "within"
    return "unknown" if today <= same_date(last, asked.within_years) else "ended"


def same_date(day: date, years: int) -> date:
    """The same date so many years later; the 28th for a 29th of February that is not there."""
    leap = day.month == 2 and day.day == 29 and not isleap(day.year + years)
    return day.replace(year=day.year + years, day=28 if leap else day.day)


def fits_consignment(
    asked: Condition, filed: Consignment, states: Mapping[str, str], home: Collection[str], *, nature: bool = True
) -> bool:
    dispatch = filed.direct_shipment_place[:2] or filed.dispatch
    usable = {scheme for scheme, state in states.items() if state == "usable"}
    return all(
        (
            not asked.dispatch or dispatch in asked.dispatch,
            not asked.mode or filed.mode in asked.mode,
            not asked.service or filed.service in asked.service,
            not asked.declarant_role or filed.declarant_role in asked.declarant_role,
            not (asked.nature and nature) or filed.nature in asked.nature,
            not asked.consignor or filed.consignor == asked.consignor,
            not asked.consignee or filed.consignee == asked.consignee,
            not asked.region or plain_region(filed.region) in [plain_region(each) for each in asked.region],
            not asked.articles or (asked.articles == "several") == (articles_of(filed) > 1),
            asked.returned is None or proof_of(asked.returned, filed, home) == "within",
            not asked.scheme or bool(usable & set(asked.scheme)) or ("none" in asked.scheme and not usable),
        )
    )


def articles_of(filed: Consignment) -> int:
    """How many articles a consignment holds: of a line its pieces where it tells them, else one."""
    return sum(max(1, ceil(_pieces(item))) for item in filed.items)


def _pieces(item: Item) -> Fraction:
    if item.supplementary_unit in _PIECES and item.supplementary_milli:
        return Fraction(item.supplementary_milli * _PIECES[item.supplementary_unit], 1000)
    if item.unit in ("", *_PIECES) and item.quantity_milli:
        return Fraction(item.quantity_milli * _PIECES.get(item.unit, 1), 1000)
    return Fraction(1)


def plain_region(told: str) -> str:
    words = " ".join(told.split()).lower()
    country, _, code = words.partition("-")
    return code.strip() if len(country.strip()) == 2 and 1 <= len(code.strip()) <= 3 else words


def fits_item(
    asked: Condition, filed: Consignment, item: Item, states: Mapping[str, str], home: Collection[str]
) -> bool:
    whole = fits_consignment(asked, filed, states, home)
    if not whole and item.gift and "gift" in asked.nature:
        whole = fits_consignment(asked, filed, states, home, nature=False)
    return whole and all(
        (
            not asked.origin or item.origin in asked.origin,
            item.origin not in asked.origin_except,
            not asked.goods or item.code.startswith(asked.goods),
            not (asked.goods_except and item.code.startswith(asked.goods_except)),
            not asked.preference or item.preference.startswith(asked.preference),
            not asked.additional_procedure
            or bool({*filed.procedures, *item.procedures} & {*asked.additional_procedure}),
        )
    )


def state_of(rule: SchemeRule, numbers: list[str], registered: Mapping[str, tuple[date, date]], day: date) -> str:
    """How a consignment stands with a scheme: the best of what its numbers give."""
    order = ["absent", "missing", "malformed", "unknown", "expired", "usable"]
    return max((_state(rule, number, registered, day) for number in numbers), key=order.index, default="absent")


def _state(rule: SchemeRule, number: str, registered: Mapping[str, tuple[date, date]], day: date) -> str:
    if not number:
        return "missing"
    if re.fullmatch(rule.number, number) is None:
        return "malformed"
    plain = number.split("-")[0] if number.startswith("IM") else number
    if rule.check == "eu_oss" and not (re.fullmatch(r"IM\d{10}", plain) and plain[2:5] in MEMBERS.split()):
        return "malformed"
    if not rule.registered or not registered:
        return "usable"
    if plain not in registered:
        return "unknown"
    first, last = registered[plain]
    return "usable" if first <= day <= last else "expired"


class Judge:
    """Judges one consignment by the limits and reliefs of a rulebook on a day."""

    def __init__(
        self, book: Rulebook, day: date, filed: Consignment, states: Mapping[str, str], rate: Rate, told: ServiceSpan
    ) -> None:
        self.book, self.day, self.filed, self.states, self.rate, self.told = book, day, filed, states, rate, told
        self.judged = Judged()

    def limits(
        self, measure: Callable[[tuple[str, ...], str], list[int]], others: Mapping[str, int], unnamed: frozenset[str]
    ) -> None:
        """Test all limits; `measure` gives what each item counts by a measure and a table of exchange rates."""
        for name, entries in self.book.limits.items():
            limit = next((e for e in entries if held(e, self.day) and self._fits(e.condition)), None)
            if limit:
                self._doubt(limit)
            if limit and limit.amount != "none":
                self.judged.known.add(name)
            self.judged.within[name] = (
                self._within(name, limit, measure, others, unnamed)
                if limit and limit.amount != "none"
                else [False] * len(self.filed.items)
            )

    def _fits(self, only: Condition | None) -> bool:
        return only is None or fits_consignment(only, self.filed, self.states, self.book.areas)

    def _within(
        self,
        name: str,
        limit: Limit,
        measure: Callable[[tuple[str, ...], str], list[int]],
        others: Mapping[str, int],
        unnamed: frozenset[str],
    ) -> list[bool]:
        written = f"{10**16} {self.book.currency}" if limit.amount == "all" else limit.amount
        most = self._amount(written, limit.exchange_table)
        each = measure(limit.measure, limit.exchange_table)
        excluded = [bool(limit.excluded) and item.code.startswith(limit.excluded) for item in self.filed.items]
        if any(excluded):
            self.judged.notes.add("EXCLUDED_GOODS")

        strict = limit.at_the_limit == "over"

        def keeps(amount: int) -> bool:
            return amount < most if strict else amount <= most

        def as_told(amount: int, told: int | None) -> int:
            """An amount told in the limit's own currency is on that side of it on which it is there."""
            if told is None:
                return amount
            highest = ceil(most) - 1 if strict else floor(most)
            minor = read_amount(written)[0]
            return min(amount, highest) if (told < minor if strict else told <= minor) else max(amount, highest + 1)

        currency = read_amount(written)[1]
        items, told = self.told(limit.measure, currency if currency != self.book.currency else "")
        if limit.test == "item":
            each = [as_told(amount, one) for amount, one in zip(each, items, strict=True)]
            return [keeps(amount) and not never for amount, never in zip(each, excluded, strict=True)]
        added, whole = 0, as_told(sum(each), told)
        if limit.test != "consignment":
            self.judged.measured[name] = whole
            added = others.get(name, 0)
            if added:
                self.judged.notes.add("SUMMED")
            if name in unnamed:
                self.judged.notes.add("PERSON_NOT_DECLARED")
        return [keeps(whole + added) and not any(excluded)] * len(each)

    def _amount(self, text: str, table: str) -> Fraction:
        minor, currency = read_amount(text)
        return minor * (self.rate(currency, table) if currency != self.book.currency else Fraction(1))

    def _doubt(self, entry: Limit | Relief) -> None:
        self.judged.doubted |= not (entry.verified and self.book.references[entry.reference].verified)

    def reliefs(self, measure: Callable[[tuple[str, ...], str], list[int]]) -> None:
        """Relieve whole items in their order."""
        for name, entries in self.book.reliefs.items():
            self.judged.relieved[name] = self._relieved([e for e in entries if held(e, self.day)], measure)
            if any(self.judged.relieved[name]) and not of_returns(entries):
                self.judged.notes.add("GIFT_RELIEVED")

    def _relieved(self, entries: list[Relief], measure: Callable[[tuple[str, ...], str], list[int]]) -> list[bool]:
        relieved = [False] * len(self.filed.items)
        for relief in entries:
            home = self.book.areas
            fits = [fits_item(relief.condition, self.filed, item, self.states, home) for item in self.filed.items]
            if not any(fits):
                continue
            self._doubt(relief)
            left = 10**16 if relief.amount == "all" else floor(self._amount(relief.amount, ""))
            for place, (worth, item) in enumerate(zip(measure(relief.measure, ""), self.filed.items, strict=True)):
                never = bool(relief.excluded) and item.code.startswith(relief.excluded)
                if fits[place] and not never and worth <= left:
                    relieved[place], left = True, left - worth
            break
        return relieved

    def missing(self, names: Collection[str], item: Item) -> str:
        """Note why an item of a return is charged, by the reliefs of returned goods that the charge names."""
        order = ["RETURN_NOT_COVERED", "RETURN_NOT_CLAIMED", "none", "ended", "unknown", "within"]
        found = ["RETURN_NOT_COVERED"]
        for entries in (self.book.reliefs[name] for name in names if of_returns(self.book.reliefs[name])):
            for entry in (each for each in entries if held(each, self.day)):
                self._doubt(entry)
                asked = entry.condition.returned
                apart = msgspec.structs.replace(entry.condition, returned=None)
                fits = fits_item(apart, self.filed, item, self.states, self.book.areas)
                assert asked is not None
                found.append(proof_of(asked, self.filed, self.book.areas) if fits else "RETURN_NOT_CLAIMED")
        told = {"none": "RETURN_NOT_PROVEN", "ended": "RETURN_TERM_ENDED", "unknown": "RETURN_TERM_UNKNOWN"}
        nearest = max(found, key=order.index)
        return "RETURN_NOT_CLAIMED" if nearest == "within" else told.get(nearest, nearest)
