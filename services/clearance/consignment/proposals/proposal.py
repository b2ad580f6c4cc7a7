"""Which goods require a second person, and the proposals of officers, as values and as columns of states. Pure.

Proposals are rare, so they are worked on one by one. Source: the four-eyes principle; risk's rules state for which goods it holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Ragged, Strings, Table, among, schema_of
from luxor.clearance.v1.clearance_columns_pb2 import ProposalColumns
from services.clearance.consignment.decision import AUTOMATIC, same_person
from services.clearance.consignment.transitions import Event

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

PROPOSAL_MICROS: Final = 72 * 3_600 * 1_000_000
"""Time after which a proposal lapses that nobody confirmed."""


class ProposalKind(IntEnum):
    """What was decided; the numbers are those of luxor.clearance.v1.ProposalKind."""

    RELEASE = 1
    CONCLUSION = 2
    DISPOSAL = 3


class ProposalOutcome(IntEnum):
    """How a proposal ended; the numbers are those of luxor.clearance.v1.ProposalOutcome."""

    CONFIRMED = 1
    REFUSED = 2
    WITHDRAWN = 3
    LAPSED = 4
    SUPERSEDED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One proposal; its fields are those of luxor.clearance.v1.Proposal. Times are microseconds since 1970-01-01 UTC, None and 0 stand for absent."""

    kind: int
    reason: str
    note: str
    proposed_by: str
    control_number: int = 0
    control_result: int = 0
    disposal: int = 0
    document_number: str = ""
    proposed_at: int = 0
    due_at: int = 0
    outcome: int = 0
    ended_by: str = ""
    ended_at: int | None = None
    end_reason: str = ""
    end_note: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it waits for a second person."""
        return not self.outcome

    def is_by(self, officer: str) -> bool:
        """Return whether an officer proposed it."""
        return same_person(self.proposed_by, officer)

    def made(self, at: int) -> "Proposal":
        """Return the proposal as made at an instant."""
        return replace(self, proposed_at=at, due_at=at + PROPOSAL_MICROS)

    def ended(
        self, outcome: ProposalOutcome, at: int, *, by: str = AUTOMATIC, reason: str = "", note: str = ""
    ) -> "Proposal":
        """Return the proposal with its outcome."""
        return replace(self, outcome=int(outcome), ended_at=at, ended_by=by, end_reason=reason, end_note=note)


_SCHEMA: Final = schema_of(ProposalColumns)
_TEXTS: Final = ("document_number", "reason", "note", "proposed_by", "ended_by", "end_reason", "end_note")
_NUMBERS: Final = ("kind", "control_number", "control_result", "disposal", "proposed_at", "due_at", "outcome")
"""Numbers of which 0 stands for absent."""
_INDEPENDENT: Final = (
    Event.DECISION_PROPOSED,
    Event.PROPOSAL_ENDED,
    Event.ARRIVED,
    Event.PRESENTED,
    Event.PRESENTATION_OVERDUE,
    Event.DEBT,
    Event.REASSESSED,
    Event.CONTROL_ANSWERED,
    Event.CONTROL_REMINDED,
    Event.STORAGE_REMINDED,
    Event.STORAGE_ENDED,
    Event.TRANSIT_OVERDUE,
    Event.CONTRADICTED,
)
"""Events that end no proposal as long as they do not change the state: whoever confirms names the version, and so has seen them."""


def requires_second(states: Table) -> BoolArray:
    """Return of which states an officer's decision takes effect only when a second officer confirms it, shape (n,)."""
    required = np.zeros(states.rows, np.bool_)
    if "pre_loading_second_person" in states.schema.columns and states.may_have("pre_loading_second_person"):
        required |= states.bools("pre_loading_second_person").values
    found = states.child("findings")
    if found.may_have("second_person"):
        required[states.ragged("findings").owners()[found.bools("second_person").values]] = True
    return required


def has_proposals(states: Table) -> bool:
    """Return whether any of the states has a proposal, open or ended."""
    return states.may_have("proposals") and states.child("proposals").rows > 0


def proposals_of(states: Table) -> list[Proposal | None]:
    """Return the last proposal of each state, None where there is none."""
    if not has_proposals(states):
        return [None] * states.rows
    lists, table = states.ragged("proposals"), states.child("proposals")
    columns: dict[str, list[Any]] = {name: table.strings(name).tolist() for name in _TEXTS}
    columns |= {name: table.ints(name).filled(0).tolist() for name in _NUMBERS}
    columns["ended_at"] = table.ints("ended_at").tolist()
    found = [Proposal(**{name: values[row] for name, values in columns.items()}) for row in range(table.rows)]
    return [next(iter(found[lists.span(row)]), None) for row in range(states.rows)]


def open_proposals(states: Table) -> list[Proposal | None]:
    """Return the open proposal of each state, None where there is none."""
    return [each if each is not None and each.is_open else None for each in proposals_of(states)]


def with_proposals(states: Table, proposals: Sequence[Proposal | None]) -> Table:
    """Return states with these proposals in place of theirs."""
    return states.with_columns({"proposals": _column_of(proposals)})


def superseded(states: Table, events: IntArray, done: BoolArray, after: IntArray, at: int) -> Mapping[str, Column]:
    """Return the column of proposals after events with effect in the rows `done`, which led to the states `after`.

    What changes the goods, the findings or the state ends an open proposal: it was made of something else.
    """
    if not has_proposals(states):
        return {}
    ends = done & (~among(events, _INDEPENDENT) | (after != states.ints("state").values))
    before = proposals_of(states)
    ended = [
        each.ended(ProposalOutcome.SUPERSEDED, at) if each is not None and each.is_open and over else each
        for each, over in zip(before, ends.tolist(), strict=True)
    ]
    return {} if ended == before else {"proposals": _column_of(ended)}


def _column_of(proposals: Sequence[Proposal | None]) -> Ragged:
    there = [each for each in proposals if each is not None]
    columns: dict[str, Column] = {name: Strings.of([getattr(each, name) for each in there]) for name in _TEXTS}
    for name in (*_NUMBERS, "ended_at"):
        values = np.array([getattr(each, name) or 0 for each in there], np.int64)
        columns[name] = Ints.of(values, values > 0)
    return Ragged.of_lengths([int(each is not None) for each in proposals], Table(_SCHEMA, len(there), columns))
