"""Spans that wait, and those that were lost on their way, as metrics."""

from libs.telemetry import metrics, trace

DROPPED = metrics.counter("luxor_spans_dropped_total", "Dropped spans, by their destination", ("sink",))
"""`sink` is collector (OTLP), records (the service's own store), or root: the span around it had ended before."""
DROPPED.labels("records")
trace.count_late(DROPPED.labels("root").inc)

WAITING = metrics.gauge("luxor_spans_waiting", "Spans that wait to be sent or written, by their destination", ("sink",))
