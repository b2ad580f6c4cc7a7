"""Reads a rulebook; refuses what cannot be law: gaps, overlaps, unknown units, values without reference or rounding."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from libs.customs.currencies import minor_units
from services.revenue.law.source.charge_checks import ChargeChecks
from services.revenue.law.source.checks import Checks, overlapping
from services.revenue.law.source.goods_file import OtherFiles, with_goods
from services.revenue.law.source.rates import parse_amount, parse_share
from services.revenue.law.source.rulebook import PPM, Charge, NotCovered, Part, Rulebook, positions
from services.revenue.law.source.written_out import with_bands, with_parameters
from services.revenue.law.source.yaml_source import Path, Source


@dataclass(frozen=True, slots=True)
class ReadRulebook:
    """A rulebook that passed all checks."""

    rulebook: Rulebook
    as_written: Rulebook
    """The rulebook before its entries were written out."""
    file: str
    version: str
    """Jurisdiction, version as written and the first 8 digits of the text's SHA-256. Example: "EU/2026.1/1f0c9a2b"."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Line of each charge, by id."""

    def where(self, charge_id: str) -> str:
        """Return the place of a charge: file, line and rule."""
        return f"{self.file}:{self.lines.get(charge_id, 0)}: charges[{charge_id}]"


def read_rulebook(file: str, text: str, other_files: OtherFiles = lambda _name: None) -> ReadRulebook:
    """Read and check one rulebook; LawFileError has the file, the line and the rule of everything that cannot be applied.

    `other_files` gives the text of a list of goods in the same directory by its name, None where there is none.
    """
    source = Source(file, text)
    as_written = source.convert(Rulebook)
    rulebook = with_goods(source, with_bands(source, with_parameters(source, as_written)), other_files)
    _Checks(source, rulebook).run()
    source.finish()
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    lines = {charge.id: source.line(("charges", place)) for place, charge in enumerate(rulebook.charges)}
    return ReadRulebook(rulebook, as_written, file, f"{rulebook.jurisdiction}/{rulebook.version}/{digest}", lines)


def _limits_named(charges: Sequence[Charge], gaps: Sequence[NotCovered]) -> set[str]:
    named = {charge.over_only for charge in charges}
    named |= {position.limit for gap in gaps for position in positions(gap.when)}
    for charge in charges:
        named |= {position.limit for position in positions(charge.when)}
        named |= {way.when.limit for way in charge.collection if way.when}
    return named


_PARAMETER: Final = re.compile("[a-z][a-z0-9_]*")
_BENEFICIARY: Final = re.compile(r"destination|[A-Z][A-Z0-9]{1,9}")


class _Checks(Checks):
    def run(self) -> None:
        book = self.book
        if not book.areas:
            self.refuse(("areas",), "names no country; a rulebook needs at least one")
        for place, area in enumerate(book.areas):
            if not re.fullmatch("[A-Z]{2}", area) or area in book.areas[:place]:
                self.refuse(("areas", place), f"{area!r} is no country's two letters, or stands twice")
        try:
            minor_units(book.currency)
        except ValueError:
            self.refuse(("currency",), f"unknown unit {book.currency!r}; it is no ISO 4217 code")
        self.order(("period",), book.period)
        self.reference(("law_date_reference",), book.law_date_reference)
        self.reference(("exchange", "reference"), book.exchange.reference)
        self.amount(("exchange", "unit"), book.exchange.unit, positive=True)
        if taxed := book.prices_with_tax:
            self.reference(("prices_with_tax", "reference"), taxed.reference)
            if "goods" not in taxed.parts:
                self.refuse(
                    ("prices_with_tax", "parts"), "leaves out the goods, whose prices hold the tax first of all"
                )
        for name, entries in (("customs_value", book.customs_value),):
            self.dated((name,), entries, book.period)
        for place, entry in enumerate(book.customs_value):
            if "customs_value" in entry.base:
                self.refuse(("customs_value", place, "base"), "the customs value cannot be made of itself")
        self._parameters()
        self._defaults()
        self._limits()
        self._reliefs()
        self._schemes()
        charges = ChargeChecks(self.source, book)
        seen: set[str] = set()
        for place, charge in enumerate(book.charges):
            if charge.id in seen:
                self.refuse(("charges", place), "the id stands twice; each charge needs its own id")
            seen.add(charge.id)
            charges.charge(("charges", place), charge)
            self._conditions(("charges", place), charge)
        self._refunds()
        self._beneficiaries()
        for place, gap in enumerate(book.not_covered):
            here = ("not_covered", place)
            self.order(here, gap)
            self.reference((*here, "reference"), gap.reference)
            if not gap.name:
                self.refuse((*here, "what"), "names nothing; say what is owed")
            if not (gap.goods or gap.areas or gap.condition or gap.when):
                self.refuse(here, "names neither goods nor areas, 'only' or 'when'; say of what it is owed")
            self.codes((*here, "goods"), gap.goods)
            self.condition((*here, "only"), gap.condition)
            for position in positions(gap.when):
                self.position(here, position)
            for at, area in enumerate(gap.areas):
                if area not in book.areas:
                    self.refuse((*here, "areas", at), f"{area!r} is not an area of this rulebook")

    def _parameters(self) -> None:
        for name, values in self.book.parameters.items():
            path = ("parameters", name)
            if not _PARAMETER.fullmatch(name):
                self.refuse(path, "is no name of a parameter; write small letters, digits and _, a letter first")
            self.dated(path, values, None)
            for place, each in enumerate(values):
                try:
                    parse_share(each.value) if each.value.endswith("%") else parse_amount(each.value)
                except ValueError as error:
                    self.refuse((*path, place, "value"), str(error))

    def _defaults(self) -> None:
        for name, entries in self.book.defaults.items():
            if not entries:
                self.refuse(("defaults", name), "has no entry")
            for place, entry in enumerate(entries):
                here = ("defaults", name, place)
                self.order(here, entry)
                self.reference((*here, "reference"), entry.reference)
                try:
                    parse_share(entry.percent)
                except ValueError as error:
                    self.refuse((*here, "percent"), str(error))
                if not entry.components or (name == "freight" and "freight" in entry.components):
                    self.refuse((*here, "of"), "names nothing, or the freight itself; say of what the percentage is")
                self.condition((*here, "only"), entry.condition, items=False)
                self.reached(here, entries, place)

    def _limits(self) -> None:
        named = _limits_named(self.book.charges, self.book.not_covered)
        for name, limits in self.book.limits.items():
            path = ("limits", name)
            if name not in named:
                self.refuse(
                    path,
                    "decides nothing: no charge names it in 'when', 'over_only' or a collection's 'when'; "
                    "name it or leave it out",
                )
            self.dated(path, limits, self.book.period)
            for place, limit in enumerate(limits):
                here = (*path, place)
                if limit.amount not in ("none", "all"):
                    self.amount((*here, "amount"), limit.amount, foreign=True)
                self._measure((*here, "measure"), limit.measure)
                self.condition((*here, "only"), limit.condition, items=False)
                self.codes((*here, "excluded"), limit.excluded)
                self.reached(here, limits, place)

    def _measure(self, path: Path, measure: tuple[str, ...]) -> None:
        if not measure:
            self.refuse(path, "names nothing; say what is measured")
        for place, part in enumerate(measure):
            if part in ("duty", "tax", "fee"):
                self.refuse((*path, place), f"{part!r} is not known yet where this is measured")

    def _reliefs(self) -> None:
        named = {name for charge in self.book.charges for name in charge.relieved_by}
        for name, reliefs in self.book.reliefs.items():
            path = ("reliefs", name)
            self.dated(path, reliefs, None)
            if not reliefs:
                self.refuse(path, "has no entry")
            if name not in named:
                self.refuse(path, "relieves from nothing: no charge names it in 'relieved_by'")
            for place, relief in enumerate(reliefs):
                here = (*path, place)
                # Nothing is for those whom a later entry would relieve; the last has none after it.
                if relief.amount != "all":
                    self.amount((*here, "amount"), relief.amount, positive=relief is reliefs[-1], foreign=True)
                if (relief.condition.returned is None) != (reliefs[0].condition.returned is None):
                    self.refuse(here, "is of returned goods and stands beside others; make two reliefs of it")
                self._measure((*here, "measure"), relief.measure)
                self.condition((*here, "only"), relief.condition)
                self.codes((*here, "excluded"), relief.excluded)

    def _schemes(self) -> None:
        for scheme, rule in self.book.schemes.items():
            self.reference(("schemes", scheme, "reference"), rule.reference)
            if scheme == "none":
                self.refuse(("schemes", scheme), "is the border, where no scheme is; it has no numbers")
            try:
                re.compile(rule.number)
            except re.error as error:
                self.refuse(("schemes", scheme, "number"), f"is no regular expression: {error}")

    def _conditions(self, path: Path, charge: Charge) -> None:
        for place, name in enumerate(charge.relieved_by):
            if name not in self.book.reliefs:
                self.refuse((*path, "relieved_by", place), f"{name!r} is not one of the rulebook's reliefs")
        self.condition((*path, "only"), charge.condition)
        for place, rate in enumerate(charge.rates):
            self.condition((*path, "rates", place, "only"), rate.condition)
        for place, way in enumerate(charge.collection):
            self.condition((*path, "collection", place, "only"), way.condition, items=False)

    def _refunds(self) -> None:
        ids = {charge.id for charge in self.book.charges}
        for place, refund in enumerate(self.book.refunds):
            here = ("refunds", place)
            self.order(here, refund)
            self.reference((*here, "reference"), refund.reference)
            for at, charge in enumerate(refund.charges):
                if charge not in ids:
                    self.refuse((*here, "charges", at), f"{charge!r} is not one of the rulebook's charges")
            for name in ("charges", "because"):
                if not getattr(refund, name):
                    self.refuse((*here, name), "names nothing; say what is paid back and why")
            try:
                parse_share(refund.share)
            except ValueError as error:
                self.refuse((*here, "share"), str(error))
            if refund.within_days < 0:
                self.refuse((*here, "within_days"), "is less than nothing; leave it out where there is no limit")
            for earlier in self.book.refunds[:place]:
                both = set(earlier.charges) & set(refund.charges), set(earlier.because) & set(refund.because)
                if all(both) and overlapping(earlier, refund):
                    self.refuse(
                        here,
                        f"overlaps the entry from {earlier.start}: both say what is paid back of {min(both[0])} that is "
                        f"{min(both[1])}; end one before the other begins",
                    )
                    break

    def _beneficiaries(self) -> None:
        for place, entry in enumerate(self.book.beneficiaries):
            here = ("beneficiaries", place)
            self.order(here, entry)
            self.reference((*here, "reference"), entry.reference)
            for name in ("kinds", "parts"):
                if not getattr(entry, name):
                    self.refuse((*here, name), "names nothing; say whose revenue which kinds of charge are")
            self._parts((*here, "parts"), entry.parts)
            for earlier in self.book.beneficiaries[:place]:
                both = set(earlier.kinds) & set(entry.kinds)
                if both and overlapping(earlier, entry):
                    self.refuse(
                        here,
                        f"overlaps the entry from {earlier.start}: both say whose revenue {min(both)} is; end one before the "
                        "other begins",
                    )
                    break

    def _parts(self, path: Path, parts: tuple[Part, ...]) -> None:
        total = 0
        for place, part in enumerate(parts):
            if not _BENEFICIARY.fullmatch(part.to):
                self.refuse((*path, place, "to"), "is neither 'destination' nor a code of 2 to 10 letters and digits")
            if part.to in {each.to for each in parts[:place]}:
                self.refuse((*path, place, "to"), f"{part.to!r} stands twice; each beneficiary has one part")
            if (part.share == "rest") != (place == len(parts) - 1):
                self.refuse((*path, place, "share"), "the last part is the rest, and no other is")
            try:
                total += 0 if part.share == "rest" else parse_share(part.share)
            except ValueError as error:
                self.refuse((*path, place, "share"), str(error))
        if total >= PPM:
            self.refuse(path, "leaves nothing to the last part")
