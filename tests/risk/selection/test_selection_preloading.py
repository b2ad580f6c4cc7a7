"""Before loading: what findings and screenings lead to."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.columns import Strings
from services.risk.goods.findings import DOCUMENTS_MISSING
from services.risk.selection import Referral, load_parameters, refer
from services.risk.selection.parameters import PreLoadingText
from services.risk.selection.preloading import Referrals
from tests.risk.filings import table
from tests.risk.selection.selection_batches import SHIPPED

GIVEN = PreLoadingText(
    do_not_load=("BOMB",), screening=("DANGEROUS",), information=("VAGUE",), screening_from_score=800
)


def referred(
    findings: list[tuple[int, str]],
    screenings: list[list[str]],
    score: list[int] | None = None,
    given: PreLoadingText = GIVEN,
) -> Referrals:
    changes: list[dict[str, Any]] = [
        {"screenings": [{"method": "XRY", "result": f"SCREENING_RESULT_{each}"} for each in results]} if results else {}
        for results in screenings
    ]
    filed = table(changes)
    owners = np.array([row for row, _ in findings], np.int64)
    reasons = Strings.of([reason for _, reason in findings])
    return refer(given, np.array(score or [0] * len(changes)), owners, reasons, filed.ragged("screenings"))


def test_the_gravest_of_a_consignments_findings_counts_and_is_named() -> None:
    told = referred(
        [(0, "VAGUE"), (1, "OTHER"), (1, "DANGEROUS"), (1, "VAGUE"), (2, "VAGUE"), (2, "BOMB")], [[], [], [], []]
    )
    assert told.referral.tolist() == [Referral.INFORMATION, Referral.SCREENING, Referral.DO_NOT_LOAD, Referral.NONE]
    assert told.finding.tolist() == [0, 2, 5, -1]
    assert told.reasons.tolist() == ["VAGUE", "DANGEROUS", "BOMB", ""]


def test_a_clear_screening_answers_the_request_for_one_and_nothing_more() -> None:
    told = referred([(0, "DANGEROUS"), (1, "BOMB"), (2, "VAGUE")], [["CLEAR"], ["CLEAR"], ["CLEAR"]])
    assert told.referral.tolist() == [Referral.NONE, Referral.DO_NOT_LOAD, Referral.INFORMATION]


def test_an_alarm_is_never_loaded_whatever_else_was_clear() -> None:
    told = referred([], [["ALARM"], ["CLEAR", "ALARM"], ["INCONCLUSIVE"], ["INCONCLUSIVE", "CLEAR"]])
    assert told.referral.tolist() == [Referral.DO_NOT_LOAD, Referral.DO_NOT_LOAD, Referral.SCREENING, Referral.NONE]
    assert told.reasons.tolist() == ["SCREENING_ALARM", "SCREENING_ALARM", "SCREENING_INCONCLUSIVE", ""]
    assert told.finding.tolist() == [-1] * 4


def test_a_high_score_asks_for_a_screening_and_never_forbids_loading() -> None:
    told = referred([(0, "VAGUE")], [[], [], ["CLEAR"]], score=[1_000, 799, 1_000])
    assert told.referral.tolist() == [Referral.SCREENING, Referral.NONE, Referral.NONE]
    assert told.reasons.tolist() == ["SCORE_HIGH", "", ""]


def test_of_reasons_for_the_same_the_first_finding_is_named_then_the_score_and_then_what_was_screened() -> None:
    told = referred(
        [(0, "DANGEROUS"), (0, "DANGEROUS"), (1, "BOMB"), (3, "VAGUE")],
        [["INCONCLUSIVE"], ["ALARM"], ["INCONCLUSIVE"], ["INCONCLUSIVE"], ["ALARM", "INCONCLUSIVE"]],
        score=[800, 800, 800, 0, 0],
    )
    assert told.referral.tolist() == [
        Referral.SCREENING, Referral.DO_NOT_LOAD, Referral.SCREENING, Referral.SCREENING, Referral.DO_NOT_LOAD,
    ]  # fmt: skip
    assert told.finding.tolist() == [0, 2, -1, -1, -1]
    assert told.reasons.tolist() == ["DANGEROUS", "BOMB", "SCORE_HIGH", "SCREENING_INCONCLUSIVE", "SCREENING_ALARM"]


def test_without_a_threshold_no_score_asks_for_a_screening() -> None:
    told = referred([], [[]], score=[1_000], given=PreLoadingText())
    assert (told.referral.tolist(), told.reasons.tolist()) == ([Referral.NONE], [""])
    assert [int(each) for each in Referral] == [0, 1, 2, 3]


def test_the_shipped_reasons_are_used() -> None:
    given = load_parameters(SHIPPED).pre_loading
    told = referred([(0, "DESCRIPTION_TOO_VAGUE"), (1, "PARTY_LISTED")], [[], []], given=given)
    assert told.referral.tolist() == [Referral.INFORMATION, Referral.SCREENING]


def test_parameters_of_0_2_ask_by_the_former_name_for_goods_without_their_documents() -> None:
    written = PreLoadingText(screening=("GOODS_NEED_PAPERS",))
    told = referred([(0, DOCUMENTS_MISSING), (1, "GOODS_NEED_PAPERS")], [[], []], given=written)
    assert told.referral.tolist() == [Referral.SCREENING] * 2
    assert told.reasons.tolist() == [DOCUMENTS_MISSING, "GOODS_NEED_PAPERS"]
    both = PreLoadingText(screening=("GOODS_NEED_PAPERS",), information=(DOCUMENTS_MISSING,))
    assert referred([(0, DOCUMENTS_MISSING)], [[]], given=both).referral.tolist() == [Referral.INFORMATION]
