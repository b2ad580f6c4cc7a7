"""What each role may read of controls."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Ragged, Strings, Table, among
from luxor.clearance.v1 import control_pb2
from services.clearance.consignment.columns import values_in_rows
from services.clearance.consignment.controls.control import REFERRALS, SCAN_NUMBERS, SCAN_TEXTS, has_controls
from services.clearance.consignment.notice_kinds import NoticeKind

_OFFICERS_TEXTS: Final = (
    "answered_by",
    "ordered_by",
    "result_reason",
    "note",
    "concluded_by",
    "facts",
    "confidential_reason",
)
_OFFICERS_NUMBERS: Final = ("when_overdue", "result", "filing_version")
_OF_FILERS: Final = (
    NoticeKind.CHARGES_CHANGED,
    NoticeKind.DEBT_SETTLED,
    NoticeKind.DEBT_OPENED,
    NoticeKind.CONTRADICTED,
)
"""Notices of what is owed and of what parties state, which are no carrier's."""
_REPLIES: Final = (NoticeKind.CONTROL_ANSWERED, NoticeKind.CONTROL_REMINDED)
"""Notices that carriers receive only of controls that are addressed to them."""


def public_controls(table: Table) -> dict[str, Column]:
    """Return the column of controls without what only officers, analysts and agencies read, if there is any control."""
    if not has_controls(table):
        return {}
    controls, lines = table.ragged("controls"), table.child("controls")
    hidden: dict[str, Column] = {name: Strings.absent(lines.rows) for name in _OFFICERS_TEXTS}
    hidden |= {name: Ints.absent(lines.rows) for name in _OFFICERS_NUMBERS}
    hidden |= {f"scan_{name}": Strings.absent(lines.rows) for name in SCAN_TEXTS}
    hidden |= {f"scan_{name}": Ints.absent(lines.rows) for name in SCAN_NUMBERS}
    # The deadline of a scan or an examination, and its reminder, are the authority's own.
    addressed = lines.ints("addressee").valid
    for name in ("due_at", "overdue_at", "remind_at", "reminded_at"):
        time = lines.ints(name)
        hidden[name] = Ints.of(time.values, time.valid & addressed)
    return {"controls": Ragged(controls.offsets, lines.with_columns(hidden))}


def carried_controls(table: Table) -> dict[str, Column]:
    """Return the column of controls as carriers read it: what is addressed to them, scans, examinations and referrals before loading.

    Of a referral that is addressed to the filer they read form and times, and not what customs writes to the filer.
    """
    if not has_controls(table):
        return {}
    lines = table.child("controls")
    addressee = lines.ints("addressee").filled(0)
    own = addressee == control_pb2.CONTROL_ADDRESSEE_CARRIER
    if among(lines.ints("form").values, REFERRALS).any():
        texts = {
            name: values_in_rows(lines.strings(name), addressee != control_pb2.CONTROL_ADDRESSEE_FILER)
            for name in ("reason", "text", "pointer")
        }
        controls = Ragged(table.ragged("controls").offsets, lines.with_columns(texts))
        table = table.with_columns({"controls": _without_answers(controls, ~own)})
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
    if not has_controls(table):
        return {}
    lines = table.child("controls")
    # An agency does not read who filed or carries the goods.
    names = ("answered_by", "confidential_reason")
    hidden = lines.with_columns({name: Strings.absent(lines.rows) for name in names})
    table = table.with_columns({"controls": Ragged(table.ragged("controls").offsets, hidden)})
    return _chosen(table, lines.strings("authority").isin({agency}))


def _chosen(table: Table, lines: NDArray[np.bool_]) -> dict[str, Column]:
    controls = table.ragged("controls")
    lengths = np.bincount(controls.owners()[lines], minlength=table.rows)
    return {"controls": Ragged.of_lengths(lengths, table.child("controls").take(np.flatnonzero(lines)))}


def carried_notices(table: Table, kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which versions, of which the kinds of notices are given, are notices to carriers, shape (n,).

    None is about what is owed or contradicted alone, and answers and reminders are only those of controls that are addressed to carriers.
    """
    heard: NDArray[np.bool_] = (kinds != 0) & ~among(kinds, _OF_FILERS)
    replies = np.flatnonzero(heard & among(kinds, _REPLIES)).tolist()
    if replies:
        own = table.with_columns(carried_controls(table))
        heard[[row for row in replies if not changed_controls(own, row)]] = False
    return heard


def changed_controls(table: Table, row: int) -> list[control_pb2.Control]:
    """Return the controls to which something happened in this version of a state."""
    lines = table.child("controls").take(np.arange(table.child("controls").rows)[table.ragged("controls").span(row)])
    at = int(table.ints("changed_at").values[row])
    touched = np.zeros(lines.rows, np.bool_)
    for name in ("ordered_at", "answered_at", "reminded_at", "overdue_at", "concluded_at"):
        time = lines.ints(name)
        touched |= time.valid & (time.values == at)
    return lines.take(np.flatnonzero(touched)).to_messages(control_pb2.Control)
