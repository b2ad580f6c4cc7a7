"""Pages of the assessment log: for each block of MRNs and call, where the answers to its consignments stand.

The blocks are those of `mrn_blocks`. `docs/decisions/assessment-pages.md` has the reasons and figures.
"""
# ruff: noqa: S608 (only names and expressions of our own enter a statement's text; values are arguments)

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from libs.store.database import Transaction
from libs.store.tables.mrn_blocks import Blocks
from libs.store.tables.schema import TODAY

PURGE_PAGES_MAX: Final = 200

# The planner cannot see the length of an array behind `select`, so one plan serves calls of every size. With a length in sight it would
# plan anew at each small call, which takes longer than the call.
_PAGES: Final = """
select page.batch, page.day, page.purpose, page.mrn, page.version, page."row"
from unnest((select $2::smallint[]), (select $3::bigint[]), (select $4::smallint[]), (select $5::smallint[]))
    as given(slot, block, first, last)
cross join lateral (
    select * from assessment_page p where p.slot = given.slot and p.block = given.block and p.first <= given.last
        and p.last >= given.first and ($1::smallint is null or p.purpose = $1) offset 0
) page
"""
_ENTRIES: Final = """
select page.batch, page.day, page.purpose, array[given.mrn] as mrn, array[page.version[at.place]] as version,
    array[page."row"[at.place]] as "row"
from unnest((select $2::smallint[]), (select $3::bigint[]), (select $4::smallint[]), (select $5::text[]))
    as given(slot, block, place, mrn)
cross join lateral (
    select * from assessment_page p where p.slot = given.slot and p.block = given.block and p.first <= given.place
        and p.last >= given.place and ($1::smallint is null or p.purpose = $1) offset 0
) page
cross join lateral unnest(array_positions(page.mrn, given.mrn)) as at(place)
"""
# A row without a batch says that there are rows of releases before, which are asked for then. The first one by key is wanted, because `exists`
# may scan the table, which begins with all the pages that a purge has emptied.
_MARK: Final = """
union all select null, null, null, null, null, null where (select mrn from assessment order by mrn limit 1) is not null
"""
PAGES_QUERY: Final = _PAGES + _MARK
ENTRIES_QUERY: Final = _ENTRIES + _MARK
ROWS_QUERY: Final = """
select found.batch, found.day, found.purpose, array[found.mrn], array[found.version], array[found."row"]
from unnest((select $2::text[])) as given(mrn) cross join lateral (
    select * from assessment k where k.mrn = given.mrn and ($1::smallint is null or k.purpose = $1) offset 0
) found
"""

_STORE: Final = f"""
with taken as materialized (
    select nextval('assessment_batch_number') as batch, {TODAY} as day
), stored as (
    insert into assessment_batch (day, batch, payload, traceparent) select taken.day, taken.batch, $1, $2 from taken
), paged as (
    insert into assessment_page (slot, block, batch, day, purpose, first, last, newest_version, mrn, version, "row")
    select given.slot, given.block, taken.batch, taken.day, $3, given.first, given.last, given.newest,
        ($11::text[])[given.start:given.stop], ($12::integer[])[given.start:given.stop], ($13::integer[])[given.start:given.stop]
    from taken, unnest($4::smallint[], $5::bigint[], $6::smallint[], $7::smallint[], $8::integer[], $9::integer[], $10::integer[])
        as given(slot, block, first, last, newest, start, stop)
)
select day, batch from taken
"""


class Reference(NamedTuple):
    """Where the binding answer to a version of a consignment stands."""

    mrn: str
    version: int
    purpose: int
    day: int
    batch: int
    row: int


async def references(
    tx: Transaction, mrns: Sequence[str], purpose: int | None = None, blocks: Blocks | None = None
) -> list[Reference]:
    """Return where the binding answers to all versions of consignments stand, for one purpose or all, in no order."""
    if not mrns:
        return []
    at = Blocks.located(mrns) if blocks is None else blocks
    slots = at.slots
    if at.are_dense:
        spans = (each.tolist() for each in at.spans())
        rows = await tx.raw.fetch(PAGES_QUERY, purpose, slots.tolist(), at.numbers.tolist(), *spans)
    else:
        located = slots[at.index].tolist(), at.numbers[at.index].tolist(), at.place.tolist()
        rows = await tx.raw.fetch(ENTRIES_QUERY, purpose, *located, list(mrns))
    if rows and rows[-1][0] is None:
        rows = [*rows[:-1], *await tx.raw.fetch(ROWS_QUERY, purpose, list(mrns))]
    wanted = set(mrns)
    found: dict[tuple[str, int, int], Reference] = {}
    # What replaced an answer has a later batch: batches of one block are numbered under its lock.
    for batch, day, kind, *columns in sorted(rows, key=itemgetter(0)):
        for mrn, version, row in zip(*columns, strict=True):
            if mrn in wanted:
                found[mrn, version, kind] = Reference(mrn, version, kind, day, batch, row)
    return list(found.values())


async def store(
    tx: Transaction,
    mrns: Sequence[str],
    versions: npt.NDArray[np.integer],
    purpose: int,
    rows: npt.NDArray[np.integer],
    payload: bytes,
    *,
    trace: str,
    blocks: Blocks | None = None,
) -> tuple[int, int]:
    """Store a batch and that its `rows` answer (`mrns[i]`, `versions[i]`) from now on; return its day and number.

    The caller has locked the blocks.
    """
    at = Blocks.located(mrns) if blocks is None else blocks
    order, bounds = at.grouped()
    first, last = at.spans()
    sorted_versions = versions[order]
    newest = np.maximum.reduceat(sorted_versions, bounds[:-1])
    by_block = (at.slots, at.numbers, first, last, newest, bounds[:-1] + 1, bounds[1:])
    taken = await tx.raw.fetchrow(
        _STORE,
        payload,
        trace,
        purpose,
        *(each.tolist() for each in by_block),
        [mrns[row] for row in order.tolist()],
        sorted_versions.tolist(),
        rows[order].tolist(),
    )
    return taken["day"], taken["batch"]
