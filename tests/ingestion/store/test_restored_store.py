"""Ingestion on an older copy of its store: no number is given again that the lost part of the log gave."""

from __future__ import annotations

import asyncio
from urllib.parse import urlparse

import asyncpg
import pytest

from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from luxor.ingestion.v1 import ingestion_pb2 as pb
from services.ingestion.__main__ import assemble
from services.ingestion.commands.housekeeping import drop_serials
from tests.ingestion.consignments import consignment
from tests.ingestion.service_client import stub_of, submit
from tests.support.services import running

COPY = "ingestion_older"


async def filed(url: str, name: str, calls: int) -> dict[str, str]:
    """File calls of 20, all under references that a copy of the store may know; return MRN by reference."""
    found: dict[str, str] = {}
    async with running("ingestion", assemble, url) as service:
        stub = await stub_of(service)
        for call in range(calls):
            rows = [consignment(20 * call + place) for place in range(20)]
            for row in rows:
                row.local_reference += name
            answer = await submit(stub, rows, f"{name}{call}")
            assert {each.status for each in answer.results} == {pb.SUBMISSION_STATUS_ACCEPTED}
            found |= {each.receipt.local_reference: each.receipt.mrn for each in answer.results}
    return found


@pytest.mark.long
async def test_a_restored_store_gives_no_number_that_was_given_before(
    database_url: str, postgres: EmbeddedPostgres
) -> None:
    before = await filed(database_url, "before", 2)
    postgres.create_database(COPY, template=urlparse(database_url).path.strip("/"))
    try:
        lost = await filed(database_url, "lost", 5)
        after = await filed(postgres.url(COPY), "after", 8)
        given = [number for each in (before, lost, after) for number in each.values()]
        # The same serial in another partition would be another number: what must not come again is the serial.
        serials = [number[6:16] for number in given]
        assert len(set(serials)) == len(serials) == 20 * 15
        assert await filed(postgres.url(COPY), "before", 2) == before, "what the copy knows is answered as before"
    finally:
        postgres.drop_database(COPY)


async def test_each_day_and_epoch_has_its_own_serials_and_those_of_past_days_go(database: Database) -> None:
    async with database.transaction() as tx:
        take = "select serial_block_take($1, $2)"
        assert [await tx.raw.fetchval(take, 20_000, 50) for _ in range(3)] == [0, 1, 2]
        assert await tx.raw.fetchval(take, 20_001, 50) == 0
        await tx.raw.execute("select feed_begin_epoch('restored', 0)")
        assert await tx.raw.fetchval(take, 20_000, 50) == 50 * 906
        assert await tx.raw.fetchval(take, 20_000, 51) == 50 * 906 + 1
        await tx.raw.execute("select feed_begin_epoch('restored once more', 0)")
        assert await tx.raw.fetchval(take, 20_000, 50) == 50 * 906 + 1 + 1_000_000
        assert await tx.raw.fetchval(take, 20_000, 86_399) < 78_364_163
    await drop_serials(database)
    async with database.connection() as reading:
        with pytest.raises(asyncpg.PostgresError):
            await reading.raw.fetchval("select last_value from serial_block_20001_1")


async def test_calls_that_begin_a_day_at_once_take_different_serials(database: Database) -> None:
    began = asyncio.Barrier(6)

    async def one() -> int:
        async with database.transaction(timeout_millis=60_000) as tx:
            await tx.raw.fetchval("select to_regclass('serial_block_20000_1')")
            await began.wait()
            return int(await tx.raw.fetchval("select serial_block_take(20000, 1)"))

    assert sorted(await asyncio.gather(*(one() for _ in range(6)))) == list(range(6))


async def test_the_day_of_the_upgrade_goes_on_behind_what_the_release_before_gives(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.raw.execute("select setval('serial_block', 5000)")
        today = await tx.raw.fetchval("select day - 1 from serial_upgrade")
        assert await tx.raw.fetchval("select serial_block_take($1, 1)", today) == 1_005_000
        assert await tx.raw.fetchval("select serial_block_take($1, 1)", today + 2) == 0
