"""Which days are made and dropped, and when: both sides of each bound, each reason to keep one; without a store."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from libs.feed.publish import retention as module
from libs.feed.publish.retention import Maintenance, Retention
from libs.store.errors import StoreMisuse, StoreUnavailable
from libs.telemetry.metrics import REGISTRY

TODAY = 20_000
KEEP = Retention(days_min=2, days_max=5, notice_days=8, payload_days=10)


class Days:
    """A feed's days: per table, the last place of each (None: it has no entry)."""

    name = "kept"

    def __init__(self) -> None:
        self.tables: dict[str, dict[int, tuple[int, int, int] | None]] = {"outbox": {}, "notice": {}, "batch": {}}
        self.behind: list[str] = []
        self.strangers: list[str] = []
        self.leased = True
        self.asked: list[tuple[Any, ...]] = []
        self.floors: list[tuple[Any, ...]] = []
        self.made: list[tuple[Any, ...]] = []
        self.raw = self

    @asynccontextmanager
    async def transaction(self, **more: Any) -> AsyncIterator[Days]:
        yield self

    connection = transaction

    async def execute(self, sql: str, *values: Any) -> None:
        if found := re.match(r"drop table (\w+)_d(\d+)", sql):
            del self.tables[found[1]][int(found[2])]
        elif "feed_make_days" in sql:
            self.made.append(values)
        elif "feed_floor" in sql:
            self.floors.append(values)

    async def fetch(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        if "pg_inherits" in sql:
            return [{"day": day} for day in sorted(self.tables[values[0]])]
        if "delete from feed_consumer" in sql:
            self.asked.append(values)
            return [{"consumer": each} for each in self.strangers]
        self.asked.append(values)
        return [{"consumer": each} for each in self.behind]

    async def fetchval(self, sql: str, *values: Any) -> Any:
        if "pg_try_advisory" in sql:
            return self.leased
        if "to_regclass" in sql:
            table, _, day = values[0].partition("_d")
            return int(day) in self.tables[table]
        return TODAY

    async def fetchrow(self, sql: str) -> dict[str, int] | None:
        found = re.search(r"from (\w+)_d(\d+)", sql)
        assert found is not None
        last = self.tables[found[1]][int(found[2])]
        return None if last is None else dict(zip(("epoch", "xid", "seq"), last, strict=True))

    def maintenance(self, *, notices: bool = False, **more: Any) -> Maintenance:
        return Maintenance(self, KEEP, notices=notices, **more)  # type: ignore[arg-type]


def dropped(table: str, forced: str) -> float:
    labels = {"feed": f"kept.{table}", "forced": forced}
    return REGISTRY.get_sample_value("luxor_feed_days_dropped_total", labels) or 0.0


@pytest.mark.parametrize(
    ("age", "behind", "kept"),
    [
        (0, False, True), (2, False, True), (3, False, False), (5, False, False),
        (3, True, True), (5, True, True), (6, True, False),  # at the limit, although somebody has not read it
    ],
)  # fmt: skip
async def test_a_day_of_the_outbox_goes_once_all_have_passed_it_or_at_its_limit(
    capsys: pytest.CaptureFixture[str], age: int, *, behind: bool, kept: bool
) -> None:
    days = Days()
    days.tables["outbox"] = {TODAY - age: (5, 6, 7)}
    days.behind = ["one", "two"] if behind else []
    before = dropped("outbox", "true"), dropped("outbox", "false")
    await days.maintenance().step()
    assert list(days.tables["outbox"]) == ([TODAY - age] if kept else [])
    assert days.floors == ([] if kept else [("outbox", 5, 6, 7, TODAY - age)])
    assert dropped("outbox", "true") - before[0] == (behind and not kept)
    assert dropped("outbox", "false") - before[1] == (not behind and not kept)
    told = capsys.readouterr().err
    assert ("FEED_DAY_DROPPED_UNREAD" in told) is (behind and not kept)
    assert ('"consumers":"one,two"' in told) is (behind and not kept)
    assert days.asked == ([(5, 6, 7)] if age > 2 else [])


@pytest.mark.parametrize(("age", "kept"), [(2, True), (3, False)])
async def test_a_day_without_an_entry_goes_although_consumers_are_behind_and_raises_no_floor(
    age: int, *, kept: bool
) -> None:
    days = Days()
    days.tables["outbox"] = {TODAY - age: None}
    days.behind = ["one"]
    await days.maintenance().step()
    assert (bool(days.tables["outbox"]), days.floors, days.asked) == (kept, [], [])


@pytest.mark.parametrize(("age", "kept"), [(3, True), (8, True), (9, False)])
async def test_a_day_of_notices_lives_as_long_as_it_is_said_whoever_is_behind(age: int, *, kept: bool) -> None:
    days = Days()
    days.tables["notice"] = {TODAY - age: (5, 6, 7)}
    days.behind = ["one"]
    await days.maintenance(notices=True).step()
    assert bool(days.tables["notice"]) is kept
    assert days.floors == ([] if kept else [("notice", 5, 6, 7, TODAY - age)])
    assert days.asked == [], "whoever reads notices is no consumer"


@pytest.mark.parametrize("notices", [True, False])
async def test_notices_are_looked_after_where_there_are_any(*, notices: bool) -> None:
    days = Days()
    days.tables["notice"] = {TODAY - 100: None}
    await days.maintenance(notices=notices).step()
    assert bool(days.tables["notice"]) is not notices
    tables = ["outbox", "notice", "batch"] if notices else ["outbox", "batch"]
    assert days.made == [(each, 7) for each in tables], "a week ahead"


async def test_days_go_in_their_order_so_that_what_is_kept_has_no_hole() -> None:
    days = Days()
    days.tables["outbox"] = {TODAY - 9: None, TODAY - 4: (5, 6, 7), TODAY - 3: None, TODAY: None}
    days.behind = ["one"]
    await days.maintenance().step()
    assert list(days.tables["outbox"]) == [TODAY - 4, TODAY - 3, TODAY]


async def test_all_days_go_that_are_done_with() -> None:
    days = Days()
    days.tables["outbox"] = {TODAY - 9: None, TODAY - 8: (5, 6, 7), TODAY - 3: None, TODAY - 2: None}
    await days.maintenance().step()
    assert list(days.tables["outbox"]) == [TODAY - 2]


async def test_days_live_as_by_default_where_nothing_is_said() -> None:
    days = Days()
    days.tables["outbox"] = {TODAY - 3: None, TODAY - 2: None}
    await Maintenance(days).step()  # type: ignore[arg-type]
    assert list(days.tables["outbox"]) == [TODAY - 2]


@pytest.mark.parametrize(
    ("age", "entries", "kept"),
    [(9, (), True), (10, (), False), (11, (), False), (10, ("outbox",), True), (10, ("notice",), True)],
)
async def test_payloads_go_after_their_time_and_never_before_the_entries_that_refer_to_them(
    age: int, entries: tuple[str, ...], *, kept: bool
) -> None:
    days = Days()
    days.tables["batch"] = {TODAY - age: None}
    for table in entries:
        # Behind a day that is kept, so that it stays.
        days.tables[table] = {TODAY - age - 1: (1, 1, 1), TODAY - age: None}
    days.behind = ["one"]
    maintenance = days.maintenance(notices=True)

    async def stays(*values: Any) -> bool:
        return False

    maintenance.drop_entries = stays  # type: ignore[method-assign]
    await maintenance.step()
    assert bool(days.tables["batch"]) is kept


async def test_while_another_replica_works_nothing_is_made_or_dropped() -> None:
    days = Days()
    days.leased = False
    days.tables = {"outbox": {TODAY - 9: (5, 6, 7)}, "notice": {}, "batch": {TODAY - 50: None}}
    await days.maintenance().step()
    assert (len(days.tables["outbox"]), len(days.tables["batch"])) == (1, 1)
    assert (days.made, days.floors) == ([], [])


async def test_a_day_may_stand_in_for_that_of_the_store() -> None:
    days = Days()
    days.tables["outbox"] = {TODAY: None}
    await days.maintenance().step(today=TODAY + 3)
    assert not days.tables["outbox"]


async def test_positions_of_who_may_not_read_are_forgotten_where_it_is_said_who_may(
    capsys: pytest.CaptureFixture[str],
) -> None:
    days = Days()
    days.strangers = ["stranger"]
    await days.maintenance().step()
    assert days.asked == []
    await days.maintenance(consumers={"b", "a"}).step()
    assert days.asked == [(["a", "b"],)]
    assert capsys.readouterr().err.count("FEED_CONSUMER_FORGOTTEN") == 1


@pytest.mark.parametrize(
    ("error", "interval", "pause", "reason"),
    [
        (None, 600.0, 600.0, ""), (StoreUnavailable("away", reason="lock"), 600.0, 5.0, "FEED_MAINTENANCE_POSTPONED"),
        (StoreUnavailable("away", reason="lock"), 3.0, 3.0, "FEED_MAINTENANCE_POSTPONED"),
        (StoreMisuse("wrong", database="d"), 600.0, 600.0, "FEED_MAINTENANCE_FAILED"),
    ],
)  # fmt: skip
async def test_it_works_at_once_and_then_every_interval_and_soon_again_where_the_store_was_away(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception | None,
    interval: float,
    pause: float,
    reason: str,
) -> None:
    stop, paused, steps = asyncio.Event(), [], []
    maintenance = Days().maintenance(interval_seconds=interval)

    async def step() -> None:
        steps.append(1)
        if error is not None:
            raise error

    @asynccontextmanager
    async def timeout(seconds: float) -> AsyncIterator[None]:
        paused.append(seconds)
        if len(paused) == 1:
            raise TimeoutError
        stop.set()
        yield

    monkeypatch.setattr(maintenance, "step", step)
    monkeypatch.setattr(module.asyncio, "timeout", timeout)
    await maintenance.run(stop)
    assert (len(steps), paused) == (2, [pause, pause])
    assert reason in capsys.readouterr().err
    await maintenance.run(stop)
    assert len(steps) == 2, "once stopped, nothing more is done"
