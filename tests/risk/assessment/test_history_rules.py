"""The rules of the first profile that ask history, on a past that is built batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.columns import Table
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.assessment.assessment import assess_batch, favoured_below
from services.risk.assessment.prior_state import PriorState, ReplicaState
from tests.risk.active_versions import in_force
from tests.risk.filings import BY_HISTORY, first_light, table

HOUR = 3_600_000_000
START = 1_795_000_000_000_000
SHIRT: dict[str, Any] = {"payment": None, "items": [{"price": {"minor": 6000}}]}
#: Before its declaration: no code, price and nature.
EARLY: dict[str, Any] = {
    **SHIRT,
    "nature": None,
    "additional_procedures": [],
    "items": [{"price": None, "commodity_code": None}],
}


class Days:
    """A past, and a clock that the test moves on."""

    def __init__(self) -> None:
        self.replica_state = ReplicaState.begin(b"secret of the tests")
        self.now = START
        self.rows = 0

    def assess(self, *changes: dict[str, Any]) -> Table:
        """Assess consignments that are new, and count them."""
        rows = table(list(changes), first_mrn=self.rows)
        self.rows += rows.rows
        new = np.ones(rows.rows, np.bool_)
        return self.count(rows, PriorState(self.now, new, new))

    def complete(self, first: int, *changes: dict[str, Any]) -> Table:
        """Assess second versions of consignments that counted without a value, the first of them being the `first` of all."""
        rows = table(list(changes), first_mrn=first, versions=[2] * len(changes))
        not_new = np.zeros(rows.rows, np.bool_)
        return self.count(rows, PriorState(self.now, not_new, not_new, value_awaited=~not_new))

    def count(self, rows: Table, prior_state: PriorState) -> Table:
        """Assess rows, and count them."""
        assessed = assess_batch(in_force(), rows, pb.PURPOSE_CLEARANCE, prior_state, self.replica_state)
        assert assessed.record is not None
        self.replica_state.history.apply(assessed.record, ahead=True)
        return assessed.table

    def hits(self, *changes: dict[str, Any]) -> list[list[str]]:
        """Per consignment the rules of history that hit it."""
        return hits_of(self.assess(*changes))


def hits_of(assessments: Table) -> list[list[str]]:
    """Per consignment the rules of history that hit it."""
    findings = assessments.ragged("findings")
    rules = assessments.child("findings").strings("rule").tolist()
    return [[rule for rule in rules[findings.span(row)] if rule in BY_HISTORY] for row in range(assessments.rows)]


def test_the_rules_of_history_are_all_there() -> None:
    assert {rule.text.id for rule in first_light().rules} >= BY_HISTORY


def test_the_third_consignment_that_brings_a_consignee_over_the_threshold_is_split() -> None:
    assert Days().hits(SHIRT, SHIRT, SHIRT, SHIRT) == [[], [], ["SPLIT_UNDER_THRESHOLD"], ["SPLIT_UNDER_THRESHOLD"]]


def test_what_lies_more_than_a_day_apart_or_goes_to_others_is_not_split() -> None:
    days = Days()
    for _ in range(4):
        assert days.hits(SHIRT) == [[]]
        days.now += 13 * HOUR
    others = [{**SHIRT, "consignee": {"name": f"Person {letter}"}} for letter in "ABCD"]
    assert days.hits(*others) == [[]] * 4


def test_goods_that_were_filed_before_their_price_are_split_once_their_prices_are_stated() -> None:
    days = Days()
    assert days.hits(EARLY, EARLY, EARLY) == [[], [], []]
    days.now += HOUR
    assert hits_of(days.complete(0, SHIRT, SHIRT, SHIRT)) == [[], [], ["SPLIT_UNDER_THRESHOLD"]]
    # The consignments counted when they were filed, and count once: this is the fourth.
    fourth = days.assess(SHIRT)
    assert hits_of(fourth) == [["SPLIT_UNDER_THRESHOLD"]]


def test_small_things_and_those_above_the_threshold_are_not_split() -> None:
    small = {"payment": None, "items": [{"price": {"minor": 1900}}]}
    large = {
        "payment": None,
        "additional_procedures": [],
        "fiscal_references": [],
        "items": [{"price": {"minor": 60000}}],
    }
    assert Days().hits(*[small] * 7) == [[]] * 7
    assert Days().hits(*[large] * 5) == [[]] * 5


def test_the_threshold_is_that_of_the_country_of_destination() -> None:
    assert favoured_below(first_light())["DE"] == 15_000
    there = {**SHIRT, "destination_country": "AU", "additional_procedures": [], "fiscal_references": []}
    assert Days().hits(*[there] * 9) == [[]] * 9
    assert Days().hits(*[there] * 10)[9] == ["SPLIT_UNDER_THRESHOLD"]


def test_a_price_among_the_lowest_hundredth_of_its_kind_is_found_from_the_next_hour_on() -> None:
    days = Days()
    usual = [
        {
            "consignee": {"name": f"Person {number}"},
            "items": [{"origin_country": "CN", "price": {"minor": 1500 + number * 7}}],
        }
        for number in range(300)
    ]
    cheap = {"payment": None, "items": [{"origin_country": "CN", "price": {"minor": 300}}]}
    days.assess(*usual)
    assert days.hits(cheap) == [[]]
    days.now += HOUR
    assert days.hits(cheap, usual[150]) == [["PRICE_IN_LOWEST_HUNDREDTH"], []]
    assert days.hits({**cheap, "items": [{"origin_country": "VN", "price": {"minor": 300}}]}) == [[]]


def test_a_new_seller_that_sends_a_hundred_consignments_a_day_at_a_known_platform_is_found() -> None:
    days = Days()
    days.assess({})
    days.now += 8 * 24 * HOUR
    many = [
        {"consignor": {"name": "Brand New Store"}, "consignee": {"name": f"Person {number}"}} for number in range(101)
    ]
    hits = days.hits(*many)
    assert hits[:99] == [[]] * 99
    assert hits[99:] == [["SELLER_NEW_AND_BUSY"]] * 2
    days.now += 4 * 24 * HOUR
    assert days.hits(*many) == [[]] * 101
