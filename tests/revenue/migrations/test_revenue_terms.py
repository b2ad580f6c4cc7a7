"""A store of 0.2 with data is opened by this release: columns that were renamed have their content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from libs.jobs.days import fill_days
from libs.jobs.store import Jobs
from libs.store.database import Database
from libs.store.tables.migrate import migrate
from luxor.revenue.v1.what_if_pb2 import LawChange, WhatIf
from services.revenue.api.what_if import JOB_TYPE
from services.revenue.migrations.versions.r0009_terms import RENAMES
from tests.support.earlier_schema import migrate_to

RENAMED = [(words[2], words[5], words[7]) for words in (statement.split() for statement in RENAMES)]
"""Table, column, and its new name."""
ADDED = {"ledger_position": {"paged": False}}
"""Columns that later revisions add, with the value of rows that are stored already."""


async def test_runs_keep_what_was_stored_of_them(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.revenue", "0008", tmp_path, monkeypatch)
    # As 0.2 wrote it: from_day 5, to_day 6, changes 14 (path 1, value 2) of its message WhatIf.
    summary = b"\x28\x96\xa2\x01\x30\xb3\xa2\x01\x72\x0a\x0a\x05a.b:c\x12\x015"
    async with database.transaction() as tx:
        await tx.raw.execute(
            "insert into job (kind, state, request, started_by, told) values (1, 3, '', 'analyst/anna', $1)", summary
        )
    assert await migrate(database, "services.revenue") == [
        "0009",
        "0010",
        "0011",
        "0012",
        "0013",
        "0014",
        "0015",
        "0016",
        "0017",
    ]
    (job,) = await Jobs(database).page(None, before=None, rows_max=10)
    what_if = WhatIf.FromString(job.summary)
    fill_days(what_if, (5, 6))
    assert what_if == WhatIf(from_day="2026-11-01", to_day="2026-11-30", changes=[LawChange(path="a.b:c", value="5")])
    assert JOB_TYPE.title(job.summary) == "a.b:c = 5, 2026-11-01 to 2026-11-30"


VALUES = {
    "text": "'x{}'", "bytea": "'\\x0{}'", "bigint": "{}", "integer": "{}", "smallint": "{}", "boolean": "true", "ARRAY": "null",
    "timestamp with time zone": "to_timestamp({})",
}  # fmt: skip
"""A value of each type, of its column's place."""


async def stored(database: Database, table: str) -> list[dict[str, Any]]:
    async with database.connection() as reader:
        rows = await reader.raw.fetch(
            f"select to_jsonb(row) as row from {table} row order by row::text"
        )  # our own name
    return [row["row"] for row in rows]


async def fill(database: Database, table: str) -> None:
    """Insert a row that has a value of its own in each column."""
    async with database.transaction() as tx:
        columns = await tx.raw.fetch(
            "select column_name, data_type, udt_name from information_schema.columns where table_name = $1 and is_identity = 'NO' "
            "order by ordinal_position",
            table,
        )
        values = [
            f"'{{}}'::{each['udt_name'][1:]}[]"
            if each["data_type"] == "ARRAY"
            else VALUES[each["data_type"]].format(place % 9 + 1)
            for place, each in enumerate(columns)
        ]
        await tx.raw.execute(
            f"insert into {table} ({', '.join(each['column_name'] for each in columns)}) values ({', '.join(values)})"  # our own names
        )


async def test_each_renamed_column_keeps_its_content(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.revenue", "0008", tmp_path, monkeypatch)
    tables = sorted({table for table, _, _ in RENAMED})
    for table in tables:
        if table != "ledger_proof_state":  # has its one row
            await fill(database, table)
    before = {table: await stored(database, table) for table in tables}
    assert await migrate(database, "services.revenue") == [
        "0009",
        "0010",
        "0011",
        "0012",
        "0013",
        "0014",
        "0015",
        "0016",
        "0017",
    ]
    for table in tables:
        names = {column: name for renamed, column, name in RENAMED if renamed == table}
        assert len(before[table]) == 1
        expected = [
            {names.get(column, column): value for column, value in row.items()} | ADDED.get(table, {})
            for row in before[table]
        ]
        assert await stored(database, table) == expected
        assert not names.keys() & expected[0].keys()
