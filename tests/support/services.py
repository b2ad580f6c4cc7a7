"""For tests: a service on this very loop, with real sockets, TLS and PostgreSQL, and channels of any identity to it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc.aio

from libs.server.config.server_config import ServerConfig
from libs.server.process.launch import Assemble, Service
from libs.server.transport.channel import channel
from libs.server.transport.tls import LocalCA
from tests.support.databases import memory


class Running:
    """A service that serves."""

    def __init__(self, service: Service, data_dir: Path, stack: AsyncExitStack) -> None:
        """Remember where it is."""
        self.service = service
        self.data_dir = data_dir
        self._stack = stack

    @property
    def target(self) -> str:
        """Where it is found."""
        return f"dns:///127.0.0.1:{self.service.server.port}"

    async def channel(self, role: str, ident: str) -> grpc.aio.Channel:
        """Open a channel to it as somebody; it is closed with the service."""
        party = LocalCA(self.data_dir / "tls", "luxor").issue(role, ident)
        opened = channel(self.target, party)
        await self._stack.enter_async_context(opened)
        return opened


@asynccontextmanager
async def running(
    name: str,
    assemble: Assemble,
    database_url: str,
    *,
    environ: Mapping[str, str] | None = None,
    data_dir: Path | None = None,
) -> AsyncIterator[Running]:
    """Run a service on free ports until the block ends; it is ready when the block begins.

    Services that share a `data_dir` share its CA, so that they know each other.
    """
    async with AsyncExitStack() as stack:
        home = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="luxor-test-", dir=memory())))
        upper = name.upper()
        given = {
            "LUXOR_DATA_DIR": str(home),
            f"LUXOR_{upper}_PORT": "0",
            f"LUXOR_{upper}_DATABASE_URL": database_url,
            "LUXOR_DRAIN_PAUSE_SECONDS": "0",
            **(environ or {}),
        }
        service = Service(name, assemble, ServerConfig.from_environ(name, given), given)
        task = asyncio.create_task(service.run())
        try:
            async with asyncio.timeout(60):
                while not task.done() and service.server.chain.missing is not None:  # noqa: ASYNC110  # it has no event
                    await asyncio.sleep(0.01)
            if task.done():
                task.result()
            async with AsyncExitStack() as channels:
                yield Running(service, home, channels)
        finally:
            service.server.stop()
            await task
