"""Takes all telemetry out of a process that has this directory on its PYTHONPATH, so that a benchmark can tell what it costs.

Python imports a module of this name before anything else. Spans, records and histograms are switched off; counters,
gauges and lines of the log are replaced by what does nothing: the product has no switch for those. Health, readiness and
the errors that callers are told stay as they are.
"""

from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from libs.telemetry import logs, metrics, trace


class _Nothing:
    """A metric with labels that counts nothing."""

    def labels(self, *_values: object, **_named: object) -> "_Nothing":
        return self

    def inc(self, *_arguments: object, **_more: object) -> None:
        pass

    dec = set = observe = set_function = inc


_nothing = _Nothing()


def _silent(*_arguments: object, **_more: object) -> None:
    pass


trace.switch(on=False)
metrics.switch(on=False)
for kind in (Counter, Gauge, Histogram):
    silenced: Any = kind
    silenced.labels = lambda *_values, **_named: _nothing
    for verb in ("inc", "dec", "set", "observe", "set_function"):
        if hasattr(silenced, verb):
            setattr(silenced, verb, _silent)
for level in ("debug", "info", "warning"):
    setattr(logs.Log, level, _silent)
