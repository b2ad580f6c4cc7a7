"""References of earlier generations: found by their whole key, and those of the newest one count."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from libs.customs.partitions import partitions_of
from libs.feed.publish.outbox import Outbox
from libs.store.database import Database, Transaction
from libs.store.tables.requests import RequestLog
from services.ingestion.store.filings import GENERATION_DAYS, Store

ROWS, ASKED = 20_000, 100


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database, Outbox(database, "luxor.consignment.v1.ConsignmentColumns", 1), RequestLog())


@pytest_asyncio.fixture
async def newest(database: Database) -> AsyncIterator[int]:
    """The newest generation, beside two earlier ones that are empty."""
    async with database.transaction() as tx:
        generation = await tx.now() // 86_400_000_000 // GENERATION_DAYS
        for earlier in (generation - 1, generation - 2):
            await tx.raw.execute(f"create table reference_g{earlier} partition of reference for values in ({earlier})")
    yield generation


async def add(tx: Transaction, generation: int, names: list[str], mrn: str) -> None:
    await tx.raw.executemany(
        "insert into reference (generation, partition, filer, local_reference, digest, mrn, accepted_at) values ($1, $2, 'shop', $3, '', $4, 1)",
        [
            (generation, int(part), name, f"{mrn}-{name}")
            for part, name in zip(partitions_of("shop", names), names, strict=True)
        ],
    )


async def test_a_reference_of_several_generations_names_the_newest(
    database: Database, store: Store, newest: int
) -> None:
    async with database.transaction() as tx:
        await add(tx, newest - 2, ["A", "B", "C"], "oldest")
        await add(tx, newest - 1, ["B", "C"], "older")
        await add(tx, newest, ["C", "D"], "new")
    names = ["A", "B", "C", "D", "E"]
    found = await store.by_reference("shop", names, partitions_of("shop", names))
    assert [each and each.mrn for each in found] == ["oldest-A", "older-B", "new-C", "new-D", None]
    assert await store.by_reference("rival", names, partitions_of("rival", names)) == [None] * 5


async def test_what_a_look_up_reads_does_not_grow_with_what_is_stored(
    database: Database, store: Store, newest: int
) -> None:
    async with database.transaction(timeout_millis=30_000) as tx:
        for generation in (newest - 1, newest - 2):
            await tx.raw.execute(
                "insert into reference select $1, n % 64, 'filer-' || n % 20, 'R-' || n, '', 'M-' || n, 1 from generate_series(1, $2::integer) n",
                generation, ROWS,
            )  # fmt: skip

    async def blocks() -> int:
        async with database.connection() as reader:
            await reader.raw.execute("select pg_stat_force_next_flush()")
        async with database.connection() as reader:
            return int(
                await reader.raw.fetchval(
                    "select coalesce(sum(idx_blks_hit + idx_blks_read), 0) from pg_statio_user_indexes where relname like 'reference_g%'"
                )
            )

    names = [f"N-{number}" for number in range(ASKED)]
    before = await blocks()
    await store.by_reference("filer-1", names, np.arange(ASKED) % 64)
    # From the root to a leaf of the index of each generation.
    assert 0 < await blocks() - before <= ASKED * 3 * 4
