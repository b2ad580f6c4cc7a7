"""What clearance does to consignments: decides and lets arrive. Rules come from the subject modules, SQL from the store.

Whoever changes a consignment locks its row first, always in the order of (day, MRN), reads the state that the row refers to, and stores the next
version: so the consumer, arrivals and officers never lose each other's change. A filing and its arrival meet because who inserts filings bars
arrivals of their documents until it has committed, and looks at the arrivals behind that bar.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Ints, Strings, Table
from libs.feed.types import BatchRef
from libs.store.database import Transaction
from libs.telemetry import span
from services.clearance.debts import judged, settled
from services.clearance.lifecycle import Change, Event, State
from services.clearance.news import bind as bind_news
from services.clearance.rescreening import bind
from services.clearance.states import Arrivals, Happening, amended, evolve
from services.clearance.store import Arrival, Row, Store, carriers_of

CHUNK_ROWS: Final = 1_000
"""Consignments an arrival changes in one transaction: it must not hold the feed's horizon for long."""
_BATCHES_A_LOOK: Final = 32
NOWHERE: Final = BatchRef(0, 0)


@dataclass(frozen=True, slots=True)
class Decided:
    """Filings with the decision on them: states of version 0, and whether each is to be released."""

    table: Table
    release: NDArray[np.bool_]
    trace: str


@dataclass(slots=True)
class Tally:
    """What a page of decisions did."""

    at: int = 0
    """When, microseconds since 1970-01-01 UTC."""
    decided: list[Table] = field(default_factory=list)
    """The states that came of it."""
    replayed: int = 0
    """Events that were known already and changed nothing."""
    too_late: int = 0
    """Amendments that came too late."""


@dataclass(slots=True)
class Under:
    """How the consignments under one master document stand."""

    consignments: int = 0
    released: int = 0
    held: int = 0
    waiting: int = 0
    """Arrived, and not released yet, so that an officer may look."""


class Office:
    """Changes the state of consignments."""

    def __init__(self, store: Store) -> None:
        self.store = store

    # ------------------------------------------------------------------------------------------ decisions
    async def decide(self, tx: Transaction, parts: Sequence[Decided]) -> Tally:
        """Put decisions into force, in the caller's transaction; of several versions of a filing the newest counts."""
        tally = Tally(at=await self.store.now(tx))
        parts = _newest(parts)
        masters = {
            number for part in parts for number in part.table.strings("master_document_number").dictionary if number
        }
        await self.store.bar_arrivals(tx, masters)
        locked = await self.store.lock(tx, [mrn for part in parts for mrn in part.table.strings("mrn").tolist()])
        arrivals = await self.store.arrivals(tx, masters)
        parts = await self._with_early(tx, parts)
        for part in parts:
            known = part.table.strings("mrn").map(locked.__contains__, np.bool_)
            if not known.any():
                await self._first(tx, part, arrivals, tally)
                continue
            if not known.all():
                await self._first(tx, _take(part, np.flatnonzero(~known)), arrivals, tally)
            await self._again(tx, _take(part, np.flatnonzero(known)), locked, tally)
        return tally

    async def _with_early(self, tx: Transaction, parts: Sequence[Decided]) -> Sequence[Decided]:
        """Bring in what risk and revenue told of these filings before they were decided."""
        hits, news = await self.store.any_early(tx)
        if hits:
            early = await self.store.take_early(
                tx, [mrn for part in parts for mrn in part.table.strings("mrn").tolist()]
            )
            if early:
                parts = [replace(part, table=bind(tx, part.table, early)) for part in parts]
        if news:
            versions = {
                mrn: version
                for part in parts
                for mrn, version in zip(
                    part.table.strings("mrn").tolist(), part.table.ints("filing_version").values.tolist(), strict=True
                )
            }
            told = await self.store.take_early_news(tx, versions)
            if told:
                bound = [bind_news(tx, part.table, part.release, told) for part in parts]
                parts = [Decided(*each, part.trace) for each, part in zip(bound, parts, strict=True)]
        return parts

    async def _first(self, tx: Transaction, part: Decided, arrivals: Mapping[str, Arrival], tally: Tally) -> None:
        masters = part.table.strings("master_document_number")
        table = part.table
        if arrivals:
            table = table.with_columns(_told(masters, arrivals).columns())
        events = np.where(part.release, np.int64(Event.DECIDED_RELEASE), np.int64(Event.DECIDED_HOLD))
        table, outcome = evolve(table, Happening(event=events, at=tally.at))
        assert bool(outcome.effective.all()), "a first decision is never refused"
        ref = await self.store.insert(tx, table, trace=part.trace)
        if arrivals:
            await self.store.tell_carriers(tx, ref, carriers_of(masters, arrivals))
        tally.decided.append(table)

    async def _again(self, tx: Transaction, part: Decided, locked: Mapping[str, Row], tally: Tally) -> None:
        rows = [locked[mrn] for mrn in part.table.strings("mrn").tolist()]
        newer = np.flatnonzero(
            part.table.ints("filing_version").values > np.array([row.filing_version for row in rows])
        )
        tally.replayed += len(rows) - len(newer)
        if not len(newer):
            return
        rows = [rows[place] for place in newer.tolist()]
        part = _take(part, newer)
        stored = await self.store.states(tx, rows)
        table, release = amended(stored, part.table), part.release
        if stored.ints("revenue_news").valid.any():
            # What revenue told of the debt goes on.
            table = judged(stored, table, table.ints("debt_status").values, table.strings("debt_account"))
            release = release | settled(table)
        events = np.where(release, np.int64(Event.AMENDED_RELEASE), np.int64(Event.AMENDED_HOLD))
        table, outcome = evolve(table, Happening(event=events, at=tally.at))
        done = np.flatnonzero(outcome.effective)
        if len(done):
            table = table.take(done)
            # It has not arrived, or it were too late: no carrier is to be told.
            ref = await self.store.succeed(
                tx, table, [rows[place] for place in done.tolist()], trace=part.trace, arrivals={}
            )
            mrns = table.strings("mrn").tolist()
            moved = _moved(stored.take(done), table)
            await self.store.add_documents(tx, table, ref, mrns, [rows[place].day for place in done.tolist()], moved)
            tally.decided.append(table)
        late = np.flatnonzero(~outcome.effective)
        if len(late):
            told = stored.take(late).with_columns(
                {
                    "change": Ints.constant(Change.AMENDMENT_REFUSED, len(late)),
                    "changed_at": Ints.constant(tally.at, len(late)),
                    "told_change": Ints.absent(len(late)),
                    "told_changed_at": Ints.absent(len(late)),
                }
            )
            await self.store.notify(tx, told, trace=part.trace)
            tally.too_late += len(late)

    # ------------------------------------------------------------------------------------------ arrivals
    async def arrive(self, documents: Iterable[str], *, trace: str) -> dict[str, Under]:
        """Carry recorded arrivals out on all that is known under these master documents; doing it again changes nothing."""
        found = {document: Under() for document in documents}
        chunk: list[tuple[str, str]] = []
        for document in found:
            after = NOWHERE
            while True:
                async with self.store.database.connection() as reading:
                    batches = await self.store.under_master(reading, document, after, _BATCHES_A_LOOK)
                for ref, mrns in batches:
                    chunk.extend((document, mrn) for mrn in mrns)
                    after = ref
                while len(chunk) >= CHUNK_ROWS:
                    await self._arrive(chunk[:CHUNK_ROWS], found, trace)
                    del chunk[:CHUNK_ROWS]
                if len(batches) < _BATCHES_A_LOOK:
                    break
        if chunk:
            await self._arrive(chunk, found, trace)
        async with self.store.database.transaction() as tx:
            await self.store.arrivals_done(tx, list(found))
        return found

    async def _arrive(self, chunk: Sequence[tuple[str, str]], found: Mapping[str, Under], trace: str) -> None:
        by_mrn = {mrn: document for document, mrn in chunk}
        mrns = sorted(by_mrn)
        async with self.store.database.connection() as reading:
            arrivals = await self.store.arrivals(reading, set(by_mrn.values()))
            rows = await self.store.find(reading, mrns)
            table = await self.store.states(reading, list(rows.values()))
        table = _under(table, by_mrn)
        after, outcome = evolve(table, _arriving(table, arrivals, 0))
        if outcome.effective.any():
            after = await self._arrive_now(rows, table, arrivals, trace)
        states = after.ints("state").values.tolist()
        for number, state in zip(after.strings("master_document_number").tolist(), states, strict=True):
            under = found[number]
            under.consignments += 1
            under.released += state == State.RELEASED
            under.held += state == State.HELD
            under.waiting += state == State.AWAITING_ARRIVAL

    async def _arrive_now(
        self, seen: Mapping[str, Row], table: Table, arrivals: Mapping[str, Arrival], trace: str
    ) -> Table:
        mrns = table.strings("mrn").tolist()
        async with self.store.database.transaction() as tx:
            locked = await self.store.lock(tx, mrns)
            rows = [locked[mrn] for mrn in mrns]
            if any(row != seen[row.mrn] for row in rows):
                table = await self.store.states(tx, rows)
            after, outcome = evolve(table, _arriving(table, arrivals, await self.store.now(tx)))
            done = np.flatnonzero(outcome.effective)
            if len(done):
                known = [rows[place] for place in done.tolist()]
                await self.store.succeed(tx, after.take(done), known, trace=trace, arrivals=arrivals)
        return after

    async def finish_arrivals(self, before: int, limit: int) -> int:
        """Carry out arrivals that were recorded before an instant and whose call died; gives how many."""
        async with self.store.database.connection() as reading:
            documents = await self.store.pending_arrivals(reading, before, limit)
        if documents:
            with span("clearance.arrivals", attributes={"luxor.documents": len(documents)}) as told:
                await self.arrive(documents, trace=told.traceparent)
        return len(documents)


def _take(part: Decided, rows: NDArray[np.int64]) -> Decided:
    return part if len(rows) == part.table.rows else Decided(part.table.take(rows), part.release[rows], part.trace)


def _moved(before: Table, after: Table) -> NDArray[np.bool_]:
    """Whether each travels under another master document than before."""
    was, now = (table.strings("master_document_number").tolist() for table in (before, after))
    return np.array([old != new for old, new in zip(was, now, strict=True)], np.bool_)


def _newest(parts: Sequence[Decided]) -> list[Decided]:
    """Leave out rows that a newer version of the same filing, or the same event again, follows in these parts."""
    newest: dict[str, tuple[int, int, int]] = {}
    total = 0
    for place, part in enumerate(parts):
        versions = part.table.ints("filing_version").values.tolist()
        total += part.table.rows
        for row, mrn in enumerate(part.table.strings("mrn").tolist()):
            entry = (versions[row], place, row)
            if mrn not in newest or newest[mrn][0] < entry[0]:
                newest[mrn] = entry
    if len(newest) == total:
        return list(parts)
    kept: list[list[int]] = [[] for _ in parts]
    for _, place, row in newest.values():
        kept[place].append(row)
    return [_take(part, np.array(sorted(rows), np.int64)) for part, rows in zip(parts, kept, strict=True) if rows]


def _told(masters: Strings, arrivals: Mapping[str, Arrival]) -> Arrivals:
    def conveyance(number: str) -> str:
        return arrivals[number].conveyance_reference if number in arrivals else ""

    def place(number: str) -> str:
        return arrivals[number].place if number in arrivals else ""

    moments = masters.map(lambda number: arrivals[number].arrived_at if number in arrivals else 0, np.int64)
    return Arrivals(Ints.of(moments, masters.isin(arrivals)), masters.translate(conveyance), masters.translate(place))


def _arriving(table: Table, arrivals: Mapping[str, Arrival], at: int) -> Happening:
    return Happening(event=Event.ARRIVED, at=at, arrivals=_told(table.strings("master_document_number"), arrivals))


def _under(table: Table, documents: Mapping[str, str]) -> Table:
    """Keep what still travels under the document that it was found by: an amendment may have moved it to another."""
    numbers, mrns = table.strings("master_document_number").tolist(), table.strings("mrn").tolist()
    rows = [place for place, mrn in enumerate(mrns) if numbers[place] == documents[mrn]]
    return table if len(rows) == table.rows else table.take(np.array(rows, np.int64))
