"""The checks of filings with their levels: what an administration writes in YAML, read and checked when the service starts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from libs.customs.countries import is_country
from libs.customs.currencies import is_currency
from libs.customs.descriptions import vague
from libs.customs.descriptions.vague import VagueTerms
from libs.files.yaml_file import YamlError, YamlFile
from services.ingestion.quality.scores import FULL, REASONS, Term, Weights

INCLUDED: Final = Path(__file__).parent / "filing_checks.yaml"
TERMS_MAX: Final = 20_000
_MERGED: Final = ("levels", "bounds", "quality", "postcodes")
_FORMS: Final = {"9": "[0-9]", "A": "[A-Z]", "X": "[A-Z0-9]"}

Level = Literal["none", "warn", "reject"]
TimeColumn = Literal["order_time", "export_time", "transport_departure_time", "transport_arrival_time"]
_Days = Annotated[int, msgspec.Meta(ge=0, le=36_500)]
_Percent = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
_Price = Annotated[int, msgspec.Meta(ge=0, le=10**15)]
_Points = Annotated[int, msgspec.Meta(ge=0, le=FULL)]
_Term = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
_PostcodeForm = Annotated[str, msgspec.Meta(pattern="^[9AX]{3,10}$")]


class Levels(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename="upper"):
    """The levels of the checks without bounds, by their reason."""

    description_vague: Level = "none"
    price_nominal: Level = "none"
    consignor_is_consignee: Level = "none"
    eori_malformed: Level = "none"
    address_without_letters: Level = "none"
    postcode_malformed: Level = "none"
    locode_malformed: Level = "none"
    stage_element_missing: Level = "none"
    filed_late: Level = "none"
    declarant_not_entrusted: Level = "none"
    scheme_number_malformed: Level = "none"
    scheme_number_unknown: Level = "none"
    imei_malformed: Level = "none"
    unit_unknown: Level = "none"
    package_type_unknown: Level = "none"
    return_reference_unused: Level = "none"
    return_document_unused: Level = "none"
    return_without_reference: Level = "none"
    import_element_unused: Level = "none"
    commodity_code_unknown: Level = "none"
    commodity_code_withdrawn: Level = "none"
    s10_malformed: Level = "none"
    gtin_malformed: Level = "none"
    valuation_method_unknown: Level = "none"
    item_number: Level = msgspec.field(default="none", name="ITEM_NUMBER_WRONG")
    scheme_repeated: Level = "none"
    export_within_country: Level = "none"


class Fixed(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The reasons whose level no file changes, by level."""

    reject: tuple[str, ...] = ()
    warn: tuple[str, ...] = ()


class PercentBounds(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How many per cent are too many, by level; None: the level does nothing."""

    warn: _Percent | None = None
    reject: _Percent | None = None


class PriceBounds(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The least and the greatest price by currency, in minor units, by level."""

    warn: dict[str, tuple[_Price, _Price]] = {}
    reject: dict[str, tuple[_Price, _Price]] = {}


class DayBounds(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Days from the day of acceptance by the column of a time, by level."""

    warn: dict[TimeColumn, _Days] = {}
    reject: dict[TimeColumn, _Days] = {}


class Bounds(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename="upper"):
    """The bounds of the rules that have some, by their reason."""

    net_mass_above_gross: PercentBounds = PercentBounds()
    price_per_kg_implausible: PriceBounds = PriceBounds()
    time_in_future: DayBounds = DayBounds()
    time_long_past: DayBounds = DayBounds()


class _Weight(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    term: Literal["timeliness", "accuracy", "completeness", "consistency"]
    points: _Points


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    vague_terms: Annotated[tuple[_Term, ...], msgspec.Meta(max_length=TERMS_MAX)] = ()
    levels: Levels = Levels()
    fixed: Fixed = Fixed()
    bounds: Bounds = Bounds()
    quality: dict[str, _Weight] = {}
    element_points: _Points = 0
    postcodes: dict[str, Annotated[tuple[_PostcodeForm, ...], msgspec.Meta(min_length=1, max_length=20)]] = {}


@dataclass(frozen=True, slots=True)
class PostcodeForm:
    """The postal codes of a country."""

    digits: int
    """The length of codes of digits alone, which need no pattern; 0 if there are none."""
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class CheckRules:
    """The checks of filings."""

    vague_terms: VagueTerms
    """The terms of which a description must not consist alone."""
    levels: Mapping[str, Level]
    """Of the checks without bounds, by their reason; those that no file changes are among them."""
    fixed: frozenset[str]
    """The reasons whose level no file changes."""
    bounds: Bounds
    weights: Weights
    """What findings take from the scores of a filing."""
    postcodes: Mapping[str, PostcodeForm]
    """By country; the postal codes of others have any form."""


@cache
def included() -> CheckRules:
    """Return the checks that are included in this release."""
    return read(INCLUDED)


def read(path: Path) -> CheckRules:
    """Read and check a file, which states what differs from the included one. Raises YamlError."""
    file = YamlFile(path)
    base = YamlFile(INCLUDED).data
    fixed = msgspec.convert(base["fixed"], Fixed)
    if path != INCLUDED:
        for where, message in _not_changed(file.data, fixed):
            raise YamlError(file.name, file.position(where)[0], where, message)
    own = file.convert(_File)
    for where, message in _errors(own):
        raise YamlError(file.name, file.position(where)[0], where, message)
    merged = {part: {**base[part], **file.data.get(part, {})} for part in _MERGED}
    name = "element_points"
    whole = msgspec.convert(merged | {name: file.data.get(name, base[name])}, _File)
    terms = {reason: Term[each.term.upper()] for reason, each in whole.quality.items()}
    weights = Weights(terms, {reason: each.points for reason, each in whole.quality.items()}, whole.element_points)
    postcodes = {country: _postcode_form(country, forms) for country, forms in whole.postcodes.items()}
    levels: dict[str, Level] = msgspec.to_builtins(whole.levels)
    levels.update((reason, "reject") for reason in fixed.reject)
    levels.update((reason, "warn") for reason in fixed.warn)
    unchanged = frozenset((*fixed.reject, *fixed.warn))
    return CheckRules(vague.included(own.vague_terms), levels, unchanged, whole.bounds, weights, postcodes)


def _not_changed(data: object, fixed: Fixed) -> Iterator[tuple[str, str]]:
    """Yield path and error of each entry for a check whose level no file changes."""
    if not isinstance(data, dict):
        return
    if "fixed" in data:
        yield "$.fixed", "fixed lists the checks whose level no file changes; remove it from this file"
    levels = data.get("levels")
    for reason in levels if isinstance(levels, dict) else ():
        if reason in fixed.reject:
            message = f"{reason} always refuses, because such a consignment cannot be accepted; remove this entry"
            yield f"$.levels.{reason}", message
        if reason in fixed.warn:
            yield f"$.levels.{reason}", f"{reason} always warns and never refuses; remove this entry"


def _errors(own: _File) -> Iterator[tuple[str, str]]:
    """Yield path and error of each value that its type does not exclude."""
    for place, term in enumerate(own.vague_terms):
        if not vague.has_word(term):
            message = f"the term {term!r} has no word: numbers, sizes of one letter and article numbers need no term"
            yield f"$.vague_terms[{place}]", message
    for reason in own.quality.keys() - set(REASONS):
        yield f"$.quality.{reason}", f"{reason} is no reason that warns of filings"
    for country in own.postcodes:
        if not is_country(country):
            yield f"$.postcodes.{country}", f"{country} is no country of ISO 3166-1"
    prices = own.bounds.price_per_kg_implausible
    by_level: tuple[tuple[str, Mapping[str, Any]], ...] = (("warn", prices.warn), ("reject", prices.reject))
    for level, by_currency in by_level:
        for currency, (least, most) in by_currency.items():
            where = f"$.bounds.PRICE_PER_KG_IMPLAUSIBLE.{level}.{currency}"
            if not is_currency(currency):
                yield where, f"{currency} is no currency of ISO 4217"
            if least > most:
                yield where, f"the least price {least} is above the greatest price {most}"


def _postcode_form(country: str, forms: tuple[str, ...]) -> PostcodeForm:
    written = "|".join("[ -]*".join(_FORMS[character] for character in form) for form in forms)
    pattern = re.compile(rf"(?:{country}[ -]*|[A-Z][ -]+)?(?:{written})", re.IGNORECASE | re.ASCII)
    return PostcodeForm(next((len(form) for form in forms if set(form) == {"9"}), 0), pattern)
