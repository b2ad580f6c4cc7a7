"""The telemetry of a service: spans per batch, metrics, and JSON logs.

telemetry = setup("ingestion", os.environ)  # from libs.telemetry.setup
log = get_logger()
with span("ingestion.accept", links=sources, attributes={"rows": 500}):
    ...
log.info("BATCH_ACCEPTED", rows=500)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from libs.telemetry.logs import Log, get_logger
    from libs.telemetry.metrics import LATENCY_BUCKETS, LoopHistogram, counter, gauge, histogram, loop_histogram
    from libs.telemetry.trace import Span, batch_span, client_span, new_traceparent, span, traceparent, use_traceparent

__all__ = [
    "LATENCY_BUCKETS",
    "Log",
    "LoopHistogram",
    "Span",
    "batch_span",
    "client_span",
    "counter",
    "gauge",
    "get_logger",
    "histogram",
    "loop_histogram",
    "new_traceparent",
    "span",
    "traceparent",
    "use_traceparent",
]

_LOGS: Final = ("Log", "get_logger")
_METRICS: Final = ("LATENCY_BUCKETS", "LoopHistogram", "counter", "gauge", "histogram", "loop_histogram")


def __getattr__(name: str) -> Any:
    """Import what is asked for: a command that only calls a service has spans, and starts without the libraries of metrics."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "logs" if name in _LOGS else "metrics" if name in _METRICS else "trace"
    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value
