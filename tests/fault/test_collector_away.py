"""A collector that is dead, or takes what comes and never answers: filing is not slower, and a process ends in time."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.flow import local_system
from tests.telemetry.receiver import receiving
from tests.telemetry.traced_filing import BATCH, consignments, counted, environment, filing

pytestmark = pytest.mark.fault


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["silent", "dead"])
async def test_a_collector_that_never_answers_neither_slows_filing_nor_delays_the_end(kind: str) -> None:
    batches = consignments(10 * BATCH, 20_261_128)
    with receiving(silent=True) as receiver:
        endpoint = receiver.endpoint if kind == "silent" else "http://127.0.0.1:9"
        async with local_system(env=environment(endpoint, LUXOR_TRACE_RATIO="1")) as system, filing(system) as flow:
            await flow.submit(batches[0], "first")
            if kind == "silent":
                assert await asyncio.to_thread(receiver.asked.wait, 60), "the collector was never asked"
            begun = time.monotonic()
            for place, batch in enumerate(batches[1:]):
                await flow.submit(batch, f"unheard-{place}")
            await counted(flow, seconds=60)
            seconds = time.monotonic() - begun
            begun = time.monotonic()
            await asyncio.to_thread(system.restart, "ingestion")
            ending = time.monotonic() - begun
        # A call that waited for the collector would wait for its timeout, 10 s, each time.
        assert seconds < 45, f"nine batches took {seconds:.1f} s"
        assert ending < 10, f"the end took {ending:.1f} s"
