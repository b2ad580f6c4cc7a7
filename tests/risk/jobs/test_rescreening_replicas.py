"""Replicas that screen again with different lists, and batches that cannot be screened."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import numpy as np
import pytest
import zstandard

from libs.columns.packing import pack
from libs.store.database import Database
from libs.store.tables.leases import LeaseLost, try_lease
from luxor.common.v1 import common_pb2
from services.risk.commands.rescreen import LEASE, write_matches
from services.risk.jobs.rescreening import AHEAD_SECONDS, Rescreening, batches_left
from services.risk.screening.parties import LEVELS, MatchLevels
from services.risk.store.screening_matches import SliceTaken
from tests.risk.jobs.rescreening_desk import FENCHURCH, Desk, by, consignees, counted, drain, mrn
from tests.risk.screening.list_files import NAMES, write


async def test_two_replicas_tell_each_filing_once(desk: Desk) -> None:
    lists = desk.lists()
    for number in range(6):
        await desk.assess(lists, consignees(FENCHURCH, first=number))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    one, other = (desk.job(lists, name, slice_batches=1) for name in ("a", "b"))
    assert await one.step()
    # Who has no lease does nothing.
    assert await other.step() is False

    async def work(job: Rescreening) -> None:
        with suppress(SliceTaken, LeaseLost):
            await drain(job)

    await asyncio.gather(work(one), work(other))
    await drain(one)
    assert sorted(each[0] for each in await desk.told()) == [mrn(number) for number in range(6)]


async def test_a_slice_that_somebody_did_meanwhile_writes_nothing(desk: Desk) -> None:
    lists = desk.lists()
    await desk.assess(lists, consignees(FENCHURCH))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    batches = await desk.hits.stale(by(lists), 30, 4)
    await drain(desk.job(lists))
    async with desk.hits.database.transaction() as tx:
        token = await try_lease(tx, LEASE, "b", 30.0)
    assert token is not None
    with pytest.raises(SliceTaken, match="1 of 1 batches"):
        await write_matches(desk.hits, token, batches, by(lists), lists.state.versions, 870, [])
    with pytest.raises(LeaseLost):
        await write_matches(desk.hits, token - 1, batches, by(lists), lists.state.versions, 870, [])


async def test_replicas_that_differ_without_an_order_of_days_leave_the_work_to_the_lists_that_came_last(
    desk: Desk, database: Database
) -> None:
    older = desk.lists()
    first, restarted = desk.job(older, "a"), desk.job(older, "a")
    await desk.assess(older, consignees(FENCHURCH))
    await drain(first)
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    newer = desk.lists()
    second = desk.job(newer, "b")
    await drain(second)
    assert await desk.lists_of_batches() == [by(newer)]
    for job in (first, restarted, second, first):
        await drain(job)
        assert await desk.lists_of_batches() == [by(newer)]
    # Nor does a replica that begins with a list that was published before.
    index = desk.directory / "lists.yaml"
    write(index, text=index.read_text().replace("2026-11-01", "2026-10-01"))
    await drain(desk.job(desk.lists(), "c"))
    assert await desk.lists_of_batches() == [by(newer)]
    # Once nobody has the newer lists, who has others works again; by the database's clock, which is not waited for.
    async with database.transaction() as tx:
        await tx.raw.execute(
            "update lists_in_force set seen_at = seen_at - interval '16 minutes' where lists = $1", by(newer)
        )
    await drain(first)
    assert await desk.lists_of_batches() == [by(older)]
    assert len(await desk.told()) == 1


async def test_lists_that_are_set_back_come_into_force_anew(desk: Desk) -> None:
    lists, other = desk.lists(), desk.lists()
    job, late = desk.job(lists, "a"), desk.job(other, "b")
    await desk.assess(lists, consignees("Peter Honest"))
    await drain(job)
    before = by(lists)
    for names in ((*NAMES, FENCHURCH), NAMES):
        write(desk.directory / "own.csv", *names)
        lists.look()
        await drain(job)
    assert await desk.lists_of_batches() == [before]
    # Who took the change late has taken it anew too, and there is an end to it.
    other.look()
    await drain(late)
    await drain(job)
    assert await desk.lists_of_batches() == [before]


async def test_lower_levels_of_matches_screen_again_what_was_assessed_before_and_higher_ones_find_nothing(
    desk: Desk,
) -> None:
    lists = desk.lists()
    likely = MatchLevels(1000, 1000)
    answer = await desk.assess(lists, consignees("Zaphod Beeblebroxx"), levels=likely)
    assert answer.ints("lane").tolist() == [common_pb2.LANE_GREEN]
    assert await desk.lists_of_batches() == [by(lists, likely)]
    await drain(desk.job(lists, levels=MatchLevels(870, 1000)))
    assert await desk.told() == [(mrn(0), 1, [("consignee", "0", common_pb2.LANE_YELLOW)])]
    for levels in (LEVELS, MatchLevels(900, 1000)):
        await drain(desk.job(lists, levels=levels))
        assert await desk.lists_of_batches() == [by(lists, levels)]
    assert (await desk.told())[1:] == [(mrn(0), 1, [("consignee", "0", common_pb2.LANE_RED)])]


async def test_a_batch_that_saw_a_later_list_is_left_alone_until_this_replica_must_have_it(desk: Desk) -> None:
    index = desk.directory / "lists.yaml"
    behind = desk.lists()
    write(index, text=index.read_text().replace("2026-11-01", "2026-11-02"))
    write(desk.directory / "own.csv", *NAMES[:4])
    ahead = desk.lists()
    await desk.assess(ahead, consignees(NAMES[4], "Peter Honest"))
    now = [0.0]
    job = desk.job(behind, clock=lambda: now[0])
    await drain(job)
    assert await desk.lists_of_batches() == [by(ahead)]
    # It was no lag: the list was set back, and what it has again is looked for.
    now[0] = AHEAD_SECONDS
    await drain(job)
    assert await desk.lists_of_batches() == [by(behind)]
    assert await desk.told() == [(mrn(0), 1, [("consignee", "4", common_pb2.LANE_RED)])]


NO_TABLE = zstandard.compress(b"\xff\xff")
NO_FACTS = zstandard.compress(pack({}, {"rows": np.zeros(1, np.int32)}))
NO_ROWS = zstandard.compress(pack({"items": -1}, {}))
OTHER_ROWS = zstandard.compress(pack({"items": -1}, {"rows": np.array([7], np.int32)}))


@pytest.mark.parametrize(
    ("broken", "content"),
    [
        ("assessed_input set columns", b"broken"),
        ("assessed_input set columns", NO_TABLE),
        ("assessed_input set history", NO_FACTS),
        ("assessed_input set history", NO_ROWS),
        ("assessed_input set history", OTHER_ROWS),
        ("assessment_batch set payload", b"\xff\xff"),
    ],
    ids=["packing", "table", "facts", "rows", "other rows", "answers"],
)
async def test_a_batch_that_cannot_be_read_is_counted_and_holds_up_nobody(
    desk: Desk, database: Database, broken: str, content: bytes
) -> None:
    lists = desk.lists()
    for number in range(3):
        await desk.assess(lists, consignees(FENCHURCH, first=number))
    async with database.transaction() as tx:
        await tx.raw.execute(f"update {broken} = $1 where batch = (select min(batch) from assessed_input)", content)
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    unreadable = counted("luxor_risk_rescreening_unreadable_total")
    await drain(desk.job(lists, slice_batches=2))
    assert [each[0] for each in await desk.told()] == [mrn(1), mrn(2)]
    assert counted("luxor_risk_rescreening_unreadable_total") == unreadable + 1
    await batches_left(desk.hits, lambda: lists.state, 30)(database)
    assert counted("luxor_risk_rescreening_batches_left") == 1
