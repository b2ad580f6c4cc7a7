"""What an outbox writes and announces, and which payloads a reader caches, without a database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message

from libs.columns import Table
from libs.feed.publish.outbox import KeyedOutbox, Outbox
from libs.feed.publish.payloads import Payloads, StoredBatch
from libs.feed.types import BatchRef
from libs.store.database import Database
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.feed.conftest import table_of
from tests.feed.served import SCHEMA, stored_batch
from tests.feed.stored import TODAY, Heard, Stored, StoredDatabase


async def append(partitions: Sequence[int], rows: int | None = None, kind: type[Message] = ConsignmentColumns) -> Heard:
    heard, outbox = Heard(), Outbox(StoredDatabase(Stored()), SCHEMA, 5)  # type: ignore[arg-type]
    heard.rows = [(9, 11, 0)]
    table = table_of([("m", 1, 1)] * (len(partitions) if rows is None else rows))
    assert await outbox.append(heard, table, kind, np.array(partitions, np.int64), trace="t") == BatchRef(9, 11)  # type: ignore[arg-type]
    return heard


async def test_an_outbox_writes_the_row_numbers_of_each_partition_and_announces_after_the_commit() -> None:
    heard, outbox = Heard(), Outbox(StoredDatabase(Stored()), SCHEMA, 5)  # type: ignore[arg-type]
    heard.rows, calls = [(9, 11, 0)], []
    outbox.listeners.append(lambda: calls.append(1))
    table = table_of([("a", 1, 1), ("b", 1, 1), ("c", 1, 1)])
    assert await outbox.append(heard, table, ConsignmentColumns, np.array([63, 0, 63]), trace="t") == BatchRef(9, 11)  # type: ignore[arg-type]
    _, schema, version, rows, trace, partitions, counts, numbers = heard.asked[0]
    assert (schema, version, rows, trace, partitions, counts) == (SCHEMA, 5, 3, "t", [0, 63], [1, 2])
    assert numbers == [b"\x01\x00", b"\x00\x00\x02\x00"]
    assert calls == []
    for each in heard.committed:
        each()
    assert calls == [1]
    await outbox.store(heard, table, ConsignmentColumns)  # type: ignore[arg-type]
    assert heard.asked[1][5:] == ([], [], [])


@pytest.mark.parametrize(
    ("partitions", "rows", "kind"),
    [([64], None, ConsignmentColumns), ([-1], None, ConsignmentColumns), ([0, 1], 1, ConsignmentColumns), ([], None, ConsignmentColumns),
     ([0, 64, 1], None, ConsignmentColumns), ([1, -1, 0], None, ConsignmentColumns), ([0], None, Consignment)],
)  # fmt: skip
async def test_an_outbox_refuses_what_it_cannot_announce(
    partitions: list[int], rows: int | None, kind: type[Message]
) -> None:
    with pytest.raises(ValueError, match=r"partition|rows|announces"):
        await append(partitions, rows, kind)


async def test_a_batch_has_up_to_65535_rows() -> None:
    assert (await append([0] * 65_535)).asked[0][3] == 65_535
    with pytest.raises(ValueError, match="65536"):
        await append([0] * 65_536)


async def test_rows_are_announced_to_readers_by_name_and_to_nobody_where_there_is_none() -> None:
    heard, notices = Heard(), KeyedOutbox(Outbox(StoredDatabase(Stored()), SCHEMA))  # type: ignore[arg-type]
    await notices.append(heard, BatchRef(9, 11), ["b", "", "a", "b"])  # type: ignore[arg-type]
    day, number, keys, counts, rows = heard.executed[0]
    assert (day, number, dict(zip(keys, zip(counts, rows, strict=True), strict=True))) == (
        9,
        11,
        {"b": (2, b"\x00\x00\x03\x00"), "a": (1, b"\x02\x00")},
    )
    await notices.append(heard, BatchRef(9, 11), ["", ""])  # type: ignore[arg-type]
    await notices.append(heard, BatchRef(9, 11), [])  # type: ignore[arg-type]
    assert len(heard.executed) == 1
    await notices.append(heard, BatchRef(9, 11), ["a"] * 65_535)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="65536"):
        await notices.append(heard, BatchRef(9, 11), ["a"] * 65_536)  # type: ignore[arg-type]


def _row(batch: StoredBatch) -> tuple[Any, ...]:
    return (*batch.ref, batch.created_at, batch.row_count, batch.schema_version, batch.schema, batch.trace, batch.payload)  # fmt: skip


async def test_payloads_are_read_once_and_the_least_used_one_is_forgotten_beyond_the_bytes() -> None:
    first, second, third = (stored_batch(number, 3) for number in (1, 2, 3))
    each = len(first.payload) + 400
    heard, payloads = Heard(), Payloads(bytes_max=2 * each)
    heard.rows = [_row(second), _row(first)]
    assert await payloads.fetch(heard, [first.ref, second.ref]) == {first.ref: first, second.ref: second}
    assert heard.asked == [([TODAY], [TODAY, TODAY], [1, 2])]
    payloads.add(first)  # what is there already counts once
    await payloads.fetch(heard, [first.ref, second.ref])
    assert len(heard.asked) == 1
    await payloads.fetch(heard, [first.ref])
    payloads.add(third)
    assert await payloads.fetch(heard, [first.ref, third.ref]) == {first.ref: first, third.ref: third}
    assert len(heard.asked) == 1
    heard.rows = [_row(second)]
    await payloads.fetch(heard, [second.ref])
    assert heard.asked[1:] == [([TODAY], [TODAY], [2])]
    heard.rows = []
    with pytest.raises(LookupError, match="not stored"):
        await payloads.fetch(heard, [first.ref])


async def test_a_batch_of_this_process_is_compared_with_its_row_once_and_then_not_read() -> None:
    first, second = stored_batch(1, 3), stored_batch(2, 3)
    heard, payloads = Heard(), Payloads()
    tables = {batch: Table.parse(ConsignmentColumns, batch.payload) for batch in (first, second)}
    for batch, table in tables.items():
        payloads.add_written(batch, table)
    heard.rows = [(*batch.ref, batch.created_at) for batch in (second, first)]
    for _ in range(2):
        assert await payloads.fetch(heard, [first.ref, second.ref]) == {first.ref: first, second.ref: second}
    assert heard.asked == [([TODAY], [TODAY, TODAY], [1, 2])]
    assert payloads.table(first) is tables[first]


async def test_a_batch_that_is_forgotten_before_it_is_compared_leaves_no_table_to_one_of_its_number() -> None:
    lost, other, again = stored_batch(1, 3), stored_batch(2, 3), replace(stored_batch(1, 2), created_at=7)
    heard, payloads = Heard(), Payloads(bytes_max=1)
    for batch in (lost, other):
        payloads.add_written(batch, Table.parse(ConsignmentColumns, batch.payload))
    heard.rows = [_row(again)]
    (found,) = (await payloads.fetch(heard, [lost.ref])).values()
    assert found == again
    assert payloads.table(found).rows == again.row_count


async def test_a_batch_whose_number_was_assigned_again_is_read_from_its_row(database: Database) -> None:
    outbox = Outbox(database, SCHEMA)
    refs, tables = [], [table_of([(name, 1, 1)]) for name in ("lost", "again", "last")]
    for table in tables[:2]:
        async with database.transaction() as tx:
            refs.append(await outbox.append(tx, table, ConsignmentColumns, np.array([1])))
    async with database.transaction() as tx:
        # The server comes back without the first two transactions, and another process writes a batch with the number of the second.
        await tx.raw.execute("delete from batch")
        await tx.raw.execute("select setval('batch_id', $1, false)", refs[1].id)
        assert await Outbox(database, SCHEMA).append(tx, tables[2], ConsignmentColumns, np.array([1])) == refs[1]
    async with database.connection() as reading:
        (found,) = (await outbox.payloads.fetch(reading.raw, [refs[1]])).values()
        assert outbox.payloads.table(found).strings("mrn").tolist() == ["last"]
        with pytest.raises(LookupError, match="not stored"):
            await outbox.payloads.fetch(reading.raw, [refs[0]])


async def test_a_batch_that_is_rolled_back_is_not_cached_and_one_that_is_evicted_is_read(database: Database) -> None:
    outbox = Outbox(database, SCHEMA, payloads=Payloads(bytes_max=1))
    refs = []
    for name in ("a", "b"):
        async with database.transaction() as tx:
            refs.append(await outbox.append(tx, table_of([(name, 1, 1)]), ConsignmentColumns, np.array([1])))
    with suppress(RuntimeError):
        async with database.transaction() as tx:
            refs.append(await outbox.append(tx, table_of([("c", 1, 1)]), ConsignmentColumns, np.array([1])))
            raise RuntimeError
    async with database.connection() as reading:
        for ref, name in zip(refs, "ab", strict=False):
            (found,) = (await outbox.payloads.fetch(reading.raw, [ref])).values()
            assert outbox.payloads.table(found).strings("mrn").tolist() == [name]
        with pytest.raises(LookupError, match="not stored"):
            await outbox.payloads.fetch(reading.raw, refs[2:])


async def test_a_payload_that_is_larger_than_the_cache_stays_alone() -> None:
    heard, payloads, first = Heard(), Payloads(bytes_max=1), stored_batch(1, 3)
    payloads.add(first)
    await payloads.fetch(heard, [first.ref])
    assert heard.asked == []


def test_the_last_sixteen_tables_are_parsed_once() -> None:
    payloads, batches = Payloads(), [stored_batch(number, 2) for number in range(17)]
    tables = [payloads.table(each) for each in batches[:16]]
    assert all(payloads.table(batch) is table for batch, table in zip(batches, tables, strict=False))
    payloads.table(batches[16])
    assert payloads.table(batches[1]) is tables[1]
    assert payloads.table(batches[0]) is not tables[0]
