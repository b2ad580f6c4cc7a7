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

from libs.columns import Bools, Ints, Strings, Table
from libs.feed.types import BatchRef
from libs.store.database import Transaction
from libs.telemetry import span
from services.clearance.carriage.binding import Arrival, Effective, Register, bound, effective
from services.clearance.commands.screen import bind
from services.clearance.commands.take_debt_events import bind as bind_news
from services.clearance.consignment.debt import judged, settled
from services.clearance.consignment.decision import Lane
from services.clearance.consignment.screening import ALARM, alarmed, only_alarms, with_hits
from services.clearance.consignment.state import SCREENING, Happening, amended, evolve
from services.clearance.consignment.transitions import FINAL, Change, Event, State
from services.clearance.metrics import count_unbound
from services.clearance.store import Row, Store

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
    bindings: int = 0
    """How often bindings were changed before these arrivals were judged."""
    unbound: set[str] = field(default_factory=set)
    """Documents whose arrivals have no effect on some of these filings."""
    changed: set[str] = field(default_factory=set)
    """Documents that have arrived, and whose filings name other carriers now, or travel under them now."""


@dataclass(slots=True)
class Under:
    """How the consignments stand that are under one master document and bound to one carrier."""

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
        await self.store.arrivals.bar(tx, masters)
        locked = await self.store.lock(tx, [mrn for part in parts for mrn in part.table.strings("mrn").tolist()])
        arrivals = await self.store.arrivals.find(tx, masters)
        if arrivals:
            tally.bindings = await self.store.carriers.binding_revision(tx)
        parts = await self._with_early(tx, parts)
        for part in parts:
            known = part.table.strings("mrn").map(locked.__contains__, np.bool_)
            if not known.any():
                await self._first(tx, part, arrivals, tally)
                continue
            if not known.all():
                await self._first(tx, _take(part, np.flatnonzero(~known)), arrivals, tally)
            await self._again(tx, _take(part, np.flatnonzero(known)), locked, arrivals, tally)
        if tally.unbound or tally.changed:
            await self._mark(tx, arrivals, tally)
        return tally

    async def _with_early(self, tx: Transaction, parts: Sequence[Decided]) -> Sequence[Decided]:
        """Bring in what risk and revenue told of these filings before they were decided."""
        hits, news = await self.store.early_debt_events.any_early(tx)
        if hits:
            early = await self.store.early_matches.take(
                tx, [mrn for part in parts for mrn in part.table.strings("mrn").tolist()]
            )
            if early:
                parts = [Decided(*bind(tx, part.table, part.release, early), part.trace) for part in parts]
        if news:
            versions = {
                mrn: version
                for part in parts
                for mrn, version in zip(
                    part.table.strings("mrn").tolist(), part.table.ints("filing_version").values.tolist(), strict=True
                )
            }
            told = await self.store.early_debt_events.take(tx, versions)
            if told:
                bound = [bind_news(tx, part.table, part.release, told) for part in parts]
                parts = [Decided(*each, part.trace) for each, part in zip(bound, parts, strict=True)]
        return parts

    async def _first(
        self, tx: Transaction, part: Decided, arrivals: Mapping[str, Sequence[Arrival]], tally: Tally
    ) -> None:
        table = part.table
        if arrivals:
            found = effective(*_pair(table), arrivals, await self._register(tx, table))
            table = table.with_columns(found.columns().columns())
            tally.unbound |= found.unbound
        events = np.where(part.release, np.int64(Event.DECIDED_RELEASE), np.int64(Event.DECIDED_HOLD))
        table, outcome = evolve(table, Happening(event=events, at=tally.at))
        assert bool(outcome.effective.all()), "a first decision is never refused"
        await self.store.insert(tx, table, trace=part.trace)
        tally.decided.append(table)

    async def _register(self, tx: Transaction, table: Table) -> Register:
        """Return the bindings that concern these consignments."""
        masters, named = _pair(table)
        return await self.store.carriers.register(tx, masters.dictionary, named.dictionary)

    async def _mark(self, tx: Transaction, arrivals: Mapping[str, Sequence[Arrival]], tally: Tally) -> None:
        """Mark arrivals that were recorded first and do not take effect on filings that came later, and those of changed filings.

        All in one statement at the end, so that arrivals are locked in one order, and behind the lock of the bindings.
        """
        again = tally.changed
        if tally.unbound and await self.store.carriers.binding_revision(tx, lock=True) != tally.bindings:
            # Bindings changed since these filings were judged; the arrivals are carried out again by the new ones.
            again = again | tally.unbound
        unbound = tally.unbound - again
        await self.store.arrivals.mark(tx, unbound=unbound, again=again)
        await self._report(tx, [(document, each.carrier) for document in unbound for each in arrivals[document]])

    async def _report(self, tx: Transaction, unbound: Sequence[tuple[str, str]]) -> None:
        """Report arrivals, by document and carrier, that have no effect on some filings."""
        if unbound:
            await self.store.carriers.note_refused(tx, unbound, await self.store.now(tx), recorded=True)
            tx.after_commit(lambda: count_unbound("without_effect", len(unbound)))

    async def _again(
        self,
        tx: Transaction,
        part: Decided,
        locked: Mapping[str, Row],
        arrivals: Mapping[str, Sequence[Arrival]],
        tally: Tally,
    ) -> None:
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
        if stored.ints("debt_event_number").valid.any():
            # What revenue told of the debt goes on.
            table = judged(stored, table, table.ints("debt_status").values, table.strings("debt_account"))
            release = release | settled(table)
        events = np.where(release, np.int64(Event.AMENDED_RELEASE), np.int64(Event.AMENDED_HOLD))
        table, outcome = evolve(table, Happening(event=events, at=tally.at))
        done = np.flatnonzero(outcome.effective)
        if len(done):
            table = table.take(done)
            ref = await self.store.succeed(tx, table, [rows[place] for place in done.tolist()], trace=part.trace)
            mrns = table.strings("mrn").tolist()
            moved = _differs(stored.take(done), table, "master_document_number")
            if moved.any():
                chosen = np.flatnonzero(moved)
                left = stored.take(done[chosen]).strings("master_document_number").tolist()
                await self.store.references.note_moved(tx, left, [mrns[place] for place in chosen.tolist()])
            await self.store.references.add_documents(
                tx, table, ref, mrns, [rows[place].day for place in done.tolist()], moved
            )
            renamed = _differs(stored.take(done), table, "carrier_identifier")
            masters, named = (column.tolist() for column in _pair(table))
            if renamed.any():
                places = np.flatnonzero(renamed & ~moved).tolist()
                columns = ([values[row] for row in places] for values in (masters, mrns, named))
                await self.store.references.add_names(tx, *columns)
            tally.changed |= {masters[row] for row in np.flatnonzero(renamed | moved).tolist()} & arrivals.keys()
            tally.decided.append(table)
        late = np.flatnonzero(~outcome.effective)
        if len(late):
            told = stored.take(late).with_columns(
                {
                    "change": Ints.constant(Change.AMENDMENT_REFUSED, len(late)),
                    "changed_at": Ints.constant(tally.at, len(late)),
                    "public_change": Ints.absent(len(late)),
                    "public_changed_at": Ints.absent(len(late)),
                }
            )
            await self.store.notify(tx, told, trace=part.trace)
            tally.too_late += len(late)
            await self._alarm(tx, [rows[place] for place in late.tolist()], stored.take(late), part, late, tally.at)

    async def _alarm(
        self, tx: Transaction, rows: Sequence[Row], stored: Table, part: Decided, late: NDArray[np.int64], at: int
    ) -> None:
        """Hold goods whose amendment came too late and files an alarm of a security screening: what was filed stands, and the alarm counts."""
        filed = part.table.take(late)
        alarm = np.flatnonzero(alarmed(filed) & ~np.isin(stored.ints("state").values, list(FINAL)))
        if not len(alarm):
            return
        states = stored.take(alarm)
        more = only_alarms(filed.take(alarm).ragged("findings"), np.ones(len(alarm), np.bool_))
        findings, added = with_hits(states.ragged("findings"), more)
        new = np.flatnonzero(added > 0)
        if not len(new):
            return
        table = states.with_columns({"findings": findings, "lane": Ints.constant(Lane.RED, len(alarm))}).take(new)
        there = [rows[place] for place in alarm[new].tolist()]
        held = table.bools("officer_hold").values | table.bools("screening_hold").values
        # What a hit of a list holds alone is an officer's to release from now on, also once the hit is cleared.
        table = table.with_columns({"officer_hold": Bools.of(held)})
        for event, chosen in ((Event.FOUND, np.flatnonzero(held)), (Event.OFFICER_HELD, np.flatnonzero(~held))):
            if len(chosen):
                happening = Happening(event=event, at=at, by=SCREENING, reason=ALARM)
                after, outcome = evolve(table.take(chosen), happening)
                assert bool(outcome.effective.all()), (
                    "an alarm has its effect in each state that is reached and not final"
                )
                await self.store.succeed(tx, after, [there[place] for place in chosen.tolist()], trace=part.trace)

    # ------------------------------------------------------------------------------------------ arrivals
    async def arrive(self, documents: Iterable[str], *, trace: str, carrier: str = "") -> dict[str, Under]:
        """Carry recorded arrivals out on all that is known under these master documents; doing it again changes nothing.

        Tells how the consignments stand that are bound to `carrier`.
        """
        found = {document: Under() for document in documents}
        # Before anything is judged: what is marked or bound from here on is not done with this run.
        async with self.store.database.connection() as reading:
            bindings = await self.store.carriers.binding_revision(reading)
            revisions = await self.store.arrivals.revisions(reading, found)
        unbound: set[str] = set()
        chunk: list[tuple[str, str]] = []
        for document in found:
            after = NOWHERE
            while True:
                async with self.store.database.connection() as reading:
                    batches = await self.store.references.under_master(reading, document, after, _BATCHES_A_LOOK)
                for ref, mrns in batches:
                    chunk.extend((document, mrn) for mrn in mrns)
                    after = ref
                while len(chunk) >= CHUNK_ROWS:
                    unbound |= await self._arrive(chunk[:CHUNK_ROWS], found, trace, carrier)
                    del chunk[:CHUNK_ROWS]
                if len(batches) < _BATCHES_A_LOOK:
                    break
        if chunk:
            unbound |= await self._arrive(chunk, found, trace, carrier)
        async with self.store.database.transaction() as tx:
            changed = bool(unbound) and await self.store.carriers.binding_revision(tx, lock=True) != bindings
            newly = await self.store.arrivals.done(tx, revisions, unbound, bindings_changed=changed)
            await self._report(tx, newly)
        return found

    async def _arrive(
        self, chunk: Sequence[tuple[str, str]], found: Mapping[str, Under], trace: str, carrier: str
    ) -> frozenset[str]:
        by_mrn = {mrn: document for document, mrn in chunk}
        mrns = sorted(by_mrn)
        async with self.store.database.connection() as reading:
            arrivals = await self.store.arrivals.find(reading, set(by_mrn.values()))
            rows = await self.store.find(reading, mrns)
            table = _under(await self.store.states(reading, list(rows.values())), by_mrn)
            register = await self._register(reading, table)
        chosen = effective(*_pair(table), arrivals, register)
        own = self._own(table, arrivals, register, carrier)
        there = np.flatnonzero(chosen.there)
        after, outcome = evolve(table.take(there), _arriving(chosen, there, 0))
        states = table.ints("state").values.copy()
        states[there] = after.ints("state").values
        if outcome.effective.any():
            after = await self._arrive_now(rows, table.take(there), register, trace)
            places = {mrn: place for place, mrn in enumerate(table.strings("mrn").tolist())}
            now = [places[mrn] for mrn in after.strings("mrn").tolist()]
            states[now] = after.ints("state").values
        masters = table.strings("master_document_number").tolist()
        for row in np.flatnonzero(own).tolist():
            under, state = found[masters[row]], states[row]
            under.consignments += 1
            under.released += bool(state == State.RELEASED)
            under.held += bool(state == State.HELD)
            under.waiting += bool(state == State.AWAITING_ARRIVAL)
        return chosen.unbound

    def _own(
        self, table: Table, arrivals: Mapping[str, Sequence[Arrival]], register: Register, carrier: str
    ) -> NDArray[np.bool_]:
        """Tell which consignments are bound to a carrier on the day of its arrival."""
        days = {each.day for found in arrivals.values() for each in found if each.carrier == carrier}
        if not days:
            return np.zeros(table.rows, np.bool_)
        return bound(*_pair(table), register, carrier, max(days))

    async def _arrive_now(self, seen: Mapping[str, Row], table: Table, register: Register, trace: str) -> Table:
        mrns = table.strings("mrn").tolist()
        async with self.store.database.transaction() as tx:
            locked = await self.store.lock(tx, mrns)
            rows = [locked[mrn] for mrn in mrns]
            if any(row != seen[row.mrn] for row in rows):
                table = await self.store.states(tx, rows)
                register = await self._register(tx, table)
            masters, named = _pair(table)
            # What is being reversed is not there any more; what is there is not reversed before this is committed.
            arrivals = await self.store.arrivals.find(tx, masters.dictionary, lock=True)
            chosen = effective(masters, named, arrivals, register)
            there = np.flatnonzero(chosen.there)
            after, outcome = evolve(table.take(there), _arriving(chosen, there, await self.store.now(tx)))
            done = np.flatnonzero(outcome.effective)
            if len(done):
                known = [rows[place] for place in there[done].tolist()]
                await self.store.succeed(tx, after.take(done), known, trace=trace)
        return after

    async def finish_arrivals(self, before: int, limit: int) -> int:
        """Carry out arrivals whose call died, and those that bindings or filings changed since; gives how many."""
        async with self.store.database.connection() as reading:
            documents = await self.store.arrivals.pending(reading, before, limit)
        if documents:
            with span("clearance.arrivals", attributes={"luxor.documents": len(documents)}) as told:
                await self.arrive(documents, trace=told.traceparent)
        return len(documents)


def _take(part: Decided, rows: NDArray[np.int64]) -> Decided:
    return part if len(rows) == part.table.rows else Decided(part.table.take(rows), part.release[rows], part.trace)


def _differs(before: Table, after: Table, name: str) -> NDArray[np.bool_]:
    """Whether a text of each is another one than before."""
    was, now = (table.strings(name).tolist() for table in (before, after))
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


def _arriving(chosen: Effective, rows: NDArray[np.int64], at: int) -> Happening:
    return Happening(event=Event.ARRIVED, at=at, arrivals=replace(chosen, places=chosen.places[rows]).columns())


def _pair(table: Table) -> tuple[Strings, Strings]:
    """Give the columns that bindings look at: the master document and who carries by the filing."""
    return table.strings("master_document_number"), table.strings("carrier_identifier")


def _under(table: Table, documents: Mapping[str, str]) -> Table:
    """Keep what still travels under the document that it was found by: an amendment may have moved it to another."""
    numbers, mrns = table.strings("master_document_number").tolist(), table.strings("mrn").tolist()
    rows = [place for place, mrn in enumerate(mrns) if numbers[place] == documents[mrn]]
    return table if len(rows) == table.rows else table.take(np.array(rows, np.int64))
