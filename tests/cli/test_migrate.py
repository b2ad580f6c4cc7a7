"""`luxor migrate` against real databases, and services that wait for it."""

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner, Result

from libs.cli.main import luxor
from libs.store.database import Database
from libs.store.errors import StoreUnavailable
from libs.store.tables.migrate import migrate, require_schema
from services.risk.__main__ import assemble
from tests.support.services import running


async def _call(*arguments: str, url: str) -> Result:
    environ = {"LUXOR_RISK_DATABASE_URL": url}
    return await asyncio.to_thread(lambda: CliRunner(env=environ).invoke(luxor, ["migrate", *arguments]))


async def _told(*arguments: str, url: str) -> dict[str, Any]:
    result = await _call(*arguments, "--json", url=url)
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


async def test_a_database_is_migrated_once_and_found_as_it_should_be_the_second_time(database_url: str) -> None:
    first = await _told("risk", url=database_url)
    assert first["migrated"][0] == "0001"
    assert (await _told("risk", url=database_url))["migrated"] == []
    assert (await _told("risk", "--wait", url=database_url))["migrated"] == []


async def test_waiting_ends_with_what_to_do_where_nobody_migrates(database_url: str) -> None:
    result = await _call("risk", "--wait", "--seconds", "0", url=database_url)
    assert result.exit_code == 3
    assert "luxor migrate risk" in result.output


async def test_who_waits_for_a_lock_after_waiting_for_the_server_has_what_is_left_of_the_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from libs.store.tables import migrate as migrations

    given: list[float] = []

    async def locked(database: Database, _package: str, *, lock_seconds_max: float) -> list[str]:
        given.append(lock_seconds_max)
        if len(given) < 3:
            raise StoreUnavailable("passing", reason="connection", database=database.name)
        return []

    monkeypatch.setattr(migrations, "migrate", locked)
    await _told("risk", "--seconds", "3600", url=database_url)
    first, second, third = given
    assert 3_540 < first <= 3_600
    # There is half a second between two tries.
    assert second <= first - 0.5
    assert third <= second - 0.5


async def test_an_absent_server_is_told_and_not_awaited_for_ever() -> None:
    result = await _call("risk", "--seconds", "0", url="postgresql://luxor@127.0.0.1:1/risk")
    assert result.exit_code == 3
    assert "DATABASE_NOT_STARTED" in result.output


def test_without_a_database_it_says_which_variable_is_missing() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LUXOR_")}
    done = subprocess.run(
        [sys.executable, "-m", "libs.cli", "migrate", "risk"],
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "LUXOR_RISK_DATABASE_URL" in done.stderr


async def test_a_schema_that_is_not_there_yet_is_awaited_and_not_made(database: Database) -> None:
    with pytest.raises(StoreUnavailable) as found:
        await require_schema(database, "services.risk")
    assert found.value.reason == "schema"
    async with database.connection() as reader:
        assert await reader.raw.fetchval("select to_regclass('schema_history')") is None
    await migrate(database, "services.risk")
    await require_schema(database, "services.risk")


async def test_a_service_that_may_not_migrate_becomes_ready_once_somebody_has(database_url: str) -> None:
    environ = {"LUXOR_MIGRATE": "false"}

    async def serve() -> bool:
        async with running("risk", assemble, database_url, environ=environ) as service:
            return service.service.server.chain.missing is None

    serving = asyncio.create_task(serve())
    # It must have looked at the database, found nothing and made nothing before somebody migrates.
    async with Database(database_url, name="risk") as database:
        async with asyncio.timeout(30):
            while await _sessions(database) == 0:  # noqa: ASYNC110  # another process's sessions have no event
                await asyncio.sleep(0.01)
        async with database.connection() as reader:
            assert await reader.raw.fetchval("select to_regclass('schema_history')") is None
    await _told("risk", url=database_url)
    assert await serving


async def _sessions(database: Database) -> int:
    async with database.connection() as reader:
        count = await reader.raw.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        )
    return int(count)
