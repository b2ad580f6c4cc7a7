"""Spans that were lost on their way, as a metric."""

from libs.telemetry import metrics

DROPPED = metrics.counter(
    "luxor_spans_dropped_total", "Spans that were dropped, by where they should have gone", ("sink",)
)
"""`sink` is collector (OTLP) or records (the service's own store)."""
DROPPED.labels("records")
