"""Metrics in a registry of our own, served over HTTP in Prometheus' text format.

Names begin with `luxor_` and end with the unit (`_seconds`, `_bytes`, `_total`). Asking twice for one name returns the
same metric.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

REGISTRY = CollectorRegistry()
"""Our own registry: what libraries put into the global one stays out."""

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds. From a point read to the longest deadline, finest around the second within which decisions are due."""

Metric = TypeVar("Metric", Counter, Gauge, Histogram)
_known: dict[str, Any] = {}
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


def _get(kind: type[Metric], name: str, meaning: str, labels: Sequence[str], **more: Any) -> Metric:
    if not name.startswith("luxor_"):
        raise ValueError(f"The metric {name} must begin with luxor_")
    with _lock:
        found = _known.get(name)
        if found is None:
            found = _known[name] = kind(name, meaning, tuple(labels), registry=REGISTRY, **more)
        if not isinstance(found, kind) or tuple(found._labelnames) != tuple(labels):
            raise ValueError(f"The metric {name} is declared twice, as another kind or with other labels")
        return found


class LoopHistogram:
    """A histogram for the hot path of one event loop: some 0.3 µs an observation instead of 3, since it needs no lock.

    Observations come from one thread; a scrape that reads between two of its additions is off by one observation at most.
    """

    def __init__(
        self, name: str, meaning: str, labels: Sequence[str], buckets: Sequence[float] = LATENCY_BUCKETS
    ) -> None:
        """Enter the registry under `name`; raise ValueError for a name that is taken or of another form."""
        if not name.startswith("luxor_"):
            raise ValueError(f"The metric {name} must begin with luxor_")
        self._name, self._meaning, self._labels = name, meaning, tuple(labels)
        self._bounds = tuple(buckets)
        self._series: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}
        REGISTRY.register(self)

    def observe(self, value: float, *labels: str) -> None:
        """Count one value."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = ([0] * (len(self._bounds) + 1), [0.0])
        series[0][bisect_left(self._bounds, value)] += 1
        series[1][0] += value

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give what was counted, as Prometheus' client asks for it."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        for labels, (counts, total) in list(self._series.items()):
            bounds = [*map(str, self._bounds), "+Inf"]
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total[0])
        yield family


class Endpoint:
    """The HTTP server of the metrics, in a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        """Bind and serve at once; raise OSError where the port is taken."""
        with _lock:
            if "process" not in _known:
                _known["process"] = ProcessCollector(registry=REGISTRY)
                _known["gc"] = GCCollector(registry=REGISTRY)
        self._server, self._thread = start_http_server(port, addr=host, registry=REGISTRY)
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stop serving and let the port go."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
