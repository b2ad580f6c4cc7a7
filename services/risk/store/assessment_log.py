"""All SQL of risk: the assessment log, in which the first answer stays the answer, and what history follows of it.

A row of `assessed` is one batch as history needs it, written in the transaction that made its answers binding. Its place
is (epoch, xid). A transaction's number is given before it commits, so the log is read below the horizon alone
(`pg_snapshot_xmin`): what a reader has passed, nobody adds to. The epoch is raised when numbers went back, as after a
dump was loaded into a new server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

import numpy as np
import numpy.typing as npt

from libs.columns import Table
from libs.columns.arrays import IntArray
from libs.store.database import Database, Transaction
from libs.store.tables.assessment_pages import references
from libs.store.tables.assessments import AssessmentLog, Settled, payloads
from libs.store.tables.schema import TODAY
from libs.store.tables.secrets import deployment_secret
from libs.telemetry import traceparent
from luxor.risk.v1.risk_pb2 import PURPOSE_CLEARANCE, AssessmentColumns
from services.risk.assessment.lane_selection import BatchChances
from services.risk.assessment.prior_state import PriorState
from services.risk.selection import NewDraws
from services.risk.store.assessment_inputs import add_input
from services.risk.store.selection import prior_draws, store_chances, store_draws

ASSESSMENT_DAYS: Final = 400
"""Days for which an answer is kept: as long as a reference binds, and as much again for amendments and disputes."""
LOG_DAYS: Final = 33
"""Days of the log that are kept: history's windows, and a day that is still being written."""
ANSWERS_MAX: Final = 100
"""Answers that are told of one consignment."""
_EPOCH_BITS: Final = 48

_APPEND: Final = f"""
insert into assessed (day, epoch, xid, count, record, tally)
select {TODAY}, (select max(epoch) from assessed_epoch), pg_current_xact_id()::text::bigint, $1, $2, $3
returning epoch, xid
"""  # noqa: S608  # an expression of our own

_AWAITED: Final = """
select awaited.mrn from unnest((select $1::text[])) as given(mrn)
cross join lateral (select a.mrn from awaited_value a where a.mrn = given.mrn offset 0) awaited
"""
_AWAIT: Final = f"""
insert into awaited_value (mrn, day) select mrn, {TODAY} from unnest($1::text[]) as given(mrn) on conflict do nothing
"""  # noqa: S608  # an expression of our own
_COUNT: Final = "delete from awaited_value where mrn = any($1::text[])"

_APPEND_OUTCOMES: Final = f"""
insert into assessed (day, epoch, xid, count, record, tally, outcomes)
select {TODAY}, (select max(epoch) from assessed_epoch), pg_current_xact_id()::text::bigint, 0, '', '', $1
returning epoch, xid
"""  # noqa: S608  # an expression of our own

# Nothing is read behind a place that the log does not have: whoever stands there has read another one.
READ_QUERY: Final = f"""
select found.epoch, found.xid, found.day, found.stamp::text as stamp,
    case when found.own then null else found.record end as record, case when found.own then null else found.tally end as tally,
    found.outcomes
from (
    select log.*, (log.epoch = $2 and log.xid = any($5::bigint[])) as own from assessed log
    where log.day >= $1 and (log.epoch, log.xid) > ($2, $3)
        and (log.epoch < $4 or log.xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint)
        and ($7 < {TODAY} - {LOG_DAYS} or exists (select from assessed read where read.day = $7 and read.epoch = $2
            and read.xid = $3 and read.stamp = $8::text::uuid))
    order by log.epoch, log.xid limit $6
) found order by found.epoch, found.xid
"""  # noqa: S608  # numbers and expressions of our own

# Whether the log, or who has read it up to a place, has numbers that no transaction can have had yet.
_WENT_BACK: Final = f"""(select (present.epoch = {{epoch}} and {{xid}} >= present.next) or exists (select from assessed log
    where log.day >= {TODAY} - {LOG_DAYS} and log.epoch = present.epoch and log.xid >= present.next)
    from (select max(epoch) as epoch, pg_snapshot_xmax(pg_current_snapshot())::text::bigint as next from assessed_epoch) present)"""  # noqa: S608

STATE_QUERY: Final = f"""
select (select max(epoch) from assessed_epoch) as epoch, {TODAY} as day,
    floor(extract(epoch from greatest(
        (select min(begun_at) from assessed_epoch), to_timestamp(({TODAY} - {LOG_DAYS}) * 86400.0)
    )) * 1000000)::bigint as began,
    ($1 < {TODAY} - {LOG_DAYS} or exists (select from assessed read where read.day = $1 and read.epoch = $2
        and read.xid = $3 and read.stamp = $4::text::uuid)) as has_place,
    {_WENT_BACK.format(epoch="$2", xid="$3")} as went_back
"""  # noqa: S608  # numbers and expressions of our own

_RAISE: Final = """
insert into assessed_epoch (epoch, reason) select max(epoch) + 1, 'transaction numbers went back' from assessed_epoch
"""

NEWEST_QUERY: Final = f"""
select record, outcomes from assessed where day >= {TODAY} - {LOG_DAYS} order by epoch desc, xid desc limit 1
"""  # noqa: S608  # numbers and expressions of our own


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the log."""

    epoch: int
    xid: int

    @property
    def major(self) -> int:
        """Epoch and number as one number, which rises in the order of the log."""
        return self.epoch << _EPOCH_BITS | self.xid


@dataclass(frozen=True, slots=True)
class Read:
    """How far somebody has read the log: the row that he read last."""

    place: Place
    day: int
    stamp: str
    """Tells this row from another that got the same number, after a store was set back to an earlier moment."""


START: Final = Read(Place(0, 0), 0, str(UUID(int=0)))


@dataclass(frozen=True, slots=True)
class Logged:
    """A row of the log. Record and tally are None where the reader said that it has them."""

    read: Read
    """Where it stands."""
    record: bytes | None
    tally: bytes | None
    outcomes: bytes
    """Results of inspections; then record and tally are empty. Empty in the row of a batch."""


@dataclass(frozen=True, slots=True)
class LogState:
    """Where the log stands."""

    epoch: int
    day: int
    began: int
    """Since when all that was assessed is in the log, microseconds since 1970: since it was begun, or the first day that is kept."""
    has_place: bool
    """Whether the log has the row that the asker read last; a row of a day that is not kept any more counts as there."""
    went_back: bool = False
    """Whether transactions get numbers again that the log, or the asker, has already: `raise_epoch_if_numbers_went_back`."""


class LogEntry(Protocol):
    """What a batch leaves in the log: told for the rows that are assessed for the first time."""

    def pack(self, fresh: npt.NDArray[np.intp]) -> tuple[int, bytes, bytes]:
        """How many rows are kept, and record and tally of these rows as bytes."""

    def newly_drawn(self, fresh: npt.NDArray[np.intp]) -> NewDraws:
        """What the rows were drawn into by selection."""

    def awaited_values(self, fresh: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Of the rows those that count without a known value, and those whose value counts alone."""

    def chances(self, fresh: npt.NDArray[np.intp]) -> BatchChances | None:
        """By what chance the batch's consignments get into each lane; None where nothing is drawn anywhere."""

    def stored_input(self, fresh: npt.NDArray[np.intp]) -> tuple[str, tuple[bytes, bytes]] | None:
        """Versions of the lists that the rows were screened against, and what they were assessed on; None to keep none."""


@dataclass(frozen=True, slots=True)
class _Left:
    """What the rows of a batch that are new leave beside their answers."""

    packed: tuple[int, bytes, bytes]
    values: tuple[set[str], set[str]]
    """MRNs that count from now on without a known value, and those of which the value counts now."""
    draws: NewDraws
    chances: BatchChances | None
    input: tuple[str, tuple[bytes, bytes]] | None

    @classmethod
    def from_entry(cls, entry: LogEntry, mrns: Sequence[str], fresh: npt.NDArray[np.intp]) -> _Left:
        began, ended = ({mrns[row] for row in rows.tolist()} for rows in entry.awaited_values(fresh))
        drawn = entry.newly_drawn(fresh), entry.chances(fresh)
        return cls(entry.pack(fresh), (began - ended, ended - began), *drawn, entry.stored_input(fresh))


@dataclass(frozen=True, slots=True)
class AssessedBatch:
    """A batch as it is to be stored, packed before its transaction."""

    mrns: list[str]
    versions: IntArray
    purpose: int
    payload: bytes
    """The assessments, serialised."""
    entry: LogEntry | None
    left: _Left | None
    """What the batch leaves where all of it is new, as it is as a rule."""

    @classmethod
    def pack(cls, consignments: Table, purpose: int, assessments: Table, entry: LogEntry | None) -> AssessedBatch:
        """Pack assessments; `consignments` has the columns mrn and version, and `assessments` is aligned with it."""
        mrns = consignments.strings("mrn").tolist()
        left = None if entry is None else _Left.from_entry(entry, mrns, np.arange(len(mrns)))
        payload = assessments.serialize(AssessmentColumns)
        return cls(mrns, consignments.ints("version").values, purpose, payload, entry, left)


class AssessmentLogStore:
    """Risk's own database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._log = AssessmentLog()

    async def ask(self, consignments: Table) -> asyncio.Task[PriorState]:
        """Send the question `prior_state`; the answer is to come.

        When this returns the question is on its way, however many turns of the loop it took to get a connection, so work that
        needs no answer may begin. Whoever does not want the answer any more cancels it.
        """
        sent = asyncio.Event()
        asked = asyncio.create_task(self.prior_state(consignments, sent))
        asked.add_done_callback(lambda _: sent.set())
        try:
            await sent.wait()
        except BaseException:
            asked.cancel()
            raise
        return asked

    async def prior_state(self, consignments: Table, sent: asyncio.Event | None = None) -> PriorState:
        """What was assessed before of a batch (columns mrn and version), and what time it is; sets `sent` on the way."""
        mrns = consignments.strings("mrn")
        texts = mrns.tolist()
        async with self.database.connection() as reader:
            if sent is not None:
                # The driver writes before it first waits, and the loop flushes what was written before its next turn.
                asyncio.get_running_loop().call_soon(sent.set)
            assessed = await references(reader, texts)
            now = await reader.now()
            # The last one of each consignment is that of its newest version.
            newest = {each.mrn: each for each in sorted(assessed) if each.purpose == PURPOSE_CLEARANCE}
            known = _rows_of(texts, {each.mrn for each in assessed})
            cleared = _rows_of(texts, newest)
            places = [newest[texts[row]] for row in cleared.tolist()]
            draws = await prior_draws(reader, mrns, cleared, places) if len(cleared) else None
            awaited = await reader.raw.fetch(_AWAITED, mrns.take(known).tolist()) if len(known) else []
        first = np.zeros(len(mrns), np.bool_)
        first[np.unique(mrns.indices, return_index=True)[1]] = True
        new, at_clearance = first.copy(), first
        new[known] = False
        at_clearance[cleared] = False
        value_awaited = None
        if awaited:
            value_awaited = np.zeros(len(mrns), np.bool_)
            value_awaited[_rows_of(texts, {mrn for (mrn,) in awaited})] = True
        return PriorState(now, new, at_clearance, draws, value_awaited)

    async def settle(self, tx: Transaction, batch: AssessedBatch) -> tuple[Settled, Place | None]:
        """Store assessments of what was not assessed before, and what they leave in the log.

        Return the first answer of each row, and the place of the new ones in the log; None where it has none of them.
        """
        settled = await self._log.settle(
            tx, batch.mrns, batch.versions, batch.purpose, batch.payload, trace=traceparent()
        )
        fresh = np.flatnonzero(settled.fresh)
        if batch.entry is None or batch.left is None or not len(fresh):
            return settled, None
        left = batch.left if len(fresh) == len(batch.mrns) else _Left.from_entry(batch.entry, batch.mrns, fresh)
        place = await self.append_batch(tx, left.packed)
        for statement, mrns in zip((_AWAIT, _COUNT), left.values, strict=True):
            if mrns:
                await tx.raw.execute(statement, sorted(mrns))
        await store_draws(tx, left.draws)
        assert settled.stored is not None
        if left.chances is not None:
            await store_chances(tx, settled.stored, left.chances)
        if left.input is not None:
            await add_input(tx, settled.stored, batch.purpose, len(fresh), *left.input)
        return settled, place

    async def append_batch(self, tx: Transaction, packed: tuple[int, bytes, bytes]) -> Place:
        """Append a batch to the log and return its place."""
        row = await tx.raw.fetchrow(_APPEND, *packed)
        return Place(row["epoch"], row["xid"])

    async def append_outcomes(self, tx: Transaction, packed: bytes) -> Place:
        """Leave results of inspections (`Outcomes.to_bytes`) in the log, in the transaction that keeps them.

        At most once in a transaction, and not in one that settles a batch: a row's place is its transaction's number. Gives
        the place.
        """
        row = await tx.raw.fetchrow(_APPEND_OUTCOMES, packed)
        return Place(row["epoch"], row["xid"])

    async def answers(self, mrn: str) -> list[tuple[int, int, int, Table]]:
        """The answers given for a consignment: version, purpose, day, and a table of one row."""
        async with self.database.connection() as reader:
            assessed = sorted(await references(reader, [mrn]))
            answers = await payloads(reader, [(each.day, each.batch) for each in assessed])
        stored = [(each, answers[each.day, each.batch]) for each in assessed if (each.day, each.batch) in answers]
        return [
            (each.version, each.purpose, each.day, Table.parse(AssessmentColumns, payload).take(np.array([each.row])))
            for each, payload in stored[:ANSWERS_MAX]
        ]

    async def log_state(self, read: Read) -> LogState:
        """Where the log stands now, for who has read it so far."""
        async with self.database.connection() as reader:
            row = await reader.raw.fetchrow(STATE_QUERY, read.day, read.place.epoch, read.place.xid, read.stamp)
        return LogState(row["epoch"], row["day"], row["began"], row["has_place"], row["went_back"])

    async def read_log(
        self, after: Read, *, epoch: int, since_day: int, own: Sequence[int], rows_max: int
    ) -> list[Logged]:
        """The next rows of the log behind a place and below the horizon; none where the log does not have the place.

        `epoch` is the present one, `since_day` spares the days before it, and of the rows whose numbers are in `own` the
        contents are left out.
        """
        place = after.place
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(
                READ_QUERY, since_day, place.epoch, place.xid, epoch, list(own), rows_max, after.day, after.stamp
            )
        return [
            Logged(
                Read(Place(row["epoch"], row["xid"]), row["day"], row["stamp"]),
                row["record"],
                row["tally"],
                row["outcomes"],
            )
            for row in rows
        ]

    async def newest(self) -> tuple[bytes, bytes] | None:
        """Record and outcomes of the row that was written last; None where the log is empty."""
        async with self.database.connection() as reader:
            row = await reader.raw.fetchrow(NEWEST_QUERY)
        return None if row is None else (row["record"], row["outcomes"])

    async def raise_epoch_if_numbers_went_back(self, tx: Transaction, read: Read = START) -> bool:
        """Begin a new epoch where the log, or who has read it so far, has numbers that no transaction can have had yet."""
        went_back = _WENT_BACK.format(epoch=read.place.epoch, xid=read.place.xid)
        if not await tx.raw.fetchval(f"select {went_back}"):
            return False
        # Who is still to commit a row with the former epoch is awaited, so that nothing is added to it later on.
        await tx.raw.execute("lock table assessed in share row exclusive mode")
        return await tx.raw.fetchval(f"{_RAISE} having {went_back} returning epoch") is not None

    async def secret(self, name: str) -> bytes:
        """A secret of the deployment, made when it is first asked for."""
        return await deployment_secret(self.database, name)


def _rows_of(mrns: Sequence[str], selected: Container[str]) -> IntArray:
    """Return the rows whose consignment is among the selected ones."""
    return np.array([row for row, mrn in enumerate(mrns) if mrn in selected], np.int64)
