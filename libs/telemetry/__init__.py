"""What a service tells about itself: spans per batch, metrics, and JSON logs.

telemetry = setup("ingestion", os.environ)
log = get_logger()
with span("ingestion.accept", links=sources, attributes={"rows": 500}):
    ...
log.info("BATCH_ACCEPTED", rows=500)
"""

from libs.telemetry.logs import Log, get_logger
from libs.telemetry.metrics import LATENCY_BUCKETS, LoopHistogram, counter, gauge, histogram, loop_histogram
from libs.telemetry.setup import Telemetry, setup
from libs.telemetry.trace import Span, batch_span, client_span, new_traceparent, span, traceparent, use_traceparent

__all__ = [
    "LATENCY_BUCKETS",
    "Log",
    "LoopHistogram",
    "Span",
    "Telemetry",
    "batch_span",
    "client_span",
    "counter",
    "gauge",
    "get_logger",
    "histogram",
    "loop_histogram",
    "new_traceparent",
    "setup",
    "span",
    "traceparent",
    "use_traceparent",
]
