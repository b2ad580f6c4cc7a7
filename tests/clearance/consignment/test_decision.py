"""The decision: cases as a table, a scalar oracle, and the values of goods that revenue states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.common.v1 import common_pb2
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.revenue.v1 import revenue_pb2
from luxor.risk.v1 import risk_pb2
from services.clearance.consignment.assessment import Misaligned, check, revalued
from services.clearance.consignment.decision import LANE_REASONS, Assessment, BatchDecision, Lane, decide, lane_names
from services.clearance.consignment.transitions import Debt

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


def told(verdict: BatchDecision, row: int) -> tuple[bool, bool, list[str], Debt, str]:
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


def test_lanes_have_the_numbers_of_the_contract() -> None:
    contract = {
        name.removeprefix("LANE_").replace("UNSPECIFIED", "UNASSESSED"): value
        for name, value in common_pb2.Lane.items()
    }
    assert {lane.name: lane.value for lane in Lane} == contract
    assert lane_names() == sorted(contract, key=lambda name: contract[name])


def test_what_nobody_says_to_be_collected_is_not_collected() -> None:
    whole = assessment([(Lane.GREEN, [], "", 0, 0, "")])
    verdict = decide(replace(whole, vendor_collected=Ints.absent(1)))
    assert told(verdict, 0) == (True, False, [], Debt.NONE, "")


def test_no_consignments_are_decided_as_none() -> None:
    whole = assessment([(Lane.RED, ["A"], "", 0, 0, "")])
    nobody = np.empty(0, np.int64)
    verdict = decide(
        Assessment(
            whole.lane[nobody], whole.reasons.take(nobody), whole.undisclosed[nobody], whole.unvalued.take(nobody),
            whole.payable.take(nobody), whole.vendor_collected.take(nobody), whole.account.take(nobody),
        )
    )  # fmt: skip
    assert (len(verdict.release), len(verdict.reasons), len(verdict.account)) == (0, 0, 0)


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
    expected = [oracle(case) for case in batch]
    assert [told(verdict, row) for row in range(len(batch))] == expected
    clear = [case[0] in (Lane.GREEN, Lane.BLUE) for case in batch]
    by_debt = [free and not release for free, (release, *_) in zip(clear, expected, strict=True)]
    assert verdict.debt_hold.tolist() == by_debt, "the debt alone holds what its lane does not"


def _goods(items: list[int]) -> Ragged:
    """The goods of states."""
    schema = schema_of(ClearanceColumns).children["items"]
    return Ragged.of_lengths(items, Table(schema, sum(items), {"number": Ints.of(list(range(sum(items))))}))


def _answers(values: list[list[int] | None], items: list[int]) -> tuple[Table, Table]:
    """Filings with so many items, and revenue's answers with these values; None for one that could not be valued."""
    goods = Table(
        schema_of(ConsignmentColumns).children["items"], sum(items), {"number": Ints.of(list(range(sum(items))))}
    )
    filings = Table.of(ConsignmentColumns, len(items), {"items": Ragged.of_lengths(items, goods)})
    flat = [value for row in values for value in row or ()]
    there = [row is not None for row in values]
    columns: dict[str, Column] = {
        "customs_value": Ints.of([sum(row or ()) for row in values], there),
        "duty": Ints.of([0] * len(values), there),
        "reason": Strings.of(["" if each else "UNVALUED" for each in there]),
        "item_customs_values": Ragged.of_lengths([len(row or ()) for row in values], Ints.of(flat)),
    }
    return filings, Table.of(revenue_pb2.AssessmentColumns, len(values), columns)


def test_goods_have_the_values_that_revenue_states_and_none_where_it_states_none() -> None:
    # 236 and not 235: revenue rounded each item, and a value shared out by price would differ.
    _, revenue = _answers([[236, 1], None, [7]], [2, 2, 1])
    assert revalued(_goods([2, 2, 1]), revenue).ints("customs_value_minor").tolist() == [236, 1, None, None, 7]
    # An answer of version 0.2 states the whole alone.
    older = revenue.with_columns({"item_customs_values": Ragged.of_lengths([0, 0, 0], Ints.of([]))})
    assert revalued(_goods([2, 2, 1]), older).ints("customs_value_minor").tolist() == [None] * 5


def test_an_answer_that_values_another_number_of_items_is_refused() -> None:
    filings, revenue = _answers([[236, 1]], [3])
    risk = Table.of(risk_pb2.AssessmentColumns, 1, {"lane": Ints.of([1])})
    with pytest.raises(Misaligned, match="another number of items"):
        check(filings, risk, revenue)
    check(filings.take(np.array([0])), risk, _answers([[236, 1, 4]], [3])[1])


@pytest.mark.parametrize("lane", [Lane.GREEN, Lane.BLUE, Lane.YELLOW])
def test_a_missing_part_holds_in_every_lane_and_no_payment_ends_that(lane: Lane) -> None:
    cases: list[Case] = [(lane, [], "", 0, 0, ""), (lane, [], "", 300, 0, ""), (lane, [], "", 300, 0, "")]
    verdict = decide(replace(assessment(cases), parts_missing=np.array([True, True, False])))
    assert not verdict.release.any()
    assert verdict.debt_hold.tolist() == [False, False, lane != Lane.YELLOW]
    found = [told(verdict, row)[2] for row in range(3)]
    assert [each[-1] for each in found] == ["PARTS_MISSING", "PARTS_MISSING", "DEBT_OPEN"]
    assert [each.count("PARTS_MISSING") for each in found] == [1, 1, 0]
    assert "DEBT_OPEN" in found[1]
