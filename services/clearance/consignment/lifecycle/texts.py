"""What the documentation says of events and states, and who or what moves a consignment out of each state."""

from dataclasses import dataclass
from typing import Final

from services.clearance.consignment.controls.pre_loading import PreLoading
from services.clearance.consignment.transitions import Event, State

EVENTS: Final = {
    Event.DECIDED_RELEASE: "decision: release",
    Event.DECIDED_HOLD: "decision: hold",
    Event.ARRIVED: "arrival",
    Event.OFFICER_RELEASED: "officer releases",
    Event.OFFICER_HELD: "officer holds",
    Event.AMENDED_RELEASE: "amendment: release",
    Event.AMENDED_HOLD: "amendment: hold",
    Event.INVALIDATED: "withdrawal by the filer",
    Event.INSPECTED: "inspection",
    Event.SCREENING_MATCHED: "screening match",
    Event.REROUTED: "yellow becomes blue",
    Event.WAIT_ENDED: "delay of green ends",
    Event.DEBT: "debt changes",
    Event.REASSESSED: "reassessment",
    Event.ADJUSTED: "adjustment",
    Event.RETURNED: "return of a part",
    Event.RETURNED_WHOLE: "return of the rest",
    Event.DESTROYED_WHOLE: "destruction after release",
    Event.FINDINGS_CHANGED: "findings change",
    Event.SCREENING_MATCH_CLEARED: "match cleared",
    Event.ARRIVAL_REVERSED: "arrival reversed",
    Event.SEIZED: "seizure",
    Event.SEIZURE_LIFTED: "seizure lifted",
    Event.CONFISCATED: "confiscation",
    Event.DESTROYED: "destruction",
    Event.RE_EXPORTED: "re-export",
    Event.ABANDONED: "abandonment",
    Event.INVALIDATED_BY_CUSTOMS: "invalidation by customs",
    Event.DOCUMENTS_REQUESTED: "documents requested",
    Event.EXAMINATION_ORDERED: "scan or examination ordered",
    Event.CONTROL_ANSWERED: "control answered",
    Event.CONTROL_REMINDED: "control due or overdue",
    Event.CONTROL_CONCLUDED: "control concluded, others open",
    Event.EXAMINATION_CONCLUDED: "last examination concluded, documents open",
    Event.CONTROLS_CONCLUDED: "last control concluded",
    Event.EXPIRED: "goods never arrived",
    Event.STORAGE_REMINDED: "temporary storage ends soon",
    Event.STORAGE_ENDED: "temporary storage ended",
    Event.TRANSIT_STARTED: "movement to another office begins",
    Event.TRANSIT_ARRIVED: "arrival at the office of destination",
    Event.TRANSIT_ARRIVED_HELD: "arrival at the office of destination, an officer decides",
    Event.TRANSIT_OVERDUE: "movement overdue",
    Event.TRANSIT_ENDED: "movement ended by an officer",
    Event.DECISION_PROPOSED: "decision proposed to a second person",
    Event.PROPOSAL_ENDED: "proposal refused, withdrawn or lapsed",
    Event.SCAN_RECORDED: "scan recorded",
    Event.PRESENTED: "presentation",
    Event.PRESENTATION_OVERDUE: "presentation overdue",
    Event.EXITED: "exit of exported goods",
    Event.EXIT_OVERDUE: "exit of exported goods not confirmed",
    Event.COMPLETED_RELEASE: "completion after the presentation: release",
    Event.COMPLETED_HOLD: "completion after the presentation: hold",
    Event.CONTRADICTED: "contradictions between parts change",
}
"""The name of each event."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who or what moves a consignment out of a state that is not final."""

    actor: str
    """Who acts, and on what."""
    work_lists: tuple[str, ...] = ()
    """The work lists in which the actor finds it: tables of clearance's store."""
    timers: tuple[Event, ...] = ()
    """Events that come by themselves at a time."""


WAITING: Final = {
    State.ACCEPTED: Waiting(
        "clearance decides in the transaction that stores the consignment, so no version has this state", (), ()
    ),
    State.AWAITING_ARRIVAL: Waiting(
        "the carrier reports the arrival, or the declaration expires; goods that arrived wait for their presentation by the carrier, for the end of "
        "the delay of green, or for their arrival at the office of destination, or an officer ends their movement",
        ("due", "storage", "transit"),
        (Event.EXPIRED, Event.WAIT_ENDED),
    ),
    State.HELD: Waiting(
        "an officer decides; a payment or a cleared match frees what nothing else holds; yellow becomes blue after its days; without an arrival the "
        "declaration expires, unless an officer or a match holds the goods; goods that were not presented in time, or whose temporary storage ended, "
        "are listed for an officer; goods in transit arrive at the office of destination before anybody releases them, or an officer ends their "
        "movement",
        ("held", "due", "storage", "transit"),
        (Event.REROUTED, Event.EXPIRED),
    ),
    State.RELEASED: Waiting(
        "nobody has to act: the goods left customs; an officer audits, inspects or holds some of them, and they may be returned; the carrier "
        "confirms the exit of exported goods, or their declaration is invalidated",
        (),
        (Event.EXIT_OVERDUE,),
    ),
    State.DOCUMENTS_REQUESTED: Waiting(
        "the filer or the carrier answers, and the authority concludes; a deadline is marked as overdue or concludes the control; an officer lifts a "
        "do-not-load",
        ("control", "storage", "transit"),
        (Event.CONTROLS_CONCLUDED,),
    ),
    State.EXAMINATION: Waiting(
        "customs or the partner agency scans or examines the goods, and concludes; a deadline, if there is one, as above",
        ("control", "storage", "transit"),
        (Event.CONTROLS_CONCLUDED,),
    ),
    State.SEIZED: Waiting("an officer confiscates, disposes of the goods or lifts the seizure", ("seized",)),
}
"""Of each state that is reached and not final, who acts."""

LOADING: Final = {
    PreLoading.REFERRED: Waiting(
        "the filer or the carrier answers, and an officer concludes; without an answer by the deadline the request stays open, ends with a hold, or "
        "ends as a do-not-load",
        ("control",),
        (Event.CONTROL_REMINDED, Event.CONTROLS_CONCLUDED, Event.DOCUMENTS_REQUESTED),
    ),
    PreLoading.DO_NOT_LOAD: Waiting(
        "an officer lifts it with a reason; the filer may withdraw the filing, and customs may invalidate it",
        ("control",),
    ),
    PreLoading.COMPLETE: Waiting(
        "nobody has to act; a further referral or do-not-load begins it again before the arrival"
    ),
    PreLoading.UNJUDGED: Waiting(
        "an officer requests information, judges the data and concludes the request as CONFORM; or the goods arrive",
        ("unjudged",),
    ),
}
"""Of each stage of the assessment before loading, who acts."""
