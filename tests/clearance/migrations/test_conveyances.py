"""Arrivals that a former release stored belong to their flights, and a replica of that release works beside the new schema."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from libs.store.database import Database
from libs.store.tables.migrate import migrate
from services.clearance.commands.act import Request
from services.clearance.commands.arrivals.transport import Transport
from services.clearance.commands.bulk.release import BulkRelease, Order, Progress
from services.clearance.consignment.state.hold_causes import Selection
from tests.clearance.desk import MASTER, TRACE, Desk, filings, neighbours_at_work
from tests.clearance.desk_commands import arrival, arrive
from tests.clearance.later_tables import add_later_tables, remove_later_tables
from tests.support.earlier_schema import migrate_to


async def test_a_flight_of_before_the_upgrade_is_released_in_bulk(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.clearance", "0013", tmp_path, monkeypatch)
    await add_later_tables(database)
    async with neighbours_at_work() as (neighbours, channel):
        desk = Desk(database, neighbours, channel)
        await desk.consume(filings(["RED-1", "RED-2"]))
        await arrive(desk, arrival())
        await remove_later_tables(database)
        assert "0016" in await migrate(database, "services.clearance")
        await desk.consume(filings(["RED-3"], master=f"{MASTER}-2"))
        await arrive(desk, arrival(f"{MASTER}-2"), request_id="a2")
        order = Order(Transport((), "LX0188", 0, 2**62), Selection(), "otto", "IN_ORDER", "", 10)
        answer = await BulkRelease(desk.store).run(
            order, request=Request("officer/otto", "b1", b"d", TRACE), encode=msgspec.json.encode
        )
        assert msgspec.json.decode(answer, type=Progress).released == 3
        async with database.connection() as reading:
            known = await reading.raw.fetchval("select works_from from schema_history where revision = '0016'")
            allowed = await reading.raw.fetchval("select position from schema_history where revision = '0013'")
        assert known <= allowed, "a replica of the release before starts again"
