"""More of what the feed's edge and its readers do at their bounds; entries in memory answer the queries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from libs.feed.publish import shared_positions
from libs.feed.publish.backlog import Backlog
from libs.feed.publish.outbox import Outbox
from libs.feed.publish.reader import NOTICE, OUTBOX, Kind
from libs.feed.publish.service import EVENTS_DEFAULT, EVENTS_MAX, PAGE_BYTES_MAX, WAIT_MILLIS_MAX, to_positions
from libs.feed.publish.shared_positions import SharedPositions
from libs.feed.types import Cursor
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role
from libs.store.errors import StoreUnavailable
from libs.telemetry.metrics import REGISTRY
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from tests.feed.conftest import table_of
from tests.feed.served import SCHEMA, Served
from tests.feed.stored import TODAY, Stored


def test_an_outbox_writes_the_first_version_of_its_schema_where_nothing_is_said() -> None:
    assert Outbox(None, SCHEMA).schema_version == 1  # type: ignore[arg-type]  # nothing is asked of it


@pytest.mark.parametrize(("spare", "asked"), [(0, [16]), (-1, [16, 4])])
async def test_a_page_of_a_snapshot_weighs_twice_a_page_at_most(spare: int, asked: list[int]) -> None:
    events = [(f"m{row}", row, 1) for row in range(16)]
    size = len(table_of(events).serialize(ConsignmentColumns))
    assert size % 2 == 0
    served = Served(page_bytes_max=size // 2 + spare)
    served.days.rows = 1_000
    await served.snapshot(max_rows=16)
    assert [each[3] for each in served.days.asked] == asked


async def test_a_pull_that_does_not_wait_starts_no_poll() -> None:
    served = Served()
    await served.pull({1: Cursor(7, TODAY, 999, 0)})
    assert served.servicer.watch.task is None


async def test_positions_are_recorded_of_a_producer_that_bounds_no_backlog() -> None:
    served = Served()
    await served.pull(committed=to_positions({1: Cursor(7, 0, 1_000, 1)}))
    assert served.database.heard.executed[1][:3] == ("watcher", [1], [7])


@pytest.mark.parametrize(("kind", "counted"), [(OUTBOX, 1), (NOTICE, 0)])
async def test_an_epoch_that_began_meanwhile_is_counted_once_by_the_readers_of_events(kind: Kind, counted: int) -> None:
    def begun() -> float:
        return REGISTRY.get_sample_value("luxor_feed_epochs_total", {"feed": "feed"}) or 0.0

    stored = Stored()
    reader = stored.reader(kind)
    before = begun()
    for _ in range(3):
        await reader.refresh(stored)
    assert begun() == before, "the first look says nothing of a change, and later ones see none"
    stored.ends[7], stored.ends[8] = (5, 5), None
    for _ in range(2):
        await reader.refresh(stored)
    assert begun() - before == counted


async def test_positions_in_the_store_are_looked_at_four_times_a_second_until_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shared, stop, looked, paused = SharedPositions(None, Backlog("c")), asyncio.Event(), [], []  # type: ignore[arg-type, var-annotated]

    async def step() -> None:
        looked.append(1)
        raise StoreUnavailable("away", reason="connection")

    @asynccontextmanager
    async def timeout(seconds: float) -> AsyncIterator[None]:
        paused.append(seconds)
        if len(paused) == 1:
            raise TimeoutError
        stop.set()
        yield

    monkeypatch.setattr(shared, "step", step)
    monkeypatch.setattr(shared_positions.asyncio, "timeout", timeout)
    await shared.run(stop)
    assert (len(looked), paused) == (2, [0.25, 0.25])
    assert "FEED_POLL_FAILED" in capsys.readouterr().err
    await shared.run(stop)
    assert len(looked) == 2


@pytest.mark.parametrize(("millis", "found", "asked"), [(0, False, 0), (700, False, 1), (700, True, 2)])
async def test_a_pull_without_an_event_waits_for_one_until_its_time_is_over(
    millis: int, asked: int, *, found: bool
) -> None:
    served, place = Served(), Cursor(7, TODAY, 500, 0)
    waits: list[tuple[dict[int, Cursor], Cursor, float]] = []

    async def wait(after: dict[int, Cursor], since: Cursor, seconds: float) -> bool:
        waits.append((dict(after), since, seconds))
        return found and len(waits) == 1

    served.servicer.watch.wait = wait  # type: ignore[assignment]
    answer = await served.pull({1: place}, wait_millis=millis)
    assert len(waits) == asked
    assert len(served.stored.asked) == max(1, asked)
    for after, since, seconds in waits:
        assert set(after) == {1}
        assert since.xid == served.stored.xmin
        assert 0 < seconds <= millis / 1000
    assert (len(answer.batches), answer.horizon.xid) == (0, served.stored.xmin)


def test_the_feeds_bounds_are_as_documented() -> None:
    assert (EVENTS_DEFAULT, EVENTS_MAX, WAIT_MILLIS_MAX) == (5_000, 20_000, 20_000)
    assert PAGE_BYTES_MAX == 3 * 2**20, "below the 4 MB of a gRPC message"


@pytest.mark.parametrize(("role", "begins"), [(Role.SERVICE, True), (Role.OFFICER, False), (Role.OPERATOR, False)])
async def test_only_a_service_has_a_store_that_was_set_back_begin_an_epoch(role: Role, *, begins: bool) -> None:
    served = Served()
    with pytest.raises(Refusal) as ended:
        await served.pull({1: Cursor(7, TODAY, 2_000, 0)}, as_who=Identity(role, "watcher"))
    assert ended.value.reason == "FEED_EPOCH_ENDED"
    assert bool(served.stored.begun) is begins
