"""Channels: retries within the deadline, the deadline that shrinks, the trace that goes along."""

import asyncio
import time
from typing import Any

import grpc
import pytest

from libs import telemetry
from libs.server import call, errors
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role
from libs.server.transport.channel import channel, invoke
from tests.server.conftest import own_port


async def test_a_refusal_with_retry_info_is_waited_out_with_the_same_request(start: Any, message: Any) -> None:
    running = await start()
    waits: list[float] = []

    async def refuse_twice(request: Any, _context: Any) -> Any:
        if len(running.servicer.seen) < 3:
            raise Refusal("OVERLOADED", retry_after_seconds=0.5, in_flight=1)
        return request

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    running.servicer.behaviour = refuse_twice
    batch = message()
    batch.field_violations.add(field="same")
    assert await invoke(running.method("Echo"), batch, timeout=10, sleep=sleep) == batch
    assert running.servicer.seen == [batch] * 3
    assert len(waits) == 2
    assert all(0.5 <= wait <= 0.75 for wait in waits)


async def test_a_wait_beyond_the_deadline_is_not_begun(start: Any, message: Any) -> None:
    running = await start()

    async def refuse(_request: Any, _context: Any) -> Any:
        raise Refusal("OVERLOADED", retry_after_seconds=60, in_flight=1)

    running.servicer.behaviour = refuse
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(invoke(running.method("Echo"), message(), timeout=10), 5)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(running.servicer.seen) == 1


async def test_a_refusal_for_good_is_not_repeated(start: Any, message: Any) -> None:
    running = await start()

    async def refuse(_request: Any, _context: Any) -> Any:
        raise Refusal("REQUEST_REUSED")

    running.servicer.behaviour = refuse
    with pytest.raises(grpc.aio.AioRpcError):
        await invoke(running.method("Echo"), message(), timeout=10)
    assert len(running.servicer.seen) == 1


async def test_a_large_request_is_retried_by_grpc_itself(start: Any, message: Any) -> None:
    running = await start()

    async def fail_once(request: Any, _context: Any) -> Any:
        if len(running.servicer.seen) < 2:
            raise Refusal("STORE_UNAVAILABLE")
        return request

    running.servicer.behaviour = fail_once
    batch = message()
    batch.field_violations.add(description="x" * 2_000_000)
    # gRPC buffers 256 KiB for retries unless told otherwise.
    assert await running.method("Echo")(batch, timeout=10) == batch
    assert len(running.servicer.seen) == 2


async def test_a_call_goes_through_when_the_server_comes_back(start: Any, message: Any) -> None:
    port = own_port()
    first = await start(ingestion_port=str(port), ingestion_health_port="0", ingestion_metrics_port="0")
    echo = first.method("Echo")
    await echo(message(), timeout=5)
    first.server.stop()
    await first.task
    failed = asyncio.Event()

    async def sleep(seconds: float) -> None:
        failed.set()
        await asyncio.sleep(seconds)

    pending = asyncio.create_task(invoke(echo, message(), timeout=60, sleep=sleep))
    await failed.wait()
    second = await start(ingestion_port=str(port), ingestion_health_port="0", ingestion_metrics_port="0")
    assert await pending == message()
    assert len(second.servicer.seen) == 1


async def test_a_server_that_is_away_for_longer_than_an_answer_may_take_is_waited_for_with_patience(
    start: Any, message: Any
) -> None:
    port = own_port()
    first = await start(ingestion_port=str(port), ingestion_health_port="0", ingestion_metrics_port="0")
    echo = first.method("Echo")
    await echo(message(), timeout=5)
    first.server.stop()
    await first.task
    with pytest.raises(grpc.aio.AioRpcError):
        await invoke(echo, message(), timeout=0.5, patience=0.6)
    long_away = asyncio.Event()
    waited = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal waited
        waited += seconds
        if waited > 2:
            long_away.set()
        await asyncio.sleep(seconds)

    pending = asyncio.create_task(invoke(echo, message(), timeout=2, patience=60, sleep=sleep))
    await long_away.wait()
    second = await start(ingestion_port=str(port), ingestion_health_port="0", ingestion_metrics_port="0")
    assert await pending == message()
    assert len(second.servicer.seen) == 1


async def test_a_reason_that_was_told_is_not_forgotten_when_the_last_try_has_no_time(start: Any, message: Any) -> None:
    running = await start()

    async def refuse_then_hang(request: Any, _context: Any) -> Any:
        if len(running.servicer.seen) > 1:
            await asyncio.Event().wait()
        raise Refusal("STORE_FULL", store="ingestion", retry_after_seconds=0.1)

    echo = running.method("Echo")
    await echo(message(), timeout=10)  # connected, so that all of the time is there for the two tries
    running.servicer.seen.clear()
    running.servicer.behaviour = refuse_then_hang
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await invoke(echo, message(), timeout=2)
    assert errors.reason_of(caught.value) == "STORE_FULL"
    assert len(running.servicer.seen) == 2


async def test_deadline_and_trace_of_the_served_call_go_to_the_neighbour(start: Any, message: Any) -> None:
    running = await start()
    seen: list[call.Call] = []

    async def look(request: Any, _context: Any) -> Any:
        seen.append(call.current())
        assert call.current().deadline < 10.1
        return request

    running.servicer.behaviour = look

    async def serve() -> None:
        header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
        telemetry.use_traceparent(header)
        ends_at = time.monotonic() + 10
        call.enter(call.Call(Identity(Role.FILER, "acme"), "m", "r", header, ends_at))
        await running.method("Echo")(message(), timeout=30)
        await running.method("Echo")(message())

    await asyncio.create_task(serve())
    assert [each.trace[3:35] for each in seen] == ["0af7651916cd43dd8448eb211c80319c"] * 2


async def test_a_bare_address_resolves_all_of_its_addresses(start: Any, message: Any) -> None:
    running = await start()
    party = running.authority.issue("filer", "acme")
    async with channel(f"localhost:{running.server.port}", party) as open_channel:
        assert open_channel.target == f"dns:///localhost:{running.server.port}"
        await running.method("Echo", open_channel)(message(), timeout=5)
