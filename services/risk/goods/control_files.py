"""Goods controls as written: one YAML file a jurisdiction, checked as a whole.

One mistake anywhere refuses all files together, and all mistakes are told at once with file, line and control, as with
rules. What a control means is in controls.py.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from libs.customs.countries import COUNTRIES, EU_MEMBERS, ORIGINS, UNION
from libs.files.yaml_file import YamlError, YamlFile, message_and_path, quoting_hint
from services.risk.conditions.cel.functions import normal

CONTROLS_MAX: Final = 2_000
MODES: Final = {"sea": 1, "rail": 2, "road": 3, "air": 4, "post": 5}
#: Keys of version 0.2 by their names there; files that have them are refused with the name that they have now.
CURRENT_KEYS: Final = {"papers": "documents", "papers_needed": "documents_needed"}

Code = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{2,62}$")]
Sentence = Annotated[str, msgspec.Meta(min_length=8, max_length=300)]
ReferenceId = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{1,39}$")]
Prefix = Annotated[str, msgspec.Meta(pattern=r"^([0-9]{2}|[0-9]{4,10})$")]
Phrase = Annotated[str, msgspec.Meta(min_length=2, max_length=100)]
UnNumber = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}$")]


class ControlFileError(ValueError):
    """Files of controls that are refused; `errors` has each error with its place."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("the goods controls are refused:\n" + "\n".join(f"  {mistake}" for mistake in errors))
        self.errors = tuple(errors)


class ReferenceText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a control stands in law. `verified` tells that somebody compared the control with the text in force."""

    law: Sentence
    verified: bool
    article: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] = ""


class DocumentText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document that lifts a restriction: its type as filed in supporting documents, and what it is."""

    type: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{3,8}$")]
    name: Sentence


class ControlText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A control as written."""

    id: Code
    version: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    measure: Literal["prohibited", "restricted"]
    lane: Literal["red", "yellow"]
    sentence: Sentence
    legal: Annotated[tuple[ReferenceId, ...], msgspec.Meta(min_length=1, max_length=5)]
    owner: Annotated[str, msgspec.Meta(min_length=3, max_length=70)]
    valid_from: datetime.date
    valid_until: datetime.date | None = None
    hs: tuple[Prefix, ...] = ()
    """Commodity codes that begin so."""
    hs_except: tuple[Prefix, ...] = ()
    words: tuple[Phrase, ...] = ()
    """Words and phrases, whole, in any script and language."""
    words_except: tuple[Phrase, ...] = ()
    un_numbers: tuple[UnNumber, ...] = ()
    """United Nations numbers of dangerous goods."""
    match: Literal["any", "hs_and_words"] = "any"
    """Whether one of code, words and UN number is enough, or a code and a word must meet."""
    direction: Literal["import", "export"] = "import"
    stages: tuple[Literal["pre_loading", "clearance"], ...] = ()
    """Stages that it counts at; none: all."""
    modes: tuple[Literal["sea", "rail", "road", "air", "post"], ...] = ()
    """Transport modes that it counts for; none: all. A mode that is not told counts for all."""
    origins: tuple[str, ...] = ()
    """Countries of origin that it counts for; none: all. An origin that is not told counts for all."""
    documents: tuple[DocumentText, ...] = ()
    """What lifts it."""
    documents_needed: Literal["any", "all"] = "any"


class ControlFileText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file as written."""

    format: Literal[1]
    jurisdiction: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$")]
    name: Sentence
    source: Sentence
    references: dict[ReferenceId, ReferenceText]
    controls: Annotated[tuple[ControlText, ...], msgspec.Meta(min_length=1, max_length=CONTROLS_MAX)]


@dataclass(frozen=True)
class ControlFiles:
    """Files that were read: what each says, and the version of it all."""

    files: tuple[ControlFileText, ...]
    version: str

    def countries(self, jurisdiction: str) -> frozenset[str]:
        """The countries of a jurisdiction."""
        return EU_MEMBERS if jurisdiction == UNION else frozenset({jurisdiction})


def read_controls(paths: Iterable[Path]) -> ControlFiles:
    """Read and check files of controls. Raises ControlFileError with every mistake of all of them."""
    errors: list[str] = []
    texts: list[ControlFileText] = []
    places: dict[str, str] = {}
    jurisdictions: dict[str, str] = {}
    for path in paths:
        try:
            file = YamlFile(path)
            text = _converted(file)
        except YamlError as error:
            errors.append(str(error))
            continue
        texts.append(text)
        errors += _file_errors(file, text, jurisdictions)
        for index, control in enumerate(text.controls):
            place = file.place(f"$.controls[{index}]")
            if control.id in places:
                errors.append(f"{place}: control {control.id}: the id is taken at {places[control.id]}; ids are unique")
            places.setdefault(control.id, place)
            errors += _control_errors(file, index, control, text)
    if not texts and not errors:
        errors.append("there is no file of controls")
    if errors:
        raise ControlFileError(errors)
    digest = hashlib.sha256(msgspec.json.encode(texts, order="deterministic")).hexdigest()[:12]
    return ControlFiles(tuple(texts), f"controls+{digest}")


def _converted(file: YamlFile) -> ControlFileText:
    try:
        return msgspec.convert(file.data, ControlFileText)
    except msgspec.ValidationError as error:
        message, where = message_and_path(error)
        message += quoting_hint(message)
        unknown = re.search(r"unknown field `(\w+)`", message)
        if unknown is not None:
            where += f".{unknown[1]}"
            if unknown[1] in CURRENT_KEYS:
                message += f"; since version 0.3 its name is `{CURRENT_KEYS[unknown[1]]}`; rename it in the whole file"
        found = re.match(r"\$\.controls\[(\d+)\]", where)
        name = _name_of(file.data["controls"][int(found[1])]) if found else ""
        message = f"{name}{message} (at {where.removeprefix('$.')})"
        raise YamlError(file.name, file.position(where)[0], where, message) from None


def _name_of(control: Any) -> str:
    return f"control {control['id']}: " if isinstance(control, dict) and isinstance(control.get("id"), str) else ""


def _file_errors(file: YamlFile, text: ControlFileText, jurisdictions: dict[str, str]) -> list[str]:
    errors = []
    place = file.place("$.jurisdiction")
    if text.jurisdiction != UNION and text.jurisdiction not in COUNTRIES:
        errors.append(f"{place}: {text.jurisdiction} is no country (alpha-2, or EU for the member states)")
    if text.jurisdiction in jurisdictions:
        errors.append(f"{place}: {text.jurisdiction} has a file already, {jurisdictions[text.jurisdiction]}; join them")
    jurisdictions.setdefault(text.jurisdiction, file.name)
    used = {reference for control in text.controls for reference in control.legal}
    errors += [
        f"{file.place(f'$.references.{name}')}: no control names the reference {name}; remove it"
        for name in text.references
        if name not in used
    ]
    return errors


def _control_errors(file: YamlFile, index: int, control: ControlText, text: ControlFileText) -> list[str]:
    """Every mistake of one control that its types do not tell."""
    where = f"$.controls[{index}]"
    errors: list[str] = []

    def add_error(part: str, message: str) -> None:
        errors.append(f"{file.place(where + part)}: control {control.id}: {message}")

    if not (control.hs or control.words or control.un_numbers):
        add_error("", "it names no goods; give hs, words or un_numbers")
    if control.match == "hs_and_words" and not (control.hs and control.words):
        add_error(".match", "a code and a word must meet, so give both hs and words")
    if control.measure == "prohibited" and control.documents:
        add_error(".documents", "no document lifts a prohibition; call it restricted, or remove the documents")
    if control.measure == "restricted" and not control.documents:
        add_error("", "it is restricted, and no document lifts it; give documents, or call it prohibited")
    if control.valid_until is not None and control.valid_until < control.valid_from:
        add_error(".valid_until", f"it ends on {control.valid_until}, before it begins on {control.valid_from}")
    for name in control.legal:
        if name not in text.references:
            add_error(".legal", f"there is no reference {name}; known are {', '.join(text.references) or 'none'}")
    for place, origin in enumerate(control.origins):
        if origin not in ORIGINS:
            add_error(f".origins[{place}]", f"{origin} is no country of origin (alpha-2, or EU)")
    for part in ("words", "words_except"):
        seen: dict[str, str] = {}
        for place, word in enumerate(getattr(control, part)):
            form = normal(word)
            if not form:
                add_error(f".{part}[{place}]", f"{word!r} has no letter or digit")
            elif form in seen:
                add_error(f".{part}[{place}]", f"{word!r} says the same as {seen[form]!r}; keep one of the two")
            seen.setdefault(form, word)
    for code in control.hs:
        shorter = next((other for other in control.hs if code != other and code.startswith(other)), None)
        if shorter:
            add_error(".hs", f"{code} lies within {shorter}; keep {shorter}")
    return errors
