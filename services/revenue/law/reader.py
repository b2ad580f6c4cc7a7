"""Reads a rulebook; refuses what cannot be law: gaps, overlaps, unknown units, values without reference or rounding."""

import hashlib
import re
from dataclasses import dataclass

from libs.customs.currencies import minor_units
from services.revenue.law.charge_checks import ChargeChecks
from services.revenue.law.checks import Checks
from services.revenue.law.rulebook import Rulebook
from services.revenue.law.yaml_source import Source


@dataclass(frozen=True, slots=True)
class ReadRulebook:
    """A rulebook that passed all checks."""

    rulebook: Rulebook
    file: str
    version: str
    """Jurisdiction, version as written and the first 8 digits of the text's SHA-256. Example: "EU/2026.1/1f0c9a2b"."""


def read_rulebook(file: str, text: str) -> ReadRulebook:
    """Read and check one rulebook; LawFileError names the file, the line and the rule that cannot be applied."""
    source = Source(file, text)
    rulebook = source.convert(Rulebook)
    _Checks(source, rulebook).run()
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return ReadRulebook(rulebook, file, f"{rulebook.jurisdiction}/{rulebook.version}/{digest}")


class _Checks(Checks):
    def run(self) -> None:
        book = self.book
        if not book.areas:
            raise self.error(("areas",), "names no country; a rulebook needs at least one")
        for place, area in enumerate(book.areas):
            if not re.fullmatch("[A-Z]{2}", area) or area in book.areas[:place]:
                raise self.error(("areas", place), f"{area!r} is no country's two letters, or stands twice")
        try:
            minor_units(book.currency)
        except ValueError:
            raise self.error(("currency",), f"unknown unit {book.currency!r}; it is no ISO 4217 code") from None
        self.order(("period",), book.period)
        self.reference(("law_date_reference",), book.law_date_reference)
        self.reference(("exchange", "reference"), book.exchange.reference)
        self.amount(("exchange", "unit"), book.exchange.unit, positive=True)
        for name, entries in (("customs_value", book.customs_value),):
            self.dated((name,), entries, book.period)
        for place, entry in enumerate(book.customs_value):
            if "customs_value" in entry.base:
                raise self.error(("customs_value", place, "base"), "the customs value cannot be made of itself")
        for name, limits in book.limits.items():
            self.dated(("limits", name), limits, book.period)
            for place, limit in enumerate(limits):
                if limit.amount != "none":
                    self.amount(("limits", name, place, "amount"), limit.amount, foreign=True)
        for scheme, rule in book.schemes.items():
            self.reference(("schemes", scheme, "reference"), rule.reference)
            try:
                re.compile(rule.number)
            except re.error as error:
                raise self.error(("schemes", scheme, "number"), f"is no regular expression: {error}") from None
        charges = ChargeChecks(self.source, book)
        seen: set[str] = set()
        for place, charge in enumerate(book.charges):
            if charge.id in seen:
                raise self.error(("charges", place), "the id stands twice; charges are told apart by it")
            seen.add(charge.id)
            charges.charge(("charges", place), charge)
