"""A call that is served is a span: what it tells, when it counts as failed, and which calls are none."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import pytest

from libs import telemetry
from libs.server import call
from libs.server.errors import Refusal
from libs.telemetry import trace
from libs.telemetry.trace import SERVER, Span

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = SAMPLED[:-1] + "0"
SERVICE = "luxor.test.v1.TestService"


@pytest.fixture
def exported() -> Iterator[list[Span]]:
    spans: list[Span] = []

    def export(batch: Sequence[Span]) -> None:
        spans.extend(batch)

    trace.configure(ratio=0.0, slow_seconds=3600.0, export=export)
    yield spans
    trace.configure(ratio=0.0, slow_seconds=1.0, export=None)


async def test_a_call_is_a_span_of_its_caller_s_trace_and_work_inside_hangs_under_it(
    start: Any, message: Any, exported: list[Span]
) -> None:
    running = await start()
    seen: list[str] = []

    async def work(request: Any, _context: Any) -> Any:
        with telemetry.span("work"):
            seen.append(call.current().trace)
        return request

    running.servicer.behaviour = work
    await running.method("Echo")(message(), timeout=5, metadata=(("traceparent", SAMPLED),))
    await running.until(lambda: len(exported) == 2)
    served, inner = exported
    assert (served.name, served.kind) == (f"{SERVICE}/Echo", SERVER)
    assert (served.trace_id, served.parent_id, served.failure) == (SAMPLED[3:35], SAMPLED[36:52], "")
    assert served.attributes == {
        "rpc.system": "grpc",
        "rpc.service": SERVICE,
        "rpc.method": "Echo",
        "luxor.caller.role": "filer",
    }
    assert inner.parent_id == served.span_id
    assert seen == [served.traceparent]


async def test_a_long_poll_is_no_span_and_its_context_is_passed_on(
    start: Any, message: Any, exported: list[Span]
) -> None:
    running = await start()
    seen: list[str] = []

    async def look(request: Any, _context: Any) -> Any:
        seen.append(telemetry.traceparent())
        assert trace.current_span() is None
        return request

    running.servicer.Hold = look
    polling = running.method("Poll")(message(), timeout=5, metadata=(("traceparent", SAMPLED),))
    await polling
    assert seen == [UNSAMPLED], "its ids; whether it is sampled is not the caller's to say"
    assert exported == []


async def test_what_is_the_caller_s_fault_is_no_failure_and_what_is_ours_is(
    start: Any, message: Any, exported: list[Span]
) -> None:
    running = await start()
    errors: list[Exception] = [
        Refusal("MRN_MALFORMED", path="mrn", value="x"),
        KeyError("Erika Mustermann"),
        Refusal("STORE_FULL", store="risk"),
    ]

    async def fail(_request: Any, _context: Any) -> Any:
        raise errors.pop(0)

    running.servicer.behaviour = fail
    for _ in range(3):
        with pytest.raises(grpc.aio.AioRpcError):
            await running.method("Echo")(message(), timeout=5, metadata=(("traceparent", UNSAMPLED),))
    with pytest.raises(grpc.aio.AioRpcError):
        await running.method("Echo", running.channel("carrier", "fly"))(
            message(), timeout=5, metadata=(("traceparent", UNSAMPLED),)
        )
    await running.until(lambda: len(exported) == 2)
    failed, full = exported
    assert full.failure == "STORE_FULL"
    assert full.attributes["rpc.response.status_code"] == "RESOURCE_EXHAUSTED"
    assert failed.failure == failed.attributes["error.type"] == "INTERNAL"
    assert failed.attributes["rpc.response.status_code"] == "INTERNAL"
    assert not failed.sampled
    assert "Erika" not in str(failed.attributes)


async def test_a_refused_call_that_is_sampled_tells_the_reason(start: Any, message: Any, exported: list[Span]) -> None:
    running = await start()
    with pytest.raises(grpc.aio.AioRpcError):
        await running.method("Echo", running.channel("carrier", "fly"))(
            message(), timeout=5, metadata=(("traceparent", SAMPLED),)
        )
    await running.until(lambda: len(exported) == 1)
    assert exported[0].failure == ""
    assert exported[0].attributes["error.type"] == "ROLE_NOT_ALLOWED"


async def test_a_caller_from_outside_cannot_have_everything_sampled(
    start: Any, message: Any, exported: list[Span]
) -> None:
    running = await start()
    trace.configure(ratio=0.0, slow_seconds=3600.0, export=exported.extend, clock=lambda: 5_000_000_000)
    seen: list[bool] = []

    async def look(request: Any, _context: Any) -> Any:
        seen.append(call.current().trace.endswith("-01"))
        return request

    running.servicer.behaviour = running.servicer.Hold = look
    outsiders = running.channel("filer", "acme")
    await running.method("Poll", outsiders)(message(), timeout=5, metadata=(("traceparent", SAMPLED),))
    for _ in range(20):
        await running.method("Echo", outsiders)(message(), timeout=5, metadata=(("traceparent", SAMPLED),))
    for _ in range(5):  # refused before anything is done
        with pytest.raises(grpc.aio.AioRpcError):
            await running.method("Echo", running.channel("carrier", "fly"))(
                message(), timeout=5, metadata=(("traceparent", SAMPLED),)
            )
    assert seen == [False, True] + [False] * 19, "a long poll never is, of the calls one a second"
    await running.until(lambda: len(exported) == 1)
    assert exported[0].trace_id == SAMPLED[3:35]


async def test_a_service_s_flag_is_followed(start: Any, message: Any, exported: list[Span]) -> None:
    running = await start()
    trace.configure(ratio=0.0, slow_seconds=3600.0, export=exported.extend, clock=lambda: 5_000_000_000)
    method = running.method("Echo", running.channel("service", "clearance"))
    for _ in range(5):  # the role may not call this one, which does not matter here
        with pytest.raises(grpc.aio.AioRpcError):
            await method(message(), timeout=5, metadata=(("traceparent", SAMPLED),))
    await running.until(lambda: len(exported) == 5)
    assert {each.attributes["luxor.caller.role"] for each in exported} == {"service"}


async def test_a_call_that_its_client_gave_up_ends_its_span(start: Any, message: Any, exported: list[Span]) -> None:
    running = await start()
    calling = running.method("Hold")(message(), timeout=30, metadata=(("traceparent", SAMPLED),))
    waiting = asyncio.ensure_future(calling)
    await running.servicer.entered.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await running.until(lambda: len(exported) == 1)
    assert exported[0].attributes["error.type"] == "CANCELLED"
    assert exported[0].failure == ""


async def test_the_head_is_drawn_for_callers_from_outside(start: Any, message: Any, exported: list[Span]) -> None:
    running = await start()
    method = running.method("Echo")
    await method(message(), timeout=5, metadata=(("traceparent", UNSAMPLED),))
    assert exported == []
    trace.configure(ratio=1.0, slow_seconds=3600.0, export=exported.extend)
    await method(message(), timeout=5, metadata=(("traceparent", UNSAMPLED),))
    await method(message(), timeout=5)
    await running.until(lambda: len(exported) == 2)
    assert [each.sampled for each in exported] == [True, True]
    assert (exported[0].trace_id, exported[0].parent_id) == (UNSAMPLED[3:35], UNSAMPLED[36:52])
    assert exported[1].parent_id == ""
