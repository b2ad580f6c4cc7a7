"""A proxy in front of a PostgreSQL server that breaks a connection at a chosen byte of a COMMIT or of its answer.

The client then does not know whether its transaction was committed: the server got a part of the COMMIT and rolls back, or all of it, and
commits at once or some time later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tests.support.databases import enterable_directory

COMMIT: Final = b"Q\x00\x00\x00\x0bcommit\x00"
"""The message that commits, as the store's driver sends it."""
ANSWER: Final = b"C\x00\x00\x00\x0bCOMMIT\x00Z\x00\x00\x00\x05I"
"""What the server answers."""
_SOCKET: Final = ".s.PGSQL.5432"


@dataclass(frozen=True)
class Cut:
    """Where one connection breaks: behind so many bytes of a COMMIT, and where that is all of it, of the answer."""

    sent: int = len(COMMIT)
    answered: int = 0
    late_seconds: float = 0.0
    """How long after the client has lost its connection the server gets the COMMIT: a slow network, or a slow disk."""
    client_signal: signal.Signals | None = None
    """What the client's process gets at the moment when it loses its connection, before the server gets the COMMIT."""


class CuttingProxy:
    """Listens on a Unix socket of its own and passes everything on, but for the cuts that are planned."""

    def __init__(self, url: str, *, transaction_bytes_min: int = 0, statement: bytes = b"") -> None:
        """Stand in front of the server of a URL that names a socket directory.

        Only a COMMIT of a transaction in which the client sent so many bytes is cut: not that of a renewed lease, say. With a part of a
        `statement`, only of a transaction that ran it.
        """
        self.transaction_bytes_min = transaction_bytes_min
        self.statement = statement
        self.parsed = re.compile(rb"(__asyncpg_stmt_[0-9a-f]+__\x00)[^\x00]*" + re.escape(statement))
        """A statement in the message that prepares it; later messages have its name alone."""
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        self._target = f"{query['host']}/{_SOCKET}"
        self._directory: Path = enterable_directory()
        self.url = urlunsplit(parts._replace(query=urlencode(query | {"host": str(self._directory)}, safe="/")))
        self.planned: deque[Cut | None] = deque()
        """What happens to the next COMMITs, one each; None lets one pass."""
        self.done = 0
        """Connections cut so far."""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def plan(self, cuts: Iterable[Cut | None]) -> None:
        """Cut at the next COMMITs, whichever connections they come by."""
        self.planned.extend(cuts)

    async def __aenter__(self) -> Self:
        """Listen."""
        path = self._directory / _SOCKET
        self._server = await asyncio.start_unix_server(self._serve, path)
        path.chmod(0o777)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything that it passes on."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        shutil.rmtree(self._directory, ignore_errors=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_unix_connection(self._target)
        link = _Link(self, client, to_client, server, to_server)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # The server's task is ended when a test ends: that is no error to report.
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await link.run()


@dataclass
class _Link:
    """One connection through the proxy."""

    proxy: CuttingProxy
    client: asyncio.StreamReader
    to_client: asyncio.StreamWriter
    server: asyncio.StreamReader
    to_server: asyncio.StreamWriter
    left: int | None = None
    """Bytes of answers that still pass; None for all."""
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the server has answered a client that is cut off."""
    is_cut: bool = False
    statements: set[bytes] = field(default_factory=set)
    """Names under which the statement was prepared here."""

    async def run(self) -> None:
        """Pass bytes on in both directions until one side is gone or a cut is due."""
        both = {asyncio.create_task(self._forward()), asyncio.create_task(self._back())}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for writer in (self.to_client, self.to_server):
                writer.close()

    async def _forward(self) -> None:
        sent, ran = 0, False
        while data := await self.client.read(65_536):
            at = data.find(COMMIT)
            sent += len(data)
            if self.proxy.statement:
                self.statements.update(self.proxy.parsed.findall(data))
                ran = ran or any(name in data for name in self.statements)
            fits = sent >= self.proxy.transaction_bytes_min and ran == bool(self.proxy.statement)
            cut = self.proxy.planned.popleft() if at >= 0 and fits and self.proxy.planned else None
            if at >= 0:
                sent, ran = 0, False
            if cut is None:
                self.to_server.write(data)
                await self.to_server.drain()
                continue
            self.proxy.done += 1
            if cut.answered and cut.sent == len(COMMIT):
                self.left = cut.answered
                self.to_server.write(data)
                await self.to_server.drain()
                continue
            self.is_cut = True
            if cut.client_signal is not None:
                os.kill(self._client_pid(), cut.client_signal)
            self.to_client.transport.abort()
            if cut.late_seconds:
                await asyncio.sleep(cut.late_seconds)
            self.to_server.write(data[: at + cut.sent])
            await self.to_server.drain()
            if cut.sent == len(COMMIT):
                # The end of the connection must not overtake the COMMIT: let the server answer first.
                await self.answered.wait()
            return

    def _client_pid(self) -> int:
        """Return the process at the other end of the client's socket."""
        told = self.to_client.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("3i", told)[0])

    async def _back(self) -> None:
        while data := await self.server.read(65_536):
            if self.is_cut:
                self.answered.set()
                continue
            if self.left is not None:
                data = data[: self.left]
                self.left -= len(data)
            self.to_client.write(data)
            await self.to_client.drain()
            if self.left == 0:
                return
        # The server closed: nothing more can come.
