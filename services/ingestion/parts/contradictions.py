"""The contradictions of a consignment's parts, as each version of ingestion states them to the other services. Pure.

Clearance may refuse a version that came too late. So each contradiction names the versions of the filing that have the value of the consignment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.ingestion.parts.joining import Part, PartResult, join

STATED_MAX: Final = 20
"""Contradictions of a consignment that a version states: the first ones, in the order of the parts. The others are counted."""
_SCHEMA: Final = schema_of(ConsignmentColumns).children["contradictions"]
_TEXTS: Final = ("path", "consignment_value", "stated_by", "part_value", "part_filer")
_NUMBERS: Final = ("part_role", "first_version", "last_version")


class PartContradiction(NamedTuple):
    """An element of which a part states another value than the consignment."""

    path: str
    consignment_value: str
    stated_by: str
    part_value: str
    part_filer: str
    part_role: int


@dataclass(frozen=True, slots=True)
class Contradictions:
    """The contradictions of a consignment with its parts."""

    entries: tuple[PartContradiction, ...] = ()
    """The first ones, STATED_MAX at most."""
    count: int = 0
    """All of them."""


NONE: Final = Contradictions()


def contradictions_of(parts: Sequence[tuple[str, int]], results: Sequence[PartResult]) -> Contradictions:
    """Return the contradictions of parts, of which filer and role are given, with their consignment."""
    entries = [
        PartContradiction(each.path, each.consignment_value, each.stated_by, each.part_value, filer, role)
        for (filer, role), result in zip(parts, results, strict=True)
        for each in result.contradictions
    ]
    return Contradictions(tuple(entries[:STATED_MAX]), sum(each.contradiction_count for each in results))


def stated_in(table: Table, row: int) -> Contradictions | None:
    """Return the contradictions that a version states; None where it states nothing about them."""
    counts = table.ints("contradiction_count")
    if not counts.valid[row]:
        return None
    span, lines = table.ragged("contradictions").span(row), table.child("contradictions")
    texts = [lines.strings(name).tolist()[span] for name in _TEXTS]
    roles = lines.ints("part_role").values.tolist()[span]
    entries = tuple(PartContradiction(*each) for each in zip(*texts, roles, strict=True))
    return Contradictions(entries, int(counts.values[row]))


def first_versions(
    contradictions: Contradictions, versions: Mapping[int, Consignment], current: int, filer: str, parts: Sequence[Part]
) -> list[int]:
    """Return for each entry the first version that contradicts the same part with the same value, of those without a gap up to `current`.

    `versions`: what the versions that are there to be compared state. `parts`: those of which the entries are. `filer`: who filed the consignment.
    """
    first = [current + 1] * len(contradictions.entries)
    for version in range(current, 0, -1):
        standing = [place for place, since in enumerate(first) if since == version + 1]
        if version not in versions or not standing:
            break
        _, results = join(versions[version], filer, parts)
        there = {
            (each.path, each.consignment_value, part.filer, each.part_value)
            for part, result in zip(parts, results, strict=True)
            for each in result.contradictions
        }
        for place in standing:
            each = contradictions.entries[place]
            if (each.path, each.consignment_value, each.part_filer, each.part_value) in there:
                first[place] = version
    return first


def with_contradictions(table: Table, contradictions: Contradictions, first: Sequence[int], version: int) -> Table:
    """Return the one version of a table with its contradictions; `first` has the first version of each entry, `version` is that of the table."""
    rows = [
        (*each[:-1], each.part_role, since, version) for each, since in zip(contradictions.entries, first, strict=True)
    ]
    columns: dict[str, Column] = {
        name: Strings.of([str(row[place]) for row in rows]) for place, name in enumerate(_TEXTS)
    }
    columns |= {
        name: Ints.of([int(row[place]) for row in rows]) for place, name in enumerate(_NUMBERS, start=len(_TEXTS))
    }
    lines = Table(_SCHEMA, len(rows), columns)
    return table.with_columns(
        {
            "contradictions": Ragged.of_lengths([len(rows)], lines),
            "contradiction_count": Ints.of([contradictions.count]),
        }
    )


def without_contradictions(table: Table) -> Table:
    """Return versions that state nothing about contradictions."""
    if not table.may_have("contradiction_count"):
        return table
    none = Ints.absent(table.rows)
    lines = table.child("contradictions").take(Ints.of([]).values)
    return table.with_columns(
        {
            "contradictions": Ragged.of_lengths([0] * table.rows, lines),
            "contradiction_count": none,
            "unchanged_since": none,
        }
    )
