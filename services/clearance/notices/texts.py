"""The texts of notices, as data: a file for each language, with titles and texts by reader and by what a notice reports.

A text has placeholders in braces. A carrier's text has only those that carriers may read. A text that a language lacks is the English one.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any, Final

import msgspec

from libs.files.yaml_file import YamlError, YamlFile, YamlOptions

ENGLISH: Final = "en"
INCLUDED: Final = Path(__file__).parent / "languages"
"""The included texts. English is complete, and stands for what another language lacks."""
TAG_CHARACTERS_MAX: Final = 35
LANGUAGES_MAX: Final = 100
TITLE_CHARACTERS_MAX: Final = 120
TEXT_CHARACTERS_MAX: Final = 2_000
FILER: Final = "filer"
CARRIER: Final = "carrier"
AGENCY: Final = "agency"
_OF_GOODS: Final = (
    "DECIDED", "HELD", "ARRIVED", "RELEASED", "INVALIDATED", "RETURNED", "RETURNED_WHOLE", "RETURNED_DESTROYED", "ARRIVAL_REVERSED", "SEIZED",
    "DISPOSED_CONFISCATED", "DISPOSED_DESTROYED", "DISPOSED_RE_EXPORTED", "DISPOSED_ABANDONED", "CONTROL_ORDERED", "CONTROL_ANSWERED",
    "CONTROL_REMINDED", "CONTROL_CONCLUDED", "EXPIRED", "HOLD_LIFTED", "REFERRED", "DO_NOT_LOAD", "DO_NOT_LOAD_LIFTED", "PRE_LOADING_COMPLETE",
    "PRE_LOADING_COMPLETE_HELD", "PRE_LOADING_INCOMPLETE", "REFERRAL_ENDED", "STORAGE_REMINDED", "STORAGE_ENDED",
    "TRANSIT_STARTED", "TRANSIT_ARRIVED", "TRANSIT_OVERDUE", "TRANSIT_ENDED", "TRANSIT_LOST", "DISPOSED_LOST",
    "ARRIVED_UNPRESENTED", "HELD_UNPRESENTED", "PRESENTED", "PRESENTATION_OVERDUE", "EXITED", "DECIDED_EXPORT", "HELD_EXPORT", "ARRIVED_EXPORT",
    "RELEASED_EXPORT", "INVALIDATED_EXPORT", "EXPIRED_EXPORT", "CONTROL_CONCLUDED_EXPORT", "HOLD_LIFTED_EXPORT",
)  # fmt: skip
KEYS: Final = {
    FILER: (
        *_OF_GOODS, "HELD_DEBT", "HELD_DEBT_UNPRESENTED", "RELEASED_ON_ACCOUNT", "AMENDMENT_REFUSED", "PART_MISSING", "CHARGES_CHANGED",
        "CONTRADICTED", "CONTRADICTED_ENDED",
        "DEBT_SETTLED", "DEBT_OPENED", "ARRIVED_ENDED", "RETURN_ORDER_ENDED",
    ),
    CARRIER: _OF_GOODS,
    AGENCY: (
        "CONTROL_ORDERED", "CONTROL_REQUESTED", "CONTROL_ANSWERED", "CONTROL_REMINDED", "CONTROL_OVERDUE", "CONTROL_CONCLUDED", "CONTROL_ENDED",
        "CONTROL_WITHDRAWN", "ARRIVED", "ARRIVAL_REVERSED", "LICENCE_USED", "LICENCE_RESTORED", "LICENCE_USED_UP",
        "LICENCE_REMINDED", "LICENCE_ENDED",
    ),
}  # fmt: skip
"""By reader, what a notice may report: its kind, in some cases with the state or the debt."""
_SHARED: Final = (
    "mrn",
    "house_document",
    "master_document",
    "date",
    "request",
    "due",
    "storage_until",
    "office",
    "transit_until",
    "present_until",
)
PLACEHOLDERS: Final = {
    FILER: (
        *_SHARED,
        "local_reference",
        "filing_version",
        "reasons",
        "payable",
        "paid",
        "refunded",
        "account",
        "check_code",
        "role",
        "part_link",
        "part_until",
        "consignment_filer",
        "contradictions",
    ),
    CARRIER: _SHARED,
    AGENCY: ("mrn", "house_document", "master_document", "date", "request", "due", "licences", "licence_until"),
}
"""By reader, what may stand in braces."""
PHRASES: Final = {"at_least": ("amount",), "unknown": (), "none": (), "nothing": ()}
"""Phrases for an amount that is a minimum, one that is not known, a reference that is absent, and what is not owed; with their placeholders."""
_TAG: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_OPTIONS: Final = YamlOptions(bytes_max=1_000_000, values_max=2_000, depth_max=5)
_ERRORS_SHOWN: Final = 20

Pieces = tuple[tuple[str, str], ...]
"""A text in pieces: what stands before each placeholder, and its name; "" behind the last."""


class TextsError(Exception):
    """Texts that are refused; each line says where, why and what to do."""


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    title: str
    text: str


class _File(msgspec.Struct, forbid_unknown_fields=True):
    phrases: dict[str, str] = {}
    filer: dict[str, Any] = {}
    carrier: dict[str, Any] = {}
    agency: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Language:
    """The texts of one language."""

    tag: str
    """Its tag as the name of its file has it."""
    phrases: Mapping[str, Pieces] = field(default_factory=dict)
    texts: Mapping[tuple[str, str], tuple[Pieces, Pieces]] = field(default_factory=dict)
    """Title and text by reader and key."""

    def missing(self) -> list[str]:
        """Return what the language lacks, such as carrier.HELD."""
        lacks = [f"phrases.{name}" for name in PHRASES if name not in self.phrases]
        return lacks + [f"{reader}.{key}" for reader in KEYS for key in KEYS[reader] if (reader, key) not in self.texts]


class Texts:
    """The texts of all languages."""

    def __init__(self, languages: Iterable[Language], english: Language) -> None:
        """Take the languages of a deployment, and the included English, which is complete."""
        own = {each.tag.lower(): each for each in languages}
        self.missing = {each.tag: missing for each in own.values() if (missing := each.missing())}
        """By tag, what a language lacks."""
        wording = own.get(ENGLISH, english)
        self._english = Language(ENGLISH, {**english.phrases, **wording.phrases}, {**english.texts, **wording.texts})
        self._languages = own | {ENGLISH: self._english}

    def choose(self, tag: str) -> Language:
        """Return the language for a tag: the longest part of it that there is, else English.

        The look-up of RFC 4647, section 3.4: de-CH-1996, de-CH, de; a subtag of one character goes with the one after it.
        """
        parts = tag.lower().split("-")
        while parts:
            if (found := self._languages.get("-".join(parts))) is not None:
                return found
            parts.pop()
            if len(parts) > 1 and len(parts[-1]) == 1:
                parts.pop()
        return self._english

    def text(self, language: Language, reader: str, key: str) -> tuple[Language, Pieces, Pieces]:
        """Return title and text, and the language that they are in."""
        chosen = language if (reader, key) in language.texts else self._english
        return (chosen, *chosen.texts[reader, key])

    def phrase(self, language: Language, name: str) -> Pieces:
        """Return a phrase."""
        return language.phrases.get(name) or self._english.phrases[name]


def is_language_tag(text: str) -> bool:
    """Return whether a text has the form of a language tag (BCP 47), such as de or pt-BR."""
    return len(text) <= TAG_CHARACTERS_MAX and _TAG.fullmatch(text) is not None


def filled(pieces: Pieces, values: Mapping[str, str]) -> str:
    """Return a text with the values of its placeholders, each as it is: braces in a value mean nothing."""
    return "".join(before + values[name] if name else before for before, name in pieces)


def load_texts(directory: Path = INCLUDED) -> Texts:
    """Read the languages of a directory, a file for each such as de.yaml, beside the included English. Raises TextsError."""
    english = _read(INCLUDED / f"{ENGLISH}.yaml")
    if incomplete := english.missing():
        raise TextsError(f"{INCLUDED / ENGLISH}.yaml lacks {', '.join(incomplete)}; English must be complete: add them")
    if directory == INCLUDED:
        return Texts([english], english)
    files = sorted(directory.glob("*.yaml"))
    if not files:
        raise TextsError(f"{directory} has no texts; add a file for each language, such as de.yaml")
    if len(files) > LANGUAGES_MAX:
        raise TextsError(f"{directory} has {len(files)} languages; at most {LANGUAGES_MAX} are read: remove some")
    tags = [file.stem.lower() for file in files]
    for file, tag in zip(files, tags, strict=True):
        if not is_language_tag(tag):
            raise TextsError(
                f"{file}: {file.stem} is no language tag; name the file by one, such as de.yaml or pt-BR.yaml"
            )
        if tags.count(tag) > 1:
            raise TextsError(f"{file}: the language {tag} has two files; keep one of them")
    return Texts([_read(file) for file in files], english)


def _read(path: Path) -> Language:
    try:
        file = YamlFile(path, options=_OPTIONS)
        content = file.convert(_File)
    except YamlError as error:
        raise TextsError(f"{error}; correct it as in {INCLUDED / ENGLISH}.yaml") from None
    errors: list[str] = []

    def refuse(place: str, reason: object) -> None:
        errors.append(f"{file.name}:{file.entry_line(f'$.{place}')}: {place}: {reason}")

    def pieces(place: str, text: str, placeholders: tuple[str, ...], characters_max: int) -> Pieces:
        try:
            return _pieces(text, placeholders, characters_max)
        except TextsError as error:
            refuse(place, error)
            return ()

    phrases: dict[str, Pieces] = {}
    for name, text in content.phrases.items():
        place = f"phrases.{name}"
        if name not in PHRASES:
            refuse(place, f"there is no such phrase; use one of {', '.join(PHRASES)}")
            continue
        phrases[name] = pieces(place, text, PHRASES[name], TITLE_CHARACTERS_MAX)
        if phrases[name] and {placeholder for _, placeholder in phrases[name]} - {""} != set(PHRASES[name]):
            refuse(place, "it lacks {amount}; write it where the amount stands")
    texts: dict[tuple[str, str], tuple[Pieces, Pieces]] = {}
    for reader, entries in ((FILER, content.filer), (CARRIER, content.carrier), (AGENCY, content.agency)):
        for key, data in entries.items():
            place = f"{reader}.{key}"
            if key not in KEYS[reader]:
                refuse(
                    place,
                    f"{'an' if reader == AGENCY else 'a'} {reader} has no such notice; use one of {', '.join(KEYS[reader])}",
                )
                continue
            try:
                entry = msgspec.convert(data, _Entry)
            except msgspec.ValidationError as error:
                refuse(place, f"{error}; write title and text, each a text, and in quotes if it begins with a brace")
                continue
            texts[reader, key] = (
                pieces(f"{place}.title", entry.title, PLACEHOLDERS[reader], TITLE_CHARACTERS_MAX),
                pieces(f"{place}.text", entry.text, PLACEHOLDERS[reader], TEXT_CHARACTERS_MAX),
            )
    if errors:
        more = f"\n{len(errors) - _ERRORS_SHOWN} further errors" if len(errors) > _ERRORS_SHOWN else ""
        raise TextsError("\n".join(errors[:_ERRORS_SHOWN]) + more)
    return Language(path.stem, phrases, texts)


def _pieces(text: str, placeholders: tuple[str, ...], characters_max: int) -> Pieces:
    """Divide a text at its placeholders; raises TextsError."""
    if not text.strip() or len(text) > characters_max:
        raise TextsError(f"it has {len(text)} characters; write 1 to {characters_max}")
    if any(character < " " or character == "\x7f" for character in text):
        raise TextsError("it has control characters or several lines; write one line (`>-` joins the lines of a text)")
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise TextsError(
            "a brace has no counterpart; write {name} for a placeholder, and {{ or }} for a brace"
        ) from None
    allowed = ", ".join(f"{{{name}}}" for name in placeholders) or "none"
    for _, name, form, conversion in parts:
        if name is not None and (name not in placeholders or form or conversion):
            raise TextsError(f"{{{name}}} is no placeholder of this text; allowed are: {allowed}")
    return tuple((before, name or "") for before, name, _, _ in parts)
