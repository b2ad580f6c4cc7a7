"""Checks of charges: rates, bases, rounding, minima and collection; refuses what cannot be levied as it is written."""

from services.revenue.law.source.checks import Checks, last_day, overlapping
from services.revenue.law.source.rates import (
    CONSIGNMENT_LEVEL,
    Method,
    ParsedRate,
    parse_rate,
    parse_share,
    percent_text,
)
from services.revenue.law.source.rulebook import PPM, Charge, Rate, asks_of_items, positions
from services.revenue.law.source.yaml_source import Path


class ChargeChecks(Checks):
    """The checks of a rulebook's charges."""

    def charge(self, path: Path, charge: Charge) -> None:
        """Refuse a charge that cannot be levied as it is written."""
        book = self.book
        self.order(path, charge)
        if charge.start < book.period.start or (charge.to and charge.to > last_day(book.period)):
            self.refuse(path, "its days lie outside the rulebook's period")
        for place, area in enumerate(charge.areas):
            if area not in book.areas:
                self.refuse((*path, "areas", place), f"{area!r} is not an area of this rulebook")
        for position in positions(charge.when):
            self.position(path, position)
        if charge.unless:
            self.reference((*path, "unless", "reference"), charge.unless.reference)
            self.scheme((*path, "unless", "without_scheme"), charge.unless.without_scheme)
            for place, digit in enumerate(charge.unless.preference):
                if len(digit) != 1 or digit not in "0123456789":
                    self.refuse((*path, "unless", "preference", place), f"{digit!r} is not one digit")
        if charge.also_when_unless_of:
            other = next((c for c in book.charges if c.id == charge.also_when_unless_of), None)
            if other is None or other.unless is None:
                self.refuse((*path, "also_when_unless_of"), "names no charge of this rulebook that has an 'unless'")
        methods = self._rates(path, charge)
        self._bases(path, charge, methods)
        if charge.tariff_line:
            self.reference((*path, "tariff_line", "reference"), charge.tariff_line.reference)
            for scheme in charge.tariff_line.digits_under:
                self.scheme((*path, "tariff_line", "digits_under", scheme), scheme)
        self._rounding(path, charge, methods)
        self._minimum(path, charge)
        self._collection(path, charge)

    def _rates(self, path: Path, charge: Charge) -> set[Method]:
        """Refuse rates that cannot be read or do not fit together; give how their amounts are found."""
        methods: set[Method] = set()
        for place, rate in enumerate(charge.rates):
            here = (*path, "rates", place)
            try:
                parsed = parse_rate(rate.rate)
            except ValueError as error:
                self.refuse((*here, "rate"), str(error))
                continue
            methods |= {leaf.method for leaf in parsed.leaves}
            of_goods = parsed.method not in CONSIGNMENT_LEVEL or charge.mass == "net"
            self.condition((*here, "only"), rate.condition, items=of_goods)
            self._less(here, rate, parsed)
        if charge.mass == "net" and methods - {"kilogram", "expression"}:
            self.refuse((*path, "mass"), "is for rates per kilogram alone; another rate of the charge is none")
        whole = {method in CONSIGNMENT_LEVEL and charge.mass != "net" for method in methods}
        if len(whole) > 1:
            self.refuse((*path, "rates"), "mixes rates per consignment with rates per item; make two charges of it")
        if True in whole:
            for name, asks in (("only", charge.condition is not None and asks_of_items(charge.condition)),
                               ("relieved_by", bool(charge.relieved_by))):  # fmt: skip
                if asks:
                    self.refuse((*path, name), "asks of items, and the charge is on the consignment as a whole")
        if "tariff" in methods and not charge.tariff:
            self.refuse(path, "has the rate 'tariff' and names no 'tariff'")
        if "tariff_line" in methods and charge.tariff_line is None:
            self.refuse(
                path, "is levied per tariff_line and has no 'tariff_line' that says how lines are distinguished"
            )
        self._variants(path, charge)
        return methods

    def _less(self, path: Path, rate: Rate, parsed: ParsedRate) -> None:
        if not rate.less:
            return
        self.amount((*path, "less"), rate.less, positive=True, foreign=True)
        if parsed.method != "percent":
            self.refuse((*path, "less"), "is taken off percentages only; write the smaller amount")
        if rate.condition and asks_of_items(rate.condition):
            self.refuse(
                (*path, "less"), "is taken off once a consignment, and 'only' asks of items; make two charges of it"
            )

    def _variants(self, path: Path, charge: Charge) -> None:
        """Refuse rates that leave a day without one that always fits, or that are never reached."""
        areas = charge.areas or self.book.areas
        self.dated((*path, "rates"), charge.rates, None, areas)
        always = [rate for rate in charge.rates if rate.condition is None]
        if not always:
            self.refuse((*path, "rates"), "has no rate without 'only'; that is where all else falls back")
        else:
            self.covered((*path, "rates"), always, charge, areas, ("",))
        for place, rate in enumerate(charge.rates):
            for earlier in charge.rates[:place]:
                covered = set(rate.areas) <= set(earlier.areas) and bool(earlier.areas) == bool(rate.areas)
                if (
                    earlier.condition is None
                    and rate.condition
                    and rate.areas
                    and covered
                    and overlapping(earlier, rate)
                ):
                    self.refuse(
                        (*path, "rates", place),
                        f"is never reached from {max(earlier.start, rate.start)} on: the rate from {earlier.start} "
                        "before it fits always there; put the one without 'only' last",
                    )
                    break

    def _bases(self, path: Path, charge: Charge, methods: set[Method]) -> None:
        of_base = methods & {"percent", "tariff"} or (
            "expression" in methods and any(map(_takes_base, map(self._parsed, charge.rates)))
        )
        before = self.book.charges[: self.book.charges.index(charge)]
        for place, part in enumerate(charge.base):
            if part in ("duty", "tax", "fee") and all(each.kind != part for each in before):
                self.refuse(
                    (*path, "base", place),
                    f"no {part} is charged before this charge, so that the base never holds any; put the charge behind it "
                    f"or leave {part!r} out",
                )
        if of_base and not charge.base and not charge.uplift:
            self.refuse(path, "has no 'base'; a percentage needs to say of what")
        exact = methods <= {"percent", "tariff", "expression"} or charge.mass == "net"
        for name in ("uplift", "over_only", "inside", "share"):
            if getattr(charge, name) and not exact:
                self.refuse((*path, name), "is for percentages and sums; another rate of the charge is neither")
        if charge.uplift:
            self.reference((*path, "uplift", "reference"), charge.uplift.reference)
            self._share((*path, "uplift", "percent"), charge.uplift.percent)
            if not charge.uplift.components:
                self.refuse((*path, "uplift", "of"), "names nothing; say what the uplift is a part of")
        if charge.share:
            self._share((*path, "share"), charge.share)
        if charge.over_only:
            if charge.over_only not in self.book.limits:
                self.refuse((*path, "over_only"), f"{charge.over_only!r} is not one of the rulebook's limits")
            for limit in self.book.limits.get(charge.over_only, ()):
                if limit.test != "consignment" or limit.exchange_table:
                    self.refuse(
                        (*path, "over_only"),
                        f"{charge.over_only!r} is tested on more or less than the consignment, or by another exchange "
                        "table; what is beyond it is unknown",
                    )
                if limit.amount != "none" and not limit.amount.endswith(f" {self.book.currency}"):
                    self.refuse((*path, "over_only"), f"{charge.over_only!r} is not in {self.book.currency}")
        self._inside(path, charge)

    def _inside(self, path: Path, charge: Charge) -> None:
        highest = 0
        for place, name in enumerate(charge.inside):
            here = (*path, "inside", place)
            other = next((each for each in self.book.charges if each.id == name), None)
            if other is None:
                self.refuse(here, f"{name!r} is no charge of this rulebook")
                continue
            if name in charge.inside[:place]:
                self.refuse(here, f"{name!r} stands twice")
            rates = [self._parsed(rate) for rate in other.rates]
            leaves = [leaf for rate in rates if rate for leaf in rate.leaves]
            if any(leaf.method not in ("percent", "tariff") for leaf in leaves):
                self.refuse(here, f"{name!r} has rates that are no percentages; a base can hold percentages only")
            highest += max((leaf.ppm for leaf in leaves), default=0)
        if highest >= PPM:
            self.refuse(
                (*path, "inside"),
                f"the percentages sum to {percent_text(highest)}; a base must be left: less than 100 %",
            )

    def _parsed(self, rate: Rate) -> ParsedRate | None:
        """Read a rate of another charge, whose own check reports what is wrong with it."""
        try:
            return parse_rate(rate.rate)
        except ValueError:
            return None

    def _share(self, path: Path, text: str) -> None:
        try:
            parse_share(text)
        except ValueError as error:
            self.refuse(path, str(error))

    def _rounding(self, path: Path, charge: Charge, methods: set[Method]) -> None:
        if methods & {"percent", "tariff", "kilogram", "expression"} and not charge.rounding:
            self.refuse(path, "has no 'rounding'; a computed amount needs a rule with its reference")
        areas = charge.areas or self.book.areas
        schemes = sorted({entry.scheme for entry in charge.collection} | {"none"})
        if charge.rounding:
            self.dated((*path, "rounding"), charge.rounding, charge, areas, schemes)
        for place, rule in enumerate(charge.rounding):
            here = (*path, "rounding", place)
            self.amount((*here, "unit"), rule.unit, positive=True)
            for at, scheme in enumerate(rule.schemes):
                self.scheme((*here, "schemes", at), scheme)
            for name in ("base_unit", "total_unit"):
                if written := getattr(rule, name):
                    self.amount((*here, name), written, positive=True)
            if rule.base_of == "sum" and (not rule.base_unit or charge.inside or methods - {"percent", "tariff"}):
                self.refuse(
                    (*here, "base_of"),
                    "'sum' is for a 'base_unit' of percentages whose base holds no percentage; leave it out here",
                )
            if rule.total_unit and methods & CONSIGNMENT_LEVEL and charge.mass != "net":
                self.refuse((*here, "total_unit"), "is for charges on items; write it as the 'unit'")

    def _minimum(self, path: Path, charge: Charge) -> None:
        self.dated((*path, "minimum"), charge.minimum, None, charge.areas or self.book.areas)
        before = [each.id for each in self.book.charges]
        before = before[: before.index(charge.id)]
        for place, minimum in enumerate(charge.minimum):
            here = (*path, "minimum", place)
            self.amount((*here, "amount"), minimum.amount, foreign=True)
            for at, name in enumerate(minimum.together_with):
                if name not in before:
                    self.refuse(
                        (*here, "together_with", at),
                        f"{name!r} is no charge before this one; a minimum of several stands on the last of them",
                    )

    def _collection(self, path: Path, charge: Charge) -> None:
        for place, entry in enumerate(charge.collection):
            here = (*path, "collection", place)
            self.position(here, entry.when)
            if entry.condition and asks_of_items(entry.condition):
                self.refuse((*here, "only"), "asks of items; a consignment is collected as a whole")
            if entry.scheme != "none" and entry.scheme not in self.book.schemes:
                self.refuse((*here, "scheme"), f"{entry.scheme!r} is not described under 'schemes'")
        for scheme in {entry.scheme for entry in charge.collection}:
            of_scheme = [entry for entry in charge.collection if entry.scheme == scheme]
            paths = [place for place, entry in enumerate(charge.collection) if entry.scheme == scheme]
            self.dated((*path, "collection"), of_scheme, None, places=paths)
        plain = [
            way for way in charge.collection if way.scheme == "none" and way.when is None and way.condition is None
        ]
        if not plain:
            self.refuse((*path, "collection"), "has no entry with the scheme 'none'; that is where all else falls back")
        else:
            self.covered((*path, "collection"), plain, charge, ("",), ("",))


def _takes_base(rate: ParsedRate | None) -> bool:
    """Return whether any part of the rate is a percentage."""
    expressions = [leaf.expression for leaf in rate.leaves if leaf.expression] if rate else []
    return any(each.ppm for expression in expressions for each in expression.totals if each)
