"""Export by OTLP: to a real receiver, and to one that is dead or silent, which must slow nothing."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from libs import telemetry
from libs.telemetry import otlp, trace
from libs.telemetry.drops import DROPPED
from libs.telemetry.setup import setup as set_up_telemetry
from libs.telemetry.trace import CLIENT, SERVER
from tests.telemetry.receiver import Receiver, attributes, receiving

HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-1bf7651916cd43dd8448eb211c80319c-c7ad6b7169203331-00"


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """What an exporter that was cut has on its way is counted by its thread, and so would be by the next test."""
    yield
    for thread in threading.enumerate():
        if thread.name == "otlp":
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as kept:
        yield kept


def environ(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    # OpenTelemetry's exporter reads the process's own environment.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "LUXOR_TRACE_RATIO": "0",
        "LUXOR_SLOW_MILLIS": "3600000",
        "LUXOR_DEPLOYMENT": "customs-test",
    }


def dropped() -> float:
    """Return how many spans did not reach the collector in this process so far."""
    (samples,) = DROPPED.labels("collector").collect()
    return next(each.value for each in samples.samples if each.name.endswith("_total"))


@contextmanager
def dead_port() -> Iterator[int]:
    """Hold a port at which nobody listens, and nobody else can meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_spans_arrive_with_ids_times_kinds_links_and_failure(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = set_up_telemetry("ingestion", environ(receiver.endpoint, monkeypatch))
    with telemetry.span("outer", parent=HEADER, links=[HEADER, "nonsense", OTHER], kind=SERVER) as failed:
        with telemetry.client_span("inner", {"rows": 500, "ratio": 0.5, "whole": True, "what": "batch"}):
            pass
        failed.fail("KeyError")
    started.close(10)
    (_, outer), (_, inner) = receiver.spans
    assert (outer.name, outer.trace_id.hex(), outer.parent_span_id.hex()) == ("outer", HEADER[3:35], HEADER[36:52])
    assert (outer.kind, inner.kind) == (SERVER + 1, CLIENT + 1)
    assert inner.parent_span_id == outer.span_id
    # Bit 0 is W3C's sampled flag, bits 8 and 9 tell whether the other side is remote.
    assert [(link.trace_id.hex(), link.flags) for link in outer.links] == [
        (HEADER[3:35], 0x301),
        (OTHER[3:35], 0x300),
    ]
    assert (outer.flags, inner.flags) == (0x301, 0x101)
    assert (outer.status.message, outer.status.code, inner.status.code) == ("KeyError", 2, 0)
    assert attributes(inner) == {"rows": 500, "ratio": 0.5, "whole": True, "what": "batch"}
    assert 0 < outer.start_time_unix_nano <= inner.start_time_unix_nano <= outer.end_time_unix_nano


def test_the_resource_tells_service_version_instance_and_deployment(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = set_up_telemetry("revenue", environ(receiver.endpoint, monkeypatch))
    with telemetry.span("x", parent=HEADER):
        pass
    started.close(10)
    (resource,) = receiver.resources
    assert resource["service.name"] == "luxor-revenue"
    assert resource["deployment.environment.name"] == "customs-test"
    assert resource["service.version"]
    assert len(resource["service.instance.id"]) == 36


def test_a_failed_span_of_an_unsampled_trace_arrives_without_the_flag(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = set_up_telemetry("risk", environ(receiver.endpoint, monkeypatch))
    with telemetry.span("good", parent=OTHER):
        pass
    with telemetry.span("bad", parent=OTHER) as bad:
        bad.fail("STORE_UNAVAILABLE")
    started.close(10)
    assert [(span.name, span.flags & 1) for _, span in receiver.spans] == [("bad", 0)]


@pytest.mark.parametrize("kind", ["dead", "silent"])
def test_a_collector_that_does_not_answer_slows_nothing_and_what_is_lost_is_counted(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving(silent=True) as silent, dead_port() as dead:
        endpoint = silent.endpoint if kind == "silent" else f"http://127.0.0.1:{dead}"
        started = set_up_telemetry("ingestion", environ(endpoint, monkeypatch))
        before = dropped()
        count = otlp.QUEUE_MAX + 2_000
        begun = time.perf_counter()
        for _ in range(count):
            with telemetry.span("batch", parent=HEADER):
                pass
        seconds = time.perf_counter() - begun
        if kind == "silent":
            assert silent.asked.wait(20)
        begun = time.perf_counter()
        started.close(0.2)
        assert time.perf_counter() - begun < 5
        # Some 5 µs a span, more on a busy machine; a collector that was waited for would take seconds for each batch.
        assert seconds < 30
        # All are lost: those that the queue had no room for at once, the others with the end. What is on its way may be
        # counted a moment later, by the thread that is left.
        assert dropped() - before >= count - otlp.BATCH_MAX


def test_the_queue_is_bounded_by_spans_and_takes_more_when_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as kept:
        exporter = otlp.Exporter("risk", environ(kept.endpoint, monkeypatch))
        spans = [trace.Span("x", HEADER[3:35], HEADER[36:52], "", True, 1)] * (otlp.QUEUE_MAX + 1)
        before = dropped()
        exporter.take(spans)
        assert dropped() - before == len(spans)
        exporter.take(spans[:10])
        exporter.close(10)
        assert dropped() - before == len(spans)
        assert len(kept.spans) == 10


def test_without_an_endpoint_opentelemetry_is_not_even_loaded() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from libs import telemetry; from libs.telemetry.setup import setup; setup('risk', {});"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n"
