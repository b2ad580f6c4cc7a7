"""OFAC's list of specially designated nationals in its old CSV form: SDN.CSV and the aliases in ALT.CSV.

Source of the form: OFAC, "SDN data specification" (dat_spec.txt): no header, twelve and five columns, "-0-" for nothing,
and a Ctrl-Z at the end. Weak aliases stand in SDN's remarks, between quotes.
"""

from __future__ import annotations

import re
from collections import defaultdict
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

SOURCE: Final = "OFAC"
#: What OFAC writes where there is nothing.
_NOTHING: Final = "-0-"
_END: Final = "\x1a"
_SDN_COLUMNS: Final = 12
_ALT_COLUMNS: Final = 5
_KINDS: Final = {
    "": EntryKind.ENTITY,
    "individual": EntryKind.PERSON,
    "vessel": EntryKind.VESSEL,
    "aircraft": EntryKind.AIRCRAFT,
}
_ALIAS_TYPES: Final = {"aka": Quality.STRONG, "fka": Quality.STRONG, "nka": Quality.STRONG}
_REMARK_ALIAS: Final = re.compile(r"\b([afn])\.k\.a\. '([^';]+)'")
_REMARK_COUNTRY: Final = re.compile(r"\b(?:nationality|citizen|alt\. nationality|alt\. citizen) ([^;.]+)")
_REMARK_NUMBER: Final = re.compile(
    r"(?:^|; )(?:alt\. )?(?:Passport|Cedula No\.|National ID No\.|Identification Number|Tax ID No\.|RUC #|NIT #|RFC|"
    r"C\.U\.R\.P\.|Registration ID|Business Registration (?:Document|Number) #|Vessel Registration Identification IMO|"
    r"SWIFT/BIC|SSN|D-U-N-S Number|Company Number|V\.A\.T\. Number)\s*([A-Z0-9][A-Z0-9./-]*[A-Z0-9])"
)


def load_ofac(
    sdn: bytes, alt: bytes, *, published: date | None = None, source: str = SOURCE, end_mark: bool = True
) -> PartyList:
    """Read SDN.CSV and ALT.CSV of the same day; raises ListRefused with the file, the line and the reason.

    The files bear no date, so `published` is what their carrier says. `end_mark` says that each ends with Ctrl-Z, as
    OFAC's do: a file that was cut between two rows is told by its absence.
    """
    aliases: defaultdict[str, list[tuple[str, Quality]]] = defaultdict(list)
    alias_lines: dict[str, int] = {}
    alt_name, sdn_name = f"{source} ALT", f"{source} SDN"
    for line, row in rows_of(_body(alt, alt_name, end_mark), alt_name, _ALT_COLUMNS):
        number, _, kind, name, _ = (_value(cell) for cell in row)
        if kind not in _ALIAS_TYPES:
            raise ListRefused(f"{alt_name}:{line}: the alias is of type {kind!r}; known are {', '.join(_ALIAS_TYPES)}")
        if not name:
            raise ListRefused(f"{alt_name}:{line}: the alias has no name")
        aliases[number].append((name, _ALIAS_TYPES[kind]))
        alias_lines.setdefault(number, line)
    entries = []
    for line, row in rows_of(_body(sdn, sdn_name, end_mark), sdn_name, _SDN_COLUMNS):
        entries.append(_entry([_value(cell) for cell in row], aliases, f"{sdn_name}:{line}"))
    orphans = alias_lines.keys() - {entry.id for entry in entries}
    if orphans:
        number = min(orphans, key=alias_lines.__getitem__)
        raise ListRefused(
            f"{alt_name}:{alias_lines[number]}: the alias belongs to {number}, which SDN has not; SDN is cut off or of another "
            "day than ALT"
        )
    return party_list(source, published, [sdn, alt], entries)


def _body(content: bytes, name: str, end_mark: bool) -> str:
    # The files are ASCII but for stray letters of Windows' western code page; both read as Latin-1 letter by letter.
    text = text_of(content, name, "latin-1")
    cut = text.find(_END)
    if cut < 0:
        if end_mark:
            line = text.count("\n") + 1
            raise ListRefused(f"{name}:{line}: the mark at the end (Ctrl-Z) is missing; the file is cut off")
        return text
    if text[cut:].strip(_END + "\r\n"):
        raise ListRefused(
            f"{name}:{text.count(chr(10), 0, cut) + 1}: there is text behind the mark at the end (Ctrl-Z)"
        )
    return text[:cut]


def _value(cell: str) -> str:
    stripped = cell.strip()
    return "" if stripped == _NOTHING else stripped


def _entry(row: list[str], aliases: defaultdict[str, list[tuple[str, Quality]]], place: str) -> ListEntry:
    number, name, kind, _, _, call_sign, _, _, _, flag, _, remarks = row
    if not number.isdigit():
        raise ListRefused(f"{place}: the entry's number is {number!r}; the row is broken")
    if kind not in _KINDS:
        raise ListRefused(f"{place}: the entry is of type {kind!r}; known are {', '.join(filter(None, _KINDS))}")
    names = [(name, Quality.PRIMARY), *aliases.get(number, ())]
    # OFAC puts weak aliases into the remarks; former and new names in quotes there are as good as those of ALT.
    names += [(text, Quality.WEAK if word == "a" else Quality.STRONG) for word, text in _REMARK_ALIAS.findall(remarks)]
    numbers = {*_REMARK_NUMBER.findall(remarks), *([call_sign] if call_sign else [])}
    return ListEntry(
        id=number,
        kind=_KINDS[kind],
        names=names_of(names, f"{place}: entry {number}"),
        countries=countries_of([*_REMARK_COUNTRY.findall(remarks), flag]),
        identifiers=tuple(sorted(numbers)),
    )
