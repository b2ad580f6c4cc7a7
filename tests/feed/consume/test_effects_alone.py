"""How a page takes effect; without a store."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from libs.feed.consume.effects import units_of
from libs.feed.consume.leases import LeasedPartition, Move
from libs.feed.dead_letters.letters import WAITING_BEHIND
from libs.feed.types import Clock, Cursor, EventError, LeaseLost
from libs.telemetry import trace
from libs.telemetry.metrics import REGISTRY
from libs.telemetry.trace import Span
from tests.feed.alone import START, batch_of
from tests.feed.conftest import mrns
from tests.feed.consume.effect_cases import BAD, LATER, NEXT, Case, letter, rows


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"consumer": "follower", "source": "producer"} | labels) or 0.0


async def test_a_page_is_applied_and_its_cursors_move_in_one_transaction() -> None:
    case = Case()
    before = sample("luxor_feed_events_total")
    await case.applier.commit(
        [rows("a", "b"), rows("c", partition=4, xid=12)], {3: Move(1, NEXT), 4: Move(1, LATER, ready=False)}
    )
    assert case.handler.calls == ["prepare", "apply"]
    assert [mrn for mrn, _, _ in case.handler.events] == ["a", "b", "c"]
    assert case.store.moves == [{3: (NEXT, True), 4: (LATER, False)}]
    assert case.leases.by_partition[3] == LeasedPartition(1, NEXT, True, NEXT)
    assert case.leases.by_partition[4] == LeasedPartition(1, LATER, False, LATER)
    assert sample("luxor_feed_events_total") == before + 3


async def test_cursors_move_without_a_call_of_the_handler_where_there_is_nothing_to_apply() -> None:
    case = Case()
    await case.applier.commit([rows()], {3: Move(1, NEXT)})
    assert (case.handler.calls, case.store.moves) == ([], [{3: (NEXT, True)}])


async def test_nothing_of_a_page_happens_whose_lease_was_lost() -> None:
    case = Case()
    del case.leases.by_partition[3]
    with pytest.raises(LeaseLost):
        await case.applier.commit([rows("a")], {3: Move(1, NEXT)}, [letter("z", 4)])
    assert (case.handler.calls, case.handler.events, case.store.letters) == (["prepare"], [], [])
    assert not case.letters.any_waiting


async def test_rows_behind_a_letter_of_their_key_and_partition_are_set_aside_and_no_others() -> None:
    case = Case()
    case.waits(3, "a")
    before = sample("luxor_feed_dead_letters_total", reason=WAITING_BEHIND)
    await case.applier.commit(
        [rows("b", "a", "c"), rows("a", partition=4), rows("a", xid=12), rows()], {3: Move(1, NEXT), 4: Move(1, NEXT)}
    )
    assert case.handler.events == [("b", 1, 3), ("c", 1, 3), ("a", 1, 4)]
    assert case.store.letters == [("a", WAITING_BEHIND)] * 2
    assert sample("luxor_feed_dead_letters_total", reason=WAITING_BEHIND) == before + 2


async def test_letters_that_come_with_a_page_are_stored_and_wait_from_then_on() -> None:
    case = Case()
    await case.applier.commit([rows("b")], {3: Move(1, NEXT)}, [letter("a")])
    assert case.store.letters == [("a", "X")]
    assert case.letters.waits(3, "a")


@pytest.mark.parametrize("waits", [False, True])
async def test_a_page_that_was_begun_is_prepared_anew_only_where_a_key_waits_by_now(*, waits: bool) -> None:
    case = Case()
    batches = [rows("a", "b")]
    preparation = case.applier.begin(batches)
    await preparation.prepared.wait()
    if waits:
        case.waits(3, "a")
    await case.applier.commit(batches, {3: Move(1, NEXT)}, preparation=preparation)
    assert case.handler.prepared == 1 + waits
    assert [mrn for mrn, _, _ in case.handler.events] == (["b"] if waits else ["a", "b"])
    assert preparation.task.cancelled() is waits


async def test_a_page_that_was_not_begun_is_prepared_although_keys_wait() -> None:
    case = Case()
    case.waits(4, "z")
    await case.applier.commit([rows("a")], {3: Move(1, NEXT)})
    assert case.handler.events == [("a", 1, 3)]


async def test_what_fails_is_prepared_all_the_same_so_that_nobody_waits_for_it() -> None:
    case = Case()
    case.handler.bad = {"a": BAD}
    preparation = case.applier.begin([rows("a")])
    async with asyncio.timeout(5):
        await preparation.prepared.wait()
    with pytest.raises(EventError):
        await preparation.task


@pytest.mark.parametrize(("waited", "shown", "skew"), [(7, 7, 0), (0, 0, 0), (-7, 0, 1)])
async def test_how_long_the_oldest_event_waited_is_shown_and_never_below_nothing(
    waited: int, shown: int, skew: int
) -> None:
    ended_spans: list[Span] = []
    trace.configure(ratio=1.0, slow_seconds=3600.0, export=ended_spans.extend)
    before = REGISTRY.get_sample_value("luxor_clock_skew_total", {"where": "wait"}) or 0.0

    class Shown(Clock):
        def now(self) -> int:
            return self.read_at

    oldest = replace(rows("a"), committed_at=1_000, clock=Shown(1_000 + waited, 0.0))
    try:
        await Case().applier.commit([replace(oldest, committed_at=2_000), oldest], {3: Move(1, NEXT)})
        await Case().applier.commit([rows("a", "b")], {3: Move(1, NEXT)})
    finally:
        trace.configure(ratio=0.0, slow_seconds=1.0, export=None)
    first, second = (each.attributes for each in ended_spans if each.name == "follower.consume")
    assert (first["luxor.feed.waited_us"], first["luxor.rows"], first["luxor.batches"]) == (shown, 2, 2)
    assert "luxor.feed.waited_us" not in second, "a producer that tells no time is not compared with this host's"
    assert (REGISTRY.get_sample_value("luxor_clock_skew_total", {"where": "wait"}) or 0.0) - before == skew


def test_a_page_is_cut_by_partition_in_the_order_of_cursors() -> None:
    first = batch_of([("a", 1, 4), ("b", 1, 3), ("c", 1, 4)])
    second = batch_of([("d", 1, 3)], 12)
    units = units_of([first, second], {3: Move(7, LATER), 4: Move(8, NEXT, ready=False)})
    assert [(each.partition, mrns(each.batch.table), each.move) for each in units] == [
        (3, ["b"], Move(7, Cursor(1, 1, 11, 1))), (4, ["a", "c"], Move(8, NEXT, ready=False)), (3, ["d"], Move(7, LATER)),
    ]  # fmt: skip
    snapshot = [replace(first, snapshot=True), replace(second, snapshot=True)]
    still = Move(7, START, ready=False)
    assert {each.move for each in units_of(snapshot, {3: still, 4: still})} == {still}, (
        "its start is reached behind its last page"
    )
