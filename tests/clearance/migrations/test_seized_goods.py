"""A store with held goods of former releases: each exit is open to them, and who found their violation is not forgotten by a seizure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from libs.columns import Ints, Table
from libs.store.database import Database
from libs.store.tables.migrate import migrate
from services.clearance.commands.act import Acted, Commands, Request
from services.clearance.consignment.disposal import Disposal, disposing, unfit
from services.clearance.consignment.transitions import Event, State
from tests.clearance.desk import TRACE, Desk, filings, mrns, neighbours_at_work
from tests.clearance.desk_commands import arrival, arrive
from tests.clearance.later_tables import add_later_tables, remove_later_tables
from tests.support.earlier_schema import migrate_to

LATER = (
    "first_decided_at", "violation_found_by", "violation_resolved_by", "violation_resolved_at", "arrival_carrier", "former_released_at",
    "carrier_identifier", "inclusion_ppm", "debt_hold", "screening_early",
)  # fmt: skip
"""Columns that release 0.2 did not write, or not yet when it began."""


async def decide(desk: Desk, mrn: str, event: Event, officer: str, request_id: str) -> tuple[int, str]:
    decisions = {mrn: Disposal(event, "PROHIBITED_GOODS", "", "")}
    kept: list[Acted] = []

    def encode(results: Sequence[Acted]) -> bytes:
        kept.extend(results)
        return b"done"

    await Commands(desk.store).act(
        [(mrn, None)],
        lambda states, at: disposing(states, at, decisions, officer),
        request=Request(f"officer/{officer}", request_id, request_id.encode(), TRACE),
        encode=encode,
        unfit=lambda states: unfit(states, decisions, officer, set()),
    )
    return kept[0].state, kept[0].refusal


async def as_written_by_02(desk: Desk, numbers: list[str]) -> None:
    """Put states into force as release 0.2 wrote them, inspected by olga, who found a violation."""
    async with desk.store.database.transaction() as tx:
        rows = list((await desk.store.lock(tx, numbers)).values())
        now = await desk.store.states(tx, rows)
        old = Table(now.schema, now.rows, {name: now.column(name) for name in now.names if name not in LATER})
        inspected = Ints.constant(1, now.rows)
        old = old.with_columns(
            {
                "version": Ints.of(now.ints("version").values + 1),
                "inspected_at": now.ints("changed_at"),
                "inspection_method": inspected,
                "inspection_result": Ints.constant(2, now.rows),
                "inspected_by": now.strings("filer").translate(lambda _: "olga"),
            }
        )
        await desk.store.succeed(tx, old, rows, trace=TRACE)


async def test_goods_that_a_former_release_held_have_every_exit(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.clearance", "0011", tmp_path, monkeypatch)
    await add_later_tables(database)
    async with neighbours_at_work() as (neighbours, channel):
        desk = Desk(database, neighbours, channel)
        filed = filings([f"RED-{number}" for number in range(4)])
        first, second, third, fourth = mrns(filed)
        await desk.consume(filed)
        await arrive(desk, arrival())
        await as_written_by_02(desk, mrns(filed))
        await remove_later_tables(database)
        migrated = [
            "0012",
            "0013",
            "0016",
            "0018",
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
        assert await migrate(database, "services.clearance") == migrated
        assert await decide(desk, first, Event.CONFISCATED, "otto", "1") == (State.HELD, "NOT_SEIZED")
        assert await decide(desk, first, Event.DESTROYED, "olga", "2") == (State.HELD, "VIOLATION_OPEN")
        assert await decide(desk, first, Event.SEIZED, "olga", "3") == (State.SEIZED, "")
        assert await decide(desk, first, Event.CONFISCATED, "olga", "4") == (State.SEIZED, "VIOLATION_OPEN")
        assert await decide(desk, first, Event.CONFISCATED, "otto", "5") == (State.CONFISCATED, "")
        ends = ((second, Event.DESTROYED, State.DESTROYED), (third, Event.ABANDONED, State.ABANDONED))
        for mrn, event, state in (*ends, (fourth, Event.INVALIDATED_BY_CUSTOMS, State.INVALIDATED)):
            assert await decide(desk, mrn, event, "otto", mrn) == (state, "")
        async with database.connection() as reading:
            assert await reading.raw.fetchval("select count(*) from held") == 0
            assert await reading.raw.fetchval("select count(*) from seized") == 0
