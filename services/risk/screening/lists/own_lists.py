"""An administration's own lists: CSV with a head, or YAML.

CSV: the columns id, kind, name, aliases, weak_aliases, countries, identifiers; several values are set apart by semicolons.
YAML: `source`, `published` and `entries`, each with the same fields, several values as lists; `invented: true` where its names are a sample.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Final

import msgspec

from libs.customs.countries import is_country
from libs.files.yaml_file import YamlError, YamlFile
from services.risk.screening.lists.party_list import (
    EntryKind,
    ListEntry,
    ListRefused,
    PartyList,
    Quality,
    names_of,
    party_list,
    rows_of,
    text_of,
)

COLUMNS: Final = ("id", "kind", "name", "aliases", "weak_aliases", "countries", "identifiers")
_KINDS: Final = {kind.name.lower(): kind for kind in EntryKind}


class _Entry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    id: str
    kind: str
    name: str
    aliases: list[str] = []
    weak_aliases: list[str] = []
    countries: list[str] = []
    identifiers: list[str] = []


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    source: str
    published: date
    entries: list[_Entry]
    invented: bool = False


def load_own_csv(content: bytes, *, source: str, published: date | None = None) -> PartyList:
    """Read an own list from CSV in UTF-8; raises ListRefused with the line and the reason."""
    rows = rows_of(text_of(content, source, "utf-8-sig"), source)
    try:
        _, head = next(rows)
    except StopIteration:
        raise ListRefused(f"{source}: the file is empty; its first row must be {','.join(COLUMNS)}") from None
    if tuple(head) != COLUMNS:
        raise ListRefused(f"{source}:1: the head is {','.join(head)!r}; it must be {','.join(COLUMNS)}")
    entries = []
    for line, (number, kind, name, *several) in rows:
        aliases, weak, countries, identifiers = (
            [part.strip() for part in cell.split(";") if part.strip()] for cell in several
        )
        read = _Entry(number.strip(), kind.strip(), name, aliases, weak, countries, identifiers)
        entries.append(_read(read, f"{source}:{line}"))
    return party_list(source, published, [content], entries)


def load_own_yaml(path: Path) -> PartyList:
    """Read an own list from YAML; raises ListRefused with the line and the reason."""
    try:
        file = YamlFile(path)
        read = file.convert(_File)
    except YamlError as error:
        raise ListRefused(str(error)) from None
    entries = [_read(entry, file.place(f"$.entries[{index}]")) for index, entry in enumerate(read.entries)]
    return replace(party_list(read.source, read.published, [path.read_bytes()], entries), invented=read.invented)


def _read(entry: _Entry, place: str) -> ListEntry:
    if not entry.id.strip():
        raise ListRefused(f"{place}: the entry has no id")
    if entry.kind not in _KINDS:
        raise ListRefused(f"{place}: the kind is {entry.kind!r}; known are {', '.join(_KINDS)}")
    for code in entry.countries:
        if not is_country(code):
            raise ListRefused(f"{place}: {code!r} is no country; write ISO 3166-1 alpha-2, such as DE")
    names = [(entry.name, Quality.PRIMARY)]
    names += [(text, Quality.STRONG) for text in entry.aliases]
    names += [(text, Quality.WEAK) for text in entry.weak_aliases]
    return ListEntry(
        id=entry.id.strip(),
        kind=_KINDS[entry.kind],
        names=names_of(names, place),
        countries=tuple(sorted(set(entry.countries))),
        identifiers=tuple(sorted(set(entry.identifiers))),
    )
