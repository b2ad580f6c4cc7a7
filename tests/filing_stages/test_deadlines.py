"""Which filings miss their deadline: each mode and leg of the field's list, at both sides of each bound."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY, day_of_date
from libs.filing_stages.deadlines import late
from libs.filing_stages.law import INCLUDED, DataSetError, included, read
from luxor.consignment.v1 import consignment_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from tests.ingestion.consignments import consignment

NOW = day_of_date(date(2026, 12, 1)) * MICROS_PER_DAY + MICROS_PER_DAY // 2
MINUTE = 60_000_000
AIR, POST, SEA, ROAD, RAIL = (
    pb.TRANSPORT_MODE_AIR, pb.TRANSPORT_MODE_POST, pb.TRANSPORT_MODE_SEA, pb.TRANSPORT_MODE_ROAD, pb.TRANSPORT_MODE_RAIL,
)  # fmt: skip


def moving(
    mode: int, departure: int | None = None, arrival: int | None = None, loading: str = "CNSZX", country: str = "DE"
) -> pb.Consignment:
    """Make a consignment that departs and arrives so many minutes after NOW."""
    row = consignment(1)
    row.transport.mode, row.transport.loading_place, row.destination_country = mode, loading, country  # type: ignore[assignment]
    if departure is not None:
        row.transport.departure_time.FromMicroseconds(NOW + departure * MINUTE)
    if arrival is not None:
        row.transport.arrival_time.FromMicroseconds(NOW + arrival * MINUTE)
    return row


def found(*rows: pb.Consignment, early: bool = False, now: int = NOW) -> list[int]:
    """Return the rows that are late."""
    table = Table.from_messages(rows, ConsignmentColumns, pb.Consignment)
    missed = np.zeros(len(rows), np.bool_)
    for jurisdiction, _, each in late(table, included(), np.full(len(rows), early), np.full(len(rows), now)):
        assert jurisdiction in ("EU", "UK", "US")
        assert not (missed & each).any(), "one deadline applies"
        missed |= each
    return np.flatnonzero(missed).tolist()


@pytest.mark.parametrize(
    ("in_time", "missed", "early"),
    [
        (moving(AIR, 0), moving(AIR, -1), True),
        (moving(POST, 0), moving(POST, -1), True),
        # A flight of 4 hours may be declared until it departs, a longer one until 4 hours before it arrives.
        (moving(AIR, 0, 240), moving(AIR, -1, 239), False),
        (moving(AIR, -1, 240), moving(AIR, -2, 239), False),
        (moving(AIR, 0, 200), moving(AIR, -20, 200), False),
        (moving(SEA, 1440, 9000), moving(SEA, 1439, 9000), False),
        (moving(SEA, -500, 120, "NOOSL"), moving(SEA, -500, 119, "NOOSL"), False),
        (moving(ROAD, -500, 60), moving(ROAD, -500, 59), False),
        (moving(RAIL, -500, 120), moving(RAIL, -500, 119), False),
        # The United Kingdom, by the guidance of HMRC.
        (moving(AIR, 0, 200, country="GB"), moving(AIR, -1, 200, country="GB"), False),
        (moving(AIR, -1, 240, country="GB"), moving(AIR, -2, 239, country="GB"), False),
        (moving(SEA, -60, 120, "FRCQF", "GB"), moving(SEA, -60, 119, "FRCQF", "GB"), False),
        (moving(SEA, 1440, 9000, country="GB"), moving(SEA, 1439, 9000, country="GB"), False),
        (moving(ROAD, -500, 60, country="GB"), moving(ROAD, -500, 59, country="GB"), False),
        (moving(RAIL, -500, 120, country="GB"), moving(RAIL, -500, 119, country="GB"), False),
        # The United States, by 19 CFR: the place of loading decides, not the time of the flight.
        (moving(AIR, 0, country="US"), moving(AIR, -1, country="US"), True),
        (moving(AIR, -300, 240, country="US"), moving(AIR, -300, 239, country="US"), False),
        (moving(AIR, -60, 240, "IEDUB", "US"), moving(AIR, -60, 239, "IEDUB", "US"), False),
        (moving(AIR, 0, 60, "CAYYZ", "US"), moving(AIR, -1, 700, "CAYYZ", "US"), False),
        (moving(SEA, 1440, 9000, country="PR"), moving(SEA, 1439, 9000, country="PR"), False),
        (moving(ROAD, -500, 60, "CAYYZ", "US"), moving(ROAD, -500, 59, "CAYYZ", "US"), False),
        (moving(RAIL, -500, 120, "MXNLD", "US"), moving(RAIL, -500, 119, "MXNLD", "US"), False),
    ],
)
def test_a_filing_is_late_beyond_the_deadline_of_its_mode_and_leg(
    in_time: pb.Consignment, missed: pb.Consignment, early: bool
) -> None:
    assert found(in_time, missed, early=early) == [1]
    assert found(missed, early=early) == [0]


@pytest.mark.parametrize(
    ("row", "early"),
    [
        (moving(AIR), True),
        (moving(AIR, None, -50), True),
        (moving(AIR, None, -50), False),
        (moving(AIR, -50), False),
        (moving(SEA, None, -50), False),
        (moving(ROAD, -50), False),
        (moving(POST, -50, -20), False),
        (moving(AIR, -50, country="NZ"), True),
        (moving(SEA, -50), True),
        # Without the place of loading, nobody knows which deadline applies.
        (moving(SEA, -500, 10, loading=""), False),
        (moving(SEA, -500, 10, loading="", country="GB"), False),
        (moving(AIR, -500, 10, loading="", country="US"), False),
        (moving(POST, -50, country="US"), True),
        (moving(AIR, -50, country="GB"), True),
    ],
)
def test_what_no_deadline_concerns_or_states_no_time_is_not_late(row: pb.Consignment, early: bool) -> None:
    assert found(row, early=early) == []


@pytest.mark.parametrize(
    ("row", "early", "first"),
    [
        (moving(AIR, -1), True, date(2021, 3, 15)),
        (moving(AIR, -600, 10), False, date(2023, 3, 1)),
        (moving(AIR, -60, 10), False, date(2023, 3, 1)),
        (moving(SEA, -60), False, date(2024, 6, 3)),
        (moving(SEA, -60, 10, "GBFXT"), False, date(2024, 6, 3)),
        (moving(ROAD, -60, 10), False, date(2025, 9, 1)),
        (moving(RAIL, -60, 10), False, date(2025, 9, 1)),
        (moving(ROAD, -60, 10, country="GB"), False, date(2025, 1, 31)),
        (moving(AIR, -60, country="US"), True, date(2018, 6, 12)),
        (moving(ROAD, -60, 10, country="US"), False, date(2008, 1, 1)),
    ],
)
def test_a_deadline_applies_from_its_day_on(row: pb.Consignment, early: bool, first: date) -> None:
    for day, expected in ((day_of_date(first), [0]), (day_of_date(first) - 1, [])):
        now = day * MICROS_PER_DAY + MICROS_PER_DAY // 2
        moved = pb.Consignment.FromString(row.SerializeToString())
        for name in ("departure_time", "arrival_time"):
            if moved.transport.HasField(name):
                at = getattr(moved.transport, name)
                at.FromMicroseconds(at.ToMicroseconds() - NOW + now)
        assert found(moved, early=early, now=now) == expected


DEADLINE = {
    "stage": "pre_arrival",
    "modes": ["AIR"],
    "before": "arrival",
    "minutes": 5,
    "from": "2026-01-01",
    "reference": "deadlines",
}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"to": "2025-12-31"}, "2025-12-31 is before 2026-01-01"),
        ({"reference": "nobody"}, "'nobody' is missing in references"),
        ({"loading": ["QQ"]}, "QQ is no country"),
        ({"minutes": -1}, "Expected `int` >= 0"),
        ({"stage": "full"}, "Invalid enum value 'full'"),
    ],
)
def test_a_deadline_that_cannot_be_applied_is_refused(tmp_path: Path, change: Any, error: str) -> None:
    data = yaml.safe_load(INCLUDED.read_text(encoding="utf-8"))
    data["jurisdictions"][0]["deadlines"] = [{**DEADLINE, **change}]
    file = tmp_path / "data_sets.yaml"
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(DataSetError, match=r"data_sets\.yaml") as raised:
        read(file)
    assert error in str(raised.value)
