"""Controls of goods: what an administration writes in YAML, as strict structs, read and checked when the service starts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from libs.customs.time import day_of_date
from libs.files.yaml_file import YamlError, YamlFile
from luxor.clearance.v1 import control_pb2

INCLUDED: Final = Path(__file__).parent / "controls.yaml"
CONTROLS_MAX: Final = 1_000
CODES_MAX: Final = 32_768
AUTHORITIES_MAX: Final = 8
"""Authorities with controls in one jurisdiction: each may order a request, an examination and a request for licences of a consignment."""
FORMS: Final = {"documents": control_pb2.CONTROL_FORM_DOCUMENTS, "examination": control_pb2.CONTROL_FORM_EXAMINATION}
_RESERVED: Final = "customs"
"""How lists name the authority that has no id; no agency has it as its id."""
LICENCE: Final = "LICENCE_"
"""How the reasons of requests for licences begin; no control has such a reason."""
Country = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$")]
Goods = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{2,10}$")]
Days = Annotated[int, msgspec.Meta(ge=1, le=180)]


class GoodsLawError(ValueError):
    """A file of controls of goods that cannot be applied; the message names the file, the place and the error."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class LicenceTerms(_Strict, frozen=True, kw_only=True):
    """The licence or certificate that goods need."""

    type: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{1,8}$")]
    """As filings cite it among the supporting documents."""
    write_off: bool = True
    """Whether the quantity of the item is written off; if not, a valid licence suffices."""
    restored_on_return: bool = False
    """Whether the quantity is restored when released goods are returned."""


class ControlTerms(_Strict, frozen=True, kw_only=True):
    """The control that the authority carries out."""

    form: Literal["documents", "examination"]
    text: Annotated[str, msgspec.Meta(max_length=300)] = ""
    """What the filer is to send; required for documents."""


class GoodsControl(_Strict, frozen=True, kw_only=True):
    """What is required of some goods from one day of acceptance to another, both included."""

    goods: Annotated[tuple[Goods, ...], msgspec.Meta(min_length=1, max_length=CONTROLS_MAX)]
    """Beginnings of commodity codes."""
    direction: Literal["import", "export"] = "import"
    authority: Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")] = ""
    """Id of the partner agency as in its certificate; "" for customs."""
    reason: Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{0,62}$")]
    """Stable reason of the control, which filers read."""
    licence: LicenceTerms | None = None
    control: ControlTerms | None = None
    days: Days | None = None
    """Whole days from the order to the deadline of the control; none: it has no deadline."""
    start: date = msgspec.field(name="from")
    to: date | None = None
    law: Annotated[str, msgspec.Meta(min_length=8, max_length=300)]
    """The source: law and article."""
    address: str = ""

    @property
    def form(self) -> int:
        """The form of the control that is ordered: luxor.clearance.v1.ControlForm. What a missing licence orders is a request for documents."""
        return FORMS["documents" if self.control is None else self.control.form]

    def applies(self, day: int) -> bool:
        """Return whether it applies to filings that were accepted on a day, days since 1970-01-01."""
        return day_of_date(self.start) <= day and (self.to is None or day <= day_of_date(self.to))


class GoodsJurisdiction(_Strict, frozen=True, kw_only=True):
    """The controls of goods of one jurisdiction."""

    jurisdiction: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2,8}$")]
    areas: Annotated[tuple[Country, ...], msgspec.Meta(min_length=1)]
    controls: Annotated[tuple[GoodsControl, ...], msgspec.Meta(max_length=CONTROLS_MAX)]


class _File(_Strict, frozen=True, kw_only=True):
    format: Literal[1]
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{1,39}$")]
    version: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z.-]{1,30}$")]
    source: Annotated[str, msgspec.Meta(min_length=8, max_length=300)]
    jurisdictions: tuple[GoodsJurisdiction, ...]


@dataclass(frozen=True, slots=True)
class GoodsLaw:
    """The controls of goods of all jurisdictions."""

    jurisdictions: tuple[GoodsJurisdiction, ...]
    prefixes: tuple[str, ...]
    """Beginnings of the commodity codes of all controls; goods with none of them need nothing."""
    lists: Callable[[str], bool] = field(init=False, compare=False)
    """Whether a commodity code begins as one of them, or may. Few codes occur in many filings: each is compared once."""

    def __post_init__(self) -> None:
        """Begin without compared codes."""
        object.__setattr__(self, "lists", lru_cache(CODES_MAX)(lambda code: may_begin(code, self.prefixes)))


def may_begin(code: str, prefixes: tuple[str, ...]) -> bool:
    """Return whether a commodity code begins as one of these, or is too short to tell: its digits are the first ones of one of these."""
    return code.startswith(prefixes) or any(each.startswith(code) for each in prefixes)


@cache
def included() -> GoodsLaw:
    """Return the controls that are included in this release. Raises GoodsLawError."""
    return read(INCLUDED)


def read(path: Path, content: str | None = None) -> GoodsLaw:
    """Read and check a file, or its content, which `path` then only names. Raises GoodsLawError."""
    try:
        text = YamlFile(path, content).convert(_File)
    except YamlError as error:
        raise GoodsLawError(str(error)) from None
    for found in _errors(text):
        raise GoodsLawError(f"{path}: {found}")
    goods = {each for law in text.jurisdictions for control in law.controls for each in control.goods}
    return GoodsLaw(text.jurisdictions, tuple(sorted(goods)))


def _errors(text: _File) -> Iterator[str]:
    countries: dict[str, str] = {}
    for law in text.jurisdictions:
        for country in law.areas:
            if country in countries:
                yield f"{law.jurisdiction}: {country} is an area of {countries[country]} too"
            countries[country] = law.jurisdiction
        if len({each.authority for each in law.controls}) > AUTHORITIES_MAX:
            yield f"{law.jurisdiction}: more than {AUTHORITIES_MAX} authorities have controls"
        for place, control in enumerate(law.controls):
            yield from (f"{law.jurisdiction}: controls[{place}]: {error}" for error in _control_errors(control))


def _control_errors(control: GoodsControl) -> Iterator[str]:
    if control.to is not None and control.to < control.start:
        yield f"to: {control.to} is before {control.start}"
    if (control.licence is None) == (control.control is None):
        yield "it requires either a licence or a control"
    if control.reason.startswith(LICENCE):
        yield f"reason: those that begin with {LICENCE} are of requests for licences"
    if control.authority.lower() == _RESERVED:
        yield "authority: that of customs has no name"
    if control.control is not None and (control.form == FORMS["documents"]) != bool(control.control.text):
        yield "control: a request for documents has a text, and an examination has none"
