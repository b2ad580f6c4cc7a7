"""The parameters of selection, per office and direction: a YAML file, checked as a whole."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from libs.files.yaml_file import YamlError, YamlFile

PPM: Final = 1_000_000
OFFICES_MAX: Final = 4_096
TRUSTED_MAX: Final = 100_000
#: The office of whoever has no parameters of its own.
ANY: Final = "*"

Share = Annotated[int, msgspec.Meta(ge=0, le=PPM)]
Points = Annotated[int, msgspec.Meta(ge=1, le=1_000)]
Role = Literal["declarant", "filer", "carrier"]
Reason = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{2,62}$")]


class Lane(IntEnum):
    """Lanes by precedence; the numbers are those of luxor.risk.v1.Lane."""

    GREEN = 1
    BLUE = 2
    YELLOW = 3
    RED = 4


#: Lanes that select, the first outweighs the next.
PRECEDENCE: Final = (Lane.RED, Lane.YELLOW, Lane.BLUE)


class ParameterError(ValueError):
    """Parameters that are refused; `errors` has each error with its place."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("the selection's parameters are refused:\n" + "\n".join(f"  {each}" for each in errors))
        self.errors = tuple(errors)


class LaneText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One lane of an office. Shares are millionths."""

    minimum_random_ppm: Share
    """Of what no rule selects, this share is drawn whatever else happens."""
    expected_ppm: Share
    """Share of all consignments that the office can take in this lane; what rules and the minimum leave of it is drawn from
    would-be greens.
    """
    by_model_ppm: Share = 0
    """Of what is drawn to reach the expected share, the part that goes to the highest scores of the model."""
    by_uncertainty_ppm: Share = 0
    """The part that goes to those that the model knows least about. The rest is drawn at random."""


class LanesText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The lanes that select."""

    red: LaneText
    yellow: LaneText
    blue: LaneText


class ScoreText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The score of rules from which on each lane is selected."""

    red: Points
    yellow: Points
    blue: Points


class OfficeText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of one office and direction."""

    office: Annotated[str, msgspec.Meta(pattern=r"^(\*|[A-Z0-9]{4,8})$")]
    direction: Literal["import", "export"]
    lanes: LanesText
    score: ScoreText | None = None
    """None: the thresholds of the profile's rules."""
    trusted_discount_ppm: Share = 0
    """By how much a trusted operator's score, model score and chance to be drawn are less."""
    yellow_to_blue_days: Annotated[int, msgspec.Meta(ge=1, le=365)] | None = None
    """After so many days yellow becomes blue by itself; none: never."""
    green_delay_minutes: Annotated[int, msgspec.Meta(ge=0, le=10_080)] = 0
    """How long green waits, so that an officer may look at it."""
    hits_without_selection: dict[Reason, Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]] = {}
    """Per rule how often it may be hit before it selects; then it counts anew."""

    @property
    def draws(self) -> bool:
        """Whether anything is drawn here."""
        return any(each.expected_ppm for each in (self.lanes.red, self.lanes.yellow, self.lanes.blue))


class TrustedText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operator that parameters of earlier releases trusted. It has no effect, but stored parameters are still read."""

    identifier: Annotated[str, msgspec.Meta(min_length=2, max_length=35)]
    """As declarants and carriers are told in filings, and filers in their certificate."""
    authorisation: Annotated[str, msgspec.Meta(min_length=3, max_length=70)]
    """Reference of the decision that trusts it."""
    valid_from: datetime.date
    valid_until: datetime.date | None = None
    """Last day; none: until the entry goes."""
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1)] = ("declarant", "filer", "carrier")
    """What it is trusted as."""


class PreLoadingText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What findings before loading lead to, by their reasons."""

    do_not_load: tuple[Reason, ...] = ()
    screening: tuple[Reason, ...] = ()
    information: tuple[Reason, ...] = ()
    screening_from_score: Points | None = None


class SelectionFileText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file as written."""

    format: Literal[1]
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{1,39}$")]
    version: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z.-]{1,30}$")]
    source: Annotated[str, msgspec.Meta(min_length=8, max_length=300)]
    pre_loading: PreLoadingText
    offices: Annotated[tuple[OfficeText, ...], msgspec.Meta(min_length=1, max_length=OFFICES_MAX)]
    trusted: Annotated[tuple[TrustedText, ...], msgspec.Meta(max_length=TRUSTED_MAX)] = ()


@dataclass(frozen=True)
class Parameters:
    """Checked parameters."""

    version: str
    pre_loading: PreLoadingText
    offices: Mapping[tuple[str, str], OfficeText]
    trusted_place: tuple[str, int] | None = None
    """File and line of trusted operators, which have no effect: the register of filers states who is trusted. None where there are none."""

    @property
    def draws(self) -> bool:
        """Whether any office draws anything."""
        return any(office.draws for office in self.offices.values())

    def for_office(self, office: str, direction: str) -> OfficeText:
        """The parameters of an office and direction; those of any office where it has none."""
        found = self.offices.get((office, direction))
        return self.offices[ANY, direction] if found is None else found


def load_parameters(path: Path, content: bytes | None = None) -> Parameters:
    """Read and check a file of parameters, or its content, which `path` then only names. Raises ParameterError with every
    mistake.
    """
    try:
        file = YamlFile(path, content)
        text = file.convert(SelectionFileText)
    except YamlError as error:
        raise ParameterError([str(error)]) from None
    errors: list[str] = []
    offices: dict[tuple[str, str], OfficeText] = {}
    for index, office in enumerate(text.offices):
        where = f"$.offices[{index}]"
        key = (office.office, office.direction)
        if key in offices:
            errors.append(f"{file.place(where)}: {key[0]} has parameters for {key[1]} already; keep one of the two")
        offices[key] = office
        errors += _errors(file, where, office)
    errors += [
        f"{file.place('$.offices')}: there are no parameters of any office ({ANY!r}) for {direction}; others fall back on them"
        for direction in ("import", "export")
        if (ANY, direction) not in offices
    ]
    reasons: dict[str, str] = {}
    for part in ("do_not_load", "screening", "information"):
        for reason in getattr(text.pre_loading, part):
            if reason in reasons:
                errors.append(f"{file.place(f'$.pre_loading.{part}')}: {reason} stands under {reasons[reason]} as well")
            reasons[reason] = part
    errors += [
        f"{file.place(f'$.trusted[{index}]')}: {each.identifier} is trusted until {each.valid_until}, before it begins on {each.valid_from}"
        for index, each in enumerate(text.trusted)
        if each.valid_until is not None and each.valid_until < each.valid_from
    ]
    if errors:
        raise ParameterError(errors)
    place = (file.name, file.position("$.trusted")[0]) if text.trusted else None
    digest = hashlib.sha256(msgspec.json.encode(text, order="deterministic")).hexdigest()[:12]
    return Parameters(f"{text.name}/{text.version}+{digest}", text.pre_loading, offices, place)


def _errors(file: YamlFile, where: str, office: OfficeText) -> list[str]:
    errors = []
    name = f"{office.office} {office.direction}"
    score = office.score
    if score is not None and not score.red > score.yellow > score.blue:
        errors.append(f"{file.place(where + '.score')}: {name}: the scores must fall from red over yellow to blue")
    for lane in ("red", "yellow", "blue"):
        text: LaneText = getattr(office.lanes, lane)
        place = file.place(f"{where}.lanes.{lane}")
        if text.minimum_random_ppm > text.expected_ppm:
            errors.append(
                f"{place}: {name}: the minimum of {lane}, {text.minimum_random_ppm}, is above what is expected, {text.expected_ppm}"
            )
        if text.by_model_ppm + text.by_uncertainty_ppm > PPM:
            errors.append(f"{place}: {name}: the model's parts of {lane} are together above {PPM}")
        if lane == "blue" and text.by_model_ppm + text.by_uncertainty_ppm:
            errors.append(f"{place}: {name}: blue is drawn at random alone; remove by_model_ppm and by_uncertainty_ppm")
    lanes = office.lanes
    if lanes.red.expected_ppm + lanes.yellow.expected_ppm + lanes.blue.expected_ppm > PPM:
        errors.append(f"{file.place(where + '.lanes')}: {name}: the expected shares are together above {PPM}")
    return errors
