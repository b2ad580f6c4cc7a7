"""Chains without sockets: a context that the test fills in stands for gRPC's, and what is observed and logged is noted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from libs.server.config import deployment_map as connections_map
from libs.server.config.server_config import ServerConfig
from libs.server.identity import Role
from libs.server.interceptor import chain
from libs.server.interceptor.chain import Chain
from tests.support.virtual_loop import VirtualLoop, run

Message = error_details_pb2.BadRequest
SERVICE = "luxor.test.v1.TestService"
LIMITS = {"MESSAGE_BYTES_MAX": "4096", "DEADLINE_SECONDS_MAX": "2", "LONG_POLL_SECONDS_MAX": "20"}


class Aborted(Exception):
    """Ends a call, as gRPC's abort does."""


@dataclass
class Context:
    """What gRPC tells of a call, and what became of it."""

    raw: Any = b""
    who: str = "filer/acme"
    metadata: tuple[tuple[str, str], ...] | None = ()
    remaining: float | None = None
    code: grpc.StatusCode = grpc.StatusCode.OK
    status: status_pb2.Status = field(default_factory=status_pb2.Status)

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"peer_spiffe_id": [f"spiffe://luxor/{self.who}".encode()]}

    def invocation_metadata(self) -> tuple[tuple[str, str], ...] | None:
        return self.metadata

    def time_remaining(self) -> float | None:
        return self.remaining

    async def read(self) -> Any:
        return self.raw

    async def abort(self, code: grpc.StatusCode, message: str, trailers: Any) -> None:
        self.code = code
        self.status.ParseFromString(trailers[0][1])
        raise Aborted(message)

    @property
    def reason(self) -> str:
        info = error_details_pb2.ErrorInfo()
        return info.reason if self.status.details and self.status.details[0].Unpack(info) else ""

    def detail(self, kind: Any) -> Any:
        found = kind()
        assert any(each.Unpack(found) for each in self.status.details), self.status
        return found

    def facts(self) -> dict[str, str]:
        return dict(self.detail(error_details_pb2.ErrorInfo).metadata)


class Log:
    """What was observed of calls, and logged."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.observed: list[tuple[float, str, str]] = []
        self.lines: list[tuple[str, dict[str, Any]]] = []
        monkeypatch.setattr(chain, "call_seconds", SimpleNamespace(observe=lambda *told: self.observed.append(told)))
        monkeypatch.setattr(chain, "log", SimpleNamespace(info=self._line, warning=self._line, error=self._line))

    def _line(self, reason: str, *_error: object, **facts: Any) -> None:
        self.lines.append((reason, facts))


def chain_of(*rpcs: str) -> Chain:
    """Return a chain whose service clearance may call these RPCs of the test service."""
    config = ServerConfig.from_environ("ingestion", {f"LUXOR_{name}": value for name, value in LIMITS.items()})
    connections = connections_map.read()
    names = tuple(f"{SERVICE}/{rpc}" for rpc in rpcs)
    calling = connections_map.Connection(("clearance",), "ingestion", connections_map.GRPC, "tests", names)
    found = Chain(config, replace(connections, connections=(*connections.connections, calling)))
    found.missing = None
    return found


def unary(behaviour: Callable[..., Any], kind: Any = Message, answer: Any = Message) -> Any:
    return grpc.unary_unary_rpc_method_handler(behaviour, kind.FromString, answer.SerializeToString)


async def echo(request: Any, _context: Any) -> Any:
    return request


async def called(made: Chain, name: str, context: Context) -> list[bytes]:
    """Call a registered RPC; return its answer, none where it was refused."""
    handler = await made.intercept_service(None, SimpleNamespace(method=name))  # type: ignore[arg-type]
    try:
        return [await handler.stream_unary(None, context)]
    except Aborted:
        return []


def serve(
    behaviour: Callable[..., Any],
    context: Context,
    *,
    roles: frozenset[Role] = frozenset({Role.FILER, Role.SERVICE}),
    long_poll: bool = False,
    prepare: Callable[[Chain], None] = lambda _chain: None,
) -> list[bytes]:
    """Call a new chain once, in virtual time; no place is left taken."""

    async def main(_loop: VirtualLoop) -> list[bytes]:
        made = chain_of("Echo")
        made.register(f"/{SERVICE}/Echo", unary(behaviour), roles, long_poll=long_poll)
        prepare(made)
        found = await called(made, f"/{SERVICE}/Echo", context)
        assert sum(gate.in_flight for gates in made.gates.by_kind.values() for gate in gates) == 0
        return found

    return run(main)
