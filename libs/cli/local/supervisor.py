"""The local supervisor runs an embedded PostgreSQL and the five services as processes and restarts them.

`Supervisor` does the work in whatever thread runs it; `LocalSystem` runs one in a thread of its own, for tests,
benchmarks and the demo; `python -m libs.cli.local.supervisor` runs one as a process, for `luxor up`.
"""

import atexit
import datetime as dt
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from libs.cli.local.processes import Backoff, Child
from libs.cli.local.readiness import Unready, wait_ready
from libs.cli.local.state import (
    CONNECTIONS_A_REPLICA,
    SERVICES,
    Ports,
    State,
    endpoints_of,
    free_ports,
    lock,
    process_names,
    service_of,
    state_path,
    write_state,
)
from libs.cli.local.variables import stores_of, variables_of

if TYPE_CHECKING:
    from libs.client.client import Client

POSTGRES: Final = "postgres"
GRACE_SECONDS: Final = 25.0
"""Time that a process has to end before its group is killed; longer than the drain of services."""
READY_SECONDS: Final = 90.0
TICK_SECONDS: Final = 0.05
CONNECTIONS_BESIDE: Final = 20
"""Connections to the embedded PostgreSQL beside those of the services: of jobs, migrations and people."""
_STOP_ORDER: Final = (("ingestion",), ("clearance",), ("statistics", "risk", "revenue"), (POSTGRES,))


class AlreadyRunning(Exception):
    """Another supervisor uses this data directory."""


class Supervisor:
    """Starts, watches and stops the processes of one data directory."""

    def __init__(
        self,
        data_dir: Path,
        *,
        ports: Mapping[str, Ports] | None = None,
        env: Mapping[str, str] | None = None,
        replicas: Mapping[str, int] | None = None,
        backoff: Backoff | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        """Use a data directory; `ports` names the processes and theirs, None takes free ones for one process of each service or the `replicas`.

        `env` is added to this process's environment.
        """
        self.data_dir = Path(os.path.abspath(data_dir))
        self.backoff = backoff or Backoff()
        self.grace_seconds = grace_seconds
        self.ports = dict(ports) if ports is not None else free_ports(process_names(replicas or {}))
        self.started = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        self._environ = os.environ | dict(env or {}) | {"LUXOR_DATA_DIR": str(self.data_dir)}
        self._orders: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self.children: dict[str, Child] = self._make()

    @property
    def endpoints(self) -> dict[str, str]:
        """Targets by service."""
        return endpoints_of(self.ports)

    @property
    def health(self) -> dict[str, str]:
        """Addresses of the plaintext health ports by process."""
        return {name: f"127.0.0.1:{each.health}" for name, each in self.ports.items()}

    def _make(self) -> dict[str, Child]:
        from libs.store.embedded.cluster import SETTINGS
        from libs.store.embedded.server import EmbeddedPostgres

        logs = self.data_dir / "logs"
        server = EmbeddedPostgres(self.data_dir, environ=self._environ)
        children: dict[str, Child] = {}
        if any(not any(self._environ.get(key) for key in stores_of(service)) for service in SERVICES):
            connections = CONNECTIONS_A_REPLICA * len(self.ports) + CONNECTIONS_BESIDE
            arguments = [POSTGRES, str(self.data_dir), str(max(connections, int(SETTINGS["max_connections"])))]
            children[POSTGRES] = Child(POSTGRES, arguments, self._environ, logs / "postgres-keeper.log")
        for name in self.ports:
            service = service_of(name)
            url = server.account_url(f"luxor_{service}")
            environ = variables_of(name, self.ports, self._environ, self.data_dir, url)
            children[name] = Child(name, ["service", service], environ, logs / f"{name}.log")
        return children

    def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Start all processes and restart them until `stop`; raise AlreadyRunning if another supervisor runs.

        All processes end with the calling thread.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with lock(self.data_dir) as mine:
            if not mine:
                raise AlreadyRunning(f"Another supervisor already uses {self.data_dir}.")
            (self.data_dir / "logs").mkdir(exist_ok=True)
            try:
                for child in self.children.values():
                    child.start()
                self._write_state()
                started()
                while not self._stop.is_set():
                    self._step()
            finally:
                self._end_all()
                state_path(self.data_dir).unlink(missing_ok=True)

    def stop(self) -> None:
        """Make `run` stop everything and return; may be called from a signal handler."""
        self._stop.set()

    def order(self, work: Callable[[], Any], seconds_max: float = 60.0) -> Any:
        """Run a function in the supervising thread, because processes end with the thread that started them."""
        done: Future[Any] = Future()
        self._orders.put((work, done))
        return done.result(seconds_max)

    def _step(self) -> None:
        changed = False
        try:
            work, done = self._orders.get(timeout=TICK_SECONDS)
        except queue.Empty:
            pass
        else:
            changed = True
            try:
                done.set_result(work())
            except Exception as error:
                done.set_exception(error)
        now = time.monotonic()
        for child in self.children.values():
            if child.look(self.backoff):
                changed = True
                pause = (child.due or now) - now
                _say(
                    f"{child.name} ended with {child.last_exit}; it is started again in {pause:.1f} s, see {child.log}"
                )
            elif child.due is not None and now >= child.due:
                changed = True
                child.restart()
        if changed:
            self._write_state()

    def _write_state(self) -> None:
        processes = {
            name: {"pid": child.pid, "restarts": child.restarts, "since": child.since, "last_exit": child.last_exit}
            for name, child in self.children.items()
        }
        try:
            write_state(State(os.getpid(), self.started, str(self.data_dir), self.ports, processes))
        except OSError as error:  # a full disk must not end the supervisor
            _say(f"the state cannot be written: {error}")

    def _end_all(self) -> None:
        for group in _STOP_ORDER:
            children = [child for name, child in self.children.items() if service_of(name) in group]
            for child in children:
                child.end()
            deadline = time.monotonic() + self.grace_seconds
            for child in children:
                child.wait(deadline - time.monotonic())
        if POSTGRES in self.children:
            from libs.store.embedded.server import EmbeddedPostgres

            # Its parent process stops it, unless that was killed.
            EmbeddedPostgres(self.data_dir).stop()


class LocalSystem:
    """A whole system of its own in one data directory; any number may run on one machine.

    Its processes end with this one, whatever ends it. Use it as a context manager, `with` or `async with`.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        ports: Mapping[str, Ports] | None = None,
        env: Mapping[str, str] | None = None,
        replicas: Mapping[str, int] | None = None,
        backoff: Backoff | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        """Use a data directory, as Supervisor does. As root, another account must be able to enter it."""
        self.supervisor = Supervisor(
            data_dir, ports=ports, env=env, replicas=replicas, backoff=backoff, grace_seconds=grace_seconds
        )
        self.data_dir = self.supervisor.data_dir
        self._thread: threading.Thread | None = None
        self._failed: BaseException | None = None

    @property
    def ports(self) -> dict[str, Ports]:
        """Ports by process; further replicas are called `clearance-2` and so on."""
        return self.supervisor.ports

    @property
    def endpoints(self) -> dict[str, str]:
        """gRPC targets by service."""
        return self.supervisor.endpoints

    @property
    def pids(self) -> dict[str, int | None]:
        """Process ids by process, None while one is down; `postgres` is the postmaster."""
        found = {name: child.pid for name, child in self.supervisor.children.items()}
        if POSTGRES in found:
            found[POSTGRES] = self._postgres().pid
        return found

    @property
    def restarts(self) -> dict[str, int]:
        """How often each process was started again."""
        return {name: child.restarts for name, child in self.supervisor.children.items()}

    def start(self, *, ready_seconds: float = READY_SECONDS, wait: bool = True) -> Self:
        """Start all processes and return when they are ready; raise Unready with the ends of the logs otherwise."""
        begun = threading.Event()

        def work() -> None:
            try:
                self.supervisor.run(begun.set)
            except BaseException as error:
                self._failed = error
            finally:
                begun.set()

        self._thread = threading.Thread(target=work, name="luxor-supervisor", daemon=True)
        self._thread.start()
        atexit.register(self.stop)
        begun.wait()
        if self._failed is not None:
            raise self._failed
        if wait:
            try:
                self.wait_ready(ready_seconds)
            except BaseException:
                self.stop()
                raise
        return self

    def stop(self) -> None:
        """Stop everything in order; no error if nothing runs."""
        self.supervisor.stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        atexit.unregister(self.stop)

    async def astart(self, *, ready_seconds: float = READY_SECONDS) -> Self:
        """Start without blocking the running loop."""
        import asyncio

        return await asyncio.to_thread(self.start, ready_seconds=ready_seconds)

    async def astop(self) -> None:
        """Stop without blocking the running loop."""
        import asyncio

        await asyncio.to_thread(self.stop)

    def wait_ready(
        self, seconds: float = READY_SECONDS, *, progress: Callable[[dict[str, bool]], None] | None = None
    ) -> None:
        """Wait until every process is ready; raise Unready with the names and logs of the others."""
        try:
            wait_ready(self.supervisor.health, seconds, progress=progress)
        except Unready as error:
            tails = {name: self.supervisor.children[name].tail() for name in error.missing}
            raise Unready(error.missing, tails) from None

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal one process (SIGKILL, SIGSTOP, SIGCONT, SIGTERM); a dead one is started again with back-off.

        `postgres` with SIGKILL dies as in a crash, all of its processes at once.
        """
        if name == POSTGRES:
            server = self._postgres()
            if number == signal.SIGKILL:
                server.kill()
            elif server.pid is not None:
                os.kill(server.pid, number)
            return
        self.supervisor.children[name].signal(number)

    def restart(self, name: str) -> None:
        """End one process gently and start it again immediately; use `wait_ready` to wait for it."""
        child = self.supervisor.children[name]

        def work() -> None:
            child.end()
            child.wait(self.supervisor.grace_seconds)
            child.restart()

        self.supervisor.order(work)

    def client(self, role: str = "filer", ident: str = "filer-1") -> "Client":
        """Return a client with a certificate of its own for a party; close it, or use it with `async with`."""
        from libs.client.client import Client
        from libs.server.transport.tls import LocalCA

        return Client(self.endpoints, LocalCA(self.data_dir / "tls").issue(role, ident))

    def log(self, name: str, characters: int = 4000) -> str:
        """Return the end of a process's log."""
        return self.supervisor.children[name].tail(characters)

    def _postgres(self) -> Any:
        from libs.store.embedded.server import EmbeddedPostgres

        return EmbeddedPostgres(self.data_dir)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    async def __aenter__(self) -> Self:
        """Start."""
        return await self.astart()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.astop()


def _say(text: str) -> None:
    if __name__ == "__main__":
        print(f"{dt.datetime.now(dt.UTC).isoformat(timespec='milliseconds')} {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Supervise LUXOR_DATA_DIR until SIGTERM or SIGINT; argument: the processes and their ports as JSON."""
    import json

    ports = {name: Ports(**each) for name, each in json.loads(sys.argv[1]).items()}
    supervisor = Supervisor(Path(os.environ["LUXOR_DATA_DIR"]), ports=ports)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.stop())
    _say(f"supervising {supervisor.data_dir}")
    try:
        supervisor.run()
    except AlreadyRunning as error:
        _say(str(error))
        return 1
    _say("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
