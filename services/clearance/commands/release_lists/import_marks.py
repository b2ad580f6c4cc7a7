"""Imports what officers marked on a page of a release list, once for each decision on a line."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table
from libs.customs.release_list import Entry, Page
from libs.feed.types import BatchRef
from libs.store.database import Transaction
from services.clearance.commands.act import Acted, Commands, Request
from services.clearance.consignment.columns import previous
from services.clearance.consignment.presentation.times import unpresented
from services.clearance.consignment.state.arrivals import Arrivals
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.transitions import Event, State
from services.clearance.release_lists.reconciliation import (
    Decision,
    Mark,
    MarkOutcome,
    compare,
    facts_of,
    overdue,
    requires_hold,
)
from services.clearance.store import Row, Store
from services.clearance.store.releases import StoredMark

RELEASED_BY_LIST: Final = "RELEASED_BY_LIST"
HELD_BY_LIST: Final = "HELD_BY_LIST"
DISCREPANCY: Final = "RELEASE_LIST_DISCREPANCY"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Both sides of one line after the import."""

    entry: Entry | None
    mark: Mark | None
    outcome: MarkOutcome
    state: int = 0
    version: int = 0
    imported_before: bool = False


@dataclass(slots=True)
class _Goods:
    """A line, or goods that are not listed, with new marks."""

    entry: Entry | None
    mrn: str
    """Empty for goods that are not listed and of which no MRN was marked."""
    marks: list[Mark]
    outcome: MarkOutcome
    reason: str
    """Why the goods are to be held; empty if they are not."""
    state: int = 0
    version: int = 0


class ImportMarks:
    """Imports marks."""

    def __init__(self, store: Store) -> None:
        """Work in a store."""
        self._store = store
        self._commands = Commands(store)

    async def run(
        self,
        page: Page,
        marks: Sequence[Mark],
        *,
        officer: str,
        request: Request,
        encode: Callable[[Sequence[Reconciled]], bytes],
    ) -> bytes:
        """Import the marks on a page whose signature was verified, in one transaction; return what `encode` made of the results.

        A repeated request gets the same answer. Raises RequestReused.
        """
        entries = {each.line: each for each in page.entries}
        mrns = [each.mrn for each in page.entries]
        unlisted = sorted({each.mrn for each in marks if not each.line and each.mrn} - set(mrns))
        async with self._store.database.connection() as reading:
            # Read outside of the transaction, so that inside it the batches come from memory.
            await self._store.states(reading, list((await self._store.find(reading, [*mrns, *unlisted])).values()))
        async with self._store.database.transaction() as tx:
            before = await self._store.requests.recall(tx, *request.key)
            if before is not None:
                return before
            # Imports of one page follow each other: each locks its consignments first.
            rows = await self._store.lock(tx, [*mrns, *unlisted])
            goods = {each.goods for each in marks if not each.line} | {(line, "", "") for line in entries}
            imported = await self._store.release_lists.marks(tx, page.header.serial, sorted(goods))
            stored = {_mark(each).key for each in imported}
            fresh = {each.key: each for each in reversed(marks) if each.key not in stored}
            compared = await self._compare_marks(tx, page, rows, list(fresh.values()), imported)
            await self._apply(tx, page.header.serial, page.header.conveyance, compared, rows, officer, request.trace)
            results = [_former(each, entries.get(each.line)) for each in imported]
            new = [
                Reconciled(each.entry, mark, each.outcome, each.state, each.version)
                for each in compared
                for mark in each.marks
            ]
            # What clearance does not store is compared once it does.
            await self._store.release_lists.add(
                tx, page.header.serial, [_stored(each) for each in new if each.state or not _mrn_of(each)], officer
            )
            marked = {each.line for each in imported} | {each.line for each in fresh.values()}
            results += new
            for entry in page.entries:
                if entry.release and entry.line not in marked:
                    row = rows.get(entry.mrn)
                    if row is None:
                        results.append(Reconciled(entry, None, MarkOutcome.UNKNOWN))
                    else:
                        results.append(Reconciled(entry, None, MarkOutcome.NOT_MARKED, row.state, row.version))
            answer = encode(sorted(results, key=_order))
            await self._store.requests.remember(tx, *request.key, answer)
        return answer

    async def _compare_marks(
        self, tx: Transaction, page: Page, rows: dict[str, Row], fresh: Sequence[Mark], imported: Sequence[StoredMark]
    ) -> list[_Goods]:
        """Return the goods with new marks, each compared with its consignment and with the marks that were imported before."""
        entries = {each.line: each for each in page.entries}
        new: dict[tuple[int, str, str], list[Mark]] = {}
        for mark in sorted(fresh, key=lambda each: each.key):
            new.setdefault(mark.goods, []).append(mark)
        marked = {goods: entries[goods[0]].mrn if goods[0] else goods[2] for goods in new}
        there = [rows[mrn] for mrn in dict.fromkeys(marked.values()) if mrn in rows]
        states = await self._store.states(tx, there)
        places = [place for place in previous(states.take(np.flatnonzero(overdue(states)))) if place]
        before = await self._store.read(tx, [(BatchRef(day, number), row) for day, number, row in places])
        facts = dict(zip((row.mrn for row in there), facts_of(states, before) if there else [], strict=True))
        former: dict[tuple[int, str, str], list[Mark]] = {}
        for each in imported:
            former.setdefault(_mark(each).goods, []).append(_mark(each))
        now = await self._store.now(tx)
        compared = []
        for goods, marks in new.items():
            entry, known = entries.get(goods[0]), facts.get(marked[goods])
            all_marks = [*marks, *former.get(goods, ())]
            outcome = compare(page.header, entry, all_marks, known, now)
            reason = ""
            if requires_hold(outcome, all_marks, known):
                only_held = all(each.decision is Decision.HELD for each in all_marks)
                reason = HELD_BY_LIST if only_held else DISCREPANCY
            compared.append(_Goods(entry, marked[goods], marks, outcome, reason))
        return compared

    async def _apply(
        self,
        tx: Transaction,
        serial: str,
        conveyance: str,
        compared: Sequence[_Goods],
        rows: dict[str, Row],
        officer: str,
        trace: str,
    ) -> None:
        """Release and hold what the outcomes require, each consignment once, and note what became of it."""
        at = await self._store.now(tx)
        releases = {each.mrn: each for each in compared if each.outcome is MarkOutcome.RELEASED}
        if releases:
            states = await self._store.states(tx, [rows[mrn] for mrn in releases])
            arrived, missing = states.ints("arrived_at").valid, unpresented(states)
            # The officer who marked the goods had them: the mark is their arrival and their presentation.
            for event, chosen in (
                (Event.ARRIVED, ~arrived),
                (Event.PRESENTED, missing),
                (Event.WAIT_ENDED, arrived & ~missing),
            ):
                places = np.flatnonzero(chosen)
                if len(places):
                    part = states.take(places)
                    own = [releases[mrn] for mrn in part.strings("mrn").tolist()]
                    marked = [each.marks[0] for each in own]
                    arrivals = None
                    if event is Event.ARRIVED:
                        arrivals = _arrivals(marked, conveyance, at)
                        part = part.with_columns({"arrived_by_list": Bools.of(np.ones(part.rows, np.bool_))})
                    details = EventDetails(event=event, at=at, arrivals=arrivals, presented_at=_times(marked, at))
                    notes = [f"Release list {serial}, line {each.line}, marked by {each.by}" for each in marked]
                    part = _released_by(part, officer, _times(marked, at), notes)
                    acted = await self._commands.put(tx, part, details, [rows[each.mrn] for each in own], trace)
                    _note(own, acted)
        done = set(releases)
        for reason in (HELD_BY_LIST, DISCREPANCY):
            held = {each.mrn: each for each in compared if each.reason == reason and each.mrn not in done}
            done |= set(held)
            if held:
                own_rows = [rows[mrn] for mrn in held]
                note = f"Release list {serial}"
                details = EventDetails(event=Event.OFFICER_HELD, at=at, by=officer, reason=reason, note=note)
                states = await self._store.states(tx, own_rows)
                acted = await self._commands.put(tx, states, details, own_rows, trace)
                _note(held.values(), acted)
        for each in compared:
            row = rows.get(each.mrn)
            if not each.state and row is not None:
                each.state, each.version = row.state, row.version


def _note(compared: Iterable[_Goods], acted: dict[str, Acted]) -> None:
    for each in compared:
        result = acted[each.mrn]
        each.state, each.version = result.state, result.version
        if result.refusal or (each.outcome is MarkOutcome.RELEASED and result.state != State.RELEASED):
            raise AssertionError(f"{result.mrn} is {each.outcome.name} and in state {result.state}: {result.refusal}")


def _times(marks: Sequence[Mark], at: int) -> Ints:
    """Return the times of marks; a clock that is fast does not lead into the future."""
    return Ints.of(np.minimum(np.array([each.at for each in marks], np.int64), at))


def _arrivals(marks: Sequence[Mark], conveyance: str, at: int) -> Arrivals:
    """Return arrivals at the times of the marks. They name no carrier, since none reported them."""
    rows = len(marks)
    reference = Strings.constant(conveyance, rows) if conveyance else Strings.absent(rows)
    absent = Strings.absent(rows)
    return Arrivals(_times(marks, at), reference, absent, absent)


def _released_by(states: Table, officer: str, times: Ints, notes: Sequence[str]) -> Table:
    """Return states that an officer decided at the times of the marks; the events alone would leave them as decided automatically."""
    rows = states.rows
    columns: dict[str, Column] = {
        "decided_by": Strings.constant(officer, rows),
        "decided_at": times,
        "note": Strings.of(list(notes)),
        "reasons": Ragged.of_lengths(np.ones(rows, np.int64), Strings.constant(RELEASED_BY_LIST, rows)),
    }
    return states.with_columns(columns)


def _mark(stored: StoredMark) -> Mark:
    mrn = "" if stored.line else stored.mrn
    decision = Decision(stored.decision)
    return Mark(stored.line, stored.house_document, decision, stored.marked_at, stored.marked_by, mrn)


def _former(stored: StoredMark, entry: Entry | None) -> Reconciled:
    outcome = MarkOutcome(stored.outcome)
    return Reconciled(entry, _mark(stored), outcome, stored.state, stored.version, imported_before=True)


def _mrn_of(result: Reconciled) -> str:
    """Return the MRN of a result, "" for goods that are not listed and of which none was marked."""
    return result.entry.mrn if result.entry is not None else result.mark.mrn if result.mark is not None else ""


def _stored(result: Reconciled) -> StoredMark:
    mark = result.mark
    assert mark is not None
    line, house, _ = mark.goods
    return StoredMark(
        line, house, mark.decision, mark.at, mark.by, _mrn_of(result), result.outcome, result.state, result.version
    )


def _order(result: Reconciled) -> tuple[bool, tuple[int, str, str, int]]:
    if result.mark is not None:
        return not result.mark.line, result.mark.key
    assert result.entry is not None
    return False, (result.entry.line, "", "", 0)
