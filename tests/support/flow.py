"""Driving a whole local system as filers, carriers and analysts do: for end-to-end tests, fault tests and benchmarks."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from libs.cli.local.supervisor import LocalSystem
from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.client.revenue.ledger import open_deferred
from libs.simulator import Simulator
from luxor.clearance.v1 import clearance_pb2
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2
from tests.support.databases import enterable_directory

POLL_SECONDS = 0.2
CARRIER = "flow-carrier"


@asynccontextmanager
async def local_system(
    *, replicas: Mapping[str, int] | None = None, env: Mapping[str, str] | None = None, on_disk: bool = False
) -> AsyncIterator[LocalSystem]:
    """Run a whole system in a directory of its own that another account may enter; nothing of it stays.

    It is in memory where there is room, for a benchmark `on_disk`.
    """
    directory = enterable() if on_disk else enterable_directory()
    try:
        async with LocalSystem(directory, replicas=replicas, env=env) as system:
            yield system
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def enterable() -> Path:
    """Make a temporary directory on disk that another account may enter, as PostgreSQL's does where root starts it."""
    directory = Path(tempfile.mkdtemp(prefix="luxor-flow-"))
    directory.chmod(0o711)
    return directory


@dataclass
class Filed:
    """What became of filings so far."""

    accepted: dict[str, str] = field(default_factory=dict)
    """MRN by local reference."""
    refused: list[ingestion_pb2.SubmissionResult] = field(default_factory=list)
    """The refusals."""


class Flow:
    """One filer, one carrier and one analyst at a system. Calls are repeated, with the same request_id, until they are answered."""

    def __init__(
        self,
        system: LocalSystem,
        *,
        filer: str = "flow-filer",
        patience_seconds: float = 90.0,
        without_account: Sequence[str] = (),
    ) -> None:
        """Open the clients; `patience_seconds` bounds how long an answer is awaited over restarts of services.

        Declarants `without_account` get none: what they owe at the border is paid before the release.
        """
        self.system = system
        self.filer_id = filer
        self.filer: Client = system.client("filer", filer)
        self.carrier: Client = system.client("carrier", CARRIER)
        self.analyst: Client = system.client("analyst", "flow-analyst")
        self.officer: Client = system.client("officer", "flow-officer")
        self.patience_seconds = patience_seconds
        self.filed = Filed()
        self._without_account = frozenset(without_account)
        self._arrived: set[str] = set()

    async def __aenter__(self) -> Flow:
        """Open deferred accounts for the simulator's declarants, so that what this filer files is released on arrival."""
        declarants = [each for each in Simulator(1, "everyday").declarants() if each not in self._without_account]
        await self.persist(lambda: open_deferred(self.officer, declarants, [self.filer_id]))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the clients."""
        for client in (self.filer, self.carrier, self.analyst, self.officer):
            await client.close()

    async def persist(self, call: Any) -> Any:
        """Call until there is an answer that is not a passing failure."""
        ends_at = time.monotonic() + self.patience_seconds
        while True:
            try:
                return await call()
            except LuxorError as error:
                passing = error.unreachable or error.reason in PASSING
                if not passing or time.monotonic() > ends_at:
                    raise
            await asyncio.sleep(POLL_SECONDS)

    async def submit(self, rows: Sequence[Consignment], request_id: str) -> ingestion_pb2.SubmitConsignmentsResponse:
        """File a batch, which names the flow's carrier, and keep what became of it."""
        self.carried(rows)
        answer: ingestion_pb2.SubmitConsignmentsResponse = await self.persist(
            lambda: self.filer.submit(rows, request_id=request_id)
        )
        for row, result in zip(rows, answer.results, strict=True):
            if result.status == ingestion_pb2.SUBMISSION_STATUS_ACCEPTED:
                self.filed.accepted[row.local_reference] = result.receipt.mrn
            else:
                self.filed.refused.append(result)
        return answer

    @staticmethod
    def carried(rows: Iterable[Consignment]) -> None:
        """Name the flow's carrier in the rows: only a carrier that filings name reports their arrival."""
        for row in rows:
            row.carrier_identifier = CARRIER

    async def arrive(self, rows: Iterable[Consignment], *, name: str) -> None:
        """Announce the arrival of the rows' master documents, each once."""
        masters = {
            row.master_document.number: row.transport.conveyance_reference for row in rows if row.master_document.number
        }
        fresh = [number for number in masters if number not in self._arrived]
        self._arrived.update(fresh)
        now = time.time_ns() // 1000
        for start in range(0, len(fresh), 1000):
            arrivals = []
            for number in fresh[start : start + 1000]:
                arrival = clearance_pb2.Arrival(master_document_number=number, conveyance_reference=masters[number])
                arrival.arrived_at.FromMicroseconds(now)
                arrivals.append(arrival)
            request_id = f"{name}-{start}"
            await self.persist(lambda a=arrivals, r=request_id: self.carrier.record_arrivals(a, request_id=r))

    async def run(self, batches: Iterable[Sequence[Consignment]], *, name: str = "flow", in_flight: int = 4) -> None:
        """File batches, some at once, and announce the arrival of each batch's masters behind it."""
        waiting: set[asyncio.Task[None]] = set()

        async def one(place: int, rows: Sequence[Consignment]) -> None:
            await self.submit(rows, f"{name}-{place}")
            await self.arrive(rows, name=f"{name}-arrival-{place}")

        for place, rows in enumerate(batches):
            waiting.add(asyncio.create_task(one(place, rows)))
            if len(waiting) >= in_flight:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        for task in waiting:
            await task

    async def counted(self, *group_by: str) -> dict[tuple[str, ...], int]:
        """Ask statistics how many consignments it counted, by dimensions."""
        today = int(time.time() // 86_400)
        answer = await self.persist(
            lambda: self.analyst.statistics(today - 2, today + 1, group_by=group_by, max_rows=10_000)
        )
        found: dict[tuple[str, ...], int] = {}
        for row in answer.counts:
            if row.consignments:
                found[tuple(row.keys)] = found.get(tuple(row.keys), 0) + row.consignments
        return found

    async def settled(self, count: int, *, seconds: float = 120.0) -> dict[str, int]:
        """Wait until statistics has counted `count` consignments and none awaits arrival; give the states."""
        ends_at = time.monotonic() + seconds
        while True:
            states = {keys[0]: number for keys, number in (await self.counted("state")).items()}
            if sum(states.values()) >= count and not states.get("AWAITING_ARRIVAL"):
                return states
            if time.monotonic() > ends_at:
                raise TimeoutError(
                    f"after {seconds:.0f} s statistics counts {states}, not {count} that are released or held"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def decided(self, mrns: Sequence[str], *, seconds: float = 120.0) -> None:
        """Wait until clearance has decided consignments."""
        ends_at = time.monotonic() + seconds
        waiting = list(mrns)
        while waiting:
            queries = [clearance_pb2.StatusQuery(mrn=number) for number in waiting[:500]]
            answer = await self.persist(lambda q=queries: self.officer.status(q))
            left = [query.mrn for query, result in zip(queries, answer.results, strict=True) if not result.consignments]
            waiting[:500] = left
            if left:
                if time.monotonic() > ends_at:
                    raise TimeoutError(f"after {seconds:.0f} s {len(waiting)} consignments are not decided")
                await asyncio.sleep(POLL_SECONDS)

    async def statuses(self, mrns: Sequence[str]) -> list[clearance_pb2.ConsignmentStatus]:
        """Ask clearance for consignments by MRN; each must be known."""
        found: list[clearance_pb2.ConsignmentStatus] = []
        for start in range(0, len(mrns), 500):
            queries = [clearance_pb2.StatusQuery(mrn=number) for number in mrns[start : start + 500]]
            answer = await self.persist(lambda q=queries: self.officer.status(q))
            for result in answer.results:
                if len(result.consignments) != 1:
                    raise AssertionError(f"a consignment is told {len(result.consignments)} times: {result.error}")
                found.append(result.consignments[0])
        return found


PASSING = frozenset(
    {
        "STORE_UNAVAILABLE",
        "STORE_FULL",
        "NEIGHBOUR_UNAVAILABLE",
        "NOT_READY",
        "SHUTTING_DOWN",
        "OVERLOADED",
        "CALLER_OVER_SHARE",
        "DECISIONS_BEHIND",
        "DEADLINE_EXCEEDED",
        "CLIENT_DEADLINE",
    }
)
"""Reasons after which the same request is sent again."""
