"""Export by OTLP: to a real receiver, and to a dead one that must slow nothing."""

import socket
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from libs import telemetry

HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: list[str] = []

    def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.services.append(names["service.name"])
            self.spans.extend(span for scope in resource.scope_spans for span in scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, int]]:
    kept = Receiver()
    with futures.ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        register: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        register(kept, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield kept, port
        server.stop(0).wait()


def environ(port: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "LUXOR_TRACE_RATIO": "0"}


def test_spans_arrive_with_ids_times_links_and_failure(
    receiver: tuple[Receiver, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, port = receiver
    started = telemetry.setup("ingestion", environ(port, monkeypatch))
    with telemetry.span("outer", parent=HEADER, links=[HEADER, "nonsense"]) as failed:
        with telemetry.span("inner", attributes={"rows": 500}):
            pass
        failed.fail("KeyError")
    started.close(10)
    outer, inner = kept.spans
    assert kept.services == ["luxor-ingestion"]
    assert (outer.name, outer.trace_id.hex(), outer.parent_span_id.hex()) == ("outer", HEADER[3:35], HEADER[36:52])
    assert inner.parent_span_id == outer.span_id
    assert len(outer.links) == 1
    assert (outer.status.message, inner.status.message) == ("KeyError", "")
    assert inner.attributes[0].value.int_value == 500
    assert 0 < outer.start_time_unix_nano <= inner.start_time_unix_nano <= outer.end_time_unix_nano


def test_a_dead_collector_slows_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = telemetry.setup("ingestion", environ(port, monkeypatch))
    begun = time.perf_counter()
    for _ in range(6000):  # more than the queue holds
        with telemetry.span("batch", parent=HEADER):
            pass
    seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    started.close(0.2)
    assert time.perf_counter() - begun < 5
    # Some 20 µs a span, more on a busy machine; a collector that was waited for would take seconds for each of them.
    assert seconds < 60


def test_without_an_endpoint_opentelemetry_is_not_even_loaded() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from libs import telemetry; telemetry.setup('risk', {});"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n"
