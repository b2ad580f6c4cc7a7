"""What the driver takes as an array of a statement, and what it does not."""

from __future__ import annotations

from typing import Any

import asyncpg
import numpy as np
import pytest
from asyncpg.protocol import protocol

from libs.store.arrays import CLASSES
from libs.store.database import Database
from libs.store.errors import StoreError


def test_the_driver_looks_for_classes() -> None:
    """If asyncpg asks in another way, libs/store/arrays.py has no effect and is to be looked at again."""
    Database("postgresql://nobody@nowhere/nothing", name="x")
    assert protocol.IterableABC is protocol.SizedABC is CLASSES


@pytest.mark.parametrize(
    "array",
    [[1, None, 3], (1, None, 3), {1: 0, None: 0, 3: 0}.keys(), {0: 1, 1: None, 2: 3}.values()],
)
async def test_what_is_passed_as_an_array_arrives(database: Database, array: Any) -> None:
    async with database.connection() as reader:
        assert await reader.raw.fetchval("select $1::bigint[]", array) == [1, None, 3]


async def test_ranges_sets_columns_texts_and_arrays_of_arrays_arrive(database: Database) -> None:
    async with database.connection() as reader:
        assert await reader.raw.fetchval("select $1::int[]", range(3)) == [0, 1, 2]
        assert await reader.raw.fetchval("select $1::int[]", np.arange(3)) == [0, 1, 2]
        assert sorted(await reader.raw.fetchval("select $1::int[]", {7, 8})) == [7, 8]
        assert await reader.raw.fetchval("select $1::text[]", ["a", "", 'b"', None]) == ["a", "", 'b"', None]
        assert await reader.raw.fetchval("select $1::bytea[]", [b"a", b""]) == [b"a", b""]
        assert await reader.raw.fetchval("select $1::int[]", [[1, 2], [3, 4]]) == [[1, 2], [3, 4]]
        assert await reader.raw.fetchval("select $1::int[]", []) == []


@pytest.mark.parametrize("wrong", [1, "ab", b"ab", [1, "x"], [[1], [2, 3]], iter([1])])
async def test_what_is_no_array_is_refused(database: Database, wrong: Any) -> None:
    with pytest.raises((StoreError, asyncpg.DataError)):
        async with database.connection() as reader:
            await reader.raw.fetchval("select $1::bigint[]", wrong)
