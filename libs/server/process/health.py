"""Health: of the whole, of each service, of the process alone, of the own store, and of what needs neighbours.

""                          the service is ready: its own store answers and has its schema. Readiness probes ask this
package.Service             the same, by the name of the contract
alive                       the process's loop turns, whatever its store and its neighbours do. Liveness probes ask this
store                       the own store takes writes: it answers, is no standby, and has space
<service>/<work>            a piece of work goes on: the service is ready and all neighbours that the work needs answer
"""

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from libs.server.errors import STATUS_KEY, Refusal

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

ALIVE = "alive"
STORE = "store"

ASKS = 2
"""How often a neighbour is asked before it counts as away: of several replicas another one gets the second question."""
ASK_SECONDS = 0.9

Probe = Callable[[], Awaitable[bool]]


def answers(channel: grpc.aio.Channel) -> Probe:
    """Return a probe of the service behind a channel: whether it says that it is ready.

    It asks for health, which stands outside of the list of steps that calls go through, so it is no load and is
    answered under any.

    Give it a channel of its own. Calls of one channel go to the replicas in turn, and a probe that a hanging replica leaves unanswered asks the next
    one: with two replicas the turn comes back to the hanging one, so that on a shared channel it would get every call between two probes.
    """
    stub = health_pb2_grpc.HealthStub(channel)

    async def probe() -> bool:
        for _ in range(ASKS):
            try:
                told = await stub.Check(health_pb2.HealthCheckRequest(), timeout=ASK_SECONDS)
            except grpc.aio.AioRpcError:
                continue
            if told.status == SERVING:
                return True
        return False

    return probe


class _Servicer(health_aio.HealthServicer):  # type: ignore[misc]  # the library has no types
    """The health service, with the details that every refusal has."""

    async def Check(self, request: Any, context: Any) -> Any:
        """Return the health of a name; refuse a name that is not known."""
        if request.service not in self._server_status:
            status = Refusal("HEALTH_NAME_UNKNOWN", path="service", value=request.service).status()
            trailers = ((STATUS_KEY, status.SerializeToString()),)
            await context.abort(grpc.StatusCode.NOT_FOUND, status.message, trailers)
        return await super().Check(request, context)


class Health:
    """Sets what the health service says."""

    def __init__(self) -> None:
        """Begin as not serving, but alive."""
        self.servicer = _Servicer()
        self._whole: set[str] = {""}
        self._needs: dict[str, set[str]] = {}
        self._up: set[str] = set()
        self._ready = False
        self._store = False
        self._ended = False
        self._reported: dict[str, bool] = {}

    async def know(self, services: Iterable[str]) -> None:
        """Make services known, which serve where the whole does."""
        self._whole |= set(services)
        await self._report()

    def need(self, work: Iterable[str], neighbour: str) -> None:
        """Declare that work (`service/work`) needs a neighbour; several calls add up."""
        for name in work:
            self._needs.setdefault(name, set()).add(neighbour)

    async def ready(self, ready: bool) -> None:
        """Set whether the service is SERVING."""
        self._ready = ready
        await self._report()

    async def store(self, writable: bool) -> None:
        """Set whether the own store accepts writes."""
        self._store = writable
        await self._report()

    async def neighbour(self, neighbour: str, up: bool) -> None:
        """Set whether a neighbour answers."""
        (self._up.add if up else self._up.discard)(neighbour)
        await self._report()

    async def end(self) -> None:
        """Report NOT_SERVING from now on; the process is alive until it ends."""
        self._ended = True
        await self._report()

    def missing(self, work: str) -> Collection[str]:
        """Return the neighbours that a piece of work lacks now."""
        return sorted(self._needs.get(work, set()) - self._up)

    async def _report(self) -> None:
        ready = self._ready and not self._ended
        states = dict.fromkeys(self._whole, ready)
        states |= {name: ready and needed <= self._up for name, needed in self._needs.items()}
        states |= {STORE: self._store and not self._ended, ALIVE: True}
        for name, serving in states.items():
            if self._reported.get(name) is not serving:
                self._reported[name] = serving
                await self.servicer.set(name, SERVING if serving else NOT_SERVING)
