"""Which letters wait, are written, replayed and listed, without a database."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from libs.feed.dead_letters.letters import Letter, Letters
from libs.feed.dead_letters.service import DeadLetterServicer
from libs.feed.types import Cursor, FeedBatch
from libs.server.errors import Refusal
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.feed.v1 import dead_letters_pb2
from tests.feed.conftest import events_of, table_of
from tests.feed.served import SCHEMA, refused
from tests.feed.stored import Heard


def letter(partition: int = 1, key: str = "k", reason: str = "R", message: str = "m") -> Letter:
    batch = FeedBatch(table_of([(key, 1, partition)]), np.array([partition]), Cursor(1, 2, 3, 4), np.array([6]), 7, "t", SCHEMA, 8, True)  # fmt: skip
    return Letter(partition, key, batch, reason, message, 77)


def any_waiting(letters: Letters) -> bool:
    return letters.any_waiting


async def test_keys_wait_from_their_first_letter_until_none_of_them_is_left() -> None:
    letters, heard = Letters("s", ConsignmentColumns), Heard()
    assert not any_waiting(letters)
    heard.rows = [{"partition": 1, "key": "a"}]
    await letters.load(heard, [1, 2])
    assert heard.asked == [("s", [1, 2])]
    assert any_waiting(letters)
    assert [letters.waits(*each) for each in ((1, "a"), (2, "a"), (1, "b"), (3, "a"))] == [True, False, False, False]
    letters.remember([letter(2, "b"), letter(3, "c")])
    assert letters.waits(2, "b")
    assert letters.waits(3, "c")
    heard.rows = [{"partition": 1, "key": "a"}]
    await letters.settle(heard, [letter(1, "a"), letter(2, "b"), letter(9, "z")])
    assert letters.waits(1, "a"), "another letter of its key is there"
    assert not letters.waits(2, "b")
    letters.forget([1, 9])
    assert (any_waiting(letters), letters.waits(1, "a")) == (True, False)
    heard.rows = []
    await letters.load(heard, [3])
    assert not any_waiting(letters), "what is read again replaces what was known"


async def test_a_letter_has_all_of_its_event_and_a_message_of_500_characters() -> None:
    letters, heard = Letters("s", ConsignmentColumns), Heard()
    await letters.insert(heard, [])  # type: ignore[arg-type]
    assert heard.executed == []
    await letters.insert(heard, [letter(message="x" * 501)])  # type: ignore[arg-type]
    *columns, payload = heard.executed[0][1:]
    assert [each[0] for each in columns] == [1, "k", 1, 2, 3, 4, 6, True, SCHEMA, 8, 7, "t", "R", "x" * 500]
    heard.rows = [{
        "id": 77, "partition": 1, "key": "k", "epoch": 1, "day": 2, "xid": 3, "seq": 4, "row": 6, "snapshot": True, "schema": SCHEMA,
        "schema_version": 8, "committed_at": 7, "traceparent": "t", "reason": "R", "message": "m", "payload": payload[0],
    }]  # fmt: skip
    (read,) = await letters.heads(heard, [1], 5)  # type: ignore[arg-type]
    assert events_of([read.batch]) == [("k", 1, 1)]
    assert (read.partition, read.key, read.reason, read.message, read.id) == (1, "k", "R", "m", 77)
    assert (read.batch.cursor, read.batch.rows.tolist(), read.batch.committed_at) == (Cursor(1, 2, 3, 4), [6], 7)
    assert (read.batch.trace, read.batch.schema, read.batch.schema_version, read.batch.snapshot) == (
        "t",
        SCHEMA,
        8,
        True,
    )
    assert (heard.executed[1], heard.asked) == (("s", [1]), [("s", [1], 5)])


@pytest.mark.parametrize(("done", "gone"), [("DELETE 2", True), ("DELETE 1", False), ("DELETE 0", False)])
async def test_letters_are_deleted_all_or_the_transaction_must_roll_back(*, done: str, gone: bool) -> None:
    letters, heard = Letters("s", ConsignmentColumns), Heard()
    heard.done = done
    assert await letters.delete(heard, [letter(), letter()]) is gone  # type: ignore[arg-type]
    assert heard.executed == [([77, 77],)]


async def test_a_letter_that_fails_again_is_written_and_its_key_waits() -> None:
    letters, heard = Letters("s", ConsignmentColumns), Heard()
    await letters.failed(heard, letter(), "R2", "y" * 501)  # type: ignore[arg-type]
    assert heard.executed == [(77, "R2", "y" * 500), ("s", 1, "k")]


class Reached(Exception):
    """A call went as far as the store."""


class Unreachable:
    """A database that only says that it was asked."""

    def connection(self, **more: Any) -> Any:
        raise Reached

    transaction = connection


@pytest.mark.parametrize(
    ("asked", "good"),
    [
        ({}, False), ({"all": True}, True), ({"ids": [1]}, True), ({"keys": ["k"]}, True), ({"ids": [1], "keys": ["k"]}, False),
        ({"ids": [1], "all": True}, False), ({"keys": ["k"], "all": True}, False), ({"ids": [1], "keys": ["k"], "all": True}, False),
        ({"ids": range(1_000)}, True), ({"ids": range(1_001)}, False), ({"keys": ["k"] * 1_000}, True), ({"keys": ["k"] * 1_001}, False),
    ],
)  # fmt: skip
async def test_letters_are_replayed_by_up_to_1000_ids_or_keys_or_all_of_them(
    *, asked: dict[str, Any], good: bool
) -> None:
    servicer = DeadLetterServicer(Unreachable())  # type: ignore[arg-type]
    with pytest.raises(Reached if good else Refusal) as error:
        await servicer.ReplayDeadLetters(dead_letters_pb2.ReplayDeadLettersRequest(**asked), None)
    assert good or refused(error) == ("LETTERS_NOT_CHOSEN", "ids")  # type: ignore[arg-type]


async def test_a_negative_number_of_letters_is_refused_and_a_larger_one_than_a_page_is_not() -> None:
    servicer = DeadLetterServicer(Unreachable())  # type: ignore[arg-type]
    with pytest.raises(Refusal) as error:
        await servicer.ListDeadLetters(dead_letters_pb2.ListDeadLettersRequest(page_size=-1), None)
    assert refused(error) == ("NUMBER_NEGATIVE", "page_size")
    for size in (1_000, 1_001):
        with pytest.raises(Reached):
            await servicer.ListDeadLetters(dead_letters_pb2.ListDeadLettersRequest(page_size=size), None)
