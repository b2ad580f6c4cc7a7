"""OpenSanctions' simple CSV (targets.simple.csv): one row a target, several values of a cell set apart by semicolons.

Source of the form: https://www.opensanctions.org/docs/bulk/csv/. A value that holds a semicolon or a quote is itself
written as in CSV, within quotes.
"""

from __future__ import annotations

import csv
from datetime import date
from typing import Final

from services.risk.screening.lists.party_list import (
    EntryKind,
    ListEntry,
    ListRefused,
    PartyList,
    Quality,
    countries_of,
    names_of,
    party_list,
    rows_of,
    text_of,
)

SOURCE: Final = "OPENSANCTIONS"
COLUMNS: Final = (
    *("id", "schema", "name", "aliases", "birth_date", "countries", "addresses", "identifiers", "sanctions"),
    *("phones", "emails", "dataset", "first_seen", "last_seen", "last_change"),
)
#: Columns that came later or may go; the file's head says which are there.
_OPTIONAL: Final = {"program_ids", "last_change"}
_KINDS: Final = {
    "Person": EntryKind.PERSON,
    "Vessel": EntryKind.VESSEL,
    "Airplane": EntryKind.AIRCRAFT,
    **dict.fromkeys(("Company", "Organization", "LegalEntity", "PublicBody", "Security", "Asset"), EntryKind.ENTITY),
}


def load_opensanctions(content: bytes, *, published: date | None = None, source: str = SOURCE) -> PartyList:
    """Read targets.simple.csv; raises ListRefused with the line and the reason.

    The file bears no date of its own: without `published` the youngest of its `last_change` days stands for it.
    """
    rows = rows_of(text_of(content, source, "utf-8-sig"), source)
    try:
        _, head = next(rows)
    except StopIteration:
        raise ListRefused(f"{source}: the file is empty") from None
    missing = [column for column in COLUMNS if column not in head and column not in _OPTIONAL]
    unknown = [column for column in head if column not in COLUMNS and column not in _OPTIONAL]
    if missing or unknown or len(set(head)) < len(head):
        raise ListRefused(
            f"{source}:1: the head is not that of targets.simple.csv: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}"
        )
    entries: list[ListEntry] = []
    youngest = ""
    for line, row in rows:
        cell = dict(zip(head, row, strict=True))
        place = f"{source}:{line}"
        if not cell["id"]:
            raise ListRefused(f"{place}: the row has no id")
        if not cell["schema"]:
            raise ListRefused(f"{place}: {cell['id']} has no schema")
        names = [(cell["name"], Quality.PRIMARY), *((text, Quality.STRONG) for text in _values(cell["aliases"], place))]
        entries.append(
            ListEntry(
                id=cell["id"],
                kind=_KINDS.get(cell["schema"], EntryKind.UNKNOWN),
                names=names_of(names, f"{place}: entry {cell['id']}"),
                countries=countries_of(_values(cell["countries"], place)),
                identifiers=tuple(sorted(set(_values(cell["identifiers"], place)))),
            )
        )
        youngest = max(youngest, cell.get("last_change", "")[:10])
    if published is None and youngest:
        try:
            published = date.fromisoformat(youngest)
        except ValueError:
            raise ListRefused(f"{source}: last_change has {youngest!r}, which is no day such as 2026-11-01") from None
    return party_list(source, published, [content], entries)


def _values(cell: str, place: str) -> list[str]:
    """Cut a cell into its values."""
    if not cell:
        return []
    if '"' not in cell:
        return [value for part in cell.split(";") if (value := part.strip())]
    try:
        (values,) = csv.reader([cell], delimiter=";", skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        raise ListRefused(f"{place}: the values {cell[:80]!r} are not set apart by semicolons") from None
    return [value.strip() for value in values if value.strip()]
