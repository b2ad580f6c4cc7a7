"""What is looked at when a store is opened, and when it is looked after."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import pytest

from libs.server.process.health import STORE, Health
from libs.server.process.store_watch import StoreWatch, refusal_of_store
from libs.store import checks
from libs.store.checks import Finding, findings
from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.errors import StoreIncompatible, StoreUnavailable
from libs.store.monitoring.space import has_space

GOOD = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_locks_per_transaction": "2048",
    "max_prepared_transactions": "0",
}


def test_the_settings_that_we_ask_for_are_found_good() -> None:
    assert findings(GOOD) == []
    assert findings(GOOD | {"synchronous_commit": "remote_apply"}) == []


@pytest.mark.parametrize(
    ("setting", "value", "wanted"),
    [
        ("fsync", "off", "on"),
        ("synchronous_commit", "off", "on"),
        ("full_page_writes", "off", "on"),
        ("max_locks_per_transaction", "64", "at least 512"),
        ("max_prepared_transactions", "10", "0"),
    ],
)
def test_a_setting_that_endangers_is_found(setting: str, value: str, wanted: str) -> None:
    (found,) = findings(GOOD | {setting: value})
    assert (found.setting, found.value, found.recommended) == (setting, value, wanted)
    assert isinstance(found, Finding)
    assert found.reason


async def test_a_setting_that_endangers_is_told_once_with_what_to_set(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        async with Database(f"{database_url}&options=-c%20synchronous_commit%3Doff", name="risky"):
            pass
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if '"STORE_SETTING"' in line]
    (line,) = [line for line in lines if line["store"] == "risky"]
    assert (line["setting"], line["value"], line["level"]) == ("synchronous_commit", "off", "warning")
    assert line["hint"] == "set synchronous_commit = on in the server's configuration"
    assert "power cut" in line["why"]


async def test_an_older_server_is_refused_with_what_to_do(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SERVER_VERSION_MIN", 999)
    with pytest.raises(StoreIncompatible, match=r"needs 999 or newer\. Upgrade the server"):
        await Database(database_url, name="old").open()


async def test_a_server_that_takes_no_writes_is_not_opened(database_url: str) -> None:
    with pytest.raises(StoreUnavailable, match="takes no writes, it is set read-only") as caught:
        await Database(f"{database_url}&options=-c%20default_transaction_read_only%3Don", name="standby").open()
    assert caught.value.reason == "read_only"


def end_sessions(url: str, name: str) -> None:
    """End all sessions of a database and wait until they have ended. This thread's loop stands still meanwhile, so that none of
    its sessions knows of its end before it is used.
    """

    async def work() -> None:
        connection = await asyncpg.connect(url)
        try:
            ended = "select bool_and(pg_terminate_backend(pid, 30000)) from pg_stat_activity where datname = $1"
            assert await connection.fetchval(ended, name)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work()).result()


async def test_a_store_that_turns_read_only_is_missing_until_it_takes_writes_again(
    postgres: EmbeddedPostgres, database: Database
) -> None:
    health = Health()
    watch = StoreWatch(database, health)
    assert await watch.missing() == []
    assert health.servicer._server_status[STORE] == 1
    async with database.connection() as reader:
        name = await reader.raw.fetchval("select current_database()")
    outside = await asyncpg.connect(postgres.url("postgres"))
    try:
        # As at the demotion of a primary, sessions that are open are ended.
        await outside.execute(f'alter database "{name}" set default_transaction_read_only = on')
        end_sessions(postgres.url("postgres"), name)
        with pytest.raises(StoreUnavailable, match="connection to the server was lost"):
            await watch.missing()
        assert health.servicer._server_status[STORE] == 2
        (told,) = await watch.missing()
        assert "takes no writes" in told
        assert health.servicer._server_status[STORE] == 2
        # The session that found out is not used again: the next look finds the server as it is then.
        await outside.execute(f'alter database "{name}" reset default_transaction_read_only')
        assert await watch.missing() == []
        assert health.servicer._server_status[STORE] == 1
    finally:
        await outside.execute(f'alter database "{name}" reset default_transaction_read_only')
        await outside.close()


async def test_a_full_disk_is_remembered_while_the_server_is_away_and_until_a_write_finds_its_place(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    health = Health()
    watch = StoreWatch(database, health)

    async def fail(error: Exception) -> StoreUnavailable:
        with pytest.raises(StoreUnavailable) as caught:
            async with database.transaction():
                raise error
        return caught.value

    before = await fail(asyncpg.CannotConnectNowError("the database system is starting up"))
    assert refusal_of_store(before).reason == "STORE_UNAVAILABLE"
    for error in (
        asyncpg.DiskFullError("could not extend file: No space left on device"),
        asyncpg.CannotConnectNowError("the database system is in recovery mode"),
    ):
        refusal = refusal_of_store(await fail(error))
        assert (refusal.reason, refusal.code.name) == ("STORE_FULL", "RESOURCE_EXHAUSTED")
        assert refusal.retry_after_seconds == 2.0
    other = await fail(asyncpg.DeadlockDetectedError("deadlock detected"))
    assert refusal_of_store(other).reason == "STORE_UNAVAILABLE"
    watch.report_full()
    assert await watch.missing() == []
    assert not database.full
    reasons = [json.loads(line)["reason"] for line in capsys.readouterr().err.splitlines()]
    assert reasons.count("STORE_FULL") == reasons.count("STORE_HAS_SPACE") == 1


def test_a_refusal_of_a_full_store_claims_nothing_of_what_was_kept() -> None:
    # The connection may have broken in a commit, and a call that commits twice may fail behind the first.
    error = StoreUnavailable("lost", reason="connection", database="clearance", commit_unknown=True)
    error.full = True
    refusal = refusal_of_store(error)
    assert refusal.reason == "STORE_FULL"
    assert refusal.sentence == "The disk of the store of clearance is full, so calls that write are refused."
    assert "with the same request_id" in refusal.hint
    assert refusal.retry_after_seconds == 2.0


async def test_the_try_for_space_leaves_nothing_behind(database: Database) -> None:
    async def size() -> int:
        async with database.connection() as reader:
            return int(await reader.raw.fetchval("select pg_database_size(current_database())"))

    assert await has_space(database)
    before = await size()
    for _ in range(3):
        assert await has_space(database)
    assert await size() - before < 1024 * 1024
