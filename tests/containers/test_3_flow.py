"""A manifest from outside; then kills, a cut network, a full disk and restarts under load: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Sequence
from itertools import count

import pytest

from libs.cli.local.state import SERVICES
from libs.client.errors import LuxorError
from libs.simulator import Simulator
from luxor.clearance.v1.clearance_pb2 import StatusQuery
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.containers.composed import STORES, Composed, until
from tests.containers.conftest import Whole
from tests.fault import checks
from tests.support.flow import Flow

pytestmark = pytest.mark.timeout(400)

MANIFEST = 20_000
ROWS = 250
BATCHES = 6
KILLED_AT = 500
"""Accepted consignments of a test's own after which the victim dies: the others are being filed or decided then."""
READY_SECONDS = 30.0
"""How long a user of the client library waits at most for a service that is restarted."""

_seeds = count(20_261_125)


def traffic(batches: int, *, rows: int = ROWS) -> list[list[Consignment]]:
    """Batches that no other test files."""
    return list(Simulator(next(_seeds), "everyday").batches(batches * rows, size=rows))


async def assert_all_decided_once(flow: Flow, whole: Whole) -> None:
    """What this filer filed is decided once and told once, and statistics has counted all that was ever filed, no more."""
    assert flow.filed.refused == []
    own = flow.filed.accepted
    everything = whole.accepted | own
    assert len(everything) == len(whole.accepted) + len(own)
    states = await flow.settled(len(everything), seconds=180)
    assert sum(states.values()) == len(everything)
    statuses = await checks.histories(flow, list(own.values()))
    checks.assert_decided_once(statuses)
    await checks.assert_told_once(flow, statuses)


async def test_a_manifest_of_20000_filed_from_outside_is_decided_and_counted(whole: Whole, flow: Flow) -> None:
    began = time.monotonic()
    await flow.run(traffic(MANIFEST // 500, rows=500), name="manifest")
    filed = time.monotonic() - began
    assert len(flow.filed.accepted) == MANIFEST
    await assert_all_decided_once(flow, whole)
    print(
        f"\n{MANIFEST:,} consignments filed from outside in {filed:.1f} s, decided and counted {time.monotonic() - began:.1f} s after the first"
    )
    statuses = await checks.histories(flow, list(flow.filed.accepted.values()))
    await checks.assert_statistics_agree(flow, statuses)


@pytest.mark.parametrize("victim", [*SERVICES, *STORES])
async def test_a_container_killed_under_load_loses_nothing_and_repeats_nothing(
    whole: Whole, flow: Flow, victim: str
) -> None:
    system = whole.system
    batches = traffic(BATCHES)
    filing = asyncio.create_task(flow.run(batches, name=victim))
    while len(flow.filed.accepted) < KILLED_AT and not filing.done():
        await asyncio.wait({filing}, timeout=0.005)
    container = system.container(victim)
    await asyncio.to_thread(container.kill)
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 137
    assert not filing.done() or victim not in {"ingestion", "ingestion-store"}
    # The engine does not restart what an operator killed.
    await asyncio.to_thread(container.start)
    await filing
    await assert_all_decided_once(flow, whole)


@pytest.mark.parametrize("victim", ["clearance", "clearance-store"])
async def test_a_process_that_dies_is_started_again_by_the_engine(whole: Whole, flow: Flow, victim: str) -> None:
    container = whole.system.container(victim)
    before = container.attrs["RestartCount"]
    filing = asyncio.create_task(flow.run(traffic(2), name=f"crash-{victim}"))
    os.kill(container.attrs["State"]["Pid"], signal.SIGKILL)

    async def back() -> bool:
        await asyncio.to_thread(container.reload)
        return container.status == "running" and container.attrs["RestartCount"] == before + 1

    await until(back, f"{victim} runs again")
    await filing
    await assert_all_decided_once(flow, whole)


async def test_a_cut_network_between_two_services_holds_decisions_up_and_nothing_else(whole: Whole, flow: Flow) -> None:
    system = whole.system
    network = system.engine.networks.list(names=[f"{system.project}_risk-grpc"])[0]
    clearance = system.container("clearance")
    counted = sum((await flow.counted()).values())
    await asyncio.to_thread(network.disconnect, clearance)
    try:
        batches = traffic(4)
        await flow.run(batches[:2], name="cut")
        accepted = list(flow.filed.accepted.values())
        assert len(accepted) == 2 * ROWS

        async def told() -> bool:
            return '"neighbour":"risk"' in await asyncio.to_thread(system.logs, "clearance", 200)

        await until(told, "clearance tells that risk is away")
        assert sum((await flow.counted()).values()) == counted
        assert await asyncio.to_thread(system.is_ready, "clearance")
        older = list(whole.accepted.values())[:100]
        assert len(await flow.statuses(older)) == len(older)
    finally:
        await asyncio.to_thread(network.connect, clearance)
    await flow.run(batches[2:], name="joined")
    await assert_all_decided_once(flow, whole)


async def test_a_full_disk_under_one_store_is_told_clearly_stops_nobody_else_and_passes_by_itself(
    whole: Whole, flow: Flow
) -> None:
    if whole.disk is None:
        pytest.skip("this machine does not mount a small file system for us (root and loop devices are needed)")
    system, disk = whole.system, whole.disk
    batches = traffic(40)
    await flow.run(batches[:1], name="before")
    await flow.settled(len(whole.accepted) + len(flow.filed.accepted))
    restarts = {name: system.container(name).attrs["RestartCount"] for name in SERVICES}
    await asyncio.to_thread(disk.fill)
    refusal, sent = await _filed_until_refused(system, flow, batches[1:])
    print(f"\nfull disk: refused after {sent * ROWS} consignments with {refusal.reason}: {refusal.sentence}")
    assert refusal.reason == "STORE_FULL"
    assert refusal.hint
    # The others go on.
    older = list(whole.accepted.values())[:200]
    assert len(await flow.statuses(older)) == len(older)
    assert sum((await flow.counted()).values()) >= len(whole.accepted)
    for name in SERVICES:
        if name != "ingestion":
            assert await asyncio.to_thread(system.is_ready, name), name
        assert system.container(name).attrs["RestartCount"] == restarts[name], name
    # PostgreSQL itself, started anew on the full disk, waits for space and says so, over and over.
    store = system.container("ingestion-store")
    await asyncio.to_thread(store.restart, timeout=60)

    async def waits() -> bool:
        return '"reason":"DISK_FULL"' in await asyncio.to_thread(system.logs, "ingestion-store", 5)

    await until(waits, "the store says that it waits for space")
    await asyncio.to_thread(disk.release)
    began = time.monotonic()
    await flow.submit(batches[1 + sent], f"full-{sent}")
    print(f"full disk: taken again {time.monotonic() - began:.1f} s after space was there")
    await flow.arrive([row for batch in batches[1 : 2 + sent] for row in batch], name="full-arrivals")
    await assert_all_decided_once(flow, whole)


async def _filed_until_refused(
    system: Composed, flow: Flow, batches: Sequence[list[Consignment]]
) -> tuple[LuxorError, int]:
    """File batch after batch, each call with some seconds only; give the refusal and how many batches were taken.

    A store whose disk is full may be away for a moment as well, since PostgreSQL may have to recover; then the batch is filed again,
    until the refusal names the disk.
    """
    from luxor.ingestion.v1 import ingestion_pb2

    for place, batch in enumerate(batches):
        answer = None
        others: list[str] = []
        flow.carried(batch)
        while answer is None:
            try:
                answer = await flow.filer.submit(batch, request_id=f"full-{place}", timeout_seconds=6.0)
            except LuxorError as error:
                if error.reason != "STORE_UNAVAILABLE" or len(others) == 10:
                    return error, place
                others.append(error.sentence)
        for row, result in zip(batch, answer.results, strict=True):
            assert result.status == ingestion_pb2.SUBMISSION_STATUS_ACCEPTED, result
            flow.filed.accepted[row.local_reference] = result.receipt.mrn
    raise AssertionError(
        f"{len(batches)} batches were taken with a full disk; ingestion's store has {system.logs('ingestion-store', 5)}"
    )


async def test_services_restarted_one_after_the_other_are_no_error_to_a_user_of_the_client(
    whole: Whole, flow: Flow
) -> None:
    system = whole.system
    known = list(whole.accepted.values())[:50]
    batches: Iterator[list[Consignment]] = Simulator(next(_seeds), "everyday").batches(100_000, size=50)
    over = asyncio.Event()
    calls = 0

    async def user() -> None:
        nonlocal calls
        place = 0
        while not over.is_set():
            rows = next(batches)
            flow.carried(rows)
            answer = await flow.filer.submit(rows, request_id=f"restart-{place}", timeout_seconds=READY_SECONDS)
            for row, result in zip(rows, answer.results, strict=True):
                flow.filed.accepted[row.local_reference] = result.receipt.mrn
            await flow.arrive(rows, name=f"restart-arrival-{place}")
            told = await flow.officer.status([StatusQuery(mrn=number) for number in known])
            assert all(len(result.consignments) == 1 for result in told.results)
            await flow.analyst.statistics(int(time.time() // 86_400) - 1, int(time.time() // 86_400))
            place += 1
            calls += 4

    flow.patience_seconds = 0.0  # arrivals, too, are the client library's to bring through
    working = asyncio.create_task(user())
    seconds = {}
    for name in SERVICES:
        container = system.container(name)
        await asyncio.to_thread(container.stop, timeout=45)
        container.reload()
        assert container.attrs["State"]["ExitCode"] == 0, system.logs(name)
        began = time.monotonic()
        await asyncio.to_thread(container.start)
        await system.until_ready(name, seconds=READY_SECONDS)
        seconds[name] = time.monotonic() - began
        before = calls
        await until(lambda b=before: asyncio.sleep(0, calls > b + 4 or working.done()), "the user goes on", seconds=60)
        assert not working.done(), working.exception()
    over.set()
    await working
    flow.patience_seconds = 120.0
    print(
        f"\nstart of a service in its container, until it is ready: {', '.join(f'{n} {s:.1f} s' for n, s in seconds.items())}"
    )
    print(f"{calls} calls of a user of the client library over {len(SERVICES)} restarts, without an error")
    await assert_all_decided_once(flow, whole)


async def test_in_the_end_statistics_and_clearance_agree_to_the_cent_over_all_that_was_filed(
    whole: Whole, flow: Flow
) -> None:
    if len(whole.accepted) < MANIFEST:
        pytest.skip("asks for what the other tests filed, and not all of them have run")
    await flow.settled(len(whole.accepted))
    statuses = await checks.histories(flow, list(whole.accepted.values()))
    checks.assert_decided_once(statuses)
    await checks.assert_statistics_agree(flow, statuses)
    async with whole.system.client("operator", "test-operator") as operator:
        for consumer in ("clearance", "statistics"):
            assert not (await operator.dead_letters(consumer)).letters
    print(f"\n{len(whole.accepted):,} consignments in all: each decided once, statistics equal")
