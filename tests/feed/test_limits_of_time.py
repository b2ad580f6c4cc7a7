"""How long each statement of the feed may take at most: whoever waits longer holds up the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from libs.feed import epochs, metrics
from libs.feed.consume.effects import LETTERS_A_ROUND, Applier
from libs.feed.consume.leases import Leases
from libs.feed.consume.restart import restarting
from libs.feed.publish import watch
from libs.feed.publish.backlog import ENTRIES_MAX
from libs.feed.publish.payloads import CACHE_BYTES_MAX
from libs.feed.publish.reader import OUTBOX, Reader
from libs.feed.publish.retention import Maintenance, Positions
from libs.feed.types import BEGINNING, Cursor
from tests.feed.alone import Alone
from tests.feed.conftest import mrns


class Reached(Exception):
    """A statement was about to run."""


class Timed:
    """A database that only says how long what is asked of it may take."""

    name = "timed"

    def __init__(self) -> None:
        self.millis: int | None = None
        self.executed: list[str] = []

    @asynccontextmanager
    async def transaction(self, *, timeout_millis: int | None = None) -> AsyncIterator[Any]:
        self.millis = timeout_millis
        yield SimpleNamespace(
            raw=SimpleNamespace(execute=self._ask, fetch=self._ask, fetchval=self._ask, fetchrow=self._ask)
        )

    connection = transaction

    async def _ask(self, sql: str, *values: Any) -> Any:
        self.executed.append(sql)
        raise Reached


def leases(database: Any) -> Leases:
    return Leases(database, "producer", "one")


def maintenance(database: Any) -> Maintenance:
    return Maintenance(database, consumers={"a"})


async def polled(database: Any) -> None:
    reader: Reader[int] = Reader(database, OUTBOX)
    watching: watch.Watch[int] = watch.Watch(reader)
    watching.waiters.add(watch.Waiter([1], BEGINNING))
    await watching.poll_once()


async def restarted(database: Any) -> None:
    async with restarting(database, "producer"):
        raise AssertionError


async def committed(database: Any) -> None:
    consumer = Alone().consumer()
    applier = Applier(database, Alone().handler, mrns, consumer.leases, consumer.letters, name="f", source="p")  # type: ignore[arg-type]
    await applier.replay()


@pytest.mark.parametrize(
    ("work", "millis"),
    [
        (lambda database: leases(database).balance(), 2_000), (lambda database: leases(database).renew(), 2_000),
        (lambda database: leases(database).reload(), 2_000), (lambda database: leases(database).release(), 2_000),
        (lambda database: Positions(database).register("c"), 1_000), (lambda database: Positions(database).read("c"), 1_000),
        (lambda database: Positions(database).forget("c"), 1_000), (lambda database: maintenance(database).step(), 1_000),
        (lambda database: maintenance(database).make_days("outbox"), 2_000),
        (lambda database: maintenance(database).drop_entries("outbox", 1, 50), 2_000),
        (lambda database: maintenance(database).drop_payloads(1), 2_000), (polled, 5_000), (restarted, 10_000), (committed, 5_000),
        (watch.horizon(), 5_000), (metrics.letters_waiting("c", "s"), 5_000), (metrics.backlog("f"), 5_000),
    ],
)  # fmt: skip
async def test_a_statement_may_take_so_many_milliseconds(work: Callable[[Any], Awaitable[object]], millis: int) -> None:
    database = Timed()
    with pytest.raises(Reached):
        await work(database)
    assert database.millis == millis


async def test_positions_are_written_within_a_second() -> None:
    database = Timed()
    positions = Positions(database)  # type: ignore[arg-type]
    positions.registered.add("c")
    with pytest.raises(Reached):
        await positions.record("c", {1: Cursor(1, 1, 1, 1)})
    assert database.millis == 1_000


async def test_a_commit_takes_five_seconds_at_most() -> None:
    alone, database = Alone(), Timed()
    consumer = alone.consumer()
    applier = Applier(database, alone.handler, mrns, consumer.leases, consumer.letters, name="f", source="p")  # type: ignore[arg-type]
    with pytest.raises(Reached):
        await applier.commit([], {3: SimpleNamespace(token=1, cursor=BEGINNING, ready=True)})  # type: ignore[dict-item]
    assert database.millis == 5_000


async def test_an_epoch_begins_within_five_seconds() -> None:
    class Present(Timed):
        @asynccontextmanager
        async def connection(self, **more: Any) -> AsyncIterator[Any]:
            async def found(*values: Any) -> bool:
                return True

            yield SimpleNamespace(raw=SimpleNamespace(fetchval=found))

    database = Present()
    with pytest.raises(Reached):
        await epochs.at_start(database)  # type: ignore[arg-type]
    assert database.millis == 5_000


async def test_whoever_makes_or_drops_a_day_waits_a_fifth_of_a_second_for_its_lock() -> None:
    database = Timed()
    with pytest.raises(Reached):
        await maintenance(database).make_days("outbox")
    assert database.executed == ["set local lock_timeout = 200"]


def test_what_is_read_at_once_is_bounded() -> None:
    assert LETTERS_A_ROUND == 500
    assert ENTRIES_MAX == 10_000, "what is unconfirmed, by transaction"
    assert CACHE_BYTES_MAX == 16 * 2**20, "16 MB of payloads"
