"""Charges in plain numbers: the scalar law's words, and what one consignment owes by each charge of its rulebook."""

from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from math import floor

from services.revenue.law.checks import holds, in_force
from services.revenue.law.program import Program
from services.revenue.law.rulebook import Charge, Rulebook, parse_amount, parse_rate

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


@dataclass
class Consignment:
    destination: str
    accepted: date
    items: list[Item]
    exported: date | None = None
    freight: tuple[int, str] | None = None
    insurance: tuple[int, str] | None = None
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
    exchange_day: date

    def __init__(self, program: Program, book: Rulebook, filed: Consignment) -> None:
        self.program, self.book, self.filed = program, book, filed
        self.day, self.area = filed.accepted, filed.destination
        self.parts = {}

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

    def collection(self, charge: Charge):  # type: ignore[no-untyped-def]
        ways = [way for way in charge.collection if holds(way, self.day)]
        for way in [w for w in ways if w.scheme != "none" or w.when] + [w for w in ways if w.scheme == "none"]:
            if way.scheme != "none" and not self.states.get(way.scheme):
                continue
            if way.when and all(self.within[way.when.limit]) != (way.when.position == "within"):
                continue
            return way
        raise AssertionError("no fallback")

    def excepted(self, charge: Charge, item: Item) -> bool:
        unless = charge.unless
        return bool(unless and item.preference[:1] in unless.preference and not self.states.get(unless.without_scheme))

    def charge(self, charge: Charge) -> list[Charged]:
        written = in_force(charge.rates, self.day, self.area)
        assert written is not None
        rate = parse_rate(written.rate)
        way = self.collection(charge)
        rounding = in_force(charge.rounding, self.day, self.area, way.scheme)
        side = None
        if charge.when:
            side = [w == (charge.when.position == "within") for w in self.within[charge.when.limit]]
        specific = 0
        lines: list[tuple[int | None, int, int, int]] = []

        def amount() -> int:
            return self.converted(rate.minor, rate.currency)

        if rate.method in ("consignment", "kilogram"):
            whole = True
            if charge.when:
                whole = all(self.within[charge.when.limit]) == (charge.when.position == "within")
            if not whole:
                return []
            specific = amount()
            if rate.method == "consignment":
                lines.append((None, 0, 0, specific))
            else:
                if self.filed.mass_mg is None:
                    raise Refused("MASS_MISSING")
                step = charge.mass_unit_grams * 1000
                mass = -(-self.filed.mass_mg // step) * step
                assert rounding is not None
                unit = parse_amount(rounding.unit)[0]
                lines.append((None, mass, 0, rounded(Fraction(mass * specific, 1_000_000), rounding.mode, unit)))
        else:
            other = self.book.charge(charge.also_when_unless_of) if charge.also_when_unless_of else None
            seen: set[str] = set()
            line = charge.tariff_line
            for place, item in enumerate(self.filed.items):
                applies = (side is None or side[place]) and not self.excepted(charge, item)
                if other and holds(other, self.day) and self.excepted(other, item):
                    applies = True
                if not applies:
                    continue
                if rate.method in ("percent", "tariff"):
                    assert rounding is not None
                    basis = self.base(charge.base)[place]
                    if rounding.base_unit:
                        basis = rounded(Fraction(basis), rounding.mode, parse_amount(rounding.base_unit)[0])
                    ppm = rate.ppm
                    if rate.method == "tariff":
                        day_tables = [
                            t for t in self.program.tariffs if t.tariff == charge.tariff and holds(t, self.day)
                        ]
                        ppm = day_tables[0].find(item.code)[0]
                    unit = parse_amount(rounding.unit)[0]
                    lines.append((place, basis, ppm, rounded(Fraction(basis * ppm, 1_000_000), rounding.mode, unit)))
                    continue
                if rate.method == "tariff_line":
                    assert line is not None
                    head = item.code[: line.digits_under.get(way.scheme, line.digits)]
                    if head and head in seen:
                        continue
                    seen.add(head)
                lines.append((place, 0, 0, amount()))
        total = sum(line[3] for line in lines)
        if total > LARGEST:
            raise Refused("AMOUNT_OUT_OF_BOUNDS")
        minimum = in_force(charge.minimum, self.day, self.area)
        waived = False
        if minimum and total:
            least = parse_amount(minimum.amount)[0]
            waived = total <= least if minimum.collected == "above" else total < least
        done = []
        for place, basis, ppm, money in lines:
            money = 0 if waived else money
            done.append(
                Charged(
                    f"{self.book.jurisdiction}.{charge.id}",
                    place,
                    basis,
                    ppm,
                    money,
                    way.collector,
                    way.debtor,
                    way.scheme,
                    waived,
                )
            )
        mine = self.parts.setdefault(charge.kind, [0] * len(self.filed.items))
        goods = self.parts["goods"]
        for charged in done:
            for place, part in enumerate(shared(charged.amount, goods) if charged.item is None else []):
                mine[place] += part
            if charged.item is not None:
                mine[charged.item] += charged.amount
        return done
