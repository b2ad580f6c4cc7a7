"""Texts of revenue's notes about a consignment."""

from collections.abc import Iterable
from typing import Final

WORDS: Final = {
    "SCHEME_NUMBER_MISSING": "a scheme is named without its number and was not applied",
    "SCHEME_NUMBER_MALFORMED": "the scheme's number is malformed; the scheme was not applied",
    "SCHEME_NUMBER_UNKNOWN": "the scheme's number is not in the register; the scheme was not applied",
    "SCHEME_NUMBER_EXPIRED": "the scheme's number is not registered for the day of the law; the scheme was not applied",
    "SCHEME_NUMBER_UNCHECKED": "no register of the scheme is loaded; only the form of its number was checked",
    "SCHEME_NOT_OPEN": "the scheme is not open for this consignment and was not applied",
    "FREIGHT_NOT_DECLARED": "no freight declared; assumed to be included in the price",
    "INSURANCE_NOT_DECLARED": "no insurance declared; assumed to be included in the price",
    "FREIGHT_BY_DEFAULT": "no freight declared; the law's default was added to the value",
    "INSURANCE_BY_DEFAULT": "no insurance declared; the law's default was added to the value",
    "TAX_TAKEN_OUT": "the tax charged at sale was taken out of the prices",
    "CODE_MISSING": "an item over the limit has no commodity code; the tariff's default rate was assumed",
    "DEFAULT_DUTY_RATE": "the tariff has no rate for a code; its default rate was assumed",
    "DATE_NOT_DECLARED": "the date that the law names is not declared; the day of acceptance was used",
    "PREFERENCE_NOT_APPLIED": "the claimed preference was not applied; the ordinary rate was used",
    "BELOW_MINIMUM": "amounts below the minimum to be levied were waived",
    "GIFT_RELIEVED": "items are relieved up to the amount that the law allows",
    "EXCLUDED_GOODS": "the consignment contains goods that a limit excludes",
    "SUMMED": "other consignments count towards a limit together with this one",
    "PERSON_NOT_DECLARED": "the person that a limit applies to is not named; the consignment was counted alone",
    "UNIT_ASSUMED": "a rate is per unit, and an item declares another unit; the declared quantity was used",
    "REGION_NOT_RECOGNISED": "no rule names the declared region; the rule for all other regions was used",
    "RETURN_RELIEVED": "charges on goods that come back are not levied",
    "RETURN_NOT_PROVEN": "the return cites no MRN that proves that the goods left; it was charged",
    "RETURN_TERM_UNKNOWN": "the cited MRN does not state the day, and the term for returned goods may have ended; the return was charged",
    "RETURN_TERM_ENDED": "the goods come back after the term for returned goods; the return was charged",
    "RETURN_NOT_CLAIMED": "a relief of returned goods depends on more than the cited MRN and was not applied",
    "RETURN_NOT_COVERED": "the loaded law has no relief of returned goods from a charge, which may be too high",
    "EXPORT": "the goods are declared for export; no charges of an import are owed",
    "ACCOUNT_NOT_ALLOWED": "a deferred account or guarantee was not used: the filer may not draw on it",
}
SILENT: Final = frozenset({"WITHIN_LIMIT", "OVER_LIMIT", "NOT_COVERED", "UNVERIFIED_VALUE"})
"""Notes without a text here: charges show the first two, totals the others (`libs.cli.views.law_review`)."""


def note_texts(notes: Iterable[str]) -> list[str]:
    """Return the text of each note; an unknown note stays as it is."""
    return [WORDS.get(note, note) for note in notes if note not in SILENT]
