"""The table ledger_position_page: positions of consignments of one part of a block of MRNs and one day of acceptance, in one row.

Pages are added and deleted, and never changed. Of a consignment that several pages name the last one is valid; whoever writes holds the head
of its partition, so its pages are numbered one after the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.store.database import Transaction
from libs.store.tables import bulk
from libs.store.tables.mrn_blocks import BLOCK, Blocks
from services.revenue.ledger.entry import Int64
from services.revenue.ledger.line import LINE
from services.revenue.store.positions.stored import PAGE, PLACE, RECORD, TEXTS, Positions, ReadPage

PLACES: Final = 250
"""Serials of a page: a part of a block, so that one consignment is found in a page without reading those of a whole filing."""
PAGE_MIN: Final = 8
"""With fewer consignments of a page in a transaction each is stored in a row, and read from its page alone."""

_COLUMNS: Final = "block, number, day, mrn, texts, records, line_ends, lines, entry_ends, entries"
WHOLE_QUERY: Final = f"""
select page.* from unnest((select $1::bigint[])) as given(block)
cross join lateral (select {_COLUMNS} from ledger_position_page p where p.block = given.block offset 0) page order by page.number
"""  # noqa: S608  # our own names
SINGLE_QUERY: Final = f"""
select p.block, p.number, p.day, array[given.mrn] as mrn, p.texts,
    substr(p.records, (at.place - 1) * {RECORD.itemsize} + 1, {RECORD.itemsize}) as records,
    array[p.line_ends[at.place] - had.lines] as line_ends,
    substr(p.lines, had.lines * {LINE.itemsize} + 1, (p.line_ends[at.place] - had.lines) * {LINE.itemsize}) as lines,
    array[p.entry_ends[at.place] - had.entries] as entry_ends,
    substr(p.entries, had.entries * {PLACE.itemsize} + 1, (p.entry_ends[at.place] - had.entries) * {PLACE.itemsize}) as entries
from unnest((select $1::bigint[]), (select $2::smallint[]), (select $3::text[])) as given(block, place, mrn)
cross join lateral (
    select * from ledger_position_page p where p.block = given.block and p.first <= given.place and p.last >= given.place offset 0
) p
cross join lateral (select array_position(p.mrn, given.mrn) as place) at
cross join lateral (
    select coalesce(p.line_ends[at.place - 1], 0) as lines, coalesce(p.entry_ends[at.place - 1], 0) as entries
) had
where at.place is not null order by p.number
"""  # noqa: S608  # our own numbers
DAY_QUERY: Final = f"""
with chosen as materialized (
    select block from ledger_position_page where day = $1 and block >= $2 group by block order by block limit $3
)
select page.* from chosen cross join lateral (
    select {_COLUMNS} from ledger_position_page p where p.block = chosen.block and p.day = $1 offset 0
) page order by page.block, page.number
"""  # noqa: S608  # our own names
# Two transactions may find that nothing of a page is valid: the second one does not wait for the first, so they never wait in a circle.
DELETE_STATEMENT: Final = """
delete from ledger_position_page present using (
    select own.* from unnest((select $1::bigint[]), (select $2::bigint[]), (select $3::integer[])) as given(block, number, day) cross join lateral (
        select p.block, p.number, p.day from ledger_position_page p
        where p.block = given.block and p.number = given.number and p.day = given.day for update skip locked
    ) own
) free where present.block = any(array[free.block]) and present.number = free.number and present.day = free.day
"""
# Numbers go on above those of the pages where a copy of the store lacks the sequence's last state.
_NUMBER: Final = """
select case when n > $1 then n else setval('ledger_position_page_number', $1 + 1) end from nextval('ledger_position_page_number') as n
"""


@dataclass(frozen=True, slots=True)
class Located:
    """Where the pages of n consignments are."""

    block: Int64
    """The block of the page of each: that of its MRN and the part of it."""
    place: Int64
    """Its place in the page's block."""

    @classmethod
    def by_mrn(cls, mrns: Sequence[str]) -> Located:
        """Locate consignments by their MRNs."""
        at = Blocks.located(mrns)
        return cls(at.numbers[at.index] * (BLOCK // PLACES) + at.place // PLACES, at.place % PLACES)

    def in_pages(self, among: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.bool_]:
        """Return which consignments have a page: at least PAGE_MIN of those in `among` are in their part of a block."""
        counted = np.ones(len(self.block), np.bool_) if among is None else among
        _, index = np.unique(self.block, return_inverse=True)
        index = index.reshape(-1)
        counts = np.bincount(index[counted], minlength=int(index.max()) + 1 if len(index) else 0)
        return counted & (counts[index] >= PAGE_MIN)


async def read(
    tx: Transaction, mrns: Sequence[str], in_rows: npt.NDArray[np.bool_]
) -> tuple[list[Any], tuple[ReadPage, ...]]:
    """Return stored pages for `decode`, the oldest first, and which pages they are where they were read whole.

    All pages of a block are read whole where many of its consignments are asked for; of others the entries of single consignments come, but
    not of those `in_rows`.
    """
    at = Located.by_mrn(mrns)
    dense = at.in_pages()
    rows: list[Any] = []
    if dense.any():
        rows += await tx.raw.fetch(WHOLE_QUERY, np.unique(at.block[dense]).tolist())
    pages = tuple(ReadPage(row["block"], row["number"], row["day"], row["mrn"]) for row in rows)
    single = np.flatnonzero(~dense & ~in_rows)
    if len(single):
        wanted = [mrns[row] for row in single.tolist()]
        rows += await tx.raw.fetch(SINGLE_QUERY, at.block[single].tolist(), at.place[single].tolist(), wanted)
    return rows, pages


async def of_day(tx: Transaction, day: int, block: int, blocks_max: int) -> list[Any]:
    """Read the pages of a day of acceptance from a block on, by block and number, for `decode`."""
    return list(await tx.raw.fetch(DAY_QUERY, day, block, blocks_max))


def decode(row: Any) -> Positions:
    """Return the positions of a stored page, or of one entry of it. Raises ValueError where the page is damaged."""
    mrns = row["mrn"]
    try:
        records = np.frombuffer(row["records"], RECORD)
        lines, entries = np.frombuffer(row["lines"], LINE), np.frombuffer(row["entries"], PLACE)
    except (TypeError, ValueError):
        raise _damaged(row) from None
    offsets, entry_offsets = (np.array([0, *row[name]], np.int64) for name in ("line_ends", "entry_ends"))
    ends = (len(records), len(offsets) - 1, len(entry_offsets) - 1)
    if ends != (len(mrns),) * 3 or (offsets[-1], entry_offsets[-1]) != (len(lines), len(entries)):
        raise _damaged(row)
    texts = row["texts"]
    places = np.stack([records[name] for name in TEXTS])
    if len(mrns) and not 0 <= places.min() <= places.max() < len(texts):
        raise _damaged(row)
    destination, currency, jurisdiction = ([texts[place] for place in records[name].tolist()] for name in TEXTS)
    return Positions(
        np.full(len(mrns), row["day"], np.int64),
        destination,
        currency,
        jurisdiction,
        records,
        offsets,
        lines,
        entry_offsets,
        entries,
        np.full(len(mrns), PAGE, np.int64),
    )


def _damaged(row: Any) -> ValueError:
    return ValueError(
        f"page {row['number']} of positions in block {row['block']} is damaged: its columns do not belong together"
    )


async def store(
    tx: Transaction, mrns: Sequence[str], at: Located, positions: Positions, pages: Iterable[ReadPage]
) -> None:
    """Add pages of positions, a page for each block and day of acceptance, with a number above those of `pages`."""
    number = await tx.raw.fetchval(_NUMBER, max((page.number for page in pages), default=0))
    order = np.lexsort((at.place, positions.day, at.block))
    held, block, place = positions.take(order), at.block[order], at.place[order]
    begins = np.append(True, (np.diff(block) != 0) | (np.diff(held.day) != 0))
    starts = np.flatnonzero(begins)
    bounds = np.append(starts, len(order))
    records = held.records.copy()
    texts: list[str] = []
    text_ends = [0]
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        columns = [getattr(held, name)[start:stop] for name in TEXTS]
        places = {text: number for number, text in enumerate(dict.fromkeys(text for each in columns for text in each))}
        for name, column in zip(TEXTS, columns, strict=True):
            records[name][start:stop] = [places[text] for text in column]
        texts += places
        text_ends.append(len(texts))
    in_page = starts[np.cumsum(begins) - 1]

    def ends(offsets: Int64) -> bulk.Arrays:
        return bulk.Arrays(offsets[1:] - offsets[:-1][in_page], bounds, 32)

    def parts(values: npt.NDArray[Any], limits: Int64) -> bulk.Column:
        return bulk.bytea(
            [
                values[start:stop].tobytes()
                for start, stop in zip(limits[:-1].tolist(), limits[1:].tolist(), strict=True)
            ]
        )

    await bulk.copy(
        tx,
        "ledger_position_page",
        {
            "block": bulk.int8(block[starts]),
            "number": bulk.int8([number] * len(starts)),
            "day": bulk.int4(held.day[starts]),
            "first": bulk.int2(place[starts]),
            "last": bulk.int2(place[bounds[1:] - 1]),
            "mrn": bulk.Arrays([mrns[row] for row in order.tolist()], bounds),
            "texts": bulk.Arrays(texts, np.array(text_ends, np.int64)),
            "records": parts(records, bounds),
            "line_ends": ends(held.offsets),
            "lines": parts(held.lines, held.offsets[bounds]),
            "entry_ends": ends(held.entry_offsets),
            "entries": parts(held.entries, held.entry_offsets[bounds]),
        },
    )


def useless(pages: Iterable[ReadPage], written: Collection[str]) -> list[ReadPage]:
    """Return the pages of which nothing is valid once the consignments `written` stand in newer ones."""
    last = {mrn: page.number for page in sorted(pages, key=lambda page: page.number) for mrn in page.mrn}
    return [page for page in pages if all(last[mrn] != page.number or mrn in written for mrn in page.mrn)]


async def delete(tx: Transaction, pages: Sequence[ReadPage]) -> None:
    """Delete pages."""
    if pages:
        key = zip(*((page.block, page.number, page.day) for page in pages), strict=True)
        await tx.raw.execute(DELETE_STATEMENT, *(list(column) for column in key))
