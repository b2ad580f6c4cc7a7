"""A PostgreSQL of our own under the data directory, for whoever has none.

    <data directory>/postgres/          owned by the account that PostgreSQL runs as, closed to all others
        data/                           the cluster
        s/                              the socket (elsewhere if the path would be too long)
        server.log                      what the server says; the one before is server.log.1
        lock                            held while somebody starts or stops it

It listens on the Unix socket only, and whoever may enter the socket's directory is trusted. The postmaster is a child
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
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import asyncpg
import psutil

from libs.store.binaries import Account, Binaries, account_for, can_enter, find_binaries, reachable
from libs.store.errors import StoreError, StoreIncompatible, StoreMisuse, StoreUnavailable
from libs.store.memory import SharedMemory

SERVICES: Final = ("ingestion", "risk", "revenue", "clearance", "statistics")
DATABASES: Final = tuple(f"luxor_{service}" for service in SERVICES)
SOCKET_BYTES_MAX: Final = 107
START_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 60.0
LOG_BYTES_MAX: Final = 16 * 1024 * 1024
_SOCKET_NAME: Final = ".s.PGSQL.5432"
_SUPERUSER: Final = "luxor"
_POLL_SECONDS: Final = 0.02

SETTINGS: Final[Mapping[str, str]] = {
    # A commit is a promise.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_locks_per_transaction": "256",  # tables are cut in dozens of partitions
    "max_prepared_transactions": "0",  # they would hold the feed's horizon
    "autovacuum": "on",
    "jit": "off",  # compiling costs more than our short statements take
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The log must not quote rows or statements: they hold personal data.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
    "log_line_prefix": "%m [%p] %d ",
}

_Result = TypeVar("_Result")


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """`$LUXOR_DATA_DIR`, else for root /var/lib/luxor, else `$XDG_DATA_HOME/luxor`, else ~/.local/share/luxor."""
    if chosen := environ.get("LUXOR_DATA_DIR"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/luxor")
    if home := environ.get("XDG_DATA_HOME"):
        return Path(home) / "luxor"
    return Path.home() / ".local" / "share" / "luxor"


class EmbeddedPostgres:
    """The server of one data directory. Its methods block for up to a second or so: async code calls them in a thread.

    `databases` are made at start if they are missing; `settings` add to or override `SETTINGS`; `environ` is read for
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
        self._databases = tuple(databases)
        self._settings = {**SETTINGS, **(settings or {})}
        self._child: subprocess.Popen[bytes] | None = None
        self._account: Account | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def url(self, database: str) -> str:
        """The URL of one of its databases, for `Database` and for libpq's programs."""
        return f"postgresql://{_SUPERUSER}@/{quote(database, safe='')}?host={quote(str(self.socket_dir), safe='/')}"

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
        account = self._prepare_home()
        with self._locked(deadline):
            binaries = self._binaries(account)
            self._make_socket_dir(account)
            if self._postmaster() is None:
                self._remove_remains(deadline)
                if not (self.cluster / "PG_VERSION").exists():
                    self._create_cluster(binaries, account, deadline)
                self._spawn(binaries, account)
            _in_own_loop(lambda: self._await_ready(deadline))

    def stop(self, *, seconds_max: float = STOP_SECONDS_MAX) -> None:
        """Stops the server: open transactions are rolled back, what was committed is kept. Harmless when it does not
        run.

        Raises `StoreUnavailable` when it is still there after `seconds_max`.
        """
        process = self._postmaster()
        if process is not None:
            memory = SharedMemory.of((each.pid for each in _family(process)), self.cluster)
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
        """Ends the server as a crash would (SIGKILL to each of its processes), for tests of faults; `start` "
        "recovers."""
        process = self._postmaster()
        if process is None:
            return
        family = _family(process)
        memory = SharedMemory.of((each.pid for each in family), self.cluster)
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        _await_end(family, STOP_SECONDS_MAX)
        memory.release()
        self._reap()

    def destroy(self) -> None:
        """Ends the server and deletes its data and its socket's directory."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.socket_dir, ignore_errors=True)

    def create_database(self, name: str, *, template: str = "template1") -> None:
        """Makes one more database; it is an error if it is there."""
        _in_own_loop(lambda: self._execute(f"create database {_quoted(name)} template {_quoted(template)}"))

    def drop_database(self, name: str) -> None:
        """Drops a database together with the sessions in it."""
        _in_own_loop(lambda: self._execute(f"drop database if exists {_quoted(name)} with (force)"))

    # ── preparing ────────────────────────────────────────────────────────────────────────────────────────────────

    def _prepare_home(self) -> Account:
        account = account_for(self.home)
        self._account = account
        made = not self.data_dir.exists()
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            if account.switch and made:
                self.data_dir.chmod(0o755)
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

    def _create_cluster(self, binaries: Binaries, account: Account, deadline: float) -> None:
        """Runs initdb beside the place and moves the whole in, so that an interruption leaves no half of a cluster."""
        unfinished = self.home / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [
            binaries.program("initdb"),
            f"--pgdata={unfinished}",
            f"--username={_SUPERUSER}",
            "--encoding=UTF8",
            "--locale=C",
            "--data-checksums",
            "--auth-local=trust",
            "--auth-host=reject",
        ]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=max(1.0, deadline - time.monotonic()),
                check=False,
                cwd="/",
                env=_environment(),
                **account.popen_arguments(),
            )
        except subprocess.TimeoutExpired:
            raise StoreUnavailable(f"initdb in {self.home} did not end in time", reason="timeout") from None
        if done.returncode != 0:
            raise StoreUnavailable(
                f"initdb in {self.home} failed: {(done.stderr or done.stdout).strip()[-1000:]}", reason="starting"
            )
        self._write(unfinished / "pg_hba.conf", "local all all trust\n")
        with (unfinished / "postgresql.conf").open("a") as file:
            file.write("\ninclude 'luxor.conf'\ninclude_if_exists 'local.conf'\n")
        self._write(unfinished / "luxor.conf", self._configuration())
        unfinished.rename(self.cluster)

    def _configuration(self) -> str:
        fixed = {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": f'"{self.socket_dir}"',
            "unix_socket_permissions": "0700",
        }
        lines = [
            f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in (self._settings | fixed).items()
        ]
        return (
            "# Written by Luxor at each start; put your own settings into local.conf beside it.\n"
            + "\n".join(lines)
            + "\n"
        )

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        if self._account is not None and self._account.switch:
            os.chown(path, self._account.uid, self._account.gid)
        path.chmod(0o600)

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _spawn(self, binaries: Binaries, account: Account) -> None:
        self._write(self.cluster / "luxor.conf", self._configuration())
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES_MAX:
            self.log_path.replace(self.log_path.with_name("server.log.1"))
        with self.log_path.open("ab") as log:
            if account.switch:
                os.chown(self.log_path, account.uid, account.gid)
            self._child = subprocess.Popen(
                [binaries.program("postgres"), "-D", str(self.cluster)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                start_new_session=True,
                **account.popen_arguments(),
            )

    async def _await_ready(self, deadline: float) -> None:
        """Tries to connect until the server answers, then makes the databases that are missing."""
        while True:
            try:
                connection = await self._connect()
                break
            except (asyncpg.CannotConnectNowError, OSError, TimeoutError):
                pass
            except asyncpg.PostgresError as error:
                raise StoreUnavailable(
                    f"PostgreSQL in {self.cluster} refuses its own account: {type(error).__name__}{self._log_tail()}",
                    reason="starting",
                ) from None
            if self._child is not None and self._child.poll() is not None:
                raise StoreUnavailable(
                    f"PostgreSQL in {self.cluster} ended with code {self._child.returncode} while "
                    f"starting{self._log_tail()}",
                    reason="starting",
                )
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"PostgreSQL in {self.cluster} does not answer in time{self._log_tail()}", reason="starting"
                )
            await asyncio.sleep(_POLL_SECONDS)
        try:
            present = {row[0] for row in await connection.fetch("select datname from pg_database")}
            for name in self._databases:
                if name not in present:
                    await connection.execute(f"create database {_quoted(name)}")
        finally:
            await connection.close()

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.url("postgres"), timeout=5.0)

    async def _execute(self, statement: str) -> None:
        connection = await self._connect()
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _postmaster(self) -> psutil.Process | None:
        """The postmaster of these data, whoever started it; a pid that meanwhile is another program's does not "
        "count."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None
        try:
            pid = int((self.cluster / "postmaster.pid").read_text().split("\n", 1)[0])
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE or not _is_server_of(process, self.cluster):
                return None
        except (OSError, ValueError, psutil.Error):
            return None
        return process

    def _remove_remains(self, deadline: float) -> None:
        """Clears what a killed postmaster leaves: its pid file, and children that still hold its memory."""
        orphans = [each for each in psutil.process_iter() if _is_server_of(each, self.cluster)]
        for orphan in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.kill()
        _await_end(orphans, deadline - time.monotonic())
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)

    def _end(self, process: psutil.Process, how: signal.Signals, seconds: float) -> bool:
        """Signals the postmaster; True once it is gone."""
        try:
            process.send_signal(how)
            if self._child is not None and self._child.pid == process.pid:
                self._child.wait(seconds)
            else:
                process.wait(seconds)
        except psutil.NoSuchProcess:
            return True
        except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
            return False
        return True

    def _reap(self) -> None:
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(STOP_SECONDS_MAX)
            self._child = None

    @contextmanager
    def _locked(self, deadline: float) -> Iterator[None]:
        """Lets one process at a time start the server of these data."""
        handle = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StoreUnavailable(
                            f"another process has been starting PostgreSQL in {self.home} for too long",
                            reason="starting",
                        ) from None
                    time.sleep(_POLL_SECONDS)
            yield
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


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]


def _await_end(processes: Sequence[psutil.Process], seconds: float) -> None:
    """Waits until none of the processes works any more; one that nobody has reaped yet has ended all the same."""
    deadline = time.monotonic() + seconds
    remaining = list(processes)
    while remaining and time.monotonic() < deadline:
        remaining = [each for each in remaining if _works(each)]
        if remaining:
            time.sleep(_POLL_SECONDS / 4)


def _works(process: psutil.Process) -> bool:
    try:
        return bool(process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD})
    except psutil.NoSuchProcess:
        return False


def _is_server_of(process: psutil.Process, cluster: Path) -> bool:
    """Whether a process is of the server of `cluster`: each of them works in the cluster's directory."""
    try:
        return process.name() in {"postgres", "postmaster"} and Path(process.cwd()) == Path(os.path.realpath(cluster))
    except (psutil.Error, OSError):
        return False


def _socket_dir(home: Path) -> Path:
    """Where the socket goes: beside the data if its whole path keeps within `SOCKET_BYTES_MAX`, else a short place."""
    near = home / "s"
    if len(os.fsencode(near / _SOCKET_NAME)) <= SOCKET_BYTES_MAX:
        return near
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path("/tmp") / f"luxor-{digest}"  # noqa: S108 (made with mode 0700, and refused if somebody else made it)


def _environment() -> dict[str, str]:
    """What PostgreSQL's programs need of an environment: none of ours, above all no PG* variable."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _escaped(value: str) -> str:
    return value.replace("'", "''")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _in_own_loop(work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    """Runs a coroutine to its end in a thread of its own, so that callers with and without a running loop are "
    "alike."""
    results: list[_Result] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(asyncio.run(work()))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target, name="luxor-postgres", daemon=True)
    thread.start()
    thread.join()
    if errors:
        error = errors[0]
        if isinstance(error, StoreError):
            raise error
        raise StoreUnavailable(
            f"the embedded server refused: {type(error).__name__}: {error}", reason="starting"
        ) from error
    return results[0]
