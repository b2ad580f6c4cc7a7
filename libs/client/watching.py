"""Following a whole manifest through the system: filing, statistics, and the state of each consignment."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from libs.client.client import Client
from libs.client.filing.submission import Submits, submit_patiently
from luxor.clearance.v1.clearance_pb2 import ConsignmentStatus, StatusQuery
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2

ACCEPTED = ingestion_pb2.SUBMISSION_STATUS_ACCEPTED


class Filed(Protocol):
    """A consignment and who files it."""

    @property
    def message(self) -> Consignment:
        """The consignment."""
        ...

    @property
    def filer(self) -> str:
        """Id of the filer."""
        ...


async def file_for_many(
    clients: Mapping[str, Submits],
    consignments: Iterable[Filed],
    *,
    batch_rows: int = 500,
    in_flight: int = 4,
    progress: Callable[[int, int], None] = lambda _accepted, _refused: None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> tuple[int, dict[str, int]]:
    """File a stream of many filers' consignments, each under its filer's certificate.

    Return how many were accepted, and how many refused by reason. Batches are repeated while ingestion asks to wait.
    """
    waiting: set[asyncio.Task[None]] = set()
    batches: dict[str, list[Consignment]] = {}
    accepted, refused = 0, dict[str, int]()

    async def submit(filer: str, batch: list[Consignment]) -> None:
        nonlocal accepted
        response = await submit_patiently(clients[filer], batch, str(uuid.uuid4()), sleep=sleep)
        for result in response.results:
            if result.status == ACCEPTED:
                accepted += 1
            else:
                reason = result.errors[0].reason if result.errors else "REFUSED"
                refused[reason] = refused.get(reason, 0) + 1
        progress(accepted, sum(refused.values()))

    async def send(filer: str) -> None:
        nonlocal waiting
        if len(waiting) >= in_flight:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        waiting.add(asyncio.create_task(submit(filer, batches.pop(filer))))
        await asyncio.sleep(0)

    try:
        for each in consignments:
            batch = batches.setdefault(each.filer, [])
            batch.append(each.message)
            if len(batch) == batch_rows:
                await send(each.filer)
        for filer in list(batches):
            await send(filer)
        await asyncio.gather(*waiting)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return accepted, refused


async def states(client: Client, from_day: int, to_day: int) -> dict[str, int]:
    """Return how many consignments statistics has counted in each state: RELEASED, HELD, AWAITING_ARRIVAL."""
    answer = await client.statistics(from_day, to_day, group_by=["state"])
    found: dict[str, int] = {}
    for row in answer.counts:
        found[row.keys[0]] = found.get(row.keys[0], 0) + row.consignments
    return found


async def statuses(client: Client, masters: Iterable[str]) -> AsyncIterator[ConsignmentStatus]:
    """Yield all that is known of each consignment under master documents, a page at a time."""
    for master in masters:
        token = ""
        while True:
            query = StatusQuery(master_document_number=master, page_size=1000, page_token=token)
            result = (await client.status([query])).results[0]
            for each in result.consignments:
                yield each
            token = result.next_page_token
            if not token:
                break


def micros(stamp: Any) -> int:
    """Return a Timestamp in microseconds since 1970."""
    found: int = stamp.seconds * 1_000_000 + stamp.nanos // 1000
    return found
