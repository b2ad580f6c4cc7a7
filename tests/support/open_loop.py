"""An open-loop load of several filers: each call starts when it is due, whatever became of the calls before it.

A call's time counts from the moment at which it was due, so a generator that is late itself hides nothing. A call is made
once: what the client library would do with a refusal is no part of the load.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import grpc

from libs.cli.local.supervisor import LocalSystem
from libs.client.client import Client
from libs.server.errors import reason_of, retry_after
from libs.server.transport.channel import channel
from libs.server.transport.tls import LocalCA
from libs.simulator import Simulator
from luxor.clearance.v1 import clearance_pb2
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2

METHOD = "/luxor.ingestion.v1.IngestionService/SubmitConsignments"
TIMEOUT_SECONDS = 15.0
STATUSES = 500
FAST_CPS = 12_000
"""More than a system on few cores files of one filer, consignments a second."""
SAMPLED = 3
"""Consignments of an accepted call that are asked for their times."""


@dataclass
class Call:
    """One call and its end."""

    filer: str
    rows: int
    due: float
    """When it was due, seconds since 1970."""
    ended: float = 0.0
    code: str = ""
    reason: str = ""
    retry_after: float | None = None
    mrns: list[str] = field(default_factory=list)
    """A sample of what it filed."""
    decided: list[float] = field(default_factory=list)
    """When each of the sample was decided, seconds since 1970."""
    waits: list[float] = field(default_factory=list)
    """Seconds from acceptance to decision of each."""

    @property
    def accepted(self) -> bool:
        """Return whether it was accepted."""
        return self.code == "OK"


class Load:
    """Filers that send batches of consignments of their own, each over a connection of its own."""

    def __init__(self, system: LocalSystem, filers: Sequence[str]) -> None:
        """Take the filers' names."""
        self.system = system
        self.filers = list(filers)
        self.calls: list[Call] = []
        self.late = 0.0
        """The most that this generator itself was late with a call, seconds."""
        self._send: dict[str, Any] = {}
        self._stack = AsyncExitStack()
        self._numbers = random.Random(20_261_128)
        self._next = 0

    async def __aenter__(self) -> Self:
        """Open the connections."""
        authority = LocalCA(self.system.data_dir / "tls")
        for filer in self.filers:
            opened = channel(self.system.endpoints["ingestion"], authority.issue("filer", filer))
            await self._stack.enter_async_context(opened)
            self._send[filer] = opened.unary_unary(METHOD, None, ingestion_pb2.SubmitConsignmentsResponse.FromString)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close them."""
        await self._stack.aclose()

    async def run(self, pools: Mapping[str, Pool], rates: Mapping[str, float], seconds: float) -> list[Call]:
        """Offer so many consignments a second by filer, for so long; return the calls, all of them ended.

        `pools` are batches by filer, made before (`fill`), so that the system has no pause; one that was not accepted goes back.
        RuntimeError is raised where a filer has none left.
        """
        started = time.time()
        due: list[tuple[float, str]] = []
        for filer, rate in rates.items():
            moment = 0.0
            while rate and (moment := moment + self._numbers.expovariate(rate / pools[filer].rows)) < seconds:
                due.append((started + moment, filer))
        calls = []
        running = []
        for moment, filer in sorted(due):
            await asyncio.sleep(max(0.0, moment - time.time()))
            self.late = max(self.late, time.time() - moment)
            call = Call(filer, pools[filer].rows, moment)
            calls.append(call)
            running.append(asyncio.create_task(self._one(call, pools[filer])))
        await asyncio.sleep(max(0.0, started + seconds - time.time()))
        await asyncio.gather(*running)
        self.calls += calls
        return calls

    async def closed(self, pools: Mapping[str, Pool], at_once: int, seconds: float) -> list[Call]:
        """File as fast as the system takes it, with so many calls of each filer at once, which wait as they are asked to.

        Enough for a fast system is made before; it ends before its time where that is filed.
        """
        fill(pools, (dict.fromkeys(pools, FAST_CPS), seconds))
        ends_at = time.time() + seconds
        calls = []

        async def work(filer: str) -> None:
            while time.time() < ends_at and pools[filer]:
                call = Call(filer, pools[filer].rows, time.time())
                calls.append(call)
                await self._one(call, pools[filer])
                if not call.accepted:
                    await asyncio.sleep(
                        min(call.retry_after or 0.1, ends_at - time.time() if ends_at > time.time() else 0)
                    )

        await asyncio.gather(*(work(filer) for filer in pools for _ in range(at_once)))
        self.calls += calls
        return calls

    async def _one(self, call: Call, pool: Pool) -> None:
        if not pool:
            raise RuntimeError(f"{call.filer} has no batch left: more have to be made ahead")
        raw = pool.popleft()
        self._next += 1
        # A field that follows the others belongs to the same message.
        request_id = f"open-{self._next}".encode()
        try:
            answer = await self._send[call.filer](
                raw + bytes([(REQUEST_ID << 3) | 2, len(request_id)]) + request_id, timeout=TIMEOUT_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            call.code, call.reason, call.retry_after = error.code().name, reason_of(error), retry_after(error)
            pool.append(raw)
        else:
            call.code = "OK"
            mrns = [each.receipt.mrn for each in answer.results if each.receipt.mrn]
            call.mrns = self._numbers.sample(mrns, min(SAMPLED, len(mrns)))
        call.ended = time.time()

    async def decided(self, officer: Client, *, seconds: float = 60.0) -> None:
        """Wait until everything that was accepted is decided, and learn when; raise TimeoutError where it is not in time."""
        open_calls = {number: call for call in self.calls if not call.decided for number in call.mrns}
        ends_at = time.time() + seconds
        while open_calls:
            numbers = list(open_calls)
            for start in range(0, len(numbers), STATUSES):
                queries = [clearance_pb2.StatusQuery(mrn=number) for number in numbers[start : start + STATUSES]]
                answer = await officer.status(queries)
                for result in answer.results:
                    for each in result.consignments:
                        if (
                            each.decision.HasField("decided_at")
                            and (call := open_calls.pop(each.mrn, None)) is not None
                        ):
                            decided = each.decision.decided_at.ToMicroseconds() / 1e6
                            call.decided.append(decided)
                            call.waits.append(decided - each.filing.accepted_at.ToMicroseconds() / 1e6)
            if open_calls and time.time() > ends_at:
                raise TimeoutError(f"{len(open_calls)} of the accepted consignments are not decided")
            await asyncio.sleep(0.2 if open_calls else 0)


REQUEST_ID = ingestion_pb2.SubmitConsignmentsRequest.DESCRIPTOR.fields_by_name["request_id"].number


class Pool(deque[bytes]):
    """Batches of one filer, serialised before the phase that files them."""

    def __init__(self, seed: int, rows: int, change: Callable[[Consignment], None] | None = None) -> None:
        """Take where the simulator begins, how many consignments a batch has, and a change of each."""
        super().__init__()
        self.rows = rows
        self._seed = seed
        self._change = change

    def fill(self, consignments: float) -> None:
        """Make as many as a phase that offers so many on average may draw: a fifth and 30 batches more."""
        missing = math.ceil(consignments * 1.2 / self.rows) + 30 - len(self)
        if missing <= 0:
            return
        for batch in Simulator(self._seed, "load").batches(missing * self.rows, size=self.rows):
            if self._change is not None:
                for row in batch:
                    self._change(row)
            self.append(ingestion_pb2.SubmitConsignmentsRequest(consignments=batch).SerializeToString())
        # Another seed has other parcels and references.
        self._seed += 1_000


def fill(pools: Mapping[str, Pool], *phases: tuple[Mapping[str, float], float]) -> None:
    """Make what phases that follow each other offer: consignments a second by filer, and seconds."""
    for filer, pool in pools.items():
        pool.fill(sum(rates.get(filer, 0.0) * seconds for rates, seconds in phases))


def goodput(calls: Iterable[Call]) -> float:
    """Return how many consignments a second were decided of a phase: from its first call to its last decision."""
    calls = list(calls)
    decided = [moment for call in calls for moment in call.decided]
    if not decided:
        return 0.0
    return sum(call.rows for call in calls if call.decided) / (max(decided) - min(call.due for call in calls))
