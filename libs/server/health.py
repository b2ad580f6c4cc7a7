"""Health: of the whole, of each service, and of the RPCs that need a neighbour."""

from collections.abc import Iterable

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """Sets what the health service says; the name "" stands for the whole, as probes ask."""

    def __init__(self) -> None:
        """Begin as not serving."""
        self.servicer = health_aio.HealthServicer()
        self._names: set[str] = {""}
        self._serving: dict[str, bool] = {}

    async def know(self, names: Iterable[str]) -> None:
        """Make names known, not serving yet."""
        for name in names:
            self._names.add(name)
            await self._set(name, False)

    async def all(self, serving: bool) -> None:
        """Set the whole and every service; RPCs that need a neighbour (names with a slash) have their own say."""
        for name in self._names | {""}:
            if "/" not in name:
                await self._set(name, serving)

    async def rpcs(self, names: Iterable[str], serving: bool) -> None:
        """Set RPCs by `package.Service/Method`."""
        for name in names:
            self._names.add(name)
            await self._set(name, serving)

    async def end(self) -> None:
        """Say NOT_SERVING for good."""
        await self.servicer.enter_graceful_shutdown()

    async def _set(self, name: str, serving: bool) -> None:
        if self._serving.get(name) is not serving:
            self._serving[name] = serving
            await self.servicer.set(name, SERVING if serving else NOT_SERVING)
