"""The law in plain numbers: one consignment at a time, fractions and whole numbers, no columns.

Written from the rulebook's words alone, so that the vectorised evaluator has something to be compared with.
"""

from collections.abc import Mapping
from datetime import date
from fractions import Fraction

import msgspec

from services.revenue.law.program.program import Program
from services.revenue.law.source.rulebook import (
    Base,
    Condition,
    NotCovered,
    Position,
    Rulebook,
    SchemeRule,
    StatutoryDefault,
)
from tests.revenue.law.oracle_charges import (
    EDGE,
    LARGEST,
    Charged,
    Charging,
    Consignment,
    Item,
    Refused,
    Result,
    rounded,
    shared,
)
from tests.revenue.law.oracle_conditions import Judge, Judged, fits_consignment, fits_item, plain_region, state_of
from tests.revenue.law.oracle_rates import held, read_amount, read_rate, the_one

Registered = Mapping[str, Mapping[str, tuple[date, date]]]
"""Per scheme its registered numbers with their first and last day."""
_SCHEME_NOTES = {
    "missing": "SCHEME_NUMBER_MISSING",
    "malformed": "SCHEME_NUMBER_MALFORMED",
    "unknown": "SCHEME_NUMBER_UNKNOWN",
    "expired": "SCHEME_NUMBER_EXPIRED",
}


def anywhere(only: Condition | None) -> Condition | None:
    """A condition without the country of origin."""
    return msgspec.structs.replace(only, origin=()) if only else None


class Scalar:
    """Assesses one consignment by the rulebooks of a program."""

    def __init__(self, program: Program, registered: Registered | None = None) -> None:
        self.program, self.registered = program, registered or {}

    def assess(
        self, filed: Consignment, others: Mapping[str, int] | None = None, unnamed: frozenset[str] = frozenset()
    ) -> Result:
        """Assess it; `others` is what other consignments count by limit, `unnamed` limits whose person is not told."""
        return self.judge(filed, others, unnamed)[0]

    def judge(
        self, filed: Consignment, others: Mapping[str, int] | None = None, unnamed: frozenset[str] = frozenset()
    ) -> tuple[Result, Judged | None]:
        """Assess it and tell how its limits, reliefs and schemes were judged; None where it cannot be assessed."""
        book = next((b.rulebook for b in self.program.books if filed.destination in b.rulebook.areas), None)
        if book is None:
            return Result("NO_RULEBOOK"), None
        one = _One(self.program, book, filed, self.registered)
        if not held(book.period, one.day):
            return Result("NO_RULEBOOK"), None
        try:
            return one.run(others or {}, unnamed), one.judge.judged
        except Refused as reason:
            return Result(str(reason)), None

    def states(self, filed: Consignment) -> dict[str, str]:
        """How a consignment stands with each scheme of its law."""
        book = next(b.rulebook for b in self.program.books if filed.destination in b.rulebook.areas)
        return _One(self.program, book, filed, self.registered).scheme_states


class _One(Charging):
    def __init__(self, program: Program, book: Rulebook, filed: Consignment, registered: Registered) -> None:
        super().__init__(program, book, filed)
        self.scheme_states: dict[str, str] = {
            name: state_of(
                rule,
                [n for s, n in filed.schemes if s == name and not self.of_sales(rule)],
                registered.get(name, {}),
                self.day,
            )
            for name, rule in book.schemes.items()
        }
        self.states = {name: state == "usable" for name, state in self.scheme_states.items()}
        self.judge = Judge(book, self.day, filed, self.scheme_states, self.rate_by, self.told)
        self.scheme_notes(registered)

    def of_sales(self, rule: SchemeRule) -> bool:
        """Whether the number of a scheme is not used because it is for sales and the consignment is a return."""
        return rule.of_sales and self.filed.nature == "return"

    def fits(self, only: Condition | None, item: Item | None) -> bool:
        if only is None:
            return True
        if item is None:
            return fits_consignment(only, self.filed, self.scheme_states, self.book.areas)
        return fits_item(only, self.filed, item, self.scheme_states, self.book.areas)

    def scheme_notes(self, registered: Registered) -> None:
        notes, states = self.judge.judged.notes, set(self.scheme_states.values())
        if "usable" not in states:
            notes |= {note for state, note in _SCHEME_NOTES.items() if state in states}
        for name, rule in self.book.schemes.items():
            if self.states[name] and rule.registered and not registered.get(name):
                notes.add("SCHEME_NUMBER_UNCHECKED")

    def run(self, others: Mapping[str, int], unnamed: frozenset[str]) -> Result:
        filed, book = self.filed, self.book
        if not filed.items or any(i.price is None or not i.currency for i in filed.items):
            raise Refused("UNVALUED")
        if any(not 0 <= (i.price or 0) <= EDGE for i in filed.items):
            raise Refused("AMOUNT_OUT_OF_BOUNDS")
        nets = [self.net(item) for item in filed.items]
        for item in filed.items:
            self.rate(item.currency)
        self.nets = nets
        for money in (filed.freight, filed.insurance, filed.clearance_fee):
            if money and not 0 <= money[0] <= EDGE:
                raise Refused("AMOUNT_OUT_OF_BOUNDS")
        self.parts = self.parts_by("")
        goods = self.parts["goods"]
        base = the_one(book.customs_value, self.day)
        assert base is not None
        self.customs_base = set(base.base)
        customs = sum(sum(self.parts.get(name, [])) for name in self.customs_base)
        if customs > LARGEST:
            raise Refused("AMOUNT_OUT_OF_BOUNDS")
        self.judge.limits(self.measured, others, unnamed)
        self.judge.reliefs(self.measured)
        self.within, self.relieved = self.judge.judged.within, self.judge.judged.relieved
        charges = []
        for charge in book.charges:
            if held(charge, self.day) and (not charge.areas or self.area in charge.areas):
                charges += self.charge(charge)
        self.remark(base, charges)
        valued = [self.parts[name] for name in self.customs_base if name in self.parts]
        values = [sum(part[place] for part in valued) for place in range(len(filed.items))]
        return Result("NONE", sum(goods), customs, charges, self.notes | self.judge.judged.notes, values)

    def remark(self, base: Base, charges: list[Charged]) -> None:
        """Note what was assumed or found, beside what charges and limits noted."""
        filed, book, notes = self.filed, self.book, self.notes
        first = next(iter(book.limits), "")
        if filed.nature == "return":
            for line in charges:
                charge = book.charge(line.charge.split(".")[1])
                if line.amount and charge.kind != "fee":
                    names = charge.relieved_by if line.item is not None else ()
                    notes.add(self.judge.missing(names, filed.items[line.item or 0]))
            if any(self.of_sales(book.schemes[name]) for name, _ in filed.schemes if name in book.schemes):
                notes.add("SCHEME_NOT_OPEN")
        added = {name: self.default_of(name) for name in ("freight", "insurance")}
        told = {
            "FREIGHT_NOT_DECLARED": filed.freight is None and not added["freight"],
            "INSURANCE_NOT_DECLARED": filed.insurance is None and not added["insurance"],
            "FREIGHT_BY_DEFAULT": bool(added["freight"]),
            "INSURANCE_BY_DEFAULT": bool(added["insurance"]),
            "TAX_TAKEN_OUT": bool(filed.includes_tax),
            "WITHIN_LIMIT": bool(first) and all(self.within[first]),
            "OVER_LIMIT": first in self.judge.judged.known and not all(self.within[first]),
            "SCHEME_NOT_OPEN": any(self.states.values()) and all(line.scheme == "none" for line in charges),
            "UNVERIFIED_VALUE": self.doubted(base, book.exchange, book.law_date_reference)
            or self.judge.judged.doubted
            or any(self.doubted(default) for default in added.values() if default),
            "NOT_COVERED": any(self.concerned(gap) for gap in book.not_covered),
            "REGION_NOT_RECOGNISED": bool(filed.region) and self.regions.isdisjoint({plain_region(filed.region)}),
        }
        notes |= {note for note, there in told.items() if there}

    def concerned(self, gap: NotCovered) -> bool:
        """Whether something of the gap may be owed on any item."""
        sides = [gap.when] if isinstance(gap.when, Position) else gap.when
        return (
            held(gap, self.day)
            and (not gap.areas or self.area in gap.areas)
            and any(
                (not gap.goods or item.code.startswith(gap.goods))
                and (self.fits(gap.condition, item) or (not item.origin and self.fits(anywhere(gap.condition), item)))
                and all(self.within[side.limit][place] == (side.position == "within") for side in sides)
                for place, item in enumerate(self.filed.items)
            )
        )

    @property
    def regions(self) -> set[str]:
        """Regions that the charges ask for; the one told where they ask for none."""
        asked = [
            region
            for charge in self.book.charges
            for only in [
                charge.condition,
                *(r.condition for r in charge.rates),
                *(way.condition for way in charge.collection),
            ]
            if only
            for region in only.region
        ]
        return {plain_region(each) for each in asked or [self.filed.region]}

    def rate_by(self, currency: str, table: str) -> Fraction:
        """The rate by a table where it holds the currency on the day, else by the rulebook's."""
        found = self.quoted(table, currency)
        return self.rate(currency) if found is None else found

    def converted_by(self, minor: int, currency: str, table: str) -> int:
        rate = self.rate_by(currency, table)
        return minor if rate == 1 else rounded(minor * rate, self.book.exchange.mode, self.exchange_unit)

    @property
    def exchange_unit(self) -> int:
        return read_amount(self.book.exchange.unit)[0]

    def parts_by(self, table: str) -> dict[str, list[int]]:
        """What each item's goods, freight, insurance and clearance fee are worth by a table of exchange rates."""
        goods = [self.converted_by(n, i.currency, table) for n, i in zip(self.nets, self.filed.items, strict=True)]
        if sum(goods) > LARGEST:
            raise Refused("AMOUNT_OUT_OF_BOUNDS")
        parts = {"goods": goods}
        for name in ("freight", "insurance", "clearance_fee"):
            money: tuple[int, str] | None = getattr(self.filed, name)
            parts[name] = shared(self.converted_by(money[0], money[1], table) if money and money[0] else 0, goods)
            if self.filed.includes_tax and self.book.prices_with_tax and name in self.book.prices_with_tax.parts:
                parts[name] = [
                    rounded(Fraction(part * net, item.price) if item.price else Fraction(part), "half_up", 1)
                    if item.tax_charged is not None
                    else self.without_tax(part, item)
                    for part, net, item in zip(parts[name], self.nets, self.filed.items, strict=True)
                ]
            if default := self.default_of(name):
                base = sum(sum(parts[part]) for part in default.components)
                percent = Fraction(default.percent.rstrip("% ")) / 100
                parts[name] = shared(rounded(base * percent, self.book.exchange.mode, self.exchange_unit), goods)
        return parts

    def default_of(self, name: str) -> StatutoryDefault | None:
        """What the law adds for a cost that is not declared."""
        if name == "clearance_fee" or getattr(self.filed, name) is not None:
            return None
        entries = self.book.defaults.get(name, ())  # type: ignore[call-overload]
        return next((each for each in entries if held(each, self.day) and self.fits(each.condition, None)), None)

    def told(self, names: tuple[str, ...], currency: str) -> tuple[list[int | None], int | None]:
        """What each item and the whole count by a measure where they are told in a currency; None where they are not."""
        filed, wanted = self.filed, self.wanted(names)
        items = [n if i.currency == currency else None for n, i in zip(self.nets, filed.items, strict=True)]
        taxed = self.book.prices_with_tax.parts if filed.includes_tax and self.book.prices_with_tax else ()
        whole = sum(self.nets) if "goods" in wanted and None not in items else None
        for name in wanted & {"freight", "insurance", "clearance_fee"}:
            money: tuple[int, str] | None = getattr(filed, name)
            # What the law adds is in its own currency.
            whole = None if self.default_of(name) else whole
            if money and money[0] and whole is not None:
                whole = whole + money[0] if money[1] == currency and name not in taxed else None
        return items if wanted == {"goods"} else [None] * len(items), whole

    def measured(self, names: tuple[str, ...], table: str) -> list[int]:
        """What each item counts by a measure, converted by a table of exchange rates."""
        parts, wanted = self.parts_by(table) if table else self.parts, self.wanted(names)
        return [sum(parts[n][i] for n in wanted if n in parts) for i in range(len(self.filed.items))]

    def wanted(self, names: tuple[str, ...]) -> set[str]:
        """The components that a measure names."""
        return set(names) - {"customs_value"} | (self.customs_base if "customs_value" in names else set())

    def net(self, item: Item) -> int:
        price = item.price or 0
        if not self.filed.includes_tax:
            return price
        if item.tax_charged is not None:
            if not 0 <= item.tax_charged <= price:
                raise Refused("AMOUNT_OUT_OF_BOUNDS")
            return price - item.tax_charged
        return self.without_tax(price, item)

    def without_tax(self, amount: int, item: Item) -> int:
        """Take the tax out of an amount that holds it, by the rate told or the law's for the item."""
        ppm = item.tax_rate_ppm
        if ppm is None:
            ppm = 0
            for charge in self.book.charges:
                if charge.kind == "tax" and held(charge, self.day) and (not charge.areas or self.area in charge.areas):
                    general = the_one(charge.rates, self.day, self.area)
                    if general and read_rate(general.rate).ppm:
                        ppm = read_rate(self.written(charge, item).rate).ppm
                        break
        return rounded(Fraction(amount * 1_000_000, 1_000_000 + ppm), "half_up", 1)
