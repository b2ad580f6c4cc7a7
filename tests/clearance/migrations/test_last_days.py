"""Licences of before the migration have the notices about their last day that are still to come."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.customs.time import MICROS_PER_DAY
from libs.store.database import Database
from libs.store.tables.migrate import migrate
from tests.support.earlier_schema import migrate_to

_LICENCE = (
    "insert into licence (authority, type, number, holder, jurisdiction, from_day, to_day, goods, unit, version, revoked_at, changed_at, changed_by) "
    "values ($1, 'C400', $2, 'DE1', 'EU', 0, $3, '95', '', 1, $4, 1, 'agency/toys')"
)


def expected(today: int, first_day: int) -> dict[str, int | None]:
    """Return the day of the next notice of licences of an agency whose last days are relative to a first day."""
    lasts = {"ended": -1, "today": 0, "29 days": 29, "30 days": 30, "a year": 365}
    found: dict[str, int | None] = dict.fromkeys(("revoked", "of customs"))
    for name, days in lasts.items():
        end = first_day + days + 1
        found[name] = end - 30 if today < end - 30 else end if today < end else None
    return found


async def test_the_next_notice_of_each_licence_is_due_at_its_time_and_past_ones_do_not_follow(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.clearance", "0042", tmp_path, monkeypatch)
    begin = await database.now() // MICROS_PER_DAY
    async with database.transaction() as tx:
        for name, days in (("ended", -1), ("today", 0), ("29 days", 29), ("30 days", 30), ("a year", 365)):
            await tx.raw.execute(_LICENCE, "toys", name, begin + days, None)
        await tx.raw.execute(_LICENCE, "toys", "revoked", begin + 365, 5)
        await tx.raw.execute(_LICENCE, "", "of customs", begin + 365, None)
    assert "0044" in await migrate(database, "services.clearance")
    async with database.connection() as reading:
        rows = await reading.raw.fetch("select number, next_at from licence")
    found = {row["number"]: row["next_at"] and row["next_at"] / MICROS_PER_DAY for row in rows}
    assert found in [expected(today, begin) for today in (begin, await database.now() // MICROS_PER_DAY)]
    assert expected(begin, begin) == {
        "ended": None, "today": begin + 1, "29 days": begin + 30, "30 days": begin + 1, "a year": begin + 336,
        "revoked": None, "of customs": None,
    }  # fmt: skip
