"""Spans that wait, and those that were lost on their way, as metrics."""

from libs.telemetry import metrics

DROPPED = metrics.counter(
    "luxor_spans_dropped_total", "Spans that were dropped, by where they should have gone", ("sink",)
)
"""`sink` is collector (OTLP) or records (the service's own store)."""
DROPPED.labels("records")

WAITING = metrics.gauge("luxor_spans_waiting", "Spans that wait to be sent or written, by where they go", ("sink",))
