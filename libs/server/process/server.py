"""The server of a service: TLS port, plaintext health port, metrics port, readiness, background tasks, drain."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from libs import telemetry
from libs.server.admission.overload import Brake
from libs.server.catalogue import reasons
from libs.server.config.deployment_map import Map, MapError, read
from libs.server.config.server_config import ConfigError, ServerConfig
from libs.server.errors import Refusal, map_exception
from libs.server.identity import Role
from libs.server.interceptor.chain import Chain, roles_of
from libs.server.process.health import Health, Probe
from libs.server.process.ports import STREAMS_MAX, bind, health_options, server_options
from libs.server.process.store_watch import refusal_of_store
from libs.server.transport import tls
from libs.store.errors import StoreUnavailable
from libs.store.tables.requests import RequestReused
from libs.telemetry.process import watch_loop
from libs.telemetry.setup import Telemetry

READY_SECONDS = 2.0
"""Interval of the checks of the own store, and of a neighbour that does not answer."""
YOUNG_OBJECTS = 20_000
"""New objects that may be in cycles before the collector looks for them: a batch makes thousands, of which hardly any is in one."""
NEIGHBOUR_SECONDS = 5.0
"""Interval of the checks of a neighbour that answered."""

RENEW_SECONDS = 3600.0
"""Interval of the checks of the age of the server's certificate."""

Background = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
Ready = Callable[[], Awaitable[list[str]]]

_log = telemetry.get_logger()
_up = telemetry.gauge("luxor_neighbour_up", "1 if the neighbour answered the last probe", ("neighbour",))
_ready = telemetry.gauge("luxor_ready", "1 if the service's own store answers and has the schema of this release")
_limits = telemetry.gauge("luxor_calls_in_flight_max", "Calls that may run at once", ("kind",))
_expires = telemetry.gauge(
    "luxor_certificate_expires_timestamp_seconds", "When the service's own certificate ends; 0 if it cannot be read"
)


map_exception(StoreUnavailable, refusal_of_store)
map_exception(RequestReused, lambda _error: Refusal("REQUEST_REUSED", path="request_id"))


class BackgroundDied(Exception):  # the name states the condition
    """A background task ended with an error; the process ends, so that the supervisor starts it again."""


class _Recorder:
    """Takes the place of a server while a servicer registers, and records its methods."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}

    def add_registered_method_handlers(self, service_name: str, handlers: Mapping[str, Any]) -> None:
        self.services[service_name] = dict(handlers)

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Ignore these: they contain no further methods."""


class Server:
    """One service's server; `add` servicers, then `run`."""

    def __init__(
        self,
        config: ServerConfig,
        *,
        connections: Map | None = None,
        telemetry_handle: Telemetry | None = None,
    ) -> None:
        """Take the configuration and the result of `libs.telemetry.setup.setup`, which is flushed at the end.

        `connections` is the map of the services that may call; by default that of this release. Raise MapError
        if it cannot be read.
        """
        self.config = config
        self.chain = Chain(config, connections or read())
        for kind, gates in self.chain.gates.by_kind.items():
            _limits.labels(kind).set(gates[0].in_flight_max)
        self.health = Health()
        self.authority = tls.LocalCA(config.tls_dir, config.deployment)
        self.port = 0
        self.health_port = 0
        self.metrics_port = 0
        self.started = asyncio.Event()
        """Set when the ports are open (which is before the service is ready)."""
        self._telemetry = telemetry_handle
        self._services: list[str] = []
        self._neighbours: list[tuple[str, Probe]] = []
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._ended: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()
        self._hosts = tls.server_hosts(config.service, config.tls_hosts)

    def add(
        self,
        register: Callable[[Any, Any], None],
        servicer: object,
        roles: Mapping[str, set[Role]],
        long_polls: Collection[str] = (),
        brakes: Mapping[str, Brake] | None = None,
    ) -> None:
        """Serve a servicer: `register` is its add_XServicer_to_server, `roles` has by method who may call it.

        `brakes` are further limits of admission, by method.

        Raise ValueError for a method without roles or roles, long polls without a method; TypeError for a handler that
        is not async.
        """
        recorder = _Recorder()
        register(servicer, recorder)
        for service, methods in recorder.services.items():
            allowed = roles_of(service, methods, roles)
            if set(long_polls) - set(methods):
                raise ValueError(f"{service}: long polls {sorted(set(long_polls) - set(methods))} are no methods")
            for name, handler in methods.items():
                brake = (brakes or {}).get(name)
                self.chain.register(
                    f"/{service}/{name}", handler, allowed[name], long_poll=name in long_polls, brake=brake
                )
            self._services.append(service)

    def depend(self, neighbour: str, probe: Probe, work: Iterable[str] = ()) -> None:
        """Declare that work (`service/work`, or an RPC's `package.Service/Method`) needs a neighbour.

        Each has a health name of its own, which is SERVING if the service is ready and `probe` is true of every
        neighbour that it needs.
        """
        self.health.need(work, neighbour)
        self._neighbours.append((neighbour, probe))

    def stop(self) -> None:
        """Begin to drain, as SIGTERM does."""
        self._stop.set()

    async def run(
        self,
        *,
        background: Sequence[Background] = (),
        ready: Ready | None = None,
        prepare: Callable[[], Awaitable[None]] | None = None,
        close: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        """Serve until SIGTERM, SIGINT, `stop`, or until a background task dies (BackgroundDied).

        The ports open at once. `prepare` (open the store, migrate) is tried until it succeeds; then `ready` returns
        repeatedly what is missing; if nothing is, the service is SERVING and the background tasks start. At the end:
        NOT_SERVING, a short pause, no new calls, tasks stopped and awaited, running calls ended, `close` in order,
        telemetry flushed. Raise ConfigError if a port is in use and TlsError if no certificate can be issued.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        servers = await self._open()
        own_tasks: list[asyncio.Task[None]] = []
        died: BaseException | None = None
        try:
            await self.health.know(self._services)
            self.started.set()
            _log.info(
                "STARTED",
                port=self.port,
                health_port=self.health_port,
                metrics_port=self.metrics_port,
                config=self.config.shown(),
            )
            own_tasks.append(self._spawn(self._become_ready(prepare, ready, background), "readiness"))
            own_tasks.append(self._spawn(self._renew(), "certificate"))
            own_tasks.append(self._spawn(watch_loop(), "event loop"))
            own_tasks.extend(
                self._spawn(self.watch_neighbour(*each), f"neighbour {each[0]}") for each in self._neighbours
            )
            died = await self._until_stop()
        finally:
            await self._drain(servers, own_tasks)
            for step in close:
                try:
                    await step()
                except Exception as error:
                    _log.error("CLOSE_FAILED", error)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            _log.info("STOPPED")
            if self._telemetry is not None:
                await asyncio.to_thread(self._telemetry.close)
        if died is not None:
            raise BackgroundDied(f"{type(died).__name__} ended the process") from died

    async def _open(self) -> list[grpc.aio.Server]:
        config = self.config
        party = self.authority.issue(Role.SERVICE, config.service, self._hosts)
        _expires.set_function(party.expires_at)
        # Not to start is better than to serve certificates that may be revoked.
        self.chain.revocations.read()
        self.chain.revocations.observe()
        main = grpc.aio.server(interceptors=[self.chain], options=server_options(config))
        health_pb2_grpc.add_HealthServicer_to_server(self.health.servicer, main)
        if config.reflection:
            from libs.server.process.reflection import add_reflection

            add_reflection(main, config.deployment, self.chain.services_open_to)
        probes = grpc.aio.server(options=health_options(), maximum_concurrent_rpcs=STREAMS_MAX)
        health_pb2_grpc.add_HealthServicer_to_server(self.health.servicer, probes)
        name = config.service.upper()
        try:
            self.port = bind(
                lambda address: main.add_secure_port(address, tls.server_credentials(party)), config.host, config.port
            )
        except RuntimeError:
            why = f"is {config.port}, which cannot be bound on {config.host}"
            raise ConfigError(f"LUXOR_{name}_PORT", why, "7401") from None
        try:
            self.health_port = bind(probes.add_insecure_port, config.health_host, config.health_port)
        except RuntimeError:
            why = f"is {config.health_port}, which cannot be bound on {config.health_host}"
            raise ConfigError(f"LUXOR_{name}_HEALTH_PORT", why, "7501") from None
        if self._telemetry is not None:
            try:
                self.metrics_port = self._telemetry.serve_metrics(config.metrics_host, config.metrics_port)
            except OSError as error:
                why = f"is {config.metrics_port}, which cannot be bound on {config.metrics_host}: {error.strerror}"
                raise ConfigError(f"LUXOR_{name}_METRICS_PORT", why, "7601") from None
        await main.start()
        await probes.start()
        return [main, probes]

    async def _become_ready(
        self,
        prepare: Callable[[], Awaitable[None]] | None,
        ready: Ready | None,
        background: Sequence[Background],
    ) -> None:
        """Retry until the own store is available, since services start in any order."""
        pause = 0.05
        reasons()  # the first refusal must not wait for the catalogue, and all calls with it
        while prepare is not None:
            try:
                await prepare()
                break
            except Exception as error:
                why = getattr(error, "reason", "")
                self.chain.missing = [f"preparing failed with {type(error).__name__}{f' ({why})' if why else ''}"]
                _log.error("NOT_READY", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, READY_SECONDS)
        first = True
        pause = 0.05
        while True:
            missing = await self._missing(ready)
            _ready.set(0 if missing else 1)
            await self.health.ready(not missing)
            if not missing and first:
                first = False
                self.chain.missing = None
                # What was loaded at the start lives as long as the process: the collector need not check it again.
                gc.collect()
                gc.freeze()
                gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
                for run in background:
                    self._spawn(run(self._stop), _name(run))
                _log.info("READY")
            elif missing:
                _log.warning("NOT_READY", missing=missing)
                if first:
                    self.chain.missing = missing
            await asyncio.sleep(pause if first else READY_SECONDS)
            pause = min(pause * 2, READY_SECONDS)

    async def _missing(self, ready: Ready | None) -> list[str]:
        if ready is None:
            return []
        try:
            async with asyncio.timeout(READY_SECONDS * 2):
                return await ready()
        except Exception as error:
            _log.error("NOT_READY", error)
            return [f"the store: {type(error).__name__}"]

    async def watch_neighbour(self, neighbour: str, probe: Probe) -> None:
        """Report whether a neighbour answers, as a metric and as the health of the work that needs it."""
        was: bool | None = None
        while True:
            try:
                async with asyncio.timeout(READY_SECONDS):
                    up = await probe()
            except Exception:
                up = False
            _up.labels(neighbour).set(1 if up else 0)
            await self.health.neighbour(neighbour, up)
            if up is not was:
                (_log.info if up else _log.warning)(
                    "NEIGHBOUR_RETURNED" if up else "NEIGHBOUR_ABSENT", neighbour=neighbour
                )
                was = up
            await asyncio.sleep(NEIGHBOUR_SECONDS if up else READY_SECONDS)

    async def _renew(self) -> None:
        """Renew the own certificate before it ends; the credentials read the new files automatically."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                party = await asyncio.to_thread(self.authority.issue, Role.SERVICE, self.config.service, self._hosts)
            except tls.TlsError as error:
                _log.error("CERTIFICATE_NOT_RENEWED", error)
                continue
            # Without the authority's key only another party can issue it, and has not done so.
            if (days := self.authority.overdue(party)) is not None:
                _log.warning("CERTIFICATE_NOT_RENEWED", days_left=round(days, 1), directory=str(party.directory))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.append(task)
        task.add_done_callback(self._ended.put_nowait)
        return task

    async def _until_stop(self) -> BaseException | None:
        """Wait for the stop; return the error of a task that died before it."""
        stop = asyncio.create_task(self._stop.wait())
        try:
            while not stop.done():
                ended = asyncio.create_task(self._ended.get())
                await asyncio.wait([stop, ended], return_when=asyncio.FIRST_COMPLETED)
                if not ended.done():
                    ended.cancel()
                    continue
                task = ended.result()
                self._tasks.remove(task)
                error = None if task.cancelled() else task.exception()
                if error is not None:
                    _log.error("BACKGROUND_TASK_DIED", error, task=task.get_name())
                    return error
            return None
        finally:
            stop.cancel()

    async def _drain(self, servers: list[grpc.aio.Server], own_tasks: "list[asyncio.Task[None]]") -> None:
        """Stop in the order that loses nothing: no new calls, finish the work, end."""
        self._stop.set()
        await self.health.end()
        await asyncio.sleep(self.config.drain_pause_seconds)
        for task in own_tasks:
            task.cancel()
        await asyncio.gather(*own_tasks, return_exceptions=True)
        main, *others = servers
        stopping = asyncio.create_task(main.stop(self.config.drain_seconds))
        await asyncio.sleep(0)  # from here on no call comes in, so none that ends its wait now comes back
        self.chain.drain.set()
        rest = [task for task in self._tasks if task not in own_tasks]
        if rest:
            _, late = await asyncio.wait(rest, timeout=self.config.drain_seconds)
            for task in late:
                _log.warning("BACKGROUND_TASK_CUT", task=task.get_name())
                task.cancel()
        for task, end in zip(rest, await asyncio.gather(*rest, return_exceptions=True), strict=True):
            if isinstance(end, Exception):
                _log.error("BACKGROUND_TASK_DIED", end, task=task.get_name())
        await stopping
        await asyncio.gather(*(server.stop(0) for server in others))


def serve(main: Callable[[], Awaitable[None]], *, uvloop: bool) -> int:
    """Run a service's coroutine on the configured loop and return the exit code; the log has the reason if it is not 0."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if uvloop:
        import uvloop as fast

        factory = fast.new_event_loop
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_coroutine(main))
    except (ConfigError, MapError, tls.TlsError) as error:
        _log.error("NOT_STARTED", why=str(error))
        return 2
    except Exception as error:
        _log.error("ENDED", error)
        return 1
    return 0


async def _coroutine(main: Callable[[], Awaitable[None]]) -> None:
    await main()


def _name(run: Background) -> str:
    return getattr(run, "__qualname__", type(run).__name__)
