"""Outcomes of inspections by clearance's feed: kept once, corrected, and counted by every replica's history."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from libs.columns import Ints, Table
from libs.feed.types import BEGINNING, EventError, FeedBatch
from libs.store.database import Database
from libs.store.tables.schema import today
from luxor.clearance.v1 import clearance_pb2
from services.risk.commands.housekeeping import purge_outcomes
from services.risk.inspections.outcomes import Outcome, differences, outcomes_of, pack_items, unpack_items
from services.risk.store.outcomes import OUTCOME_DAYS
from tests.risk.aged import age_log
from tests.risk.filings import table
from tests.risk.inspection_outcomes import CONFORM, NOON, PERSON, VIOLATION, Risk, page, state, states


@pytest_asyncio.fixture
async def risk(database: Database, tmp_path: Path) -> AsyncIterator[Risk]:
    await age_log(database)
    made = Risk(database, tmp_path / "one")
    await made.memory.follow()
    yield made


def parcels(count: int, name: str = PERSON, **more: Any) -> Table:
    return table([{"consignee": {"name": name}}] * count, **more)


def mrns(count: int) -> list[str]:
    return parcels(count).strings("mrn").tolist()


async def test_an_outcome_is_kept_with_its_items_and_its_place_and_history_counts_it(risk: Risk) -> None:
    await risk.assess(parcels(3))
    first, second, third = mrns(3)
    await risk.take([state(first, 2, VIOLATION), state(second, 2), state(third, 3, CONFORM)])
    known = await risk.outcomes.stored([first, second, third])
    assert sorted(known) == [first, third]
    assert unpack_items(known[first].items) == [(1, VIOLATION, clearance_pb2.VIOLATION_VALUE)]
    assert (known[first].state_version, known[first].inspected_at, known[first].violation) == (2, NOON, True)
    places = await risk.outcomes.places([(first, 1), (third, 1)])
    day, batch = places[first, 1].day, places[first, 1].batch
    stood = await risk.outcomes.of_batches((day, batch), (day, batch))
    assert [(each.day, each.batch, each.row, each.result) for each in stood] == [
        (day, batch, 0, VIOLATION),
        (day, batch, 2, CONFORM),
    ]
    assert stood[0].items == known[first].items
    assert await risk.history() == (2, 500)
    assert await risk.history("Another Person") == (0, None)


async def test_the_chance_of_selection_is_stored_with_the_outcome_and_unknown_where_no_state_has_it(risk: Risk) -> None:
    await risk.assess(parcels(4))
    rows = [state(mrn, 2, VIOLATION) for mrn in mrns(4)]
    drawn = states(rows).with_columns(
        {
            "selection_cause": Ints.of([6, 1, 6, 0]),
            "inclusion_ppm": Ints.of([31_000, 0, 0, 0], np.array([True, False, False, False])),
        }
    )
    outcomes = outcomes_of(drawn)
    async with risk.database.transaction() as tx:
        await risk.outcomes.put(tx, outcomes, {})
    known = await risk.outcomes.stored(mrns(4))
    assert [known[mrn].inclusion_ppm for mrn in mrns(4)] == [31_000, 1_000_000, None, None]


async def test_another_replica_counts_the_same(risk: Risk, tmp_path: Path) -> None:
    other = Risk(risk.database, tmp_path / "two")
    await risk.assess(parcels(2))
    await risk.take([state(mrns(1)[0], 2, VIOLATION)])
    assert await other.history() == await risk.history() == (1, 1000)


async def test_later_states_of_an_inspected_consignment_and_repeats_change_nothing(risk: Risk) -> None:
    await risk.assess(parcels(1))
    (mrn,) = mrns(1)
    await risk.take([state(mrn, 2, VIOLATION)])
    kept = await risk.kept()
    for _ in range(2):
        await risk.take([state(mrn, 2, VIOLATION)])
        await risk.take([state(mrn, 5, VIOLATION)])
        await risk.take([state(mrn, 6, VIOLATION, filing=2)])
    assert await risk.kept() == kept
    assert await risk.history() == (1, 1000)


async def test_what_a_restored_clearance_announces_replaces_what_it_lost_whatever_the_versions(risk: Risk) -> None:
    await risk.assess(parcels(1))
    (mrn,) = mrns(1)
    lost = state(mrn, 7, VIOLATION, at=NOON + 50)
    await risk.take([lost], epoch=3)
    await risk.take([state(mrn, 4, CONFORM, at=NOON + 90)], epoch=5)
    await risk.take([lost], epoch=3)
    known = (await risk.outcomes.stored([mrn]))[mrn]
    assert (known.epoch, known.state_version, known.violation) == (5, 4, False)
    assert await risk.history() == (1, 0)


async def test_a_correction_replaces_and_counts_once(risk: Risk) -> None:
    await risk.assess(parcels(2))
    first, second = mrns(2)
    await risk.take([state(first, 2, VIOLATION), state(second, 2, CONFORM)])
    assert await risk.history() == (2, 500)
    await risk.take([state(first, 3, CONFORM, at=NOON + 1)])
    assert await risk.history() == (2, 0)
    await risk.take([state(first, 2, VIOLATION)])
    assert await risk.history() == (2, 0)


async def test_an_inspection_of_an_amended_filing_counts_for_the_parties_of_that_filing(risk: Risk) -> None:
    await risk.assess(parcels(1))
    await risk.assess(parcels(1, "Another Person", versions=[2]))
    (mrn,) = mrns(1)
    await risk.take([state(mrn, 2, VIOLATION)])
    await risk.take([state(mrn, 5, VIOLATION, at=NOON + 9, filing=2)])
    assert await risk.history() == (0, None)
    assert await risk.history("Another Person") == (1, 1000)


async def test_what_is_not_stored_is_kept_and_not_counted(risk: Risk) -> None:
    await risk.take([state("26DE000000000009R1", 2, VIOLATION)])
    assert len(await risk.kept()) == 1
    async with risk.database.connection() as reader:
        assert await reader.raw.fetchval("select count(*) from assessed") == 0


async def test_a_page_without_inspections_writes_nothing(risk: Risk) -> None:
    assert await risk.intake.prepare(page([state(mrn, 1) for mrn in mrns(5)])) is None


async def test_an_inspection_without_a_result_is_its_own_fault(risk: Risk) -> None:
    rows = states([state(mrns(1)[0], 2, CONFORM)]).with_columns({"inspection_result": Ints.absent(1)})
    nothing = np.zeros(1, np.int64)
    broken = FeedBatch(rows, nothing, BEGINNING, nothing, 0, "", "luxor.clearance.v1.ClearanceColumns")
    with pytest.raises(EventError, match="has no result of the inspection"):
        await risk.intake.prepare([broken])


async def test_any_order_with_repeats_ends_the_same(risk: Risk, tmp_path: Path) -> None:
    """Twelve consignments with up to three inspections each, in any order, some twice: the newest stands and counts once."""
    rng = random.Random(4711)
    await risk.assess(parcels(12))
    events, newest = [], {}
    for mrn in mrns(12):
        for number in range(rng.randint(1, 3)):
            newest[mrn] = rng.choice([CONFORM, VIOLATION])
            events.append(state(mrn, 2 + number * 2, newest[mrn], at=NOON + number))
            events.append(state(mrn, 3 + number * 2, newest[mrn], at=NOON + number))
    events *= 2
    rng.shuffle(events)
    for start in range(0, len(events), 7):
        await risk.take(events[start : start + 7])
    known = await risk.outcomes.stored(list(newest))
    assert {mrn: outcome.result for mrn, outcome in known.items()} == newest
    hits = sum(result == VIOLATION for result in newest.values())
    assert await risk.history() == (12, 1000 * hits // 12)


def test_differences_add_up_to_the_newest_outcome() -> None:
    rng = random.Random(12)
    for _ in range(200):
        counts: dict[int, list[int]] = {}
        old = None
        for number in range(rng.randint(1, 6)):
            new = Outcome("m", rng.randint(1, 2), number, number, 3, rng.choice([CONFORM, VIOLATION]), b"")
            for told in differences(old, new):
                sums = counts.setdefault(told.filing_version, [0, 0])
                sums[0] += told.inspected
                sums[1] += told.violations
            old = new
        assert old is not None
        expected = {version: [0, 0] for version in counts} | {old.filing_version: [1, int(old.violation)]}
        assert counts == expected


def test_items_come_back_as_they_were_packed() -> None:
    items = [(1, CONFORM, 0), (999, VIOLATION, clearance_pb2.VIOLATION_OTHER)]
    assert unpack_items(pack_items(items)) == items
    assert unpack_items(pack_items([])) == []


async def test_inspections_are_forgotten_after_their_days_and_no_sooner(risk: Risk) -> None:
    async with risk.database.connection() as reader:
        day = await today(reader)
    first, second = mrns(2)
    for mrn, ago in ((first, OUTCOME_DAYS + 1), (second, OUTCOME_DAYS)):
        await risk.take([state(mrn, 2, VIOLATION, at=(day - ago) * 86_400_000_000 + 9)])
    await purge_outcomes(OUTCOME_DAYS)(risk.database)
    assert list(await risk.outcomes.stored([first, second])) == [second]
