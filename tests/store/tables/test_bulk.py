import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from libs.store.database import Database
from libs.store.errors import StoreConflict, StoreMisuse
from libs.store.tables import bulk
from libs.store.tables.bulk import boolean, bytea, int2, int4, int8, text
from libs.store.tables.schema import Operations
from tests.support.databases import create_tables


def _parcel(op: Operations) -> None:
    op.execute(
        "create table parcel (mrn text primary key, lane smallint, items integer, value bigint, held boolean, digest "
        "bytea)"
    )


@pytest.fixture
async def parcels(database: Database) -> Database:
    """A database with a table of every type that columns may have."""
    await create_tables(database, _parcel)
    return database


def _columns(count: int, first: int = 0) -> dict[str, bulk.Column]:
    numbers = np.arange(first, first + count)
    return {
        "mrn": text([f"m{number:05}" for number in numbers]),
        "lane": int2(numbers % 3),
        "items": int4(numbers, numbers % 2 == 0),
        "value": int8(numbers * 10**12),
        "held": boolean(numbers % 2 == 1),
        "digest": bytea([number.tobytes() for number in numbers]),
    }


EXPECTED = [
    ("m00000", 0, 0, 0, False, (0).to_bytes(8, "little")),
    ("m00001", 1, None, 10**12, True, (1).to_bytes(8, "little")),
    ("m00002", 2, 2, 2 * 10**12, False, (2).to_bytes(8, "little")),
]


@pytest.mark.parametrize("how", ["insert", "copy"])
async def test_columns_become_rows_and_what_is_not_valid_becomes_null(parcels: Database, how: str) -> None:
    async with parcels.transaction() as tx:
        if how == "insert":
            assert [tuple(row) for row in await bulk.insert(tx, "parcel", _columns(3), returning="mrn")] == [
                ("m00000",),
                ("m00001",),
                ("m00002",),
            ]
        else:
            assert await bulk.copy(tx, "parcel", _columns(3)) == 3
    async with parcels.connection() as reader:
        assert [tuple(row) for row in await reader.raw.fetch("select * from parcel order by mrn")] == EXPECTED


async def test_a_conflict_may_be_passed_over_and_tells_what_was_new(parcels: Database) -> None:
    async with parcels.transaction() as tx:
        await bulk.insert(tx, "parcel", _columns(2))
        new = await bulk.insert(tx, "parcel", _columns(3), on_conflict="do nothing", returning="t.mrn")
    assert [row["mrn"] for row in new] == ["m00002"]


@pytest.mark.parametrize("how", [bulk.insert, bulk.copy])
async def test_a_conflict_that_is_not_foreseen_fails_all_rows(parcels: Database, how: object) -> None:
    async with parcels.transaction() as tx:
        await bulk.insert(tx, "parcel", _columns(1, first=4))
    with pytest.raises(StoreConflict):
        async with parcels.transaction() as tx:
            await how(tx, "parcel", _columns(5))  # type: ignore[operator]
    async with parcels.connection() as reader:
        assert await reader.raw.fetchval("select count(*) from parcel") == 1


async def test_two_that_insert_the_same_keys_in_opposite_order_do_not_block_each_other_for_ever(
    parcels: Database,
) -> None:
    count = 2_000

    async def insert(step: int) -> int:
        columns = {"mrn": text([f"m{number:05}" for number in range(count)][::step])}
        async with parcels.transaction() as tx:
            done = await bulk.insert(
                tx, "parcel", columns, on_conflict="do nothing", returning="t.mrn", order_by=["mrn"]
            )
        return len(done)

    for _ in range(5):
        done = await asyncio.gather(insert(1), insert(-1), insert(1), insert(-1))
        assert sum(done) == count
        async with parcels.transaction() as tx:
            await tx.raw.execute("truncate parcel")


async def test_nothing_is_a_valid_number_of_rows(parcels: Database) -> None:
    async with parcels.transaction() as tx:
        assert await bulk.insert(tx, "parcel", _columns(0)) == []
        assert await bulk.copy(tx, "parcel", _columns(0)) == 0


async def test_columns_of_unequal_length_are_a_mistake(parcels: Database) -> None:
    with pytest.raises(StoreMisuse, match="equal length"):
        async with parcels.transaction() as tx:
            await bulk.insert(tx, "parcel", {"mrn": text(["a", "b"]), "items": int4([1])})


ARRAYS: dict[str, Sequence[Sequence[int]]] = {
    "int2": [[], [-(2**15), 2**15 - 1, 0], [7]],
    "int4": [[-(2**31)], [], [2**31 - 1, 0, -1]],
    "int8": [[2**63 - 1, -(2**63)], [0], []],
}
TEXTS = [["", "a", "NULL", "{}"], [], ['quoted "x", \\ and ü', "\U0001f6a2"]]


def _arrays(rows: Sequence[Sequence[int]], bits: int) -> bulk.Arrays:
    return bulk.Arrays(
        np.array([each for row in rows for each in row], np.int64), np.cumsum([0, *map(len, rows)]), bits
    )


async def test_arrays_are_copied_as_they_are(parcels: Database) -> None:
    async with parcels.transaction() as tx:
        await tx.raw.execute(
            "create table lists (id int4, small int2, large int8, name text, data bytea, int2 int2[], int4 int4[], int8 int8[], texts text[])"
        )
        columns: dict[str, bulk.Column | bulk.Arrays] = {
            "id": int4([0, 1, -(2**31)]), "small": bulk.int2([-(2**15), 0, 2**15 - 1]), "large": bulk.int8([2**63 - 1, 0, -1]),
            "name": text(["", "ü", "x"]), "data": bulk.bytea([b"", b"\0\xff", b"y"]),
            **{name: _arrays(rows, 8 * int(name[3:])) for name, rows in ARRAYS.items()},
            "texts": bulk.Arrays([each for row in TEXTS for each in row], np.cumsum([0, *map(len, TEXTS)])),
        }  # fmt: skip
        assert await bulk.copy(tx, "lists", columns) == 3
        rows = await tx.raw.fetch("select * from lists order by abs(id::int8)")
        # Written by the driver, they are the same to the server.
        await tx.raw.execute("create table driven (like lists)")
        await tx.raw.copy_records_to_table("driven", records=[tuple(row) for row in rows])
        assert (
            await tx.raw.fetchval("select count(*) from (select * from lists except all select * from driven) x") == 0
        )
    assert [tuple(row) for row in rows] == [
        (0, -(2**15), 2**63 - 1, "", b"", ARRAYS["int2"][0], ARRAYS["int4"][0], ARRAYS["int8"][0], TEXTS[0]),
        (1, 0, 0, "ü", b"\0\xff", ARRAYS["int2"][1], ARRAYS["int4"][1], ARRAYS["int8"][1], TEXTS[1]),
        (-(2**31), 2**15 - 1, -1, "x", b"y", ARRAYS["int2"][2], ARRAYS["int4"][2], ARRAYS["int8"][2], TEXTS[2]),
    ]


@pytest.mark.parametrize(("bits", "value"), [(16, 2**15), (16, -(2**15) - 1), (32, 2**31), (32, -(2**31) - 1)])
async def test_an_integer_that_does_not_fit_into_an_array_is_a_mistake(
    parcels: Database, bits: int, value: int
) -> None:
    async with parcels.transaction() as tx:
        await tx.raw.execute(f"create table lists (numbers int{bits // 8}[])")
        with pytest.raises(StoreMisuse, match=f"does not fit into {bits} bits"):
            await bulk.copy(tx, "lists", {"numbers": _arrays([[value]], bits)})


async def test_other_columns_beside_arrays_are_a_mistake(parcels: Database) -> None:
    with pytest.raises(StoreMisuse, match="columns of bool"):
        async with parcels.transaction() as tx:
            await bulk.copy(tx, "parcel", {"numbers": _arrays([[1]], 16), "fragile": bulk.boolean([True])})
