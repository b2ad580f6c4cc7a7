"""Where cursors of partitions move, without a database."""

from __future__ import annotations

import pytest

from libs.feed.consume.leases import LeasedPartition, Leases, Move
from libs.feed.types import Cursor, LeaseLost
from tests.feed.stored import Heard, StoredDatabase


def holding(*partitions: int) -> Leases:
    leases = Leases(StoredDatabase(Heard()), "s", "r")  # type: ignore[arg-type]
    leases.by_partition = {
        each: LeasedPartition(5, Cursor(1, 2, 4, 0), True, Cursor(1, 2, 3, 0)) for each in partitions
    }
    return leases


def test_a_partition_stands_where_its_commit_moved_it_unless_its_lease_is_another_by_now() -> None:
    leases, there = holding(1, 2), Cursor(1, 2, 9, 0)
    leases.moved({1: Move(5, there, ready=False), 2: Move(4, there), 3: Move(5, there)})
    assert leases.by_partition[1] == LeasedPartition(5, there, False, there)
    assert leases.by_partition[2] == LeasedPartition(5, Cursor(1, 2, 4, 0), True, Cursor(1, 2, 3, 0))
    assert set(leases.by_partition) == {1, 2}


async def test_cursors_move_from_where_they_are_committed_all_or_the_lease_is_lost() -> None:
    leases, heard, there = holding(1, 2), Heard(), Cursor(1, 2, 9, 7)
    moves = {1: Move(5, there), 2: Move(5, there, ready=False)}
    heard.done = "UPDATE 2"
    await leases.move(heard, moves)  # type: ignore[arg-type]
    assert heard.executed == [
        ("s", 6.0, [1, 2], [5, 5], [1, 1], [2, 2], [9, 9], [7, 7], [True, False], [1, 1], [2, 2], [3, 3], [0, 0], [True, True])
    ]  # fmt: skip
    await leases.move(heard, {})  # type: ignore[arg-type]
    assert len(heard.executed) == 1
    heard.done = "UPDATE 1"
    with pytest.raises(LeaseLost, match="1 of 2"):
        await leases.move(heard, moves)  # type: ignore[arg-type]
    with pytest.raises(LeaseLost, match="3 of 3"):
        await leases.move(heard, moves | {3: Move(5, there)})  # type: ignore[arg-type]
    assert len(heard.executed) == 2, "what is not held moves nothing"
