"""Refusals of health and reflection, which stand outside of the chain: a code, a reason and when to come back, as of every other call."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from libs.server.admission import receiving
from libs.server.errors import details_of, reason_of, retry_after, status_of
from libs.server.process import reflection

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"


async def silence() -> AsyncIterator[bytes]:
    """Send nothing, and do not end."""
    await asyncio.Event().wait()
    yield b""


def called(running: Any, requests: Any, method: str = CHECK, ident: str = "slow") -> Any:
    """Begin a call by bytes, as the method has them on the wire."""
    return running.channel("filer", ident).stream_unary(method)(
        requests, timeout=20, metadata=(("x-request-id", "r-1"),)
    )


async def refusal(call: Any, request_id: str = "") -> tuple[grpc.StatusCode, str, bool]:
    """Return code, reason, and whether the client learns when to come back; the refusal has the id of the request."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    request = details_of(status_of(caught.value), error_details_pb2.RequestInfo)
    assert ("" if request is None else request.request_id) == request_id
    return caught.value.code(), reason_of(caught.value), retry_after(caught.value) is not None


async def test_a_health_call_without_room_is_refused_as_overload_and_one_that_does_not_come_as_late(start: Any) -> None:
    running = await start()
    late = [called(running, silence()) for _ in range(receiving.OPEN_READS_PER_CALLER_MAX)]
    reads = running.server.chain.open_calls.reads
    await running.until(lambda: reads.in_flight == len(late))
    code, reason, comes_back = await refusal(called(running, silence()), "r-1")
    assert (code, comes_back) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
    assert reason in ("OVERLOADED", "CALLER_OVER_SHARE")
    for call in late:
        assert await refusal(call, "r-1") == (grpc.StatusCode.DEADLINE_EXCEEDED, "REQUEST_NOT_RECEIVED", False)
    await running.until(lambda: reads.in_flight == 0)


async def test_what_is_no_health_request_is_refused_with_its_reason(start: Any) -> None:
    running = await start()
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert await refusal(called(running, iter([b"\xff"])), "r-1") == (invalid, "UNDECODABLE", False)
    assert await refusal(called(running, iter([])), "r-1") == (invalid, "REQUEST_EMPTY", False)
    unknown = health_pb2.HealthCheckRequest(service="nobody").SerializeToString()
    assert await refusal(called(running, iter([unknown]))) == (grpc.StatusCode.NOT_FOUND, "HEALTH_NAME_UNKNOWN", False)


async def test_a_watch_without_room_is_refused_with_reason_and_time(start: Any) -> None:
    running = await start()
    channel = running.channel("filer", "watcher")
    request = health_pb2.HealthCheckRequest().SerializeToString()
    watches = [channel.unary_stream(WATCH)(request, timeout=30) for _ in range(receiving.WATCHES_PER_CALLER_MAX)]
    await asyncio.gather(*(watch.read() for watch in watches))
    over = channel.unary_stream(WATCH)(request, timeout=30)
    assert await refusal(over.read()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_LONG_POLLS", True)
    for watch in watches:
        watch.cancel()


async def test_a_stream_of_reflection_ends_with_its_reason(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflection, "SECONDS_MAX", 0.2)
    running = await start()

    async def asking() -> AsyncIterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(list_services="*")
        await asyncio.Event().wait()

    call = running.channel("filer", "acme").stream_stream(
        f"/{reflection.SERVICES[0]}/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )(asking(), timeout=20)
    assert (await call.read()).list_services_response.service
    assert await refusal(call.read()) == (grpc.StatusCode.DEADLINE_EXCEEDED, "REFLECTION_ENDED", False)
