"""Orders, answers, conclusions and deadlines of controls: whether each fits a consignment, and the states and events that it leads to. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from libs.columns import Bools, Column, Ragged, Strings, Table
from luxor.clearance.v1 import control_pb2 as pb
from luxor.consignment.v1 import consignment_pb2
from services.clearance.consignment.columns import choose
from services.clearance.consignment.controls.control import (
    CONTROLS_MAX,
    MATCHED,
    WITH_REFERRALS_MAX,
    Control,
    ControlResult,
    asked_to_control,
    controls_of,
    event_of_conclusion,
    event_of_order,
    is_forbidden,
    with_controls,
)
from services.clearance.consignment.decision import AUTOMATIC, CUSTOMS_CHECK, OFFICER_HOLD, STATED_BY_OFFICER
from services.clearance.consignment.proposals.proposal import requires_second
from services.clearance.consignment.screening import with_reason
from services.clearance.consignment.transitions import Event

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

FOREIGN = "CONSIGNMENT_UNKNOWN"
UNKNOWN = "CONTROL_UNKNOWN"
CONCLUDED = "CONTROL_CONCLUDED"
ALARM = "SCREENING_ALARM"
"""Reason of a do-not-load that follows from the alarm of a screening; risk recommends it by the same one."""
CLEAR = "SCREENING_CLEAR"
"""Reason of a request for a screening that ends because the screening found nothing."""
UNANSWERED = "REFERRAL_UNANSWERED"
"""Reason of a do-not-load that follows from a referral without an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one control."""

    number: int
    text: str
    documents: tuple[str, ...]
    screening_result: int = 0
    """luxor.consignment.v1.ScreeningResult; 0 for other forms than SCREENING."""
    by: str = ""
    """Id of the caller."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The conclusion of one control."""

    number: int
    result: ControlResult
    reason: str
    note: str


def unfit_to_order(states: Table, orders: Mapping[str, Control], agency: str) -> list[str]:
    """Return for each state why its control cannot be ordered, "" if only the transitions may refuse it.

    `agency` is the id of the agency that orders, "" for an officer: to an agency, consignments that it was never asked to control are unknown.
    """

    found = _Secrets(states)

    def reason(order: Control, controls: Sequence[Control], arrived: bool, row: int) -> str:
        if order.refers and arrived:
            return "REFERRAL_AFTER_ARRIVAL"
        order = found.masked(order, row, agency)
        if not agency and found.reveals(order, row):
            return "CONTROL_TEXT_REVEALS_REASON"
        if order.form == pb.CONTROL_FORM_DO_NOT_LOAD and is_forbidden(
            controls, order.reason, order.confidential_reason
        ):
            return "DO_NOT_LOAD_STANDS"
        return "CONTROLS_TOO_MANY" if len(controls) >= (WITH_REFERRALS_MAX if order.refers else CONTROLS_MAX) else ""

    there = zip(
        states.strings("mrn").tolist(),
        _foreign(states, agency),
        controls_of(states),
        states.ints("arrived_at").valid.tolist(),
        strict=True,
    )
    return [
        FOREIGN if foreign else reason(orders[mrn], controls, arrived, row)
        for row, (mrn, foreign, controls, arrived) in enumerate(there)
    ]


class _Secrets:
    """What others than officers and analysts may not read of the findings of states."""

    def __init__(self, states: Table) -> None:
        findings = states.child("findings")
        self._lists = states.ragged("findings")
        self._confidential = findings.bools("confidential").values.tolist()
        self._reasons, self._entries = (findings.strings(name).tolist() for name in ("reason", "list_entry"))

    def masked(self, order: Control, row: int, agency: str) -> Control:
        """Return the order as others read it: the reason of a confidential finding, and that of a match, are CUSTOMS_CHECK to them."""
        if agency or order.confidential_reason or order.reason not in self._secret(row) | {MATCHED}:
            return order
        return replace(order, reason=CUSTOMS_CHECK, confidential_reason=order.reason)

    def reveals(self, order: Control, row: int) -> bool:
        """Return whether text or pointer state a confidential reason of goods or order, as it is written or in words, or the entry of a list."""
        reasons = self._secret(row) | {order.confidential_reason}
        words = reasons | {each.replace("_", " ") for each in reasons} | set(self._entries[self._lists.span(row)])
        pattern = "|".join(rf"(?<!\w){re.escape(each)}(?!\w)" for each in words if each)
        return bool(pattern) and re.search(pattern, f"{order.text}\n{order.pointer}", re.IGNORECASE) is not None

    def _secret(self, row: int) -> set[str]:
        span = range(*self._lists.span(row).indices(len(self._reasons)))
        return {self._reasons[each] for each in span if self._confidential[each]}


def ordering(
    states: Table,
    at: int,
    orders: Mapping[str, Control],
    by: str,
    terms: Callable[[Control, str, int], Control],
    agency: str = "",
) -> tuple[Table, IntArray]:
    """Return the states with a further control each, by MRN, before the event is applied, and the events.

    `terms` completes an order by the parameters of an office, given the instant; `agency` as of `unfit_to_order`.
    """
    found, mrns = _Secrets(states), states.strings("mrn").tolist()
    named = zip(mrns, states.strings("office").tolist(), strict=True)
    chosen = [terms(found.masked(orders[mrn], row, agency), office, at) for row, (mrn, office) in enumerate(named)]
    lists = [_ordered(controls, order, at, by) for controls, order in zip(controls_of(states), chosen, strict=True)]
    return with_controls(states, lists), np.array([event_of_order(each) for each in chosen], np.int64)


def unfit_to_answer(states: Table, answers: Mapping[str, Answer], addressee: int) -> list[str]:
    """Return for each state why the control cannot be answered by this addressee, "" if it can."""

    def reason(control: Control | None, answer: Answer) -> str:
        if control is None or control.addressee != addressee:
            return UNKNOWN
        if not control.is_open:
            return CONCLUDED
        screens = control.form == pb.CONTROL_FORM_SCREENING
        return "" if screens == bool(answer.screening_result) else "SCREENING_RESULT_UNFIT"

    named = named_controls(states, {mrn: each.number for mrn, each in answers.items()})
    return [reason(each, answers[mrn]) for mrn, each in zip(states.strings("mrn").tolist(), named, strict=True)]


def answering(states: Table, at: int, answers: Mapping[str, Answer]) -> tuple[Table, IntArray]:
    """Return the states with the answers, before the event is applied, and the events.

    Before the arrival, the alarm of a screening forbids the loading at once, and a first result that is clear ends what risk requested: it answers
    each recommendation to screen, unless a rule requires that officers end it. After the arrival no answer ends a request, and an alarm holds the
    goods for an officer.
    """
    given = [answers[mrn] for mrn in states.strings("mrn").tolist()]
    before = controls_of(states)
    arrived = states.ints("arrived_at").valid.tolist()
    judged = (states.ints("arrived_at").valid | requires_second(states)).tolist()
    lists = [
        _answered(controls, each, at, arrived=there, judged=by_officers)
        for controls, each, there, by_officers in zip(before, given, arrived, judged, strict=True)
    ]
    alarms = [_alarms(each) and there for each, there in zip(given, arrived, strict=True)]
    table, _ = _after(states, before, lists, np.array(alarms, np.bool_))
    return table, np.array([_event_of_answer(controls, at) for controls in lists], np.int64)


def _event_of_answer(controls: Sequence[Control], at: int) -> Event:
    if any(each.ordered_at == at for each in controls):
        return Event.DOCUMENTS_REQUESTED
    concluded = any(each.concluded_at == at for each in controls)
    # A screening is no examination, so that none of these ended.
    return event_of_conclusion(controls, examined=False) if concluded else Event.CONTROL_ANSWERED


def _answered(
    controls: Sequence[Control], answer: Answer, at: int, *, arrived: bool, judged: bool
) -> Sequence[Control]:
    """Return the controls of a consignment after an answer to one of them; `judged`: only officers end what it answers."""

    def change(control: Control) -> Control:
        after = replace(
            control,
            answered_at=at,
            answer=answer.text,
            documents=answer.documents,
            screening_result=answer.screening_result,
            answered_by=answer.by,
        )
        clear = answer.screening_result == consignment_pb2.SCREENING_RESULT_CLEAR and not judged
        # An officer judges a result that differs from an earlier one, which may have been an alarm.
        ends = clear and control.ordered_by == AUTOMATIC and control.answered_at is None
        return after.concluded(ControlResult.CONFORM, at, reason=CLEAR) if ends else after

    after = _replaced(controls, answer.number, change)
    return _forbidden(after, at, ALARM) if _alarms(answer) and not arrived else after


def _alarms(answer: Answer) -> bool:
    return answer.screening_result == consignment_pb2.SCREENING_RESULT_ALARM


def unfit_to_conclude(states: Table, conclusions: Mapping[str, Conclusion], agency: str) -> list[str]:
    """Return for each state why the control cannot be concluded so, "" if it can; `agency` is the id of the agency that concludes, "" for an officer.

    An agency concludes its own controls. An officer concludes those of customs, and may withdraw those of agencies, never find them in order.
    """
    named = named_controls(states, {mrn: each.number for mrn, each in conclusions.items()})

    def reason(control: Control | None, conclusion: Conclusion) -> str:
        if control is None or (agency and control.authority != agency):
            return UNKNOWN
        if not control.is_open:
            return CONCLUDED
        lifts = conclusion.result is not ControlResult.NOT_CONFORM
        if control.form == pb.CONTROL_FORM_DO_NOT_LOAD and not lifts:
            return "DO_NOT_LOAD_STANDS"
        foreign = control.authority != agency
        return "CONTROL_OF_AGENCY" if foreign and conclusion.result is not ControlResult.WITHDRAWN else ""

    mrns = states.strings("mrn").tolist()
    return [
        FOREIGN if foreign else reason(each, conclusions[mrn])
        for mrn, foreign, each in zip(mrns, _foreign(states, agency), named, strict=True)
    ]


def may_free(states: Table, conclusions: Mapping[str, Conclusion]) -> BoolArray:
    """Return of which states a conclusion is that of the last open control and no other hold is known, so that it may release the goods."""
    named = [conclusions[mrn] for mrn in states.strings("mrn").tolist()]
    last = [
        each.result is not ControlResult.NOT_CONFORM
        and all(control.number == each.number for control in controls if control.is_open)
        for each, controls in zip(named, controls_of(states), strict=True)
    ]
    return states.bools("control_hold").values & np.array(last, np.bool_)


def concluding(states: Table, at: int, conclusions: Mapping[str, Conclusion], by: str) -> tuple[Table, IntArray]:
    """Return the states with the results, before the event is applied, and the events. What is not in order is held by an officer from now on."""
    given = [conclusions[mrn] for mrn in states.strings("mrn").tolist()]

    def concluded(controls: Sequence[Control], each: Conclusion, version: int) -> list[Control]:
        def end(control: Control) -> Control:
            after = control.concluded(each.result, at, by=by, reason=each.reason, note=each.note)
            return replace(after, filing_version=version)

        return _replaced(controls, each.number, end)

    before, versions = controls_of(states), states.ints("filing_version").values.tolist()
    lists = [concluded(*each) for each in zip(before, given, versions, strict=True)]
    failed = np.array([each.result is ControlResult.NOT_CONFORM for each in given], np.bool_)
    return _after(states, before, lists, failed)


def due(states: Table, at: int) -> tuple[Table, IntArray, BoolArray, BoolArray]:
    """Return the states after the reminders and deadlines that are due at an instant, before the event is applied; the events; which states have one;
    and which of these filers and carriers need not know of, because nobody is to answer.
    """
    before = controls_of(states)
    arrived = states.ints("arrived_at").valid.tolist()
    lists = [_all_due(controls, at, arrived=there) for controls, there in zip(before, arrived, strict=True)]
    changed = np.array([old != new for old, new in zip(before, lists, strict=True)], np.bool_)
    unanswered = np.array([any(each.concluded_at == at for each in controls) for controls in lists], np.bool_)
    silent = np.array(
        [
            not any(new.addressee for old, new in zip(olds, news, strict=False) if old != new)
            for olds, news in zip(before, lists, strict=True)
        ],
        np.bool_,
    )
    holds = np.array(
        [
            any(each.concluded_at == at and not _forbids(each, there) for each in controls)
            for controls, there in zip(lists, arrived, strict=True)
        ],
        np.bool_,
    )
    table, events = _after(states, before, lists, holds & changed)
    events = np.where(unanswered, events, np.int64(Event.CONTROL_REMINDED))
    forbidden = np.array([any(each.ordered_at == at for each in controls) for controls in lists], np.bool_)
    forbidden &= changed & (events != Event.EXAMINATION_CONCLUDED)
    events = np.where(forbidden, np.int64(Event.DOCUMENTS_REQUESTED), events)
    return table, events, changed, silent & ~unanswered


def _all_due(controls: Sequence[Control], at: int, *, arrived: bool) -> Sequence[Control]:
    """Return the controls of a consignment after what is due; a referral without an answer forbids the loading of goods that have not arrived."""
    after = [_due(each, at) for each in controls]
    late = [each for each in after if each.concluded_at == at and _forbids(each, arrived)]
    return _forbidden(after, at, UNANSWERED) if late else after


def _forbids(control: Control, arrived: bool) -> bool:
    """Return whether the goods may not be loaded without an answer to a referral."""
    return control.when_overdue == pb.CONTROL_OVERDUE_DO_NOT_LOAD and not arrived


def _due(control: Control, at: int) -> Control:
    """Return a control after its reminder or deadline, if that is due; where both are due, the deadline counts."""
    if control.next_at is None or control.next_at > at:
        return control
    if control.due_at is None or control.due_at > at:
        return replace(control, reminded_at=at)
    late = replace(control, overdue_at=at)
    stays = control.when_overdue not in (pb.CONTROL_OVERDUE_CONCLUDE, pb.CONTROL_OVERDUE_DO_NOT_LOAD)
    return late if stays else late.concluded(ControlResult.UNANSWERED, at)


def _ordered(controls: Sequence[Control], order: Control, at: int, by: str) -> list[Control]:
    return [*controls, replace(order, number=len(controls) + 1, ordered_at=at, ordered_by=by).reminding()]


def _forbidden(controls: Sequence[Control], at: int, reason: str) -> Sequence[Control]:
    """Return the controls of a consignment with a do-not-load that follows from a rule, unless one with this reason stands already."""
    if is_forbidden(controls, reason):
        return controls
    return _ordered(controls, Control(number=0, form=pb.CONTROL_FORM_DO_NOT_LOAD, reason=reason), at, AUTOMATIC)


def _after(
    states: Table, before: Sequence[Sequence[Control]], lists: Sequence[Sequence[Control]], failed: BoolArray
) -> tuple[Table, IntArray]:
    """Return states with their new controls, held by an officer in the rows `failed`, and the event of a conclusion each."""
    examined = [any(each.is_open and each.examines for each in controls) for controls in before]
    events = [event_of_conclusion(controls, examined=each) for controls, each in zip(lists, examined, strict=True)]
    columns: dict[str, Column] = {"officer_hold": Bools.of(states.bools("officer_hold").values | failed)}
    if failed.any():
        reasons = with_reason(states.ragged("reasons"), Strings.constant(OFFICER_HOLD, states.rows), failed)
        # Filers read a match as an officer's hold, so that its reason must not reappear with the hold that follows from the control.
        matched = failed & states.bools("screening_hold").values & ~states.bools("screening_early").values
        stated = Ragged.of_lengths(
            np.full(states.rows, len(STATED_BY_OFFICER)), Strings.of(STATED_BY_OFFICER * states.rows)
        )
        columns["reasons"] = choose(matched, stated, reasons) if matched.any() else reasons
    return with_controls(states, lists).with_columns(columns), np.array(events, np.int64)


def _foreign(states: Table, agency: str) -> list[bool]:
    """Return which consignments are unknown to the caller: those that an agency was never asked to control."""
    asked: list[bool] = (asked_to_control(states, agency) | (agency == "")).tolist()
    return [not each for each in asked]


def named_controls(states: Table, numbers: Mapping[str, int]) -> list[Control | None]:
    """Return for each state the control that is named by its number, None if there is none."""
    return [
        next((each for each in controls if each.number == numbers[mrn]), None)
        for mrn, controls in zip(states.strings("mrn").tolist(), controls_of(states), strict=True)
    ]


def _replaced(controls: Sequence[Control], number: int, change: Callable[[Control], Control]) -> list[Control]:
    return [change(each) if each.number == number else each for each in controls]
