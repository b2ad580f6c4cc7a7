"""Reading entries below the horizon: the core of the feed and of the notices.

A transaction gets its number before it commits, so an entry with a lower number may still appear beside the visible ones. Below
the horizon, `pg_snapshot_xmin`, every transaction has ended: reading `place > cursor and xid < horizon` loses nothing. Horizon
and rows come from one statement, so they belong to one moment.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from libs.feed.epochs import BEGIN_EPOCH, GIVE, STALE, note_begun
from libs.feed.schema import CLOCK
from libs.feed.types import BatchRef, Cursor, CursorExpired, EpochEnded
from libs.store.database import Database

K = TypeVar("K", int, str)

MICROS_A_DAY: Final = 86_400_000_000
_ENTRIES_MAX: Final = 512
_ALIGNED_SHARE: Final = 0.75
_ROUNDS_MAX: Final = 3
_NO_HORIZON: Final = 2**63 - 1
MILLIS_A_DAY: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Kind:
    """A table of entries: its name, the column that identifies the reader, and that column's type."""

    name: str
    column: str
    sql_type: str


OUTBOX: Final = Kind("outbox", "partition", "smallint")
NOTICE: Final = Kind("notice", "key", "text")


@dataclass(slots=True)
class Entries(Generic[K]):
    """The events of one batch: for each reader (`keys`, `counts`) its row numbers, one after the other in `rows`."""

    ref: BatchRef
    cursor: Cursor
    keys: list[K] = field(default_factory=list)
    rows: list[NDArray[np.int64]] = field(default_factory=list)

    @property
    def events(self) -> int:
        """Return the number of events."""
        return sum(map(len, self.rows))


@dataclass(slots=True)
class EntryPage(Generic[K]):
    """Batches by place, the position of each reader after them, and the horizon."""

    batches: list[Entries[K]]
    next: dict[K, Cursor]
    horizon: Cursor
    has_more: bool
    """Whether a reader has further events below the horizon."""
    events: int


@dataclass(frozen=True, slots=True)
class State:
    """The state of the feed in the database at one moment."""

    xmin: int
    xmax: int
    now: int
    epoch: int
    ends: Mapping[int, tuple[int, int] | None]
    """For each epoch the place where it ended, None if nothing of it was lost."""
    floor: tuple[int, int, int]
    reason: str = ""
    """The reason of the newest epoch."""
    stale: bool = False
    """Whether the store is another one than that of the newest epoch, so that a new epoch must begin."""

    @property
    def day(self) -> int:
        """Return the present day."""
        return self.now // MICROS_A_DAY

    @property
    def horizon(self) -> Cursor:
        """Return the end of the readable entries. A transaction that is still open was begun at most a day ago."""
        return Cursor(self.epoch, self.day - 1, self.xmin, 0)

    def reached(self, cursor: Cursor) -> bool:
        """Return whether the cursor is on the history of this database."""
        if cursor.epoch not in self.ends:
            return False
        if cursor.epoch == self.epoch:
            return cursor.xid <= self.xmax
        end = self.ends[cursor.epoch]
        return end is None or (cursor.xid, cursor.seq) <= end

    def is_ahead(self, cursor: Cursor) -> bool:
        """Return whether the cursor was read from a store that continued from here: then this store was set back, whatever its
        stamps are.
        """
        return (cursor.epoch == self.epoch and cursor.xid > self.xmax) or (
            self.epoch < cursor.epoch <= self.now // 1_000 + MILLIS_A_DAY
        )

    def resume_position(self, cursor: Cursor) -> Cursor:
        """Return the position where a reader with a lost history continues: where that history differs from this one. No stored
        event is in between.
        """
        day = max(0, cursor.day - 1)
        epoch = max((each for each in self.ends if each <= cursor.epoch), default=min(self.ends))
        end = self.ends[epoch]
        if end is not None:
            return Cursor(epoch, day, *end)
        later = min((each for each in self.ends if each > epoch), default=epoch)
        return Cursor(later, day, 0, 0)


_STATE: Final = f"""
    select pg_snapshot_xmin(s.snapshot)::text::bigint as xmin, pg_snapshot_xmax(s.snapshot)::text::bigint as xmax, {CLOCK} as now,
        e.epochs, e.end_xids, e.end_seqs, e.reason, e.stale, f.epoch as floor_epoch, f.xid as floor_xid, f.seq as floor_seq
    from (select pg_current_snapshot() as snapshot) s
    cross join (select array_agg(epoch order by epoch) as epochs, array_agg(end_xid order by epoch) as end_xids,
        array_agg(end_seq order by epoch) as end_seqs, (array_agg(reason order by epoch desc))[1] as reason, {STALE} as stale from feed_epoch) e
    left join feed_floor f on f.name = '%s'
"""  # noqa: S608  # a name of our own


def state_of(row: Any) -> State:
    """Read the columns of `_STATE`."""
    ends = {
        epoch: None if xid is None else (xid, seq)
        for epoch, xid, seq in zip(row["epochs"], row["end_xids"], row["end_seqs"], strict=True)
    }
    floor = (row["floor_epoch"] or 0, row["floor_xid"] or 0, row["floor_seq"] or 0)
    return State(row["xmin"], row["xmax"], row["now"], max(ends), ends, floor, row["reason"], row["stale"])


class Reader(Generic[K]):
    """Reads the entries of one table fairly among readers; it has no state that another process would need."""

    def __init__(self, database: Database, kind: Kind) -> None:
        self.database = database
        self.kind = kind
        self.state: State | None = None
        self._events_an_entry = 4.0
        self._announced = (0, 0)

    async def refresh(self, raw: Any) -> State:
        """Read the present state from the database."""
        return await self._note(raw, state_of(await raw.fetchrow(_STATE % self.kind.name)))

    async def _note(self, raw: Any, state: State) -> State:
        """Take over a state as the present one; begin an epoch if the store is another one than before."""
        if state.stale:
            await raw.fetchval(BEGIN_EPOCH, None, 0)
            state = state_of(await raw.fetchrow(_STATE % self.kind.name))
        if self.state is not None and self.state.epoch != state.epoch and self.kind is OUTBOX:
            note_begun(self.database.name, state.epoch, state.reason)
        self.state = state
        return state

    def check(self, after: Mapping[K, Cursor], state: State) -> None:
        """Raise CursorExpired or EpochEnded if the feed cannot continue from a cursor."""
        expired = [key for key, cursor in after.items() if cursor.place < state.floor]
        if expired:
            raise CursorExpired(
                f"events after the cursor were dropped (the {self.kind.name} begins after {state.floor}); start from a snapshot",
                expired,
            )
        ended = [key for key, cursor in after.items() if cursor.epoch and not state.reached(cursor)]
        if ended:
            again = min((state.resume_position(after[key]) for key in ended), key=_place)
            raise EpochEnded(
                f"the cursor lies beyond the end of its epoch (now {state.epoch}: {state.reason}); both histories share what lies before {again}",
                ended,
                again,
            )

    async def horizon(self, raw: Any) -> Cursor:
        """Return the present horizon, for a reader that continues from there."""
        state = await self.refresh(raw)
        await self._give(raw, state)
        return state.horizon

    async def _give(self, raw: Any, state: State) -> None:
        """Record the horizon before it is announced; otherwise an epoch that ends after a restart could end below it."""
        epoch, given = self._announced
        if epoch != state.epoch or given < state.xmin:
            await raw.execute(GIVE, state.epoch, given if epoch == state.epoch else 0, state.xmin)
            self._announced = (state.epoch, state.xmin)

    async def page(self, raw: Any, after: Mapping[K, Cursor], events_max: int, *, begins: bool = False) -> EntryPage[K]:
        """Read the next entries of each reader, about `events_max` events in all, shared fairly.

        With `begins`, a cursor that this store never reached begins an epoch: only for cursors of services, which never invent
        positions. Any other is reported as ended, and changes nothing. Raises CursorExpired, EpochEnded.
        """
        state = self.state or await self.refresh(raw)
        batches: dict[tuple[int, int, int], Entries[K]] = {}
        bounds: dict[K, Cursor] = {}
        horizon: Cursor | None = None
        asked, share, rounds, events = dict(after), events_max / len(after), 0, 0
        while asked and rounds < _ROUNDS_MAX:
            limited: dict[K, Cursor] = {}
            for epoch, group in _by_epoch(asked, state).items():
                state, limits, count = await self._round(raw, epoch, group, share, batches, bounds)
                ahead = max((after[key] for key in group), key=_place)
                if begins and self.kind is OUTBOX and state.is_ahead(ahead):
                    state = await self._begin_behind(raw, ahead)
                self.check({key: after[key] for key in group}, state)
                horizon = horizon or state.horizon
                limited |= limits
                events += count
            if events > events_max / 2 or not limited:
                asked = limited
                break
            # Few readers have many events: they get the shares that the others do not use.
            asked, share, rounds = limited, (events_max - events) / len(limited), rounds + 1
        assert horizon is not None
        await self._give(raw, state)
        return _aligned(batches, bounds, set(asked), after, horizon, state)

    async def _round(
        self,
        raw: Any,
        epoch: int,
        group: Mapping[K, Cursor],
        share: float,
        batches: dict[tuple[int, int, int], Entries[K]],
        bounds: dict[K, Cursor],
    ) -> tuple[State, dict[K, Cursor], int]:
        """Read one share of each reader of one epoch; return the state, the readers that have more, and the number of events."""
        limit = max(1, min(_ENTRIES_MAX, math.ceil(share / self._events_an_entry)))
        keys = list(group)
        while True:
            known = self.state or await self.refresh(raw)
            oldest = min(cursor.day for cursor in group.values())
            rows = await raw.fetch(
                self._sql(oldest, known.day + 1),
                keys,
                [cursor.xid for cursor in group.values()],
                [cursor.seq for cursor in group.values()],
                epoch,
                limit,
            )
            state = await self._note(raw, state_of(rows[0]))
            # The query names the days that it reads. A process that was suspended must not skip days that it did not read.
            if state.day <= known.day + 1 and state.epoch == known.epoch:
                break
        current = epoch == state.epoch
        later = min((number for number in state.ends if number > epoch), default=epoch)
        taken: dict[K, int] = dict.fromkeys(keys, 0)
        entries = dict.fromkeys(keys, 0)
        stopped: dict[K, Cursor] = {}
        last = dict(group)
        count = kept = 0
        for row in rows:
            if row["day"] is None:
                continue
            cursor = Cursor(epoch, row["day"] - 1, row["xid"], row["seq"])
            numbers = np.frombuffer(row["rows"], "<u2").astype(np.int64)
            offset = 0
            for key, size in zip(row["keys"], row["counts"], strict=True):
                begin, offset = offset, offset + size
                entries[key] += 1
                if key in stopped or taken[key] >= max(1.0, share * 1.5):
                    stopped.setdefault(key, last[key])
                    continue
                batch = batches.get(cursor.place)
                if batch is None:
                    batch = batches[cursor.place] = Entries(BatchRef(row["day"], row["seq"]), cursor)
                batch.keys.append(key)
                batch.rows.append(numbers[begin:offset])
                taken[key] += size
                last[key] = cursor
                count += size
                kept += 1
        if kept:
            self._events_an_entry += 0.3 * (count / kept - self._events_an_entry)
        limited: dict[K, Cursor] = {}
        for key, cursor in group.items():
            if key in stopped or entries[key] >= limit:
                bounds[key] = limited[key] = last[key]
            elif current:
                bounds[key] = max(state.horizon, cursor, key=_place)
            else:
                bounds[key] = Cursor(later, last[key].day, 0, 0)
        return state, limited, count

    async def _begin_behind(self, raw: Any, ahead: Cursor) -> State:
        """Begin an epoch after a cursor that this store never reached: the store was restored, whatever its stamps are."""
        await raw.fetchval(BEGIN_EPOCH, f"a reader is ahead of the store: at {ahead.epoch}, {ahead.xid}", ahead.epoch)
        return await self.refresh(raw)

    async def waiting(self, raw: Any, keys: Iterable[K], since: Cursor) -> tuple[set[K], State]:
        """Return which readers have an entry at or after `since` below the present horizon; one statement."""
        known = self.state or await self.refresh(raw)
        name, column, sql_type = self.kind.name, self.kind.column, self.kind.sql_type
        rows = await raw.fetch(
            f"""
            with h as materialized ({_STATE % name})
            select h.*, w.keys from h left join lateral (
                select array_agg(p.key) as keys from unnest($1::{sql_type}[]) as p(key)
                where h.xmin > $2 and exists (select 1 from {name} o where o.{column} = p.key and o.epoch = $3 and o.xid >= $2
                    and o.xid < h.xmin and o.day between {since.day} and {known.day + 1})
            ) w on true
            """,  # noqa: S608  # names and numbers of our own
            list(keys),
            since.xid,
            since.epoch,
        )
        state = await self._note(raw, state_of(rows[0]))
        if state.day > known.day + 1 or state.epoch != since.epoch:
            return set(keys), state
        return set(rows[0]["keys"] or ()), state

    def _sql(self, oldest: int, newest: int) -> str:
        """Return the page's query, with its days as literals, so that the planner reads two or three tables and not all of them."""
        name, column, sql_type = self.kind.name, self.kind.column, self.kind.sql_type
        return f"""
            with h as materialized ({_STATE % name}),
            p as materialized (select * from unnest($1::{sql_type}[], $2::bigint[], $3::bigint[]) as p(key, xid, seq)),
            e as materialized (
                select p.key, o.day, o.xid, o.seq, o.count, o.rows from p cross join lateral (
                    select day, xid, seq, count, rows from {name} o
                    where o.{column} = p.key and o.epoch = $4 and (o.xid, o.seq) > (p.xid, p.seq)
                        and o.xid < (select case when $4 = h.epochs[cardinality(h.epochs)] then h.xmin else {_NO_HORIZON} end from h)
                        and o.day between {oldest} and {newest}
                    order by o.xid, o.seq limit $5
                ) o
            )
            select h.*, g.* from h left join (
                select day, xid, seq, array_agg(key) as keys, array_agg(count) as counts, string_agg(rows, ''::bytea) as rows
                from e group by day, xid, seq
            ) g on true order by g.xid, g.seq
        """  # noqa: S608  # names and numbers of our own


def _by_epoch(after: Mapping[K, Cursor], state: State) -> dict[int, dict[K, Cursor]]:
    """Group readers by the epoch of their cursors; an empty cursor is in the first epoch."""
    groups: dict[int, dict[K, Cursor]] = {}
    for key, cursor in after.items():
        groups.setdefault(cursor.epoch or min(state.ends), {})[key] = cursor
    return groups


def _aligned(
    batches: dict[tuple[int, int, int], Entries[K]],
    bounds: dict[K, Cursor],
    limited: set[K],
    after: Mapping[K, Cursor],
    horizon: Cursor,
    state: State,
) -> EntryPage[K]:
    """End the page at one place for all readers if that costs little: then each batch is sent as a whole, and once."""
    events = sum(batch.events for batch in batches.values())
    has_more = bool(limited) or any(cursor.epoch < state.epoch for cursor in after.values())
    if limited:
        cut = min((bounds[key] for key in limited), key=_place)
        kept = sum(batch.events for place, batch in batches.items() if place <= cut.place)
        if kept >= _ALIGNED_SHARE * events:
            batches = {place: batch for place, batch in batches.items() if place <= cut.place}
            # A reader that is already after the cut keeps its position.
            bounds = {key: max(min(cursor, cut, key=_place), after[key], key=_place) for key, cursor in bounds.items()}
            events = kept
    return EntryPage([batches[place] for place in sorted(batches)], bounds, horizon, has_more, events)


def _place(cursor: Cursor) -> tuple[int, int, int]:
    return cursor.place
