"""Metrics in a registry of our own, served over HTTP in Prometheus' text format or in OpenMetrics, as the scraper asks.

Names begin with `luxor_` and end with the unit (`_seconds`, `_bytes`, `_total`). Asking twice for one name returns the
same metric. Labels are taken from closed sets: no id of a party, consignment, call or trace is ever one. A trace's id is
told by an exemplar, which OpenMetrics alone carries.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from time import time
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.samples import Exemplar

from libs.telemetry import trace

REGISTRY = CollectorRegistry()
"""Our own registry: what libraries put into the global one stays out."""

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds. From a point read to the longest deadline, finest around the second within which decisions are due."""

SERIES_MAX = 500
"""Series of one `LoopHistogram`; what comes beyond is counted under the label value "other". A bound against our own mistakes."""

REQUEST_SECONDS_MAX = 10.0
"""How long a scraper may keep a connection without saying what it wants."""

Metric = TypeVar("Metric", Counter, Gauge, Histogram)
_metrics: dict[str, Any] = {}
_lock = threading.Lock()


def counter(name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
    """Return the counter `name` (luxor_…_total); raise ValueError for a name of another form."""
    return _get(Counter, name, meaning, labels)


def gauge(name: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
    """Return the gauge `name` (luxor_…); raise ValueError for a name of another form."""
    return _get(Gauge, name, meaning, labels)


def histogram(
    name: str, meaning: str, labels: Sequence[str] = (), buckets: Sequence[float] = LATENCY_BUCKETS
) -> Histogram:
    """Return the histogram `name` (luxor_…_seconds or another unit) with upper bounds in that unit."""
    return _get(Histogram, name, meaning, labels, buckets=tuple(buckets))


def _get(kind: type[Metric], name: str, meaning: str, labels: Sequence[str], **options: Any) -> Metric:
    if not name.startswith("luxor_"):
        raise ValueError(f"The metric {name} must begin with luxor_")
    with _lock:
        found = _metrics.get(name)
        if found is None:
            found = _metrics[name] = kind(name, meaning, tuple(labels), registry=REGISTRY, **options)
        if not isinstance(found, kind) or tuple(found._labelnames) != tuple(labels):
            raise ValueError(f"The metric {name} is declared twice, as another kind or with other labels")
        return found


def loop_histogram(
    name: str,
    meaning: str,
    labels: Sequence[str] = (),
    buckets: Sequence[float] = LATENCY_BUCKETS,
    *,
    of_spans: bool = False,
) -> "LoopHistogram":
    """Return the histogram `name` for one event loop; raise ValueError where the name is another metric's."""
    with _lock:
        found = _metrics.get(name)
    if found is None:
        return LoopHistogram(name, meaning, labels, buckets, of_spans=of_spans)
    if not isinstance(found, LoopHistogram) or found.labels != tuple(labels):
        raise ValueError(f"The metric {name} is declared twice, as another kind or with other labels")
    return found


def declared_labels(name: str) -> tuple[str, ...] | None:
    """Return the labels of a metric that was asked for by this name, or None where none was."""
    found = _metrics.get(name)
    if isinstance(found, LoopHistogram):
        return found.labels
    return None if found is None else tuple(getattr(found, "_labelnames", ()))


@dataclass(slots=True)
class _Settings:
    off: bool = False


_settings = _Settings()


def switch(*, on: bool) -> None:
    """Switch what is measured on the hot path off (or on again), to measure what it costs."""
    _settings.off = not on


class _Series:
    """Counts and exemplars by bucket, and the sum."""

    __slots__ = ("counts", "exemplars", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.exemplars: list[tuple[str, float, float] | None] = [None] * buckets
        self.total = 0.0


class LoopHistogram:
    """A histogram for the hot path of one event loop: some 0.3 µs an observation instead of 3, since it needs no lock.

    Observations come from one thread; a scrape that reads between two of its additions is off by one observation at
    most. Each bucket keeps the trace of its last observation that was made within a sampled trace, with value and time.
    Where observations are times of spans (`of_spans`), so do slow ones: their traces are kept though not sampled.
    """

    def __init__(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str],
        buckets: Sequence[float] = LATENCY_BUCKETS,
        *,
        of_spans: bool = False,
    ) -> None:
        """Enter the registry under `name`; raise ValueError for a name that is taken or of another form."""
        if not name.startswith("luxor_"):
            raise ValueError(f"The metric {name} must begin with luxor_")
        self.labels = tuple(labels)
        self._name, self._meaning = name, meaning
        self._bounds = tuple(buckets)
        self._of_spans = of_spans
        self._series: dict[tuple[str, ...], _Series] = {}
        REGISTRY.register(self)
        with _lock:
            _metrics[name] = self

    def observe(self, value: float, *labels: str) -> None:
        """Count one value."""
        if _settings.off:
            return
        series = self._series.get(labels)
        if series is None:
            series = self._begin(labels)
        place = bisect_left(self._bounds, value)
        series.counts[place] += 1
        series.total += value
        if self._of_spans:
            kept = trace.exemplar(value)
            if kept:
                series.exemplars[place] = (kept, value, time())
        elif trace.sampled():
            series.exemplars[place] = (trace.trace_id(), value, time())

    def _begin(self, labels: tuple[str, ...]) -> _Series:
        if len(labels) != len(self.labels):
            raise ValueError(f"The metric {self._name} has the labels {self.labels}, not {len(labels)} of them")
        if len(self._series) >= SERIES_MAX:
            labels = ("other",) * len(labels)
        return self._series.setdefault(labels, _Series(len(self._bounds) + 1))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Return the counts in the form of Prometheus' client."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self.labels)
        bounds = [*map(str, self._bounds), "+Inf"]
        for labels, series in list(self._series.items()):
            buckets: list[Any] = []
            for bound, count, seen in zip(bounds, accumulate(series.counts), list(series.exemplars), strict=True):
                exemplar = None if seen is None else Exemplar({"trace_id": seen[0]}, seen[1], seen[2])
                buckets.append((bound, count, exemplar))
            family.add_metric(labels, buckets, series.total)
        yield family


class Endpoint:
    """The HTTP server of the metrics, in threads of its own."""

    def __init__(self, host: str, port: int) -> None:
        """Bind and serve at once; raise OSError where the port is taken."""
        with _lock:
            if "process" not in _metrics:
                _metrics["process"] = ProcessCollector(registry=REGISTRY)
                _metrics["gc"] = GCCollector(registry=REGISTRY)
        self._server, self._thread = start_http_server(port, addr=host, registry=REGISTRY)
        handler: Any = self._server.RequestHandlerClass
        self._server.RequestHandlerClass = type("Handler", (handler,), {"timeout": REQUEST_SECONDS_MAX})
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stop serving and let the port go."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
