"""Lists of parties that goods may not go to or come from: entries, versions, and the refusal of a file that is broken.

A loader reads one publication whole or refuses it whole, so that a broken file never replaces the list in force.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum
from functools import lru_cache
from typing import Final

import pycountry

from libs.customs.countries import KOSOVO

#: Bytes of a file that are read at most; the largest public list (OpenSanctions, everything) has about 400 MB.
FILE_BYTES_MAX: Final = 1_000_000_000
#: Characters of one name that are kept at most; longer ones are a broken file.
NAME_LENGTH_MAX: Final = 1_000
#: What stands for the levels of matches among what a stored batch was screened by; no list may have this name.
MATCH: Final = "MATCH"
#: A new version with less than this share of the entries in force is taken for a truncated one.
ENTRIES_SHARE_LEAST: Final = 0.8


class ListRefused(ValueError):
    """A list that is not loaded: which, where and why, and what to do. The version in force stays."""


class EntryKind(IntEnum):
    """What an entry is."""

    UNKNOWN = 0
    PERSON = 1
    ENTITY = 2
    VESSEL = 3
    AIRCRAFT = 4


class Quality(IntEnum):
    """How well a name identifies its entry, by the list's own word. The smaller, the better."""

    PRIMARY = 0
    STRONG = 1
    """A good alias; also former and new names."""
    WEAK = 2
    """An alias that many others bear (the UN's "Low", OFAC's weak a.k.a.)."""


@dataclass(frozen=True, slots=True)
class EntryName:
    """One name of an entry, as the list writes it."""

    text: str
    quality: Quality = Quality.PRIMARY


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One listed party."""

    id: str
    """The list's own id; unique in the list."""
    kind: EntryKind
    names: tuple[EntryName, ...]
    countries: tuple[str, ...] = ()
    """ISO 3166-1 alpha-2, sorted; what could not be read as a country is left out."""
    identifiers: tuple[str, ...] = ()
    """Numbers of passports, registers, ships and the like, as written."""


@dataclass(frozen=True, slots=True)
class ListVersion:
    """Which publication of which list: what a record of screening refers to."""

    source: str
    """The list's short name, such as UN or OFAC."""
    published: date | None
    """The day the file says it was made, or the one its carrier says."""
    digest: str
    """SHA-256 over the file or files, in hexadecimal."""
    entries: int

    @property
    def id(self) -> str:
        """A short name of the version, such as UN:2026-02-27:0f3a94c1d2e7."""
        return f"{self.source}:{self.published or 'undated'}:{self.digest[:12]}"


@dataclass(frozen=True, slots=True)
class PartyList:
    """One publication of a list, whole."""

    version: ListVersion
    entries: tuple[ListEntry, ...] = field(repr=False)
    invented: bool = False
    """Whether its names are a sample that stands for no real party."""

    def check_size(self, current: ListVersion | None, *, share_least: float = ENTRIES_SHARE_LEAST) -> None:
        """Raise ListRefused where the list has far fewer entries than the version in force: it is likely cut off."""
        if current is None or current.source != self.version.source:
            return
        if self.version.entries < current.entries * share_least:
            raise ListRefused(
                f"{self.version.source}: the new version has {self.version.entries} entries, the one in force "
                f"({current.id}) has {current.entries}; less than {share_least:.0%} of them is taken for a truncated "
                "file. If the list has really shrunk, load it with a smaller least share"
            )


def digest(*contents: bytes) -> str:
    """SHA-256 over files, each led by its length."""
    made = hashlib.sha256()
    for content in contents:
        made.update(len(content).to_bytes(8, "big"))
        made.update(content)
    return made.hexdigest()


def party_list(
    source: str, published: date | None, contents: Sequence[bytes], entries: Iterable[ListEntry]
) -> PartyList:
    """Close a loaded list; raises ListRefused where it is empty or an id stands twice."""
    kept = tuple(entries)
    if not kept:
        raise ListRefused(f"{source}: the file has no entry; it is empty or cut off")
    seen: set[str] = set()
    for entry in kept:
        if entry.id in seen:
            raise ListRefused(f"{source}: the entry {entry.id} stands twice; ask the publisher for a sound file")
        seen.add(entry.id)
    return PartyList(ListVersion(source, published, digest(*contents), len(kept)), kept)


def names_of(candidates: Iterable[tuple[str | None, Quality]], place: str) -> tuple[EntryName, ...]:
    """Return the names without blanks and repetitions (the better quality is kept), the best first.

    Raises ListRefused where none is left or one is too long; `place` says where they stand.
    """
    kept: dict[str, Quality] = {}
    for text, quality in candidates:
        clean = " ".join((text or "").split())
        if not clean:
            continue
        if len(clean) > NAME_LENGTH_MAX:
            raise ListRefused(f"{place}: a name has {len(clean)} characters; at most {NAME_LENGTH_MAX} are read")
        kept[clean] = min(quality, kept.get(clean, quality))
    if not kept:
        raise ListRefused(f"{place}: the entry has no name; the file is broken there")
    return tuple(sorted((EntryName(*item) for item in kept.items()), key=lambda name: name.quality))


def text_of(content: bytes, source: str, encoding: str) -> str:
    """Decode a file strictly; raises ListRefused with the line that is not in the encoding."""
    if len(content) > FILE_BYTES_MAX:
        raise ListRefused(f"{source}: the file has {len(content)} bytes; at most {FILE_BYTES_MAX} are read")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ListRefused(
            f"{source}:{line}: the byte {content[error.start]:#04x} is not {encoding}; take the publisher's own file, unconverted"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ListRefused(f"{source}:{line}: there is a zero byte; the file is broken or not {encoding}")
    return text


def rows_of(text: str, source: str, columns: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield each row of a CSV file with the line it ends on; all have the same number of columns.

    Raises ListRefused for an open quote, another number of columns, or a last row without its end.
    """
    if text and not text.endswith("\n"):
        raise ListRefused(f"{source}:{text.count(chr(10)) + 1}: the last row has no end of line; the file is cut off")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ListRefused(
                f"{source}:{reader.line_num}: this is not CSV: {error}; the file is broken or cut off"
            ) from None
        columns = len(row) if columns is None else columns
        if len(row) != columns:
            raise ListRefused(f"{source}:{reader.line_num}: the row has {len(row)} columns where {columns} are due")
        yield reader.line_num, row


# Countries as the UN and OFAC write them, where pycountry knows another form.
_COUNTRIES: Final = {
    "democratic republic of the congo": "CD",
    "congo, democratic republic of the": "CD",
    "democratic people's republic of korea": "KP",
    "korea, north": "KP",
    "korea, south": "KR",
    "north korea": "KP",
    "republic of korea": "KR",
    "united kingdom of great britain and northern ireland": "GB",
    "syrian arab republic": "SY",
    "iran (islamic republic of)": "IR",
    "iran": "IR",
    "russia": "RU",
    "burma": "MM",
    "kosovo": KOSOVO,
    "west bank": "PS",
    "palestinian": "PS",
    "state of palestine": "PS",
    "ivory coast": "CI",
    "côte d'ivoire": "CI",
    "turkey": "TR",
    "cape verde": "CV",
    "swaziland": "SZ",
    "macedonia": "MK",
    "czech republic": "CZ",
    "venezuela": "VE",
    "bolivia": "BO",
    "tanzania": "TZ",
    "laos": "LA",
    "the gambia": "GM",
    "the bahamas": "BS",
    "united states of america": "US",
}


@lru_cache(maxsize=4096)
def country_of(text: str) -> str | None:
    """Read a country's name or code as ISO 3166-1 alpha-2; None where it is not known."""
    plain = " ".join(text.replace("’", "'").split()).strip(" .,")
    if not plain:
        return None
    known = _COUNTRIES.get(plain.lower())
    if known is not None:
        return known
    try:
        return str(pycountry.countries.lookup(plain).alpha_2)
    except LookupError:
        return None


def countries_of(texts: Iterable[str | None]) -> tuple[str, ...]:
    """Return the countries that are known, sorted, each once."""
    return tuple(sorted({code for text in texts if text and (code := country_of(text)) is not None}))
