"""What the shipped law makes of several parcels: Korea's bundle, China's order and year, New Zealand's craft."""

from __future__ import annotations

from collections.abc import Sequence

import pytest_asyncio

from libs.columns import Table
from libs.store.database import Database
from luxor.consignment.v1 import consignment_pb2 as filing
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.revenue.assessment.batch import ActiveLaw, Batch
from services.revenue.commands.assess import Assessments
from services.revenue.commands.reassess import Reassessment
from services.revenue.store.debt_events import DebtEvents
from tests.revenue.bundles import Parcel, table_of
from tests.revenue.law.published import shipped_law

CBEC = ((int(filing.Scheme.Value("SCHEME_CBEC")), "CBEC000001"),)


@pytest_asyncio.fixture
async def revenue(database: Database) -> Database:
    return database


async def assess(database: Database, parcels: Sequence[Parcel]) -> list[list[str]]:
    """Assess parcels one after another; gives the notes of each."""
    found = []
    for each in parcels:
        table = table_of([each])
        batch = Batch(ActiveLaw(shipped_law()), table, table.encode(ConsignmentColumns))
        answer = Table.decode(await Assessments(database).assess(batch))
        assert answer.strings("reason").tolist() == [""], each
        found.append(answer.ragged("notes").values.tolist())
    return found


async def again(database: Database) -> None:
    work = Reassessment(database, DebtEvents(database), "one", lambda: ActiveLaw(shipped_law()))
    while await work.step():
        pass


async def owed(database: Database, parcels: Sequence[Parcel]) -> list[int]:
    """Duty and tax of each by now."""
    told = {}
    for part in await Assessments(database).inputs.find(
        [each.mrn for each in parcels], [1] * len(parcels), answers=True
    ):
        assert part.answers is not None
        duty, tax = part.answers.ints("duty").values, part.answers.ints("tax").values
        told |= dict(zip(part.places, (duty + tax).tolist(), strict=True))
    return [told[place] for place in range(len(parcels))]


async def test_parcels_for_one_recipient_from_one_carrier_on_a_day_are_one_in_korea(revenue: Database) -> None:
    pair = [Parcel(number, "KR", 9_000, "P123456789012", currency="USD") for number in (1, 2)]
    other_day = Parcel(3, "KR", 9_000, "P123456789012", currency="USD", day=pair[0].day + 1)
    notes = await assess(revenue, [pair[0], other_day, pair[1]])
    assert [("WITHIN_LIMIT" in each, "SUMMED" in each) for each in notes] == [
        (True, False),
        (True, False),
        (False, True),
    ]
    first, _, second = await owed(revenue, [pair[0], other_day, pair[1]])
    assert first == 0
    assert second > 0
    await again(revenue)
    # The earlier one owes what it would owe over the limit: as much as its like.
    assert await owed(revenue, [pair[0], other_day, pair[1]]) == [second, 0, second]


async def test_shares_of_a_split_consignment_are_over_the_limit_of_the_union_together(revenue: Database) -> None:
    first = Parcel(1, "DE", 9_000, "P1", house="HAWB-7", split=True)
    later = Parcel(2, "DE", 9_000, "P1", house="HAWB-7", split=True, previous=first.mrn, carrier="carrier-2")
    alone = Parcel(3, "DE", 9_000, "P1", house="HAWB-8")
    notes = await assess(revenue, [first, alone, later])
    assert [("WITHIN_LIMIT" in each, "SUMMED" in each) for each in notes] == [
        (True, False),
        (True, False),
        (False, True),
    ]
    _, single, second = await owed(revenue, [first, alone, later])
    await again(revenue)
    assert await owed(revenue, [first, alone, later]) == [second, single, second]
    assert second != single


async def test_one_importer_s_goods_on_one_craft_are_one_in_new_zealand(revenue: Database) -> None:
    pair = [Parcel(number, "NZ", 60_000, "NZ-7", craft="NZ 99", currency="NZD") for number in (1, 2)]
    other = Parcel(3, "NZ", 60_000, "NZ-7", craft="NZ 105", currency="NZD")
    notes = await assess(revenue, [pair[0], other, pair[1]])
    assert ["OVER_LIMIT" in each for each in notes] == [False, False, True]
    before = await owed(revenue, [pair[0], other, pair[1]])
    await again(revenue)
    after = await owed(revenue, [pair[0], other, pair[1]])
    assert after == [before[2], before[1], before[2]]
    assert after[0] != before[0]


async def test_china_s_order_is_judged_as_a_whole_and_its_year_in_turn(revenue: Database) -> None:
    halves = [Parcel(number, "CN", 300_000, "C1", order="O1", schemes=CBEC, currency="CNY") for number in (1, 2)]
    notes = await assess(revenue, halves)
    assert ["OVER_LIMIT" in each for each in notes] == [False, True]
    await again(revenue)
    first, second = await owed(revenue, halves)
    assert first == second
    # Six orders within the order's limit come to more than the year's: the last alone owes in full.
    year = [
        Parcel(number, "CN", 490_000, "C2", order=f"N{number}", schemes=CBEC, currency="CNY")
        for number in range(10, 16)
    ]
    await assess(revenue, year)
    await again(revenue)
    told = await owed(revenue, year)
    assert len(set(told[:5])) == 1
    assert told[5] > told[0]
