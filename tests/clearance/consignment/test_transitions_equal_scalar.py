"""The vectorised debt and lifecycle against a scalar reading of their definition: every state, and debts with ties."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.columns import Ints, Strings, Table
from luxor.revenue.v1.revenue_columns_pb2 import RevenueColumns
from services.clearance.consignment import debt as debts
from services.clearance.consignment.lifecycle.machine import REFUSALS, Situation, apply
from services.clearance.consignment.transitions import Debt, Event, State
from tests.clearance import scalar
from tests.clearance.debt_tables import ints, standing, states
from tests.clearance.scalar import DebtEvent, Owing, Place

BOOLS = (False, True)
#: What an assessment alone may say of a debt.
ASSESSED = st.sampled_from([Debt.NONE, Debt.DEFERRED, Debt.VENDOR_COLLECTED, Debt.OPEN, Debt.UNKNOWN])
#: Every place that a consignment can be at, also those that no path leads to.
PLACES = [
    Place(State(state), arrived, Debt(debt), *flags)
    for state, arrived, debt in itertools.product(State, BOOLS, Debt)
    for flags in itertools.product(BOOLS, repeat=7)
] + [
    # In transit are goods that arrived and are not released.
    Place(State(state), True, Debt(debt), *flags, in_transit=True)
    for state, debt in itertools.product((State.AWAITING_ARRIVAL, State.HELD, *scalar.CONTROLS), Debt)
    for flags in itertools.product(BOOLS, repeat=7)
]
#: Those at which goods are to be presented, or would be once they arrive: of the debts, one each that is settled, open and not computed.
PLACES += [
    replace(each, to_present=True)
    for each in PLACES
    if each.debt in (Debt.NONE, Debt.OPEN, Debt.UNKNOWN) and not each.in_transit
]
PLACES += [
    replace(each, violation=False, parts_missing=True)
    for each in PLACES
    if each.violation and each.debt in (Debt.NONE, Debt.OPEN) and not each.to_present
]


def situation(places: list[Place]) -> Situation:
    def numbers(name: str) -> Any:
        return np.array([int(getattr(place, name)) for place in places], np.int64)

    flags = (
        "officer_hold",
        "screening_hold",
        "waiting",
        "inspected",
        "debt_hold",
        "control_hold",
        "in_transit",
    )
    return Situation(
        numbers("state"),
        numbers("arrived") > 0,
        numbers("debt"),
        **{name: numbers(name) > 0 for name in flags},
        blocked=(numbers("violation") > 0) | (numbers("parts_missing") > 0),
        unpresented=numbers("to_present") > 0,
    )


@pytest.mark.parametrize("event", list(Event))
def test_every_event_at_every_place_does_what_the_definition_says(event: Event) -> None:
    outcome = apply(event, situation(PLACES))
    columns = (
        outcome.state, outcome.arrived, outcome.officer_hold, outcome.screening_hold, outcome.debt_hold, outcome.control_hold,
        outcome.in_transit,
        outcome.unpresented,
    )  # fmt: skip
    found = list(zip(*(column.tolist() for column in columns), outcome.refusal.tolist(), strict=True))
    for place, told in zip(PLACES, found, strict=True):
        # A consignment that only its debt holds is held; where it is not, nothing of that is left.
        after, refusal = scalar.after(event, place)
        debt_hold = after.debt_hold and after.state == State.HELD
        expected = (
            after.state,
            after.arrived,
            after.officer_hold,
            after.screening_hold,
            debt_hold,
            after.control_hold and after.state in scalar.CONTROLS,
            after.in_transit,
            after.to_present,
            REFUSALS.index(refusal),
        )
        assert told == expected, (event, place)


MONEY = st.sampled_from([None, 0, 1, 379, 380, 381, 760])
ACCOUNTS = st.sampled_from(["", "deferred:A", "guarantee:B"])
owings = st.builds(
    Owing,
    payable=st.sampled_from([None, 0, 380, 500]),
    by_customs=st.sampled_from([0, 1, 380]),
    debt=st.sampled_from(Debt),
    account=ACCOUNTS,
    paid=MONEY,
    refunded=MONEY,
    heard=st.sampled_from([None, 3]),
    filing=st.sampled_from([1, 2]),
    returned=st.booleans(),
)
events = st.builds(
    DebtEvent,
    number=st.sampled_from([1, 3, 4, 9]),
    filing=st.sampled_from([1, 2, 3]),
    status=st.sampled_from(Debt),
    account=ACCOUNTS,
    paid=MONEY,
    refunded=MONEY,
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(owings, events), min_size=1, max_size=12))
def test_a_debt_after_an_event_stands_as_the_definition_says(pairs: list[tuple[Owing, DebtEvent]]) -> None:
    rows = [owing for owing, _ in pairs]
    news = Table.of(
        RevenueColumns,
        len(pairs),
        {
            "filing_version": Ints.of([event.filing for _, event in pairs]),
            "number": Ints.of([event.number for _, event in pairs]),
            "debt_status": Ints.of([int(event.status) for _, event in pairs]),
            "account": Strings.of([event.account for _, event in pairs]),
            "paid_minor": ints([event.paid for _, event in pairs]),
            "refunded_minor": ints([event.refunded for _, event in pairs]),
        },
    )
    table, new, same = debts.with_debt_events(states(rows), news)
    money = list(zip(table.ints("paid_minor").tolist(), table.ints("refunded_minor").tolist(), strict=True))
    for place, (owing, event) in enumerate(pairs):
        assert bool(new[place]) == (event.number > (owing.heard or 0)), "by its number the last event counts"
        if not new[place]:
            continue
        expected = scalar.hear(owing, event)
        assert standing(table)[place] == (expected.debt, expected.account), (owing, event)
        assert money[place] == (expected.paid, expected.refunded)
        unchanged = (expected.debt, expected.account, expected.paid, expected.refunded) == (
            owing.debt, owing.account, owing.paid, owing.refunded,
        )  # fmt: skip
        assert bool(same[place]) == unchanged


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(owings, ASSESSED, ACCOUNTS, st.sampled_from([0, 1, 380, 760])), min_size=1, max_size=12))
def test_a_debt_stands_on_after_another_assessment_as_the_definition_says(
    cases: list[tuple[Owing, Debt, str, int]],
) -> None:
    rows = [owing for owing, *_ in cases]
    then = [Owing(500, customs, Debt.NONE, paid=row.paid, refunded=row.refunded) for row, *_, customs in cases]
    after = states(then).with_columns({"returned_at": ints([1 if row.returned else None for row in rows])})
    fresh = np.array([int(debt) for _, debt, *_ in cases], np.int64)
    told = debts.with_debt_evaluated(states(rows), after, fresh, Strings.of([account for *_, account, _ in cases]))
    for place, (owing, debt, account, _) in enumerate(cases):
        expected = scalar.judge(owing, then[place], debt, account)
        assert standing(told)[place] == (expected.debt, expected.account), cases[place]
