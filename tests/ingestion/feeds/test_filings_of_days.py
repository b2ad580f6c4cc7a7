"""The filings of a day by partition: only submissions that have any are read, and a page ends in time however few it found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from libs.columns import Table
from libs.feed.publish.outbox import Outbox
from libs.feed.publish.service import TokenMalformed
from libs.feed.types import BatchRef
from libs.store.database import Database
from libs.store.tables.schema import ensure_day_partitions
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.ingestion.feeds import snapshot
from services.ingestion.feeds.snapshot import Days
from tests.clearance.desk import filings

DAY = 20_785


@pytest.fixture(scope="session")
def migrations_of() -> str:
    return "services.ingestion"


class Read(Days):
    """Also notes which batches were read."""

    def __init__(self, database: Database) -> None:
        outbox = Outbox(database, ConsignmentColumns.DESCRIPTOR.full_name)
        super().__init__(database, outbox)
        self.refs: list[BatchRef] = []
        fetch = outbox.payloads.fetch

        async def noted(raw: Any, refs: Iterable[BatchRef]) -> Any:
            self.refs += (wanted := list(refs))
            return await fetch(raw, wanted)

        outbox.payloads.fetch = noted  # type: ignore[method-assign]

    async def all_of(
        self, database: Database, partitions: Sequence[int], max_rows: int = 1_000
    ) -> tuple[list[str], int]:
        """Read all pages; return the references and how many pages there were."""
        found: list[str] = []
        token, pages = b"", 0
        while True:
            async with database.connection() as reading:
                page = await self.page_of_day(reading, DAY, partitions, token, max_rows)
            assert set(page.partitions.tolist()) <= set(partitions)
            found += page.table.strings("local_reference").tolist()
            pages += 1
            token = page.next_token
            if not token:
                return found, pages


def table_of(numbers: Iterable[int]) -> Table:
    return filings([f"GREEN-{number}" for number in numbers])


async def store(database: Database, tables: Sequence[Table], *, known: bool = True, first: int = 1) -> None:
    """Store a submission of each table, in blocks from `first`; of the release before, which knew no partitions, unless `known`."""
    async with database.transaction() as writing:
        today = await database.now() // snapshot.MICROS_A_DAY
        await ensure_day_partitions(writing, "submission", [DAY])
        for block, table in enumerate(tables, first):
            payload = table.serialize(ConsignmentColumns)
            await writing.raw.execute(
                "insert into batch (day, id, created_at, row_count, schema_version, schema, traceparent, payload) "
                "values ($1, $2, 1, $3, 1, 'luxor.consignment.v1.ConsignmentColumns', '', $4)",
                today, block, table.rows, payload,
            )  # fmt: skip
            places, counts = np.unique(table.ints("partition").values, return_counts=True)
            await writing.raw.execute(
                "insert into submission (day, block, filer, accepted_at, batch_day, batch, partitions, counts, digests) "
                "values ($1, $2, 'f', 1, $3, $2, $4, $5, $6)",
                DAY, block, today,
                places.tolist() if known else None, counts.tolist() if known else None, counts.tolist() if known else None,
            )  # fmt: skip


def has(table: Table, partition: int) -> list[str]:
    chosen = np.flatnonzero(table.ints("partition").values == partition)
    return table.take(chosen).strings("local_reference").tolist()


async def test_only_submissions_that_have_the_partition_are_read(database: Database) -> None:
    tables = [table_of(range(3 * number, 3 * number + 3)) for number in range(60)]
    await store(database, tables)
    days = Read(database)
    partition = int(tables[7].ints("partition").values[0])
    found, _ = await days.all_of(database, [partition])
    assert found == [reference for table in tables for reference in has(table, partition)]
    with_any = [number for number, table in enumerate(tables, 1) if has(table, partition)]
    assert [ref.id for ref in days.refs] == with_any
    assert len(with_any) < 20


@pytest.mark.parametrize("max_rows", [1, 2, 7, 1_000])
async def test_pages_give_every_row_once_in_the_order_of_serials(database: Database, max_rows: int) -> None:
    tables = [table_of(range(2 * number, 2 * number + 2)) for number in range(70)]
    await store(database, tables)
    found, pages = await Read(database).all_of(database, range(64), max_rows)
    assert found == [reference for table in tables for reference in table.strings("local_reference").tolist()]
    assert (pages == 1) is (max_rows == 1_000)


async def test_a_page_that_takes_too_long_ends_with_a_token_and_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = [table_of([number]) for number in range(2 * snapshot.SUBMISSIONS_AT_ONCE + 1)]
    await store(database, tables)
    monkeypatch.setattr(snapshot, "PAGE_SECONDS", 0.0)
    found, pages = await Read(database).all_of(database, range(64))
    assert sorted(found) == sorted(f"GREEN-{number}" for number in range(2 * snapshot.SUBMISSIONS_AT_ONCE + 1))
    assert pages == 3


async def test_large_submissions_are_not_read_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "ROWS_AT_ONCE", 6)
    tables = [table_of(range(4 * number, 4 * number + 4)) for number in range(5)]
    await store(database, tables)
    found, _ = await Read(database).all_of(database, range(64))
    assert len(found) == 20


async def test_what_the_release_before_stored_is_read_too(database: Database) -> None:
    tables = [table_of([0, 1]), table_of([2])]
    await store(database, tables[:1], known=False)
    await store(database, tables[1:], first=2)
    found, _ = await Read(database).all_of(database, range(64))
    assert found == ["GREEN-0", "GREEN-1", "GREEN-2"]


@pytest.mark.parametrize(
    "token",
    [
        b"zz",
        b"\xff",
        b"\x00" * 15,
        b"\x00" * 17,
        snapshot.PLACE.pack(DAY, -1),
        snapshot.PLACE.pack(DAY + 1, 5),
        *(
            snapshot.AMENDED_PLACE.pack(*place)
            for place in ((DAY + 1, 5, 1), (DAY, -1, 1), (DAY, 5, 0), (DAY, 5, 2**31 - 1))
        ),
    ],
)
async def test_a_token_of_another_making_is_refused(database: Database, token: bytes) -> None:
    with pytest.raises(TokenMalformed):
        async with database.connection() as reading:
            await Read(database).page_of_day(reading, DAY, [1], token, 10)
