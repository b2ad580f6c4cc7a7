"""Health and metrics of the services of a running system."""

from __future__ import annotations

import re
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from libs.cli.local.supervisor import LocalSystem

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health(system: LocalSystem, service: str, name: str = "") -> int:
    """Ask a service's plaintext port."""
    async with grpc.aio.insecure_channel(system.supervisor.health[service]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return int((await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)).status)


def metrics(system: LocalSystem, service: str) -> dict[str, float]:
    """Read a service's metrics, by name with labels."""
    address = f"http://127.0.0.1:{system.ports[service].metrics}/metrics"
    with urllib.request.urlopen(address, timeout=5) as answer:
        text = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^(luxor_\S+) (\S+)$", text, re.MULTILINE)}
