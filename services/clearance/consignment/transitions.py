"""The states, events and changes of a consignment. lifecycle.py has the table of transitions between them.

The numbers of states, debts and changes are those of luxor.clearance.v1; a test compares them.
"""

from collections.abc import Collection
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray


class State(IntEnum):
    """The state of a consignment."""

    ACCEPTED = 1
    AWAITING_ARRIVAL = 2
    HELD = 3
    RELEASED = 4
    DOCUMENTS_REQUESTED = 5
    EXAMINATION = 6
    SEIZED = 7
    DESTROYED = 8
    RE_EXPORTED = 9
    INVALIDATED = 10
    EXPIRED = 11
    ABANDONED = 12
    CONFISCATED = 13
    EXITED = 14


class Debt(IntEnum):
    """The status of the debt at the border."""

    UNKNOWN = 0
    NONE = 1
    DEFERRED = 2
    SECURED = 3
    PAID = 4
    VENDOR_COLLECTED = 5
    OPEN = 6


class Change(IntEnum):
    """The cause of a version."""

    DECIDED = 1
    ARRIVED = 2
    OFFICER_RELEASED = 3
    OFFICER_HELD = 4
    AMENDED = 5
    INVALIDATED = 6
    AMENDMENT_REFUSED = 7
    INSPECTED = 8
    SCREENING_MATCHED = 9
    REROUTED = 10
    WAIT_ENDED = 11
    DEBT = 12
    REASSESSED = 13
    ADJUSTED = 14
    RETURNED = 15
    SCREENING_MATCH_CLEARED = 16
    ARRIVAL_REVERSED = 17
    SEIZED = 18
    SEIZURE_LIFTED = 19
    DISPOSED = 20
    CONTROL_ORDERED = 21
    CONTROL_ANSWERED = 22
    CONTROL_REMINDED = 23
    CONTROL_CONCLUDED = 24
    EXPIRED = 25
    STORAGE_REMINDED = 26
    STORAGE_ENDED = 27
    RETURN_ORDER_ENDED = 28
    """Of a notice alone: it makes no version."""
    TRANSIT_STARTED = 30
    TRANSIT_ARRIVED = 31
    TRANSIT_OVERDUE = 32
    TRANSIT_ENDED = 33
    PRESENTED = 29
    DECISION_PROPOSED = 34
    PROPOSAL_ENDED = 35
    SCAN_RECORDED = 36
    PRESENTATION_OVERDUE = 37
    EXITED = 38
    EXIT_OVERDUE = 39
    CONTRADICTED = 40


class Event(IntEnum):
    """An event of a consignment; a decision is one of two events, by its verdict."""

    DECIDED_RELEASE = 0
    DECIDED_HOLD = 1
    ARRIVED = 2
    OFFICER_RELEASED = 3
    OFFICER_HELD = 4
    AMENDED_RELEASE = 5
    AMENDED_HOLD = 6
    INVALIDATED = 7
    INSPECTED = 8
    """An officer recorded the result of an inspection; the state does not change."""
    SCREENING_MATCHED = 9
    """A list changed, and a party now matches it."""
    REROUTED = 10
    """The delay of the yellow lane has ended."""
    WAIT_ENDED = 11
    """The time has ended in which an officer may inspect a green consignment."""
    DEBT = 12
    """Revenue announced the status of the debt; the situation contains it."""
    REASSESSED = 13
    """Revenue announced another amount owed; the debt is already evaluated."""
    ADJUSTED = 14
    """An officer corrected value or goods, and revenue assessed it again; the debt is already evaluated."""
    RETURNED = 15
    """Some of the goods were returned."""
    RETURNED_WHOLE = 16
    """All remaining goods were returned."""
    DESTROYED_WHOLE = 17
    """All goods were destroyed."""
    FINDINGS_CHANGED = 18
    """The findings have changed and the state has not: a screening match was cleared of goods that are not held or that something else holds, or a
    consignment that is held already got a further finding.
    """
    SCREENING_MATCH_CLEARED = 19
    """A screening match was cleared, and no other finding holds the goods."""
    ARRIVAL_REVERSED = 20
    """The arrival was recorded in error: the goods have not arrived."""
    SEIZED = 21
    """An officer seized the goods."""
    SEIZURE_LIFTED = 22
    """An officer lifted a seizure; the officer's hold stays."""
    CONFISCATED = 23
    """A seizure became final: the goods belong to the State."""
    DESTROYED = 24
    """Goods that are not released were destroyed under supervision."""
    RE_EXPORTED = 25
    """Goods that are not released left again under a new transport document."""
    ABANDONED = 26
    """The declarant abandoned the goods to the State."""
    INVALIDATED_BY_CUSTOMS = 27
    """Customs invalidated the declaration: the goods never came, or it was lodged twice."""
    DOCUMENTS_REQUESTED = 28
    """Customs or an agency requested documents or information."""
    EXAMINATION_ORDERED = 29
    """Customs or an agency ordered a scan or an examination."""
    CONTROL_ANSWERED = 30
    """The filer or the carrier answered a request for documents or information."""
    CONTROL_REMINDED = 31
    """An answer is due soon, or is late."""
    CONTROL_CONCLUDED = 32
    """A control was concluded, and others are open that lead to the same state."""
    EXAMINATION_CONCLUDED = 33
    """The last scan or examination was concluded, and a request for documents is open."""
    CONTROLS_CONCLUDED = 34
    """The last control was concluded."""
    EXPIRED = 35
    """The goods did not arrive within the days that the office's settings allow."""
    STORAGE_REMINDED = 36
    """The time limit of temporary storage ends soon."""
    STORAGE_ENDED = 37
    """The time limit of temporary storage has ended: an officer decides on the goods."""
    TRANSIT_STARTED = 38
    """The goods left for another office under customs control."""
    TRANSIT_ARRIVED = 39
    """The goods arrived at the office of destination."""
    TRANSIT_ARRIVED_HELD = 40
    """The goods arrived at the office of destination, with differences, or where an officer releases: an officer decides on them."""
    TRANSIT_OVERDUE = 41
    """The goods did not arrive at the office of destination within the time limit."""
    TRANSIT_ENDED = 42
    """An officer ended a movement without an arrival."""
    DECISION_PROPOSED = 43
    """An officer proposed a decision that a second one is to confirm."""
    PROPOSAL_ENDED = 44
    """A proposed decision was refused, withdrawn or lapsed."""
    SCAN_RECORDED = 45
    """The image of a scan and its result were recorded for an open control."""
    PRESENTED = 46
    """The goods were presented to customs, where presentation is an act of its own."""
    PRESENTATION_OVERDUE = 47
    """The goods arrived, and were not presented in time."""
    EXITED = 48
    """Exported goods left. Only exports have this event and the next one: their callers choose them."""
    EXIT_OVERDUE = 49
    """The exit of exported goods was not confirmed in time."""
    COMPLETED_RELEASE = 50
    """A new version completes the filing of goods that were presented. Callers choose it, and the next one, only where no element changes."""
    COMPLETED_HOLD = 51
    CONTRADICTED = 52
    """Contradictions between the filing and parts of other parties began, changed or ended; the state does not change."""


CHANGE_OF: Final = np.array(
    [
        Change.DECIDED,
        Change.DECIDED,
        Change.ARRIVED,
        Change.OFFICER_RELEASED,
        Change.OFFICER_HELD,
        Change.AMENDED,
        Change.AMENDED,
        Change.INVALIDATED,
        Change.INSPECTED,
        Change.SCREENING_MATCHED,
        Change.REROUTED,
        Change.WAIT_ENDED,
        Change.DEBT,
        Change.REASSESSED,
        Change.ADJUSTED,
        Change.RETURNED,
        Change.RETURNED,
        Change.RETURNED,
        Change.SCREENING_MATCH_CLEARED,
        Change.SCREENING_MATCH_CLEARED,
        Change.ARRIVAL_REVERSED,
        Change.SEIZED,
        Change.SEIZURE_LIFTED,
        Change.DISPOSED,
        Change.DISPOSED,
        Change.DISPOSED,
        Change.DISPOSED,
        Change.DISPOSED,
        Change.CONTROL_ORDERED,
        Change.CONTROL_ORDERED,
        Change.CONTROL_ANSWERED,
        Change.CONTROL_REMINDED,
        Change.CONTROL_CONCLUDED,
        Change.CONTROL_CONCLUDED,
        Change.CONTROL_CONCLUDED,
        Change.EXPIRED,
        Change.STORAGE_REMINDED,
        Change.STORAGE_ENDED,
        Change.TRANSIT_STARTED,
        Change.TRANSIT_ARRIVED,
        Change.TRANSIT_ARRIVED,
        Change.TRANSIT_OVERDUE,
        Change.TRANSIT_ENDED,
        Change.DECISION_PROPOSED,
        Change.PROPOSAL_ENDED,
        Change.SCAN_RECORDED,
        Change.PRESENTED,
        Change.PRESENTATION_OVERDUE,
        Change.EXITED,
        Change.EXIT_OVERDUE,
        Change.AMENDED,
        Change.AMENDED,
        Change.CONTRADICTED,
    ],
    np.int64,
)
"""The change of each event."""


def flags_of(members: Collection[Event] | Collection[State] | Collection[Change]) -> NDArray[np.bool_]:
    """Return for each number of an enum whether it is one of `members`: a column of numbers that indexes it costs a fiftieth of `np.isin`."""
    kind = type(next(iter(members)))
    return np.isin(np.arange(max(kind) + 1), list(members))


FINAL: Final = frozenset(
    {
        State.DESTROYED,
        State.RE_EXPORTED,
        State.INVALIDATED,
        State.EXPIRED,
        State.ABANDONED,
        State.CONFISCATED,
        State.EXITED,
    }
)
CONTROLLED: Final = (State.DOCUMENTS_REQUESTED, State.EXAMINATION)
"""States in which a control is open."""
HELD: Final = (State.HELD, *CONTROLLED)
"""States of goods that are held: by a decision, for documents, or for a scan or an examination."""
STAYING: Final = (*HELD, State.SEIZED)
"""States of goods that customs does not let go."""
IS_CONTROLLED: Final = flags_of(CONTROLLED)
IS_HELD: Final = flags_of(HELD)
MONEY: Final = (Event.DEBT, Event.REASSESSED, Event.ADJUSTED)
"""Events that change the debt: an open debt holds what is not released, and a settled one frees what only the debt held."""
CONTROL: Final = (
    Event.DOCUMENTS_REQUESTED,
    Event.EXAMINATION_ORDERED,
    Event.CONTROL_ANSWERED,
    Event.CONTROL_REMINDED,
    Event.CONTROL_CONCLUDED,
    Event.EXAMINATION_CONCLUDED,
    Event.CONTROLS_CONCLUDED,
)
"""Events of controls."""
TRANSIT: Final = (Event.TRANSIT_STARTED, Event.TRANSIT_ARRIVED, Event.TRANSIT_OVERDUE)
"""Events of a movement to another office that are no decisions and end no delay."""
INTERNAL: Final = (Event.DECISION_PROPOSED, Event.PROPOSAL_ENDED, Event.SCAN_RECORDED)
"""Events of decisions that wait for a second person, and of scans: they change no state, and filers and carriers do not see them."""
STORAGE: Final = (Event.STORAGE_REMINDED, Event.STORAGE_ENDED, Event.PRESENTATION_OVERDUE)
"""Events of the time limits of temporary storage and of the presentation before it; they change no state."""
