"""A small real service with mutual TLS, whose handlers the tests steer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from libs.cli.local.state import free_ports
from libs.server.config import deployment_map as connections_map
from libs.server.config.server_config import ServerConfig
from libs.server.identity import Role
from libs.server.process.server import Server
from libs.server.transport.channel import LuxorChannel, channel
from libs.server.transport.tls import LocalCA

Message = error_details_pb2.BadRequest
"""Stands for a batch: repeated messages (field_violations) with messages in them (localized_message)."""

SERVICE = "luxor.test.v1.TestService"


class Servicer:
    """Answers with what it got, or does what the test put in place of that."""

    def __init__(self) -> None:
        self.behaviour: Callable[[Any, Any], Awaitable[Any]] | None = None
        self.entered = asyncio.Event()
        self.leave = asyncio.Event()
        self.seen: list[Any] = []

    async def Echo(self, request: Any, context: Any) -> Any:
        self.seen.append(request)
        return request if self.behaviour is None else await self.behaviour(request, context)

    async def Hold(self, request: Any, context: Any) -> Any:
        self.entered.set()
        await self.leave.wait()
        return request

    async def Poll(self, request: Any, context: Any) -> Any:
        return await self.Hold(request, context)


def register(servicer: Any, server: Any) -> None:
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, name),
            request_deserializer=Message.FromString,
            response_serializer=Message.SerializeToString,
        )
        for name in ("Echo", "Hold", "Poll")
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)


class Running:
    """A server that runs, and how to call it."""

    def __init__(self, server: Server, servicer: Servicer, task: "asyncio.Task[None]") -> None:
        self.server = server
        self.servicer = servicer
        self.task = task
        self.channels: list[LuxorChannel] = []

    @property
    def authority(self) -> LocalCA:
        return self.server.authority

    def channel(self, role: str = "filer", ident: str = "acme", authority: LocalCA | None = None) -> LuxorChannel:
        party = (authority or self.authority).issue(role, ident)
        self.channels.append(channel(f"localhost:{self.server.port}", party))
        return self.channels[-1]

    def method(self, name: str, channel: LuxorChannel | None = None, raw: bool = False) -> Any:
        open_channel = channel or self.channel()
        serializer = (lambda data: data) if raw else Message.SerializeToString
        return open_channel.unary_unary(f"/{SERVICE}/{name}", serializer, Message.FromString)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop go on until the condition holds; fail after ten seconds."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110  # what is waited for has no event
                await asyncio.sleep(0)

    async def ready(self) -> None:
        await self.until(lambda: self.server.chain.missing is None)

    async def close(self) -> None:
        self.servicer.leave.set()
        for each in self.channels:
            await each.close()
        self.server.stop()
        with contextlib.suppress(Exception):
            await self.task


def own_port() -> int:
    """A port for a server that ends and comes back: from where the kernel takes none to give to whoever asks for any."""
    return free_ports(["ingestion"])["ingestion"].main


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start servers with free ports; keywords are variables (`message_bytes_max="4096"`) or arguments of run.

    With `services` the service clearance may call every method as filers may.
    """
    running: list[Running] = []

    async def run(
        *, wait: bool = True, services: bool = False, run: dict[str, Any] | None = None, **variables: str
    ) -> Running:
        environ = {
            "LUXOR_INGESTION_PORT": "0",
            "LUXOR_DATA_DIR": str(tmp_path / "data"),
            "LUXOR_DRAIN_PAUSE_SECONDS": "0",
        }
        environ |= {f"LUXOR_{name.upper()}": value for name, value in variables.items()}
        connections = connections_map.read()
        if services:
            calling = connections_map.Connection(("clearance",), "ingestion", connections_map.GRPC, "tests", (SERVICE,))
            connections = replace(connections, connections=(*connections.connections, calling))
        server = Server(ServerConfig.from_environ("ingestion", environ), connections=connections)
        servicer = Servicer()
        filers = {Role.FILER} | ({Role.SERVICE} if services else set())
        server.add(
            register,
            servicer,
            roles={"Echo": filers, "Hold": filers, "Poll": filers},
            long_polls={"Poll"},
        )
        each = Running(server, servicer, asyncio.create_task(server.run(**(run or {}))))
        running.append(each)
        started = asyncio.create_task(server.started.wait())
        await asyncio.wait([started, each.task], return_when=asyncio.FIRST_COMPLETED)
        if each.task.done():
            started.cancel()
            await each.task
        if wait:
            await each.ready()
        return each

    yield run
    for each in running:
        await each.close()


@pytest.fixture
def message() -> Any:
    return Message
