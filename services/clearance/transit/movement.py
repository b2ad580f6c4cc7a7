"""How a movement to another office begins and ends, and the resulting states. Pure.

Law: UCC, articles 226 (external transit), 233(1) and (2) (obligations; the procedure ends when goods and information are at the office of
destination), 215(2) (discharge by comparison of both offices), 79 (a debt is incurred where the obligations are not met).
"""

from collections.abc import Container
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

import numpy as np

from libs.columns import Column, Ints, Strings, Table, among
from services.clearance.consignment.columns import in_transit, was_moved
from services.clearance.consignment.decision import OFFICER_HOLD, lacks_parts
from services.clearance.consignment.inspection import open_violations
from services.clearance.consignment.presentation.times import unpresented
from services.clearance.consignment.proposals.proposal import requires_second
from services.clearance.consignment.screening import with_reason
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.state.times import never_released
from services.clearance.consignment.transitions import HELD, Event, State
from services.clearance.temporary_storage.limits import ends
from services.clearance.transit.limits import TransitRule, rules_of

DIFFERENCES: Final = "TRANSIT_DIFFERENCES"
"""The reason of goods that arrived with differences."""
OFFICER_RELEASES: Final = "TRANSIT_ARRIVED"
"""The reason of goods that arrived where an officer releases."""


class TransitOutcome(IntEnum):
    """How a movement ended; the numbers are those of luxor.clearance.v1.TransitOutcome."""

    ARRIVED = 1
    ARRIVED_FOR_OFFICER = 2
    ENDED = 3
    LOST = 4


class TransitStep(Protocol):
    """A step of movements: it begins or ends them."""

    @property
    def officer(self) -> str:
        """The officer who takes it; "" for a carrier."""
        ...

    @property
    def ends_claims(self) -> bool:
        """Whether the goods are handled by another office from then on, so that claims from before the movement end."""
        ...

    def unfit(self, states: Table, at: int) -> list[str]:
        """Return for each state why the step does not fit at an instant, "" if nothing but the transitions may refuse it."""
        ...

    def apply(self, states: Table, at: int) -> tuple[Table, EventDetails]:
        """Return the prepared states and the event of each."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitStart:
    """The beginning of movements."""

    officer: str
    destination: str
    limit_days: int
    """0 for the usual limit of the jurisdiction."""
    seal: str
    document: str
    guarantee: str
    note: str
    carriers_start: bool = True
    """Whether carriers begin movements where the rules let them."""
    claimed: Container[str] = ()
    """MRNs of goods on which an officer works, so that no carrier moves them."""
    rules: tuple[TransitRule, ...]
    ends_claims: bool = False

    def unfit(self, states: Table, at: int) -> list[str]:
        """Return why goods may not be moved so: the rules, the carrier's role, and what holds them.

        What a carrier may not know has one refusal, which no other one precedes or follows.
        """
        rules = rules_of(states, at, self.rules)
        state = states.ints("state").values
        movable = among(state, (State.AWAITING_ARRIVAL, *HELD)) & states.ints("arrived_at").valid
        movable &= ~in_transit(states) & ~unpresented(states)
        provided, own = rules.provided, states.strings("office").isin({self.destination})
        withheld, alone = np.zeros(states.rows, np.bool_), np.zeros(states.rows, np.bool_)
        if self.officer:
            alone = requires_second(states) & among(state, HELD) & ~_held_by_debt(states)
        else:
            provided = provided & rules.carrier_starts & self.carriers_start
            withheld = own | self._withheld(states, at)
        causes = (
            ("TRANSIT_NOT_POSSIBLE", ~never_released(states)),
            ("TRANSIT_NOT_PROVIDED", ~provided),
            ("TRANSIT_LIMIT_OUT_OF_BOUNDS", rules.longest_days < self.limit_days),
            ("TRANSIT_NOT_PROVIDED", withheld),
            ("TRANSIT_OFFICE_OWN", own),
            ("TRANSIT_SECOND_PERSON", alone),
        )
        found = np.zeros(states.rows, np.int64)
        for number, (_, where) in reversed(list(enumerate(causes, start=1))):
            found[movable & where] = number
        return [causes[number - 1][0] if number else "" for number in found.tolist()]

    def _withheld(self, states: Table, at: int) -> np.ndarray:
        """Return which goods no carrier moves, shape (n,).

        Something beside their debt holds them, an officer works on them or has time to inspect them, or they would escape the limit of temporary
        storage.
        """
        delay, limit = states.ints("release_not_before"), ends(states).at
        found = ~_held_by_debt(states) | (delay.valid & (delay.values > at))
        # The end counts from its moment, however late the timer is that records it.
        found |= was_moved(states) | states.ints("storage_ended_at").valid | (limit.valid & (limit.values <= at))
        if self.claimed:
            found |= states.strings("mrn").map(self.claimed.__contains__, np.bool_)
        return found

    def apply(self, states: Table, at: int) -> tuple[Table, EventDetails]:
        """Return the states, and the event with the movement."""
        rows = states.rows
        due = rules_of(states, at, self.rules).due_at(at, self.limit_days)
        absent = Ints.absent(rows)
        columns: dict[str, Column] = {
            "transit_departure_office": states.strings("office"),
            "transit_destination_office": Strings.constant(self.destination, rows),
            "transit_started_at": Ints.constant(at, rows),
            "transit_due_at": Ints.of(due),
            "transit_overdue_at": absent,
            "transit_ended_at": absent,
            "transit_outcome": absent,
            "transit_difference": absent,
            "transit_seal": Strings.constant(self.seal, rows),
            "transit_document_number": Strings.constant(self.document, rows),
            "transit_guarantee_reference": Strings.constant(self.guarantee, rows),
        }
        return _noted(states, self.note), EventDetails(event=Event.TRANSIT_STARTED, at=at, columns=columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitArrival:
    """The arrival of goods at the office of destination."""

    officer: str
    office: str = ""
    """Where they arrived; "" for the office of destination."""
    diverts: bool = False
    """Whether goods that moved to another office arrived there too; otherwise they are refused."""
    document: str = ""
    """Number of the transport document of the movement; "" for any."""
    difference: int = 0
    """luxor.clearance.v1.TransitDifference; 0 for none."""
    note: str = ""
    rules: tuple[TransitRule, ...]
    ends_claims: bool = True

    def unfit(self, states: Table, at: int) -> list[str]:
        """Return which goods are on another movement than the one that is reported."""
        other = np.zeros(states.rows, np.bool_)
        if self.office and not self.diverts:
            other |= ~states.strings("transit_destination_office").isin({self.office})
        if self.document:
            other |= ~states.strings("transit_document_number").isin({self.document})
        return ["TRANSIT_MOVEMENT_OTHER" if each else "" for each in (other & in_transit(states)).tolist()]

    def apply(self, states: Table, at: int) -> tuple[Table, EventDetails]:
        """Return the states with the reasons of those on which an officer decides, and the event that discharges the movement of each.

        A limit of temporary storage begins anew.
        """
        rows, absent = states.rows, Ints.absent(states.rows)
        decides = ~rules_of(states, at, self.rules).releases_on_arrival | bool(self.difference)
        offices = states.strings("transit_destination_office")
        if self.office:
            offices = Strings.constant(self.office, rows)
        outcome = np.where(decides, TransitOutcome.ARRIVED_FOR_OFFICER, TransitOutcome.ARRIVED).astype(np.int64)
        difference = np.full(rows, self.difference, np.int64)
        columns: dict[str, Column] = {
            "office": offices,
            "transit_destination_office": offices,
            "transit_ended_at": Ints.constant(at, rows),
            "transit_outcome": Ints.of(outcome),
            "transit_difference": Ints.of(difference, difference > 0),
            "storage_reminded_at": absent,
            "storage_ended_at": absent,
        }
        events = np.where(decides, Event.TRANSIT_ARRIVED_HELD, Event.TRANSIT_ARRIVED).astype(np.int64)
        reason = DIFFERENCES if self.difference else OFFICER_RELEASES
        table = _held_for(_noted(states, self.note), reason, decides)
        return table, EventDetails(event=events, at=at, columns=columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitEnd:
    """The end of movements without an arrival, by an officer, who holds the goods from then on."""

    officer: str
    reason: str
    """Stable reason, which filers read."""
    lost: bool = False
    """Whether the goods are lost or were taken out of supervision, so that what is owed stays due unless they turn up."""
    note: str = ""
    ends_claims: bool = False

    def unfit(self, states: Table, at: int) -> list[str]:
        """Return that nothing but the transitions refuses it."""
        return [""] * states.rows

    def apply(self, states: Table, at: int) -> tuple[Table, EventDetails]:
        """Return the states with the reason, and the event."""
        rows = states.rows
        columns: dict[str, Column] = {
            "transit_ended_at": Ints.constant(at, rows),
            "transit_outcome": Ints.constant(TransitOutcome.LOST if self.lost else TransitOutcome.ENDED, rows),
        }
        table = _held_for(_noted(states, self.note), self.reason, np.ones(rows, np.bool_))
        return table, EventDetails(event=Event.TRANSIT_ENDED, at=at, by=self.officer, columns=columns)


def due_times(states: Table) -> tuple[Ints, Ints]:
    """Return when the limits of goods in transit end, and when that is to be recorded; absent where it was, and for all other goods."""
    moving, due = in_transit(states), states.ints("transit_due_at")
    return Ints.of(due.values, moving), Ints.of(due.values, moving & ~states.ints("transit_overdue_at").valid)


def movements(states: Table) -> list[str | None]:
    """Return what the list of goods in transit states of each: end of the limit, offices, whether it is overdue; None for all other goods."""
    due, following = (each.tolist() for each in due_times(states))
    offices = (states.strings(f"transit_{name}_office").tolist() for name in ("departure", "destination"))
    return [
        None if at is None else f"{at} {departure} {destination}{' overdue' if after is None else ''}"
        for at, after, departure, destination in zip(due, following, *offices, strict=True)
    ]


def _held_by_debt(states: Table) -> np.ndarray:
    """Return which goods nothing holds but their debt, shape (n,)."""
    held = states.bools("officer_hold").values | states.bools("screening_hold").values | open_violations(states)
    held |= lacks_parts(states.ragged("reasons"))
    alone: np.ndarray = (states.ints("state").values == State.HELD) & states.bools("debt_hold").values & ~held
    return alone


def _noted(states: Table, note: str) -> Table:
    return states.with_columns({"note": Strings.constant(note, states.rows)}) if note else states


def _held_for(states: Table, reason: str, rows: np.ndarray) -> Table:
    """Return states in which some goods are held by an officer for a reason, beside what holds them."""
    reasons = states.ragged("reasons")
    for each in (reason, OFFICER_HOLD) if rows.any() else ():
        reasons = with_reason(reasons, Strings.constant(each, states.rows), rows)
    return states.with_columns({"reasons": reasons})
