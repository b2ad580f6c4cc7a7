"""The decision: release or hold, by risk's lane and revenue's figures, with its reasons.

Green is released on arrival, blue is too and is audited afterwards, yellow and red are held. Consignments that revenue could not value are held in
every lane. The debt at the border must be settled: nothing is owed, the vendor collected it, or a named account secures it.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Ints, Ragged, Strings
from services.clearance.consignment.columns import values_in_rows
from services.clearance.consignment.transitions import Debt

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class Lane(IntEnum):
    """What risk selects a consignment for."""

    UNASSESSED = 0
    GREEN = 1
    BLUE = 2
    YELLOW = 3
    RED = 4


LANE_REASONS: Final = ("UNASSESSED", "", "LANE_BLUE", "LANE_YELLOW", "LANE_RED")
"""Per lane, the reason if no finding has one."""

CUSTOMS_CHECK: Final = "CUSTOMS_CHECK"
"""Replaces the reasons that filers and carriers may not see: confidential findings, draws and scores. They cannot distinguish these."""
DEBT_OPEN: Final = "DEBT_OPEN"
UNVALUED: Final = "UNVALUED"
INCOMPLETE: Final = "DECLARATION_INCOMPLETE"
"""Stands for revenue's reason where the filing was made before the declaration, so that nothing can be computed yet."""
NO_FIGURES: Final = frozenset(
    {
        UNVALUED, INCOMPLETE, "NO_RULEBOOK", "NO_EXCHANGE_RATE", "AMOUNT_OUT_OF_BOUNDS", "MASS_MISSING", "QUANTITY_MISSING",
    }
)  # fmt: skip
"""Reasons of luxor.revenue.v1.AssessmentColumns, and INCOMPLETE, that are removed once there are figures."""
PARTS_MISSING: Final = "PARTS_MISSING"
"""A part that the jurisdiction requires is missing. It holds the goods in every lane, until a version with all parts or an officer's release."""
OFFICER_HOLD: Final = "OFFICER_HOLD"
STATED_BY_OFFICER: Final = ("OFFICER_DECISION", OFFICER_HOLD)
"""Reasons of an officer's hold without other reasons; filers and carriers read a hold by a screening match as one."""

AUTOMATIC: Final = "automatic"
"""`decided_by` of a decision that no officer took."""
SCREENING: Final = "screening"
"""`decided_by` of a hold that a screening match caused."""


def person_of(officer: str) -> str:
    """Return the person of an officer's id: ids that differ in capitals alone are taken for one person.

    So nobody is a second person with another certificate, and no own claim refuses a decision.
    """
    return officer.casefold()


def same_person(officer: str, other: str) -> bool:
    """Return whether two ids are of one person."""
    return person_of(officer) == person_of(other)


@dataclass(frozen=True, slots=True)
class Assessment:
    """The answers of risk and revenue on n consignments."""

    lane: IntArray
    """Lane of each, shape (n,)."""
    reasons: Ragged
    """Stable reasons of risk's findings, strings, in risk's order; a reason may stand several times. "" where the finding is confidential."""
    undisclosed: BoolArray
    """Whether something that filers are not to know had a part in the lane: a confidential finding, a draw, a score; shape (n,)."""
    unvalued: Strings
    """Why revenue has no figures (NO_RULEBOOK, NO_EXCHANGE_RATE …), "" where it has them."""
    payable: Ints
    """What is to be paid at the border, minor units."""
    vendor_collected: Ints
    """What the vendor collected, minor units."""
    account: Strings
    """Account that secures the debt at the border, "" where there is none."""
    without_debt: BoolArray = field(default_factory=lambda: np.zeros((), np.bool_))
    """Whether it owes nothing though revenue has no figures: correspondence and documents without value, shape (n,); by default none."""
    parts_missing: BoolArray = field(default_factory=lambda: np.zeros((), np.bool_))
    """Whether a required part of the filing is missing, shape (n,); by default none is."""


@dataclass(frozen=True, slots=True)
class BatchDecision:
    """The decision on n consignments."""

    release: BoolArray
    """Whether they are released on arrival; the others are held."""
    audit: BoolArray
    """Whether they are audited after release."""
    reasons: Ragged
    """Stable reasons, strings, each once: why held, or why audited."""
    debt: IntArray
    """Debt status of each."""
    account: Strings
    """Account that secures the debt, "" where none is needed."""
    debt_hold: BoolArray
    """Whether the debt alone holds it, open or not computed."""


def lacks_parts(reasons: Ragged) -> BoolArray:
    """Return which lists of reasons say that a part is missing; one value for all where none does."""
    assert isinstance(reasons.values, Strings)
    if PARTS_MISSING not in reasons.values.dictionary:
        return np.zeros((), np.bool_)
    found = np.zeros(len(reasons.lengths), np.bool_)
    found[reasons.owners()[reasons.values.isin({PARTS_MISSING})]] = True
    return found


def decide(assessment: Assessment) -> BatchDecision:
    """Decide on n consignments."""
    lane = assessment.lane
    why = _unvalued(assessment)
    unvalued = why.present
    debt = _debt(assessment, unvalued)
    open_debt = debt == Debt.OPEN
    clear = ((lane == Lane.GREEN) | (lane == Lane.BLUE)) & ~assessment.parts_missing
    release = clear & ~unvalued & ~open_debt
    return BatchDecision(
        release=release,
        audit=release & (lane == Lane.BLUE),
        reasons=_reasons(assessment, why, open_debt),
        debt=debt,
        account=values_in_rows(assessment.account, debt == Debt.DEFERRED),
        debt_hold=clear & ~release,
    )


def _unvalued(assessment: Assessment) -> Strings:
    """Return why there are no figures; UNVALUED if revenue returned neither figures nor a reason."""
    silent = ~assessment.payable.valid & ~assessment.unvalued.present
    if not silent.any() and not assessment.without_debt.any():
        return assessment.unvalued
    values = assessment.unvalued.values()
    values[silent] = UNVALUED
    return values_in_rows(Strings.of(values), ~assessment.without_debt)


def _debt(assessment: Assessment, unvalued: BoolArray) -> IntArray:
    owed = assessment.payable.filled(0) > 0
    collected = assessment.vendor_collected.filled(0) > 0
    settled = np.where(assessment.account.present, np.int64(Debt.DEFERRED), np.int64(Debt.OPEN))
    free = np.where(collected, np.int64(Debt.VENDOR_COLLECTED), np.int64(Debt.NONE))
    known = np.where(owed, settled, free)
    return np.where(unvalued, np.int64(Debt.UNKNOWN), known)


def _reasons(assessment: Assessment, revenue_reasons: Strings, open_debt: BoolArray) -> Ragged:
    """Put in order, each once: findings' reasons (not of green ones), CUSTOMS_CHECK, the lane's own where there is none, revenue's, the debt's,
    that of missing parts.
    """
    rows = len(assessment.lane)
    unvalued = revenue_reasons.present
    findings = assessment.reasons
    assert isinstance(findings.values, Strings)
    owners = findings.owners()
    told = (assessment.lane[owners] != Lane.GREEN) & findings.values.present
    silent = np.ones(rows, np.bool_)
    silent[owners[told]] = False
    checked = assessment.undisclosed & (assessment.lane != Lane.GREEN)
    silent &= (assessment.lane != Lane.GREEN) & ~checked
    dictionary: dict[str, int] = {}
    pairs: list[tuple[IntArray, IntArray]] = [
        (owners[told], _places(findings.values, dictionary)[told]),
        (np.flatnonzero(checked), _places(Strings.constant(CUSTOMS_CHECK, rows), dictionary)[checked]),
        (np.flatnonzero(silent), _places(Strings(LANE_REASONS, assessment.lane), dictionary)[silent]),
        (np.flatnonzero(unvalued), _places(revenue_reasons, dictionary)[unvalued]),
        (np.flatnonzero(open_debt), _places(Strings.constant(DEBT_OPEN, rows), dictionary)[open_debt]),
    ]
    if (missing := assessment.parts_missing).any():
        pairs.append((np.flatnonzero(missing), _places(Strings.constant(PARTS_MISSING, rows), dictionary)[missing]))
    owner = np.concatenate([pair[0] for pair in pairs])
    place = np.concatenate([pair[1] for pair in pairs])
    _, first = np.unique(owner * len(dictionary) + place, return_index=True)
    first = np.sort(first)
    order = first[np.argsort(owner[first], kind="stable")]
    lengths = np.bincount(owner[order], minlength=rows)
    return Ragged.of_lengths(lengths, Strings(list(dictionary), place[order].astype(np.int32)).compact())


def _places(column: Strings, dictionary: dict[str, int]) -> IntArray:
    moves = np.array([dictionary.setdefault(value, len(dictionary)) for value in column.dictionary], np.int64)
    return moves[column.indices] if len(column.indices) else np.empty(0, np.int64)


def lane_names() -> list[str]:
    """Return the lanes' names by number, for metrics."""
    return [lane.name for lane in Lane]
