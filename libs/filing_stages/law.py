"""The data sets of the stages: what a jurist writes in YAML, as strict structs, read and checked when a service starts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from libs.columns import Kind, Schema, schema_of
from libs.customs.countries import is_country
from libs.customs.time import day_of_date
from libs.files.yaml_file import YamlError, YamlFile
from luxor.consignment.v1 import consignment_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.ingestion.v1.parts_pb2 import PARTY_ROLE_CARRIER, PARTY_ROLE_POST

INCLUDED: Final = Path(__file__).with_name("data_sets.yaml")
ITEMS: Final = "items."
"""Prefix of an element of the goods."""
_SCHEMA: Final = schema_of(ConsignmentColumns)
_TYPED: Final = "_identifier"
"""Ending of the elements that may have a type behind a colon: `buyer_identifier:PERSONAL_CUSTOMS_CODE`."""

StageName = Literal["pre_loading", "pre_arrival", "simplified", "full"]
Mode = Literal["SEA", "RAIL", "ROAD", "AIR", "POST"]
Status = Literal["m", "c", "o", "-"]
Role = Literal["SELLER", "PLATFORM", "PAYMENT_PROVIDER", "CARRIER", "POST"]
"""The names of luxor.ingestion.v1.PartyRole."""
NEVER_IN_PARTS: Final = frozenset(
    {
        "local_reference", "function", "amended_mrn", "amended_version", "representative", "representation", "house_document", "declarant",
        "declarant_role", "importer", "destination_country", "carrier_identifier", "return_document", "direction",
    }
)  # fmt: skip
"""Fields of a consignment that no part states: they name the filing, who answers for it, or may add parts to it."""
ROLES_BY_DOCUMENT: Final = (PARTY_ROLE_CARRIER, PARTY_ROLE_POST)
"""The roles that link their parts by the house document of the consignment; the others link them by its order."""


class Stage(IntEnum):
    """The stages in their order; the numbers are those of luxor.common.v1.FilingStage."""

    PRE_LOADING = 1
    PRE_ARRIVAL = 2
    SIMPLIFIED = 3
    FULL = 4


STAGES: Final[Mapping[Stage, StageName]] = {
    Stage.PRE_LOADING: "pre_loading",
    Stage.PRE_ARRIVAL: "pre_arrival",
    Stage.SIMPLIFIED: "simplified",
    Stage.FULL: "full",
}
"""The names of the stages in the file."""


class DataSetError(ValueError):
    """A file of data sets that cannot be applied; the message names the file, the place and the error."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Reference(_Strict, frozen=True, kw_only=True):
    """Where entries come from, as in revenue's rulebooks."""

    law: str
    address: str = ""
    note: str = ""


class Rule(_Strict, frozen=True, kw_only=True):
    """What must be true of a filing for a condition to be met: every field that is stated must match."""

    nature: tuple[Literal["SALE", "GIFT", "RETURN", "SAMPLE", "DOCUMENT", "OTHER"], ...] = ()
    service: tuple[Literal["POST", "EXPRESS", "CARGO"], ...] = ()
    consignee: tuple[Literal["NATURAL", "LEGAL", "ASSOCIATION"], ...] = ()
    scheme: tuple[str, ...] = ()
    """A reference to one of these schemes is filed."""
    tax_at_sale: bool = False
    """Prices include tax, or tax was charged on an item."""


class Condition(_Strict, frozen=True, kw_only=True):
    """When an element is needed, in words; without `only` it cannot be decided by the filing and is not checked."""

    text: str
    rule: Rule | None = msgspec.field(default=None, name="only")


class Element(_Strict, frozen=True, kw_only=True):
    """One data element: by the names of the filing's columns; alternatives are separated by `|`."""

    number: int
    element: str
    stages: str
    """Before loading, before arrival, simplified, full: m, c, o or -."""
    required: bool = False
    """Whether a filing of a stage that has the element as mandatory is refused without it."""
    always: bool = False
    """Whether it follows from other data and is never absent."""
    condition: str = ""

    def status(self, stage: Stage) -> str:
        """Return m, c, o or - for a stage."""
        return self.stages.split()[stage - 1]


class Addition(_Strict, frozen=True, kw_only=True):
    """An element that a jurisdiction adds from a day."""

    element: str
    stages: tuple[StageName, ...]
    start: date = msgspec.field(name="from")
    to: date | None = None
    condition: str
    reference: str
    note: str = ""

    @property
    def days(self) -> tuple[int, int]:
        """Return the first and the last day, days since 1970-01-01."""
        return day_of_date(self.start), day_of_date(self.to or date.max)

    def concerns(self, stage: Stage) -> bool:
        """Return whether the jurisdiction asks for it at a stage."""
        return STAGES[stage] in self.stages


class Deadline(_Strict, frozen=True, kw_only=True):
    """By when a filing is to be there, by stage, mode and leg."""

    stage: Literal["pre_loading", "pre_arrival", "pre_departure"]
    """Filings before the declaration have the first, declarations of imports the second, exports the third."""
    modes: tuple[Mode, ...]
    loading: tuple[str, ...] = ()
    """Countries of the place of loading; none: any."""
    trip_minutes_max: int | None = None
    """Longest time between departure and arrival; a filing that does not state both does not match."""
    trip_minutes_over: int | None = None
    """What the time between departure and arrival exceeds; likewise."""
    before: Literal["departure", "arrival"]
    minutes: Annotated[int, msgspec.Meta(ge=0, le=60 * 24 * 60)]
    """How long before."""
    start: date = msgspec.field(name="from")
    to: date | None = None
    reference: str

    @property
    def numbers(self) -> list[int]:
        """Return the numbers of the modes in the contract."""
        return [int(pb.TransportMode.Value(f"TRANSPORT_MODE_{mode}")) for mode in self.modes]

    @property
    def days(self) -> tuple[int, int]:
        """Return the first and the last day, days since 1970-01-01."""
        return day_of_date(self.start), day_of_date(self.to or date.max)


class RequiredPart(_Strict, frozen=True, kw_only=True):
    """A part that a jurisdiction requires from a day, beside what the filer itself states."""

    role: Role
    start: date = msgspec.field(name="from")
    to: date | None = None
    condition: str
    reference: str

    @property
    def days(self) -> tuple[int, int]:
        """Return the first and the last day, days since 1970-01-01."""
        return day_of_date(self.start), day_of_date(self.to or date.max)


class Jurisdiction(_Strict, frozen=True, kw_only=True):
    """What one jurisdiction adds, and by when it asks for filings."""

    jurisdiction: str
    areas: tuple[str, ...]
    additions: tuple[Addition, ...]
    deadlines: tuple[Deadline, ...] = ()
    parts: tuple[RequiredPart, ...] = ()


class ExportSet(_Strict, frozen=True, kw_only=True):
    """The data set of exports, by the names of the filing's columns."""

    required: tuple[str, ...]
    """An export is refused without one of these."""
    unused: tuple[str, ...]
    """Elements of imports: filers are warned that an export does not use them."""
    reference: str


class _File(_Strict, frozen=True, kw_only=True):
    format: Literal[1]
    version: str
    references: Mapping[str, Reference]
    minimum_set_modes: tuple[Mode, ...]
    conditions: Mapping[str, Condition]
    elements: tuple[Element, ...]
    parts: Mapping[Role, tuple[str, ...]]
    export: ExportSet
    jurisdictions: tuple[Jurisdiction, ...]


@dataclass(frozen=True, slots=True)
class DataSets:
    """Checked data sets."""

    elements: tuple[Element, ...]
    export: ExportSet
    conditions: Mapping[str, Condition]
    jurisdictions: tuple[Jurisdiction, ...]
    by_country: Mapping[str, int]
    """Place of the jurisdiction in `jurisdictions` by its countries: of destination, and for exports of dispatch."""
    minimum_set_modes: tuple[int, ...]
    """Modes of transport in which a filing may have the minimum set alone: numbers of TransportMode."""
    references: Mapping[str, Reference]
    parts: Mapping[Role, tuple[str, ...]]
    """The fields of a consignment that a part of a role may state."""

    def required(self, stage: Stage) -> tuple[str, ...]:
        """Return the elements without which a filing of a stage is refused, in their order."""
        return tuple(each.element for each in self.elements if each.required and each.status(stage) == "m")

    def mandatory(self, stage: Stage) -> tuple[str, ...]:
        """Return the elements of a stage that may be absent and are mandatory, in their order."""
        return tuple(each.element for each in self.elements if each.status(stage) == "m" and not each.always)

    def conditional(self, stage: Stage) -> tuple[tuple[str, Rule], ...]:
        """Return the elements of a stage that a filing needs if it meets a condition."""
        chosen = [each for each in self.elements if each.status(stage) == "c"]
        conditions = [(each.element, self.conditions[each.condition].rule) for each in chosen]
        return tuple((name, rule) for name, rule in conditions if rule is not None)


@cache
def included() -> DataSets:
    """Return the data sets that are included in this release. Raises DataSetError."""
    return read(INCLUDED)


def read(path: Path) -> DataSets:
    """Read and check a file. Raises DataSetError."""
    try:
        file = YamlFile(path).convert(_File)
    except YamlError as error:
        raise DataSetError(str(error)) from None
    for found in _errors(file):
        raise DataSetError(f"{path.name}: {found}")
    return DataSets(
        elements=file.elements,
        export=file.export,
        conditions=file.conditions,
        jurisdictions=file.jurisdictions,
        by_country={country: place for place, each in enumerate(file.jurisdictions) for country in each.areas},
        minimum_set_modes=tuple(pb.TransportMode.Value(f"TRANSPORT_MODE_{mode}") for mode in file.minimum_set_modes),
        references=file.references,
        parts=file.parts,
    )


def _errors(file: _File) -> Iterator[str]:
    for name, condition in file.conditions.items():
        for scheme in condition.rule.scheme if condition.rule is not None else ():
            if f"SCHEME_{scheme}" not in pb.Scheme.keys():  # noqa: SIM118  (an enum wrapper is no mapping)
                yield f"conditions.{name}: {scheme!r} is no scheme of the contract"
    for place, element in enumerate(file.elements):
        yield from (f"elements[{place}]: {error}" for error in _element_errors(file, element))
    for role, names in file.parts.items():
        for name in names:
            if name not in pb.Consignment.DESCRIPTOR.fields_by_name:
                yield f"parts.{role}: {name!r} is no field of a consignment"
            if name in NEVER_IN_PARTS:
                yield f"parts.{role}: no part states {name!r}"
    for name in (*file.export.required, *file.export.unused):
        yield from (f"export: {error}" for error in _name_errors(name))
    yield from (
        f"export: {each} is both required and unused" for each in file.export.required if each in file.export.unused
    )
    if file.export.reference not in file.references:
        yield f"export: reference: {file.export.reference!r} is missing in references"
    countries: dict[str, str] = {}
    for each in file.jurisdictions:
        for country in each.areas:
            if not is_country(country):
                yield f"jurisdictions.{each.jurisdiction}: {country} is no country of ISO 3166-1"
            if country in countries:
                yield f"jurisdictions.{each.jurisdiction}: {country} is in {countries[country]} too"
            countries[country] = each.jurisdiction
        for place, addition in enumerate(each.additions):
            where = f"jurisdictions.{each.jurisdiction}.additions[{place}]"
            yield from (f"{where}: {error}" for error in _addition_errors(file, addition))
        for place, part in enumerate(each.parts):
            where = f"jurisdictions.{each.jurisdiction}.parts[{place}]"
            yield from (f"{where}: {error}" for error in _rule_errors(file, part))
        for place, deadline in enumerate(each.deadlines):
            where = f"jurisdictions.{each.jurisdiction}.deadlines[{place}]"
            yield from (f"{where}: {error}" for error in _deadline_errors(file, deadline))


def _element_errors(file: _File, element: Element) -> Iterator[str]:
    letters = element.stages.split()
    if len(letters) != len(Stage) or not set(letters) <= {"m", "c", "o", "-"}:
        yield f"stages: {element.stages!r} is not four of m, c, o and -"
        return
    if "c" in letters and not element.condition:
        yield f"condition: {element.element!r} is conditional, and nothing says when"
    if element.condition and element.condition not in file.conditions:
        yield f"condition: {element.condition!r} is missing in conditions"
    yield from _name_errors(element.element)


def _addition_errors(file: _File, addition: Addition) -> Iterator[str]:
    yield from _rule_errors(file, addition)
    yield from _name_errors(addition.element)


def _rule_errors(file: _File, addition: Addition | RequiredPart) -> Iterator[str]:
    if addition.to is not None and addition.to < addition.start:
        yield f"to: {addition.to} is before {addition.start}"
    condition = file.conditions.get(addition.condition)
    if condition is None or condition.rule is None:
        yield f"condition: {addition.condition!r} has no `only` in conditions, so that no filing can meet it"
    if addition.reference not in file.references:
        yield f"reference: {addition.reference!r} is missing in references"


def _deadline_errors(file: _File, deadline: Deadline) -> Iterator[str]:
    if deadline.to is not None and deadline.to < deadline.start:
        yield f"to: {deadline.to} is before {deadline.start}"
    if deadline.reference not in file.references:
        yield f"reference: {deadline.reference!r} is missing in references"
    if deadline.stage == "pre_departure" and deadline.before != "departure":
        yield "before: an export is filed before its departure"
    yield from (f"loading: {each} is no country of ISO 3166-1" for each in deadline.loading if not is_country(each))


def _name_errors(names: str) -> Iterator[str]:
    for name in names.split("|"):
        column, _, kind = name.partition(":")
        if not _is_element(column.split("."), _SCHEMA):
            yield f"element: {column!r} is no element of a filing"
        if kind and (not column.endswith(_TYPED) or f"IDENTIFIER_TYPE_{kind}" not in pb.IdentifierType.keys()):  # noqa: SIM118
            yield f"element: {kind!r} is no type of an identifier"


def _is_element(path: list[str], schema: Schema) -> bool:
    name, *below = path
    if name not in schema.columns:
        return False
    return not below or (schema.columns[name] is Kind.CHILD and _is_element(below, schema.children[name]))
