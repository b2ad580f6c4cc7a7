"""What-if runs over limits that count several consignments: equal to the law in plain words, one consignment after another."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pytest_asyncio

from libs.columns import Strings
from libs.customs.time import date_of_day
from libs.jobs.running import Running
from libs.jobs.store import Jobs
from libs.store.database import Database
from libs.store.tables.migrate import migrate
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.revenue.v1.what_if_pb2 import WhatIfResult
from services.revenue.assessment.aggregates import Aggregates
from services.revenue.assessment.batch import ActiveLaw, Batch
from services.revenue.commands.assess import Assessments
from services.revenue.commands.reassess import Reassessment
from services.revenue.jobs import what_if
from services.revenue.store.assessments.periods import Periods
from services.revenue.store.debt_events import DebtEvents
from services.revenue.what_if.bands import DEFAULT
from services.revenue.what_if.bundles import bundled_rows, with_bundles
from services.revenue.what_if.plan import JobKind, WhatIfPlan
from tests.revenue.bundles import ALONE, AREA_OF, BOOK, TEST_OF, Parcel, bundling, stream, table_of, who
from tests.revenue.law.lawbooks import RATES
from tests.revenue.law.oracle import Scalar
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.what_if.scalar_what_if import Count

LAW: Final = bundling()
IN_FORCE: Final = ActiveLaw(LAW)
BANDS: Final = [22, 45, 150, 500, 1000]


def files(old: str = "", new: str = "") -> dict[str, str]:
    """The law of every area with one text in the place of another."""
    tests = {area: test for test, area in AREA_OF.items()} | {ALONE: "consignment"}
    books = {f"{area.lower()}/rulebook.yaml": BOOK.format(area=area, test=test) for area, test in tests.items()}
    return {"rates/utopia.yaml": RATES} | {name: text.replace(old, new) for name, text in books.items()}


@pytest_asyncio.fixture
async def revenue(database: Database) -> Database:
    await migrate(database, "services.revenue")
    return database


async def assess(database: Database, parcels: Sequence[Parcel]) -> None:
    table = table_of(parcels)
    await Assessments(database).assess(Batch(IN_FORCE, table, table.encode(ConsignmentColumns)))


async def again(database: Database) -> None:
    work = Reassessment(database, DebtEvents(database), "one", lambda: IN_FORCE)
    while await work.step():
        pass


async def planned(database: Database, law: dict[str, str]) -> WhatIfPlan:
    async with database.connection() as reader:
        today = await reader.raw.fetchval("select max(day) from assessed_input")
    periods = Periods(database)
    until, asked_at = await periods.horizon(today)
    return WhatIfPlan(law, None, today, today, until, asked_at, DEFAULT, await periods.newest_share())


async def run(database: Database, plan: WhatIfPlan) -> WhatIfResult:
    jobs = Jobs(database)
    async with database.transaction() as tx:
        await jobs.add(tx, JobKind.WHAT_IF, plan.to_bytes(), "analyst/one")
        job = await jobs.take(tx)
    assert job is not None
    finished = await what_if.run(Running(job, database, {}))
    async with database.transaction() as tx:
        await jobs.finish(tx, job, finished.result)
    return WhatIfResult.FromString(finished.result)


def in_pairs(seed: int, count: int) -> list[Parcel]:
    """Draw a stream in which two or three have a sum together, so that some sums lie between two limits; some are amended."""
    draw = random.Random(seed)  # a test's draws
    found: list[Parcel] = []
    for number in range(count):
        price = draw.choice((4_000, 5_500, 7_000, 12_000))
        if found and draw.random() < 0.1:
            old = draw.choice(found)
            newest = max(each.version for each in found if each.number == old.number)
            found.append(replace(old, version=newest + 1, price=price))
            continue
        who = draw.randrange(5)
        area = draw.choice([*AREA_OF.values(), ALONE])
        found.append(Parcel(number, area, price, person=f"P{who}", order=f"O{who}", craft="LX 1"))
    return found


def by_hand(parcels: Sequence[Parcel], plan: WhatIfPlan) -> Count:
    """What the newest versions owe by the law of then and by the draft, each with what others make in plain words."""
    held: dict[int, Parcel] = {}
    seen: dict[int, int] = {}
    for each in parcels:
        held[each.number] = each
        queue = list(held.values())
        seen[each.number] = made(each, queue[: queue.index(each)])
    count, then, now = Count(), Scalar(LAW), Scalar(plan.program())
    for each in held.values():
        turn = TEST_OF.get(each.area) == "person_year"
        others = {"small": seen[each.number] if turn else made(each, list(held.values()))}
        filed = Consignment(each.area, date_of_day(each.accepted), [Item(each.price, each.currency, "620630")])
        kinds = {f"{each.area}.{kind}": kind for kind in ("duty", "tax")}
        results = then.assess(filed, others), now.assess(filed, others)
        count.add(filed, *results, [each.price], kinds, (each.area, "EUR"), BANDS)
    return count


def made(parcel: Parcel, among: Sequence[Parcel]) -> int:
    """What others make together with a parcel."""
    test = TEST_OF.get(parcel.area)
    mine = who(test, parcel) if test else None
    same = [each for each in among if each.area == parcel.area and each is not parcel]
    return sum(each.price for each in same if test and mine and who(test, each) == mine)


async def test_a_lower_limit_is_tried_on_whole_bundles(revenue: Database) -> None:
    parcels = in_pairs(11, 70)
    for start in range(0, len(parcels), 7):
        await assess(revenue, parcels[start : start + 7])
    await again(revenue)
    plan = await planned(revenue, files("amount: 150.00 EUR", "amount: 100.00 EUR"))
    # What comes later is not in the period, and does not count in its bundles either.
    await assess(revenue, [Parcel(900 + at, area, 9_900, person="P1", order="O1", craft="LX 1")
                           for at, area in enumerate(AREA_OF.values())])  # fmt: skip
    told, count = await run(revenue, plan), by_hand(parcels, plan)
    assert (told.consignments, told.consignments_changed, told.counted_alone) == (
        count.consignments,
        count.consignments_changed,
        0,
    )
    found = {
        (each.jurisdiction, each.kind, each.collector, each.currency): [
            each.before_minor,
            each.after_minor,
            each.unassessed_minor,
        ]
        for each in told.revenue
    }
    assert found == dict(count.revenue)
    assert count.consignments_changed > 0
    # By what was counted when each came alone, fewer would owe more.
    plan = WhatIfPlan(plan.files, None, plan.from_day, plan.to_day, plan.until_batch, plan.asked_at, plan.bands)
    assert (await run(revenue, plan)).consignments_changed < told.consignments_changed


async def test_a_draft_that_changes_nothing_touches_no_bundle(revenue: Database) -> None:
    await assess(revenue, stream(13, 60))
    await again(revenue)
    told = await run(revenue, await planned(revenue, files()))
    assert (told.consignments_changed, told.counted_alone) == (0, 0)


async def test_who_is_summed_up_for_the_first_time_counts_alone_and_is_told(revenue: Database) -> None:
    parcels = [Parcel(number, ALONE, 9_000, person="P100") for number in (1, 2, 3)] + [Parcel(4, "QC", 9_000, "P100")]
    await assess(revenue, parcels)
    told = await run(revenue, await planned(revenue, files("test: consignment", "test: person_day")))
    assert (told.consignments, told.counted_alone, told.consignments_changed) == (4, 3, 0)


def test_what_others_made_in_the_end_takes_the_place_of_what_they_made_then() -> None:
    then = Aggregates(
        np.array([0, 2, 2, 5]),
        Strings.of(["KR:small", "CN:order", "CN:year", "KR:small"]),
        np.array([0, 10, 20, 30]),
        np.array([True, True, True, False]),
    )
    assert bundled_rows(then, frozenset({"KR:small", "CN:order"})).tolist() == [0, 2]
    newest = with_bundles(then, [(0, "KR:small", 7), (2, "CN:order", 8), (0, "US:other", 9), (3, "KR:small", 9)])
    assert newest.amount.tolist() == [7, 8, 20, 30]
    assert then.amount.tolist() == [0, 10, 20, 30]
    assert with_bundles(then, [(0, "US:other", 9)]) is then
