"""A profile with what it builds on: the written parts put together, each rule knowing where it stands."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import msgspec

from libs.files.yaml_file import YamlError, YamlFile
from services.risk.rules.parser import Reading
from services.risk.rules.schema import (
    ENTRIES_MAX,
    RULES_MAX,
    TYPOLOGIES_MAX,
    DataText,
    ProfileText,
    RuleText,
    Thresholds,
    TypologyText,
)
from services.risk.rules.sources import FileSource, relative_path
from services.risk.rules.validation_errors import RuleSetError, ValidationError
from services.risk.selection import ParameterError, Parameters, load_parameters

T = TypeVar("T")

#: Profiles that build on each other.
BASES_MAX: Final = 4
_PLACE: Final = re.compile(r"(.+?):(\d+): (.*)", re.DOTALL)


@dataclass(frozen=True)
class Placed(Generic[T]):
    """A rule or typology, and where it is written."""

    text: T
    reading: Reading
    where: str


@dataclass
class WrittenProfile:
    """A rule set as written, with all of its parts together."""

    name: str
    version: str
    main: Reading
    rules: dict[str, Placed[RuleText]] = field(default_factory=dict)
    typologies: dict[str, Placed[TypologyText]] = field(default_factory=dict)
    data: dict[str, DataText] = field(default_factory=dict)
    data_places: dict[str, tuple[Reading, str]] = field(default_factory=dict)
    thresholds: Thresholds | None = None
    thresholds_place: tuple[Reading, str] | None = None
    selection: Parameters | None = None

    @property
    def digest(self) -> str:
        """First digits of the digest of all content; how it is spread over files does not matter."""
        content = msgspec.json.encode(
            [
                self.name,
                self.version,
                self.thresholds,
                self.data,
                [placed.text for placed in self.rules.values()],
                [placed.text for placed in self.typologies.values()],
                None if self.selection is None else self.selection.version,
            ],
            order="deterministic",
        )
        return hashlib.sha256(content).hexdigest()[:12]


def read_written(source: FileSource, path: str) -> WrittenProfile:
    """Read a profile, what it builds on, its data and its selection. Raises RuleSetError with every mistake of their form."""
    errors: list[ValidationError] = []
    parts = _parts(source, path, errors)
    if errors:
        raise RuleSetError(errors)
    _, reading, own = parts[-1]
    written = WrittenProfile(own.name, own.version, reading)
    selection: tuple[Reading, str] | None = None
    for file_path, reading, text in parts:
        _take(written.rules, reading, "rules", text.rules)
        _take(written.typologies, reading, "typologies", text.typologies)
        if text.thresholds is not None:
            written.thresholds, written.thresholds_place = text.thresholds, (reading, "$.thresholds")
        if text.selection is not None:
            selection = reading, relative_path(file_path, text.selection)
        for name, relative in text.data.items():
            written.data_places[name] = reading, relative_path(file_path, relative)
    for name, (reading, relative) in written.data_places.items():
        found = _data(source, reading, name, relative, errors)
        if found is not None:
            written.data[name] = found
    if selection is not None:
        written.selection = _selection(source, *selection, errors)
    _check_sizes(written)
    if errors:
        raise RuleSetError(errors)
    return written


def _parts(source: FileSource, path: str, errors: list[ValidationError]) -> list[tuple[str, Reading, ProfileText]]:
    """The profiles that build on each other, the one that was asked for last."""
    parts: list[tuple[str, Reading, ProfileText]] = []
    asked_by: tuple[Reading, str] | None = None
    seen: list[str] = []
    while True:
        seen.append(path)
        try:
            reading = Reading(YamlFile(*source.at(path)), errors)
        except YamlError as error:
            errors.append(_of_file(error, path, asked_by))
            return parts
        text: ProfileText | None = reading.read(ProfileText)
        if text is None:
            return parts
        parts.insert(0, (path, reading, text))
        if text.base is None:
            return parts
        path, asked_by = relative_path(path, text.base), (reading, "$.base")
        if path in seen or len(seen) >= BASES_MAX:
            reading.add_error(
                "$.base", "", f"profiles build on each other {BASES_MAX} deep at most, and never on themselves"
            )
            return parts


def _of_file(error: YamlError, path: str, asked_by: tuple[Reading, str] | None, prefix: str = "") -> ValidationError:
    """Return the error of a file that cannot be read, at its place in the file, or where the file is named if it is absent."""
    if error.line or asked_by is None:
        return ValidationError(error.file or path, error.line, 0, "", error.message)
    reading, where = asked_by
    return ValidationError(reading.file.name, *reading.file.position(where), "", f"{prefix}{error}")


def _take(into: dict[str, Placed[T]], reading: Reading, part: str, texts: tuple[T, ...]) -> None:
    """Put rules or typologies behind those that are there; those of the same id take their places."""
    own: dict[str, str] = {}
    for index, text in enumerate(texts):
        where = f"$.{part}[{index}]"
        name: str = text.id  # type: ignore[attr-defined]
        if name in own:
            kind = "rule" if part == "rules" else "typology"
            place = reading.file.place(own[name])
            reading.add_error(where, f"{kind} {name}", f"the id is taken by the {kind} at {place}; ids are unique")
            continue
        own[name] = where
        into[name] = Placed(text, reading, where)


def _data(source: FileSource, reading: Reading, name: str, path: str, errors: list[ValidationError]) -> DataText | None:
    where = f"$.data.{name}"
    try:
        data = Reading(YamlFile(*source.at(path)), errors)
    except YamlError as error:
        errors.append(_of_file(error, path, (reading, where), f"data {name}: "))
        return None
    text: DataText | None = data.read(DataText)
    if text is None:
        return None
    content = text.content
    if content is None:
        data.add_error("$", "", f"data {name}: give one of words, numbers, texts and lists, not empty")
    elif len(content) > ENTRIES_MAX:
        data.add_error("$", "", f"data {name}: {len(content)} entries; at most {ENTRIES_MAX} are taken")
    else:
        return text
    return None


def _selection(source: FileSource, reading: Reading, path: str, errors: list[ValidationError]) -> Parameters | None:
    try:
        return load_parameters(*source.at(path))
    except YamlError as error:
        errors.append(_of_file(error, path, (reading, "$.selection"), "selection: "))
    except ParameterError as error:
        errors.extend(_placed(told, reading) for told in error.errors)
    return None


def _placed(text: str, reading: Reading) -> ValidationError:
    """Return an error that another reader reported as text, `file:line: message`."""
    found = _PLACE.match(text)
    if found is None:
        return ValidationError(reading.file.name, *reading.file.position("$.selection"), "", text)
    return ValidationError(found[1], int(found[2]), 0, "", found[3])


def _check_sizes(written: WrittenProfile) -> None:
    if not written.rules:
        written.main.add_error("$", "", "there is no rule; a rule set has at least one")
    for part, most in ((written.rules, RULES_MAX), (written.typologies, TYPOLOGIES_MAX)):
        if len(part) > most:
            written.main.add_error("$", "", f"{len(part)} rules or typologies together; at most {most} are taken")
    if written.thresholds is None:
        written.main.add_error("$", "", "the element `thresholds` is missing")
