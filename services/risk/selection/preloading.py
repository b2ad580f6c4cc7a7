"""What is recommended before goods are loaded: ask for information, ask for a screening, or do not load.

Source: the referrals of pre-loading advance cargo information (ICAO and WCO joint guiding principles): request for
information, request for screening, do not load. A do-not-load follows from named reasons alone, never from a score.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from libs.columns import Ragged, Strings, Table
from libs.columns.arrays import BoolArray, IntArray
from services.risk.selection.parameters import PreLoadingText


class Referral(IntEnum):
    """What is recommended; a higher number outweighs a lower one."""

    NONE = 0
    INFORMATION = 1
    SCREENING = 2
    DO_NOT_LOAD = 3


class ScreeningResult(IntEnum):
    """Results that carriers file; the numbers are those of luxor.consignment.v1.ScreeningResult."""

    CLEAR = 1
    INCONCLUSIVE = 2
    ALARM = 3


#: The reason where a screening that was filed speaks, and no finding does.
ALARM_REASON = "SCREENING_ALARM"
INCONCLUSIVE_REASON = "SCREENING_INCONCLUSIVE"
SCORE_REASON = "SCORE_HIGH"
#: Reasons of goods controls by their names of version 0.2: parameters and stored rule sets that name these keep their effect.
CURRENT_REASONS: Final = {"GOODS_NEED_PAPERS": "GOODS_DOCUMENTS_MISSING"}


@dataclass(frozen=True)
class Referrals:
    """Per consignment what is recommended, and why: one value each."""

    referral: IntArray
    finding: IntArray
    """The first finding of that referral, -1 where it was not a finding."""
    reasons: Strings
    """The reason, "" where nothing is recommended."""


def refer(
    parameters: PreLoadingText, score: IntArray, owners: IntArray, reasons: Strings, screenings: Ragged
) -> Referrals:
    """Recommend for a batch of n consignments with k findings.

    `owners` (rising) and `reasons` have one value a finding; `screenings` is the consignments' column of that name. A clear
    screening that was filed answers a request for one; it does not lift a do-not-load. Among a consignment's screenings
    an alarm outweighs the others, and a clear one an inconclusive one before it.
    """
    rows = len(score)
    by_reason = dict.fromkeys(parameters.information, Referral.INFORMATION)
    by_reason |= dict.fromkeys(parameters.screening, Referral.SCREENING)
    by_reason |= dict.fromkeys(parameters.do_not_load, Referral.DO_NOT_LOAD)
    by_reason = {CURRENT_REASONS.get(reason, reason): each for reason, each in by_reason.items()} | by_reason
    alarm, clear, inconclusive = _screened(screenings, rows)
    asked = reasons.map(lambda reason: by_reason.get(reason, Referral.NONE), np.int64)
    asked = np.where((asked == Referral.SCREENING) & clear[owners], Referral.NONE, asked)
    referral = np.zeros(rows, np.int64)
    np.maximum.at(referral, owners, asked)
    finding = np.full(rows, -1, np.int64)
    places = np.flatnonzero((asked > 0) & (asked == referral[owners]))[::-1]
    finding[owners[places]] = places
    texts = np.full(rows, "", object)
    found = finding >= 0
    texts[found] = reasons.values()[finding[found]]
    high = np.zeros(rows, np.bool_)
    if parameters.screening_from_score is not None:
        high = (score >= parameters.screening_from_score) & ~clear
    for rows_asked, wanted, reason in (
        (high, Referral.SCREENING, SCORE_REASON),
        (inconclusive, Referral.SCREENING, INCONCLUSIVE_REASON),
        (alarm, Referral.DO_NOT_LOAD, ALARM_REASON),
    ):
        more = rows_asked & (referral < wanted)
        referral[more], finding[more], texts[more] = wanted, -1, reason
    return Referrals(referral, finding, Strings.of(texts))


def _screened(screenings: Ragged, rows: int) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Per consignment whether its screenings say alarm, clear or inconclusive; at most one of them."""
    values = screenings.values
    assert isinstance(values, Table)
    owners = screenings.owners()
    results = values.ints("result").values

    def some(result: ScreeningResult) -> BoolArray:
        there = np.zeros(rows, np.bool_)
        there[owners[results == result]] = True
        return there

    alarm, clear, inconclusive = map(some, (ScreeningResult.ALARM, ScreeningResult.CLEAR, ScreeningResult.INCONCLUSIVE))
    return alarm, clear & ~alarm, inconclusive & ~clear & ~alarm
