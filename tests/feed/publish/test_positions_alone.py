"""Which positions of consumers are written, and when, without a database."""

from __future__ import annotations

from typing import Any

from libs.feed.consume.requests import done, open_requests, request
from libs.feed.publish.backlog import Backlog
from libs.feed.publish.retention import Positions
from libs.feed.publish.shared_positions import SharedPositions
from libs.feed.types import Cursor
from tests.feed.stored import Heard, StoredDatabase


async def test_a_position_is_written_once_in_so_many_seconds_by_partition() -> None:
    now, database = 100.0, StoredDatabase(Heard())
    positions = Positions(database, clock=lambda: now)  # type: ignore[arg-type]
    await positions.record("c", {1: Cursor(1, 2, 3, 4)})
    assert database.heard.executed == [("c", 64), ("c", [1], [1], [2], [3], [4])], "registered, and written"
    now += 4.9
    await positions.record("c", {1: Cursor(1, 2, 3, 5), 2: Cursor(1, 2, 3, 6)})
    assert database.heard.executed[2:] == [("c", [2], [1], [2], [3], [6])]
    await positions.record("c", {1: Cursor(1, 2, 3, 5)}, seconds_min=4.9)
    assert len(database.heard.executed) == 4
    now += 5
    await positions.record("c", {1: Cursor(1, 2, 3, 7)})
    assert len(database.heard.executed) == 5
    await positions.forget("c")
    await positions.register("c")
    assert database.heard.executed[5:] == [("c",), ("c", 64)]


async def test_positions_are_read_as_they_are_recorded_and_confirm_a_backlog_where_its_report_is_lacking() -> None:
    heard = Heard()
    heard.rows = [{"partition": 5, "epoch": 1, "day": 2, "xid": 3, "seq": 4}]
    positions = Positions(StoredDatabase(heard))  # type: ignore[arg-type]
    assert await positions.read("c") == {5: Cursor(1, 2, 3, 4)}
    backlog = Backlog("c")
    seen: list[Any] = []
    lacking: list[float] = []
    backlog.confirm = seen.append  # type: ignore[method-assign, assignment]
    backlog.lacks_report = lambda seconds: lacking.append(seconds) or len(lacking) > 1  # type: ignore[method-assign, func-returns-value]
    shared = SharedPositions(positions, backlog)
    await shared.step()
    assert seen == []
    await shared.step()
    assert (seen, lacking) == ([{5: Cursor(1, 2, 3, 4)}], [0.5, 0.5])


async def test_days_are_asked_for_once_and_grouped_by_day() -> None:
    heard = Heard()
    await request(heard, "s", [(3, 10), (1, 11), (3, 10)])  # type: ignore[arg-type]
    await request(heard, "s", [])  # type: ignore[arg-type]
    assert heard.executed == [("s", [1, 3], [11, 10])]
    heard.rows = [{"partition": 1, "day": 5}, {"partition": 2, "day": 5}, {"partition": 1, "day": 6}]
    assert await open_requests(heard, "s", (1, 2)) == {5: [1, 2], 6: [1]}  # type: ignore[arg-type]
    assert heard.asked == [("s", [1, 2])]
    await done(heard, "s", 5, (1, 2))  # type: ignore[arg-type]
    assert heard.executed[1] == ("s", 5, [1, 2])
