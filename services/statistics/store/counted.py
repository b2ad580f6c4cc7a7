"""Where the counted state of each consignment stands: pages by blocks of MRNs, and the rows of releases before.

A page has the consignments of one block that were counted together (`libs.store.tables.mrn_blocks`); it is never changed. The newest state by
epoch and version is the one that was counted last, since only newer ones are counted, so neither the order of batches nor their numbers matter.
`docs/decisions/counted-pages.md` has the reasons and figures.
"""
# ruff: noqa: S608 (only names and expressions of our own enter a statement's text; values are arguments)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.customs.identifiers.mrn_columns import days_of_mrns
from libs.store.database import Transaction
from libs.store.tables import bulk
from libs.store.tables.mrn_blocks import Blocks
from libs.store.tables.schema import TODAY
from libs.telemetry.trace import root_traceparent

IntArray = npt.NDArray[np.int64]

TABLES: Final = ("counted_page", "counted")
"""Pages, and rows of releases before; both by the day in the MRN."""

# The planner sees no length of an array behind `select`, so its estimates are the same for calls of every size. It sees the days, so a plan has
# their partitions alone: one for all days would open hundreds of partitions at each call, and to plan it takes 17 ms.
_PAGES: Final = """
select p.batch_day, p.batch, p.epoch, p.mrn, p.version, p."row"
from unnest((select $2::integer[]), (select $3::bigint[]), (select $4::smallint[]), (select $5::smallint[])) as w(day, block, first, last)
cross join lateral (
    select * from counted_page c where c.day = any($1::integer[]) and c.day = w.day and c.block = w.block and c.first <= w.last
        and c.last >= w.first offset 0
) p
"""
_ENTRIES: Final = """
select p.batch_day, p.batch, p.epoch, array[w.mrn], array[p.version[at.place]], array[p."row"[at.place]]
from unnest((select $2::integer[]), (select $3::bigint[]), (select $4::smallint[]), (select $5::text[])) as w(day, block, place, mrn)
cross join lateral (
    select * from counted_page c where c.day = any($1::integer[]) and c.day = w.day and c.block = w.block and c.first <= w.place
        and c.last >= w.place offset 0
) p cross join lateral (select array_position(p.mrn, w.mrn) as place offset 0) at where at.place is not null
"""
# A row without a batch names a day that has rows of releases before: a partition of their table, since none is made any more.
_MARK: Final = """
union all select w.day, null, null, null, null, null from unnest((select $1::integer[])) as w(day)
where to_regclass('counted_' || w.day) is not null
"""
PAGES_QUERY: Final = _PAGES + _MARK
ENTRIES_QUERY: Final = _ENTRIES + _MARK
ROWS_QUERY: Final = """
select c.batch_day, c.batch, c.epoch, array[w.mrn], array[c.version], array[c."row"]
from unnest((select $2::integer[]), (select $3::text[])) as w(day, mrn)
cross join lateral (select * from counted c where c.day = any($1::integer[]) and c.day = w.day and c.mrn = w.mrn offset 0) c
"""
_STORE: Final = f"""
insert into counted_batch (day, id, payload, traceparent, formula) values ({TODAY}, nextval('counted_batch_id'), $1, $2, $3) returning day, id
"""


@dataclass(frozen=True, slots=True)
class Consignments:
    """Consignments, each once, and where their counted states are looked up."""

    mrns: list[str]
    days: IntArray
    """The days of acceptance, as days since 1970-01-01."""
    blocks: Blocks

    @classmethod
    def located(cls, mrns: Sequence[str]) -> Consignments:
        """Locate consignments; raise MrnError for a number that is none of Luxor."""
        return cls(list(mrns), np.array(days_of_mrns(mrns), np.int64), Blocks.located(mrns))

    def take(self, rows: IntArray) -> Consignments:
        """Return some of the consignments, by rising rows."""
        if len(rows) == len(self.mrns):
            return self
        mrns = [self.mrns[row] for row in rows.tolist()]
        return Consignments(mrns, self.days[rows], Blocks.located(mrns))


@dataclass(frozen=True, slots=True)
class Counted:
    """Which states of consignments were counted last, and the batch and row in which they are stored; shape (n,), 0 where none was."""

    epoch: IntArray
    version: IntArray
    batch_day: IntArray
    batch: IntArray
    row: IntArray

    def among(self, rows: IntArray) -> Counted:
        """Return those of some rows that were counted."""
        known = rows[self.batch[rows] > 0]
        return Counted(
            self.epoch[known], self.version[known], self.batch_day[known], self.batch[known], self.row[known]
        )


async def find(tx: Transaction, consignments: Consignments) -> Counted:
    """Return which states of consignments were counted last."""
    mrns, at, days = consignments.mrns, consignments.blocks, np.unique(consignments.days).tolist()
    if at.are_dense:
        of_blocks = np.zeros(len(at.numbers), np.int64)
        of_blocks[at.index] = consignments.days
        spans = (each.tolist() for each in at.spans())
        found = await tx.raw.fetch(PAGES_QUERY, days, of_blocks.tolist(), at.numbers.tolist(), *spans)
    else:
        located = consignments.days.tolist(), at.numbers[at.index].tolist(), at.place.tolist()
        found = await tx.raw.fetch(ENTRIES_QUERY, days, *located, mrns)
    marked = [record[0] for record in found if record[1] is None]
    if marked:
        rows = np.flatnonzero(np.isin(consignments.days, marked)).tolist()
        of_days = consignments.days[rows].tolist(), [mrns[row] for row in rows]
        found = [record for record in found if record[1] is not None]
        found += await tx.raw.fetch(ROWS_QUERY, marked, *of_days)
    return _newest(mrns, found)


def _newest(mrns: Sequence[str], pages: Sequence[Sequence[Any]]) -> Counted:
    """Return of each consignment the newest entry of pages: day and number of the batch, epoch, and columns of MRNs, versions and rows."""
    batch_days, batches, epochs, *columns = zip(*pages, strict=True) if pages else ((),) * 6
    sizes = [len(each) for each in columns[0]]
    place_of = {mrn: place for place, mrn in enumerate(mrns)}
    places = np.fromiter(map(place_of.get, chain.from_iterable(columns[0]), repeat(-1)), np.int64, sum(sizes))
    version, row = (np.fromiter(chain.from_iterable(each), np.int64, len(places)) for each in columns[1:])
    epoch, batch_day, batch = (np.repeat(np.array(each, np.int64), sizes) for each in (epochs, batch_days, batches))
    order = np.lexsort((version, epoch, places))
    is_last = np.append(places[order[1:]] != places[order[:-1]], True)[: len(order)]
    newest = order[is_last & (places[order] >= 0)]
    found = np.zeros((5, len(mrns)), np.int64)
    found[:, places[newest]] = [each[newest] for each in (epoch, version, batch_day, batch, row)]
    return Counted(*found)


async def store(
    tx: Transaction, consignments: Consignments, versions: IntArray, epoch: int, payload: bytes, *, formula: int
) -> None:
    """Store a batch; its row i is what was counted of consignment i.

    The leases of their partitions keep other writers of these consignments out. The batch is not added to the cache of `Store`: if this
    transaction is lost with the server, another batch may get its number.
    """
    batch_day, batch = await tx.raw.fetchrow(_STORE, payload, root_traceparent(), formula)
    at = consignments.blocks
    order, bounds = at.grouped()
    first, last = at.spans()
    count = len(at.numbers)
    await bulk.copy(
        tx,
        "counted_page",
        {
            "day": bulk.int4(consignments.days[order[bounds[:-1]]]),
            "block": bulk.int8(at.numbers),
            "first": bulk.int2(first),
            "last": bulk.int2(last),
            "batch": bulk.int8([batch] * count),
            "batch_day": bulk.int4([batch_day] * count),
            "epoch": bulk.int8([epoch] * count),
            "mrn": bulk.Arrays([consignments.mrns[row] for row in order.tolist()], bounds),
            "version": bulk.Arrays(versions[order], bounds, 32),
            "row": bulk.Arrays(order, bounds, 32),
        },
    )
