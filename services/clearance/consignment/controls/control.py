"""The controls and referrals of consignments, as values and as columns of their states. Pure.

Controls are rare, so they are worked on one by one. Source: the referrals and control notifications of ICS2 (IE3Q02, IE3R02, IE3N08) and the
notifications DOC, CTL and QRY of CDS.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from luxor.clearance.v1 import control_pb2 as pb
from luxor.clearance.v1.clearance_columns_pb2 import ControlColumns
from services.clearance.consignment.decision import AUTOMATIC
from services.clearance.consignment.transitions import Event

BoolArray = NDArray[np.bool_]

CONTROLS_MAX: Final = 20
"""Largest number of controls of a consignment when one is ordered that is no referral."""
WITH_REFERRALS_MAX: Final = 40
"""Largest number of controls of a consignment, with its referrals: what others ordered before does not prevent a do-not-load."""
REFERRALS: Final = (pb.CONTROL_FORM_INFORMATION, pb.CONTROL_FORM_SCREENING, pb.CONTROL_FORM_DO_NOT_LOAD)
"""Forms of referrals, which are ordered before the goods are loaded."""
MATCHED: Final = "LIST_MATCH"
"""Confidential reason of a request that follows from a match of a list."""
NEUTRAL_TEXTS: Final[dict[int, str]] = {
    pb.CONTROL_FORM_INFORMATION: "State the data of this consignment more exactly, by an answer.",
    pb.CONTROL_FORM_SCREENING: "Screen the goods and report the result.",
}
"""What is requested before loading, in words that state no reason, where no officer writes it."""
_EXAMINING: Final = (pb.CONTROL_FORM_SCAN, pb.CONTROL_FORM_EXAMINATION)


class ControlResult(IntEnum):
    """The result of a control; the numbers are those of luxor.clearance.v1.ControlResult."""

    CONFORM = 1
    NOT_CONFORM = 2
    WITHDRAWN = 3
    UNANSWERED = 4
    ENDED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A scan for a control; its fields are those of luxor.clearance.v1.Scan."""

    result: int
    taken_at: int
    device: str
    place: str = ""
    image: str = ""
    case_number: int = 0
    sha256: str = ""
    media_type: str = ""
    recorded_at: int = 0
    recorded_by: str = ""
    image_analyst: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One control; its fields are those of luxor.clearance.v1.Control. Times are microseconds since 1970-01-01 UTC, None and 0 stand for absent."""

    number: int
    form: int
    authority: str = ""
    reason: str = ""
    text: str = ""
    pointer: str = ""
    addressee: int = 0
    ordered_at: int = 0
    ordered_by: str = ""
    due_at: int | None = None
    remind_at: int | None = None
    when_overdue: int = 0
    reminded_at: int | None = None
    overdue_at: int | None = None
    answered_at: int | None = None
    answer: str = ""
    documents: tuple[str, ...] = ()
    result: int = 0
    result_reason: str = ""
    note: str = ""
    concluded_at: int | None = None
    concluded_by: str = ""
    filing_version: int = 0
    """Version of the filing that was in force when somebody concluded it; stored, and in no message."""
    screening_result: int = 0
    answered_by: str = ""
    confidential_reason: str = ""
    """The reason of which others than officers and analysts read CUSTOMS_CHECK."""
    facts: str = ""
    """Digest of what an order of goods controls is about; stored, and in no message."""
    scan: Scan | None = None
    """The last scan that was recorded for it."""

    @property
    def is_open(self) -> bool:
        """Whether it is not concluded."""
        return not self.result

    @property
    def examines(self) -> bool:
        """Whether the goods are scanned or examined."""
        return self.form in _EXAMINING

    @property
    def refers(self) -> bool:
        """Whether it is a referral before loading."""
        return self.form in REFERRALS

    @property
    def forbids_loading(self) -> bool:
        """Whether it is a do-not-load that stands."""
        return self.is_open and self.form == pb.CONTROL_FORM_DO_NOT_LOAD

    @property
    def next_at(self) -> int | None:
        """When the reminder or the deadline is due; None if nothing is: it has no deadline, or the authority acts next."""
        if not self.is_open or self.overdue_at is not None or self.answered_at is not None:
            return None
        if self.remind_at is not None and self.reminded_at is None:
            return self.remind_at
        return self.due_at

    @property
    def waits_since(self) -> int | None:
        """Since when it waits without a timer: for its authority since the answer, else since the order; a do-not-load waits for nobody."""
        if not self.is_open or self.next_at is not None or self.forbids_loading:
            return None
        return self.ordered_at if self.answered_at is None else self.answered_at

    def reminding(self) -> "Control":
        """Return the control with a reminder to the agency that carries it out, when a quarter of its time is left, unless it has one."""
        if not self.authority or self.addressee or self.due_at is None or self.remind_at is not None:
            return self
        return replace(self, remind_at=self.due_at - (self.due_at - self.ordered_at) // 4)

    def touched_at(self, at: int) -> bool:
        """Return whether something happened to it at an instant."""
        return at in (self.ordered_at, self.answered_at, self.reminded_at, self.overdue_at, self.concluded_at)

    def concluded(
        self, result: ControlResult, at: int, *, by: str = AUTOMATIC, reason: str = "", note: str = ""
    ) -> "Control":
        """Return the control with its result."""
        return replace(self, result=int(result), concluded_at=at, concluded_by=by, result_reason=reason, note=note)


_SCHEMA: Final = schema_of(ControlColumns)
_TEXTS: Final = (
    "authority",
    "reason",
    "text",
    "pointer",
    "ordered_by",
    "answer",
    "answered_by",
    "result_reason",
    "note",
    "concluded_by",
    "facts",
    "confidential_reason",
)
_TIMES: Final = ("due_at", "remind_at", "reminded_at", "overdue_at", "answered_at", "concluded_at")
_NUMBERS: Final = (
    "number",
    "form",
    "addressee",
    "ordered_at",
    "when_overdue",
    "result",
    "screening_result",
    "filing_version",
)
"""Numbers of which 0 stands for absent."""
SCAN_TEXTS: Final = ("place", "image", "sha256", "media_type", "device", "recorded_by", "image_analyst")
SCAN_NUMBERS: Final = ("result", "case_number", "taken_at", "recorded_at")
"""Columns of scans, without the prefix `scan_`."""


def has_controls(states: Table) -> bool:
    """Return whether any of the states has a control."""
    return states.may_have("controls") and states.child("controls").rows > 0


def is_forbidden(controls: Iterable[Control], reason: str, confidential: str = "") -> bool:
    """Return whether a do-not-load with this reason stands; each reason has its own, so that lifting one lifts no other.

    What an earlier release ordered for a confidential reason states none, and stands for all of them.
    """
    return any(
        each.forbids_loading and each.reason == reason and each.confidential_reason in ("", confidential)
        for each in controls
    )


def asked_to_control(states: Table, agency: str) -> BoolArray:
    """Return of which states an agency was asked to control the goods, shape (n,)."""
    asked = np.zeros(states.rows, np.bool_)
    if has_controls(states):
        own = states.child("controls").strings("authority").isin({agency})
        asked[states.ragged("controls").owners()[own]] = True
    return asked


def controls_of(states: Table) -> list[list[Control]]:
    """Return the controls of each state, by number."""
    if not has_controls(states):
        return [[] for _ in range(states.rows)]
    lists, table = states.ragged("controls"), states.child("controls")
    columns: dict[str, list[Any]] = {name: table.strings(name).tolist() for name in _TEXTS}
    columns |= {name: table.ints(name).tolist() for name in _TIMES}
    columns |= {name: table.ints(name).filled(0).tolist() for name in _NUMBERS}
    documents = table.ragged("documents")
    assert isinstance(documents.values, Strings)
    numbers = documents.values.tolist()
    columns["scan"] = _scans_of(table)
    found = [
        Control(
            **{name: values[row] for name, values in columns.items()}, documents=tuple(numbers[documents.span(row)])
        )
        for row in range(table.rows)
    ]
    return [found[lists.span(row)] for row in range(states.rows)]


def _scans_of(table: Table) -> list[Scan | None]:
    if not table.may_have("scan_result"):
        return [None] * table.rows
    columns: dict[str, list[Any]] = {name: table.strings(f"scan_{name}").tolist() for name in SCAN_TEXTS}
    columns |= {name: table.ints(f"scan_{name}").filled(0).tolist() for name in SCAN_NUMBERS}
    return [
        Scan(**{name: values[row] for name, values in columns.items()}) if columns["result"][row] else None
        for row in range(table.rows)
    ]


def column_of(lists: Sequence[Sequence[Control]]) -> Ragged:
    """Return the column `controls` of states with these controls."""
    flat = [control for each in lists for control in each]
    columns: dict[str, Column] = {name: Strings.of([getattr(each, name) for each in flat]) for name in _TEXTS}
    columns |= {name: _ints([getattr(each, name) for each in flat]) for name in _TIMES}
    columns |= {name: _ints([getattr(each, name) or None for each in flat]) for name in _NUMBERS}
    columns["documents"] = Ragged.of_lengths(
        [len(each.documents) for each in flat], Strings.of([text for each in flat for text in each.documents])
    )
    if any(each.scan for each in flat):
        scans = [each.scan for each in flat]
        for name in SCAN_TEXTS:
            columns[f"scan_{name}"] = Strings.of([getattr(each, name) if each else "" for each in scans])
        for name in SCAN_NUMBERS:
            columns[f"scan_{name}"] = _ints([getattr(each, name) or None if each else None for each in scans])
    return Ragged.of_lengths([len(each) for each in lists], Table(_SCHEMA, len(flat), columns))


def with_controls(states: Table, lists: Sequence[Sequence[Control]]) -> Table:
    """Return states with these controls."""
    return states.with_columns({"controls": column_of(lists)})


def ended(states: Table, rows: BoolArray, at: int) -> Ragged:
    """Return the column `controls` after the goods of some rows ended or were seized: their open controls are concluded."""
    return column_of(
        [
            [each.concluded(ControlResult.ENDED, at) if over and each.is_open else each for each in controls]
            for controls, over in zip(controls_of(states), rows.tolist(), strict=True)
        ]
    )


def event_of_order(control: Control) -> Event:
    """Return the event of an order; a referral is a request, and so is a do-not-load, which waits for an officer."""
    return Event.EXAMINATION_ORDERED if control.examines else Event.DOCUMENTS_REQUESTED


def event_of_conclusion(controls: Iterable[Control], *, examined: bool) -> Event:
    """Return the event after one of a consignment's controls was concluded; `examined`: a scan or an examination was open before."""
    left = [each for each in controls if each.is_open]
    if not left:
        return Event.CONTROLS_CONCLUDED
    still = any(each.examines for each in left)
    return Event.EXAMINATION_CONCLUDED if examined and not still else Event.CONTROL_CONCLUDED


def _ints(values: Sequence[int | None]) -> Ints:
    return Ints.of(
        np.array([value or 0 for value in values], np.int64),
        np.array([value is not None for value in values], np.bool_),
    )
