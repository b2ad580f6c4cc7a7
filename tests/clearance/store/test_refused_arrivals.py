"""The list of refused arrivals is bounded by carrier and day: what is listed goes on counting, and what is left out is counted."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from libs.customs.time import MICROS_PER_DAY
from luxor.clearance.v1 import carriers_pb2 as carriers
from services.clearance.carriage.binding import FOREVER
from services.clearance.store import carriers as stored
from tests.clearance.carriers import desk_of
from tests.clearance.desk import Desk
from tests.clearance.service_client import SECONDS, House

AT = 20_000 * MICROS_PER_DAY


@pytest.fixture(autouse=True)
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "REFUSED_MAX", 3)


async def note(desk: Desk, *documents: str, carrier: str = "thief", at: int = AT) -> None:
    async with desk.store.database.transaction() as tx:
        await desk.store.carriers.note_refused(tx, [(each, carrier) for each in documents], at, recorded=False)


async def listed(desk: Desk, carrier: str = "thief", day: int = AT // MICROS_PER_DAY) -> dict[str, int]:
    async with desk.store.database.transaction() as tx:
        rows = await desk.store.carriers.refused(tx, (FOREVER, "", ""), carrier, 100)
    return {row["document_number"]: row["times"] for row in rows if row["day"] == day}


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([["A"], ["A"]], {"A": 2}),
        ([["A", "B"], ["C"]], {"A": 1, "B": 1, "C": 1}),
        ([["A", "B", "C"], ["D"]], {"A": 1, "B": 1, "C": 1, "": 1}),
        # A document that is listed counts on, also beside new ones.
        ([["A", "B", "C"], ["D", "E"], ["B"], ["C", "D", "F"]], {"A": 1, "B": 2, "C": 2, "": 4}),
        # A call that crosses the bound fills it up, and no more.
        ([["A", "B"], ["C", "D", "E"]], {"A": 1, "B": 1, "C": 1, "": 2}),
        ([["A", "B"], ["A", "C", "D"]], {"A": 2, "B": 1, "C": 1, "": 1}),
        ([["A", "B", "C", "D", "E"]], {"A": 1, "B": 1, "C": 1, "": 2}),
    ],
)
async def test_new_documents_are_bounded_and_known_ones_count(
    desk: Desk, calls: Sequence[Sequence[str]], expected: dict[str, int]
) -> None:
    for documents in calls:
        await note(desk, *documents)
    assert await listed(desk) == expected


async def test_each_carrier_and_each_day_has_its_own_room(desk: Desk) -> None:
    await note(desk, "A", "B", "C", "D")
    await note(desk, "D", carrier="other")
    await note(desk, "D", at=AT + MICROS_PER_DAY)
    assert await listed(desk) == {"A": 1, "B": 1, "C": 1, "": 1}
    assert await listed(desk, "other") == {"D": 1}
    assert await listed(desk, day=AT // MICROS_PER_DAY + 1) == {"D": 1}


async def test_an_officer_sees_that_documents_were_left_out(house: House) -> None:
    # Of this day: the service's own clean-up, which runs beside, deletes older ones.
    await note(house.desk, "A", "B", "C", "D", "E", at=int(time.time() * 1e6))
    found: list[tuple[str, int]] = []
    token = ""
    while True:
        request = carriers.ListRefusedArrivalsRequest(page_size=2, page_token=token)
        answer = await (await desk_of(house)).ListRefusedArrivals(request, timeout=SECONDS)
        found += [(each.master_document_number, each.times) for each in answer.arrivals]
        token = answer.next_page_token
        if not token:
            break
    assert found == [("C", 1), ("B", 1), ("A", 1), ("", 2)]
