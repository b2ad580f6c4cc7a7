"""Export of ended spans by OpenTelemetry; imported only where a collector is configured."""

import re
import threading
from collections.abc import Callable, Sequence

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from libs.telemetry.trace import Span

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("luxor")
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def exporter(service: str) -> tuple[Callable[[Sequence[Span]], None], Callable[[float], None]]:
    """Return what takes ended spans, and what flushes within some seconds and ends.

    Endpoint, headers and certificates are read from the OTEL_EXPORTER_OTLP_* variables. The queue is bounded and drops
    what a dead collector leaves behind: a service never waits for it.
    """
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    sender = OTLPSpanExporter()
    processor = BatchSpanProcessor(sender, max_queue_size=4096, max_export_batch_size=512)

    def close(flush_seconds: float) -> None:
        # The processor's own flush heeds no limit (opentelemetry-python issue 4568): with a dead collector it takes minutes.
        ending = threading.Thread(target=processor.shutdown, daemon=True)
        ending.start()
        ending.join(flush_seconds)
        if ending.is_alive():
            sender.shutdown()
            ending.join(1.0)

    return lambda spans: hand_over(spans, processor, service), close


def hand_over(spans: Sequence[Span], processor: SpanProcessor, service: str) -> None:
    """Give ended spans to a processor as OpenTelemetry knows them."""
    resource = Resource.create({"service.name": f"luxor-{service}"})
    for each in spans:
        processor.on_end(_readable(each, resource))


def _readable(each: Span, resource: Resource) -> ReadableSpan:
    trace_id = int(each.trace_id, 16)
    parent = SpanContext(trace_id, int(each.parent_id or "0", 16), is_remote=each.root is None, trace_flags=_SAMPLED)
    status = Status(StatusCode.ERROR, each.failure) if each.failure else Status(StatusCode.UNSET)
    return ReadableSpan(
        name=each.name,
        # What is exported was decided on before; the flag says so to the processor.
        context=SpanContext(trace_id, int(each.span_id, 16), is_remote=False, trace_flags=_SAMPLED),
        parent=parent if each.parent_id else None,
        resource=resource,
        attributes=each.attributes,
        links=[link for link in map(_link, each.links) if link is not None],
        kind=SpanKind.SERVER if each.root is None else SpanKind.INTERNAL,
        status=status,
        start_time=each.start_nanos,
        end_time=each.end_nanos,
        instrumentation_scope=_SCOPE,
    )


def _link(header: str) -> Link | None:
    found = _TRACEPARENT.fullmatch(header)
    if found is None:
        return None
    return Link(
        SpanContext(
            int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=trace.TraceFlags(int(header[-2:], 16))
        )
    )
