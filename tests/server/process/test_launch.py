"""A service is ready when its store is there and nothing that it was put together with waits for something."""

from __future__ import annotations

from collections.abc import Sequence

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from libs.server.process.health import SERVING
from libs.server.process.launch import Start
from libs.server.process.server import Background
from tests.support.services import running


async def test_a_service_does_not_serve_while_a_part_of_it_waits(database_url: str) -> None:
    asked: list[bool] = []

    def waits() -> Sequence[str]:
        asked.append(True)
        return () if len(asked) > 3 else ("history: the log was read up to 1.77",)

    def assemble(start: Start) -> Sequence[Background]:
        start.missing.append(waits)
        return ()

    async with running("risk", assemble, database_url) as service:
        assert len(asked) == 4
        async with grpc.aio.insecure_channel(f"127.0.0.1:{service.service.server.health_port}") as channel:
            told = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
            assert told.status == SERVING
        asked.clear()
        assert await service.service.missing() == ["history: the log was read up to 1.77"]
