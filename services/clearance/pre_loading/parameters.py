"""The parameters of the assessment before loading, by destination and office: a YAML file, read and checked when the service starts."""

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from libs.customs.time import day_of_date
from libs.files.yaml_file import YamlError, YamlFile
from luxor.clearance.v1 import control_pb2
from luxor.consignment.v1 import consignment_pb2
from services.clearance.consignment.controls.control import Control

INCLUDED: Final = Path(__file__).parent / "offices.yaml"
ANY: Final = "*"
"""The office of all that have no terms of their own."""
ENTRIES_MAX: Final = 4_096
Mode = Literal["SEA", "RAIL", "ROAD", "AIR", "POST"]
_MODES: Final[Mapping[Mode, int]] = {
    "SEA": consignment_pb2.TRANSPORT_MODE_SEA,
    "RAIL": consignment_pb2.TRANSPORT_MODE_RAIL,
    "ROAD": consignment_pb2.TRANSPORT_MODE_ROAD,
    "AIR": consignment_pb2.TRANSPORT_MODE_AIR,
    "POST": consignment_pb2.TRANSPORT_MODE_POST,
}
_ADDRESSEES: Final = {
    "filer": control_pb2.CONTROL_ADDRESSEE_FILER,
    "carrier": control_pb2.CONTROL_ADDRESSEE_CARRIER,
}
_MISSING: Final = {
    "escalate": control_pb2.CONTROL_OVERDUE_ESCALATE,
    "hold": control_pb2.CONTROL_OVERDUE_CONCLUDE,
    "do_not_load": control_pb2.CONTROL_OVERDUE_DO_NOT_LOAD,
}
_MICROS_PER_MINUTE: Final = 60_000_000
Minutes = Annotated[int, msgspec.Meta(ge=1, le=180 * 24 * 60)]


class ParametersError(ValueError):
    """A file of parameters that cannot be applied; the message names the file, the place and the error."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Terms(_Strict, frozen=True, kw_only=True):
    """The terms of a request before loading."""

    addressee: Literal["filer", "carrier"]
    """Who is to answer what risk requests."""
    answer_minutes: Minutes
    """From the request to its deadline."""
    reminder_minutes: Minutes | None = None
    """From the request to the reminder; none: nobody is reminded."""
    missing: Literal["escalate", "hold", "do_not_load"]
    """What follows without an answer: it stays open, the goods are held on arrival, or they may not be loaded."""


class Office(_Strict, frozen=True, kw_only=True):
    """The terms of one office."""

    office: Annotated[str, msgspec.Meta(pattern=r"^(\*|[A-Z0-9]{4,8})$")]
    information: Terms
    screening: Terms


class Destination(_Strict, frozen=True, kw_only=True):
    """A country of destination whose goods are assessed before loading."""

    country: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$")]
    modes: Annotated[tuple[Mode, ...], msgspec.Meta(min_length=1)]
    from_day: datetime.date
    """First day of acceptance."""


class _File(_Strict, frozen=True, kw_only=True):
    format: Literal[1]
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{1,39}$")]
    version: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z.-]{1,30}$")]
    source: Annotated[str, msgspec.Meta(min_length=8, max_length=300)]
    destinations: Annotated[tuple[Destination, ...], msgspec.Meta(max_length=ENTRIES_MAX)] = ()
    offices: Annotated[tuple[Office, ...], msgspec.Meta(min_length=1, max_length=ENTRIES_MAX)]


@dataclass(frozen=True, slots=True)
class Parameters:
    """Checked parameters."""

    from_day: Mapping[tuple[str, int], int]
    """By country of destination and mode of transport, the first day of acceptance, days since 1970-01-01."""
    offices: Mapping[str, Office]

    def terms(self, office: str, form: int) -> Terms:
        """Return the terms of requests of an office, by their form."""
        found = self.offices.get(office) or self.offices[ANY]
        return found.screening if form == control_pb2.CONTROL_FORM_SCREENING else found.information

    def request(self, form: int, office: str) -> Control:
        """Return a request of a form to whom the office asks, without its times."""
        return Control(number=0, form=form, addressee=_ADDRESSEES[self.terms(office, form).addressee])

    def with_terms(self, order: Control, office: str, at: int) -> Control:
        """Return an order with the deadline, the reminder and the end that its office states, as far as the order does not."""
        if not order.refers or order.form == control_pb2.CONTROL_FORM_DO_NOT_LOAD:
            return order
        terms = self.terms(office, order.form)
        order = replace(order, when_overdue=order.when_overdue or _MISSING[terms.missing])
        if order.due_at is not None:
            return order
        reminder = None if terms.reminder_minutes is None else at + terms.reminder_minutes * _MICROS_PER_MINUTE
        return replace(order, due_at=at + terms.answer_minutes * _MICROS_PER_MINUTE, remind_at=reminder)


@cache
def included() -> Parameters:
    """Return the parameters that are included in this release."""
    return read(INCLUDED)


def read(path: Path) -> Parameters:
    """Read and check a file. Raises ParametersError."""
    try:
        text = YamlFile(path).convert(_File)
    except YamlError as error:
        raise ParametersError(str(error)) from None
    for found in _errors(text):
        raise ParametersError(f"{path}: {found}")
    days = {
        (each.country, _MODES[mode]): day_of_date(each.from_day) for each in text.destinations for mode in each.modes
    }
    return Parameters(days, {each.office: each for each in text.offices})


def _errors(text: _File) -> Iterator[str]:
    pairs = [(each.country, mode) for each in text.destinations for mode in each.modes]
    yield from (
        f"destinations: {country} has {mode} twice" for country, mode in pairs if pairs.count((country, mode)) > 1
    )
    names = [each.office for each in text.offices]
    yield from (f"offices: {name} is there twice" for name in names if names.count(name) > 1)
    if ANY not in names:
        yield f"offices: the office {ANY!r}, whose terms apply to all others, is missing"
    for office in text.offices:
        for form, terms in (("information", office.information), ("screening", office.screening)):
            if terms.reminder_minutes is not None and terms.reminder_minutes >= terms.answer_minutes:
                yield f"offices: {office.office}: {form}: the reminder is not before the deadline"
