import asyncio
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.errors import StoreIncompatible, StoreMisuse, StoreUnavailable
from libs.store.tables.migrate import migrate

Release = Callable[..., str]

STEP = '''
"""{revision}"""

from alembic import op

revision = "{revision}"
down_revision = {before!r}
{more}

def upgrade() -> None:
    for statement in {statement!r}.split(";"):
        op.execute(statement)
'''


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    """Makes a package with the given steps, each (statement, further lines), and gives its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name: str, *steps: tuple[str, str] | str) -> str:
        versions = tmp_path / name / "migrations" / "versions"
        versions.mkdir(parents=True)
        for number, step in enumerate(steps, 1):
            statement, more = (step, "") if isinstance(step, str) else step
            before = f"{number - 1:04}" if number > 1 else None
            text = STEP.format(revision=f"{number:04}", before=before, statement=statement, more=more)
            (versions / f"r{number:04}_step.py").write_text(text)
        return name

    return make


FIRST = "create table parcel (mrn text primary key)"
SECOND = "alter table parcel add column weight bigint"
THIRD = "alter table parcel drop column weight"


async def _history(database: Database) -> list[str]:
    async with database.connection() as reader:
        rows = await reader.raw.fetch("select revision from schema_history order by position")
        return [row["revision"] for row in rows]


async def test_a_database_is_brought_to_the_newest_schema_and_then_left_alone(
    database: Database, release: Release
) -> None:
    assert await migrate(database, release("one", FIRST)) == ["0001"]
    package = release("two", FIRST, SECOND, THIRD)
    assert await migrate(database, package) == ["0002", "0003"]
    assert await migrate(database, package) == []
    assert await _history(database) == ["0001", "0002", "0003"]


def _migrate_in_a_process(url: str, package: str, path: str, start: "multiprocessing.synchronize.Barrier") -> list[str]:
    import sys

    sys.path.insert(0, path)
    start.wait(60)
    return asyncio.run(migrate(Database(url, name="raced"), package))


async def test_of_replicas_that_start_at_once_one_migrates_and_the_others_wait(
    database: Database, database_url: str, release: Release
) -> None:
    package = release("raced", f"select pg_sleep(0.2); {FIRST}", SECOND)
    replicas = [Database(database_url, name=f"replica {number}") for number in range(4)]
    done = await asyncio.gather(*(migrate(replica, package) for replica in replicas))
    assert sorted(done) == [[], [], [], ["0001", "0002"]]


async def test_replicas_in_processes_of_their_own_do_not_clash(
    database: Database, database_url: str, release: Release, tmp_path: Path
) -> None:
    package = release("raced", f"select pg_sleep(0.2); {FIRST}", SECOND)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(3) as pool:
        start = manager.Barrier(3)
        running = [
            pool.apply_async(_migrate_in_a_process, (database_url, package, str(tmp_path), start)) for _ in range(3)
        ]
        done = [await asyncio.to_thread(each.get, 60) for each in running]
    assert sorted(done) == [[], [], ["0001", "0002"]]
    assert await _history(database) == ["0001", "0002"]


async def test_a_database_of_a_newer_release_is_refused_with_a_way_out(database: Database, release: Release) -> None:
    await migrate(database, release("newer", FIRST, SECOND))
    with pytest.raises(StoreIncompatible, match=r"'0002', of a newer release.*Start the newer release, or restore"):
        await migrate(database, release("older", FIRST))


async def test_a_release_still_starts_beside_a_schema_that_says_it_works_for_it(
    database: Database, release: Release, caplog: pytest.LogCaptureFixture
) -> None:
    await migrate(database, release("newer", FIRST, (SECOND, 'works_from = "0001"')))
    older = release("older", FIRST)
    assert await migrate(database, older) == []
    assert "this one still works beside" in caplog.text
    await migrate(database, release("newest", FIRST, (SECOND, 'works_from = "0001"'), (THIRD, 'works_from = "0002"')))
    with pytest.raises(StoreIncompatible, match="does not work beside '0003'"):
        await migrate(database, older)


async def test_a_database_of_another_service_is_refused(database: Database, release: Release) -> None:
    await migrate(database, release("one", FIRST))
    async with database.transaction() as tx:
        await tx.raw.execute("update schema_history set revision = 'a1'")
    with pytest.raises(StoreIncompatible, match="check the database's URL"):
        await migrate(database, release("other", FIRST))


async def test_a_step_that_fails_leaves_what_was_before_it(database: Database, release: Release) -> None:
    broken = release("broken", FIRST, f"{SECOND}; insert into parcel values ('{'x' * 8}', 'Jane Roe')")
    with pytest.raises(StoreMisuse) as caught:
        await migrate(database, broken)
    assert caught.value.sqlstate == "22P02", "it must be the second statement that failed"
    assert "Jane Roe" not in str(caught.value)
    assert await _history(database) == ["0001"]
    assert await migrate(database, release("mended", FIRST, SECOND)) == ["0002"]


async def test_a_package_without_migrations_and_one_with_a_fork_are_mistakes(
    database: Database, release: Release, tmp_path: Path
) -> None:
    with pytest.raises(StoreMisuse, match="no directory migrations/versions"):
        await migrate(database, "libs.store")
    package = release("forked", FIRST, SECOND)
    fork = STEP.format(revision="0002b", before="0001", statement=THIRD, more="")
    (tmp_path / "forked" / "migrations" / "versions" / "r0002b_step.py").write_text(fork)
    with pytest.raises(StoreMisuse, match="must form one line"):
        await migrate(database, package)


async def test_a_migration_that_hangs_elsewhere_is_not_awaited_for_ever(database: Database, release: Release) -> None:
    package = release("held", FIRST)
    async with database.connection() as holder:
        await holder.raw.execute("select pg_advisory_lock(x'4C55584F52'::bigint)")
        with pytest.raises(StoreUnavailable, match="has been migrating it for over"):
            await migrate(database, package, lock_seconds_max=0.0)
        await holder.raw.execute("select pg_advisory_unlock_all()")


async def test_a_server_that_is_away_is_told_as_such(release: Release, postgres: EmbeddedPostgres) -> None:
    with pytest.raises(StoreUnavailable):
        await migrate(Database("postgresql://luxor@/none?host=/nowhere", name="away"), release("one", FIRST))
