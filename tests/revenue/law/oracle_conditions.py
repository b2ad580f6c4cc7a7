"""Conditions, limits and reliefs in plain numbers: what one consignment and each of its items fit, keep and are relieved of."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from math import ceil, floor

from services.revenue.law.source.rulebook import Condition, Limit, Relief, Rulebook, SchemeRule
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law.oracle_rates import held, read_amount

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


def fits_consignment(asked: Condition, filed: Consignment, states: Mapping[str, str], *, nature: bool = True) -> bool:
    dispatch = filed.direct_shipment_place[:2] or filed.dispatch
    usable = {scheme for scheme, state in states.items() if state == "usable"}
    return all(
        (
            not asked.dispatch or dispatch in asked.dispatch,
            not asked.mode or filed.mode in asked.mode,
            not asked.service or filed.service in asked.service,
            not (asked.nature and nature) or filed.nature in asked.nature,
            not asked.consignor or filed.consignor == asked.consignor,
            not asked.consignee or filed.consignee == asked.consignee,
            not asked.region or plain_region(filed.region) in [plain_region(each) for each in asked.region],
            not asked.articles or (asked.articles == "several") == (articles_of(filed) > 1),
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


def fits_item(asked: Condition, filed: Consignment, item: Item, states: Mapping[str, str]) -> bool:
    whole = fits_consignment(asked, filed, states)
    if not whole and item.gift and "gift" in asked.nature:
        whole = fits_consignment(asked, filed, states, nature=False)
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
        return only is None or fits_consignment(only, self.filed, self.states)

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
            if any(self.judged.relieved[name]):
                self.judged.notes.add("GIFT_RELIEVED")

    def _relieved(self, entries: list[Relief], measure: Callable[[tuple[str, ...], str], list[int]]) -> list[bool]:
        relieved = [False] * len(self.filed.items)
        for relief in entries:
            fits = [fits_item(relief.condition, self.filed, item, self.states) for item in self.filed.items]
            if not any(fits):
                continue
            self._doubt(relief)
            left = floor(self._amount(relief.amount, ""))
            for place, (worth, item) in enumerate(zip(measure(relief.measure, ""), self.filed.items, strict=True)):
                never = bool(relief.excluded) and item.code.startswith(relief.excluded)
                if fits[place] and not never and worth <= left:
                    relieved[place], left = True, left - worth
            break
        return relieved
