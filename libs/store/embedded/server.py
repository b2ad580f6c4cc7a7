"""A PostgreSQL server under the data directory, for installations without one.

    <data directory>/postgres/          owned by the account that PostgreSQL runs as, closed to all others
        data/                           the cluster
        s/                              the socket (elsewhere if the path would be too long)
        accounts/                       the password of each account, for whoever runs Luxor alone
        server.log                      what the server says; the one before is server.log.1
        lock                            held while somebody starts it
        alive                           held by the server itself

It listens on the Unix socket only. Each database has an account of its own that reaches it alone (libs.store.embedded.accounts);
a data directory of version 0.2, where one account had everything, is brought to that at start. The postmaster is a child
of the process that called `start` with a session of its own, so that a terminal's ^C does not reach it; it outlives
its parent, and the next `start` takes it over.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import asyncpg
import psutil

from libs.store.embedded.accounts import SUPERUSER, Accounts, hand_over, quoted, rules
from libs.store.embedded.binaries import Account, Binaries, account_for, can_enter, find_binaries, reachable
from libs.store.embedded.cluster import (
    SETTINGS,
    child_environment,
    compression,
    create_cluster,
    write_owned,
    write_settings,
)
from libs.store.embedded.data_dir import default_data_dir
from libs.store.embedded.processes import POLL_SECONDS, family, kill_all, kill_orphans, postmaster_of, run_apart
from libs.store.embedded.shared_memory import SharedMemory
from libs.store.errors import StoreIncompatible, StoreMisuse, StoreUnavailable, connect_error

SERVICES: Final = ("ingestion", "risk", "revenue", "clearance", "statistics")
DATABASES: Final = tuple(f"luxor_{service}" for service in SERVICES)
SOCKET_BYTES_MAX: Final = 107
START_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 60.0
LOG_BYTES_MAX: Final = 16 * 1024 * 1024
_SOCKET_NAME: Final = ".s.PGSQL.5432"


class EmbeddedPostgres:
    """The server of one data directory. Its methods block for up to a second or so: async code calls them in a thread.

    `databases` and their accounts are made at start if they are missing; `settings` add to or override `SETTINGS`; `environ` is read for
    `LUXOR_POSTGRES_BIN`, `PATH` and the default data directory.
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        *,
        databases: Sequence[str] = DATABASES,
        settings: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        base = Path(data_dir) if data_dir is not None else default_data_dir(self._environ)
        self.data_dir = Path(os.path.abspath(base))
        self.home = self.data_dir / "postgres"
        self.cluster = self.home / "data"
        self.log_path = self.home / "server.log"
        self.socket_dir = _socket_dir(self.home)
        self._accounts = Accounts(self.home / "accounts", self.socket_dir)
        self._databases = tuple(databases)
        self._settings = {**SETTINGS, **(settings or {})}
        self.child: subprocess.Popen[bytes] | None = None
        self._account: Account | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def url(self, database: str) -> str:
        """The URL of one of its databases for the cluster's own account, which may do everything. Services get `account_url`."""
        return self._accounts.url(SUPERUSER, database)

    def account_url(self, database: str) -> str:
        """The URL of one of `databases` for its own account. URLs hold no password: they name its file, made at start."""
        return self._accounts.url(database, database)

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, or None when it does not run."""
        process = self._postmaster()
        return None if process is None else int(process.pid)

    @property
    def running(self) -> bool:
        """Whether the postmaster lives; a supervisor asks this and calls `start` again when it does not."""
        return self.pid is not None

    def start(self, *, seconds_max: float = START_SECONDS_MAX) -> None:
        """Starts the server, or takes over the one that runs on these data already; makes the databases that are
        missing.

        Raises `StoreIncompatible` (programs, or data of another major version), `StoreMisuse` (accounts, rights,
        paths) or `StoreUnavailable` (it did not come up; the message ends with its log).
        """
        deadline = time.monotonic() + seconds_max
        account = self.prepare_home()
        with self._lock("lock", deadline, "another process has been starting PostgreSQL for too long"):
            binaries = self._binaries(account)
            self._make_socket_dir(account)
            if self._postmaster() is None:
                kill_orphans(self.cluster, deadline - time.monotonic())
                if not (self.cluster / "PG_VERSION").exists():
                    create_cluster(
                        binaries,
                        account,
                        self.cluster,
                        settings=self._settings,
                        socket_dir=self.socket_dir,
                        deadline=deadline,
                    )
                self._spawn(binaries, account, deadline)
            run_apart(lambda: self._await_ready(deadline))

    def stop(self, *, seconds_max: float = STOP_SECONDS_MAX) -> None:
        """Stops the server: open transactions are rolled back, what was committed is kept. Harmless when it does not
        run.

        Raises `StoreUnavailable` when it is still there after `seconds_max`.
        """
        process = self._postmaster()
        if process is not None:
            memory = SharedMemory.of_processes((each.pid for each in family(process)), self.cluster)
            if not self._end(process, signal.SIGINT, seconds_max * 0.8) and not self._end(
                process, signal.SIGQUIT, seconds_max * 0.2
            ):
                raise StoreUnavailable(
                    f"PostgreSQL (process {process.pid}) in {self.cluster} does not stop; see {self.log_path}",
                    reason="timeout",
                )
            memory.release()
        self._reap()

    def kill(self) -> None:
        """Ends the server as a crash would (SIGKILL to each of its processes), for tests of faults; `start`
        recovers."""
        process = self._postmaster()
        if process is not None:
            members = family(process)
            memory = SharedMemory.of_processes((each.pid for each in members), self.cluster)
            kill_all(members, STOP_SECONDS_MAX)
            memory.release()
        self._reap()

    def destroy(self) -> None:
        """Ends the server and deletes its data and its socket's directory."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.socket_dir, ignore_errors=True)

    def create_database(self, name: str, *, template: str = "template1") -> None:
        """Makes one more database; it is an error if it is there."""
        run_apart(lambda: self.execute(f"create database {quoted(name)} template {quoted(template)}"))

    def drop_database(self, name: str) -> None:
        """Drops a database together with the sessions in it."""
        run_apart(lambda: self.execute(f"drop database if exists {quoted(name)} with (force)"))

    # ── preparing ────────────────────────────────────────────────────────────────────────────────────────────────

    def prepare_home(self) -> Account:
        """Make the directories and return the account that owns them."""
        account = account_for(self.home)
        self._account = account
        made = [each for each in (self.data_dir, *self.data_dir.parents) if not each.exists()]
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            if account.switch:
                for each in made:
                    each.chmod(0o755)  # whatever the umask: the account has to pass
            if not self.home.exists():
                self.home.mkdir(mode=0o700)
                if account.switch:
                    os.chown(self.home, account.uid, account.gid)
        except OSError as error:
            raise StoreMisuse(
                f"The data directory {self.data_dir} cannot be made ({error.strerror}). Give another one with "
                "LUXOR_DATA_DIR."
            ) from error
        if not account.switch and self.home.stat().st_uid != account.uid:
            raise StoreMisuse(
                f"{self.home} belongs to another account than {account.name}, which is to run PostgreSQL. "
                "Give another data directory with LUXOR_DATA_DIR, or hand this one over (chown -R)."
            )
        if not can_enter(self.home, account):
            raise StoreMisuse(
                f"The account {account.name}, which PostgreSQL runs as, cannot enter {self.home}: a directory above "
                "it is closed to "
                "others. Give a data directory that can be entered (LUXOR_DATA_DIR=/var/lib/luxor), or start as its "
                "owner."
            )
        return account

    def _binaries(self, account: Account) -> Binaries:
        major = None
        marker = self.cluster / "PG_VERSION"
        if marker.exists():
            major = int(marker.read_text().strip().split(".")[0])
        try:
            found = find_binaries(self._environ, account, major=major)
        except StoreIncompatible as error:
            raise StoreIncompatible(f"{self.cluster}: {error}") from None
        return reachable(found, account, self.data_dir)

    def _make_socket_dir(self, account: Account) -> None:
        directory = self.socket_dir
        try:
            directory.mkdir(mode=0o700)
            if account.switch:
                os.chown(directory, account.uid, account.gid)
        except FileExistsError:
            state = directory.lstat()
            if not stat.S_ISDIR(state.st_mode) or state.st_uid != account.uid or state.st_mode & 0o077:
                raise StoreMisuse(
                    f"The socket's directory {directory} is not a closed directory of {account.name}; somebody else "
                    "may have put it "
                    "there. Remove it and start again."
                ) from None

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _spawn(self, binaries: Binaries, account: Account, deadline: float) -> None:
        settings = compression(binaries, account, self.cluster, deadline=deadline) | self._settings
        write_settings(self.cluster, settings, self.socket_dir, account)
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES_MAX:
            self.log_path.replace(self.log_path.with_name("server.log.1"))
        # The server inherits this lock and so holds it as long as one process of it lives, in whatever container that
        # is.
        with self._lock("alive", deadline, "a server, perhaps in another container, works") as alive:
            (self.cluster / "postmaster.pid").unlink(missing_ok=True)
            with self.log_path.open("ab") as log:
                if account.switch:
                    os.chown(self.log_path, account.uid, account.gid)
                self.child = subprocess.Popen(
                    [binaries.program("postgres"), "-D", str(self.cluster)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    env=child_environment(),
                    start_new_session=True,
                    pass_fds=[alive],
                    **account.popen_arguments(),
                )

    async def _await_ready(self, deadline: float) -> None:
        """Tries to connect until the server answers, then makes accounts and databases what they should be."""
        connection = await self._enter(deadline)
        try:
            if await connection.fetchval("select pg_is_in_recovery()"):
                return  # a standby has the accounts of its primary
            file, closed = self.cluster / "pg_hba.conf", rules(self.cluster, closed=True)
            renew = file.read_text() != closed
            await self._accounts.provide(connection, self._databases, renew=renew)
            for name in self._databases:
                inside = await self._connect(name)
                try:
                    await hand_over(inside, name)
                finally:
                    await inside.close()
            if renew:
                assert self._account is not None
                write_owned(file, closed, self._account)
                await self._read_rules(connection, deadline)
        finally:
            await connection.close()

    async def _enter(self, deadline: float) -> asyncpg.Connection:
        """Connects as the cluster's account; where its password is not that of the file, by rules that need none."""
        while True:
            try:
                return await self._connect("postgres")
            except (asyncpg.CannotConnectNowError, OSError, TimeoutError):
                pass
            except asyncpg.InvalidAuthorizationSpecificationError:
                # A copy of the data without the files of the accounts, or with another's.
                assert self._account is not None
                write_owned(self.cluster / "pg_hba.conf", rules(self.cluster, closed=False), self._account)
                if (process := self._postmaster()) is not None:
                    process.send_signal(signal.SIGHUP)
            except asyncpg.PostgresError as error:
                raise StoreUnavailable(
                    f"PostgreSQL in {self.cluster} refuses its own account: {type(error).__name__}{self._log_tail()}",
                    reason="starting",
                ) from None
            if self.child is not None and self.child.poll() is not None:
                raise StoreUnavailable(
                    f"PostgreSQL in {self.cluster} ended with code {self.child.returncode} while "
                    f"starting{self._log_tail()}",
                    reason="starting",
                )
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"PostgreSQL in {self.cluster} does not answer in time{self._log_tail()}", reason="starting"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _read_rules(self, connection: asyncpg.Connection, deadline: float) -> None:
        """Has the server read pg_hba.conf, and waits until it has: from then on no connection is accepted by the former rules."""
        loaded = await connection.fetchval("select pg_conf_load_time()")
        await connection.execute("select pg_reload_conf()")
        # The server does not report when it has.
        while await connection.fetchval("select pg_conf_load_time()") == loaded and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS / 4)

    async def _connect(self, database: str) -> asyncpg.Connection:
        return await asyncpg.connect(self.url(database), timeout=5.0)

    async def execute(self, statement: str) -> None:
        """Execute a statement as superuser, outside of a transaction."""
        try:
            connection = await self._connect("postgres")
            try:
                await connection.execute(statement)
            finally:
                await connection.close()
        except Exception as error:
            safe = connect_error(error, str(self.home))
            if safe is None:
                raise
            raise safe from None

    def _postmaster(self) -> psutil.Process | None:
        if self.child is not None and self.child.poll() is not None:
            self.child = None
        return postmaster_of(self.cluster)

    def _end(self, process: psutil.Process, number: signal.Signals, seconds: float) -> bool:
        """Signals the postmaster; return True once it has ended."""
        try:
            process.send_signal(number)
            if self.child is not None and self.child.pid == process.pid:
                self.child.wait(seconds)
            else:
                process.wait(seconds)
        except psutil.NoSuchProcess:
            return True
        except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
            return False
        return True

    def _reap(self) -> None:
        if self.child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(STOP_SECONDS_MAX)
            self.child = None

    @contextmanager
    def _lock(self, name: str, deadline: float, holder: str) -> Iterator[int]:
        """Holds the lock file `name`, waiting for it until the deadline; gives its descriptor."""
        handle = os.open(self.home / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StoreUnavailable(f"{holder} on the data in {self.home}", reason="starting") from None
                    time.sleep(POLL_SECONDS)
            yield handle
        finally:
            os.close(handle)

    def _log_tail(self) -> str:
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, self.log_path.stat().st_size - 2000))
                text = file.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""
        return f". The end of {self.log_path}:\n{text}"


def _socket_dir(home: Path) -> Path:
    """Where the socket goes: beside the data if its whole path keeps within `SOCKET_BYTES_MAX`, else a short place."""
    near = home / "s"
    if len(os.fsencode(near / _SOCKET_NAME)) <= SOCKET_BYTES_MAX:
        return near
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path("/tmp") / f"luxor-{digest}"  # noqa: S108 (made with mode 0700, and refused if somebody else made it)
