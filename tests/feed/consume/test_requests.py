"""Days that a consumer asked for again: read page by page beside the feed, and never in its way."""

from __future__ import annotations

import itertools

import pytest

from tests.feed.conftest import Follower, Producer, drain
from tests.feed.days import DAY, OTHER, Days, ask, following, missing_of, open_days, until_done


@pytest.fixture
def port(producer: Producer) -> Days:
    return Days(producer.servicer)


async def test_a_day_is_completed_page_by_page_between_pages_of_the_feed(
    producer: Producer, follower: Follower, port: Days
) -> None:
    consumer = await following(follower, port)
    port.pages = {DAY: [[(f"again{page}", 1, 3)] for page in range(5)]}
    await ask(follower, (3, DAY))
    order: list[int] = []
    for turn in range(60):
        await producer.announce((f"live{turn}", 1, turn % 64))
        await consumer.step()
        order.append(len(port.asked))
        if not await open_days(follower):
            break
    assert max(later - before for before, later in itertools.pairwise(order)) <= 1, "a page of it a round"
    await drain(consumer)
    applied = [mrn for mrn, _, _ in await follower.effects()]
    assert sorted(applied) == sorted({*applied})
    assert {f"again{page}" for page in range(5)} < set(applied)
    assert [token for _, token in port.asked] == [b"", b"1", b"2", b"3", b"4"]


async def test_what_had_its_effect_has_none_again(producer: Producer, follower: Follower, port: Days) -> None:
    consumer = await following(follower, port)
    await producer.announce(("known", 1, 3))
    await drain(consumer)
    port.pages = {DAY: [[("known", 1, 3), ("lost", 1, 3)]]}
    await ask(follower, (3, DAY))
    await until_done(consumer, follower)
    assert [mrn for mrn, _, _ in await follower.effects()] == ["known", "lost"]


@pytest.mark.parametrize("how", ["fails", "is silent"])
async def test_a_day_that_cannot_be_read_stops_no_page_and_no_other_day(
    producer: Producer, follower: Follower, port: Days, how: str
) -> None:
    consumer = await following(follower, port)
    port.pages = {DAY: [[("first", 1, 3)]], OTHER: [[("second", 1, 4)]]}
    if how == "fails":
        port.broken[DAY] = TimeoutError()
    else:
        port.silent.add(DAY)
    await ask(follower, (3, DAY), (4, OTHER))
    expected = set()
    for turn in range(20):
        await producer.announce((f"live{turn}", 1, turn % 64))
        expected.add(f"live{turn}")
        await consumer.step()
        follower.clock.now += 5
    await drain(consumer)
    assert expected <= set(await follower.kept())
    if how == "fails":
        assert await open_days(follower) == {DAY}
        assert 2 < len([day for day, _ in port.asked if day == DAY]) < 15, "it is tried again, ever less often"
        port.broken.clear()
        follower.clock.now += 60
        await until_done(consumer, follower)
        assert set(await follower.kept()) == {*expected, "first", "second"}
    await consumer.close()


async def test_a_day_that_fails_backs_off_up_to_a_minute(producer: Producer, follower: Follower, port: Days) -> None:
    consumer = await following(follower, port)
    port.pages = {DAY: [[("first", 1, 3)]]}
    port.broken[DAY] = ConnectionError()
    await ask(follower, (3, DAY))
    for _ in range(600):
        await consumer.step()
        follower.clock.now += 1
    tried = len(port.asked)
    assert 12 < tried < 60
    port.broken.clear()
    await until_done(consumer, follower, rounds=62)


async def test_a_row_that_nobody_expected_to_fail_is_set_aside_and_the_rest_of_its_day_applied(
    producer: Producer, follower: Follower, port: Days
) -> None:
    consumer = await following(follower, port)
    follower.handler.bad["bad"] = RuntimeError("a mistake of ours")
    port.pages = {DAY: [[("good", 1, 3), ("bad", 1, 3)], [("later", 1, 3)]]}
    await ask(follower, (3, DAY))
    for turn in range(40):
        await producer.announce((f"live{turn}", 1, turn % 64))
        await consumer.step()
        follower.clock.now += 10
    await until_done(consumer, follower)
    kept = set(await follower.kept())
    assert {"good", *(f"live{turn}" for turn in range(40))} <= kept
    assert "bad" not in kept
    assert {row["key"] for row in await follower.letters()} >= {"bad"}


async def test_a_partition_that_goes_to_another_replica_takes_its_request_along(
    producer: Producer, follower: Follower, port: Days
) -> None:
    consumer = await following(follower, port)
    port.pages = {DAY: [[(f"m{page}", 1, 3)] for page in range(3)]}
    await ask(follower, (3, DAY))
    while len(port.asked) < 2:
        await consumer.step()
    await consumer.close()
    other = follower.consumer(port, "two", missing=missing_of(follower))
    await until_done(other, follower)
    assert set(await follower.kept()) == {"m0", "m1", "m2"}
    assert len(await follower.effects()) == 3
