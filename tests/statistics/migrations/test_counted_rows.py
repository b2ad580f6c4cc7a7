"""A store with the counted states of former releases gets pages: their rows are read, cleared and dropped beside those of pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from libs.customs.identifiers.mrn_columns import make_mrns
from libs.store.database import Database
from libs.store.errors import StoreUnavailable
from libs.store.tables import bulk, schema
from libs.store.tables.housekeeping import drop_days
from libs.store.tables.migrate import migrate
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.statistics.commands.count import Count
from services.statistics.commands.fold import Fold
from services.statistics.counting.cells import only_counted
from services.statistics.store.cells import COUNT_CELL, Store
from services.statistics.store.counted import TABLES
from tests.statistics.states import State, states_table
from tests.support.earlier_schema import migrate_to

EVER = (0, 100_000)


@pytest.fixture(scope="session")
def migrations_of() -> str:
    """An empty database: the tests migrate it in steps."""
    return ""


async def fill(database: Database, states: list[State], day: int, epochs: list[int]) -> None:
    """Store states of a day as counted, as the release with revision 0008 did."""
    payload = only_counted(states_table(states)).serialize(ClearanceColumns)
    async with database.transaction() as tx:
        for table in ("counted", "count_cell"):
            await schema.ensure_day_partitions(tx, table, [day])
        today = await schema.today(tx)
        batch = await tx.raw.fetchval(
            "insert into counted_batch (day, id, payload, traceparent, formula) values ($1, nextval('counted_batch_id'), $2, 'trace', 3) "
            "returning id", today, payload,
        )  # fmt: skip
        await tx.raw.executemany(
            'insert into counted (day, mrn, version, batch_day, batch, "row", epoch) values ($1, $2, $3, $4, $5, $6, $7)',
            [(day, state.mrn, state.version, today, batch, row, epochs[row]) for row, state in enumerate(states)],
        )
        await tx.raw.execute(
            "insert into count_cell values ($1, 'DE', 'CN', '62', 'GREEN', 'AWAITING_ARRIVAL', 'EUR', $2, $2, $3, 0, 0, 0, 0)",
            day, len(states), 1_999 * len(states),
        )  # fmt: skip


async def count(database: Database, states: list[State], epoch: int) -> int:
    store = Store(database)
    await Count(store).make_days({state.day for state in states})
    async with database.transaction() as tx:
        return await Count(store).run(tx, states_table(states), epoch)


async def count_as_before(database: Database, write: Callable[..., Awaitable[object]], number: str, day: int) -> None:
    """Write a row as the release before does: new ones are copied, others inserted over those that are stored."""
    columns = {name: bulk.int4([1]) for name in ("version", "batch_day", "row")}
    columns |= {"batch": bulk.int8([1]), "epoch": bulk.int8([1]), "mrn": bulk.text([number]), "day": bulk.int4([day])}
    async with database.transaction() as tx:
        await write(tx, "counted", columns)


async def test_rows_of_counted_states_are_found_superseded_cleared_and_dropped_beside_pages(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.statistics", "0008", tmp_path, monkeypatch)
    async with database.connection() as reader:
        today = await schema.today(reader)
    old, recent = today - 401, today - 3
    filed = make_mrns(["DE"] * 12, range(12), recent, 7_000)
    aged = make_mrns(["DE"] * 2, [1, 2], old, 7_000)
    # The first two without an epoch, as before revision 0007.
    await fill(database, [State(number, 2, recent, charges=[]) for number in filed[:10]], recent, [0, 0, *[5] * 8])
    await fill(database, [State(number, 1, old, charges=[]) for number in aged], old, [5, 5])
    assert await migrate(database, "services.statistics") == ["0009", "0010"]

    store = Store(database)
    async with database.connection() as reader:
        assert await schema.day_partitions(reader, "counted") == [old, recent], "empty days are not searched"
    assert {old, recent, today} <= set(await store.days())
    # One of each form: known, older, newer, of a later epoch, and new.
    page = [State(filed[0], 2), State(filed[1], 3), State(filed[2], 1), State(filed[3], 3), State(filed[10], 1)]
    for state in page:
        state.day, state.lane, state.charges = recent, 4, []
    assert await count(database, page, 5) == 3
    assert await count(database, page, 5) == 0
    assert await count(database, [State(number, 1, recent, lane=2, charges=[]) for number in filed], 6) == 11
    assert await count(database, [State(aged[0], 2, old, lane=3, charges=[])], 6) == 1
    rows = await store.query(COUNT_CELL, ["day", "lane"], {}, EVER, 10)
    assert {(row.day, row.lane): (row.consignments, row.value_minor) for row in rows} == {
        (recent, "BLUE"): (11, 11 * 1_999), (recent, "GREEN"): (1, 1_999), (old, "GREEN"): (1, 1_999), (old, "YELLOW"): (1, 1_999),
    }  # fmt: skip
    trails = [
        (fact.version, fact.traceparent)
        for number in (filed[0], aged[0], aged[1])
        for fact in await store.trail(number)
    ]
    assert trails == [(2, "trace"), (2, ""), (1, "trace")]

    # A replica of the release before that still runs counts nothing: it tries again until it is replaced.
    for write in (bulk.insert, bulk.copy):
        with pytest.raises(StoreUnavailable):
            await count_as_before(database, write, filed[11], recent)
    for table in TABLES:
        await drop_days(table, 400)(database)
    assert old not in await store.days()
    await Fold(store).run()
    async with database.transaction() as tx:
        await store.clear(tx, [recent])
    assert await count(database, [State(number, 1, recent) for number in filed], 5) == len(filed)
