"""What officers are shown of dead letters, and which of them a replay marks: each filter, each bound, each choice."""

from __future__ import annotations

from typing import Any

import pytest

from libs.feed.dead_letters.letters import WAITING_BEHIND
from libs.feed.dead_letters.service import DeadLetterServicer
from libs.server.call import Call, enter
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role
from luxor.feed.v1 import dead_letters_pb2
from tests.feed.conftest import Follower
from tests.feed.dead_letter_rows import insert, letter


def caller(role: Role, name: str, request_id: str = "") -> None:
    enter(Call(Identity(role, name), "ReplayDeadLetters", request_id, "", float("inf")))


@pytest.fixture
async def servicer(follower: Follower) -> DeadLetterServicer:
    await insert(follower.database, [letter("a"), letter("b", reason=WAITING_BEHIND), letter("a", 4), letter("c", 5)])
    await insert(follower.database, [letter("a"), letter("d", 9)], "elsewhere")
    return DeadLetterServicer(follower.database)


async def listed(servicer: DeadLetterServicer, **query: Any) -> dead_letters_pb2.ListDeadLettersResponse:
    return await servicer.ListDeadLetters(dead_letters_pb2.ListDeadLettersRequest(**query), None)


async def replayed(servicer: DeadLetterServicer, **chosen: Any) -> tuple[int, int]:
    answer = await servicer.ReplayDeadLetters(
        dead_letters_pb2.ReplayDeadLettersRequest(**{"request_id": "r", **chosen}), None
    )
    return answer.letters, answer.keys


async def marked(follower: Follower) -> list[tuple[str, int, str]]:
    return [(row["source"], row["partition"], row["key"]) for row in await follower.letters() if row["replay"]]


async def test_letters_are_shown_and_counted_that_meet_every_filter(
    servicer: DeadLetterServicer, follower: Follower
) -> None:
    ids = [row["id"] for row in await follower.letters()]
    cases: list[tuple[dict[str, str], list[int]]] = [
        ({}, [0, 1, 2, 3, 4, 5]), ({"source": "producer"}, [0, 1, 2, 3]), ({"source": "elsewhere"}, [4, 5]), ({"source": "no"}, []),
        ({"key": "a"}, [0, 2, 4]), ({"key": "a", "source": "producer"}, [0, 2]), ({"reason": WAITING_BEHIND}, [1]),
        ({"reason": WAITING_BEHIND, "key": "a"}, []), ({"reason": WAITING_BEHIND, "source": "elsewhere"}, []),
        ({"reason": "NO_SUCH_THING", "key": "d", "source": "elsewhere"}, [5]),
    ]  # fmt: skip
    for query, places in cases:
        answer = await listed(servicer, **query)
        assert [each.id for each in answer.letters] == [ids[place] for place in places], query
        assert (answer.total, answer.next_page_token) == (len(places), "")


async def test_a_letter_is_shown_with_all_that_is_known_of_it_and_its_payload_on_demand(
    servicer: DeadLetterServicer, follower: Follower
) -> None:
    (stored,) = [row for row in await follower.letters() if row["key"] == "c"]
    (shown,) = (await listed(servicer, key="c")).letters
    (whole,) = (await listed(servicer, key="c", with_payload=True)).letters
    for name in (
        "id",
        "source",
        "partition",
        "key",
        "schema",
        "schema_version",
        "reason",
        "message",
        "tries",
        "traceparent",
    ):
        assert getattr(shown, name) == stored[name], name
    assert shown.committed_at_micros == stored["committed_at"]
    assert shown.set_aside_at_micros == round(stored["set_aside_at"].timestamp() * 1_000_000)
    assert shown.tried_at_micros == round(stored["tried_at"].timestamp() * 1_000_000)
    assert (shown.replaying, shown.payload, whole.payload) == (False, b"", stored["payload"])
    await follower.sql("update dead_letter set replay = true")
    assert (await listed(servicer, key="c")).letters[0].replaying
    assert (await listed(servicer, key="b")).letters[0].tried_at_micros == 0, "what waits was never tried"


async def test_pages_show_each_letter_once_and_the_last_one_says_so(
    servicer: DeadLetterServicer, follower: Follower
) -> None:
    ids = [row["id"] for row in await follower.letters()]
    for size, pages in ((1, 6), (2, 3), (3, 2), (4, 2), (5, 2), (6, 1), (7, 1), (1_000, 1)):
        found, token, count = [], "", 0
        while count == 0 or token:
            answer = await listed(servicer, page_size=size, page_token=token)
            assert len(answer.letters) <= size
            assert answer.total == 6
            found += [each.id for each in answer.letters]
            token, count = answer.next_page_token, count + 1
        assert (found, count) == (ids, pages)


async def test_a_page_has_a_hundred_letters_where_nothing_is_said_and_a_thousand_at_most(
    servicer: DeadLetterServicer, follower: Follower
) -> None:
    await insert(follower.database, [letter(f"m{number}") for number in range(95)])
    answer = await listed(servicer)
    assert (len(answer.letters), answer.total, bool(answer.next_page_token)) == (100, 101, True)
    assert len((await listed(servicer, page_size=1_000)).letters) == 101
    await insert(follower.database, [letter(f"n{number}") for number in range(900)])
    for size in (1_000, 1_001, 2**31 - 1):
        answer = await listed(servicer, page_size=size)
        assert (len(answer.letters), answer.total, bool(answer.next_page_token)) == (1_000, 1_001, True)
    with pytest.raises(Refusal) as refused:
        await listed(servicer, page_size=-1)
    assert (refused.value.reason, refused.value.path, refused.value.value) == ("NUMBER_NEGATIVE", "page_size", "-1")


async def test_a_replay_marks_what_was_chosen_within_its_source(
    servicer: DeadLetterServicer, follower: Follower
) -> None:
    rows = await follower.letters()
    ids = [row["id"] for row in rows]
    cases: list[tuple[dict[str, Any], list[int], int]] = [
        ({"all": True}, [0, 1, 2, 3, 4, 5], 6), ({"all": True, "source": "elsewhere"}, [4, 5], 2), ({"all": True, "source": "no"}, [], 0),
        ({"keys": ["a"]}, [0, 2, 4], 3), ({"keys": ["a", "b"], "source": "producer"}, [0, 1, 2], 3), ({"keys": ["no"]}, [], 0),
        ({"ids": ids[:1]}, [0], 1), ({"ids": [ids[3], ids[5]]}, [3, 5], 2), ({"ids": ids[:1], "source": "elsewhere"}, [], 0),
    ]  # fmt: skip
    for number, (chosen, places, keys) in enumerate(cases):
        await follower.sql("update dead_letter set replay = false")
        assert await replayed(servicer, request_id=f"r{number}", **chosen) == (len(places), keys), chosen
        assert await marked(follower) == [
            (rows[place]["source"], rows[place]["partition"], rows[place]["key"]) for place in places
        ]


async def test_a_letter_takes_along_all_of_its_key_in_its_partition_and_source(
    servicer: DeadLetterServicer, follower: Follower
) -> None:
    (first, *_) = await follower.letters()
    await insert(follower.database, [letter("a", version=2), letter("a", version=3)])
    assert await replayed(servicer, ids=[first["id"]]) == (3, 1)
    assert await marked(follower) == [("producer", 3, "a")] * 3


async def test_a_repeated_request_is_answered_as_the_first_time_for_each_caller_by_itself(
    servicer: DeadLetterServicer, follower: Follower
) -> None:
    caller(Role.OFFICER, "anna")
    assert await replayed(servicer, keys=["b"]) == (1, 1)
    await follower.sql("delete from dead_letter where key = 'b'")
    assert await replayed(servicer, keys=["b"]) == (1, 1)
    assert await replayed(servicer, keys=["b"], request_id="s") == (0, 0), "another request is done anew"
    with pytest.raises(Refusal) as reused:
        await replayed(servicer, keys=["a"])
    assert (reused.value.reason, reused.value.path, reused.value.value) == ("REQUEST_REUSED", "request_id", "r")
    for role, name in ((Role.OFFICER, "berta"), (Role.SERVICE, "anna")):
        caller(role, name)
        assert await replayed(servicer, keys=["b"]) == (0, 0)


async def test_the_request_of_the_call_counts_where_the_message_names_none(
    servicer: DeadLetterServicer, follower: Follower
) -> None:
    caller(Role.OFFICER, "anna", "from the call")
    assert await replayed(servicer, keys=["b"], request_id="") == (1, 1)
    await follower.sql("delete from dead_letter where key = 'b'")
    assert await replayed(servicer, keys=["b"], request_id="from the call") == (1, 1), "by either way it is the same"
    assert await replayed(servicer, keys=["b"], request_id="of the message") == (0, 0), "the message's own comes first"
