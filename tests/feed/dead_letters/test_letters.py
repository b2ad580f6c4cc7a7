"""Dead letters in the store: which of them a source, a partition and a key have, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from libs.feed.dead_letters.letters import MESSAGE_CHARACTERS_MAX, UNEXPECTED, WAITING_BEHIND, Letter, Letters
from tests.feed.conftest import Follower
from tests.feed.dead_letter_rows import AT, SCHEMA, insert, letter, letters_of


async def asked(follower: Follower, where: str = "true") -> None:
    await follower.sql(f"update dead_letter set replay = true where {where}")


async def heads(follower: Follower, partitions: Iterable[int] = (3,), limit: int = 10) -> list[Letter]:
    async with follower.database.transaction() as tx:
        return await letters_of().heads(tx, partitions, limit)


async def loaded(follower: Follower, *partitions: int, source: str = "producer") -> Letters:
    letters = letters_of(source)
    async with follower.database.connection() as reading:
        await letters.load(reading.raw, partitions)
    return letters


async def test_a_letter_is_stored_as_its_event_came_and_read_again_as_that(follower: Follower) -> None:
    await insert(
        follower.database,
        [letter("a"), letter("b", reason=WAITING_BEHIND), letter("c", 4, snapshot=True, reason=UNEXPECTED)],
    )
    rows = await follower.letters()
    assert [(row["key"], row["partition"], row["tries"], row["tried_at"] is None) for row in rows] == [
        ("a", 3, 1, False), ("b", 3, 0, True), ("c", 4, 1, False),
    ]  # fmt: skip
    for row in rows:
        assert tuple(row[name] for name in ("source", "epoch", "day", "xid", "seq", "row")) == ("producer", *AT, 9)
        assert (row["committed_at"], row["traceparent"]) == (55, "trace")
        assert (row["schema"], row["schema_version"], row["replay"]) == (SCHEMA, 2, False)
    assert [row["snapshot"] for row in rows] == [False, False, True]
    assert {row["message"] for row in rows} == {"it names nothing"}
    await asked(follower)
    (first, *_) = await heads(follower)
    expected = letter("a")
    assert (first.id, first.partition, first.key, first.reason, first.message) == (
        rows[0]["id"], 3, "a", expected.reason, expected.message,
    )  # fmt: skip
    batch = first.batch
    assert batch.table.strings("mrn").tolist() == ["a"]
    assert (batch.partitions.tolist(), batch.rows.tolist(), batch.cursor) == ([3], [9], AT)
    assert (batch.committed_at, batch.trace, batch.schema, batch.schema_version, batch.snapshot) == (
        55,
        "trace",
        SCHEMA,
        2,
        False,
    )


async def test_no_letter_is_no_statement() -> None:
    await letters_of().insert(None, [])  # type: ignore[arg-type]  # nothing is asked of it


@pytest.mark.parametrize("characters", [MESSAGE_CHARACTERS_MAX, MESSAGE_CHARACTERS_MAX + 1])
async def test_a_message_is_stored_up_to_500_characters(follower: Follower, characters: int) -> None:
    await insert(follower.database, [letter(message="x" * characters)])
    (stored,) = await follower.letters()
    assert len(stored["message"]) == 500
    stored_letter = letter(id=stored["id"])
    async with follower.database.transaction() as tx:
        await letters_of().failed(tx, stored_letter, "OTHER", "y" * characters)
    (stored,) = await follower.letters()
    assert stored["message"] == "y" * 500


async def test_keys_wait_that_have_letters_of_this_source_in_these_partitions(follower: Follower) -> None:
    await insert(follower.database, [letter("a"), letter("a", version=2), letter("b", 4), letter("c", 5)])
    await insert(follower.database, [letter("d"), letter("a", 6)], "elsewhere")
    letters = await loaded(follower, 3, 4, 6)
    waiting = [(partition, key) for partition in range(8) for key in "abcd" if letters.waits(partition, key)]
    assert waiting == [(3, "a"), (4, "b")]
    assert letters.any_waiting
    letters.forget([3, 60])
    assert not letters.waits(3, "a")
    assert letters.any_waiting
    letters.forget([4])
    assert not letters.any_waiting
    letters.remember([letter("e", 9)])
    assert letters.waits(9, "e")
    assert not letters.waits(9, "a")


async def test_partitions_that_are_read_again_wait_for_what_is_stored_alone(follower: Follower) -> None:
    letters = letters_of()
    letters.remember([letter("rolled back"), letter("other", 4)])
    async with follower.database.connection() as reading:
        await letters.load(reading.raw, [3])
    assert not letters.waits(3, "rolled back")
    assert letters.waits(4, "other")


async def test_the_first_letter_of_each_key_is_replayed_that_was_asked_for(follower: Follower) -> None:
    await insert(
        follower.database,
        [letter("b"), letter("a"), letter("a", version=2), letter("b", 4), letter("c", 5), letter("z")],
    )
    await insert(follower.database, [letter("a"), letter("y")], "elsewhere")
    await asked(follower, "key <> 'z'")
    found = [
        (each.partition, each.key, each.batch.table.ints("version").values.tolist())
        for each in await heads(follower, (3, 4))
    ]
    assert found == [(3, "a", [1]), (3, "b", [1]), (4, "b", [1])]
    assert [each.key for each in await heads(follower, (3, 4), 2)] == ["a", "b"]
    assert await heads(follower, (6,)) == []


async def test_whoever_asks_for_one_letter_asks_for_all_of_its_key_in_its_partition_and_source(
    follower: Follower,
) -> None:
    await insert(follower.database, [letter("a"), letter("a", version=2), letter("b"), letter("a", 4), letter("a", 5)])
    await insert(follower.database, [letter("a")], "elsewhere")
    await asked(
        follower, "id = (select max(id) from dead_letter where key = 'a' and partition = 3 and source = 'producer')"
    )
    await asked(follower, "partition = 5")
    found = await heads(follower, (3, 4))
    assert [each.batch.table.ints("version").values.tolist() for each in found] == [[1]], "the earlier one comes first"
    replayed = [(row["source"], row["partition"], row["key"]) for row in await follower.letters() if row["replay"]]
    assert replayed == [("producer", 3, "a")] * 2 + [("producer", 5, "a")]


async def test_letters_are_deleted_all_or_it_is_known_that_one_was_gone(follower: Follower) -> None:
    await insert(follower.database, [letter("a"), letter("b"), letter("c")])
    first, second, third = (letter(row["key"], id=row["id"]) for row in await follower.letters())
    async with follower.database.transaction() as tx:
        assert await letters_of().delete(tx, [first, second])
        assert not await letters_of().delete(tx, [second, third])
    assert await follower.letters() == []


async def test_a_letter_that_fails_again_has_one_more_try_and_its_key_is_no_more_asked_for(follower: Follower) -> None:
    await insert(follower.database, [letter("a"), letter("a", version=2), letter("b"), letter("a", 4)])
    await insert(follower.database, [letter("a")], "elsewhere")
    await asked(follower)
    before = await follower.letters()
    async with follower.database.transaction() as tx:
        await letters_of().failed(tx, letter("a", id=before[0]["id"]), "OTHER", "another one")
    after = await follower.letters()
    assert [row["tries"] for row in after] == [2, 1, 1, 1, 1]
    assert [row["replay"] for row in after] == [False, False, True, True, True]
    assert (after[0]["reason"], after[0]["message"]) == ("OTHER", "another one")
    assert after[0]["tried_at"] > before[0]["tried_at"]
    assert {(row["reason"], row["message"]) for row in after[1:]} == {("NO_SUCH_THING", "it names nothing")}


async def test_a_key_flows_again_once_its_last_letter_is_gone(follower: Follower) -> None:
    await insert(follower.database, [letter("a"), letter("a", version=2), letter("b"), letter("a", 4), letter("c", 5)])
    await insert(follower.database, [letter("b"), letter("a")], "elsewhere")
    letters = await loaded(follower, 3, 4, 5)
    gone = [letter("a"), letter("b")]
    await follower.sql("delete from dead_letter where source = 'producer' and partition = 3 and (key = 'b' or id = 1)")
    async with follower.database.connection() as reading:
        await letters.settle(reading.raw, [*gone, letter("x", 63)])
    assert [letters.waits(3, key) for key in "ab"] == [True, False]
    await follower.sql("delete from dead_letter where source = 'producer' and partition = 3")
    async with follower.database.connection() as reading:
        await letters.settle(reading.raw, gone)
    assert not letters.waits(3, "a")
    assert letters.waits(4, "a"), "of another partition"
    assert letters.waits(5, "c")
