"""Days and instants as numbers."""

from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.customs import time

SECOND_DAY, LAST_BUT_ONE = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
MICROS = st.integers(time.micros_of(SECOND_DAY), time.micros_of(LAST_BUT_ONE))


@given(st.lists(MICROS))
def test_the_day_of_an_instant_is_its_utc_date_also_before_1970(instants: list[int]) -> None:
    days = time.days_of(np.array(instants, dtype=np.int64))
    assert days.tolist() == [time.day_of(micros) for micros in instants]
    for day, micros in zip(days.tolist(), instants, strict=True):
        assert time.date_of_day(day) == time.datetime_of(micros).date()
        assert time.start_of(day) <= micros < time.start_of(day + 1)


@given(MICROS)
def test_an_instant_written_as_text_is_read_again_to_the_millisecond(micros: int) -> None:
    assert time.parse_instant(time.instant_text(micros)) == micros // 1000 * 1000


@given(st.dates())
def test_a_day_written_as_text_is_read_again(value: date) -> None:
    assert time.parse_day(time.day_text(time.day_of_date(value))) == time.day_of_date(value)


def test_known_days_and_instants() -> None:
    assert time.parse_day("1970-01-01") == 0
    assert time.parse_day("2026-07-01") == 20635
    assert time.parse_instant("2026-07-01T02:00:00+02:00") == time.start_of(20635)


@pytest.mark.parametrize("text", ["", "20260701", "2026-7-1", "01.07.2026", "2026-02-30", "2026-W27-3"])
def test_a_text_that_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no date: write it as"):
        time.parse_day(text)


def test_an_instant_needs_its_offset() -> None:
    with pytest.raises(ValueError, match="has no offset"):
        time.parse_instant("2026-07-01T08:30:00")
    with pytest.raises(ValueError, match="is no instant"):
        time.parse_instant("yesterday")
    with pytest.raises(ValueError, match="has no time zone"):
        time.micros_of(datetime(2026, 7, 1))  # noqa: DTZ001
