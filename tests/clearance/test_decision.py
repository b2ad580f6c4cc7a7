"""The decision: cases as a table, a scalar oracle, and values shared out to the last cent."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.columns import Ints, Ragged, Strings
from services.clearance.assessments import share_out
from services.clearance.decision import LANE_REASONS, Assessment, Lane, Verdict, decide
from services.clearance.lifecycle import Debt

Case = tuple[Lane, list[str], str, int | None, int, str]
UNDISCLOSED = "?"
"""Stands among the reasons of a case for what filers are not to know."""


def assessment(cases: list[Case]) -> Assessment:
    lanes, reasons, unvalued, payable, vendor, accounts = zip(*cases, strict=True)
    there = [amount is not None for amount in payable]
    return Assessment(
        lane=np.array(lanes, np.int64),
        reasons=Ragged.of_lengths(
            [len(each) for each in reasons],
            Strings.of(["" if text == UNDISCLOSED else text for each in reasons for text in each]),
        ),
        undisclosed=np.array([UNDISCLOSED in each for each in reasons]),
        unvalued=Strings.of(list(unvalued)),
        payable=Ints.of([amount or 0 for amount in payable], there),
        vendor_collected=Ints.of(list(vendor), there),
        account=Strings.of(list(accounts)),
    )


def told(verdict: Verdict, row: int) -> tuple[bool, bool, list[str], Debt, str]:
    assert isinstance(verdict.reasons.values, Strings)
    reasons = verdict.reasons.values.tolist()[verdict.reasons.span(row)]
    return (
        bool(verdict.release[row]), bool(verdict.audit[row]), reasons, Debt(int(verdict.debt[row])), verdict.account[row],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ((Lane.GREEN, [], "", 300, 380, "deferred:x"), (True, False, [], Debt.DEFERRED, "deferred:x")),
        ((Lane.GREEN, ["NOTED"], "", 0, 0, "deferred:x"), (True, False, [], Debt.NONE, "")),
        ((Lane.GREEN, [], "", 0, 380, ""), (True, False, [], Debt.VENDOR_COLLECTED, "")),
        ((Lane.GREEN, [], "", 300, 0, ""), (False, False, ["DEBT_OPEN"], Debt.OPEN, "")),
        ((Lane.BLUE, ["VALUE_LOW"], "", 0, 0, ""), (True, True, ["VALUE_LOW"], Debt.NONE, "")),
        ((Lane.BLUE, [], "", 0, 0, ""), (True, True, ["LANE_BLUE"], Debt.NONE, "")),
        ((Lane.YELLOW, ["A", "B", "A"], "", 0, 0, ""), (False, False, ["A", "B"], Debt.NONE, "")),
        ((Lane.RED, [], "", 5, 0, "deferred:x"), (False, False, ["LANE_RED"], Debt.DEFERRED, "deferred:x")),
        ((Lane.RED, ["?"], "", 0, 0, ""), (False, False, ["CUSTOMS_CHECK"], Debt.NONE, "")),
        ((Lane.RED, ["?", "B"], "", 5, 0, ""), (False, False, ["B", "CUSTOMS_CHECK", "DEBT_OPEN"], Debt.OPEN, "")),
        ((Lane.BLUE, ["?"], "", 0, 0, ""), (True, True, ["CUSTOMS_CHECK"], Debt.NONE, "")),
        ((Lane.GREEN, ["?"], "", 0, 0, ""), (True, False, [], Debt.NONE, "")),
        ((Lane.UNASSESSED, [], "", 0, 0, ""), (False, False, ["UNASSESSED"], Debt.NONE, "")),
        ((Lane.GREEN, [], "NO_RULEBOOK", None, 0, ""), (False, False, ["NO_RULEBOOK"], Debt.UNKNOWN, "")),
        ((Lane.GREEN, [], "", None, 0, "deferred:x"), (False, False, ["UNVALUED"], Debt.UNKNOWN, "")),
        (
            (Lane.RED, ["LISTED"], "NO_EXCHANGE_RATE", None, 0, ""),
            (False, False, ["LISTED", "NO_EXCHANGE_RATE"], Debt.UNKNOWN, ""),
        ),
        (
            (Lane.BLUE, ["VALUE_LOW"], "", 7, 0, ""),
            (False, False, ["VALUE_LOW", "DEBT_OPEN"], Debt.OPEN, ""),
        ),
    ],
)
def test_a_decision_follows_lane_figures_and_debt(
    case: Case, expected: tuple[bool, bool, list[str], Debt, str]
) -> None:
    assert told(decide(assessment([case])), 0) == expected


def oracle(case: Case) -> tuple[bool, bool, list[str], Debt, str]:
    lane, findings, unvalued, payable, vendor, account = case
    reasons = dict.fromkeys(each for each in findings if lane != Lane.GREEN and each != UNDISCLOSED)
    if UNDISCLOSED in findings and lane != Lane.GREEN:
        reasons["CUSTOMS_CHECK"] = None
    if lane != Lane.GREEN and not reasons:
        reasons[LANE_REASONS[lane]] = None
    unvalued = unvalued or ("UNVALUED" if payable is None else "")
    if unvalued:
        debt = Debt.UNKNOWN
        reasons[unvalued] = None
    elif payable:
        debt = Debt.DEFERRED if account else Debt.OPEN
        if debt == Debt.OPEN:
            reasons["DEBT_OPEN"] = None
    else:
        debt = Debt.VENDOR_COLLECTED if vendor else Debt.NONE
    release = lane in (Lane.GREEN, Lane.BLUE) and debt not in (Debt.UNKNOWN, Debt.OPEN)
    return release, release and lane == Lane.BLUE, list(reasons), debt, account if debt == Debt.DEFERRED else ""


cases = st.lists(
    st.tuples(
        st.sampled_from(Lane),
        st.lists(st.sampled_from(["A", "B", UNDISCLOSED, "DEBT_OPEN"]), max_size=4),
        st.sampled_from(["", "", "NO_RULEBOOK", "UNVALUED"]),
        st.one_of(st.none(), st.integers(0, 3)),
        st.integers(0, 2),
        st.sampled_from(["", "deferred:a", "deferred:b"]),
    ),
    min_size=1,
    max_size=20,
)


@given(cases)
def test_a_batch_is_decided_as_each_consignment_alone(batch: list[Case]) -> None:
    verdict = decide(assessment(batch))
    assert [told(verdict, row) for row in range(len(batch))] == [oracle(case) for case in batch]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**16),
            st.lists(st.tuples(st.integers(0, 10**12), st.sampled_from(["EUR", "USD"])), max_size=5),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_a_value_is_shared_out_among_items_without_losing_a_minor_unit(
    consignments: list[tuple[int, list[tuple[int, str]]]],
) -> None:
    items = [item for _, each in consignments for item in each]
    offsets = np.cumsum([0] + [len(each) for _, each in consignments])
    shares = share_out(
        np.array([value for value, _ in consignments], np.int64),
        offsets,
        np.array([price for price, _ in items], np.int64),
        Strings.of([currency for _, currency in items]),
    )
    for (value, each), (begin, end) in zip(consignments, pairwise(offsets.tolist()), strict=True):
        part = shares[begin:end].tolist()
        assert all(share >= 0 for share in part)
        if each:
            assert sum(part) == value
        total = sum(price for price, _ in each)
        if total and len({currency for _, currency in each}) == 1:
            assert all(
                abs(share - value * price / total) <= 1 + value / 2**40
                for share, (price, _) in zip(part, each, strict=True)
            )
