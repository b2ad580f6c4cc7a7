"""The door of the sandbox with a service behind it that takes every call, and a script that only remembers what it is to play."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from libs.sandbox.cases import Selected
from libs.sandbox.conversations import Event
from libs.sandbox.environment import DEPLOYMENT
from libs.sandbox.proxy import Proxy, serve_on
from libs.sandbox.responses.failures import MESSAGE_BYTES_MAX
from libs.sandbox.script import Script, ScriptFailed
from libs.server.errors import STATUS_KEY, Refusal, item_error, reason_of
from libs.server.transport.tls import LocalCA, server_credentials
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2

SUBMIT = "/luxor.ingestion.v1.IngestionService/SubmitConsignments"
START = 1_000_000.0


class Behind(grpc.GenericRpcHandler):
    """Takes every call: accepts what is filed, and answers nothing else."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes]] = []
        self.callers: list[str] = []
        self.answer = b""
        self.answers: dict[str, bytes] = {}
        """By method, where the answer is another one than `answer`."""
        self.refusal: Refusal | None = None

    def service(self, handler_call_details: Any) -> Any:
        async def serve(raw: bytes, context: Any) -> bytes:
            self.calls.append((handler_call_details.method, raw))
            self.callers.append(context.auth_context()["peer_spiffe_id"][0].decode())
            if self.refusal is not None:
                status = self.refusal.status()
                await context.abort(self.refusal.code, status.message, ((STATUS_KEY, status.SerializeToString()),))
            if handler_call_details.method == SUBMIT:
                rows = ingestion_pb2.SubmitConsignmentsRequest.FromString(raw).consignments
                answer = ingestion_pb2.SubmitConsignmentsResponse()
                for row in rows:
                    if row.nature == 0:
                        answer.results.add(
                            status=ingestion_pb2.SUBMISSION_STATUS_ACCEPTED
                        ).receipt.mrn = f"MRN-{row.local_reference}"
                    else:
                        answer.results.add(
                            status=ingestion_pb2.SUBMISSION_STATUS_REFUSED,
                            errors=[item_error("ELEMENT_MISSING", "consignments[0].items[0].description")],
                        )
                return answer.SerializeToString()
            return self.answers.get(handler_call_details.method, self.answer)

        return grpc.unary_unary_rpc_method_handler(serve)


class Played(Script):
    """Remembers what it is to play."""

    def __init__(self) -> None:
        self.played: list[tuple[str, int, str]] = []
        self.opened: list[tuple[list[str], str]] = []
        self.bound: list[tuple[str, list[str]]] = []
        self.awaited: list[tuple[str, int]] = []
        self.fails = ""

    async def play(self, selected: Selected, mrn: str) -> None:
        self.played.append((selected.case.name, selected.delay_seconds, mrn))
        if self.fails:
            raise ScriptFailed(self.fails)

    async def open_accounts(self, declarants: Sequence[str], filer: str) -> None:
        self.opened.append((list(declarants), filer))

    async def await_version(self, mrn: str, version: int) -> None:
        self.awaited.append((mrn, version))
        if self.fails:
            raise ScriptFailed(self.fails)

    async def bind(self, carrier: str, documents: Sequence[str]) -> None:
        self.bound.append((carrier, list(documents)))
        if self.fails:
            raise ScriptFailed(self.fails)

    async def close(self) -> None:
        pass


class Door:
    """A proxy that serves, with what is behind and beside it."""

    def __init__(self, authority: LocalCA) -> None:
        self.authority = authority
        self.behind = Behind()
        self.script = Played()
        self.events: list[Event] = []
        self.now = START
        self.slept: list[float] = []
        self.port = 0
        self.inner = ""
        """Address of what is behind it."""
        self.closing: list[Any] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def channel(self, role: str = "filer", ident: str = "acme", authority: LocalCA | None = None) -> grpc.aio.Channel:
        """Open a channel that repeats nothing by itself."""
        party = (authority or self.authority).issue(role, ident)
        opened = grpc.aio.secure_channel(
            f"127.0.0.1:{self.port}", party.load().channel_credentials(), options=[("grpc.enable_retries", 0)]
        )
        self.closing.append(opened)
        return opened

    async def call(self, method: str, raw: bytes = b"", timeout: float | None = 20.0, **caller: Any) -> bytes:
        return bytes(await self.channel(**caller).unary_unary(method)(raw, timeout=timeout))

    async def file(
        self, *references: str, request_id: str = "r", timeout: float | None = 20.0, **elements: Any
    ) -> ingestion_pb2.SubmitConsignmentsResponse:
        rows = [Consignment(local_reference=each, **elements) for each in references]
        request = ingestion_pb2.SubmitConsignmentsRequest(request_id=request_id, consignments=rows)
        raw = await self.call(SUBMIT, request.SerializeToString(), timeout)
        return ingestion_pb2.SubmitConsignmentsResponse.FromString(raw)

    async def refused(self, *references: str, **elements: Any) -> str:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.file(*references, **elements)
        return reason_of(raised.value)


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Door]:
    door = Door(LocalCA(tmp_path / "tls", DEPLOYMENT))
    inner = grpc.aio.server(options=[("grpc.max_receive_message_length", 2 * MESSAGE_BYTES_MAX)])
    inner.add_generic_rpc_handlers((door.behind,))
    party = door.authority.issue("service", "ingestion", ["localhost", "127.0.0.1"])
    port = inner.add_secure_port("127.0.0.1:0", server_credentials(party))
    await inner.start()
    door.inner = f"127.0.0.1:{port}"
    services = ("ingestion", "risk", "revenue", "clearance", "statistics", "feed", "trace", "jobs")
    proxy = Proxy(
        dict.fromkeys(services, f"127.0.0.1:{port}"), door.authority, door.script, door.events.append,
        sleep=door.sleep, clock=door.clock,
    )  # fmt: skip
    server, door.port = serve_on(proxy, door.authority, "127.0.0.1", 0)
    await server.start()
    try:
        yield door
    finally:
        for each in door.closing:
            await each.close()
        await server.stop(0)
        await proxy.close()
        await inner.stop(0)
