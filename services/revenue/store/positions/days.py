"""Positions of all consignments of a day of acceptance, a part at once: first those that no page names, by MRN, then page by page."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from libs.store.database import Database, Transaction
from services.revenue.store.positions import pages, rows
from services.revenue.store.positions.pages import PLACES
from services.revenue.store.positions.positions import latest, read
from services.revenue.store.positions.stored import Positions

DAY_ROWS: Final = 10_000
"""Consignments of a day that are summed at once."""
PART_MILLIS: Final = 10_000
"""For reading one part of them."""
_IN_PAGES: Final = "page "
_FIRST_BLOCK: Final = -(2**63)
_NEXT_DAY: Final = """
select least((select min(day) from ledger_position where day >= $1 and not paged), (select min(day) from ledger_position_page where day >= $1))
"""


@dataclass(frozen=True, slots=True)
class PositionPart:
    """Consignments, of one day of acceptance or chosen, with what is held of them."""

    mrn: list[str]
    positions: Positions
    after: str = ""
    """Where the next part of the day begins; empty after the last."""


@dataclass(frozen=True, slots=True, order=True)
class DayTotal:
    """What consignments of a day owe, by who collects; amounts before remissions and refunds."""

    destination: str
    kind: int
    collector: int
    currency: str
    amount: int
    consignments: int


async def next_day(tx: Transaction, day: int) -> int | None:
    """Return the next day on which consignments were accepted, from a day on; None for none."""
    following: int | None = await tx.raw.fetchval(_NEXT_DAY, day)
    return following


async def of_mrns(tx: Transaction, mrns: Sequence[str]) -> PositionPart:
    """Read what is held of some consignments, by MRN; one of which nothing is held is left out. The transaction has one snapshot."""
    distinct = sorted(set(mrns))
    held = await read(tx, distinct)
    there = np.flatnonzero(held.exists)
    return PositionPart([distinct[row] for row in there.tolist()], held.take(there))


async def of_day(tx: Transaction, day: int, *, after: str = "", rows_max: int) -> PositionPart:
    """Read what is held of up to `rows_max` consignments accepted on a day (since 1970-01-01 UTC), after a place; begin with "".

    The transaction has one snapshot. A consignment comes once, also where it is written between two parts. Raises ValueError for an invalid
    place.
    """
    return _decoded(await _stored(tx, day, after, rows_max))


async def totals(database: Database, day: int) -> tuple[list[DayTotal], int]:
    """Return the sums of all consignments accepted on a day, and how many these are; each part as it stands when it is read.

    A day of millions is no long transaction: that would hold up housekeeping and the feeds, and no time limit would fit it.
    """
    sums: dict[tuple[str, int, int, str], list[int]] = {}
    after, count, more = "", 0, True
    while more:
        async with database.connection(snapshot=True, timeout_millis=PART_MILLIS) as reader:
            stored = await _stored(reader, day, after, DAY_ROWS)
        part = await asyncio.to_thread(_add, stored, sums)
        count += len(part.mrn)
        after, more = part.after, bool(part.after)
    return [DayTotal(*key, *numbers) for key, numbers in sorted(sums.items())], count


@dataclass(frozen=True, slots=True)
class _DayRead:
    """A part of a day as it is stored."""

    rows: list[Any]
    pages: list[Any]
    paged: tuple[list[str], Positions]
    """What rows say of consignments of the pages."""
    place: tuple[int, str]
    """Block and MRN behind which the part begins in the pages."""
    rows_max: int
    blocks_max: int


async def _stored(tx: Transaction, day: int, after: str, rows_max: int) -> _DayRead:
    found_rows: list[Any] = []
    place = _FIRST_BLOCK, ""
    if after.startswith(_IN_PAGES):
        block, _, mrn = after.removeprefix(_IN_PAGES).partition(" ")
        place = int(block), mrn
    else:
        found_rows = await rows.of_day(tx, day, after, rows_max)
    blocks_max = (rows_max - len(found_rows) + PLACES - 1) // PLACES
    if not blocks_max:
        return _DayRead(found_rows, [], ([], Positions.nothing(0)), place, rows_max, 0)
    # One block more, since the first may have been returned already.
    found_pages = await pages.of_day(tx, day, place[0], blocks_max + 1)
    named = {mrn for page in found_pages for mrn in page["mrn"]}
    paged = await rows.read(tx, sorted(named), paged=True)
    return _DayRead(found_rows, found_pages, paged, place, rows_max, blocks_max + 1)


def _decoded(stored: _DayRead) -> PositionPart:
    mrns, positions = rows.decode(stored.rows)
    if not stored.blocks_max:
        return PositionPart(mrns, positions, mrns[-1])
    blocks: dict[str, int] = {}
    for page in stored.pages:
        blocks |= dict.fromkeys(page["mrn"], page["block"])
    left = stored.rows_max - len(mrns)
    all_places = sorted((block, mrn) for mrn, block in blocks.items() if (block, mrn) > stored.place)
    chosen = [mrn for _, mrn in all_places[:left]]
    # What was read may end in the midst of the day, and what is returned in the midst of a block.
    is_last = len(all_places) <= left and len(set(blocks.values())) < stored.blocks_max
    if chosen:
        positions = Positions.concat([positions, latest(stored.pages, stored.paged, chosen)])
    after = "" if is_last else f"{_IN_PAGES}{blocks[chosen[-1]]} {chosen[-1]}"
    return PositionPart([*mrns, *chosen], positions, after)


def _add(stored: _DayRead, totals: dict[tuple[str, int, int, str], list[int]]) -> PositionPart:
    """Add the lines of a part of a day to totals and counts, a column at a time, and return the part."""
    part = _decoded(stored)
    positions = part.positions
    of_row = np.repeat(np.arange(len(positions)), np.diff(positions.offsets))
    owed = positions.lines["amount"] > 0
    of_row, lines = of_row[owed], positions.lines[owed]
    if not len(lines):
        return part
    pairs = list(zip(positions.destination, positions.currency, strict=True))
    distinct = {pair: code for code, pair in enumerate(dict.fromkeys(pairs))}
    codes = np.array([distinct[pair] for pair in pairs], np.int64)
    # Kind and collector have a byte each.
    key = (codes[of_row] << 16) + (lines["kind"].astype(np.int64) << 8) + lines["collector"]
    keys, which = np.unique(key, return_inverse=True)
    which = which.reshape(-1)
    large = len(lines) * int(lines["amount"].max()) >= 2**63
    amounts = np.zeros(len(keys), object if large else np.int64)
    np.add.at(amounts, which, lines["amount"].astype(object) if large else lines["amount"])
    counted = np.unique(of_row * len(keys) + which) % len(keys)
    counts = np.bincount(counted, minlength=len(keys)).tolist()
    names = list(distinct)
    for at, number in enumerate(keys.tolist()):
        destination, currency = names[number >> 16]
        total = totals.setdefault((destination, number >> 8 & 255, number & 255, currency), [0, 0])
        total[0] += int(amounts[at])
        total[1] += counts[at]
    return part
