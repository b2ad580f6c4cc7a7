"""Screening again over a real store: what a changed list hits anew is told once, whoever crashes, lags or competes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from libs.customs.partitions import PARTITIONS
from libs.store.database import Database
from libs.store.tables.leases import try_lease
from luxor.common.v1 import common_pb2
from services.risk.commands.rescreen import LEASE
from services.risk.jobs.rescreening import Rescreening
from services.risk.screening.matching.list_changes import ChangedEntries
from services.risk.screening.matching.scores import NameMatches
from services.risk.store.screening_matches import ScreeningMatchSnapshot, ScreeningMatchStore
from tests.risk.filings import table
from tests.risk.jobs.rescreening_desk import FENCHURCH, LOADING, MARVIN, Desk, by, consignees, counted, drain, mrn
from tests.risk.screening.list_files import HEAD, NAMES, write


class Crash(Exception):
    """Stands for the end of a process."""


async def test_a_new_entry_hits_who_was_screened_before_and_the_record_names_the_new_version(desk: Desk) -> None:
    lists = desk.lists()
    await desk.assess(lists, consignees("Peter Honest", FENCHURCH, NAMES[0]))
    job = desk.job(lists)
    assert await job.step() is False
    before = lists.state.versions
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    hits = counted("luxor_risk_rescreening_matches_total", {"lane": "red"})
    consignments = counted("luxor_risk_rescreened_total")
    await drain(job)
    # Who was hit when it was assessed is not told again.
    assert await desk.told() == [(mrn(1), 1, [("consignee", "5", common_pb2.LANE_RED)])]
    (event,) = await desk.events()
    assert event.strings("lists").tolist() == [lists.state.versions] != [before]
    assert event.ints("match_threshold").tolist() == [870]
    assert event.child("findings").bools("confidential").values.all()
    assert await desk.lists_of_batches() == [by(lists)]
    assert counted("luxor_risk_rescreening_matches_total", {"lane": "red"}) == hits + 1
    assert counted("luxor_risk_rescreened_total") == consignments + 3
    (kept,) = await desk.hits.announced(mrn(1))
    assert kept.mrn.dictionary == [mrn(1)]
    assert await job.step() is False
    assert len(await desk.events()) == 1


async def test_after_a_crash_the_next_replica_goes_on_where_it_was_and_tells_nothing_twice(
    desk: Desk, database: Database
) -> None:
    class Dies(ScreeningMatchStore):
        async def announce(self, tx: Any, told: Any) -> None:
            await super().announce(tx, told)
            if told.event.strings("mrn")[0] == mrn(1):
                raise Crash

    lists = desk.lists()
    for number in range(4):
        await desk.assess(lists, consignees(FENCHURCH, first=number))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    dies = Rescreening(Dies(database), "a", lambda: lists.state, days=30, slice_batches=1)
    assert await dies.step()
    with pytest.raises(Crash):
        await dies.step()
    assert [each[0] for each in await desk.told()] == [mrn(0)]
    # Its lease runs out by itself; here time is not waited for.
    async with database.transaction() as tx:
        await tx.raw.execute("update job_lease set lease_until = clock_timestamp() where name = 'rescreening'")
    # The next one has only what it reads at its start: it screens against the whole list.
    await drain(desk.job(desk.lists(), "b", slice_batches=1))
    assert [each[0] for each in await desk.told()] == [mrn(number) for number in range(4)]
    assert set(await desk.lists_of_batches()) == {by(lists)}


async def test_what_a_replica_assesses_that_lags_is_screened_again_by_who_does_not(desk: Desk) -> None:
    lists, lagging = desk.lists(), desk.lists()
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    job = desk.job(lists)
    await drain(job)
    await desk.assess(lagging, consignees(FENCHURCH))
    await desk.assess(lists, consignees(FENCHURCH, first=1))
    await drain(job)
    assert await desk.told() == [(mrn(0), 1, [("consignee", "5", common_pb2.LANE_RED)])]


async def test_only_the_newest_version_of_a_filing_is_told(desk: Desk) -> None:
    lists = desk.lists()
    await desk.assess(lists, consignees(FENCHURCH, "Peter Honest"))
    await desk.assess(lists, consignees("Peter Honest", FENCHURCH, versions=[2, 2]))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    await drain(desk.job(lists))
    assert await desk.told() == [(mrn(1), 2, [("consignee", "5", common_pb2.LANE_RED)])]


async def test_each_change_tells_all_that_the_answer_lacks_and_only_when_there_is_something_new(desk: Desk) -> None:
    lists = desk.lists()
    parties = {"consignee": {"name": FENCHURCH}, "consignor": {"name": MARVIN}, "seller": {"name": NAMES[0]}}
    await desk.assess(lists, table([parties]))
    job = desk.job(lists)
    for names in ((*NAMES, FENCHURCH), NAMES, (*NAMES, FENCHURCH), (*NAMES, FENCHURCH, MARVIN), (*NAMES, FENCHURCH)):
        write(desk.directory / "own.csv", *names)
        lists.look()
        await drain(job)
        assert await desk.lists_of_batches() == [by(lists)]
    first, second = ("consignee", "5", common_pb2.LANE_RED), ("consignor", "6", common_pb2.LANE_RED)
    assert await desk.told() == [(mrn(0), 1, [first]), (mrn(0), 1, [second, first])]
    moments = [int(event.ints("screened_at").values[0]) for event in await desk.events()]
    assert moments[0] < moments[1]


async def test_a_hit_that_becomes_stronger_is_told_and_one_that_was_answered_is_not(desk: Desk) -> None:
    lists = desk.lists()
    weak = f"7,person,Somebody Other,,{FENCHURCH},,\n"
    rows = HEAD + "".join(f"{number},person,{name},,,,\n" for number, name in enumerate(NAMES))
    write(desk.directory / "own.csv", text=rows + weak)
    lists.look()
    answer = await desk.assess(lists, consignees(FENCHURCH))
    assert answer.ints("lane").tolist() == [common_pb2.LANE_YELLOW]
    job = desk.job(lists)
    # The entry changes, and what it is hit by does not.
    write(desk.directory / "own.csv", text=rows + weak.replace("Other", "Quite Different"))
    lists.look()
    await drain(job)
    assert await desk.told() == []
    write(desk.directory / "own.csv", text=rows + f"7,person,{FENCHURCH},,,,\n")
    lists.look()
    await drain(job)
    assert await desk.told() == [(mrn(0), 1, [("consignee", "7", common_pb2.LANE_RED)])]


async def test_a_filing_assessed_for_both_purposes_is_told_once(desk: Desk) -> None:
    lists = desk.lists()
    await desk.assess(lists, consignees(FENCHURCH), LOADING)
    await desk.assess(lists, consignees(FENCHURCH))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    await drain(desk.job(lists))
    assert await desk.told() == [(mrn(0), 1, [("consignee", "5", common_pb2.LANE_RED)])]
    assert set(await desk.lists_of_batches()) == {by(lists)}


async def test_a_new_reader_of_the_feed_gets_the_last_hits_of_each_consignment(desk: Desk, database: Database) -> None:
    lists = desk.lists()
    await desk.assess(lists, consignees(FENCHURCH, MARVIN, FENCHURCH))
    job = desk.job(lists)
    for names in ((*NAMES, FENCHURCH), (*NAMES, FENCHURCH, MARVIN)):
        write(desk.directory / "own.csv", *names)
        lists.look()
        await drain(job)
    source, token, found = ScreeningMatchSnapshot(), b"", []
    async with database.connection() as reading:
        while True:
            page = await source.page(reading, range(PARTITIONS), token, 2)
            found += page.table.strings("mrn").tolist()
            assert np.array_equal(page.partitions, np.zeros(page.table.rows))
            token = page.next_token
            if not token:
                break
        assert (await source.page(reading, [7], b"", 10)).table.rows == 0
    assert found == [mrn(0), mrn(1), mrn(2)]


async def test_it_works_in_the_background_and_gives_the_lease_back(desk: Desk, database: Database) -> None:
    lists, stop = desk.lists(), asyncio.Event()
    await desk.assess(lists, consignees(FENCHURCH))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    task = asyncio.create_task(desk.job(lists, pause_seconds=0.01).run(stop))
    async with asyncio.timeout(30):
        while not await desk.told():  # noqa: ASYNC110  # the store tells, and it has no event
            await asyncio.sleep(0.01)
    stop.set()
    await task
    async with database.transaction() as tx:
        assert await try_lease(tx, LEASE, "another", 30.0) is not None


async def test_the_batches_of_a_slice_are_looked_through_together(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = desk.lists()
    for number in range(3):
        await desk.assess(lists, consignees(f"Peter {number}", FENCHURCH, first=number * 2))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    looked: list[set[str]] = []
    screen = ChangedEntries.screen

    def noted(again: ChangedEntries, names: Sequence[str], threshold: int) -> NameMatches:
        assert len(set(names)) == len(names)
        looked.append(set(names))
        return screen(again, names, threshold)

    monkeypatch.setattr(ChangedEntries, "screen", noted)
    await drain(desk.job(lists, slice_batches=3))
    assert len(looked) == 1
    assert looked[0] >= {"Peter 0", "Peter 1", "Peter 2", FENCHURCH}
    assert [each[0] for each in await desk.told()] == [mrn(1), mrn(3), mrn(5)]


async def test_a_list_that_hits_everybody_is_told_in_short_transactions(desk: Desk, database: Database) -> None:
    lists = desk.lists()
    for number in range(3):
        await desk.assess(lists, consignees(*[FENCHURCH] * 600, first=number * 600))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    await drain(desk.job(lists))
    # More than a slice may have: each batch is one of its own.
    assert [event.rows for event in await desk.events()] == [600, 600, 600]
    assert len({each[0] for each in await desk.told()}) == 1800
