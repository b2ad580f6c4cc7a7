"""What was assessed first stays the answer: by (MRN, version, purpose), also when the caller or this service died in
between.

A call's whole answer is one immutable batch (packed columns as bytes, cut by day); pages of references say in which batch and
in which row of it the first answer to a consignment stands (`assessment_pages`). So 500 consignments of a filing cost one blob and
one page, and nothing is stored twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from libs.columns import Table
from libs.store.database import Database, Transaction
from libs.store.errors import StoreMisuse
from libs.store.tables.assessment_pages import PURGE_PAGES_MAX, references, store
from libs.store.tables.mrn_blocks import Blocks
from libs.store.tables.requests import purge_before
from libs.store.tables.schema import drop_days_before

PURGE_ROWS_MAX: Final = 2_000

# The days are in sight, so that a plan has their partitions alone.
_BATCHES: Final = """
select stored.day, stored.batch, stored.{column} as value
from unnest((select $2::integer[]), (select $3::bigint[])) as given(day, batch)
cross join lateral (
    select * from assessment_batch b where b.day = any($1::integer[]) and b.day = given.day and b.batch = given.batch offset 0
) stored
"""
_TRAIL_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Settled:
    """Where the binding answer of each row of a call stands.

    `payloads` are stored batches, each once. For row i, `batch[i]` is an index into `payloads` and `row[i]` the row in
    it; both are -1 where `fresh[i]`: there the answer is this call's own (after `settle`), or none exists yet (after
    `lookup`).
    """

    fresh: npt.NDArray[np.bool_]
    payloads: list[bytes]
    batch: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]
    stored: tuple[int, int] | None = None
    """Day and number of the batch that this call's own answers were kept as; None where nothing was fresh."""

    @property
    def all_fresh(self) -> bool:
        """Whether there is nothing to merge."""
        return bool(self.fresh.all())


async def payloads(reader: Transaction, batches: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """Return the stored answers of batches, by day and batch; those that are deleted are left out."""
    return await _batches(reader, batches, "payload")


async def _batches(reader: Transaction, batches: Sequence[tuple[int, int]], column: str) -> dict[tuple[int, int], Any]:
    days, numbers = [day for day, _ in batches], [number for _, number in batches]
    rows = await reader.raw.fetch(_BATCHES.format(column=column), sorted(set(days)), days, numbers)
    return {(day, number): value for day, number, value in rows}


def first_answers(settled: Settled, own: Table, message_class: type[Message]) -> Table:
    """Return for each row its first answer: the row of `own`, the answers of this call, or of the batch that was stored before.

    A consignment that a call names twice has its first answer in this very call, whose payload was kept.
    """
    if settled.all_fresh:
        return own
    tables = [own, *(Table.parse(message_class, each) for each in settled.payloads)]
    starts = np.cumsum([0, *(table.rows for table in tables[:-1])])
    source = np.where(settled.fresh, 0, settled.batch + 1)
    row = np.where(settled.fresh, np.arange(own.rows), settled.row)
    return Table.concat(tables).take(starts[source] + row)


class AssessmentLog:
    """The tables `assessment_batch` and `assessment_page`, and `assessment` with the rows of releases before."""

    async def settle(
        self,
        tx: Transaction,
        mrns: Sequence[str],
        versions: npt.NDArray[np.integer],
        purpose: int,
        payload: bytes,
        *,
        trace: str = "",
    ) -> Settled:
        """Store this call's answers for rows that were not assessed before, and return where the first answers of the others
        stand.

        Row i of `payload` answers (`mrns[i]`, `versions[i]`); a consignment named twice has its first row as the
        answer. Where another transaction is settling consignments of the same blocks, this waits for its end. `trace` is the
        traceparent of the work that assessed them.
        """
        count = _counted(mrns, versions, tx)
        keys = list(zip(mrns, versions.tolist(), strict=True))
        if not keys:
            return _nothing_before(np.zeros(0, dtype=np.bool_))
        blocks = Blocks.located(mrns)
        await blocks.lock(tx)
        # A statement of its own, so that it sees what was committed while the lock was awaited.
        before = {
            (each.mrn, each.version): (each.day, each.batch, each.row)
            for each in await references(tx, mrns, purpose, blocks)
        }
        own: dict[tuple[str, int], int] = {}
        for place, key in enumerate(keys):
            if key not in before:
                own.setdefault(key, place)
        fresh = np.zeros(count, dtype=np.bool_)
        rows = np.fromiter(own.values(), np.int64, len(own))
        fresh[rows] = True
        stored = None
        if own:
            new = [mrn for mrn, _ in own]
            at = blocks if len(own) == count else None
            stored = await store(tx, new, versions[rows], purpose, rows, payload, trace=trace, blocks=at)
            if len(own) == count:
                return replace(_nothing_before(fresh), stored=stored)
            before |= {key: (*stored, place) for key, place in own.items()}
        found = {place: before[keys[place]] for place in np.flatnonzero(~fresh).tolist()}
        return replace(await self._stored_answers(tx, fresh, found), stored=stored)

    async def lookup(
        self, tx: Transaction, mrns: Sequence[str], versions: npt.NDArray[np.integer], purpose: int
    ) -> Settled:
        """Where the first answers stand, changing nothing; `fresh` marks what was never assessed."""
        count = _counted(mrns, versions, tx)
        stored = {
            (each.mrn, each.version): (each.day, each.batch, each.row) for each in await references(tx, mrns, purpose)
        }
        keys = zip(mrns, versions.tolist(), strict=True)
        found = {place: stored[key] for place, key in enumerate(keys) if key in stored}
        return await self._stored_answers(tx, np.ones(count, dtype=np.bool_), found)

    async def lock(self, tx: Transaction, mrns: Sequence[str]) -> None:
        """Prevent others from replacing answers to these consignments until this transaction ends."""
        await Blocks.located(mrns).lock(tx)

    async def replace(
        self,
        tx: Transaction,
        mrns: Sequence[str],
        versions: npt.NDArray[np.integer],
        purpose: int,
        rows: npt.NDArray[np.integer],
        payload: bytes,
        *,
        trace: str = "",
    ) -> tuple[int, int]:
        """Put answers in the place of first answers that are locked; return the day and number of their batch.

        `rows` are the rows of `payload` that answer (`mrns[i]`, `versions[i]`).
        """
        _counted(mrns, versions, tx)
        return await store(tx, mrns, versions, purpose, rows, payload, trace=trace)

    async def trail(self, tx: Transaction, mrn: str) -> list[tuple[int, str]]:
        """The versions of a consignment that were assessed, each with the traceparent of the work that did it."""
        assessed = sorted(await references(tx, [mrn]))[:_TRAIL_MAX]
        traces = await _batches(tx, [(each.day, each.batch) for each in assessed], "traceparent")
        return [(each.version, traces.get((each.day, each.batch), "")) for each in assessed]

    async def purge(self, database: Database, before_day: int, *, rows_max: int = PURGE_ROWS_MAX) -> int:
        """Forgets what was assessed before `before_day`: references in chunks, then the days' batches; gives how
        many references."""
        purged = await purge_before(database, "assessment", before_day, rows_max=rows_max)
        pages_max = min(rows_max, PURGE_PAGES_MAX)
        purged += await purge_before(
            database, "assessment_page", before_day, rows_max=pages_max, counted="cardinality(mrn)"
        )
        await drop_days_before(database, "assessment_batch", before_day)
        return purged

    async def _stored_answers(
        self, tx: Transaction, fresh: npt.NDArray[np.bool_], answers: Mapping[int, tuple[int, int, int]]
    ) -> Settled:
        """Read the batches in which rows have their answers: day, batch and row in it, by the row of the call."""
        if not answers:
            return _nothing_before(fresh)
        keys = sorted({(day, batch) for day, batch, _ in answers.values()})
        kept = await payloads(tx, keys)
        index = {key: position for position, key in enumerate(kept)}
        settled = Settled(
            fresh.copy(),
            list(kept.values()),
            np.full(len(fresh), -1, dtype=np.int32),
            np.full(len(fresh), -1, dtype=np.int32),
        )
        for place, (day, batch, row) in answers.items():
            position = index.get((day, batch))
            if position is None:
                raise StoreMisuse(
                    f"database {tx.database}: batch {batch} of day {day} was dropped while assessments refer to it; "
                    "drop days only by AssessmentLog.purge",
                    database=tx.database,
                )
            settled.fresh[place] = False
            settled.batch[place] = position
            settled.row[place] = row
        return settled


def _nothing_before(fresh: npt.NDArray[np.bool_]) -> Settled:
    none = np.full(len(fresh), -1, dtype=np.int32)
    return Settled(fresh, [], none, none.copy())


def _counted(mrns: Sequence[str], versions: npt.NDArray[np.integer], tx: Transaction) -> int:
    if len(mrns) != len(versions):
        raise StoreMisuse(
            f"assessments: {len(mrns)} MRNs but {len(versions)} versions; the columns must be aligned",
            database=tx.database,
        )
    return len(mrns)
