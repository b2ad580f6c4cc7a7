"""Stored answers on which the states of consignments rest, or that came after these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from libs.store.database import Transaction
from libs.store.tables.assessment_pages import Reference, references
from luxor.revenue.v1.revenue_pb2 import PURPOSE_ADJUSTMENT, PURPOSE_CLEARANCE

Place: TypeAlias = tuple[int, int, int]
"""Day, batch and place in it of an answer."""
_REASSESSED: Final = """
select given.row, found.payload from unnest($1::integer[], $2::text[], $3::integer[], $4::integer[])
    as given(row, mrn, version, generation)
cross join lateral (
    select * from reassessed k where k.mrn = given.mrn and k.version = given.version and k.generation = given.generation offset 0
) found
"""
_LATER_REASSESSED: Final = """
select given.row, max(found.generation) as number
from unnest($1::integer[], $2::text[], $3::integer[], $4::integer[]) as given(row, mrn, version, held)
cross join lateral (
    select * from reassessed k where k.mrn = given.mrn and k.version = given.version and k.generation > given.held and k.day < $5 offset 0
) found
group by given.row
"""


async def first(
    reader: Transaction, rows: Sequence[int], mrns: Sequence[str], versions: Sequence[int]
) -> dict[int, Place]:
    """Return where the first answers to versions of filings stand, by row."""
    stored = {(each.mrn, each.version): each for each in await references(reader, mrns, PURPOSE_CLEARANCE)}
    keys = zip(rows, zip(mrns, versions, strict=True), strict=True)
    return {row: (stored[key].day, stored[key].batch, stored[key].row) for row, key in keys if key in stored}


async def reassessed(
    reader: Transaction, rows: Sequence[int], mrns: Sequence[str], versions: Sequence[int], generations: Sequence[int]
) -> dict[int, bytes]:
    """Return the answers of generations after the first, packed, by row."""
    found = await reader.raw.fetch(_REASSESSED, rows, mrns, versions, generations)
    return {row["row"]: row["payload"] for row in found}


async def adjusted(
    reader: Transaction, rows: Sequence[int], mrns: Sequence[str], until: Sequence[int]
) -> dict[int, Place]:
    """Return where the last adjustments up to a version of the state stand, by row."""
    last: dict[int, Reference] = {}
    stored = await _adjustments(reader, mrns)
    for row, mrn, limit in zip(rows, mrns, until, strict=True):
        if before := [each for each in stored.get(mrn, ()) if each.version <= limit]:
            last[row] = max(before)
    return {row: (each.day, each.batch, each.row) for row, each in last.items()}


async def later_generations(
    reader: Transaction,
    rows: Sequence[int],
    mrns: Sequence[str],
    versions: Sequence[int],
    generations: Sequence[int],
    *,
    before_day: int,
) -> dict[int, int]:
    """Return the last generation behind one that was stored before a day, by row."""
    found = await reader.raw.fetch(_LATER_REASSESSED, rows, mrns, versions, generations, before_day)
    return {row["row"]: row["number"] for row in found}


async def later_adjustments(
    reader: Transaction, rows: Sequence[int], mrns: Sequence[str], versions: Sequence[int], *, before_day: int
) -> dict[int, int]:
    """Return the version of the last adjustment behind a version that was stored before a day, by row."""
    last: dict[int, int] = {}
    stored = await _adjustments(reader, mrns)
    for row, mrn, version in zip(rows, mrns, versions, strict=True):
        # Of a day that is over, it would be in force by now if its state had come.
        if later := [each.version for each in stored.get(mrn, ()) if each.version > version and each.day < before_day]:
            last[row] = max(later)
    return last


async def _adjustments(reader: Transaction, mrns: Sequence[str]) -> dict[str, list[Reference]]:
    """Return where the adjustments of consignments stand, by MRN."""
    found: dict[str, list[Reference]] = {}
    for each in await references(reader, mrns, PURPOSE_ADJUSTMENT):
        found.setdefault(each.mrn, []).append(each)
    return found
