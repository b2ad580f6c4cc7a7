"""Imports what officers marked on a page of a release list, once for each decision on a line."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Column, Ints, Ragged, Strings, Table
from libs.customs.release_list import Entry, Page
from libs.store.database import Transaction
from services.clearance.commands.act import Acted, Commands, Request
from services.clearance.consignment.state.arrivals import Arrivals
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.transitions import Event, State
from services.clearance.release_lists.reconciliation import Decision, Mark, MarkOutcome, compare, facts_of
from services.clearance.store import Row, Store
from services.clearance.store.releases import StoredMark

RELEASED_BY_LIST: Final = "RELEASED_BY_LIST"
HELD_BY_LIST: Final = "HELD_BY_LIST"
DISCREPANCY: Final = "RELEASE_LIST_DISCREPANCY"
_HOLD_REASONS: Final = {
    MarkOutcome.HELD: HELD_BY_LIST,
    MarkOutcome.CHANGED: DISCREPANCY,
    MarkOutcome.AGAINST_LIST: DISCREPANCY,
    MarkOutcome.OUT_OF_TIME: DISCREPANCY,
    MarkOutcome.MARKED_DIFFERENTLY: DISCREPANCY,
}
"""Outcomes that hold the goods, and the reason of the hold."""


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
class _Line:
    """A line with new marks."""

    entry: Entry
    marks: list[Mark]
    outcome: MarkOutcome
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
        async with self._store.database.connection() as reading:
            # Read outside of the transaction, so that inside it the batches come from memory.
            await self._store.states(reading, list((await self._store.find(reading, mrns)).values()))
        async with self._store.database.transaction() as tx:
            before = await self._store.requests.recall(tx, *request.key)
            if before is not None:
                return before
            # Imports of one page follow each other: each locks its consignments first.
            rows = await self._store.lock(tx, mrns)
            houses = sorted({each.house_document for each in marks if not each.line})
            imported = await self._store.release_lists.marks(tx, page.header.serial, list(entries), houses)
            stored = {(each.line, each.house_document, each.decision): each for each in imported}
            fresh = {each.key: each for each in reversed(marks) if each.key not in stored}
            lines = await self._lines(tx, page, rows, list(fresh.values()), imported)
            await self._apply(tx, page.header.serial, page.header.conveyance, lines, rows, officer, request.trace)
            results = [_former(each, entries.get(each.line)) for each in imported]
            results += [
                Reconciled(line.entry, mark, line.outcome, line.state, line.version)
                for line in lines
                for mark in line.marks
            ]
            results += [Reconciled(None, each, MarkOutcome.UNLISTED) for each in fresh.values() if not each.line]
            new = [
                _stored(each)
                for each in results
                if not each.imported_before and each.outcome is not MarkOutcome.UNKNOWN
            ]
            await self._store.release_lists.add(tx, page.header.serial, new, officer)
            marked = {each.line for each in imported} | {each.line for each in fresh.values()}
            for entry in page.entries:
                if entry.release and entry.line not in marked:
                    row = rows.get(entry.mrn)
                    state, version = (row.state, row.version) if row is not None else (0, 0)
                    results.append(Reconciled(entry, None, MarkOutcome.NOT_MARKED, state, version))
            answer = encode(sorted(results, key=_order))
            await self._store.requests.remember(tx, *request.key, answer)
        return answer

    async def _lines(
        self, tx: Transaction, page: Page, rows: dict[str, Row], fresh: Sequence[Mark], imported: Sequence[StoredMark]
    ) -> list[_Line]:
        """Return the lines with new marks, each compared with its consignment and with the marks that were imported before."""
        by_line: dict[int, list[Mark]] = {}
        for mark in fresh:
            by_line.setdefault(mark.line, []).append(mark)
        marked = [each for each in page.entries if each.line in by_line]
        there = [rows[mrn] for mrn in dict.fromkeys(each.mrn for each in marked) if mrn in rows]
        states = await self._store.states(tx, there)
        facts = dict(zip((row.mrn for row in there), facts_of(states) if there else [], strict=True))
        former: dict[int, list[Mark]] = {}
        for each in imported:
            former.setdefault(each.line, []).append(_mark(each))
        now = await self._store.now(tx)
        return [
            _Line(
                entry,
                by_line[entry.line],
                compare(
                    page.header, entry, [*by_line[entry.line], *former.get(entry.line, ())], facts.get(entry.mrn), now
                ),
            )
            for entry in marked
        ]

    async def _apply(
        self,
        tx: Transaction,
        serial: str,
        conveyance: str,
        lines: Sequence[_Line],
        rows: dict[str, Row],
        officer: str,
        trace: str,
    ) -> None:
        """Release and hold what the outcomes require, and note in the lines what became of it."""
        at = await self._store.now(tx)
        releases = {line.entry.mrn: line for line in lines if line.outcome is MarkOutcome.RELEASED}
        if releases:
            states = await self._store.states(tx, [rows[mrn] for mrn in releases])
            arrived = states.ints("arrived_at").valid
            for event, chosen in ((Event.ARRIVED, ~arrived), (Event.WAIT_ENDED, arrived)):
                places = np.flatnonzero(chosen)
                if len(places):
                    part = states.take(places)
                    own = [releases[mrn] for mrn in part.strings("mrn").tolist()]
                    marked = [line.marks[0] for line in own]
                    arrivals = _arrivals(marked, conveyance) if event is Event.ARRIVED else None
                    details = EventDetails(event=event, at=at, arrivals=arrivals)
                    notes = [f"Release list {serial}, line {each.line}, marked by {each.by}" for each in marked]
                    part = _released_by(part, officer, at, notes)
                    acted = await self._commands.put(tx, part, details, [rows[line.entry.mrn] for line in own], trace)
                    _note(own, acted)
        for reason in dict.fromkeys(_HOLD_REASONS.values()):
            held = [line for line in lines if _HOLD_REASONS.get(line.outcome) == reason]
            if held:
                own_rows = [rows[line.entry.mrn] for line in held]
                note = f"Release list {serial}"
                details = EventDetails(event=Event.OFFICER_HELD, at=at, by=officer, reason=reason, note=note)
                states = await self._store.states(tx, own_rows)
                acted = await self._commands.put(tx, states, details, own_rows, trace)
                _note(held, acted)
                for line in held:
                    if line.outcome is MarkOutcome.HELD and acted[line.entry.mrn].refusal:
                        line.outcome = MarkOutcome.AGREES
        for line in lines:
            row = rows.get(line.entry.mrn)
            if not line.state and row is not None:
                line.state, line.version = row.state, row.version


def _note(lines: Iterable[_Line], acted: dict[str, Acted]) -> None:
    for line in lines:
        result = acted[line.entry.mrn]
        line.state, line.version = result.state, result.version
        if line.outcome is MarkOutcome.RELEASED and result.state != State.RELEASED:
            raise AssertionError(f"{result.mrn} was releasable and is in state {result.state}: {result.refusal}")


def _arrivals(marks: Sequence[Mark], conveyance: str) -> Arrivals:
    """Return arrivals at the times of the marks. They name no carrier, since none reported them."""
    rows = len(marks)
    reference = Strings.constant(conveyance, rows) if conveyance else Strings.absent(rows)
    absent = Strings.absent(rows)
    return Arrivals(Ints.of(np.array([each.at for each in marks], np.int64)), reference, absent, absent)


def _released_by(states: Table, officer: str, at: int, notes: Sequence[str]) -> Table:
    """Return states that an officer decided; the events alone would leave them as decided automatically."""
    rows = states.rows
    columns: dict[str, Column] = {
        "decided_by": Strings.constant(officer, rows),
        "decided_at": Ints.constant(at, rows),
        "note": Strings.of(list(notes)),
        "reasons": Ragged.of_lengths(np.ones(rows, np.int64), Strings.constant(RELEASED_BY_LIST, rows)),
    }
    return states.with_columns(columns)


def _mark(stored: StoredMark) -> Mark:
    return Mark(stored.line, stored.house_document, Decision(stored.decision), stored.marked_at, stored.marked_by)


def _former(stored: StoredMark, entry: Entry | None) -> Reconciled:
    outcome = MarkOutcome(stored.outcome)
    return Reconciled(entry, _mark(stored), outcome, stored.state, stored.version, imported_before=True)


def _stored(result: Reconciled) -> StoredMark:
    mark = result.mark
    assert mark is not None
    line, house, decision = mark.key
    mrn = result.entry.mrn if result.entry is not None else ""
    return StoredMark(line, house, decision, mark.at, mark.by, mrn, result.outcome, result.state, result.version)


def _order(result: Reconciled) -> tuple[bool, int, str, int]:
    line = result.entry.line if result.entry is not None else 0
    mark = result.mark
    return not line, line, mark.house_document if mark is not None else "", mark.decision if mark is not None else 0
