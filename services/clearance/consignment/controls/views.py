"""What each role may read of controls."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Ragged, Strings, Table
from luxor.clearance.v1 import control_pb2
from services.clearance.consignment.columns import values_in_rows
from services.clearance.consignment.controls.control import REFERRALS, has_controls

_OFFICERS_TEXTS: Final = ("ordered_by", "result_reason", "note", "concluded_by")
_OFFICERS_NUMBERS: Final = ("when_overdue", "result")


def public_controls(table: Table) -> dict[str, Column]:
    """Return the column of controls without what only officers, analysts and agencies read, if there is any control."""
    if not has_controls(table):
        return {}
    controls, lines = table.ragged("controls"), table.child("controls")
    hidden: dict[str, Column] = {name: Strings.absent(lines.rows) for name in _OFFICERS_TEXTS}
    hidden |= {name: Ints.absent(lines.rows) for name in _OFFICERS_NUMBERS}
    # The deadline of a scan or an examination is the authority's own.
    addressed = lines.ints("addressee").valid
    for name in ("due_at", "overdue_at"):
        time = lines.ints(name)
        hidden[name] = Ints.of(time.values, time.valid & addressed)
    return {"controls": Ragged(controls.offsets, lines.with_columns(hidden))}


def carried_controls(table: Table) -> dict[str, Column]:
    """Return the column of controls as carriers read it: what is addressed to them, scans, examinations and referrals before loading."""
    if not has_controls(table):
        return {}
    lines = table.child("controls")
    own = lines.ints("addressee").filled(0) == control_pb2.CONTROL_ADDRESSEE_CARRIER
    if np.isin(lines.ints("form").values, REFERRALS).any():
        table = table.with_columns({"controls": _without_answers(table.ragged("controls"), ~own)})
    return _chosen(table, own | (lines.ints("form").filled(0) != control_pb2.CONTROL_FORM_DOCUMENTS))


def _without_answers(controls: Ragged, rows: NDArray[np.bool_]) -> Ragged:
    """Return controls without the answers and reminders of some of them, which are between customs and another addressee."""
    lines = controls.values
    assert isinstance(lines, Table)
    documents = lines.ragged("documents")
    assert isinstance(documents.values, Strings)
    names = documents.values.take(np.flatnonzero(~rows[documents.owners()]))
    columns: dict[str, Column] = {
        "answer": values_in_rows(lines.strings("answer"), ~rows),
        "documents": Ragged.of_lengths(np.where(rows, 0, documents.lengths), names),
    }
    for name in ("answered_at", "reminded_at", "screening_result"):
        value = lines.ints(name)
        columns[name] = Ints.of(value.values, value.valid & ~rows)
    return Ragged(controls.offsets, lines.with_columns(columns))


def agency_controls(table: Table, agency: str) -> dict[str, Column]:
    """Return the column of controls as an agency reads it: its own."""
    return _chosen(table, table.child("controls").strings("authority").isin({agency})) if has_controls(table) else {}


def _chosen(table: Table, lines: NDArray[np.bool_]) -> dict[str, Column]:
    controls = table.ragged("controls")
    lengths = np.bincount(controls.owners()[lines], minlength=table.rows)
    return {"controls": Ragged.of_lengths(lengths, table.child("controls").take(np.flatnonzero(lines)))}


def changed_controls(table: Table, row: int) -> list[control_pb2.Control]:
    """Return the controls to which something happened in this version of a state."""
    lines = table.child("controls").take(np.arange(table.child("controls").rows)[table.ragged("controls").span(row)])
    at = int(table.ints("changed_at").values[row])
    touched = np.zeros(lines.rows, np.bool_)
    for name in ("ordered_at", "answered_at", "reminded_at", "overdue_at", "concluded_at"):
        time = lines.ints(name)
        touched |= time.valid & (time.values == at)
    return lines.take(np.flatnonzero(touched)).to_messages(control_pb2.Control)
