"""Export of ended spans by OTLP over gRPC; imported only where a collector is configured.

Spans wait in a bounded queue and are put into OTLP's form by the thread that sends them, so that a batch never waits
for the collector. What the queue cannot hold, and what the collector refuses or does not take in time, is dropped and
counted. OpenTelemetry's own exporter sends; it reads the OTEL_EXPORTER_OTLP_* variables.
"""

import os
import threading
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as pb
from opentelemetry.sdk.trace.export import SpanExportResult

from libs.telemetry.context import flags_of, span_of, trace_of, valid_traceparent
from libs.telemetry.drops import DROPPED, WAITING
from libs.telemetry.trace import AttributeValue, Span

QUEUE_MAX: Final = 8_192
"""Spans that wait for the collector; at full load some ten seconds of a service, were all of them sampled."""
BATCH_MAX: Final = 512
"""Spans a call to the collector, about: those of one root stay together."""
INTERVAL_SECONDS: Final = 1.0

_HAS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200
_SAMPLED: Final = 1


class _Sender(OTLPSpanExporter):
    """OpenTelemetry's exporter, which is given requests that are finished."""

    def _translate_data(self, data: Any) -> ExportTraceServiceRequest:
        request: ExportTraceServiceRequest = data[0]
        return request


class Exporter:
    """Takes ended spans, and sends them from a thread of its own."""

    def __init__(self, service: str, environ: Mapping[str, str]) -> None:
        """Start the thread. The exporter itself reads endpoint, headers and certificates from the process's environment."""
        self._resource = resource(service, environ)
        self._sender = _Sender()
        self._queue: deque[Sequence[Span]] = deque()
        # Each is written by one thread only, so that no lock is needed.
        self._taken = self._sent = 0
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._dropped = DROPPED.labels("collector")
        WAITING.labels("collector").set_function(lambda: self._taken - self._sent)
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._thread.start()

    def take(self, spans: Sequence[Span]) -> None:
        """Queue the spans of one root, or drop them where the queue is full."""
        waiting = self._taken - self._sent + len(spans)
        if waiting > QUEUE_MAX:
            self._dropped.inc(len(spans))
            return
        self._taken += len(spans)
        self._queue.append(spans)
        if waiting >= BATCH_MAX:
            self._wake.set()

    def close(self, flush_seconds: float) -> None:
        """Send what waits within some seconds, and end."""
        self._ending.set()
        self._wake.set()
        self._thread.join(flush_seconds)
        if self._thread.is_alive():
            # Its call is cut, and whatever it says then is of no interest.
            self._sender.shutdown(0)
            self._thread.join(1.0)
        left = sum(map(len, self._queue))
        if left:
            self._dropped.inc(left)

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wake.wait(INTERVAL_SECONDS)
            self._wake.clear()
            self._send()
        self._sender.shutdown(0)

    def _send(self) -> None:
        while self._queue:
            batch: list[Span] = []
            while self._queue and len(batch) < BATCH_MAX:
                batch.extend(self._queue.popleft())
            try:
                # The exporter's own type knows spans of the SDK only.
                done = self._sender.export([encode(batch, self._resource)])  # type: ignore[list-item]
            except Exception:  # a defect of the exporter must not end the thread
                done = SpanExportResult.FAILURE
            self._sent += len(batch)
            if done is not SpanExportResult.SUCCESS:
                self._dropped.inc(len(batch))


def resource(service: str, environ: Mapping[str, str]) -> Resource:
    """Return what all spans of this process have in common."""
    try:
        release = version("luxor")
    except PackageNotFoundError:
        release = "unknown"
    named: dict[str, AttributeValue] = {
        "service.name": f"luxor-{service}",
        "service.namespace": "luxor",
        "service.version": release,
        "service.instance.id": str(uuid.uuid4()),
        "deployment.environment.name": environ.get("LUXOR_DEPLOYMENT") or "luxor",
        "host.name": os.uname().nodename,
        "process.pid": os.getpid(),
        "telemetry.sdk.language": "python",
    }
    return Resource(attributes=[_attribute(name, value) for name, value in named.items()])


def encode(spans: Sequence[Span], resource: Resource) -> ExportTraceServiceRequest:
    """Return ended spans as OTLP's request."""
    scope = pb.ScopeSpans(scope=InstrumentationScope(name="luxor"), spans=[_span(each) for each in spans])
    return ExportTraceServiceRequest(resource_spans=[pb.ResourceSpans(resource=resource, scope_spans=[scope])])


def _span(each: Span) -> pb.Span:
    made = pb.Span(
        trace_id=bytes.fromhex(each.trace_id),
        span_id=bytes.fromhex(each.span_id),
        name=each.name,
        kind=each.kind + 1,  # type: ignore[arg-type]  # OTLP counts from 1
        start_time_unix_nano=each.start_nanos,
        end_time_unix_nano=each.end_nanos,
        # A failed or slow span of an unsampled trace has its original flag, which shows that the rest was not exported.
        flags=_HAS_REMOTE | (_IS_REMOTE if each.root is None and each.parent_id else 0) | (_SAMPLED & each.sampled),
        attributes=[_attribute(name, value) for name, value in each.attributes.items()],
    )
    if each.parent_id:
        made.parent_span_id = bytes.fromhex(each.parent_id)
    if each.failure:
        made.status.code, made.status.message = pb.Status.STATUS_CODE_ERROR, each.failure
    for header in each.links:
        if valid_traceparent(header):
            made.links.add(
                trace_id=bytes.fromhex(trace_of(header)),
                span_id=bytes.fromhex(span_of(header)),
                flags=flags_of(header) | _HAS_REMOTE | _IS_REMOTE,
            )
    return made


def _attribute(name: str, value: AttributeValue) -> KeyValue:
    if isinstance(value, bool):
        kept = AnyValue(bool_value=value)
    elif isinstance(value, int):
        kept = AnyValue(int_value=value)
    elif isinstance(value, float):
        kept = AnyValue(double_value=value)
    else:
        kept = AnyValue(string_value=value)
    return KeyValue(key=name, value=kept)
