"""How far the assessment before loading has come, by the referrals of a consignment. Pure.

Source: the filing's side of the state machine of ICS2: requests for information and for a screening run in parallel, and the assessment is complete
once none of them is open and no do-not-load stands (IE3Q01 to IE3Q03, IE3N03).
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table, among
from luxor.clearance.v1 import control_pb2
from services.clearance.consignment.controls.control import (
    MATCHED,
    REFERRALS,
    Control,
    ControlResult,
    controls_of,
    has_controls,
)
from services.clearance.consignment.decision import AUTOMATIC
from services.clearance.consignment.transitions import Change, State


class PreLoading(IntEnum):
    """How far the assessment before loading has come; the numbers are those of luxor.clearance.v1.PreLoading."""

    NONE = 0
    """The current filing was not assessed and no referral is open, or the consignment ended before the assessment was complete."""
    REFERRED = 1
    DO_NOT_LOAD = 2
    COMPLETE = 3
    INCOMPLETE = 4
    """The destination asks for the assessment, and the current filing lacks an element of the minimum set."""
    DEPARTED = 5
    """The destination asks for it, and the goods had departed when the filing was accepted."""
    UNJUDGED = 6
    """Risk could not judge all of its rules by the current filing, and no officer judged it instead."""


_WITHOUT_DECLARATION: Final = (State.INVALIDATED, State.EXPIRED)
"""States of consignments whose goods may not travel by their filing, whatever was assessed."""
_OF_FILINGS: Final = (Change.DECIDED, Change.AMENDED)
_TIMES: Final = ("ordered_at", "answered_at", "reminded_at", "overdue_at", "concluded_at")


def pre_loading(controls: Sequence[Control]) -> PreLoading:
    """Return how far the assessment of one consignment has come, provided that its current filing was assessed."""
    referrals = [each for each in controls if each.refers]
    if any(each.forbids_loading for each in referrals):
        return PreLoading.DO_NOT_LOAD
    if any(each.is_open for each in referrals):
        return PreLoading.REFERRED
    ended = any(each.result == ControlResult.ENDED for each in referrals)
    return PreLoading.COMPLETE if referrals and not ended else PreLoading.NONE


def pre_loading_of(states: Table) -> NDArray[np.int64]:
    """Return how far the assessment of each consignment has come, shape (n,). Referrals alone, without an assessment, complete nothing."""
    found = np.where(states.ints("pre_loading_assessed_at").valid, np.int64(PreLoading.COMPLETE), 0)
    rows = np.unique(_owners_of_referrals(states))
    if len(rows):
        found[rows] = [pre_loading(controls) for controls in controls_of(states.take(rows))]
        found[(found == PreLoading.COMPLETE) & ~states.ints("pre_loading_referral").valid] = PreLoading.NONE
    omitted, unjudged = states.ints("pre_loading_omitted"), is_unjudged(states)
    rows = np.flatnonzero(unjudged)
    if len(rows):
        filings = states.take(rows)
        judged = map(_is_judged, controls_of(filings), filings.ints("filing_version").values.tolist())
        unjudged[rows] = [not each for each in judged]
    found[(found == PreLoading.COMPLETE) & unjudged] = PreLoading.NONE
    stated = omitted.valid & (unjudged | (omitted.values != PreLoading.UNJUDGED))
    untold = (found == PreLoading.NONE) & stated & ~states.ints("arrived_at").valid
    found[untold] = omitted.values[untold]
    found[among(states.ints("state").values, _WITHOUT_DECLARATION)] = PreLoading.NONE
    return found


def is_unjudged(states: Table) -> NDArray[np.bool_]:
    """Return of which states risk could not judge all of its rules by the current filing, shape (n,), whatever happened since."""
    if not states.may_have("pre_loading_omitted"):
        return np.zeros(states.rows, np.bool_)
    found: NDArray[np.bool_] = states.ints("pre_loading_omitted").filled(0) == PreLoading.UNJUDGED
    return found


def waits_for_judgement(states: Table) -> NDArray[np.bool_]:
    """Return which goods an officer is to judge in place of risk before they are loaded, shape (n,): those whose stage is UNJUDGED."""
    waits = is_unjudged(states)
    rows = np.flatnonzero(waits)
    if len(rows):
        waits[rows] = pre_loading_of(states.take(rows)) == PreLoading.UNJUDGED
    return waits


def _is_judged(controls: Sequence[Control], filing_version: int) -> bool:
    """Return whether an officer found in order what this version of the filing was to state more exactly, by a request of an officer: a screening
    judges no data, a request of risk or by a list is about another matter, and nobody judged a version that was decided later.
    """
    return any(
        each.form == control_pb2.CONTROL_FORM_INFORMATION
        and each.ordered_by != AUTOMATIC
        and each.confidential_reason != MATCHED
        and each.result == ControlResult.CONFORM
        and each.filing_version == filing_version
        for each in controls
    )


def announced(states: Table) -> NDArray[np.bool_]:
    """Return of which states this version announces something about loading, shape (n,): the goods were assessed, or a referral changed."""
    assessed_at, changed_at = states.ints("pre_loading_assessed_at"), states.ints("changed_at").values
    announced: NDArray[np.bool_] = assessed_at.valid & (assessed_at.values == changed_at)
    omitted = states.ints("pre_loading_omitted")
    stated = omitted.valid & (omitted.values != PreLoading.UNJUDGED)
    announced |= stated & among(states.ints("change").values, _OF_FILINGS)
    owners = _owners_of_referrals(states)
    if len(owners):
        lines = states.child("controls")
        chosen = among(lines.ints("form").values, REFERRALS)
        changed = np.zeros(len(owners), np.bool_)
        for name in _TIMES:
            time = lines.ints(name)
            changed |= (time.valid & (time.values == changed_at[states.ragged("controls").owners()]))[chosen]
        announced[owners[changed]] = True
    return announced


def disclosed(stages: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return stages as filers and carriers read them: whether a rule is unjudged would show what confidential rules read."""
    return np.where(stages == PreLoading.UNJUDGED, np.int64(PreLoading.NONE), stages)


def concerns_loading(states: Table) -> bool:
    """Return whether any of the states may have a stage of the assessment before loading."""
    return has_controls(states) or any(
        states.may_have(name) for name in ("pre_loading_assessed_at", "pre_loading_omitted")
    )


def _owners_of_referrals(states: Table) -> NDArray[np.int64]:
    """Return the row of each referral."""
    if not has_controls(states):
        return np.zeros(0, np.int64)
    referrals = among(states.child("controls").ints("form").values, REFERRALS)
    owners: NDArray[np.int64] = states.ragged("controls").owners()[referrals]
    return owners
