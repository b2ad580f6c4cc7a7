"""A store of the release before: what it has is shown and not proven, and what its replicas store beside this release is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.feed.publish.outbox import Outbox
from libs.store.database import Database
from libs.store.tables.migrate import migrate
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.commands.audit.chain_records import ChainRecords
from services.clearance.commands.audit.evidence import CollectEvidence
from services.clearance.store.store import SCHEMA
from tests.clearance.audit.trail import errors_of, tamper
from tests.clearance.desk import TRACE, Desk, filings, mrns, neighbours_at_work
from tests.clearance.later_tables import add_later_tables, remove_later_tables
from tests.support.earlier_schema import migrate_to


def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store batches as the release before: it says nothing of them."""
    write = Outbox.append

    async def append(outbox: Outbox, *values: object, trace: str = "", note: str = "") -> object:
        return await write(outbox, *values, trace=trace)  # type: ignore[arg-type]

    monkeypatch.setattr(Outbox, "append", append)


async def test_a_store_of_the_release_before_is_recorded_from_the_upgrade_on(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.clearance", "0018", tmp_path, monkeypatch)
    await add_later_tables(database)
    async with neighbours_at_work() as (neighbours, channel):
        desk = Desk(database, neighbours, channel)
        filed = filings(["GREEN-1", "RED-1"])
        with monkeypatch.context() as former:
            as_before(former)
            await desk.consume(filed)
            await remove_later_tables(database)
            assert await migrate(database, "services.clearance") == [
                "0019",
                "0020",
                "0021",
                "0022",
                "0023",
                "0026",
                "0027",
                "0028",
                "0029",
                "0030",
                "0033",
                "0034",
                "0035",
                "0036",
                "0038",
                "0039",
                "0040",
                "0042",
                "0044",
                "0045",
                "0046",
                "0047",
                "0048",
            ]
            await desk.consume(filings(["GREEN-1"], version=2))
        await desk.consume(filings(["GREEN-1"], version=3))
        async with database.connection() as reader:
            rows = await reader.raw.fetch(
                "select batch_id, actor, length(row_digest) as root from audit_pending order by number"
            )
        assert [tuple(row) for row in rows] == [(2, "clearance", 0), (3, "clearance", 32)]
        await ChainRecords(desk.store).finish()
        assert await errors_of(desk) == []
        found = await CollectEvidence(desk.store).run(mrns(filed)[0])
        assert found is not None
        assert [(each.record, each.path is not None) for each in found.versions] == [(3, True), (2, False), (0, False)]
        async with database.transaction() as tx:
            await tamper(tx, "update audit_head set since = 3")
        assert len(await errors_of(desk)) == 1, "where the trail begins is part of it"


async def test_a_transaction_that_began_before_the_upgrade_is_recorded(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number is from before, and its row from after."""
    await migrate_to(database, "services.clearance", "0018", tmp_path, monkeypatch)
    async with neighbours_at_work() as (neighbours, channel):
        desk = Desk(database, neighbours, channel)
        async with database.transaction() as tx:
            number = await tx.raw.fetchval("select nextval('batch_id')")
        assert await migrate(database, "services.clearance") == [
            "0019",
            "0020",
            "0021",
            "0022",
            "0023",
            "0026",
            "0027",
            "0028",
            "0029",
            "0030",
            "0033",
            "0034",
            "0035",
            "0036",
            "0038",
            "0039",
            "0040",
            "0042",
            "0044",
            "0045",
            "0046",
            "0047",
            "0048",
        ]
        filed = filings(["GREEN-1"])
        await desk.consume(filed)
        async with database.transaction() as tx:
            states = (await desk.states(mrns(filed))).encode(ClearanceColumns)
            await tx.raw.execute(
                "insert into batch select day, $1, created_at, row_count, schema_version, $2, $3, $4 from batch",
                number, SCHEMA, TRACE, states.SerializeToString(),
            )  # fmt: skip
        await ChainRecords(desk.store).finish()
        async with database.connection() as reader:
            rows = await reader.raw.fetch("select batch_id from audit_record where kind = 1 order by number")
        assert [row["batch_id"] for row in rows] == [number + 1, number]
        assert await errors_of(desk) == []
