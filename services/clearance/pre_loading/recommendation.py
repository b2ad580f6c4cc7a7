"""What risk recommends before loading, as columns of the state and as referrals. Pure.

Risk answers each version of a filing once, so that the loop goes through the filing: a new version is assessed anew, and what is not recommended any
more ends. Text and documents of an answer are for officers; of a screening, a clear result ends the request and an alarm forbids the loading
(consignment/controls/steps.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Bools, Column, Ints, Strings, Table, among
from luxor.clearance.v1 import control_pb2
from luxor.consignment.v1 import consignment_pb2
from luxor.risk.v1 import risk_pb2
from services.clearance.consignment.assessment import Misaligned
from services.clearance.consignment.controls.control import (
    MATCHED,
    NEUTRAL_TEXTS,
    WITH_REFERRALS_MAX,
    Control,
    ControlResult,
    controls_of,
    event_of_conclusion,
    event_of_order,
    is_forbidden,
    with_controls,
)
from services.clearance.consignment.controls.pre_loading import PreLoading
from services.clearance.consignment.decision import AUTOMATIC, CUSTOMS_CHECK
from services.clearance.consignment.proposals.proposal import requires_second
from services.clearance.consignment.transitions import FINAL, State
from services.clearance.pre_loading.parameters import Parameters

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

REASSESSED: Final = "REASSESSED"
"""Reason of a request that ends because risk does not recommend it for a new version of the filing."""
_SECOND: Final = "pre_loading_second_person"
_UNDISCLOSED: Final = ("SCORE_HIGH",)
"""Reasons of risk that filers may not read though no finding is confidential: they could avoid what scores high."""
_FORMS: Final[dict[int, int]] = {
    risk_pb2.REFERRAL_INFORMATION: control_pb2.CONTROL_FORM_INFORMATION,
    risk_pb2.REFERRAL_SCREENING: control_pb2.CONTROL_FORM_SCREENING,
    risk_pb2.REFERRAL_DO_NOT_LOAD: control_pb2.CONTROL_FORM_DO_NOT_LOAD,
}


@dataclass(frozen=True, slots=True)
class Referred:
    """The states of a batch that get referrals, or whose referrals end."""

    places: IntArray
    """Their rows in the batch."""
    states: Table
    events: IntArray


def recommendations(rows: int, places: IntArray, risk: Table) -> dict[str, Column]:
    """Return the columns of `rows` states with what risk recommends for those at `places`.

    Raise Misaligned if the answer has another number of rows, or a recommendation that this release does not know.
    Where the answer has no recommendation, because risk has no parameters of selection, the goods are not assessed.
    """
    if risk.rows != len(places):
        raise Misaligned(f"risk answered {risk.rows} rows to {len(places)} consignments before loading")
    referral = risk.ints("referral")
    unknown = np.setdiff1d(referral.values[referral.valid], [risk_pb2.REFERRAL_UNSPECIFIED, *_FORMS])
    if len(unknown):
        raise Misaligned(f"risk recommended {unknown.tolist()} before loading, which is unknown")
    numbers, known = np.zeros(rows, np.int64), np.zeros(rows, np.bool_)
    numbers[places], known[places] = referral.values, referral.valid
    reasons, pointers, confidential = np.full((3, rows), "", object)
    secret = risk.bools("referral_confidential").values
    items = _items(risk)
    for place, reason, hidden, item in zip(
        places.tolist(), risk.strings("referral_reason").tolist(), secret.tolist(), items, strict=True
    ):
        masked = bool(reason) and (hidden or reason in _UNDISCLOSED)
        reasons[place] = CUSTOMS_CHECK if hidden or masked else reason
        confidential[place] = reason if masked else ""
        pointers[place] = "" if hidden or not item else f"items[{item - 1}]"
    columns: dict[str, Column] = {
        "pre_loading_referral": Ints.of(numbers, known),
        "pre_loading_reason": Strings.of(reasons.tolist()),
        "pre_loading_pointer": Strings.of(pointers.tolist()),
    }
    if any(confidential):
        columns["pre_loading_confidential_reason"] = Strings.of(confidential.tolist())
    required = np.zeros(rows, np.bool_)
    required[places[requires_second(risk)]] = True
    return columns | ({_SECOND: Bools.of(required, required)} if required.any() else {})


def _items(risk: Table) -> list[int]:
    """Return for each consignment the number of the item of the finding that the recommendation names; 0 if it names none."""
    findings, found = risk.ragged("findings"), risk.child("findings")
    reasons, numbers = found.strings("reason").tolist(), found.ints("item_number").filled(0).tolist()
    wanted = risk.strings("referral_reason").tolist()
    places = [range(found.rows)[findings.span(row)] for row in range(risk.rows)]
    return [
        next((numbers[each] for each in span if reason and reasons[each] == reason), 0)
        for span, reason in zip(places, wanted, strict=True)
    ]


def assessed(states: Table, at: int) -> Table:
    """Return the states with the time of the assessment, where it found nothing to refer and the goods have not arrived."""
    if not is_assessed(states):
        return states
    free = _nothing_recommended(states)
    return states.with_columns({"pre_loading_assessed_at": Ints.of(np.where(free, at, 0), free)})


def assessed_on_reversal(states: Table) -> Table:
    """Return states whose arrival is reversed with the time of the assessment, their first decision, where it came after the arrival and found
    nothing to refer. It is stated in the status: the notice is that of the reversal.
    """
    if not is_assessed(states):
        return states
    before = states.ints("pre_loading_assessed_at")
    free = _nothing_recommended(states) & ~before.valid
    decided = states.ints("first_decided_at").filled(0)
    times = Ints.of(np.where(free, decided, before.filled(0)), before.valid | free)
    return states.with_columns({"pre_loading_assessed_at": times})


def _nothing_recommended(states: Table) -> BoolArray:
    """Return of which goods that have not arrived risk judged all and recommends nothing, and no list matches their parties, shape (n,)."""
    referral = states.ints("pre_loading_referral")
    free: BoolArray = referral.valid & (referral.values == risk_pb2.REFERRAL_UNSPECIFIED)
    free &= states.ints("pre_loading_omitted").filled(0) != PreLoading.UNJUDGED
    return free & ~states.bools("screening_hold").values & ~states.ints("arrived_at").valid


def is_assessed(states: Table) -> bool:
    """Return whether any of the states may have been assessed before loading."""
    return states.may_have("pre_loading_referral")


def forbidden_on_arrival(states: Table) -> BoolArray:
    """Return which goods have arrived although they should not have been loaded, shape (n,)."""
    forbidden = states.ints("pre_loading_referral").filled(0) == risk_pb2.REFERRAL_DO_NOT_LOAD
    arrived: BoolArray = forbidden & states.ints("arrived_at").valid
    return arrived


def refer(states: Table, at: int, parameters: Parameters, required: BoolArray | None = None) -> Referred:
    """Return which states get referrals or lose them by what risk recommends, with the events. Where a list matches a party meanwhile, information
    is requested, whatever risk recommends.

    `required`: where a rule requires a second person by the assessment of this version, shape (n,); by default where one is required. There no
    request ends by itself. Elsewhere what an earlier version required ends with the last control that ends so.
    """
    second = states.bools(_SECOND).values
    required = second if required is None else required
    found = _changed(states, at, parameters, _referred, required)
    over = second[found.places] & ~required[found.places]
    if not over.any():
        return found
    is_controlled = [any(each.is_open for each in controls) for controls in controls_of(found.states)]
    stays = second[found.places] & (~over | np.array(is_controlled, np.bool_))
    return replace(found, states=found.states.with_columns({_SECOND: Bools.of(stays, stays)}))


def refer_on_reversal(states: Table, at: int, parameters: Parameters) -> Referred:
    """Return which states, whose arrival is reversed, get the referrals that risk recommended, or that a match of a list requests, and that were not
    ordered while they counted as arrived; what was ordered before, and answered or judged, is not ordered again.
    """

    def missed(controls: list[Control], order: Control | None, referral: int, at: int) -> list[Control]:
        if order is None or any(_settles(each, order) for each in controls):
            return controls
        return _referred(controls, order, referral, at)

    return _changed(states, at, parameters, missed)


def reopen(states: Table, at: int, parameters: Parameters) -> Referred:
    """Return which states get a request for information because a list matches a party after their assessment before loading, with the events.

    An officer ends it: no answer and no screening judges a match. The reason that others read is CUSTOMS_CHECK.
    """

    def added(controls: list[Control], order: Control | None, referral: int, at: int) -> list[Control]:
        # Whatever risk requested stays: the match is a further matter.
        return _referred(controls, order, referral, at) if referral == _BY_MATCH else controls

    rows = np.flatnonzero(states.bools("screening_hold").values)
    found = _changed(states.take(rows), at, parameters, added)
    return replace(found, places=rows[found.places])


_BY_MATCH: Final = risk_pb2.REFERRAL_DO_NOT_LOAD + 1
"""What a match counts as beside what risk recommends, and is none of it: it ends no request."""
_Change = Callable[[list[Control], Control | None, int, int], list[Control]]
"""Return the controls of a consignment after an order, given the recommendation and the instant."""


def _changed(
    states: Table, at: int, parameters: Parameters, change: _Change, judged: BoolArray | None = None
) -> Referred:
    """Return the states of goods that are to be loaded whose controls a change alters, by what risk recommends and then by a match of a list.

    Of those that are `judged`, by default where a second person is required, only officers end requests.
    """
    judged = states.bools(_SECOND).values if judged is None else judged
    reached = ~among(states.ints("state").values, [*FINAL, State.SEIZED, State.RELEASED])
    there = np.flatnonzero(states.ints("pre_loading_referral").valid & ~states.ints("arrived_at").valid & reached)
    chosen = states.take(there)
    names = ("pre_loading_reason", "pre_loading_pointer", "office", "pre_loading_confidential_reason")
    columns = (chosen.strings(name).tolist() for name in names)
    flags = (chosen.bools("screening_hold").values.tolist(), judged[there].tolist())
    facts = zip(chosen.ints("pre_loading_referral").values.tolist(), *columns, *flags, strict=True)
    before, after = controls_of(chosen), []
    for controls, (referral, reason, pointer, office, confidential, match, stays) in zip(before, facts, strict=True):
        # Nothing ends by the highest recommendation.
        order = _order(parameters, referral, reason, pointer, office, confidential, at)
        made = change(controls, order, risk_pb2.REFERRAL_DO_NOT_LOAD if stays else referral, at)
        if match:
            request = _order(parameters, risk_pb2.REFERRAL_INFORMATION, CUSTOMS_CHECK, "", office, MATCHED, at)
            made = change(made, request, _BY_MATCH, at)
        after.append(made)
    changed = [place for place, (old, new) in enumerate(zip(before, after, strict=True)) if list(old) != list(new)]
    events = [_event(before[place], after[place]) for place in changed]
    rows = np.array(changed, np.int64)
    states = with_controls(chosen.take(rows), [after[place] for place in changed])
    return Referred(there[rows], states, np.array(events, np.int64))


def _order(
    parameters: Parameters, referral: int, reason: str, pointer: str, office: str, confidential: str, at: int
) -> Control | None:
    form = _FORMS.get(referral)
    if form is None:
        return None
    order = (
        Control(number=0, form=form)
        if form == control_pb2.CONTROL_FORM_DO_NOT_LOAD
        else parameters.with_terms(parameters.request(form, office), office, at)
    )
    order = replace(
        order, reason=reason, text=NEUTRAL_TEXTS.get(form, ""), pointer=pointer, confidential_reason=confidential
    )
    if confidential == MATCHED:
        # Whatever the parameters say, the end of a deadline judges no match.
        order = replace(order, when_overdue=control_pb2.CONTROL_OVERDUE_ESCALATE)
    return replace(order, ordered_at=at, ordered_by=AUTOMATIC)


def _referred(controls: list[Control], order: Control | None, referral: int, at: int) -> list[Control]:
    """Return the controls of a consignment after an assessment.

    What risk requested itself ends if it recommends less now; a do-not-load and the requests of officers and of a match stay. The highest
    recommendation hides a lower one, so that a request for information stays beside one for a screening.
    """
    over = [
        form for number, form in _FORMS.items() if number > referral and form != control_pb2.CONTROL_FORM_DO_NOT_LOAD
    ]
    after = [
        each.concluded(ControlResult.CONFORM, at, reason=REASSESSED)
        if each.is_open and each.form in over and each.ordered_by == AUTOMATIC and not _follows_match(each)
        else each
        for each in controls
    ]
    if order is None:
        return after
    forbids = order.form == control_pb2.CONTROL_FORM_DO_NOT_LOAD
    same = [each for each in after if each.form == order.form and _follows_match(each) == _follows_match(order)]
    if not forbids and any(each.is_open or _answered(each) for each in same):
        return after
    if len(after) >= WITH_REFERRALS_MAX and not forbids:
        # The goods are forbidden rather than requested of without end.
        order = Control(
            number=0,
            form=control_pb2.CONTROL_FORM_DO_NOT_LOAD,
            reason="REFERRALS_TOO_MANY",
            ordered_at=at,
            ordered_by=AUTOMATIC,
        )
        forbids = True
    if forbids and is_forbidden(after, order.reason, order.confidential_reason):
        return after
    return [*after, replace(order, number=len(after) + 1)]


def _follows_match(control: Control) -> bool:
    return control.confidential_reason == MATCHED


def _settles(control: Control, order: Control) -> bool:
    """Return whether a control of risk makes an order unnecessary: the same is open, or ended otherwise than with the goods."""
    same = control.ordered_by == AUTOMATIC and (control.form, control.reason) == (order.form, order.reason)
    same &= control.confidential_reason in ("", order.confidential_reason)
    return same and control.result != ControlResult.ENDED


def _answered(control: Control) -> bool:
    """Return whether a screening found nothing: it answers further recommendations to screen the goods, as one that is filed does."""
    clear = control.screening_result == consignment_pb2.SCREENING_RESULT_CLEAR
    return clear and control.result == ControlResult.CONFORM


def _event(before: list[Control], after: list[Control]) -> int:
    if len(after) > len(before):
        return event_of_order(after[-1])
    return event_of_conclusion(after, examined=any(each.is_open and each.examines for each in before))
