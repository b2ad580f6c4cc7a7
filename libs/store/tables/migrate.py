"""Brings a service's database to the schema that its code knows: at start, forward only, by whichever replica comes
first.

The steps are Alembic's, in `services/<name>/migrations/versions/*.py` (`libs.store.tables.schema` shows how one looks), each
in a transaction of its own. `schema_history` keeps what ran in which order and, for each step, the oldest release that
still works beside it (`works_from` in the step). So a replica of the release before may start again during a roll-out,
while a release that the schema has left behind refuses to.
"""

import asyncio
import logging
import threading
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from libs.store.database import Database
from libs.store.errors import StoreError, StoreIncompatible, StoreMisuse, StoreUnavailable, connect_error, translate

logger = logging.getLogger(__name__)

LOCK_SECONDS_MAX: Final = 120.0
_LOCK_KEY: Final = 0x4C55584F52  # "LUXOR"
_LOCK_POLL_SECONDS: Final = 0.1
_STATEMENT_LOCK_MILLIS_MAX: Final = 10_000
_HISTORY: Final = "select position, revision, works_from from schema_history order by position"

# Alembic's `op` is one global of the process, so migrations of two databases in one process must not run at once.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Step:
    """One row of `schema_history`, or one script of this release."""

    position: int
    revision: str
    works_from: int
    """The position of the oldest release's head whose code works beside this step."""


async def migrate(database: Database, package: str, *, lock_seconds_max: float = LOCK_SECONDS_MAX) -> list[str]:
    """Runs the migrations of `package` ("services.ingestion") that this database lacks; gives their revisions in
    order.

    Replicas that start at once wait for the first under an advisory lock. Raises `StoreIncompatible` where the
    database is of a newer release than this code and not compatible with it, `StoreUnavailable` or `StoreMisuse` as
    `Database.transaction` does.
    """
    scripts = _scripts(package)
    steps = _steps_of(scripts)

    def work() -> list[str]:
        with _one_at_a_time:
            return asyncio.run(_migrate(database, scripts, steps, lock_seconds_max))

    # In a thread with a loop of its own: waiting for the process-wide lock must not stop the caller's loop.
    return await asyncio.to_thread(work)


async def require_schema(database: Database, package: str) -> None:
    """Sees whether the migrations of `package` have all run, and changes nothing.

    Raises `StoreUnavailable` (reason `schema`) while they have not, `StoreIncompatible` as `migrate` does.
    """
    steps = _steps_of(_scripts(package))
    async with database.connection() as reader:
        there = await reader.raw.fetchval("select to_regclass('schema_history') is not null")
        rows = await reader.raw.fetch(_HISTORY) if there else []
    applied = [_Step(*row) for row in rows]
    _check_history(applied, steps, database.name)
    if len(applied) < len(steps):
        raise StoreUnavailable(
            f"database {database.name}: its schema lacks {steps[len(applied)].revision!r}; run `luxor migrate "
            f"{database.name}`",
            reason="schema",
            database=database.name,
        )


async def _migrate(
    database: Database, scripts: ScriptDirectory, steps: list[_Step], lock_seconds_max: float
) -> list[str]:
    own = Database(database.url, name=database.name, pool_size=1)
    await own.open()
    try:
        async with own.engine.connect() as connection:
            await _lock(connection, database.name, lock_seconds_max)
            try:
                return await connection.run_sync(_upgrade, scripts, steps, database.name)
            finally:
                if not connection.closed and not connection.invalidated:
                    await connection.execute(text("select pg_advisory_unlock(:key)"), {"key": _LOCK_KEY})
    except StoreError:
        raise
    except Exception as error:
        safe = translate(error, database.name) or connect_error(error, database.name)
        if safe is None:
            raise
        raise safe.with_traceback(error.__traceback__) from None
    finally:
        await own.close()


async def _lock(connection: Any, name: str, seconds_max: float) -> None:
    """Takes the session's advisory lock by asking again and again: a session that waits inside a statement would
    hold a snapshot."""
    deadline = time.monotonic() + seconds_max
    while True:
        taken = (await connection.execute(text("select pg_try_advisory_lock(:key)"), {"key": _LOCK_KEY})).scalar()
        if taken:
            return
        if time.monotonic() > deadline:
            raise StoreUnavailable(
                f"database {name}: another process has been migrating it for over {seconds_max:.0f} s; see whether it "
                "hangs",
                reason="lock",
                database=name,
            )
        await asyncio.sleep(_LOCK_POLL_SECONDS)


def _upgrade(connection: Connection, scripts: ScriptDirectory, steps: list[_Step], name: str) -> list[str]:
    connection.execute(
        text(
            "create table if not exists schema_history (position integer primary key, revision text not null, "
            "works_from integer not null, applied_at timestamptz not null default clock_timestamp())"
        )
    )
    applied = [_Step(*row) for row in connection.execute(text(_HISTORY))]
    _check_history(applied, steps, name)
    missing = steps[len(applied) :]
    if not missing:
        return []
    for step in missing:
        began = time.monotonic()
        _run(connection, scripts, step)
        logger.info("database %s: migrated to %s in %.0f ms", name, step.revision, (time.monotonic() - began) * 1000)
    return [step.revision for step in missing]


def _run(connection: Connection, scripts: ScriptDirectory, step: _Step) -> None:
    """One step and its row of the history, in one transaction."""

    def upgrade(revision: Any, context: MigrationContext) -> Any:
        return scripts._upgrade_revs(step.revision, revision)

    # The engine commits each statement by itself, so the transaction is begun by hand.
    connection.exec_driver_sql("begin")
    try:
        connection.exec_driver_sql(f"set local lock_timeout = {_STATEMENT_LOCK_MILLIS_MAX}")
        config = scripts_config(scripts)
        with EnvironmentContext(config, scripts, fn=upgrade, destination_rev=step.revision) as environment:
            environment.configure(connection=connection, transactional_ddl=False, version_table="schema_version")
            environment.run_migrations()
        connection.execute(
            text(
                "insert into schema_history (position, revision, works_from) values (:position, :revision, :works_from)"
            ),
            {"position": step.position, "revision": step.revision, "works_from": step.works_from},
        )
        connection.exec_driver_sql("commit")
    except BaseException:
        if not connection.invalidated and not connection.closed:
            try:
                connection.exec_driver_sql("rollback")
            except SQLAlchemyError:
                connection.invalidate()
        raise


def _check_history(applied: list[_Step], steps: list[_Step], name: str) -> None:
    known = len(steps)
    for ours, theirs in zip(steps, applied, strict=False):
        if ours.revision != theirs.revision:
            raise StoreIncompatible(
                f"database {name}: its step {theirs.position} is {theirs.revision!r}, where this release has "
                f"{ours.revision!r}. It "
                "belongs to another service or to a branch of the code; check the database's URL.",
                database=name,
            )
    newer = applied[known:]
    refusing = [step for step in newer if step.works_from > known]
    if refusing:
        raise StoreIncompatible(
            f"database {name}: its schema is at {newer[-1].revision!r}, of a newer release; this one knows no further "
            "than "
            f"{steps[-1].revision!r} and does not work beside {refusing[0].revision!r}. Start the newer release, or "
            "restore a backup "
            "from before the upgrade: schemas do not go back.",
            database=name,
        )
    if newer:
        logger.warning(
            "database %s: its schema is at %s, of a newer release that this one still works beside",
            name,
            newer[-1].revision,
        )


def scripts_config(scripts: ScriptDirectory) -> Config:
    """Alembic's configuration for scripts that need none."""
    config = Config()
    config.set_main_option("script_location", str(scripts.dir))
    return config


def _scripts(package: str) -> ScriptDirectory:
    spec = find_spec(f"{package}.migrations")
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    for place in places:
        versions = Path(place) / "versions"
        if versions.is_dir():
            return ScriptDirectory(place, version_locations=[str(versions)])
    raise StoreMisuse(f"{package}: no directory migrations/versions beside its modules")


def _steps_of(scripts: ScriptDirectory) -> list[_Step]:
    """All scripts from the first to the head, numbered from 1. Raises `StoreMisuse` where they do not form one
    line."""
    heads = scripts.get_heads()
    if len(heads) != 1:
        raise StoreMisuse(
            f"{scripts.dir}: migrations must form one line, but it has the heads {', '.join(heads) or 'none'}"
        )
    line: list[Script] = list(scripts.walk_revisions())
    line.reverse()
    positions = {script.revision: place for place, script in enumerate(line, 1)}
    steps = []
    for place, script in enumerate(line, 1):
        oldest = getattr(script.module, "works_from", script.revision)
        if positions.get(oldest, place + 1) > place:
            raise StoreMisuse(f"{script.path}: works_from = {oldest!r} is no revision before or at {script.revision!r}")
        steps.append(_Step(place, script.revision, positions[oldest]))
    return steps
