"""The United Nations Security Council's consolidated list, in its XML form (individuals and entities).

Source of the form: https://scsanctions.un.org (schema sc-sanctions.xsd).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from libs.files.xml_file import XmlError, parse, strict_parser
from services.risk.screening.lists.party_list import (
    FILE_BYTES_MAX,
    EntryKind,
    ListEntry,
    ListRefused,
    PartyList,
    Quality,
    countries_of,
    names_of,
    party_list,
)

SOURCE: Final = "UN"
_ROOT: Final = "CONSOLIDATED_LIST"
_RECORDS: Final = {
    ("INDIVIDUALS", "INDIVIDUAL"): EntryKind.PERSON,
    ("ENTITIES", "ENTITY"): EntryKind.ENTITY,
}
_NAME_PARTS: Final = ("FIRST_NAME", "SECOND_NAME", "THIRD_NAME", "FOURTH_NAME")
_DEPTH_MAX: Final = 16
_QUALITIES: Final = {
    "": Quality.STRONG,
    "good": Quality.STRONG,
    "a.k.a.": Quality.STRONG,
    "f.k.a.": Quality.STRONG,
    "low": Quality.WEAK,
}


@dataclass(slots=True)
class _Node:
    """An element of one record: its text and its children in order."""

    tag: str
    line: int
    texts: list[str] = field(default_factory=list)
    children: list[_Node] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.texts).strip()

    def all(self, *path: str) -> Iterator[_Node]:
        for child in self.children:
            if child.tag == path[0]:
                if len(path) == 1:
                    yield child
                else:
                    yield from child.all(*path[1:])

    def first(self, *path: str) -> str:
        return next((node.text for node in self.all(*path)), "")


class _Reader:
    """Collects the records of the list as expat tells them."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.made: date | None = None
        self.entries: list[ListEntry] = []
        self.open: list[_Node] = []
        self.sections: set[str] = set()
        self.parser = strict_parser()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters

    def place(self) -> str:
        return f"{self.source}:{self.parser.CurrentLineNumber}"

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self.open:
            if tag != _ROOT:
                raise ListRefused(f"{self.place()}: the root is <{tag}> where <{_ROOT}> is due; this is another file")
            self.made = self._day(attributes.get("dateGenerated", ""))
        elif len(self.open) == 1:
            self.sections.add(tag)
        if len(self.open) >= _DEPTH_MAX:
            raise ListRefused(f"{self.place()}: elements are nested deeper than {_DEPTH_MAX}; the file is broken")
        self.open.append(_Node(tag, self.parser.CurrentLineNumber))

    def _characters(self, text: str) -> None:
        if len(self.open) > 2:
            self.open[-1].texts.append(text)

    def _end(self, _tag: str) -> None:
        node = self.open.pop()
        if len(self.open) == 2:
            kind = _RECORDS.get((self.open[1].tag, node.tag))
            if kind is None:
                raise ListRefused(
                    f"{self.source}:{node.line}: <{node.tag}> in <{self.open[1].tag}> is not known; the form has changed"
                )
            self.entries.append(_entry(node, kind, f"{self.source}:{node.line}"))
        elif len(self.open) > 2:
            self.open[-1].children.append(node)

    def _day(self, text: str) -> date | None:
        if not text:
            return None
        try:
            return date.fromisoformat(text[:10])
        except ValueError:
            raise ListRefused(f"{self.place()}: dateGenerated {text!r} is not a day such as 2026-02-27") from None


def _entry(node: _Node, kind: EntryKind, place: str) -> ListEntry:
    tag = node.tag
    number = node.first("DATAID")
    if not number.isdigit():
        raise ListRefused(f"{place}: the entry's DATAID is {number!r} where a number is due")
    names = [
        (" ".join(part for tag_ in _NAME_PARTS if (part := node.first(tag_))), Quality.PRIMARY),
        (node.first("NAME_ORIGINAL_SCRIPT"), Quality.STRONG),
    ]
    for alias in node.all(f"{tag}_ALIAS"):
        word = alias.first("QUALITY").lower()
        if word not in _QUALITIES:
            raise ListRefused(
                f"{place}: an alias has the quality {word!r}; known are {', '.join(filter(None, _QUALITIES))}"
            )
        # Several aliases may stand in one element, set apart by semicolons.
        names += [(part, _QUALITIES[word]) for part in alias.first("ALIAS_NAME").split(";")]
    places = [*node.all("NATIONALITY", "VALUE"), *node.all(f"{tag}_ADDRESS", "COUNTRY")]
    documents = node.all(f"{tag}_DOCUMENT", "NUMBER")
    return ListEntry(
        id=number,
        kind=kind,
        names=names_of(names, f"{place}: entry {number}"),
        countries=countries_of(each.text for each in places),
        identifiers=tuple(sorted({each.text for each in documents if each.text})),
    )


def load_un(content: bytes, *, source: str = SOURCE) -> PartyList:
    """Read the consolidated list from its bytes; raises ListRefused with the line and the reason."""
    if len(content) > FILE_BYTES_MAX:
        raise ListRefused(f"{source}: the file has {len(content)} bytes; at most {FILE_BYTES_MAX} are read")
    reader = _Reader(source)
    try:
        parse(reader.parser, content)
    except XmlError as error:
        raise ListRefused(f"{source}:{error.line}: {error.message}") from None
    missing = sorted({section for section, _ in _RECORDS} - reader.sections)
    if missing:
        raise ListRefused(f"{source}: the file has no <{missing[0]}>; it is not the whole consolidated list")
    return party_list(source, reader.made, [content], reader.entries)
