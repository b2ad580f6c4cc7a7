"""Charges in plain numbers: what one consignment owes by each charge of its rulebook."""

from datetime import date
from fractions import Fraction
from string import ascii_uppercase

from services.revenue.law.program.program import Program
from services.revenue.law.source.rulebook import Charge, Collection, Condition, Position, Rate, Rulebook
from services.revenue.law.source.tariff import TariffRate
from tests.revenue.law.oracle_rates import (
    Plain,
    Total,
    claims,
    clause,
    held,
    in_season,
    of_returns,
    read_amount,
    read_quoted,
    read_rate,
    the_one,
)
from tests.revenue.law.oracle_words import (
    EDGE,
    LARGEST,
    SCHEME_NAMES,
    Charged,
    Consignment,
    Item,
    Leaf,
    Refused,
    Result,
    rounded,
    shared,
)

__all__ = [
    "EDGE",
    "LARGEST",
    "SCHEME_NAMES",
    "Charged",
    "Charging",
    "Consignment",
    "Item",
    "Refused",
    "Result",
    "rounded",
    "shared",
]


def sides(charge: Charge) -> list[Position]:
    """The limits on whose sides a charge is levied."""
    return [charge.when] if isinstance(charge.when, Position) else list(charge.when)


class Charging:
    """One consignment whose value and limits are known, on the way to what it owes."""

    parts: dict[str, list[int]]
    customs_base: set[str]
    within: dict[str, list[bool]]
    states: dict[str, bool]
    relieved: dict[str, list[bool]]
    day: date
    exchange_day: date

    def __init__(self, program: Program, book: Rulebook, filed: Consignment) -> None:
        self.program, self.book, self.filed = program, book, filed
        self.area = filed.destination
        self.parts = {}
        self.notes: set[str] = set()
        self.day, self.exchange_day = self.day_of(book.law_date), self.day_of(book.exchange.date)
        self.charged: dict[str, list[Charged]] = {}

    def day_of(self, which: str) -> date:
        """The day that the law names; acceptance where it is not told, which is noted."""
        filed = self.filed
        if which == "acceptance":
            return filed.accepted
        told = {"sale": filed.sold, "export": filed.exported, "direct_shipment": filed.shipped}[which]
        if told is None:
            self.notes.add("DATE_NOT_DECLARED")
        return told or filed.accepted

    def rate(self, currency: str) -> Fraction:
        found = self.quoted(self.book.exchange.table, currency)
        if found is None:
            raise Refused("NO_EXCHANGE_RATE")
        return found

    def quoted(self, table: str, currency: str) -> Fraction | None:
        """What a table says of a currency on the exchange day; None where it says nothing."""
        day = (self.exchange_day - date(1970, 1, 1)).days
        for rate in self.program.exchange.rates:
            if rate.table == table and rate.currency == currency and rate.start <= day <= rate.end:
                return read_quoted(rate.quoted)
        return None

    def doubted(self, *values: object) -> bool:
        """Whether any of these, a value of the law or the name of a reference, is not verified."""
        names = [value if isinstance(value, str) else value.reference for value in values if value]  # type: ignore[attr-defined]
        return any(not self.book.references[name].verified for name in names) or any(
            not clause(value, "verified", True) for value in values
        )

    def converted(self, minor: int, currency: str) -> int:
        rate = self.rate(currency)
        if rate == 1:
            return minor
        return rounded(minor * rate, self.book.exchange.mode, read_amount(self.book.exchange.unit)[0])

    def base(self, names: tuple[str, ...]) -> list[int]:
        wanted = set(names) - {"customs_value"} | (self.customs_base if "customs_value" in names else set())
        return [sum(self.parts[n][i] for n in wanted if n in self.parts) for i in range(len(self.filed.items))]

    def fits(self, only: Condition | None, item: Item | None) -> bool:
        """Whether a condition fits the consignment and, where one is given, the item."""
        raise NotImplementedError

    def collection(self, charge: Charge) -> Collection:
        ways = [way for way in charge.collection if held(way, self.day)]
        plain = [way for way in ways if way.scheme == "none" and way.when is None and way.condition is None]
        for way in [each for each in ways if each not in plain] + plain:
            if way.scheme != "none" and not self.states.get(way.scheme):
                continue
            if way.when and all(self.within[way.when.limit]) != (way.when.position == "within"):
                continue
            if self.fits(way.condition, None):
                return way
        raise AssertionError("no fallback")

    def excepted(self, charge: Charge, item: Item) -> bool:
        unless = charge.unless
        return bool(unless and item.preference[:1] in unless.preference and not self.states.get(unless.without_scheme))

    def applies(self, charge: Charge, place: int) -> bool:
        """Whether a charge on lines of goods is due on one of them."""
        item = self.filed.items[place]
        due = all(self.within[p.limit][place] == (p.position == "within") for p in sides(charge))
        due = due and not self.excepted(charge, item)
        other = self.book.charge(charge.also_when_unless_of) if charge.also_when_unless_of else None
        if other and held(other, self.day) and self.excepted(other, item):
            due = True
        return (
            due
            and self.fits(charge.condition, item)
            and not any(self.relieved[r][place] for r in charge.relieved_by if not of_returns(self.book.reliefs[r]))
        )

    def written(self, charge: Charge, item: Item | None) -> Rate:
        """The rate of the law for an item or, without one, for the consignment."""
        return next(rate for rate in self.tried(charge) if self.fits(rate.condition, item))

    def tried(self, charge: Charge) -> list[Rate]:
        """The rates that may be taken on the day, in their order, up to the first that always fits."""
        here = [r for r in charge.rates if held(r, self.day) and (not r.areas or self.area in r.areas)]
        named = [rate for rate in here if rate.areas or rate.condition]
        tried = [*named, *(rate for rate in here if rate not in named)]
        return tried[: 1 + next(place for place, rate in enumerate(tried) if rate.condition is None)]

    def as_written(self, rate: Rate) -> Leaf:
        name = f"{self.book.jurisdiction}:{rate.reference}"
        return Leaf(rate.rate, read_rate(rate.rate), name, self.doubted(rate))

    def leaf(self, charge: Charge, item: Item) -> Leaf:
        """The rate that an item comes to, by tariff and season."""
        written = self.written(charge, item)
        leaf = self.as_written(written)
        if written.rate == "tariff":
            found = self.by_tariff(charge, item)
            name = f"{self.book.jurisdiction}:{charge.tariff}/{found.reference}"
            doubted = self.doubted(written) or not found.verified
            leaf = Leaf(found.text, read_rate(found.text), name, doubted, found.preferential)
            self.notes |= {"DEFAULT_DUTY_RATE"} if found.assumed else set()
            self.notes |= set() if item.code else {"CODE_MISSING"}
        if any(rate.rate == "tariff" for rate in self.tried(charge)):
            claimed = bool(item.preference) and item.preference[0] in "023456789" + ascii_uppercase
            self.notes |= {"PREFERENCE_NOT_APPLIED"} if claimed and not leaf.preferential else set()
        if leaf.plain.seasons:
            leaf.text = in_season(leaf.plain, self.day)
            leaf.plain = read_rate(leaf.text)
        return leaf

    def by_tariff(self, charge: Charge, item: Item) -> TariffRate:
        table = next(t for t in self.program.tariffs if t.tariff == charge.tariff and held(t, self.day))
        fitting = [
            each
            for each in table.preferences
            if (not each.origins or item.origin in each.origins)
            and (not each.preference or any(claims(item.preference, code) for code in each.preference))
        ]
        groups = [*(each.prefixes for each in fitting), table.prefixes]

        def line(code: str) -> int:
            for prefixes in groups:
                named = [prefix for prefix in prefixes if code.startswith(prefix)]
                if named:
                    return prefixes[max(named, key=len)]
            return -1

        place = line(item.code)
        longer = {code for prefixes in groups for code in prefixes if code.startswith(item.code) and code != item.code}
        if longer and len(item.code) >= 6 and item.code not in table.prefixes:
            below = {line(code) for code in longer}
            if -1 in below:
                place = -1
            else:
                below |= {place} if place >= 0 else set()
                if len({read_rate(table.rates[each].text) for each in below}) == 1:
                    place = min(
                        below, key=lambda each: (table.rates[each].verified, table.rates[each].preferential, each)
                    )
        if place >= 0:
            return table.rates[place]
        typical = [prefix for prefix in table.defaults if item.code.startswith(prefix)]
        if typical:
            return table.rates[table.defaults[max(typical, key=len)]]
        if table.default < 0:
            raise Refused("NO_DUTY_RATE")
        return table.rates[table.default]

    def percent(self, charge_id: str, place: int) -> Fraction:
        """The percentage of a charge on an item, nothing where it is not due."""
        charge = self.book.charge(charge_id)
        here = held(charge, self.day) and (not charge.areas or self.area in charge.areas)
        if not here or not self.applies(charge, place):
            return Fraction(0)
        return Fraction(self.leaf(charge, self.filed.items[place]).plain.ppm, 1_000_000)

    def bases(self, charge: Charge, places: list[int], mode: str, base_unit: str) -> dict[int, Fraction]:
        """What each charged item's percentage is taken of, exactly."""
        sums = self.base(charge.base)
        found = [sums[place] for place in places]
        if charge.over_only:
            entries = self.book.limits[charge.over_only]
            limit = next(e for e in entries if held(e, self.day) and self.fits(e.condition, None))
            worth = sum(self.base(limit.measure))
            if limit.amount != "none":
                most = read_amount(limit.amount)[0]
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
                basis += self.base(charge.uplift.components)[place] * share
            inside = sum((self.percent(name, place) for name in charge.inside), Fraction(0))
            basis /= 1 - inside
            if base_unit:
                basis = Fraction(rounded(basis, mode, read_amount(base_unit)[0]))
            result[place] = basis
        return result

    def quantity(self, what: str, item: Item) -> int:
        if what == "net mass" and item.net_mass_mg:
            return item.net_mass_mg
        factors = {
            ("net mass", "KGM"): 1000, ("net mass", "DTN"): 100_000, ("gross mass", "KGMG"): 1000,
            ("pieces", "H87"): 1, ("pieces", "NAR"): 1, ("pieces", "DZN"): 12, ("pieces", ""): 1,
            ("pairs", "NPR"): 1, ("volume", "LTR"): 1000, ("volume", "HLT"): 100_000,
            ("alcohol", "LPA"): 1000, ("length", "MTR"): 1000, ("area", "MTK"): 1,
            ("drained", "DTNE"): 100_000, ("dry matter", "DTNM"): 100_000,
            ("lactic matter", "KGMP"): 1000, ("dry lactic matter", "KGMT"): 1000,
            ("standard quality", "DTNR"): 100_000, ("sucrose", "DTNZ"): 1000, ("total alcohol", "KGMA"): 1000,
        }  # fmt: skip
        for amount, unit, named in (
            (item.supplementary_milli, item.supplementary_unit, True),
            (item.quantity_milli, item.unit, False),
        ):
            factor = factors.get((what, unit), 0) if unit or not named else 0
            if amount and factor:
                self.notes |= set() if unit else {"UNIT_ASSUMED"}
                return amount * factor
        raise Refused("QUANTITY_MISSING")

    def value(self, rate: Plain, basis: Fraction, item: Item, charge: Charge) -> tuple[Fraction, int]:
        """What a rate of any parts gives, exactly, and the first quantity that it takes."""
        told: list[int] = []
        whole = rate.whole
        if rate.method == "kilogram":
            whole = Total(Fraction(0), ((Fraction(rate.minor, 1_000_000), "net mass"),))
        home = self.rate(rate.currency) if rate.currency else Fraction(1)

        def of(total: Total) -> Fraction:
            result = basis * total.percent
            for amount, what in total.per:
                parts = self.quantity(what, item)
                if charge.mass == "net" and what == "net mass":
                    step = charge.mass_unit_grams * 1000
                    parts = -(-parts // step) * step
                told.append(parts)
                result += amount * parts * home
            return result

        result = of(whole)
        if rate.least:
            result = max(result, of(rate.least))
        if rate.most:
            result = min(result, of(rate.most))
        return result, told[0] if told else 0

    def charge(self, charge: Charge) -> list[Charged]:
        way = self.collection(charge)
        rounding = the_one(charge.rounding, self.day, self.area, way.scheme)
        mode, unit = (rounding.mode, read_amount(rounding.unit)[0]) if rounding else ("down", 1)
        general = self.as_written(self.written(charge, None)).plain
        if general.method in ("consignment", "kilogram") and charge.mass == "gross":
            lines = self.on_consignment(charge, mode, unit)
        else:
            together = rounding.base_unit if rounding and rounding.base_of == "sum" else ""
            lines = self.on_items(charge, way, mode, unit, rounding.base_unit if rounding and not together else "")
            if together:
                self.at_one_rate(charge, lines, mode, unit, read_amount(together)[0])
        for line in lines:
            if self.comes_back(charge, line):
                self.notes |= {"RETURN_RELIEVED"} if line.amount else set()
                line.forgone, line.amount, line.waived = line.amount, 0, True
        total = sum(line.amount for line in lines)
        if total > LARGEST:
            raise Refused("AMOUNT_OUT_OF_BOUNDS")
        wanted = total
        written = [self.written(charge, self.filed.items[line.item or 0]).less for line in lines]
        if off := [self.converted(*read_amount(less)) for less in written if less]:
            wanted = max(total - max(off), 0)
        if rounding and rounding.total_unit:
            wanted = rounded(Fraction(wanted), mode, read_amount(rounding.total_unit)[0])
        if wanted != total:
            for line, part in zip(lines, shared(wanted, [line.amount for line in lines]), strict=True):
                line.amount = part
        self.minimum(charge, lines)
        for line in lines:
            line.collector, line.debtor, line.scheme = way.collector, way.debtor, way.scheme
            self.add(charge.kind, line, 1)
        scheme = self.book.schemes.get(way.scheme)
        minimum = the_one(charge.minimum, self.day, self.area)
        if lines and self.doubted(way, rounding, scheme, minimum, charge.uplift, charge.unless, charge.tariff_line):
            self.notes.add("UNVERIFIED_VALUE")
        self.charged[charge.id] = lines
        return lines

    def on_consignment(self, charge: Charge, mode: str, unit: int) -> list[Charged]:
        kept = [all(self.within[p.limit]) == (p.position == "within") for p in sides(charge)]
        if not all(kept) or not self.fits(charge.condition, None):
            return []
        leaf = self.as_written(self.written(charge, None))
        amount = self.converted(leaf.plain.minor, leaf.plain.currency)
        if leaf.plain.method == "consignment":
            return [self.line(charge, None, leaf, 0, amount)]
        if self.filed.mass_mg is None:
            raise Refused("MASS_MISSING")
        if not 0 <= self.filed.mass_mg <= LARGEST:
            raise Refused("AMOUNT_OUT_OF_BOUNDS")
        step = charge.mass_unit_grams * 1000
        mass = -(-self.filed.mass_mg // step) * step
        money = rounded(Fraction(mass * amount, 1_000_000), mode, unit)
        return [self.line(charge, None, leaf, mass, money, mass)]

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
            leaf = self.leaf(charge, item)
            rate = leaf.plain
            if rate.method in ("tariff_line", "item"):
                if rate.method == "tariff_line":
                    assert charge.tariff_line is not None
                    head = item.code[: charge.tariff_line.digits_under.get(way.scheme, charge.tariff_line.digits)]
                    if head and head in seen:
                        continue
                    seen.add(head)
                lines.append(self.line(charge, place, leaf, 0, self.converted(rate.minor, rate.currency)))
                continue
            basis, quantity = bases[place], 0
            if rate.method == "percent":
                value = basis * Fraction(rate.ppm, 1_000_000)
            else:
                value, quantity = self.value(rate, basis, item, charge)
            told = rounded(basis, mode, 1)
            lines.append(self.line(charge, place, leaf, told, rounded(value * share, mode, unit), quantity))
        return lines

    def comes_back(self, charge: Charge, line: Charged) -> bool:
        """Whether a charge is not levied because its goods come back."""
        names = [name for name in charge.relieved_by if of_returns(self.book.reliefs[name])]
        return line.item is not None and any(self.relieved[name][line.item] for name in names)

    def at_one_rate(self, charge: Charge, lines: list[Charged], mode: str, unit: int, base_unit: int) -> None:
        """Round the base of all lines of one rate together, and what it gives; the lines share both."""
        places = [line.item for line in lines if line.item is not None]
        exact = self.bases(charge, places, mode, "")
        share = Fraction(charge.share.split()[0]) / 100 if charge.share else Fraction(1)
        for rate, back in {((line.rate, line.ppm), self.comes_back(charge, line)): None for line in lines}:
            alike = [line for line in lines if line.rate == rate[0] and self.comes_back(charge, line) == back]
            base = rounded(sum((exact[line.item or 0] for line in alike), Fraction(0)), mode, base_unit)
            amount = rounded(base * Fraction(rate[1], 1_000_000) * share, mode, unit)
            weights = [line.basis for line in alike]
            for line, mine, owed in zip(alike, shared(base, weights), shared(amount, weights), strict=True):
                line.basis, line.amount = mine, owed

    def line(
        self, charge: Charge, place: int | None, leaf: Leaf, basis: int, amount: int, quantity: int = 0
    ) -> Charged:
        self.notes |= {"UNVERIFIED_VALUE"} if leaf.doubted else set()
        name, ppm = f"{self.book.jurisdiction}.{charge.id}", leaf.plain.ppm
        return Charged(name, place, basis, ppm, amount, "", "", "", False, leaf.text, quantity, leaf.reference)

    def minimum(self, charge: Charge, lines: list[Charged]) -> None:
        minimum = the_one(charge.minimum, self.day, self.area)
        if minimum is None or not lines:
            return
        together = [line for name in minimum.together_with for line in self.charged.get(name, [])]
        total = sum(line.amount for line in [*lines, *together])
        least = self.converted(*read_amount(minimum.amount))
        if total and (total <= least if minimum.collected == "above" else total < least):
            for line in together:
                self.add(self.book.charge(line.charge.split(".")[1]).kind, line, -1)
            for line in [*lines, *together]:
                line.forgone = line.amount if not line.waived else line.forgone
                line.amount, line.waived = 0, True
            self.notes.add("BELOW_MINIMUM")

    def add(self, kind: str, line: Charged, sign: int) -> None:
        """Make a line part of later bases, or take it out again."""
        mine = self.parts.setdefault(kind, [0] * len(self.filed.items))
        if line.item is not None:
            mine[line.item] += sign * line.amount
            return
        for place, part in enumerate(shared(line.amount, self.parts["goods"])):
            mine[place] += sign * part
