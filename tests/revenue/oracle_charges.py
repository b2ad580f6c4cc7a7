"""Charges in plain numbers: the scalar law's words, and what one consignment owes by each charge of its rulebook."""

from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from math import floor

from services.revenue.law.checks import holds, in_force
from services.revenue.law.program import Program
from services.revenue.law.rates import Expression, ParsedRate, Sum, Term, parse_rate
from services.revenue.law.rulebook import Charge, Collection, Condition, Rate, Rulebook, parse_amount, positions
from services.revenue.law.units import Measure

SCHEME_NAMES = [
    "none", "ioss", "special_arrangements", "voec", "ovr", "gst_lvg", "uk_supply_vat", "prc", "import_vat",
    "ch_mail_order", "cbec", "qualified_party", "clvs",
]  # fmt: skip
LARGEST = 10**15
EDGE = 10**12


@dataclass
class Item:
    price: int | None = 0
    currency: str = "EUR"
    code: str = ""
    preference: str = ""
    tax_charged: int | None = None
    tax_rate_ppm: int | None = None
    origin: str = ""
    gift: bool | None = None
    net_mass_mg: int | None = None
    quantity_milli: int | None = None
    unit: str = ""
    supplementary_milli: int | None = None
    supplementary_unit: str = ""
    procedures: tuple[str, ...] = ()
    """Additional procedures."""


@dataclass
class Consignment:
    destination: str
    accepted: date
    items: list[Item]
    exported: date | None = None
    freight: tuple[int, str] | None = None
    insurance: tuple[int, str] | None = None
    clearance_fee: tuple[int, str] | None = None
    includes_tax: bool | None = None
    mass_mg: int | None = None
    schemes: list[tuple[str, str]] = field(default_factory=list)
    dispatch: str = ""
    direct_shipment_place: str = ""
    mode: str = ""
    service: str = ""
    nature: str = ""
    consignor: str = ""
    consignee: str = ""
    region: str = ""
    procedures: tuple[str, ...] = ()


@dataclass
class Charged:
    charge: str
    item: int | None
    basis: int
    ppm: int
    amount: int
    collector: str
    debtor: str
    scheme: str
    waived: bool
    rate: str = ""
    """As the law writes it."""
    quantity: int = 0


@dataclass
class Result:
    problem: str = "NONE"
    intrinsic: int = 0
    customs_value: int = 0
    charges: list[Charged] = field(default_factory=list)


class Refused(Exception):
    pass


def rounded(value: Fraction, mode: str, unit: int) -> int:
    steps = value / unit
    down = floor(steps)
    rest = steps - down
    half = Fraction(1, 2)
    up = (
        (mode == "up" and rest > 0)
        or (mode == "half_up" and rest >= half)
        or (mode == "half_even" and (rest > half or (rest == half and down % 2 == 1)))
    )
    result = (down + up) * unit
    if result > LARGEST:
        raise Refused("AMOUNT_OUT_OF_BOUNDS")
    return result


def shared(total: int, weights: list[int]) -> list[int]:
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    reached, shares, upto = 0, [], 0
    for weight in weights:
        upto += weight
        now = total * upto // whole
        shares.append(now - reached)
        reached = now
    return shares


class Charging:
    """One consignment whose value and limits are known, on the way to what it owes."""

    parts: dict[str, list[int]]
    customs_base: set[str]
    within: dict[str, list[bool]]
    states: dict[str, bool]
    relieved: dict[str, list[bool]]
    exchange_day: date

    def __init__(self, program: Program, book: Rulebook, filed: Consignment) -> None:
        self.program, self.book, self.filed = program, book, filed
        self.day, self.area = filed.accepted, filed.destination
        self.parts = {}
        self.charged: dict[str, list[Charged]] = {}

    def rate(self, currency: str) -> Fraction:
        day = (self.exchange_day - date(1970, 1, 1)).days
        for rate in self.program.exchange.rates:
            if rate.table == self.book.exchange.table and rate.currency == currency and rate.start <= day <= rate.end:
                return Fraction(rate.numerator, rate.denominator)
        raise Refused("NO_EXCHANGE_RATE")

    def converted(self, minor: int, currency: str) -> int:
        rate = self.rate(currency)
        if rate == 1:
            return minor
        return rounded(minor * rate, self.book.exchange.mode, parse_amount(self.book.exchange.unit)[0])

    def base(self, names: tuple[str, ...]) -> list[int]:
        wanted = set(names) - {"customs_value"} | (self.customs_base if "customs_value" in names else set())
        return [sum(self.parts[n][i] for n in wanted if n in self.parts) for i in range(len(self.filed.items))]

    def fits(self, only: Condition | None, item: Item | None) -> bool:
        """Whether a condition fits the consignment and, where one is given, the item."""
        raise NotImplementedError

    def collection(self, charge: Charge) -> Collection:
        ways = [way for way in charge.collection if holds(way, self.day)]
        plain = [way for way in ways if way.scheme == "none" and way.when is None and way.only is None]
        for way in [each for each in ways if each not in plain] + plain:
            if way.scheme != "none" and not self.states.get(way.scheme):
                continue
            if way.when and all(self.within[way.when.limit]) != (way.when.position == "within"):
                continue
            if self.fits(way.only, None):
                return way
        raise AssertionError("no fallback")

    def excepted(self, charge: Charge, item: Item) -> bool:
        unless = charge.unless
        return bool(unless and item.preference[:1] in unless.preference and not self.states.get(unless.without_scheme))

    def applies(self, charge: Charge, place: int) -> bool:
        """Whether a charge on lines of goods is due on one of them."""
        item = self.filed.items[place]
        due = all(self.within[p.limit][place] == (p.position == "within") for p in positions(charge.when))
        due = due and not self.excepted(charge, item)
        other = self.book.charge(charge.also_when_unless_of) if charge.also_when_unless_of else None
        if other and holds(other, self.day) and self.excepted(other, item):
            due = True
        return due and self.fits(charge.only, item) and not any(self.relieved[r][place] for r in charge.relieved_by)

    def written(self, charge: Charge, item: Item | None) -> Rate:
        """The rate of the law for an item or, without one, for the consignment."""
        held = [r for r in charge.rates if holds(r, self.day) and (not r.areas or self.area in r.areas)]
        named = [rate for rate in held if rate.areas or rate.only]
        return next(rate for rate in [*named, *held] if self.fits(rate.only, item) and (rate in named or not rate.only))

    def leaf(self, charge: Charge, item: Item) -> tuple[str, ParsedRate]:
        """The rate that an item comes to, by tariff and season, and its text."""
        text = self.written(charge, item).rate
        if text == "tariff":
            text = self.by_tariff(charge, item)
        rate = parse_rate(text)
        for season in rate.seasons:
            for first, last in season.days:
                today = (self.day.replace(year=2000) - date(2000, 1, 1)).days
                inside = first <= today <= last if first <= last else today >= first or today <= last
                if inside or (today == 59 and last == 58):
                    return season.text, season.rate
        return text, rate

    def by_tariff(self, charge: Charge, item: Item) -> str:
        table = next(t for t in self.program.tariffs if t.tariff == charge.tariff and holds(t, self.day))
        fitting = [
            each
            for each in table.preferences
            if (not each.origins or item.origin in each.origins)
            and (not each.preference or any(item.preference.startswith(head) for head in each.preference))
        ]
        for prefixes in [*(each.prefixes for each in fitting), table.prefixes]:
            named = [prefix for prefix in prefixes if item.code.startswith(prefix)]
            if named:
                return table.rates[prefixes[max(named, key=len)]].text
        if table.default < 0:
            raise Refused("NO_DUTY_RATE")
        return table.rates[table.default].text

    def percent(self, charge_id: str, place: int) -> Fraction:
        """The percentage of a charge on an item, nothing where it is not due."""
        charge = self.book.charge(charge_id)
        here = holds(charge, self.day) and (not charge.areas or self.area in charge.areas)
        if not here or not self.applies(charge, place):
            return Fraction(0)
        return Fraction(self.leaf(charge, self.filed.items[place])[1].ppm, 1_000_000)

    def bases(self, charge: Charge, places: list[int], mode: str, base_unit: str) -> dict[int, Fraction]:
        """What each charged item's percentage is taken of, exactly."""
        sums = self.base(charge.base)
        found = [sums[place] for place in places]
        if charge.over_only:
            entries = self.book.limits[charge.over_only]
            limit = next(e for e in entries if holds(e, self.day) and self.fits(e.only, None))
            worth = sum(self.base(limit.measure))
            if limit.amount != "none":
                most = parse_amount(limit.amount)[0]
                parts = self.base(tuple(part for part in charge.base if part not in ("duty", "tax", "fee")))
                values = [parts[place] for place in places]
                charged = [whole - value for whole, value in zip(found, values, strict=True)]
                beyond = Fraction(sum(values) * max(worth - most, 0), max(worth, 1))
                found = [a + b for a, b in zip(shared(rounded(beyond, mode, 1), values), charged, strict=True)]
        result = {}
        for place, amount in zip(places, found, strict=True):
            basis = Fraction(amount)
            if charge.uplift:
                share = Fraction(charge.uplift.percent.split()[0]) / 100
                basis += self.base(charge.uplift.of)[place] * share
            held = sum((self.percent(name, place) for name in charge.inside), Fraction(0))
            basis /= 1 - held
            if base_unit:
                basis = Fraction(rounded(basis, mode, parse_amount(base_unit)[0]))
            result[place] = basis
        return result

    def quantity(self, measure: Measure, item: Item) -> int:
        if measure is Measure.NET_MASS and item.net_mass_mg:
            return item.net_mass_mg
        factors = {
            (Measure.NET_MASS, "KGM"): 1000, (Measure.NET_MASS, "DTN"): 100_000, (Measure.GROSS_MASS, "KGMG"): 1000,
            (Measure.PIECES, "H87"): 1, (Measure.PIECES, "NAR"): 1, (Measure.PIECES, "DZN"): 12, (Measure.PIECES, ""): 1,
            (Measure.PAIRS, "NPR"): 1, (Measure.VOLUME, "LTR"): 1000, (Measure.VOLUME, "HLT"): 100_000,
            (Measure.ALCOHOL, "LPA"): 1000, (Measure.LENGTH, "MTR"): 1000, (Measure.AREA, "MTK"): 1,
            (Measure.DRAINED, "DTNE"): 100_000, (Measure.DRY_MATTER, "DTNM"): 100_000,
            (Measure.LACTIC_MATTER, "KGMP"): 1000, (Measure.DRY_LACTIC_MATTER, "KGMT"): 1000,
            (Measure.STANDARD_QUALITY, "DTNR"): 100_000, (Measure.SUCROSE, "DTNZ"): 1000,
            (Measure.TOTAL_ALCOHOL, "KGMA"): 1000,
        }  # fmt: skip
        for amount, unit, named in (
            (item.supplementary_milli, item.supplementary_unit, True),
            (item.quantity_milli, item.unit, False),
        ):
            factor = factors.get((measure, unit), 0) if unit or not named else 0
            if amount and factor:
                return amount * factor
        raise Refused("QUANTITY_MISSING")

    def value(self, rate: ParsedRate, basis: Fraction, item: Item, charge: Charge) -> tuple[Fraction, int]:
        """What a rate of any parts gives, exactly, and the first quantity that it takes."""
        told: list[int] = []
        expression = rate.expression
        if expression is None:
            per_kilogram = Term(Fraction(rate.minor, 1_000_000), Measure.NET_MASS)
            expression = Expression(Sum(0, (per_kilogram,)), None, None, rate.currency)
        home = self.rate(expression.currency) if expression.currency else Fraction(1)

        def of(sum_: Sum) -> Fraction:
            total = basis * Fraction(sum_.ppm, 1_000_000)
            for term in sum_.terms:
                parts = self.quantity(term.measure, item)
                if charge.mass == "net" and term.measure is Measure.NET_MASS:
                    step = charge.mass_unit_grams * 1000
                    parts = -(-parts // step) * step
                told.append(parts)
                total += term.amount * parts * home
            return total

        result = of(expression.whole)
        if expression.least:
            result = max(result, of(expression.least))
        if expression.most:
            result = min(result, of(expression.most))
        return result, told[0] if told else 0

    def charge(self, charge: Charge) -> list[Charged]:
        way = self.collection(charge)
        rounding = in_force(charge.rounding, self.day, self.area, way.scheme)
        mode, unit = (rounding.mode, parse_amount(rounding.unit)[0]) if rounding else ("down", 1)
        general = parse_rate(self.written(charge, None).rate)
        if general.method in ("consignment", "kilogram") and charge.mass == "gross":
            lines = self.on_consignment(charge, general, mode, unit)
        else:
            together = rounding.base_unit if rounding and rounding.base_of == "sum" else ""
            lines = self.on_items(charge, way, mode, unit, rounding.base_unit if rounding and not together else "")
            if together:
                self.at_one_rate(charge, lines, mode, unit, parse_amount(together)[0])
        total = sum(line.amount for line in lines)
        if total > LARGEST:
            raise Refused("AMOUNT_OUT_OF_BOUNDS")
        wanted = total
        written = [self.written(charge, self.filed.items[line.item or 0]).less for line in lines]
        if off := [self.converted(*parse_amount(less)) for less in written if less]:
            wanted = max(total - max(off), 0)
        if rounding and rounding.total_unit:
            wanted = rounded(Fraction(wanted), mode, parse_amount(rounding.total_unit)[0])
        if wanted != total:
            for line, part in zip(lines, shared(wanted, [line.amount for line in lines]), strict=True):
                line.amount = part
        self.minimum(charge, lines)
        for line in lines:
            line.collector, line.debtor, line.scheme = way.collector, way.debtor, way.scheme
            self.add(charge.kind, line, 1)
        self.charged[charge.id] = lines
        return lines

    def on_consignment(self, charge: Charge, rate: ParsedRate, mode: str, unit: int) -> list[Charged]:
        sides = [all(self.within[p.limit]) == (p.position == "within") for p in positions(charge.when)]
        if not all(sides) or not self.fits(charge.only, None):
            return []
        amount = self.converted(rate.minor, rate.currency)
        if rate.method == "consignment":
            return [self.line(charge, None, self.written(charge, None).rate, rate, 0, amount)]
        if self.filed.mass_mg is None:
            raise Refused("MASS_MISSING")
        step = charge.mass_unit_grams * 1000
        mass = -(-self.filed.mass_mg // step) * step
        money = rounded(Fraction(mass * amount, 1_000_000), mode, unit)
        return [self.line(charge, None, self.written(charge, None).rate, rate, mass, money, mass)]

    def on_items(self, charge: Charge, way: Collection, mode: str, unit: int, base_unit: str) -> list[Charged]:
        places = [place for place in range(len(self.filed.items)) if self.applies(charge, place)]
        bases = (
            self.bases(charge, places, mode, base_unit)
            if charge.base or charge.uplift
            else dict.fromkeys(places, Fraction(0))
        )
        share = Fraction(charge.share.split()[0]) / 100 if charge.share else Fraction(1)
        seen: set[str] = set()
        lines = []
        for place in places:
            item = self.filed.items[place]
            text, rate = self.leaf(charge, item)
            if rate.method in ("tariff_line", "item"):
                if rate.method == "tariff_line":
                    assert charge.tariff_line is not None
                    head = item.code[: charge.tariff_line.digits_under.get(way.scheme, charge.tariff_line.digits)]
                    if head and head in seen:
                        continue
                    seen.add(head)
                lines.append(self.line(charge, place, text, rate, 0, self.converted(rate.minor, rate.currency)))
                continue
            basis, quantity = bases[place], 0
            if rate.method == "percent":
                value = basis * Fraction(rate.ppm, 1_000_000)
            else:
                value, quantity = self.value(rate, basis, item, charge)
            told = rounded(basis, mode, 1)
            lines.append(self.line(charge, place, text, rate, told, rounded(value * share, mode, unit), quantity))
        return lines

    def at_one_rate(self, charge: Charge, lines: list[Charged], mode: str, unit: int, base_unit: int) -> None:
        """Round the base of all lines of one rate together, and what it gives; the lines share both."""
        places = [line.item for line in lines if line.item is not None]
        exact = self.bases(charge, places, mode, "")
        share = Fraction(charge.share.split()[0]) / 100 if charge.share else Fraction(1)
        for rate in {line.rate: line.ppm for line in lines}.items():
            alike = [line for line in lines if line.rate == rate[0]]
            base = rounded(sum((exact[line.item or 0] for line in alike), Fraction(0)), mode, base_unit)
            amount = rounded(base * Fraction(rate[1], 1_000_000) * share, mode, unit)
            weights = [line.basis for line in alike]
            for line, mine, owed in zip(alike, shared(base, weights), shared(amount, weights), strict=True):
                line.basis, line.amount = mine, owed

    def line(
        self, charge: Charge, place: int | None, text: str, rate: ParsedRate, basis: int, amount: int, quantity: int = 0
    ) -> Charged:
        name = f"{self.book.jurisdiction}.{charge.id}"
        return Charged(name, place, basis, rate.ppm, amount, "", "", "", False, text, quantity)

    def minimum(self, charge: Charge, lines: list[Charged]) -> None:
        minimum = in_force(charge.minimum, self.day, self.area)
        if minimum is None or not lines:
            return
        together = [line for name in minimum.together_with for line in self.charged.get(name, [])]
        total = sum(line.amount for line in [*lines, *together])
        least = self.converted(*parse_amount(minimum.amount))
        if total and (total <= least if minimum.collected == "above" else total < least):
            for line in together:
                self.add(self.book.charge(line.charge.split(".")[1]).kind, line, -1)
            for line in [*lines, *together]:
                line.amount, line.waived = 0, True

    def add(self, kind: str, line: Charged, sign: int) -> None:
        """Make a line part of later bases, or take it out again."""
        mine = self.parts.setdefault(kind, [0] * len(self.filed.items))
        if line.item is not None:
            mine[line.item] += sign * line.amount
            return
        for place, part in enumerate(shared(line.amount, self.parts["goods"])):
            mine[place] += sign * part
