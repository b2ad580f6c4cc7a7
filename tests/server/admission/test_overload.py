"""Overload from outside, over real sockets: what is refused is refused before it is received, and everything has a bound."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from libs.server.admission import receiving
from libs.server.admission.slow_requests import SLOW_PER_SENDER_MAX
from libs.server.errors import details_of, reason_of, retry_after, status_of
from libs.telemetry import trace
from libs.telemetry.trace import Span
from tests.server.conftest import SERVICE
from tests.support.large_messages import send


async def attack(running: Any, method: str, role: str, count: int = 120) -> dict[str, int]:
    """Send large messages at once from another process; return how many calls ended with which code."""
    target = f"localhost:{running.server.port}"
    return await send(running.authority.directory, target, method, role, count=count)


def peak_mib(*, reset: bool = False) -> float:
    """Return the most memory that this process had since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@pytest.mark.parametrize(
    ("method", "role", "code"),
    [
        (f"/{SERVICE}/Echo", "carrier", "PERMISSION_DENIED"),
        (f"/{SERVICE}/Missing", "filer", "UNIMPLEMENTED"),
        (f"/{SERVICE}/Echo", "king", "UNAUTHENTICATED"),
    ],
)
async def test_large_messages_from_who_may_not_call_take_no_memory(
    start: Any, method: str, role: str, code: str
) -> None:
    running = await start()
    before = peak_mib(reset=True)
    assert await attack(running, method, role) == {code: 120}
    assert peak_mib() - before < 64
    assert running.servicer.seen == []


async def test_large_messages_to_the_health_service_take_bounded_memory(start: Any) -> None:
    running = await start()
    before = peak_mib(reset=True)
    ends = await attack(running, "/grpc.health.v1.Health/Check", "carrier", count=60)
    assert sum(ends.values()) == 60
    # A message that is read has three forms at once: the transport's slices, the buffer they are joined in, and the bytes.
    # All messages at once are 900 MiB in their first form.
    assert peak_mib() - before < 15 * 3 * receiving.OPEN_READS_PER_CALLER_MAX + 64


async def test_large_messages_from_who_may_call_take_bounded_memory(start: Any) -> None:
    running = await start(in_flight_bytes_max=str(16 * 2**20))
    before = peak_mib(reset=True)
    ends = await attack(running, f"/{SERVICE}/Echo", "filer", count=100)
    assert set(ends) <= {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}, "over the limit, or one too many"
    # One may come at a time beside those that are slow to come, each once in the transport's slices and once in one piece;
    # as much again for what is not freed yet. All at once they are 1,500 MiB, and twice that in two forms.
    assert peak_mib() - before < 2 * (SLOW_PER_SENDER_MAX + 2) * 2 * 16
    assert running.server.chain.gates.calls.outside.in_flight == 0


async def test_health_watches_are_bounded_by_caller_and_health_still_answers(start: Any) -> None:
    running = await start()
    channels = [running.channel("filer", "watcher") for _ in range(3)]
    watches = []
    for number in range(60):
        watch = health_pb2_grpc.HealthStub(channels[number % 3]).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        watches.append(watch)
    firsts = await asyncio.gather(*(watch.read() for watch in watches), return_exceptions=True)
    refusals = [first for first in firsts if isinstance(first, grpc.aio.AioRpcError)]
    assert len(firsts) - len(refusals) == receiving.WATCHES_PER_CALLER_MAX
    assert {error.code() for error in refusals} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert retry_after(refusals[0]) is not None
    other = health_pb2_grpc.HealthStub(running.channel("filer", "other"))
    assert (
        await other.Check(health_pb2.HealthCheckRequest(), timeout=5)
    ).status == health_pb2.HealthCheckResponse.SERVING
    for watch in watches:
        watch.cancel()
    open_calls = running.server.chain.open_calls
    await running.until(lambda: open_calls.watches.in_flight == 0)


async def test_connections_are_bounded(start: Any, message: Any) -> None:
    running = await start(connections_max="10")
    ends = []
    for _ in range(14):
        try:
            await running.method("Echo", running.channel())(message(), timeout=1)
            ends.append(True)
        except grpc.aio.AioRpcError:
            ends.append(False)
    assert ends.count(True) == 10


@pytest.fixture
def exported() -> Iterator[list[Span]]:
    spans: list[Span] = []

    def export(batch: Sequence[Span]) -> None:
        spans.extend(batch)

    trace.configure(ratio=0.0, slow_seconds=3600.0, export=export)
    yield spans
    trace.configure(ratio=0.0, slow_seconds=1.0, export=None)


async def test_a_call_without_room_is_refused_with_retry_info_and_costs_neither_span_nor_log_line(
    start: Any, message: Any, exported: list[Span], capsys: pytest.CaptureFixture[str]
) -> None:
    running = await start(long_polls_max="1", long_polls_per_caller_max="1", in_flight_max="2")
    channel = running.channel()
    holding = [running.channel("filer", f"holding-{number}") for number in range(2)]
    hold = [asyncio.ensure_future(running.method("Hold", each)(message(), timeout=60)) for each in holding]
    await running.until(lambda: running.server.chain.gates.calls.outside.in_flight == 2)
    capsys.readouterr()
    calls = [
        running.method("Echo", channel)(
            message(), timeout=10, metadata=(("x-request-id", f"r-{number}"), ("traceparent", SAMPLED))
        )
        for number in range(20)
    ]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    for number, error in enumerate(ends):
        assert isinstance(error, grpc.aio.AioRpcError)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(error) in ("OVERLOADED", "CALLER_OVER_SHARE")
        assert retry_after(error)
        request = details_of(status_of(error), error_details_pb2.RequestInfo)
        assert request is not None
        assert request.request_id == f"r-{number}"
    assert [span for span in exported if span.name.endswith("/Echo")] == []
    assert "OVER" not in capsys.readouterr().err
    running.servicer.leave.set()
    await asyncio.gather(*hold)


SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
