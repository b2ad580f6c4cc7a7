"""An event that cannot be applied is set aside with its reason; later events of its key wait behind it; nothing else is held up."""

import random

import grpc
import pytest

from libs.feed.consume.consumer import UNEXPECTED_TRIES
from libs.feed.dead_letters.service import DeadLetterServicer
from libs.feed.types import EventError
from libs.server.errors import Refusal
from luxor.feed.v1 import dead_letters_pb2
from tests.feed.conftest import ALL, Follower, Producer, drain
from tests.feed.failures import Away, Died, expire


async def replay(follower: Follower, request_id: str, **chosen: object) -> dead_letters_pb2.ReplayDeadLettersResponse:
    return await DeadLetterServicer(follower.database).ReplayDeadLetters(
        dead_letters_pb2.ReplayDeadLettersRequest(request_id=request_id, **chosen), None
    )  # type: ignore[arg-type]


async def test_one_bad_event_in_a_large_page_is_found_and_set_aside_alone(
    producer: Producer, follower: Follower, bad_event: EventError
) -> None:
    consumer = follower.consumer(producer.port())
    await follower.at_feed(consumer)
    for turn in range(5):
        await producer.announce(*[(f"m{turn}-{row}", 1, row % 64) for row in range(200)], trace=f"trace-{turn}")
    follower.handler.bad = {"m3-137": bad_event}
    await drain(consumer)
    effects = await follower.effects()
    assert sorted(effects) == sorted(event for event in producer.written if event[0] != "m3-137")
    (letter,) = await follower.letters()
    assert (letter["key"], letter["reason"], letter["tries"], letter["partition"]) == (
        "m3-137",
        "NO_SUCH_THING",
        1,
        137 % 64,
    )
    assert letter["message"] == bad_event.message
    assert letter["traceparent"] == "trace-3"
    assert follower.handler.prepared < 60, "bisection, not a try for each row"


@pytest.mark.parametrize("suffix", ["", "late"], ids=["in prepare", "in apply"])
async def test_later_events_of_the_same_key_wait_and_no_others(
    producer: Producer, follower: Follower, bad_event: EventError, suffix: str
) -> None:
    consumer = follower.consumer(producer.port())
    await follower.at_feed(consumer)
    bad = "bad" + suffix
    follower.handler.bad = {bad: bad_event}
    await producer.announce((bad, 1, 7), ("good", 1, 7), (bad, 2, 7), ("good", 2, 7))
    await drain(consumer)
    follower.handler.bad = {}
    await producer.announce((bad, 3, 7), ("good", 3, 7))
    await producer.announce((bad, 4, 7))
    await drain(consumer)
    assert await follower.effects() == [("good", 1, 7), ("good", 2, 7), ("good", 3, 7)]
    assert [letter["reason"] for letter in await follower.letters()] == ["NO_SUCH_THING"] + ["WAITING_BEHIND"] * 3
    assert [letter["tries"] for letter in await follower.letters()] == [1, 0, 0, 0]


async def test_events_of_a_key_before_the_bad_one_take_effect(producer: Producer, follower: Follower) -> None:
    class OnlyVersionTwo(type(follower.handler)):  # type: ignore[misc]
        async def prepare(self, batches):  # type: ignore[no-untyped-def]
            for batch in batches:
                if 2 in batch.table.ints("version").values:
                    raise EventError("VERSION_TWO", "version two is no good")
            return batches

    consumer = follower.consumer(producer.port(), handler=OnlyVersionTwo())
    await follower.at_feed(consumer)
    await producer.announce(("m", 1, 7), ("m", 2, 7), ("m", 3, 7), ("n", 1, 7))
    await drain(consumer)
    assert await follower.effects() == [("m", 1, 7), ("n", 1, 7)]
    assert [letter["reason"] for letter in await follower.letters()] == ["VERSION_TWO", "WAITING_BEHIND"]


async def test_rows_that_fail_only_together_are_parted(producer: Producer, follower: Follower) -> None:
    class NotTogether(type(follower.handler)):  # type: ignore[misc]
        async def prepare(self, batches):  # type: ignore[no-untyped-def]
            names = {mrn for batch in batches for mrn in batch.table.strings("mrn").tolist()}
            if {"a", "d"} <= names:
                raise EventError("TOGETHER", "these two cannot be applied at once")
            return batches

    consumer = follower.consumer(producer.port(), handler=NotTogether())
    await follower.at_feed(consumer)
    await producer.announce(("a", 1, 7), ("b", 1, 7), ("c", 1, 7), ("d", 1, 7))
    await drain(consumer)
    assert await follower.effects() == [("a", 1, 7), ("b", 1, 7), ("c", 1, 7)]
    assert [letter["key"] for letter in await follower.letters()] == ["d"]


async def test_an_error_that_nobody_expected_gets_tries_first_and_then_stops_only_its_event(
    producer: Producer, follower: Follower
) -> None:
    consumer = follower.consumer(producer.port())
    await follower.at_feed(consumer)
    await producer.announce(*[(f"m{row}", 1, row) for row in ALL])
    follower.handler.bad = {"m9": KeyError("Jane Doe")}
    for _ in range(UNEXPECTED_TRIES - 1):
        with pytest.raises(KeyError):
            await consumer.step()
        assert await follower.letters() == []
    await drain(consumer)
    (letter,) = await follower.letters()
    assert letter["reason"] == "UNEXPECTED"
    assert letter["message"].startswith("KeyError")
    assert "Jane" not in letter["message"]
    assert len(await follower.effects()) == 63


async def test_an_unexpected_error_beside_an_event_error_does_not_stop_the_feed(
    producer: Producer, follower: Follower, bad_event: EventError
) -> None:
    consumer = follower.consumer(producer.port())
    await follower.at_feed(consumer)
    await producer.announce(*[(f"m{row}", 1, row) for row in ALL])
    follower.handler.bad = {"m3": bad_event, "m60": KeyError()}
    for _ in range(3 * UNEXPECTED_TRIES):
        try:
            await consumer.step()
        except KeyError:
            continue
    assert {letter["key"]: letter["reason"] for letter in await follower.letters()} == {
        "m3": "NO_SUCH_THING",
        "m60": "UNEXPECTED",
    }
    assert len(await follower.effects()) == 62


async def test_trouble_that_passes_in_the_middle_of_a_bisection_sets_nothing_else_aside(
    producer: Producer, follower: Follower, bad_event: EventError
) -> None:
    consumer = follower.consumer(producer.port())
    await follower.at_feed(consumer)
    await producer.announce(*[(f"m{row}", 1, row) for row in ALL])
    follower.handler.bad = {"m30": bad_event}
    prepare = follower.handler.prepare
    chance, away = random.Random(5), 0

    async def now_and_then_away(batches):  # type: ignore[no-untyped-def]
        nonlocal away
        if chance.random() < 0.2:
            away += 1
            raise Away(grpc.StatusCode.UNAVAILABLE)
        return await prepare(batches)

    follower.handler.prepare = now_and_then_away  # type: ignore[method-assign]
    for _ in range(60):
        try:
            await consumer.step()
        except Away:
            continue
    assert away > 2
    assert [letter["key"] for letter in await follower.letters()] == ["m30"]
    assert sorted(await follower.effects()) == sorted(event for event in producer.written if event[0] != "m30")


async def test_a_replay_applies_the_letters_of_a_key_in_their_order_exactly_once_and_lets_it_flow_again(
    producer: Producer, follower: Follower, bad_event: EventError
) -> None:
    consumer = follower.consumer(producer.port())
    await follower.at_feed(consumer)
    follower.handler.bad = {"bad": bad_event, "worse": bad_event}
    for version in range(1, 5):
        await producer.announce(("bad", version, 7), ("worse", version, 8))
        await drain(consumer)
    follower.handler.bad = {"worse": bad_event}
    answer = await replay(follower, "request-1", keys=["bad"])
    assert (answer.letters, answer.keys) == (4, 1)
    assert (await replay(follower, "request-1", keys=["bad"])).letters == 4, "the same request gets the same answer"
    with pytest.raises(Refusal) as reused:
        await replay(follower, "request-1", keys=["worse"])
    assert reused.value.reason == "REQUEST_REUSED"
    await producer.announce(("bad", 5, 7))
    follower.clock.now += 10
    await drain(consumer)
    await producer.announce(("bad", 6, 7))
    await drain(consumer)
    assert await follower.effects() == [("bad", version, 7) for version in range(1, 7)]
    assert {letter["key"] for letter in await follower.letters()} == {"worse"}


async def test_a_letter_that_fails_again_stays_with_one_more_try_and_so_do_those_behind_it(
    producer: Producer, follower: Follower, bad_event: EventError
) -> None:
    consumer = follower.consumer(producer.port())
    await follower.at_feed(consumer)
    follower.handler.bad = {"bad": bad_event, "other": bad_event}
    await producer.announce(("bad", 1, 7), ("bad", 2, 7), ("other", 1, 7))
    await drain(consumer)
    follower.handler.bad = {"bad": bad_event}
    (first, *_) = await follower.letters()
    await replay(follower, "request-2", all=True)
    follower.clock.now += 10
    await drain(consumer)
    letters = await follower.letters()
    assert [(letter["key"], letter["tries"], letter["replay"]) for letter in letters] == [
        ("bad", 2, False),
        ("bad", 0, False),
    ]
    assert letters[0]["id"] == first["id"]
    assert letters[0]["tried_at"] > first["tried_at"]
    assert await follower.effects() == [("other", 1, 7)]


async def test_passing_trouble_in_a_replay_counts_no_try(
    producer: Producer, follower: Follower, bad_event: EventError
) -> None:
    consumer = follower.consumer(producer.port())
    await follower.at_feed(consumer)
    follower.handler.bad = {"bad": bad_event}
    await producer.announce(("bad", 1, 7))
    await drain(consumer)
    follower.handler.bad = {"bad": TimeoutError()}
    await replay(follower, "request-3", all=True)
    follower.clock.now += 10
    await producer.announce(("good", 1, 8))
    await drain(consumer)
    assert await follower.effects() == [("good", 1, 8)], "what a letter waits for holds nothing else up"
    (letter,) = await follower.letters()
    assert letter["tries"] == 1
    assert letter["replay"]
    follower.handler.bad = {}
    follower.clock.now += 10
    await drain(consumer)
    assert sorted(await follower.effects()) == [("bad", 1, 7), ("good", 1, 8)]
    assert await follower.letters() == []


async def test_a_crash_in_a_replay_and_another_replica_after_it_apply_the_letter_once(
    producer: Producer, follower: Follower, bad_event: EventError
) -> None:
    first = follower.consumer(producer.port(), "first")
    await follower.at_feed(first)
    follower.handler.bad = {"bad": bad_event}
    await producer.announce(("bad", 1, 7), ("bad", 2, 7))
    await drain(first)
    follower.handler.bad = {}
    await replay(follower, "request-4", all=True)
    for step in ("prepare", "apply", "applied"):
        follower.clock.now += 10
        died = type("Gone", (Died, TimeoutError), {})
        follower.handler.crash = {step: died()}
        await first.step()
        assert follower.handler.crash == {}, f"it died while it was to {step}"
    await expire(follower)
    second = follower.consumer(producer.port(), "second")
    follower.clock.now += 10
    await drain(second)
    await drain(second)
    assert await follower.effects() == [("bad", 1, 7), ("bad", 2, 7)]
    await producer.announce(("bad", 3, 7))
    await drain(second)
    assert (await follower.effects())[-1] == ("bad", 3, 7)


async def test_a_replica_that_takes_over_knows_which_keys_wait(
    producer: Producer, follower: Follower, bad_event: EventError
) -> None:
    first = follower.consumer(producer.port(), "first")
    await follower.at_feed(first)
    follower.handler.bad = {"bad": bad_event}
    await producer.announce(("bad", 1, 7))
    await drain(first)
    await first.close()
    follower.handler.bad = {}
    await producer.announce(("bad", 2, 7))
    await drain(follower.consumer(producer.port(), "second"))
    assert await follower.effects() == []
    assert [letter["reason"] for letter in await follower.letters()] == ["NO_SUCH_THING", "WAITING_BEHIND"]


async def test_a_bad_row_of_a_snapshot_is_set_aside_and_the_rest_starts(
    producer: Producer, follower: Follower, bad_event: EventError
) -> None:
    await producer.announce(*[(f"m{row}", 1, row) for row in ALL])
    follower.handler.bad = {"m12": bad_event}
    consumer = follower.consumer(producer.port())
    await drain(consumer)
    assert len(await follower.kept()) == 63
    (letter,) = await follower.letters()
    assert letter["key"] == "m12"
    assert letter["snapshot"]
    follower.handler.bad = {}
    await producer.announce(("m12", 2, 12))
    await replay(follower, "request-5", ids=[letter["id"]])
    follower.clock.now += 10
    await drain(consumer)
    assert (await follower.kept())["m12"] in (1, 2)
    follower.clock.now += 10
    await drain(consumer)
    if await follower.letters():
        await replay(follower, "request-6", all=True)
        follower.clock.now += 10
        await drain(consumer)
    assert (await follower.kept())["m12"] == 2


async def test_letters_are_told_in_pages_and_by_filter(
    producer: Producer, follower: Follower, bad_event: EventError
) -> None:
    consumer = follower.consumer(producer.port())
    await follower.at_feed(consumer)
    follower.handler.bad = {f"m{row}": bad_event for row in range(5)}
    await producer.announce(*[(f"m{row}", 1, row) for row in range(5)], ("m0", 2, 0))
    await drain(consumer)
    servicer = DeadLetterServicer(follower.database)
    first = await servicer.ListDeadLetters(
        dead_letters_pb2.ListDeadLettersRequest(page_size=4, with_payload=True), None
    )
    assert (len(first.letters), first.total) == (4, 6)
    plain = await servicer.ListDeadLetters(dead_letters_pb2.ListDeadLettersRequest(page_size=1), None)
    assert not plain.letters[0].payload
    second = await servicer.ListDeadLetters(
        dead_letters_pb2.ListDeadLettersRequest(page_size=4, page_token=first.next_page_token, with_payload=True), None
    )
    assert len(second.letters) == 2
    assert not second.next_page_token
    assert second.letters[0].payload
    ids = [letter.id for letter in (*first.letters, *second.letters)]
    assert ids == sorted(set(ids))
    waiting = await servicer.ListDeadLetters(dead_letters_pb2.ListDeadLettersRequest(reason="WAITING_BEHIND"), None)
    assert [letter.key for letter in waiting.letters] == ["m0"]
    assert (await servicer.ListDeadLetters(dead_letters_pb2.ListDeadLettersRequest(source="nobody"), None)).total == 0
    for chosen in ({}, {"all": True, "ids": [1]}):
        with pytest.raises(Refusal) as refused:
            await replay(follower, "request-7", **chosen)
        assert refused.value.reason == "LETTERS_NOT_CHOSEN"
    with pytest.raises(Refusal):
        await servicer.ListDeadLetters(dead_letters_pb2.ListDeadLettersRequest(page_token="x"), None)
