"""Checks of charges: rates, bases, rounding, minima and collection; refuses what cannot be levied as it is written."""

from services.revenue.law.checks import Checks, last_day
from services.revenue.law.rates import CONSIGNMENT_LEVEL, parse_rate
from services.revenue.law.rulebook import Charge, asks_of_items, positions
from services.revenue.law.yaml_source import Path


class ChargeChecks(Checks):
    """The checks of a rulebook's charges."""

    def charge(self, path: Path, charge: Charge) -> None:
        """Refuse a charge that cannot be levied as it is written."""
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
        self._collection(path, charge)

    def _collection(self, path: Path, charge: Charge) -> None:
        for place, entry in enumerate(charge.collection):
            here = (*path, "collection", place)
            self.position(here, entry.when)
            if entry.only and asks_of_items(entry.only):
                raise self.error((*here, "only"), "asks of items; a consignment is collected as a whole")
            if entry.scheme != "none" and entry.scheme not in self.book.schemes:
                raise self.error((*here, "scheme"), f"{entry.scheme!r} is not described under 'schemes'")
        for scheme in {entry.scheme for entry in charge.collection}:
            of_scheme = [entry for entry in charge.collection if entry.scheme == scheme]
            paths = [place for place, entry in enumerate(charge.collection) if entry.scheme == scheme]
            self.dated((*path, "collection"), of_scheme, None, places=paths)
        plain = [way for way in charge.collection if way.scheme == "none" and way.when is None and way.only is None]
        if not plain:
            raise self.error(
                (*path, "collection"), "has no entry with the scheme 'none'; that is where all else falls back"
            )
        self.covered((*path, "collection"), plain, charge, ("",), ("",))
