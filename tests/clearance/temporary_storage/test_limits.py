"""Time limits of temporary storage, against the calendar: the day of arrival is not counted, and a weekend is no last day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.columns import Ints, Strings, Table
from libs.customs.time import MICROS_PER_DAY
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.consignment.transitions import State
from services.clearance.temporary_storage.limits import ends, in_storage, next_times

EPOCH = date(1970, 1, 1)


def stored(arrival: int, country: str = "DE", columns: Mapping[str, Ints] | None = None) -> Table:
    return Table.of(
        ClearanceColumns,
        1,
        {
            "state": Ints.of([State.HELD]),
            "arrived_at": Ints.of([arrival]),
            "destination_country": Strings.of([country]),
            **(columns or {}),
        },
    )


@given(st.dates(date(2016, 5, 1), date(2100, 1, 1)), st.integers(0, MICROS_PER_DAY - 1))
def test_the_limit_ends_with_the_ninetieth_day_after_the_arrival_or_the_monday_after_it(day: date, moment: int) -> None:
    last = day + timedelta(days=90)
    while last.isoweekday() > 5:
        last += timedelta(days=1)
    found = ends(stored((day - EPOCH).days * MICROS_PER_DAY + moment))
    over = (last + timedelta(days=1) - EPOCH).days * MICROS_PER_DAY
    assert (found.at.tolist(), found.remind_at.tolist()) == ([over], [over - 14 * MICROS_PER_DAY])


def test_worked_days_of_the_calendar() -> None:
    cases = {
        date(2026, 1, 1): date(2026, 4, 1),  # a Wednesday
        date(2026, 1, 2): date(2026, 4, 2),
        date(2026, 1, 4): date(2026, 4, 6),  # a Saturday, so the Monday: Easter Monday, which is not known here
        date(2026, 1, 5): date(2026, 4, 6),  # a Sunday
        date(2024, 2, 29): date(2024, 5, 29),
    }
    for arrival, last in cases.items():
        (end,) = ends(stored((arrival - EPOCH).days * MICROS_PER_DAY)).at.tolist()
        assert EPOCH + timedelta(microseconds=(end or 0) - 1) == last, arrival


@pytest.mark.parametrize(
    ("country", "day"), [("US", date(2026, 1, 1)), ("", date(2026, 1, 1)), ("DE", date(2016, 4, 30))]
)
def test_where_no_limit_is_known_nothing_is_due(country: str, day: date) -> None:
    table = stored((day - EPOCH).days * MICROS_PER_DAY, country)
    found = ends(table)
    assert found.stored.all()
    assert (found.at.tolist(), next_times(table, found).tolist()) == ([None], [None])


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("arrived", [False, True])
@pytest.mark.parametrize("released", ["", "released_at", "former_released_at", "returned_at"])
def test_goods_lie_in_temporary_storage_that_arrived_and_are_held_and_were_never_released(
    state: State, arrived: bool, released: str
) -> None:
    at = Ints.of([1], np.array([arrived]))
    columns = {released: Ints.of([2])} if released else {}
    table = stored(0, columns={"state": Ints.of([state]), "arrived_at": at, **columns})
    held = state in (State.HELD, State.DOCUMENTS_REQUESTED, State.EXAMINATION)
    assert in_storage(table).tolist() == [held and arrived and not released]


def test_a_state_of_a_later_release_lies_in_no_storage_that_this_one_knows() -> None:
    assert in_storage(stored(0, columns={"state": Ints.of([99])})).tolist() == [False]


def test_after_the_reminder_the_end_is_due_and_after_the_end_nothing() -> None:
    day = (date(2026, 1, 1) - EPOCH).days * MICROS_PER_DAY
    (end,), at = ends(stored(day)).at.tolist(), Ints.of([5])
    assert end is not None

    def due(**columns: Ints) -> list[int | None]:
        table = stored(day, columns=columns)
        return next_times(table, ends(table)).tolist()

    assert due() == [end - 14 * MICROS_PER_DAY]
    assert due(storage_reminded_at=at) == [end]
    assert due(storage_ended_at=at) == due(storage_reminded_at=at, storage_ended_at=at) == [None]
