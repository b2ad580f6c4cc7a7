"""One service's own database: its pool, its transactions and their limits.

The feed's horizon belongs to the whole server, so a write transaction that stays open delays every feed. Each one therefore has
its limit in three places: the client's deadline, the server's `statement_timeout` and `idle_in_transaction_session_timeout` (they
end it if the client is stopped or lost), and `transaction_timeout` if the server has it (17 and newer). The limit is a safeguard;
a transaction should hold back the horizon for at most 100 ms, and longer ones are counted and logged.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from libs.store import arrays, timing
from libs.store.checks import check_server
from libs.store.counts import Counts, Durability
from libs.store.errors import (
    StoreError,
    StoreMisuse,
    StoreUnavailable,
    connect_error,
    is_driver_lost,
    translate,
)
from libs.store.identity import POSITION, Identity, read_identity
from libs.store.transaction import NOW_MICROS, Transaction

__all__ = ["NOW_MICROS", "Counts", "Database", "Durability", "Transaction"]

logger = logging.getLogger(__name__)

HORIZON_MILLIS_MAX: Final = 100
"""Duration from which on a write transaction counts as slow, because it holds back the horizon."""
TRANSACTION_MILLIS_MAX: Final = 5_000
READ_MILLIS_MAX: Final = 30_000
CONNECT_SECONDS_MAX: Final = 5.0
POOL_SECONDS_MAX: Final = 5.0
_PLANNER: Final = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
"""Statements look rows up by key, and their plans are cached: one that was made while a table had few rows must not read all of them
when it has many. Where nothing else is possible, the planner scans and joins nevertheless."""
_ISOLATION: Final = {"default_transaction_isolation": "read committed"}
"""Whatever the server's default is: a statement after a lock reads what was committed while the lock was awaited."""
_ROLLBACK_SECONDS_MAX: Final = 2.0
_WARNING_SECONDS_MIN: Final = 10.0


class Database:
    """One service's own database at `url` (libpq form, `postgresql://user@host/name?...`); errors and metrics call it `name`.

    `watch`, if given, is called with the duration of each write transaction in seconds, `watch_wait` with the seconds that the
    pool took to give a requested connection.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        pool_size: int = 8,
        watch: Callable[[float], None] | None = None,
        watch_wait: Callable[[float], None] | None = None,
        guarded: bool = False,
    ) -> None:
        self.name = name
        self.counts = Counts()
        self.full = False
        """Whether the server reported that its disk is full; libs.store.monitoring.space sets it back."""
        self.replaced = ""
        """Why the store is another one than the one that was opened, if the database is `guarded`: then no work is done in it any more."""
        self._guarded = guarded
        self._identity: Identity | None = None
        arrays.recognise_by_class()
        self.url = url.replace("postgresql+asyncpg://", "postgresql://", 1)
        """The URL of the database; it may contain a password, so it is never printed."""
        self._pool_size = pool_size
        self._watch = watch
        self._watch_wait = watch_wait
        self._engine: AsyncEngine | None = None
        self._warned_at = float("-inf")
        self.begin_statement = ""
        self._before_close: list[Callable[[], Awaitable[object]]] = []
        self._namespace = timing.namespace_of(self.url)

    @property
    def engine(self) -> AsyncEngine:
        """Return SQLAlchemy's engine; raises `StoreMisuse` before `open`."""
        if self._engine is None:
            raise StoreMisuse(f"database {self.name} is not open: await open() first", database=self.name)
        return self._engine

    @property
    def connections(self) -> tuple[int, int, int]:
        """Return the number of used connections of the pool, of idle ones, and the largest number."""
        if self._engine is None:
            return 0, 0, self._pool_size
        pool: Any = self._engine.pool
        return pool.checkedout(), pool.checkedin(), self._pool_size

    async def open(self, *, wait_seconds: float = 0.0) -> None:
        """Connect once, check that the server is new enough and accepts writes, and warn of settings (`check_server`).

        Waits up to `wait_seconds` for a server that is not available yet. Raises `StoreUnavailable` or `StoreIncompatible`.
        """
        if self._engine is not None:
            return
        deadline = time.monotonic() + wait_seconds
        pause = 0.05
        while True:
            try:
                await self._open_once()
                return
            except StoreUnavailable:
                if time.monotonic() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def close(self) -> None:
        """Close every connection; harmless if it is closed already."""
        if self._engine is not None:
            for work in self._before_close:
                await work()
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()

    def before_close(self, work: Callable[[], Awaitable[object]]) -> None:
        """Register a step that runs after everything else has stopped using the database."""
        self._before_close.append(work)

    async def reconnect(self) -> None:
        """Replace every connection, those in use as soon as they are free: the URL may lead to another server."""
        await self.engine.dispose()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def now(self) -> int:
        """Return the server's clock, microseconds since 1970-01-01 UTC."""
        async with self.connection() as reader:
            return await reader.now()

    async def durability(self) -> Durability:
        """Return the server's version and the settings that determine the durability of a commit."""
        async with self.connection() as reader:
            row = await reader.raw.fetchrow(
                "select current_setting('server_version') as server, current_setting('fsync') as fsync, "
                "current_setting('synchronous_commit') as synchronous_commit, "
                "current_setting('full_page_writes') as full_page_writes"
            )
        return Durability(**dict(row))

    @asynccontextmanager
    async def transaction(self, *, timeout_millis: int = TRANSACTION_MILLIS_MAX) -> AsyncIterator[Transaction]:
        """Return a write transaction (read committed): it commits at the end of the block, and rolls back on any exception.

        `timeout_millis` limits it from begin to commit. Raises `StoreUnavailable`, `StoreConflict` or `StoreMisuse` instead of
        the driver's errors; exceptions of the block itself pass unchanged.
        """
        async with self._session("transaction") as (work, told):
            work.will_commit()
            began = time.monotonic()
            committing = committed = False
            limit = asyncio.timeout(timeout_millis / 1000)
            try:
                async with limit:
                    await work.raw.execute(self.begin_statement.format(limit=timeout_millis))
                    yield work
                committing = True
                limit = asyncio.timeout(timeout_millis / 1000)
                asked = time.monotonic()
                async with limit:
                    ended = await work.raw.execute("commit")
                    if ended == "COMMIT":
                        await self._note_position(work.raw)
                if ended != "COMMIT":
                    committing = False
                    raise StoreMisuse(
                        f"database {self.name}: a statement failed and the block went on, so nothing was committed; "
                        "put what may fail under savepoint()",
                        database=self.name,
                    )
                committed = True
                if told is not None:
                    told.committed(time.monotonic() - asked)
            except BaseException as error:
                await self._abandon(work.raw, error)
                safe = self._safe(error, work.raw, limit=limit, millis=timeout_millis, commit=committing)
                if safe is None:
                    raise
                raise safe.with_traceback(error.__traceback__) from None
            finally:
                self._count(time.monotonic() - began, committed=committed)
        work.committed()

    @asynccontextmanager
    async def connection(
        self, *, timeout_millis: int = READ_MILLIS_MAX, snapshot: bool = False
    ) -> AsyncIterator[Transaction]:
        """Return a connection for reads, each statement by itself; with `snapshot`, all of them see one moment and none may
        write.

        `timeout_millis` limits the block. Raises as `transaction` does.
        """
        async with self._session("read") as (work, _):
            limit = asyncio.timeout(timeout_millis / 1000)
            try:
                async with limit:
                    if snapshot:
                        await work.raw.execute(self._begin_snapshot.format(limit=timeout_millis))
                    yield work
                    if snapshot:
                        await work.raw.execute("commit")
            except BaseException as error:
                await self._abandon(work.raw, error)
                safe = self._safe(error, work.raw, limit=limit, millis=timeout_millis, commit=False)
                if safe is None:
                    raise
                raise safe.with_traceback(error.__traceback__) from None

    @property
    def _begin_snapshot(self) -> str:
        return self.begin_statement.replace("begin;", "begin isolation level repeatable read read only;", 1)

    async def _open_once(self) -> None:
        # Autocommit, because SQLAlchemy would begin a transaction only at its own first statement, and `raw` would be outside of it.
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            isolation_level="AUTOCOMMIT",
            pool_size=self._pool_size,
            max_overflow=0,
            pool_timeout=POOL_SECONDS_MAX,
            pool_use_lifo=True,
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "checkout", _refuse_dead_connection)
        timing.time_core(engine)
        self._engine = engine
        try:
            async with self._session("open") as (work, _):
                version = work.raw.get_server_version()
                await check_server(work.raw, version.major, self.name)
            self.begin_statement = (
                "begin; set local statement_timeout = {limit}; set local idle_in_transaction_session_timeout = {limit}"
                + ("; set local transaction_timeout = {limit}" if version.major >= 17 else "")
            )
        except BaseException:
            await self.close()
            raise

    async def _connect(self) -> asyncpg.Connection:
        connection = await asyncpg.connect(
            self.url,
            timeout=CONNECT_SECONDS_MAX,
            server_settings={"application_name": f"luxor {self.name}", **_PLANNER, **_ISOLATION},
            connection_class=timing.Connection,
        )
        if self._guarded:
            try:
                await self._compare(connection)
            except BaseException:
                connection.terminate()
                raise
        return connection

    async def _compare(self, raw: asyncpg.Connection) -> None:
        """Compare the server that answers with the store that was opened; raises StoreUnavailable if it is another one."""
        # Read the known position before the query, because answers of several connections may overtake each other.
        before = self._identity
        identity = await read_identity(raw)
        if identity is not None:
            self.replaced = self.replaced or ("" if before is None else before.difference(identity))
            if self._identity is None or self._identity.position < identity.position:
                self._identity = identity
        if self.replaced:
            raise StoreUnavailable(
                f"database {self.name}: the store was replaced ({self.replaced})", reason="starting", database=self.name
            )

    async def _note_position(self, raw: asyncpg.Connection) -> None:
        """Record the position of the log after a commit, before the commit is reported, so that a copy without this commit is
        recognised.
        """
        if self._identity is None:
            return
        try:
            position = await raw.fetchval(POSITION)
        except asyncpg.ObjectNotInPrerequisiteStateError:
            return  # a standby, on which nothing was written
        except asyncpg.PostgresError as error:
            raise StoreUnavailable(
                f"database {self.name}: how far the log is behind a commit could not be read, so the commit counts as one "
                f"whose outcome is unknown ({type(error).__name__})",
                reason="connection",
                database=self.name,
                commit_unknown=True,
            ) from error
        if self._identity.position < position:
            self._identity = replace(self._identity, position=position)

    async def look_at_identity(self) -> None:
        """Record the present position of the store's log, so that an older copy is recognised; raises as `connection` does."""
        async with self.connection(timeout_millis=3_000) as reading:
            await self._compare(reading.raw)

    @asynccontextmanager
    async def _session(self, work: str) -> AsyncIterator[tuple[Transaction, timing.StoreSpan | None]]:
        """Yield a connection of the pool, and the span of its work if the work is part of a trace."""
        engine = self.engine
        store_span = timing.open_span(f"{self.name} {work}", self._namespace)
        failure: BaseException | None = None
        sql = engine.connect()
        asked = time.monotonic()
        self.counts.waiting += 1
        try:
            try:
                await sql.start()
                raw: Any = (await sql.get_raw_connection()).driver_connection
            except Exception as error:
                safe = connect_error(error, self.name)
                self._note(safe)
                if safe is None:
                    raise
                raise safe.with_traceback(error.__traceback__) from None
            finally:
                self.counts.waiting -= 1
                if self._watch_wait is not None:
                    self._watch_wait(time.monotonic() - asked)
            if store_span is not None:
                store_span.connected(raw)
            try:
                yield Transaction(self.name, raw, sql), store_span
            finally:
                raw.tally = None
                await sql.close()
        except BaseException as error:
            failure = error
            raise
        finally:
            if store_span is not None:
                store_span.end(failure)

    async def _abandon(self, raw: asyncpg.Connection, error: BaseException) -> None:
        """Roll back an open transaction. A connection that does not confirm it in time is closed, which rolls back as well."""
        # After an interruption the driver may not know yet that a "begin" under way took effect.
        interrupted = isinstance(error, asyncio.CancelledError | TimeoutError)
        if is_driver_lost(error):
            raw.terminate()
            return
        if raw.is_closed() or not (interrupted or raw.is_in_transaction()):
            return
        try:
            async with asyncio.timeout(_ROLLBACK_SECONDS_MAX):
                await raw.execute("rollback")
        except asyncio.CancelledError:
            raw.terminate()
            raise
        except Exception:  # report the first failure
            raw.terminate()

    def _safe(
        self, error: BaseException, raw: asyncpg.Connection, *, limit: asyncio.Timeout, millis: int, commit: bool
    ) -> StoreError | None:
        safe: StoreError | None
        if isinstance(error, TimeoutError) and limit.expired():
            safe = StoreUnavailable(
                f"database {self.name}: the transaction lasted longer than its limit of {millis} ms",
                reason="timeout",
                database=self.name,
                commit_unknown=commit,
            )
        else:
            safe = translate(error, self.name, closed=raw.is_closed(), commit=commit)
        self._note(safe)
        return safe

    def _note(self, safe: StoreError | None) -> None:
        if not isinstance(safe, StoreUnavailable):
            return
        self.counts.unavailable += 1
        self.counts.unavailable_by[safe.reason] = self.counts.unavailable_by.get(safe.reason, 0) + 1
        self.full = self.full or safe.full
        safe.full = safe.full or (self.full and safe.reason in {"connection", "starting", "io"})

    def _count(self, seconds: float, *, committed: bool) -> None:
        counts, millis = self.counts, seconds * 1000
        if committed:
            counts.transactions += 1
        else:
            counts.rolled_back += 1
        counts.slowest_millis = max(counts.slowest_millis, millis)
        if self._watch is not None:
            self._watch(seconds)
        if millis <= HORIZON_MILLIS_MAX:
            return
        counts.slow += 1
        moment = time.monotonic()
        if moment - self._warned_at >= _WARNING_SECONDS_MIN:  # a busy machine must not also fill its log
            self._warned_at = moment
            logger.warning(
                "database %s: a write transaction held the horizon for %.0f ms (aim %d ms; %d so far)",
                self.name,
                millis,
                HORIZON_MILLIS_MAX,
                counts.slow,
            )


def _refuse_dead_connection(connection: Any, record: Any, proxy: Any) -> None:
    """Make the pool replace a connection whose server ended. It reads the state of the socket, so it costs no round
    trip."""
    raw = connection.driver_connection
    if raw.is_closed() or raw.is_in_transaction():
        if not raw.is_closed():
            raw.terminate()
        raise DisconnectionError
