"""The law of release categories: what a jurist writes in YAML, as strict structs, read and checked when the service starts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Final, Literal

import msgspec
import yaml

from libs.columns import Schema, schema_of
from libs.files.yaml_file import YamlError, YamlFile, YamlOptions
from luxor.consignment.v1 import consignment_pb2
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns

FORMAT: Final = 1
ITEMS: Final = "items."
"""Prefix of an element of the goods."""
Category = Literal["documents", "low_value", "simplified", "full"]
CATEGORIES: Final[tuple[Category, ...]] = ("documents", "low_value", "simplified", "full")
"""The categories in the order of the Guidelines: category 1 is the first."""
NATURES: Final = {"document": consignment_pb2.NATURE_DOCUMENT, "gift": consignment_pb2.NATURE_GIFT}
SERVICES: Final = {
    "post": consignment_pb2.TRANSPORT_SERVICE_POST,
    "express": consignment_pb2.TRANSPORT_SERVICE_EXPRESS,
    "cargo": consignment_pb2.TRANSPORT_SERVICE_CARGO,
}
SCHEMES: Final = {
    "ioss": consignment_pb2.SCHEME_IOSS,
    "special_arrangements": consignment_pb2.SCHEME_SPECIAL_ARRANGEMENTS,
}
_SCHEMA: Final = schema_of(ConsignmentColumns)
_OPTIONS: Final = YamlOptions(1_000_000, values_max=100_000, depth_max=20, loader=yaml.CSafeLoader)


class ReleaseLawError(ValueError):
    """A file of release categories that cannot be applied; the message names the file, the place and the error."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Reference(_Strict, frozen=True, kw_only=True):
    """Where a value comes from, as in revenue's rulebooks."""

    law: str
    article: str = ""
    address: str = ""
    verified: bool = False
    """Whether a person compared the values that name it with the text at this address."""
    note: str = ""


class Formality(_Strict, frozen=True, kw_only=True):
    """What a consignment of a category needs for its release, and what follows."""

    declaration: Literal["none", "manifest", "simplified", "full"]
    release: Literal["on_arrival"] = "on_arrival"
    afterwards: tuple[Literal["supplementary_declaration", "consolidated_payment"], ...] = ()


class EntryCondition(_Strict, frozen=True, kw_only=True):
    """What must be true of a consignment for an entry to apply: every field that is given must match."""

    dispatch: tuple[str, ...] = ()
    """Countries of direct shipment, alpha-2: that of the place of direct shipment, else that of dispatch."""
    service: tuple[Literal["post", "express", "cargo"], ...] = ()
    nature: tuple[Literal["document", "gift"], ...] = ()
    scheme: tuple[Literal["ioss", "special_arrangements"], ...] = ()
    """A number of one of these schemes is filed."""
    gross_mass_max_kg: int = 0
    """Largest gross mass; 0 where the law states none. A filing without a gross mass does not match."""


class Entry(_Strict, frozen=True, kw_only=True):
    """A category from one day to another, both included."""

    start: date = msgspec.field(name="from")
    to: date | None = None
    condition: EntryCondition | None = msgspec.field(default=None, name="only")
    amount: str = ""
    """The threshold such as `150.00 EUR`; `none`: the law has no such category in that time; "" for documents and for full declarations."""
    basis: Literal["intrinsic", "customs_value"] = "intrinsic"
    at_the_limit: Literal["within", "over"] = "within"
    excluded: tuple[str, ...] = ()
    """Beginnings of commodity codes: a consignment with one such item is not in the category."""
    restricted: Literal["within", "over", "unknown"] = "unknown"
    """Whether goods that a control of goods concerns may be in the category."""
    certain: bool = True
    """Whether consignments within the threshold are in the category; if not, it is only known that others are not."""
    formality: Formality | None = None
    data_set: str = ""
    """Name of the elements that a filing needs; "" if they are not known."""
    reference: str
    verified: bool = False
    """Whether a person compared this entry with the text of its reference. Both must say so."""
    note: str = ""

    @property
    def exists(self) -> bool:
        """Whether the law has this category in that time."""
        return self.amount != "none"


class DataSet(_Strict, frozen=True, kw_only=True):
    """The elements that a filing of a category needs, by the names of the filing's columns; those of the goods begin with `items.`."""

    elements: tuple[str, ...]
    reference: str
    verified: bool = False
    note: str = ""


class Law(_Strict, frozen=True, kw_only=True):
    """The release categories of one jurisdiction."""

    format: int
    jurisdiction: str
    name: str
    version: str
    currency: str
    areas: tuple[str, ...]
    references: Mapping[str, Reference]
    data_sets: Mapping[str, DataSet]
    categories: Mapping[Category, tuple[Entry, ...]]


@dataclass(frozen=True, slots=True)
class Jurisdiction:
    """The law of one jurisdiction as it is applied."""

    law: Law
    version: str
    """Jurisdiction, version and digest of the file, which states store. Example: "EU/2026.1/1f0c9a2b"."""


@dataclass(frozen=True, slots=True)
class ReleaseLaw:
    """The law of all jurisdictions, by country of destination."""

    by_country: Mapping[str, Jurisdiction]


def limit_of(entry: Entry) -> int | None:
    """Return the largest value within an entry, minor units; None if it has no threshold. Raises ValueError if the amount cannot be read."""
    return None if not entry.amount else _minor(entry.amount) - (entry.at_the_limit == "over")


@cache
def _minor(amount: str) -> int:
    minor = Decimal(amount.partition(" ")[0]) * 100
    if minor != int(minor) or minor < 0:
        raise ValueError(f"{amount!r} is no amount with two decimals")
    return int(minor)


@cache
def included() -> ReleaseLaw:
    """Return the law that is included in this release. Raises ReleaseLawError."""
    directory = resources.files(__package__) / "jurisdictions"
    files = sorted((each for each in directory.iterdir() if each.name.endswith(".yaml")), key=lambda each: each.name)
    return read_all({each.name: each.read_text(encoding="utf-8") for each in files})


def read_all(texts: Mapping[str, str]) -> ReleaseLaw:
    """Read the files of all jurisdictions, by name. Raises ReleaseLawError."""
    by_country: dict[str, Jurisdiction] = {}
    for file, text in texts.items():
        law = read(file, text)
        digest = sha256(text.encode()).hexdigest()[:8]
        for country in law.areas:
            if country in by_country:
                raise ReleaseLawError(f"{file}: areas: {country} is in {by_country[country].law.jurisdiction} too")
            by_country[country] = Jurisdiction(law, f"{law.jurisdiction}/{law.version}/{digest}")
    return ReleaseLaw(by_country)


def read(file: str, text: str) -> Law:
    """Read and check one file. Raises ReleaseLawError."""
    try:
        law = msgspec.convert(YamlFile(file, text, _OPTIONS).data, Law)
    except (YamlError, msgspec.ValidationError) as error:
        raise ReleaseLawError(f"{file}: {error}") from None
    for found in _errors(law):
        raise ReleaseLawError(f"{file}: {found}")
    return law


def _errors(law: Law) -> Iterator[str]:
    if law.format != FORMAT:
        yield f"format: {law.format} is not {FORMAT}"
    named = {each.reference for entries in law.categories.values() for each in entries}
    for reference in sorted((named | {each.reference for each in law.data_sets.values()}) - set(law.references)):
        yield f"references: {reference!r} is missing"
    for name, data_set in law.data_sets.items():
        for element in data_set.elements:
            if not _is_element(element, _SCHEMA):
                yield f"data_sets.{name}: {element!r} is no element of a filing"
    for category, entries in law.categories.items():
        for place, entry in enumerate(entries):
            yield from (f"categories.{category}[{place}]: {error}" for error in _entry_errors(law, category, entry))
        yield from (f"categories.{category}: {error}" for error in _overlaps(entries))


def _is_element(name: str, schema: Schema) -> bool:
    if name.startswith(ITEMS):
        return name.removeprefix(ITEMS) in schema.children["items"].columns
    return name in schema.columns


def _entry_errors(law: Law, category: Category, entry: Entry) -> Iterator[str]:
    if entry.to is not None and entry.to < entry.start:
        yield f"to: {entry.to} is before {entry.start}"
    if entry.data_set and entry.data_set not in law.data_sets:
        yield f"data_set: {entry.data_set!r} is missing"
    if entry.exists and entry.formality is None:
        yield "formality: it is missing"
    if not entry.exists:
        return
    if bool(entry.amount) != (category in ("low_value", "simplified")):
        yield "amount: low_value and simplified have a threshold, and no other category has one"
    elif entry.amount:
        if entry.amount.partition(" ")[2] != law.currency:
            yield f"amount: {entry.amount!r} is not in {law.currency}"
        try:
            limit_of(entry)
        except (ValueError, ArithmeticError) as error:
            yield f"amount: {error}"


def _overlaps(entries: tuple[Entry, ...]) -> Iterator[str]:
    """Of entries without conditions at most one applies on a day; those with conditions come before it."""
    general = [each for each in entries if each.condition is None]
    for place, first in enumerate(general):
        for second in general[place + 1 :]:
            if first.start <= (second.to or date.max) and second.start <= (first.to or date.max):
                yield f"two entries without conditions apply on {max(first.start, second.start)}"
    for place, entry in enumerate(entries):
        for later in entries[place + 1 :]:
            covered = entry.condition is None and later.condition is not None
            if covered and entry.start <= (later.to or date.max) and later.start <= (entry.to or date.max):
                yield f"the entry with conditions from {later.start} stands behind one without"
