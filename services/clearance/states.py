"""The state of consignments as columns: how a decision makes it and how events change it.

A table of luxor.clearance.v1.ClearanceColumns holds one whole state a row. Nothing here changes a table; every step gives a new one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.decision import DEBT_OPEN, UNVALUED, Verdict, only
from services.clearance.lifecycle import CHANGE_OF, Debt, Event, Outcome, Situation, State, apply

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

AUTOMATIC: Final = "automatic"
OFFICER_HOLD: Final = "OFFICER_HOLD"

_FROM_FILING: Final = (
    "mrn",
    "partition",
    "filer",
    "local_reference",
    "house_document_number",
    "house_document_type",
    "master_document_number",
    "master_document_type",
    "declarant_identifier",
    "destination_country",
    "dispatch_country",
    "transport_mode",
    "transport_service",
    "nature",
    "gross_mass_mg",
    "accepted_at",
)
_LIFE: Final = (
    "version",
    "arrived_at",
    "arrival_conveyance_reference",
    "arrival_place",
    "released_at",
    "state",
    "officer_hold",
    "note",
)
"""What a new version of a filing leaves as it was."""

_OFFICERS: Final = (Event.OFFICER_RELEASED, Event.OFFICER_HELD)


def accepted(filings: Table, assessed: Mapping[str, Column], verdict: Verdict) -> Table:
    """Put filings (ConsignmentColumns), what risk and revenue said, and the verdict together: states before the decision took effect.

    `assessed` holds columns of ClearanceColumns. Version is 0, the state ACCEPTED.
    """
    rows = filings.rows
    columns: dict[str, Column] = {name: filings.column(name) for name in _FROM_FILING}
    columns |= {
        "version": Ints.constant(0, rows),
        "filing_version": filings.ints("version"),
        "platform": filings.strings("order_platform"),
        "consignor_country": filings.strings("consignor_address_country"),
        "destination_country": _destination(filings),
        "state": Ints.constant(State.ACCEPTED, rows),
        "reasons": verdict.reasons,
        "audit": Bools.of(verdict.audit),
        "officer_hold": Bools.of(np.zeros(rows, np.bool_)),
        "debt_status": Ints.of(verdict.debt),
        "debt_account": verdict.account,
        **assessed,
    }
    return Table.of(ClearanceColumns, rows, columns)


def _destination(filings: Table) -> Strings:
    """Where absent, the country of the consignee's address."""
    told = filings.strings("destination_country")
    present = told.present
    if present.all():
        return told
    values = told.values()
    values[~present] = filings.strings("consignee_address_country").values()[~present]
    return Strings.of(values)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What carriers told of the arrival of n consignments; absent where nothing was told."""

    arrived_at: Ints
    conveyance_reference: Strings
    place: Strings

    def columns(self) -> dict[str, Column]:
        """Give them as columns of the state."""
        return {
            "arrived_at": self.arrived_at,
            "arrival_conveyance_reference": self.conveyance_reference,
            "arrival_place": self.place,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """An event to n consignments."""

    event: Event | IntArray
    """The same for all, or one each, shape (n,)."""
    at: int
    """When, microseconds since 1970-01-01 UTC."""
    by: str = AUTOMATIC
    """Who decided, for decisions and officers' events."""
    reason: str = ""
    """The officer's reason."""
    note: str = ""
    """The officer's note."""
    arrivals: Arrivals | None = None
    """With ARRIVED, what was told."""


def situation(table: Table) -> Situation:
    """Read from states what the lifecycle looks at."""
    return Situation(
        state=table.ints("state").values,
        arrived=table.ints("arrived_at").valid,
        debt=table.ints("debt_status").values,
        officer_hold=table.bools("officer_hold").values,
    )


def evolve(table: Table, what: Happening) -> tuple[Table, Outcome]:
    """Apply an event to all rows; where it is refused the row stays as it was, elsewhere the version rises by one."""
    before = situation(table)
    outcome = apply(what.event, before)
    done = outcome.effective
    events = np.broadcast_to(np.asarray(what.event, np.int64), done.shape)
    version = table.ints("version").values
    at = Ints.constant(what.at, table.rows)
    columns: dict[str, Column] = {
        "version": Ints.of(version + done),
        "state": Ints.of(outcome.state),
        "officer_hold": Bools.of(outcome.officer_hold),
        "change": pick(done, Ints.of(CHANGE_OF[events]), table.ints("change")),
        "changed_at": pick(done, at, table.ints("changed_at")),
        "released_at": _released(table.ints("released_at"), before.state, outcome.state, at),
    }
    if what.arrivals is not None:
        columns |= {name: _merge(done, new, table.column(name)) for name, new in what.arrivals.columns().items()}
    decides = done & (events != Event.ARRIVED)
    if decides.any():
        columns["decided_at"] = pick(decides, at, table.ints("decided_at"))
        columns["decided_by"] = _merge(decides, Strings.constant(what.by, table.rows), table.column("decided_by"))
    if np.isin(events, _OFFICERS).any():
        reasons = [what.reason] + (
            [OFFICER_HOLD] if what.event == Event.OFFICER_HELD and what.reason != OFFICER_HOLD else []
        )
        columns["reasons"] = _merge_lists(done, reasons, table.ragged("reasons"))
        columns["note"] = _merge(done, Strings.constant(what.note, table.rows), table.column("note"))
    stopped = done & (events == Event.ARRIVED) & (before.state != State.HELD) & (outcome.state == State.HELD)
    if stopped.any():
        columns["reasons"] = _stopped(table.ragged("reasons"), stopped, before)
    return table.with_columns(columns), outcome


def amended(stored: Table, fresh: Table) -> Table:
    """Put a new version of filings in the place of the stored one, row by row: the life so far stays, an officer's hold with its reasons."""
    columns: dict[str, Column] = {name: stored.column(name) for name in _LIFE}
    held = stored.bools("officer_hold").values
    if held.any():
        both = Ragged.concat([stored.ragged("reasons"), fresh.ragged("reasons")])
        rows = np.arange(stored.rows)
        columns["reasons"] = both.take(np.where(held, rows, rows + stored.rows))
    return fresh.with_columns(columns)


def with_previous(table: Table, day: Sequence[int], number: Sequence[int], row: Sequence[int]) -> Table:
    """Tell for each state where the version before it is stored; day 0 stands for none."""
    valid = np.asarray(day, np.int64) > 0
    return table.with_columns(
        {
            "previous_batch_day": Ints.of(np.asarray(day, np.int64), valid),
            "previous_batch_id": Ints.of(np.asarray(number, np.int64), valid),
            "previous_batch_row": Ints.of(np.asarray(row, np.int64), valid),
        }
    )


def pick(rows: BoolArray, new: Ints, old: Ints) -> Ints:
    """Take `new` in some rows and `old` in the others."""
    return Ints(np.where(rows, new.values, old.values), np.where(rows, new.valid, old.valid))


def _merge(rows: BoolArray, new: Column, old: Column) -> Column:
    if rows.all():
        return new
    if isinstance(new, Ints) and isinstance(old, Ints):
        return pick(rows, new, old)
    assert isinstance(new, Strings)
    assert isinstance(old, Strings)
    both = Strings.concat([old, new])
    places = np.arange(len(old))
    return both.take(np.where(rows, places + len(old), places))


def _merge_lists(rows: BoolArray, new: list[str], old: Ragged) -> Ragged:
    count = len(rows)
    told = Ragged.of_lengths(np.full(count, len(new)), Strings.of(new * count))
    places = np.arange(count)
    return Ragged.concat([old, told]).take(np.where(rows, places + count, places))


def _released(released: Ints, before: IntArray, after: IntArray, at: Ints) -> Ints:
    now = after == State.RELEASED
    fresh = now & (before != State.RELEASED)
    valid = np.where(now, released.valid | fresh, False)
    return Ints.of(np.where(fresh, at.values, released.values), valid)


def _stopped(reasons: Ragged, stopped: BoolArray, before: Situation) -> Ragged:
    """Say why an arrival did not release what was to be released."""
    why = Strings.constant(DEBT_OPEN, len(stopped))
    why = Strings([DEBT_OPEN, UNVALUED, OFFICER_HOLD], _why(before).astype(np.int32)) if len(stopped) else why
    told = only(why, stopped)
    lists = []
    assert isinstance(reasons.values, Strings)
    flat = reasons.values.tolist()
    for row, more in enumerate(told.tolist()):
        lists.append([*flat[reasons.span(row)], *([more] if more else [])])
    return Ragged.of_lengths([len(each) for each in lists], Strings.of([text for each in lists for text in each]))


def _why(before: Situation) -> IntArray:
    return np.where(before.officer_hold, 2, np.where(before.debt == Debt.OPEN, 0, 1)).astype(np.int64)
