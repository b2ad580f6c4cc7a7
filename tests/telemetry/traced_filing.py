"""Traffic with personal data for a system that exports its spans."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.cli.local.supervisor import LocalSystem
from libs.simulator import Simulator
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.support.flow import Flow

BATCH = 40


def environment(endpoint: str, **more: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_INSECURE": "true", **more}


def consignments(count: int, seed: int) -> list[list[Consignment]]:
    """Make traffic up, and give each consignment all that could tell of a person."""
    batches = list(Simulator(seed, "everyday").batches(count, BATCH))
    for place, each in enumerate(row for batch in batches for row in batch):
        for name in ("consignor", "consignee"):
            party = getattr(each, name)
            party.phone, party.email = f"+4930{place:07d}", f"{name}{place}@people.example"
            party.name, party.address.street = f"Erika Mustermann {name} {place}", f"Heidestraße {place}"
    return batches


@asynccontextmanager
async def filing(system: LocalSystem) -> AsyncIterator[Flow]:
    async with Flow(system) as flow:
        await flow.filer.wait_ready()
        yield flow


async def counted(flow: Flow, *, seconds: float = 90.0) -> None:
    """Wait until statistics has counted all that was accepted, whatever became of it."""
    ends_at = time.monotonic() + seconds
    while sum((states := await flow.counted("state")).values()) < len(flow.filed.accepted):
        assert time.monotonic() < ends_at, states
        await asyncio.sleep(0.05)
