"""How every service starts: settings, telemetry, its own database, its servicers, its background work, in one order.

def assemble(start: Start) -> Sequence[Background]:
    start.server.add(add_XServicer_to_server, XService(start.database), roles={...})
    return [consumer.run]

if __name__ == "__main__":
    sys.exit(launch("x", assemble))
"""

import asyncio
import gc
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import grpc.aio

from libs import telemetry
from libs.feed import epochs
from libs.server.config.server_config import ConfigError, Neighbours, ServerConfig
from libs.server.config.variables import check_foreign, unknown_variables
from libs.server.identity import Role
from libs.server.process.server import Background, Server, serve
from libs.server.process.store_watch import StoreWatch
from libs.server.transport.channel import channel
from libs.store.database import Database
from libs.store.embedded.data_dir import default_data_dir
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.monitoring.gauges import watched_database
from libs.store.monitoring.guard import Guard
from libs.store.tables.migrate import migrate, require_schema
from libs.telemetry.logs import write_in_background
from libs.telemetry.setup import Telemetry
from libs.telemetry.setup import setup as set_up_telemetry

_PULL = "/luxor.feed.v1.FeedService/PullEvents"
_log = telemetry.get_logger()


@dataclass(frozen=True)
class Start:
    """What a service is put together from."""

    service: str
    """Its name."""
    environ: Mapping[str, str]
    """The environment it was started in, for settings of its own."""
    config: ServerConfig
    """What every service reads."""
    server: Server
    """Where its servicers are added."""
    database: Database
    """Its own database; open and migrated before any call is served and any background work begins."""
    replica: str
    """Name of this process among the replicas of its service."""
    before_serving: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What is done once the store is open and migrated, before any call is served; all of it again after one has failed."""
    missing: list[Callable[[], Sequence[str]]] = field(default_factory=list)
    """What tells, now and then, what the service waits for beside its store: while anything is told it is not ready."""

    @property
    def consumers(self) -> frozenset[str]:
        """The services that may read this service's feed, from the map of the connections."""
        return self.server.chain.services_calling(_PULL)

    def neighbour(self, name: str) -> grpc.aio.Channel:
        """Open a channel to another service, with this service's own certificate."""
        target = getattr(Neighbours.from_environ(self.service, self.environ), name)
        party = self.server.authority.issue(Role.SERVICE, self.service, ())
        return channel(target, party, message_bytes_max=self.config.message_bytes_max)


Assemble = Callable[[Start], Sequence[Background]]


def launch(service: str, assemble: Assemble, *, environ: Mapping[str, str] | None = None) -> int:
    """Run a service until it is told to stop; return the exit code, the log says why it is not 0."""
    try:
        return _launch(service, assemble, environ)
    finally:
        _log.flush()


def _launch(service: str, assemble: Assemble, environ: Mapping[str, str] | None) -> int:
    given = dict(os.environ if environ is None else environ)
    given.setdefault("LUXOR_DATA_DIR", str(default_data_dir(given)))
    write_in_background()
    try:
        check_foreign(given)
        handle = set_up_telemetry(service, given)
        config = ServerConfig.from_environ(service, given)
        Neighbours.from_environ(service, given)
    except ConfigError as error:
        _log.error("NOT_STARTED", why=str(error))
        return 2
    for unknown, meant in unknown_variables(service, given).items():
        hint = f"nobody reads it; did you mean {meant}?" if meant else "nobody reads it; is it misspelt?"
        _log.warning("VARIABLE_UNKNOWN", variable=unknown, hint=hint)

    async def main() -> None:
        assembled = Service(service, assemble, config, given, handle)
        gc.enable()  # whoever started the process may have had the collector rest until here
        await assembled.run()

    return serve(main, uvloop=config.uvloop)


class Service:
    """A service put together on the running loop; `run` serves until it is told to stop."""

    def __init__(
        self,
        service: str,
        assemble: Assemble,
        config: ServerConfig,
        environ: Mapping[str, str],
        handle: Telemetry | None = None,
    ) -> None:
        """Assemble it. Without a database's URL in `config`, its store is the embedded server under the data directory."""
        self._package = f"services.{service}"
        self._embedded = None
        if not config.database_url:
            self._embedded = EmbeddedPostgres(config.data_dir, environ=environ)
            config = replace(config, database_url=self._embedded.account_url(f"luxor_{service}"))
        self.server = Server(config, telemetry_handle=handle)
        self.database = watched_database(config.database_url, name=service)
        replica = f"{os.uname().nodename}:{os.getpid()}:{secrets.token_hex(4)}"
        self._watch = StoreWatch(self.database, self.server.health)
        start = Start(service, environ, config, self.server, self.database, replica)
        self._background = assemble(start)
        self._before_serving = start.before_serving
        self._waits_for = start.missing

    async def run(self) -> None:
        """Open the store, bring its schema up to date, serve, and close."""
        close: list[Callable[[], Awaitable[None]]] = [self.database.close]
        background = [Guard(self.database).run, *self._background]
        await self.server.run(background=background, ready=self.missing, prepare=self._prepare, close=close)

    async def missing(self) -> list[str]:
        """Return what the service lacks to be ready."""
        missing = await self._watch.missing()
        return [*missing, *(each for tell in self._waits_for for each in tell())]

    async def _prepare(self) -> None:
        if self._embedded is not None:
            await asyncio.to_thread(self._embedded.start)
        await self.database.open()
        if self.server.config.migrate:
            await migrate(self.database, self._package)
        else:
            await require_schema(self.database, self._package)
        await epochs.at_start(self.database)
        for step in self._before_serving:
            await step()
